"""What this dialect refuses with: one table of codes, and how core's errors become one of them.

A call that cannot be carried out at all is a `Problem`: a status and a body. One item of a call that fails beside
others that do not is a `Fault` within the body, and the status says nothing of it.
Source: Cloudflare Realtime documentation, "Error codes"; clients look for fragments of some of these sentences.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from parley.core.errors import LimitExceeded, NotAllowed, NotFound, PeerClosed, Refused, Unavailable
from parley.errors import ParleyError, Reason
from parley.negotiation import NegotiationError, WrongSignalingState


class Code(Enum):
    """A way for a whole call to fail: its status and its `errorCode`."""

    UNAUTHORIZED = 401, "unauthorized"
    NOT_FOUND = 404, "not_found"
    WRONG_METHOD = 405, "not_found"
    DECODING = 400, "decoding_error"
    INVALID_PARAMS = 406, "invalid_params"
    INVALID_SDP = 406, "invalid_session_description"
    TOO_LARGE = 413, "payload_too_large"
    NOT_READY = 425, "session_error"
    GONE = 410, "session_error"
    TOO_MANY_CALLS = 429, "retryable_transient_error"
    UNAVAILABLE = 503, "temporarily_unavailable_error"
    BACKEND = 502, "backend_error"
    INTERNAL = 500, "internal_error"

    @property
    def status(self) -> int:
        return self.value[0]

    @property
    def text(self) -> str:
        return self.value[1]


class ItemCode(Enum):
    """A way for one item of a call to fail: its `errorCode`."""

    INVALID_PARAMS = "invalid_params"
    INVALID_SDP = "invalid_session_description"
    NOT_FOUND = "not_found_track_error"
    EMPTY = "empty_track_error"
    REPEATED = "repeated_local_track_error"
    UPDATE = "update_track_error"
    CLOSE = "close_track_error"
    AGAIN = "retryable_transient_error"
    ADAPTER_UNAVAILABLE = "adapter_unavailable"
    ADAPTER_NOT_FOUND = "adapter_not_found"


class Problem(ParleyError):
    """The call fails; nothing was changed."""

    reason = Reason.NOT_ALLOWED

    def __init__(self, code: Code, text: str, subcode: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.subcode = subcode


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one item failed."""

    code: ItemCode
    text: str


HAVE_LOCAL_OFFER = "invalid_modification_have_local_offer"
HAVE_REMOTE_OFFER = "invalid_modification_have_remote_offer"

GONE = "Session appears to be disconnected. Please check if the PeerConnection is connected."
NOT_READY = "Session is not ready: the PeerConnection is not connected yet"
OPEN_OFFER = "The session is waiting for an answer to its last offer"
BUSY_SESSION = "The session is still busy with an earlier offer"

TRACK_MISSING = Fault(
    ItemCode.NOT_FOUND,
    "Track not found on remote peer. Make sure the publisher peer is connected and sending packets for this track",
)
TRACK_EMPTY = Fault(
    ItemCode.EMPTY,
    "No track data from remote peer. Make sure the publisher peer is connected and sending packets for this track",
)
NO_SECTION = Fault(ItemCode.NOT_FOUND, "There is no such transceiver in this session")
NOT_SIMULCAST = Fault(ItemCode.UPDATE, "The track is not configured for simulcast, no updates applicable.")
NOT_OPEN = Fault(ItemCode.CLOSE, "Track doesn't exist or was already closed")
NO_CODEC = Fault(ItemCode.INVALID_SDP, "The media section has no codec in common with the track")


NO_CHANNEL = Fault(ItemCode.NOT_FOUND, "Data channel not found on remote peer")
REPEATED_CHANNEL = Fault(ItemCode.REPEATED, "The session has this data channel already")


def gone() -> Problem:
    return Problem(Code.GONE, GONE)


def open_offer() -> Problem:
    return Problem(Code.INVALID_SDP, OPEN_OFFER, HAVE_LOCAL_OFFER)


def problem(error: ParleyError) -> Problem:
    """What a caller is told when core does not do what it asks."""
    match error:
        case Problem():
            return error
        case WrongSignalingState(state="have-local-offer"):
            return open_offer()
        case NegotiationError():
            return Problem(Code.INVALID_SDP, f"Invalid session description: {error}")
        case PeerClosed(why=Reason.APPLY_FAILED):
            return Problem(Code.BACKEND, "Backend error")
        case PeerClosed() | NotFound():
            return gone()
        case LimitExceeded(reason=Reason.TOO_MANY_ROOMS | Reason.TOO_MANY_PEERS):
            return Problem(Code.UNAVAILABLE, "The server has as many sessions as it may")
        case Unavailable():
            return Problem(Code.UNAVAILABLE, str(error))
        case LimitExceeded() | NotAllowed() | Refused():
            return Problem(Code.INVALID_PARAMS, str(error))
        case _:
            return Problem(Code.INTERNAL, "Backend error")
