"""Everything that can happen in a room, as frozen values.

Most events are for everybody in the room, their subject included; what happens to a hidden participant is for itself
alone. A `Personal` event is for one participant. A participant's events reach it in one order, through one queue.
"""

from __future__ import annotations

from dataclasses import dataclass

from parley.core.data import Data
from parley.core.model import EndReason, Failure, LeaveReason, Participant, RoomInfo, Subscription, Track
from parley.ids import ParticipantId, PeerId, TrackId


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a room."""


@dataclass(frozen=True, slots=True)
class Happening:
    """An event with its circumstances, as listeners of the bus get it."""

    event: Event
    room: RoomInfo
    """As it was when the event was told."""
    at: float
    """Wall clock, in seconds since 1970-01-01 UTC."""


# The room. Only `RoomUpdated` is put into participants' queues; the other two are for listeners of the bus.


@dataclass(frozen=True, slots=True)
class RoomOpened(Event):
    room: RoomInfo


@dataclass(frozen=True, slots=True)
class RoomUpdated(Event):
    """Its metadata, its recording flag or one of its head counts changed."""

    room: RoomInfo
    counts_only: bool = False
    """Whether nothing but head counts changed: such news may wait for the next of its kind."""


@dataclass(frozen=True, slots=True)
class RoomClosed(Event):
    room: RoomInfo
    reason: LeaveReason


# Participants. Each event carries the whole participant as it was then.


@dataclass(frozen=True, slots=True)
class ParticipantEvent(Event):
    participant: Participant


@dataclass(frozen=True, slots=True)
class ParticipantJoined(ParticipantEvent):
    """It has a seat. Not told to the participant itself, which has its `Seat`."""


@dataclass(frozen=True, slots=True)
class ParticipantUpdated(ParticipantEvent):
    changed: frozenset[str]
    """The fields of Participant that changed: `state`, `name`, `metadata`, `attributes`, `grant`, `baggage`."""


@dataclass(frozen=True, slots=True)
class ParticipantLeft(ParticipantEvent):
    """It is gone, tracks and all. To the participant itself this is the last event of its queue."""

    reason: LeaveReason


# Tracks: `participant` is the publisher as it was then, this track included unless it has ended.


@dataclass(frozen=True, slots=True)
class TrackEvent(ParticipantEvent):
    track: Track


@dataclass(frozen=True, slots=True)
class TrackAnnounced(TrackEvent):
    """Told to the publisher and the bus alone."""


@dataclass(frozen=True, slots=True)
class TrackPublished(TrackEvent):
    """Its section is negotiated."""


@dataclass(frozen=True, slots=True)
class TrackLive(TrackEvent):
    """Packets arrive, for the first time or again."""


@dataclass(frozen=True, slots=True)
class TrackSilent(TrackEvent):
    """Packets have stopped arriving."""


@dataclass(frozen=True, slots=True)
class TrackUpdated(TrackEvent):
    """Muted or unmuted, or its baggage changed. For a track not yet published: told to the publisher alone."""

    changed: frozenset[str]
    """Names of the fields of Track that changed: `muted`, `baggage`, `name`, `source`."""


@dataclass(frozen=True, slots=True)
class TrackEnded(TrackEvent):
    """It is gone. For a track that never was published: told to the publisher alone."""

    reason: EndReason


# For one participant.


@dataclass(frozen=True, slots=True)
class Personal(Event):
    to: ParticipantId


@dataclass(frozen=True, slots=True)
class SubscriptionOpened(Personal):
    """The subscriber wants a published track; a section for it will be negotiated."""

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class SubscriptionActive(Personal):
    """Told to the subscriber: a negotiated section of a connected peer carries the track."""

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class SubscriptionEnded(Personal):
    subscription: Subscription
    reason: EndReason


@dataclass(frozen=True, slots=True)
class SubscriptionFailed(Personal):
    """The subscriber will not get this track: its reason is `track_not_found` (the wish was kept for a while in vain),
    `codec_unsupported` or another. A later `subscribe` tries again."""

    track: TrackId
    failure: Failure


@dataclass(frozen=True, slots=True)
class AccessChanged(Personal):
    """A publisher's own rule bars the recipient from one of its published tracks, or does so no longer."""

    publisher: ParticipantId
    track: TrackId
    allowed: bool


@dataclass(frozen=True, slots=True)
class SubscriptionSwitched(Personal):
    """The subscriber wants the track shown, or no longer, or another layer of it."""

    subscription: Subscription


@dataclass(frozen=True, slots=True)
class LayerForwarded(Personal):
    """Told to the subscriber: this layer of the track is what it gets from now on; None: nothing.

    A newer one takes the place of one that waits in the queue, as with the two below.
    """

    subscription: Subscription
    layer: int | None
    """An index of `Track.layers`."""


@dataclass(frozen=True, slots=True)
class LayersWanted(Personal):
    """Told to the publisher of a video: those who receive it together want these layers of it, and no others."""

    track: TrackId
    layers: tuple[int, ...]
    """Indexes of `Track.layers`, ascending; (): nobody wants any; 0: the one of a track that has no layers."""


@dataclass(frozen=True, slots=True)
class LayersArriving(Personal):
    """Told to the publisher of a track that has layers: these arrive, and no others."""

    track: TrackId
    layers: tuple[int, ...]
    """Indexes of `Track.layers`, ascending."""


@dataclass(frozen=True, slots=True)
class TrackHeard(Personal):
    """Told to the publisher, once for each track: the first subscriber that is not hidden receives it."""

    track: TrackId


@dataclass(frozen=True, slots=True)
class DataReceived(Personal):
    """Data for a participant that takes it from its queue, because it stated no `DataStyle` when it joined."""

    sender: Participant | None
    """None: the server itself."""
    data: Data


@dataclass(frozen=True, slots=True)
class PeerConnected(Personal):
    peer: PeerId


@dataclass(frozen=True, slots=True)
class PeerFailed(Personal):
    """The peer is closed. What follows for the participant is told by its own events."""

    peer: PeerId
    failure: Failure


@dataclass(frozen=True, slots=True)
class PeerWantsOffer(Personal):
    """What this peer should send has changed: call `Peers.make_offer(peer, upto)` when it suits.

    At most one waits in a queue for each peer; a newer one takes the place of an older one at the end, so that every
    update an offer depends on stands before it.
    """

    peer: PeerId
    upto: int
    """What the offer may contain: nothing younger than this event."""
