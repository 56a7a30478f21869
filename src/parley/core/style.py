"""What a dialect decides about one of its peers, as values and plain functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from parley.core.layers import ANY_LAYER, LayerWish
from parley.core.model import Subscription, Track
from parley.engine.specs import Mid
from parley.ids import SubscriptionId, TrackId
from parley.negotiation import Caps, CodecPref, MidStyle, Msid, RemoteView


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelStyle:
    """A data channel that the server opens on a peer."""

    label: str
    ordered: bool = True
    max_retransmits: int | None = None
    """How often a lost message is sent again; None: until it arrives."""
    max_lifetime_ms: int | None = None
    """How long a lost message is sent again, in place of how often."""
    protocol: str = ""
    id: int | None = None
    """Its SCTP stream; None: the engine chooses."""
    negotiated: bool = False
    """Whether both sides know of it without telling each other (RFC 8831 §6.5)."""

    @property
    def is_reliable(self) -> bool:
        return self.max_retransmits is None and self.max_lifetime_ms is None


@dataclass(frozen=True, slots=True)
class Take:
    """A decision of `choose`: the track that a section of the peer's offer carries, and how it is answered."""

    track: TrackId
    codecs: tuple[CodecPref, ...] = ()
    """Accepted codecs, preferred first; empty: all that both sides have, in the style's order."""
    fmtp: tuple[tuple[str, str], ...] = ()
    """Codec names and additions to their format parameters in the answer, which the peer's encoder follows."""
    max_bps: int | None = None
    """The most the peer may send there."""


@dataclass(frozen=True, slots=True)
class Give:
    """A decision of `choose`: the section is answered so that the server sends on it, as far as its offer allows."""

    subscription: SubscriptionId | None = None
    """Which pulled track it carries from now on; None: nothing yet, `Rooms.pull` may name its section later."""
    msid: Msid | None = None
    """The stream and track of a section that carries nothing yet."""
    cname: str | None = None
    receives: bool = True
    """Whether what the peer offers to send there is received too; what is received already goes on being so."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A decision of `choose`: nothing flows on the section any more, whatever its offer says."""


Decisions = Mapping[Mid, Take | Give | Stop]

Choose = Callable[[RemoteView], Decisions]
"""Decides sections of a peer's offer, most of all which announced track of its participant each of them carries.

It is called between the offer and its answer, and must neither wait nor call into core. A section that sends and is
left out is answered and received all the same, and waits in `Peers.unclaimed` for `Peers.claim`. A section that was
bound before and is left out keeps its track, both ways. What `choose` raises is raised, with nothing changed.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStyle:
    """How one peer negotiates. The functions are plain: they neither wait nor call into core."""

    caps: Caps
    """Codecs, header extensions and the message size the peer is offered or answered with."""
    msid: Callable[[Subscription, Track], Msid]
    """(the subscription, its track as it is now) to the stream and track written into the section that carries it."""
    cname: Callable[[Subscription, Track], str]
    """The CNAME of that section; sections with one CNAME are played in sync."""
    fmtp: Callable[[Track], tuple[tuple[str, str], ...]] = lambda track: ()
    """Codec names and additions to their format parameters, such as ("opus", "usedtx=1")."""
    mids: MidStyle = MidStyle.NUMERIC
    primary: bool = False
    """Whether its participant is ACTIVE once it is connected, and leaves when it fails."""
    essential: bool = True
    """Whether its participant leaves when it fails, primary or not."""
    layers: LayerWish = ANY_LAYER
    """Which layer of a track is sent where its subscription says nothing."""
    receives: bool = False
    """Whether it carries its participant's subscriptions: it becomes `Participant.receives_on`."""
    offers: bool = False
    """Whether the server offers on it: then what it should send is announced by `PeerWantsOffer`."""
    data: bool = True
    """Whether the server's first offer has a data section; `Peers.want_data` asks for one later."""
    channels: tuple[ChannelStyle, ...] = ()
    """Data channels that the server opens once a data section is agreed."""
    reuse_inactive: bool = True
    """Whether a section that carried a track is used again, after one completed exchange with it inactive."""
    keep_emptied: bool = False
    """Whether a section whose track has gone stays as it was negotiated, silent, until `Peers.stop_section`."""
    offer_timeout_s: float = 15.0
    """How long the peer may take to answer an offer while it is connected; then its participant leaves."""
    withdraw_offers: bool = False
    """Whether an offer that is not answered in time is withdrawn instead, connected or not: what it would have
    carried fails, and the participant stays."""
    return_s: float = 0.0
    """How long a peer whose connection has failed may take to come back, before it counts as failed."""
    connect_gate_s: float = 5.0
    """How long `Peers.connected` waits for the peer to be connected."""
