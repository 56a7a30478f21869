"""The dialects Parley speaks, one line each.

They are named as module paths and not imported, so that reading this list costs nothing and no
dialect can reach another through it. Each is a package whose `routes` module offers `build`, which
makes the dialect's HTTP face of a core, and whose `settings` module has its part of the configuration.
"""

DIALECTS: tuple[str, ...] = (
    "parley.dialects.livekit",
    "parley.dialects.cloudflare",
)
