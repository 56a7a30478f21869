"""The nouns: room, participant, track, subscription, and the states each goes through.

Everything here is a frozen snapshot. A change makes a new snapshot with a higher `revision`, so an event may carry
one and whoever reads it later sees the state as it was at that event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from types import MappingProxyType

from parley.core.grants import Grant, Source
from parley.core.layers import Layer, LayerWish
from parley.engine.specs import Kind, Mid
from parley.errors import Reason
from parley.ids import ParticipantId, PeerId, RoomId, SubscriptionId, TenantId, TrackId

NOTHING: Mapping[str, object] = MappingProxyType({})
NO_ATTRIBUTES: Mapping[str, str] = MappingProxyType({})


class ParticipantState(Enum):
    """Where a participant stands. It never goes back."""

    JOINING = "joining"
    """It has a seat; its client has not been told yet."""
    JOINED = "joined"
    """Its client has been told what the room looks like."""
    ACTIVE = "active"
    """Its primary peer is connected: media and data reach it."""
    DISCONNECTED = "disconnected"
    """It is gone; `Participant.left_for` says why."""


class LeaveReason(StrEnum):
    """Why a participant left, or why a room closed."""

    CLIENT_LEFT = "client_left"
    """Its client said good-bye."""
    CLIENT_UNAVAILABLE = "client_unavailable"
    """Its client said that the user did not answer."""
    CLIENT_REJECTED = "client_rejected"
    """Its client said that the user refused."""
    CLIENT_FAILED = "client_failed"
    """Its client said that it had to give up."""
    DUPLICATE_IDENTITY = "duplicate_identity"
    """The same identity joined again; the newer one stays."""
    REMOVED = "removed"
    """Somebody with the right to do so removed it."""
    EXPIRED = "expired"
    """Its lease ran out, or its room was open for as long as it may be."""
    JOIN_TIMEOUT = "join_timeout"
    """Its primary peer was not connected within the join deadline."""
    SIGNAL_LOST = "signal_lost"
    """Its signalling connection broke and did not come back."""
    PEER_FAILED = "peer_failed"
    """Media could not reach it any more."""
    NEGOTIATION_TIMEOUT = "negotiation_timeout"
    """It did not answer an offer within the offer deadline."""
    NEGOTIATION_FAILED = "negotiation_failed"
    """What was negotiated could not be carried out."""
    SLOW_READER = "slow_reader"
    """It read its events too slowly."""
    DATA_LOST = "data_lost"
    """A data channel it needs was closed, by it or because it read too slowly."""
    ROOM_DELETED = "room_deleted"
    """Somebody with the right to do so closed the room."""
    ROOM_CLOSED = "room_closed"
    """The room closed by itself: nobody was left in it."""
    SERVER_SHUTDOWN = "server_shutdown"
    INTERNAL = "internal"


class TrackState(Enum):
    """announced → published → live ⇄ silent → ended."""

    ANNOUNCED = "announced"
    """Its participant has said that it will come."""
    PUBLISHED = "published"
    """Its section is negotiated: everybody is told and may subscribe."""
    LIVE = "live"
    """Packets arrive."""
    SILENT = "silent"
    """Packets have stopped arriving; they may come back."""
    ENDED = "ended"


class EndReason(StrEnum):
    """Why a track or a subscription ended."""

    UNPUBLISHED = "unpublished"
    """The publisher stopped sending it, or withdrew it."""
    REPLACED = "replaced"
    """The publisher sends another track on the same section, or the subscriber receives another there."""
    NOT_ALLOWED = "not_allowed"
    """The grant no longer reaches that far."""
    PARTICIPANT_LEFT = "participant_left"
    PEER_CLOSED = "peer_closed"
    UNSUBSCRIBED = "unsubscribed"
    """The subscriber no longer wants it."""
    SILENT = "silent"
    """Nothing of it arrived for as long as its participant's terms allow."""


