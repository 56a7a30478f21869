"""One peer: what its sections carry, and what its next description should say. A plain object with no await.

A section that the server sends on is a slot. It is offered with a track, live once answered, and when its track goes
it is offered as inactive; after that exchange it is free for another track of its kind. A style that keeps emptied
sections leaves it live instead, and whoever names the section gives it its next track without any exchange.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import lru_cache
from typing import Protocol

from parley.core.model import Subscription, Track
from parley.core.style import Decisions, Give, PeerStyle, Stop, Take
from parley.engine.engine import Channel, Consumer, Producer, Transport
from parley.engine.specs import ChannelId, CodecSpec, ConsumerId, Kind, LayerPolicy, Mid, ProducerId, RecvSpec, SendSpec
from parley.errors import Reason
from parley.ids import ParticipantId, PeerId, SubscriptionId, TrackId
from parley.negotiation import Change, CodecPref, Direction, MLinePlan, Negotiator, RemoteSection, RemoteView
from parley.negotiation.codecs import Identity, identity

NO_MEDIA_CODECS = frozenset({"rtx", "red", "ulpfec", "flexfec-03"})
"""Names that stand beside a codec in a section and are no codec of their own."""


@dataclass(eq=False)
class Receiver:
    """A section that the peer sends on, whether or not a track is bound to it."""

    peer: Peer
    section: RemoteSection
    spec: RecvSpec
    producer: Producer
    track: TrackId | None = None
    layers: set[int] = field(default_factory=set)
    """Layers that arrive now."""
    is_paused: bool = False


@dataclass(eq=False)
class Sender:
    """A subscription that this peer is to carry."""

    subscription: Subscription
    order: int
    """When it was asked for, counted over all peers."""
    wanted: Mid | None = None
    """The section that is to carry it; None: whichever."""
    slot: Slot | None = None

    @property
    def consumer(self) -> Consumer | None:
        return self.slot.consumer if self.slot is not None else None


class Phase(Enum):
    OFFERED = "offered"
    LIVE = "live"
    FREE = "free"


@dataclass(eq=False)
class Slot:
    """A section that the server sends on, or did."""

    mid: Mid
    kind: Kind
    phase: Phase
    sender: Sender | None = None
    consumer: Consumer | None = None
    spec: SendSpec | None = None
    """What may be sent on it, as last negotiated."""
    is_paused: bool = False
    """Whether the consumer was last told to pause."""
    policy: LayerPolicy | None = None
    """Which layers the consumer was last told to forward."""


@dataclass(frozen=True)
class Invitation:
    """A track that its client is asked to send, in an offer of the server's."""

    track: Track
    give: Give | None
    """What is sent on the section besides."""


@dataclass(eq=False)
class Exchange:
    """An offer of the server's that waits for its answer."""

    sending: tuple[tuple[Slot, Sender], ...]
    """Slots that are to carry a track with this exchange."""
    fresh: tuple[Slot, ...]
    """Those of them that did not exist before."""
    stopping: tuple[Mid, ...]
    """Sections offered as inactive."""
    inviting: Mapping[Mid, TrackId]
    """Sections that are to bring an invited track."""
    asks_data: bool
    """Whether it asks for a data section."""


Describe = Callable[[Subscription, Mid | None], MLinePlan | None]
"""(a subscription, the section to use again) to the section that is to carry it; None: its track is not there now."""


@dataclass(frozen=True)
class OfferPlan:
    lines: tuple[MLinePlan, ...]
    carries: tuple[Sender | Invitation | None, ...]
    """One per line: what it is to carry; None: nothing."""


class Line(Protocol):
    """Whoever opened a channel of its own on a peer. It must neither wait nor close what it hears of."""

    def opened(self) -> None:
        """The channel can be used."""

    def acknowledged(self) -> None:
        """The first message has come, where it was awaited; what is behind it is held until the channel is linked or
        told to ignore it.
        """

    def ended(self, reason: str) -> None:
        """The channel is gone, and not by `Peers.close_channel`."""


