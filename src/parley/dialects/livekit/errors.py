"""What this dialect refuses a connection with: an HTTP status and a sentence in plain text.

    Refused
    ├── NotAuthenticated   401  the token itself
    ├── NotPermitted       401  a good token that does not allow this
    ├── Malformed          400  the request
    ├── NoSuchRoom         404
    └── NotStarted         500, 503  the session

LiveKit's clients show the sentence to people and decide by the status: 401 and 403 are final,
404 on a newer path sends them to the older one, anything else is tried again.
"""


class Refused(Exception):
    """A connection that is not to be. `status` and `str(error)` are what the client gets."""

    status = 500


class NotAuthenticated(Refused):
    status = 401


class NotPermitted(Refused):
    status = 401


class Malformed(Refused):
    status = 400


class NoSuchRoom(Refused):
    status = 404


class NotStarted(Refused):
    """The session could not begin: a full room, a limit, an engine that did not answer."""
