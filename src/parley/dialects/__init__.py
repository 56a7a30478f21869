"""The dialects Parley speaks, one line each.

They are named as module paths and not imported, so that reading this list costs nothing and no
dialect can reach another through it. Each module named here offers `build`, which returns the
routes its clients call, and a `settings` module with its part of the configuration.
"""

DIALECTS: tuple[str, ...] = ("parley.dialects.livekit",)
