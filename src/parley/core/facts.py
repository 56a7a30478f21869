"""What peers report to rooms: what negotiation and the media engine have made true."""

from __future__ import annotations

from dataclasses import dataclass

from parley.core.model import EndReason, Failure
from parley.engine.specs import Mid
from parley.ids import ParticipantId, PeerId, SubscriptionId, TrackId


@dataclass(frozen=True, slots=True)
class Fact:
    participant: ParticipantId
    """Whose peer it is about."""


@dataclass(frozen=True, slots=True)
class PeerOpened(Fact):
    peer: PeerId
    receives: bool


@dataclass(frozen=True, slots=True)
class PeerUp(Fact):
    peer: PeerId
    is_primary: bool


@dataclass(frozen=True, slots=True)
class PeerClosed(Fact):
    """For whatever reason, before `PeerDown` if there is one."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class PeerDown(Fact):
    """The peer is closed, and not because anybody asked for it."""

    peer: PeerId
    failure: Failure
    is_needed: bool
    """Whether its participant cannot go on without it."""


@dataclass(frozen=True, slots=True)
class OfferWanted(Fact):
    peer: PeerId
    upto: int


@dataclass(frozen=True, slots=True)
class TrackFact(Fact):
    track: TrackId


@dataclass(frozen=True, slots=True)
class TrackBound(TrackFact):
    """A negotiated section carries this track."""

    mid: Mid
    codec: str
    rids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TrackLost(TrackFact):
    reason: EndReason


@dataclass(frozen=True, slots=True)
class TrackFlows(TrackFact):
    """Packets of it arrive."""


@dataclass(frozen=True, slots=True)
class TrackStalls(TrackFact):
    """Packets of it have stopped arriving."""


@dataclass(frozen=True, slots=True)
class LayersFlow(TrackFact):
    """Other layers of it than before arrive: these, ascending."""

    layers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LayersDemanded(TrackFact):
    """Other layers of it than before are wanted by those it is forwarded to: these, ascending."""

    layers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SendingBound(Fact):
    subscription: SubscriptionId
    mid: Mid


@dataclass(frozen=True, slots=True)
class SendingFlows(Fact):
    """Bound, and the peer is connected."""

    subscription: SubscriptionId


@dataclass(frozen=True, slots=True)
class SendingLayer(Fact):
    """Another layer than before is forwarded; None: nothing."""

    subscription: SubscriptionId
    layer: int | None


@dataclass(frozen=True, slots=True)
class SendingRefused(Fact):
    subscription: SubscriptionId
    failure: Failure


@dataclass(frozen=True, slots=True)
class SendingEnded(Fact):
    """Of a pulled one: its section stopped, or carries another, or its peer is closed."""

    subscription: SubscriptionId
    reason: EndReason


@dataclass(frozen=True, slots=True)
class ChannelReady(Fact):
    """A data channel of the primary peer can be sent on."""

    label: str


@dataclass(frozen=True, slots=True)
class ChannelLost(Fact):
    label: str
    reason: str


@dataclass(frozen=True, slots=True)
class MessageArrived(Fact):
    label: str
    message: bytes