class Peer:
    """One transport with its negotiation, as `Peers` keeps it. Dialects read `id`, `participant`, `style`, states."""

    def __init__(
        self, id: PeerId, participant: ParticipantId, style: PeerStyle, transport: Transport, negotiator: Negotiator
    ) -> None:
        self.id = id
        self.participant = participant
        self.style = style
        self.transport = transport
        self.negotiator = negotiator
        self.lock = asyncio.Lock()
        self.connected = asyncio.Event()
        self.has_connected = False
        """Whether it ever was; one that may come back is not connected while it is lost."""
        self.closed_for: Reason | None = None
        """Why it is closed; None while it is open."""
        self.receivers: dict[Mid, Receiver] = {}
        self.senders: dict[SubscriptionId, Sender] = {}
        self.slots: dict[Mid, Slot] = {}
        self.invitations: list[Invitation] = []
        """Not offered yet."""
        self.shut: set[Mid] = set()
        """Sections on which nothing is to flow any more, which the next offer says."""
        self.channels: dict[str, Channel] = {}
        """By label; a channel of the server's own wins over one that the peer opened."""
        self.own_channels: set[str] = set()
        self.ready_channels: set[str] = set()
        self.lines: dict[ChannelId, Line] = {}
        """Channels that are their opener's own affair, and whom they tell."""
        self.exchange: Exchange | None = None
        self.has_offered = False
        self.wants_data = style.data
        self.has_data = asyncio.Event()
        """Whether a data section has been agreed."""
        self.wants_restart = False
        self.has_remote = False
        self.early_candidates: list[str] = []
        self.asked_upto = 0

    @property
    def is_open(self) -> bool:
        return self.closed_for is None

    @property
    def is_connected(self) -> bool:
        return self.is_open and self.connected.is_set()

    # What the peer sends.

    def receiver_of(self, producer: ProducerId) -> Receiver | None:
        return next((receiver for receiver in self.receivers.values() if receiver.producer.id == producer), None)

    def receiving(self) -> dict[Mid, TrackId]:
        """The track bound to each section that the peer sends on."""
        return {mid: receiver.track for mid, receiver in self.receivers.items() if receiver.track is not None}

    def unclaimed(self) -> tuple[RemoteSection, ...]:
        """Sections that the peer sends on and that no track is bound to, in order."""
        waiting = [receiver.section for receiver in self.receivers.values() if receiver.track is None]
        return tuple(sorted(waiting, key=lambda section: section.index))

    def plan_answer(self, view: RemoteView, decisions: Decisions, describe: Describe) -> list[MLinePlan]:
        """What is to be answered: sections as decided, a data section as offered, the rest by default."""
        plan: list[MLinePlan] = []
        for section in view.sections:
            if section.refused is not None or section.change is Change.STOPPED:
                continue
            if section.kind is Kind.DATA:
                plan.append(MLinePlan(section.mid, Kind.DATA))
                continue
            match decisions.get(section.mid):
                case Take(codecs=codecs, fmtp=fmtp, max_bps=max_bps):
                    direction = Direction.of(sends=self._sends(section.mid), receives=True)
                    if direction.sends:
                        continue  # What is there both ways stays as it is, and the track is bound to it.
                    plan.append(
                        MLinePlan(section.mid, section.kind, direction, codecs=codecs, fmtp=fmtp, max_bps=max_bps)
                    )
                case Give(subscription=None) if self._sends(section.mid):
                    continue  # It is open already.
                case Give() as give:
                    line = self._plan_give(section, give, describe)
                    if line is not None:
                        plan.append(line)
                case Stop():
                    plan.append(MLinePlan(section.mid, section.kind, Direction.INACTIVE))
        return plan

    def _plan_give(self, section: RemoteSection, give: Give, describe: Describe) -> MLinePlan | None:
        direction = Direction.of(sends=True, receives=give.receives or section.mid in self.receivers)
        if give.subscription is None:
            return MLinePlan(section.mid, section.kind, direction, msid=give.msid, cname=give.cname)
        sender = self.senders.get(give.subscription)
        line = describe(sender.subscription, section.mid) if sender is not None else None
        return None if line is None else replace(line, direction=direction)

    def _sends(self, mid: Mid) -> bool:
        slot = self.slots.get(mid)
        return slot is not None and slot.phase is not Phase.FREE

    # What the peer is sent.

    def sender_of(self, consumer: ConsumerId) -> Sender | None:
        """What a consumer sends now."""
        found = (slot for slot in self.slots.values() if slot.consumer is not None and slot.consumer.id == consumer)
        return next((slot.sender for slot in found), None)

    def waiting(self, upto: int | None) -> Iterator[Sender]:
        """Senders that no section carries yet, in the order they were asked for."""
        for sender in self.senders.values():
            if sender.slot is None and (upto is None or sender.order <= upto):
                yield sender

    def leaving(self) -> Iterator[Slot]:
        """Slots that are live and carry nothing any more, and are not to stay so."""
        if self.style.keep_emptied:
            return iter(())
        return (slot for slot in self.slots.values() if slot.phase is Phase.LIVE and slot.sender is None)

    def wants_offer(self, upto: int | None = None) -> bool:
        """Whether an offer would say anything new."""
        return (
            not self.has_offered
            or self.wants_restart
            or self.wants_data
            or bool(self.invitations)
            or any(True for _ in self.waiting(upto))
            or any(True for _ in self.leaving())
        )

    def plan_offer(self, upto: int | None, describe: Describe) -> OfferPlan:
        """What the next offer says: sections that stop, then sections that start, in the order they were asked for."""
        lines: list[MLinePlan] = []
        carries: list[Sender | Invitation | None] = []
        if self.wants_data and not self.has_data.is_set():
            lines.append(MLinePlan(None, Kind.DATA))
            carries.append(None)
        wanted = {sender.wanted for sender in self.waiting(upto)}
        stopping = {slot.mid for slot in self.leaving()} | (self.shut - wanted)
        for line in self.negotiator.sections:
            if line.mid in stopping and not line.stopped and line.direction is not Direction.INACTIVE:
                lines.append(MLinePlan(line.mid, line.kind, Direction.INACTIVE))
                carries.append(None)
        free = {
            kind: [slot.mid for slot in self.slots.values() if slot.phase is Phase.FREE and slot.kind is kind]
            for kind in (Kind.AUDIO, Kind.VIDEO)
        }
        for sender in self.waiting(upto):
            kind = sender.subscription.kind
            mid = sender.wanted
            if mid is None and free[kind] and self.style.reuse_inactive:
                mid = free[kind][0]
            described = describe(sender.subscription, mid)
            if described is None:
                continue
            if mid in free[kind]:
                free[kind].remove(mid)
            if mid in self.receivers:
                described = replace(described, direction=Direction.SENDRECV)
            lines.append(described)
            carries.append(sender)
        for invitation in self.invitations:
            give = invitation.give
            lines.append(
                MLinePlan(
                    None,
                    invitation.track.kind,
                    Direction.of(sends=give is not None, receives=True),
                    msid=give.msid if give is not None else None,
                    cname=give.cname if give is not None else None,
                )
            )
            carries.append(invitation)
        return OfferPlan(tuple(lines), tuple(carries))

    def begin(self, plan: OfferPlan, mids: Iterable[Mid]) -> Exchange:
        """Remember the offer that was made of this plan. mids: one for each line."""
        sending, fresh, stopping, inviting = [], [], [], {}
        for line, carried, mid in zip(plan.lines, plan.carries, mids, strict=True):
            match carried:
                case Sender() as sender:
                    slot = self.slots.get(mid)
                    if slot is None or line.mid is None:
                        slot = self.slots[mid] = Slot(mid, line.kind, Phase.OFFERED)
                        fresh.append(slot)
                    slot.phase, slot.sender, sender.slot = Phase.OFFERED, sender, slot
                    sending.append((slot, sender))
                    self.shut.discard(mid)
                case Invitation(track=track):
                    inviting[mid] = track.id
                case None if line.kind is not Kind.DATA:
                    stopping.append(mid)
        self.invitations = []
        asks_data = any(line.kind is Kind.DATA for line in plan.lines)
        self.exchange = Exchange(tuple(sending), tuple(fresh), tuple(stopping), inviting, asks_data)
        self.has_offered = True
        self.wants_restart = self.wants_data = False
        return self.exchange

    def complete(self) -> Exchange:
        """The open exchange, which is over: its stopped slots are free."""
        exchange, self.exchange = self.exchange, None
        assert exchange is not None, "an answer was taken while no offer was open"
        for mid in exchange.stopping:
            self.shut.discard(mid)
            if (slot := self.slots.get(mid)) is not None:
                slot.phase = Phase.FREE
        return exchange

    def abandon(self) -> Exchange | None:
        """The open exchange, which is forgotten: what it would have carried waits again, invitations apart."""
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return None
        for slot, _ in exchange.sending:
            if slot.sender is not None:
                slot.sender.slot, slot.sender = None, None
            slot.phase = Phase.FREE
        for slot in exchange.fresh:
            del self.slots[slot.mid]
        return exchange

    def stopped(self) -> set[Mid]:
        """Sections that were refused or stopped, with port 0."""
        return {line.mid for line in self.negotiator.sections if line.stopped}

    def sending(self) -> dict[Mid, TrackId]:
        """Every section that carries a track, those of an open offer included."""
        return {slot.mid: slot.sender.subscription.track for slot in self.slots.values() if slot.sender is not None}


