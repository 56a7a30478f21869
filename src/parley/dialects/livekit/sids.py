"""How LiveKit spells ids: a prefix that says what the thing is, then the 128-bit number in base 57.

The number is written whole, so an id can be read back and no table of ids exists. Clients look at
the prefix only.
"""

import functools

from parley.ids import BASE57_LENGTH, from_base57, to_base57

ROOM = "RM_"
PARTICIPANT = "PA_"
TRACK = "TR_"
NODE = "ND_"


@functools.lru_cache(maxsize=16_384)
def write(prefix: str, number: int) -> str:
    """Spell an id, as in `PA_`: the prefix and 22 characters."""
    return prefix + to_base57(number)


def read(prefix: str, sid: str) -> int | None:
    """The number behind an id, or None where the text cannot be an id of that kind.

    Letters between the prefix and the number (a track's kind and source) are ignored.
    """
    if not sid.startswith(prefix) or len(sid) < len(prefix) + BASE57_LENGTH:
        return None
    return from_base57(sid[-BASE57_LENGTH:])
