"""The Python face of the media engine.

`specs` has the values that go in, `events` those that come out, `engine` the face that core
programs against, `live` the real engine behind it. Nothing here imports the compiled module, so
negotiation, core and their tests run without it.
"""