class SubscriptionState(Enum):
    """wanted → bound → active → ended."""

    WANTED = "wanted"
    """Recorded; no section carries it yet."""
    BOUND = "bound"
    """A negotiated section carries it."""
    ACTIVE = "active"
    """Bound, and the peer is connected: what the publisher sends arrives."""
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One medium that one participant sends."""

    id: TrackId
    participant: ParticipantId
    kind: Kind
    source: Source = Source.UNKNOWN
    name: str = ""
    muted: bool = False
    state: TrackState = TrackState.ANNOUNCED
    mid: Mid | None = None
    """The section it arrives on, once published."""
    codec: str = ""
    """The codec its section prefers, in canonical case (`VP8`), once published."""
    layers: tuple[Layer, ...] = ()
    """Its simulcast layers: as announced, and once published those its section has, in declared order; empty: one."""
    baggage: Mapping[str, object] = field(default_factory=lambda: NOTHING)
    """What the publisher's dialect alone cares about; written and read by it, never by core."""
    revision: int = 0

    @property
    def is_simulcast(self) -> bool:
        """Whether its section names the encodings it carries."""
        return bool(self.layers) and self.was_published

    @property
    def is_published(self) -> bool:
        """Whether others may see it now."""
        return self.state in (TrackState.PUBLISHED, TrackState.LIVE, TrackState.SILENT)

    @property
    def was_published(self) -> bool:
        """Whether others have ever seen it."""
        return self.mid is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What one participant is held to where that is not what `Limits` says. None: what that says."""

    connect_s: float | None = None
    """From joining to ACTIVE."""
    silent_s: float | None = None
    """How long a track may be without packets before it ends; None: for ever."""
    max_tracks: int | None = None
    """From announced to ended."""
    max_announced: int | None = None
    """Of those, the ones not yet published."""
    max_pulls: int | None = None
    """Tracks it has asked for one by one, section by section."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """One connection of one identity to one room."""

    id: ParticipantId
    room: RoomId
    identity: str
    grant: Grant
    joined_at: float
    """Wall clock, in seconds since 1970-01-01 UTC."""
    name: str = ""
    metadata: str = ""
    attributes: Mapping[str, str] = field(default_factory=lambda: NO_ATTRIBUTES)
    state: ParticipantState = ParticipantState.JOINING
    left_for: LeaveReason | None = None
    """Why it left, once DISCONNECTED."""
    tracks: tuple[Track, ...] = ()
    """Its tracks in the order of their announcement, ended ones left out."""
    auto_subscribe: bool = True
    """Whether every track of the others is subscribed to without being asked for."""
    receives_on: PeerId | None = None
    """The peer that carries its subscriptions, once open."""
    terms: Terms = Terms()
    is_publisher: bool = False
    """Whether it has ever had a published track; a change of its grant asks again."""
    baggage: Mapping[str, object] = field(default_factory=lambda: NOTHING)
    """What its dialect alone cares about; written and read by it, never by core."""
    revision: int = 0
    """Rises with every change to it or to one of its tracks."""

    @property
    def is_active(self) -> bool:
        return self.state is ParticipantState.ACTIVE

    @property
    def is_gone(self) -> bool:
        return self.state is ParticipantState.DISCONNECTED

    @property
    def published(self) -> tuple[Track, ...]:
        """The tracks that others may see."""
        return tuple(track for track in self.tracks if track.is_published)

    def track(self, id: TrackId) -> Track | None:
        return next((track for track in self.tracks if track.id == id), None)

    def with_track(self, track: Track) -> Participant:
        """The same participant with this track in place of its former self, or added."""
        if self.track(track.id) is None:
            return self.changed(tracks=(*self.tracks, track))
        return self.changed(tracks=tuple(track if old.id == track.id else old for old in self.tracks))

    def without_track(self, id: TrackId) -> Participant:
        return self.changed(tracks=tuple(track for track in self.tracks if track.id != id))

    def changed(self, **changes: object) -> Participant:
        """The next revision, with these fields."""
        return replace(self, revision=self.revision + 1, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One participant's wish to receive one track, and how far it has come."""

    id: SubscriptionId
    subscriber: ParticipantId
    publisher: ParticipantId
    track: TrackId
    kind: Kind
    enabled: bool = True
    """Whether it is forwarded; False while the subscriber does not show it."""
    layers: LayerWish | None = None
    """Which of the track's layers is wanted; None: nothing was said, and the style of its peer counts."""
    state: SubscriptionState = SubscriptionState.WANTED
    mid: Mid | None = None
    """The section that carries it, once bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomOptions:
    """How a room behaves. Given by the first who joins; None: the server's own value."""

    max_participants: int | None = None
    """Seats; 0: no limit."""
    empty_timeout_s: float | None = None
    """How long it waits for its first participant."""
    departure_timeout_s: float | None = None
    """How long it waits for somebody to come back after the last one left."""
    metadata: str = ""
    baggage: Mapping[str, object] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomInfo:
    """A room as the outside sees it."""

    id: RoomId
    tenant: TenantId
    name: str
    """Empty: nobody's but its one participant's, which waits in a lobby."""
    created_at: float
    """Wall clock, in seconds since 1970-01-01 UTC."""
    max_participants: int = 0
    """Seats; 0: no limit."""
    empty_timeout_s: float = 300.0
    departure_timeout_s: float = 20.0
    metadata: str = ""
    num_participants: int = 0
    """Those that take a seat, hidden ones included."""
    num_publishers: int = 0
    is_recording: bool = False
    """Whether a recorder is among its participants."""
    lobby: str = ""
    """Where its one participant waits, when it has no name."""
    baggage: Mapping[str, object] = field(default_factory=lambda: NOTHING)
    revision: int = 0

    @property
    def is_private(self) -> bool:
        """Whether it is no room that anybody could join or see, but the place of one who waits in a lobby."""
        return not self.name


