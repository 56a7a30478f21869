"""The shapes of this API, read from and written as JSON. Pure: bytes in, values out, and back.

Callers send bodies with any content type and with keys of their own among ours; what comes back never holds a null.
Source: the OpenAPI document `realtime-api-2024-05-21` and what clients are seen to send.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from parley.core.layers import ByRid, LayerWish
from parley.dialects.cloudflare.errors import Code, Fault, Problem

MAX_NAME = 255
"""Characters of a name; the API states no limit."""

Status = Literal["active", "inactive", "waiting"]


class _Shape(BaseModel):
    """camelCase on the wire, exact types, unknown keys ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, strict=True, extra="ignore", frozen=True, defer_build=True
    )

    def body(self) -> dict[str, Any]:
        """As JSON has it: what is None is left out."""
        return self.model_dump(by_alias=True, exclude_none=True)


def _printable(name: str) -> str:
    if any(ord(character) < 32 or 127 <= ord(character) < 160 for character in name):
        raise ValueError("it has control characters")
    return name


S = TypeVar("S", bound=_Shape)
Name = Annotated[str, Field(min_length=1, max_length=MAX_NAME), AfterValidator(_printable)]
Location = Literal["local", "remote"]
TrackKind = Literal["audio", "video"]
Ordering = Literal["none", "asciibetical"]


class Failure(_Shape):
    """Why a call, or one item of it, failed."""

    error_code: str | None = None
    error_description: str | None = None


class SessionDescription(_Shape):
    type: Literal["answer", "offer"]
    sdp: str = Field(repr=False)


class AnyDescription(_Shape):
    """As `renegotiate` takes it: without a type it is an answer."""

    type: Literal["answer", "offer"] = "answer"
    sdp: str = Field(repr=False)


class Simulcast(_Shape):
    """Which layer a remote track prefers. What was not said is None."""

    preferred_rid: str | None = None
    priority_ordering: Ordering | None = None
    rid_not_available: Ordering | None = Field(
        default=None,
        # Both misspellings are in the reference's own examples.
        validation_alias=AliasChoices("ridNotAvailable", "ridNotAvailabl", "ridNotAavailable"),
        serialization_alias="ridNotAvailable",
    )

    def over(self, earlier: Simulcast | None) -> Simulcast:
        """What was said earlier, with what is said now over it; an empty `preferredRid` takes the preference back."""
        merged = (earlier or Simulcast()).model_copy(update=self.model_dump(exclude_none=True))
        return merged.model_copy(update={"preferred_rid": merged.preferred_rid or None})


def layer_wish(simulcast: Simulcast | None) -> LayerWish:
    """Which layer a remote track is to be sent in. `priorityOrdering` counts once there is an estimate of bandwidth."""
    said = simulcast or Simulcast()
    return LayerWish(ByRid(said.preferred_rid or "", falls_back=said.rid_not_available == "asciibetical"))


class TrackItem(_Shape):
    location: Location
    track_name: Name
    mid: str | None = None
    session_id: str | None = None
    kind: TrackKind | None = None
    bidirectional_media_stream: bool = False
    simulcast: Simulcast | None = None


class UpdateItem(_Shape):
    location: Location
    mid: str | None = None
    session_id: str | None = None
    track_name: str | None = None
    simulcast: Simulcast | None = None


class MidItem(_Shape):
    mid: str = ""


class SessionsNew(_Shape):
    session_description: SessionDescription | None = None


class TracksNew(_Shape):
    session_description: SessionDescription | None = None
    auto_discover: bool = False
    tracks: list[TrackItem] = Field(default_factory=list)


class Renegotiate(_Shape):
    session_description: AnyDescription


class TracksUpdate(_Shape):
    tracks: list[UpdateItem]


class TracksClose(_Shape):
    tracks: list[MidItem]
    session_description: SessionDescription | None = None
    force: bool = False


