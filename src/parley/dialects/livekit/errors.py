"""What this dialect refuses a connection with: an HTTP status and a sentence in plain text.

    ConnectRefused
    ├─ NotAuthenticated   401  the token itself
    ├─ NotPermitted       401  a good token that does not allow this
    ├─ Malformed          400  the request
    ├─ NoSuchRoom         404
    └─ NotStarted         500  the session: a full room, an engine that did not answer

LiveKit's clients show the sentence to people and decide by the status: 401 and 403 are final,
404 on a newer path sends them to the older one, anything else is tried again.
"""

from typing import ClassVar

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
