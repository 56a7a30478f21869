"""What core refuses, each with its facts as fields. The whole tree stands at the top of `parley.errors`."""

from __future__ import annotations

from parley.core.grants import Source
from parley.errors import ParleyError, Reason
from parley.ids import ParticipantId, PeerId, RoomId, TrackId, to_hex


class Refused(ParleyError):
    """The request may not happen. Nothing has changed."""


class Unavailable(ParleyError):
    """The request may happen, but cannot be done now."""


class Busy(Unavailable):
    """The media engine has no room for what would have to be done."""

    reason = Reason.ENGINE_BUSY


class ShuttingDown(Unavailable):
    reason = Reason.SHUTTING_DOWN

    def __init__(self) -> None:
        super().__init__("the server is stopping and takes nobody in")


class NameEmpty(Refused):
    reason = Reason.NAME_EMPTY

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} is empty")


class NotAllowed(Refused):
    """The grant does not reach that far."""

    reason = Reason.NOT_ALLOWED

    def __init__(self, identity: str, what: str) -> None:
        self.identity = identity
        self.what = what
        super().__init__(f"{identity!r} may not {what}")


class SourceNotAllowed(NotAllowed):
    reason = Reason.SOURCE_NOT_ALLOWED

    def __init__(self, identity: str, source: Source) -> None:
        self.source = source
        super().__init__(identity, f"publish {source.value}")


class NotFound(Refused):
    """There is no such thing, or not for this caller."""


class RoomNotFound(NotFound):
    reason = Reason.ROOM_NOT_FOUND

    def __init__(self, room: str | RoomId) -> None:
        self.room = room
        super().__init__(f"there is no room {room!r}" if isinstance(room, str) else f"there is no room {to_hex(room)}")


class ParticipantNotFound(NotFound):
    reason = Reason.PARTICIPANT_NOT_FOUND

    def __init__(self, participant: ParticipantId) -> None:
        self.participant = participant
        super().__init__(f"there is no participant {to_hex(participant)}")


class TrackNotFound(NotFound):
    reason = Reason.TRACK_NOT_FOUND

    def __init__(self, track: str | TrackId) -> None:
        self.track = track
        super().__init__(
            f"there is no track {track!r}" if isinstance(track, str) else f"there is no track {to_hex(track)}"
        )


class PeerNotFound(NotFound):
    reason = Reason.PEER_NOT_FOUND

    def __init__(self, peer: PeerId) -> None:
        self.peer = peer
        super().__init__(f"there is no peer {to_hex(peer)}")


class SectionNotFound(NotFound):
    reason = Reason.SECTION_NOT_FOUND

    def __init__(self, peer: PeerId, mid: str) -> None:
        self.peer = peer
        self.mid = mid
        super().__init__(f"peer {to_hex(peer)} receives nothing on section {mid!r}")


class Conflict(Refused):
    """It exists, but its state forbids the request."""


class UnfitSection(Conflict):
    """A section cannot carry this track: it is of another kind, or its codec was not agreed there."""

    reason = Reason.CODEC_UNSUPPORTED

    def __init__(self, peer: PeerId, mid: str, track: TrackId) -> None:
        self.peer = peer
        self.mid = mid
        self.track = track
        super().__init__(f"section {mid!r} of peer {to_hex(peer)} cannot carry track {to_hex(track)}")


class AlreadyBound(Conflict):
    reason = Reason.ALREADY_BOUND

    def __init__(self, track: TrackId, mid: str) -> None:
        self.track = track
        self.mid = mid
        super().__init__(f"track {to_hex(track)} or section {mid!r} is already bound")


class KindMismatch(Conflict):
    reason = Reason.KIND_MISMATCH

    def __init__(self, track: TrackId, mid: str) -> None:
        self.track = track
        self.mid = mid
        super().__init__(f"track {to_hex(track)} and section {mid!r} are of different kinds")


class LimitExceeded(Refused):
    """It would be more than a stated limit."""

    def __init__(self, reason: Reason, what: str, limit: int) -> None:
        self.reason = reason  # type: ignore[misc]
        self.what = what
        self.limit = limit
        super().__init__(f"{what}: the limit is {limit}")


class RoomFull(LimitExceeded):
    def __init__(self, room: str, limit: int) -> None:
        self.room = room
        super().__init__(Reason.ROOM_FULL, f"room {room!r} is full: {limit} of {limit} seats taken", limit)


class PeerClosed(Conflict):
    """The peer is closed, by its owner or because it failed; `why` is the reason it closed for."""

    reason = Reason.PEER_CLOSED

    def __init__(self, peer: PeerId, why: Reason) -> None:
        self.peer = peer
        self.why = why
        super().__init__(f"peer {to_hex(peer)} is closed: {why}")