@dataclass(frozen=True, slots=True)
class Counts:
    """How much there is now."""

    rooms: int
    """Private ones left out."""
    participants: int
    tracks: int
    subscriptions: int
    peers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds that core holds every dialect to. Sizes in bytes of UTF-8, durations in seconds; a size of 0: no limit."""

    auto_create: bool = True
    """Whether joining a room that does not exist creates it."""
    max_rooms: int = 10_000
    max_participants: int = 0
    """Seats in a room that states no limit of its own; 0: no limit."""
    max_name_bytes: int = 256
    """Room names, identities and participant names, each."""
    max_metadata_bytes: int = 512 * 1024
    max_attributes_bytes: int = 64 * 1024
    """The sum of a participant's keys and values."""
    max_tracks: int = 64
    """Of one participant, from announced to ended."""
    max_announced: int = 20
    """Of those, the ones not yet published."""
    max_subscriptions: int = 512
    """Of one participant."""
    max_wishes: int = 1024
    """Tracks of one participant about which it has said something: wanted, unwanted, shown or not."""
    max_peers: int = 8
    """Of one participant."""
    max_data_bytes: int = 64_000
    """One data message."""
    held_data_bytes: int = 1024 * 1024
    """Reliable data kept for a participant whose channel is not open yet; beyond it the newest is dropped."""
    channel_queue_bytes: int = 8 * 1024 * 1024
    """What may wait in a reliable channel before its reader counts as too slow."""
    lossy_queue_bytes: int = 256 * 1024
    """What may wait in a lossy channel before the oldest is dropped."""
    events: int = 1024
    """Events that may wait for one participant before it counts as a slow reader."""
    crowd: int = 50
    """Participants from which on a room's news of those who only watch is gathered."""
    small_talk_per_s: int = 400
    """How often such news wakes anybody in a room, over all who are in it; what is gathered is told at once."""
    small_talk_wait_s: float = 1.0
    """For how long it is gathered at most."""
    listener_events: int = 16_384
    """Events that may wait for one listener of the bus."""
    empty_timeout_s: float = 300.0
    departure_timeout_s: float = 20.0
    join_timeout_s: float = 60.0
    """From joining to ACTIVE."""
    good_bye_s: float = 2.0
    """How long a client whose peer hung up has to say that it leaves."""
    wish_timeout_s: float = 60.0
    """How long a subscription to a track that does not exist is remembered."""
    apply_timeout_s: float = 1.0
    """How long the engine may take to carry out what was negotiated."""
    sweep_interval_s: float = 0.25
    """How often deadlines are looked at."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something that was asked for will not happen."""

    reason: Reason
    text: str = ""
    """A sentence for people. Never holds a token or SDP."""


def frozen(mapping: Mapping[str, str]) -> Mapping[str, str]:
    """A copy that nobody can change."""
    return MappingProxyType(dict(mapping))
