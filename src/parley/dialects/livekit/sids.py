"""How LiveKit spells ids: a prefix that says what the thing is, then the 128-bit number in base 57.

The number is written whole, so an id can be read back and no table of ids exists. Clients look at
the prefix only.
"""

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
"""Letters and digits without the look-alikes 0, 1, I, O and l; exactly 57 of them, in ASCII order."""

DIGITS = 22
"""57**22 is just above 2**128."""

ROOM = "RM_"
PARTICIPANT = "PA_"
TRACK = "TR_"
NODE = "ND_"

_VALUES = {character: value for value, character in enumerate(ALPHABET)}


def write(prefix: str, number: int) -> str:
    """Spell a 128-bit number, as in `PA_5f…`: the prefix and 22 characters."""
    if not 0 <= number < 1 << 128:
        raise ValueError(f"an id is a number of 128 bits, not {number}")
    characters = []
    for _ in range(DIGITS):
        number, digit = divmod(number, len(ALPHABET))
        characters.append(ALPHABET[digit])
    return prefix + "".join(reversed(characters))


def read(prefix: str, sid: str) -> int | None:
    """The number behind an id, or None where the text cannot be an id of that kind.

    Letters between the prefix and the number (a track's kind and source) are ignored.
    """
    if not sid.startswith(prefix) or len(sid) < len(prefix) + DIGITS:
        return None
    number = 0
    for character in sid[-DIGITS:]:
        value = _VALUES.get(character)
        if value is None:
            return None
        number = number * len(ALPHABET) + value
    return number if number < 1 << 128 else None
