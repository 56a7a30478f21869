"""What a page may ask for when it asks for a token: a room and a name, both short."""

import json
from dataclasses import dataclass

from parley.errors import ParleyError, Reason

LONGEST_ROOM_BYTES = 256
LONGEST_NAME_BYTES = 240
"""Short of the 256 that an identity may have, because a fresh identity is made of a name and a few letters more."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A room and a display name, trimmed, neither empty nor over its limit in bytes of UTF-8."""

    room: str
    name: str


class TokenRefused(ParleyError):
    """A request for a token that is not granted: an HTTP status, a code for machines and a sentence."""

    reason = Reason.NOT_ALLOWED

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def read_asked(body: bytes) -> Asked:
    """Read `{"room": …, "name": …}`; raises TokenRefused with status 400 and what is wrong."""
    try:
        read: object = json.loads(body)
    except (ValueError, RecursionError) as bad:
        raise TokenRefused(400, "not_json", "the body is not JSON") from bad
    if not isinstance(read, dict):
        raise TokenRefused(400, "not_json", "the body is not a JSON object")
    return Asked(room=_text(read, "room", LONGEST_ROOM_BYTES), name=_text(read, "name", LONGEST_NAME_BYTES))


def _text(read: dict[object, object], field: str, longest: int) -> str:
    value = read.get(field)
    if not isinstance(value, str) or not value.strip():
        raise TokenRefused(400, f"{field}_missing", f"a {field} is needed")
    try:
        size = len(value.strip().encode())
    except UnicodeEncodeError as bad:  # JSON may carry half a surrogate pair
        raise TokenRefused(400, f"{field}_unreadable", f"the {field} is not valid text") from bad
    if size > longest:
        raise TokenRefused(400, f"{field}_too_long", f"the {field} is {size} bytes long: {longest} are allowed")
    return value.strip()