def _integral(value: Any) -> Any:
    """The reference calls an id a number, so `2.0` is one too."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


ChannelId = Annotated[int, BeforeValidator(_integral), Field(ge=0, le=65534)]
Ushort = Annotated[int, Field(ge=0, le=65535)]
"""What RTCDataChannelInit has for both limits: no browser could state more."""


class ChannelItem(_Shape):
    location: Location
    data_channel_name: Name
    session_id: str | None = None
    ordered: bool | None = None
    max_retransmits: Ushort | None = None
    max_packet_life_time: Ushort | None = None
    wait_for_ack: bool | None = None
    can_reply: bool | None = None
    id: ChannelId | None = None


class ChannelIdItem(_Shape):
    id: ChannelId


class EstablishItem(_Shape):
    location: Location = "remote"
    data_channel_name: str = "server-events"


def _with_channels(shape: S) -> S:
    """Raise ValueError for a body that has the key in neither spelling."""
    if shape.model_fields_set.isdisjoint({"data_channels", "lower"}):
        raise ValueError("it has no dataChannels")
    return shape


# The reference's schemas and its examples spell one key in two ways; whoever writes the one of the examples reads it.


class ChannelsNew(_Shape):
    data_channels: list[ChannelItem] = Field(default_factory=list)
    lower: list[ChannelItem] | None = Field(default=None, alias="datachannels")

    @property
    def items(self) -> list[ChannelItem]:
        return self.data_channels or self.lower or []

    @model_validator(mode="after")
    def _names_channels(self) -> Self:
        return _with_channels(self)


class ChannelsClose(_Shape):
    data_channels: list[ChannelIdItem] = Field(default_factory=list)
    lower: list[ChannelIdItem] | None = Field(default=None, alias="datachannels")

    @property
    def items(self) -> list[ChannelIdItem]:
        return self.data_channels or self.lower or []

    @model_validator(mode="after")
    def _names_channels(self) -> Self:
        return _with_channels(self)


class Establish(_Shape):
    data_channel: EstablishItem | None = None
    lower: EstablishItem | None = Field(default=None, alias="datachannel")
    session_description: SessionDescription | None = None


class AdapterItem(_Shape):
    location: Location
    track_name: str | None = None
    session_id: str | None = None
    endpoint: str | None = None
    input_codec: Literal["pcm"] | None = None
    output_codec: Literal["pcm", "jpeg"] | None = None


class AdaptersNew(_Shape):
    tracks: list[AdapterItem]


class AdapterId(_Shape):
    adapter_id: str | None = None


class AdaptersClose(_Shape):
    tracks: list[AdapterId]


# Answers.


class NewSession(_Shape):
    session_id: str
    session_description: SessionDescription | None = None


class TrackResult(Failure):
    location: Location | None = None
    session_id: str | None = None
    track_name: str | None = None
    mid: str | None = None
    kind: TrackKind | None = None
    simulcast: Simulcast | None = None

    def failed(self, fault: Fault) -> TrackResult:
        """The same item with its error beside it."""
        return self.model_copy(update={"error_code": fault.code.value, "error_description": fault.text})


class Tracks(_Shape):
    requires_immediate_renegotiation: bool
    session_description: SessionDescription | None = None
    tracks: list[TrackResult]


class UpdatedTracks(_Shape):
    requires_immediate_renegotiation: bool = False
    tracks: list[TrackResult]


class MidResult(Failure):
    mid: str

    def failed(self, fault: Fault) -> MidResult:
        """The same item with its error beside it."""
        return self.model_copy(update={"error_code": fault.code.value, "error_description": fault.text})


class ClosedTracks(_Shape):
    requires_immediate_renegotiation: bool = False
    session_description: SessionDescription | None = None
    tracks: list[MidResult]


class Renegotiated(_Shape):
    session_description: SessionDescription | None = None


class TrackStatus(_Shape):
    location: Location
    mid: str
    track_name: str
    session_id: str | None = None
    status: Status


class ChannelStatus(_Shape):
    location: Location
    data_channel_name: str
    id: int
    session_id: str | None = None
    status: Literal["active", "inactive", "initializing"]


class SessionState(_Shape):
    tracks: list[TrackStatus]
    data_channels: list[ChannelStatus] = Field(default_factory=list)


class ChannelResult(Failure):
    location: Location | None = None
    data_channel_name: str | None = None
    session_id: str | None = None
    id: int | None = None
    ordered: bool | None = None
    max_retransmits: int | None = None
    max_packet_life_time: int | None = None
    wait_for_ack: bool | None = None
    can_reply: bool | None = None

    def failed(self, fault: Fault) -> ChannelResult:
        """The same item with its error beside it."""
        return self.model_copy(update={"error_code": fault.code.value, "error_description": fault.text})


class Channels(_Shape):
    data_channels: list[ChannelResult]
    lower: list[ChannelResult] | None = Field(default=None, alias="datachannels")


class Established(_Shape):
    requires_immediate_renegotiation: bool
    session_description: SessionDescription
    data_channel: ChannelResult
    lower: ChannelResult | None = Field(default=None, alias="datachannel")


class AdapterResult(Failure):
    track_name: str | None = None
    adapter_id: str | None = None
    session_id: str | None = None
    endpoint: str | None = None


class Adapters(_Shape):
    tracks: list[AdapterResult]


class ClosedAdapter(Failure):
    adapter_id: str | None = None


class ClosedAdapters(_Shape):
    tracks: list[ClosedAdapter]


class Refusal(_Shape):
    """The body of a call that failed as a whole."""

    error_code: str
    error_description: str
    error_subcode: str | None = None


# Reading.


def read(shape: type[S], body: bytes) -> S:
    """The body as this shape. Raises Problem(decoding_error) that names the items or the keys that are wrong."""
    try:
        value = json.loads(body)
        _check_text(value)
        value = _without_nulls(value)
    except (ValueError, RecursionError):
        raise Problem(Code.DECODING, "JSON body validation error: it is not JSON") from None
    if not isinstance(value, dict):
        raise Problem(Code.DECODING, "JSON body validation error: it is not an object")
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        raise Problem(Code.DECODING, f"JSON body validation error: {_places(error)}") from None


def read_offer(description: SessionDescription | None) -> str | None:
    """The text of an offer; None where there is no description. Raises Problem for an answer."""
    if description is None:
        return None
    if description.type != "offer":
        raise Problem(Code.INVALID_SDP, "An offer is expected here, not an answer")
    return description.sdp


def without_type(sdp: str) -> str:
    """The description without a last line that is its type: the reference's own example has slipped it in."""
    return re.sub(r"\n\s*type: (?:answer|offer)\s*\Z", "\n", sdp)


