"""One peer: what its sections carry, and what its next description should say. A plain object with no await.

A section that the server sends on is a slot. It is offered with a track, live once answered, and when its track goes
it is offered as inactive; after that exchange it is free for another track of its kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

from parley.core.model import Subscription, Track
from parley.core.style import PeerStyle, Take
from parley.engine.engine import Channel, Consumer, Producer, Transport
from parley.engine.specs import Kind, Mid, ProducerId, RecvSpec
from parley.errors import Reason
from parley.ids import ParticipantId, PeerId, SubscriptionId, TrackId
from parley.negotiation import Change, CodecPref, Direction, MLinePlan, Negotiator, RemoteSection, RemoteView

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
    is_paused: bool = False
    """Whether the consumer was last told to pause."""


@dataclass(eq=False)
class Exchange:
    """An offer of the server's that waits for its answer."""

    sending: tuple[tuple[Slot, Sender], ...]
    """Slots that are to carry a track with this exchange."""
    fresh: tuple[Slot, ...]
    """Those of them that did not exist before."""
    stopping: tuple[Slot, ...]
    """Slots offered as inactive."""


Describe = Callable[[Subscription, Mid | None], MLinePlan | None]
"""(a subscription, the section to use again) to the section that is to carry it; None: its track is not there now."""


@dataclass(frozen=True)
class OfferPlan:
    lines: tuple[MLinePlan, ...]
    senders: tuple[Sender | None, ...]
    """One per line: what it is to carry; None: nothing."""


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
        self.closed_for: Reason | None = None
        """Why it is closed; None while it is open."""
        self.receivers: dict[Mid, Receiver] = {}
        self.senders: dict[SubscriptionId, Sender] = {}
        self.slots: dict[Mid, Slot] = {}
        self.channels: dict[str, Channel] = {}
        """By label; a channel of the server's own wins over one that the peer opened."""
        self.own_channels: set[str] = set()
        self.ready_channels: set[str] = set()
        self.exchange: Exchange | None = None
        self.has_offered = False
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

    def plan_answer(self, view: RemoteView, takes: dict[Mid, Take]) -> list[MLinePlan]:
        """What is to be answered: the taken sections as decided, a data section as offered, the rest by default."""
        plan = []
        for section in view.sections:
            if section.refused is not None or section.change is Change.STOPPED:
                continue
            take = takes.get(section.mid)
            if section.kind is Kind.DATA:
                plan.append(MLinePlan(section.mid, Kind.DATA))
            elif take is not None:
                plan.append(
                    MLinePlan(
                        section.mid,
                        section.kind,
                        Direction.RECVONLY,
                        codecs=take.codecs,
                        fmtp=take.fmtp,
                        max_bps=take.max_bps,
                    )
                )
        return plan

    # What the peer is sent.

    def waiting(self, upto: int | None) -> Iterator[Sender]:
        """Senders that no section carries yet, in the order they were asked for."""
        for sender in self.senders.values():
            if sender.slot is None and (upto is None or sender.order <= upto):
                yield sender

    def leaving(self) -> Iterator[Slot]:
        """Slots that are live and carry nothing any more."""
        return (slot for slot in self.slots.values() if slot.phase is Phase.LIVE and slot.sender is None)

    def wants_offer(self, upto: int | None = None) -> bool:
        """Whether an offer would say anything new."""
        return (
            not self.has_offered
            or self.wants_restart
            or any(True for _ in self.waiting(upto))
            or any(True for _ in self.leaving())
        )

    def plan_offer(self, upto: int | None, describe: Describe) -> OfferPlan:
        """What the next offer says: sections that stop, then sections that start, in the order they were asked for."""
        lines: list[MLinePlan] = []
        senders: list[Sender | None] = []
        if not self.has_offered and self.style.data:
            lines.append(MLinePlan(None, Kind.DATA))
            senders.append(None)
        for slot in self.leaving():
            lines.append(MLinePlan(slot.mid, slot.kind, Direction.INACTIVE))
            senders.append(None)
        free = {
            kind: [slot.mid for slot in self.slots.values() if slot.phase is Phase.FREE and slot.kind is kind]
            for kind in (Kind.AUDIO, Kind.VIDEO)
        }
        for sender in self.waiting(upto):
            kind = sender.subscription.kind
            mid = free[kind][0] if free[kind] and self.style.reuse_inactive else None
            line = describe(sender.subscription, mid)
            if line is None:
                continue
            if mid is not None:
                free[kind].pop(0)
            lines.append(line)
            senders.append(sender)
        return OfferPlan(tuple(lines), tuple(senders))

    def begin(self, plan: OfferPlan, mids: Iterable[Mid]) -> None:
        """Remember the offer that was made of this plan. mids: one for each line."""
        sending, fresh, stopping = [], [], []
        for line, sender, mid in zip(plan.lines, plan.senders, mids, strict=True):
            if sender is not None:
                slot = self.slots.get(mid)
                if slot is None or line.mid is None:
                    slot = self.slots[mid] = Slot(mid, line.kind, Phase.OFFERED)
                    fresh.append(slot)
                slot.phase, slot.sender, sender.slot = Phase.OFFERED, sender, slot
                sending.append((slot, sender))
            elif line.kind is not Kind.DATA:
                stopping.append(self.slots[mid])
        self.exchange = Exchange(tuple(sending), tuple(fresh), tuple(stopping))
        self.has_offered = True
        self.wants_restart = False

    def complete(self) -> Exchange:
        """The open exchange, which is over: its stopped slots are free."""
        exchange, self.exchange = self.exchange, None
        assert exchange is not None, "an answer was taken while no offer was open"
        for slot in exchange.stopping:
            slot.phase = Phase.FREE
        return exchange

    def abandon(self) -> None:
        """Forget the open exchange: what it would have carried waits again."""
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        for slot, sender in exchange.sending:
            sender.slot = slot.sender = None
            slot.phase = Phase.FREE
        for slot in exchange.fresh:
            del self.slots[slot.mid]

    def stopped(self) -> set[Mid]:
        """Sections that were refused or stopped, with port 0."""
        return {line.mid for line in self.negotiator.sections if line.stopped}

    def sending(self) -> dict[Mid, TrackId]:
        """Every section that carries a track, those of an open offer included."""
        return {slot.mid: slot.sender.subscription.track for slot in self.slots.values() if slot.sender is not None}


def codecs_of(spec: RecvSpec) -> tuple[CodecPref, ...]:
    """The codecs a publisher may send, as a subscriber's section has to name them."""
    return tuple(
        CodecPref(codec.name, codec.fmtp, codec.channels)
        for codec in spec.codecs
        if codec.name.lower() not in NO_MEDIA_CODECS
    )


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
