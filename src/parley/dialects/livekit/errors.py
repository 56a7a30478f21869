"""What this dialect refuses a connection with: an HTTP status and a sentence in plain text.

    ConnectRefused
    ├─ NotAuthenticated   401  the token itself
    ├─ NotPermitted       401  a good token that does not allow this
    ├─ Malformed          400  the request
    ├─ NoSuchRoom         404
    ├─ NotStarted         500  the session: a full room, metadata over a limit
    └─ Overloaded         503  this server, now

Core's own errors become one of these by `refusal`.

LiveKit's clients show the sentence to people and decide by the status: 401 and 403 are final,
404 on a newer path sends them to the older one, anything else is tried again.
"""

from typing import ClassVar

from parley.core.errors import LimitExceeded, NotAllowed, RoomNotFound, Unavailable
from parley.errors import ParleyError, Reason


class ConnectRefused(ParleyError):
    """A connection that is not to be: `status` and `str(error)` are what the client gets."""

    status: ClassVar[int] = 500


class NotAuthenticated(ConnectRefused):
    status = 401
    reason = Reason.NOT_ALLOWED


class NotPermitted(ConnectRefused):
    status = 401
    reason = Reason.NOT_ALLOWED


class Malformed(ConnectRefused):
    status = 400


class NoSuchRoom(ConnectRefused):
    status = 404
    reason = Reason.ROOM_NOT_FOUND


class NotStarted(ConnectRefused):
    status = 500


class Overloaded(ConnectRefused):
    status = 503
    reason = Reason.SHUTTING_DOWN


def refusal(error: ParleyError) -> ConnectRefused:
    """What a client is told when core does not let it in."""
    match error:
        case ConnectRefused():
            return error
        case RoomNotFound():
            return NoSuchRoom("requested room does not exist")
        case NotAllowed():
            return NotPermitted("permissions denied")
        case LimitExceeded(reason=Reason.TOO_MANY_ROOMS | Reason.TOO_MANY_PEERS):
            return Overloaded("node has exceeded its configured limit")
        case Unavailable():
            return Overloaded(str(error))
        case _:
            # Upstream answers every one of these alike; which it was helps whoever reads it.
            return NotStarted(str(error))