def ufrag(sdp: str) -> str:
    """The ICE user fragment a description states first; empty: none."""
    found = re.search(r"^a=ice-ufrag:(\S{1,256})", sdp, re.MULTILINE)
    return found[1] if found else ""


def has_candidates(sdp: str) -> bool:
    """Whether a description names any address."""
    return re.search(r"^a=candidate:", sdp, re.MULTILINE) is not None


def read_flag(text: str) -> bool:
    """A boolean of the query; empty: False. Raises Problem for what is none."""
    match text.lower() or "false":
        case "true" | "1":
            return True
        case "false" | "0":
            return False
        case _:
            raise Problem(Code.INVALID_PARAMS, "thirdparty is neither true nor false")


def _without_nulls(value: Any) -> Any:
    """A key that is null is a key that is not there."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value


def _check_text(value: Any) -> None:
    """Raise ValueError for text that could not be sent back: JSON can escape half a surrogate pair."""
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        for key, inner in value.items():
            _check_text(key)
            _check_text(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_text(inner)


def _places(error: ValidationError) -> str:
    """Where a body is wrong: the numbers of its items, or the path of the first key that is in none."""
    places = [fault["loc"] for fault in error.errors(include_url=False, include_input=False, include_context=False)]
    items = sorted({place[1] for place in places if len(place) > 1 and isinstance(place[1], int)})
    if items:
        return ",".join(map(str, items))
    return ".".join(map(str, places[0])) or "dataChannels"