def codecs_of(spec: RecvSpec) -> tuple[CodecPref, ...]:
    """The codecs a publisher may send, as a subscriber's section has to name them."""
    return _named(spec.codecs)


@lru_cache(maxsize=64)  # every subscriber of a track asks, and most tracks are alike
def _named(codecs: tuple[CodecSpec, ...]) -> tuple[CodecPref, ...]:
    return tuple(
        CodecPref(codec.name, codec.fmtp, codec.channels)
        for codec in codecs
        if codec.name.lower() not in NO_MEDIA_CODECS
    )


def layer_names(spec: RecvSpec) -> tuple[str, ...]:
    """The names of the layers a publisher sends, in declared order; empty: it sends one.

    Those of an `a=ssrc-group:SIM`, the lowest first, have none and are numbered down to the best, which is `0`.
    """
    sim = next((len(group.ssrcs) for group in spec.ssrc_groups if group.semantics == "SIM"), 0)
    return spec.rids or tuple(str(number) for number in reversed(range(sim)))


def suits(spec: SendSpec, source: RecvSpec) -> bool:
    """Whether what a publisher sends first of all may be sent on a section without negotiating it anew."""
    first = next((codec for codec in source.codecs if codec.name.lower() not in NO_MEDIA_CODECS), None)
    return first is not None and _identity(first) in {_identity(codec) for codec in spec.codecs}


def _identity(codec: CodecSpec) -> Identity:
    return identity(codec.name, codec.clock_hz, codec.channels, codec.fmtp)


def fits(style: PeerStyle, spec: RecvSpec) -> bool:
    """Whether a peer of this style could receive any codec the publisher may send."""
    known = {codec.identity for codec in style.caps.codecs}
    return any(codec.identity in known for codec in codecs_of(spec))


def describe_sending(
    style: PeerStyle, subscription: Subscription, track: Track, spec: RecvSpec, mid: Mid | None
) -> MLinePlan:
    """The section that carries this subscription."""
    return MLinePlan(
        mid,
        subscription.kind,
        Direction.SENDONLY,
        codecs=codecs_of(spec),
        msid=style.msid(subscription, track),
        cname=style.cname(subscription, track),
        fmtp=style.fmtp(track),
    )
