"""The distinct kinds of id, how one is minted, and the pure functions that write ids as text.

An id is a 128-bit random number. Which text a client sees is each dialect's choice; because every rendering here
can be read back, no table of ids is kept anywhere.
"""

from __future__ import annotations

from random import Random
from typing import NewType

TenantId = NewType("TenantId", str)
"""The name of an organisation in the configuration; the one id that is chosen, not minted."""

RoomId = NewType("RoomId", int)
ParticipantId = NewType("ParticipantId", int)
PeerId = NewType("PeerId", int)
TrackId = NewType("TrackId", int)
SubscriptionId = NewType("SubscriptionId", int)

BITS = 128
BASE57 = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
"""Letters and digits without look-alikes: no 0, 1, I, O, l."""
BASE57_LENGTH = 22
"""Characters that 128 bits need in base 57."""

_VALUE_OF = {character: value for value, character in enumerate(BASE57)}


def mint(random: Random) -> int:
    """A fresh 128-bit number, to be wrapped in its type: `TrackId(mint(random))`.

    random: `random.SystemRandom()` in a server, a seeded `Random` in tests.
    """
    return random.getrandbits(BITS)


def to_base57(value: int) -> str:
    """The number as 22 characters of the look-alike-free alphabet, most significant first."""
    digits = []
    for _ in range(BASE57_LENGTH):
        value, digit = divmod(value, 57)
        digits.append(BASE57[digit])
    return "".join(reversed(digits))


def from_base57(text: str) -> int | None:
    """The number `to_base57` wrote as this text, or None when it wrote no such text."""
    if len(text) != BASE57_LENGTH:
        return None
    value = 0
    for character in text:
        digit = _VALUE_OF.get(character)
        if digit is None:
            return None
        value = value * 57 + digit
    return value if value.bit_length() <= BITS else None


def to_hex(value: int) -> str:
    """The number as 32 lowercase hexadecimal digits."""
    return f"{value:032x}"


def from_hex(text: str) -> int | None:
    """The number `to_hex` wrote as this text, or None when it wrote no such text."""
    if len(text) != 32 or any(character not in "0123456789abcdef" for character in text):
        return None
    return int(text, 16)


def read(text: str) -> int | None:
    """The number of any text an id is shown as: hexadecimal, or base 57 after a prefix as in `PA_…`; None: it is none.

    For APIs that name what another one has shown; each dialect writes ids in its own way.
    """
    prefix, underscore, _ = text.partition("_")
    if underscore and prefix.isalpha():
        return from_base57(text[-BASE57_LENGTH:])
    return from_hex(text)
