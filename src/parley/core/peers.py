"""The shell around peers: negotiates with clients, tells the media engine, reports facts to rooms.

One order is kept throughout: room in the engine's queue is checked, the negotiator decides, the engine carries out
what was decided and says so, and only then is a description handed out. So no client ever holds a description that
the engine has not installed. A change the engine cannot carry out closes the peer.

A participant's dialect calls `open`, `take_offer`, `make_offer`, `take_answer`, `rollback`, `add_candidate`,
`restart`, `claim` and `close`; `rooms` calls the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random

import structlog

from parley.clock import Clock
from parley.core import facts
from parley.core.errors import (
    AlreadyBound,
    Busy,
    KindMismatch,
    LimitExceeded,
    ParticipantNotFound,
    PeerClosed,
    PeerNotFound,
    SectionNotFound,
    TrackNotFound,
)
from parley.core.leases import Leases
from parley.core.model import EndReason, Failure, Limits, Subscription, Track
from parley.core.peer import Peer, Phase, Receiver, Sender, describe_sending, fits
from parley.core.style import Choose, PeerStyle, Take
from parley.engine import events as engine_events
from parley.engine.engine import Applied, Channel, Engine, OnFull, Transport
from parley.engine.errors import BadValue, EngineBusy, EngineClosed, EngineError
from parley.engine.events import TransportEvent, TransportPhase
from parley.engine.specs import DataSpec, Flow, Kind, Mid, RecvSpec, RemoteTransport, SendSpec, TransportParams
from parley.errors import Reason
from parley.ids import ParticipantId, PeerId, TrackId, mint, to_hex
from parley.negotiation import Delta, MLinePlan, Negotiator, RemoteSection, RemoteView, SignalingState

log = structlog.get_logger(__name__)

MAX_EARLY_CANDIDATES = 64
"""Candidates kept for a peer whose description has not come yet."""
NO_CHANGE = Applied(producers={}, consumers={})


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a peer's offer; the engine has installed what it says."""

    sdp: str = field(repr=False)
    receiving: Mapping[Mid, TrackId]
    """The track bound to each section the peer sends on."""
    sending: Mapping[Mid, TrackId]
    """The track on each section the server sends on."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer of the server's; the engine has installed what it says."""

    sdp: str = field(repr=False)
    sending: Mapping[Mid, TrackId]
    """The track on every section the server sends on, those of earlier exchanges included."""


class Peers:
    """Every open peer, of every participant."""

    def __init__(self, engine: Engine, *, clock: Clock, random: Random, limits: Limits) -> None:
        self._engine = engine
        self._clock = clock
        self._random = random
        self._limits = limits
        self._report: Callable[[facts.Fact], None] = lambda fact: None
        self._peers: dict[PeerId, Peer] = {}
        self._of: dict[ParticipantId, dict[PeerId, Peer]] = {}
        self._group_of: dict[ParticipantId, int] = {}
        self._tracks: dict[TrackId, Track] = {}
        self._receivers: dict[TrackId, Receiver] = {}
        self._offers = Leases[PeerId]()
        self._unclosed: list[Transport] = []
        self._orders = 0

    def on_fact(self, report: Callable[[facts.Fact], None]) -> None:
        """Name the one callable that hears every fact; it must not wait."""
        self._report = report

    def __len__(self) -> int:
        return len(self._peers)

    # For dialects.

    def open(self, participant: ParticipantId, style: PeerStyle) -> Peer:
        """Give a seated participant a peer, with a transport of its own in the engine.

        A peer that `offers` asks for its first offer at once, by `PeerWantsOffer`.
        Raises ParticipantNotFound, LimitExceeded(too_many_peers), Busy.
        """
        if participant not in self._group_of:
            raise ParticipantNotFound(participant)
        mine = self._of.setdefault(participant, {})
        if len(mine) >= self._limits.max_peers:
            raise LimitExceeded(Reason.TOO_MANY_PEERS, "peers of one participant", self._limits.max_peers)
        id = PeerId(mint(self._random))
        try:
            transport = self._engine.create_transport(
                group=self._group_of[participant], on_event=lambda event: self._hear(id, event)
            )
        except EngineError as error:
            raise Busy(str(error)) from error
        negotiator = Negotiator(style.caps, transport.params, mids=style.mids, random=self._random)
        peer = Peer(id, participant, style, transport, negotiator)
        self._peers[id] = mine[id] = peer
        self._report(facts.PeerOpened(participant, id, receives=style.receives))
        self._ask(peer)
        return peer

    def get(self, peer: PeerId) -> Peer:
        """The open peer with this id. Raises PeerNotFound."""
        found = self._peers.get(peer)
        if found is None:
            raise PeerNotFound(peer)
        return found

    def of(self, participant: ParticipantId) -> tuple[Peer, ...]:
        """The participant's open peers, oldest first."""
        return tuple(self._of.get(participant, {}).values())

    async def take_offer(self, peer: PeerId, sdp: str, choose: Choose) -> Answer:
        """Answer the peer's offer.

        choose: binds the offer's sections to announced tracks; see `parley.core.style.Choose`.
        Tracks bound for the first time are published, those whose section stopped are ended, before this returns.
        Raises NegotiationError, TrackNotFound, KindMismatch, AlreadyBound or Busy with nothing changed, PeerNotFound
        and PeerClosed.
        """
        found = self.get(peer)
        async with found.lock:
            self._check(found)
            view = found.negotiator.on_offer(sdp)
            try:
                takes = dict(choose(view))
                self._check_takes(found, view, takes)
                if view.ice_restart:
                    found.negotiator.restart_ice(self._restart(found))
                delta = found.negotiator.answer(found.plan_answer(view, takes))
            except BaseException:
                if found.negotiator.state is SignalingState.HAVE_REMOTE_OFFER:
                    found.negotiator.rollback()
                raise
            assert delta.sdp is not None, "an answer is a description"
            applied = await self._apply(found, delta)
            self._receive(found, view, takes, delta, applied)
            self._check_open(found)
            return Answer(
                delta.sdp,
                {mid: receiver.track for mid, receiver in found.receivers.items() if receiver.track is not None},
                found.sending(),
            )

    async def make_offer(self, peer: PeerId, upto: int | None = None) -> Offer | None:
        """Make an offer of everything that is wanted of the peer, or None when there is nothing to say now.

        upto: from the `PeerWantsOffer` that asks for it; nothing younger is offered. None: everything.
        While an offer is open this returns None too, and `PeerWantsOffer` comes again after the answer.
        The peer has `PeerStyle.offer_timeout_s` to answer while it is connected; then its participant leaves.
        Raises Busy with nothing changed, NegotiationError, PeerNotFound and PeerClosed.
        """
        found = self.get(peer)
        async with found.lock:
            self._check(found)
            if found.exchange is not None or not found.wants_offer(upto):
                return None
            plan = found.plan_offer(upto, lambda subscription, mid: self._describe(found, subscription, mid))
            if not plan.lines and found.has_offered and not found.wants_restart:
                return None
            delta = found.negotiator.offer(plan.lines)
            assert delta.sdp is not None, "an offer is a description"
            found.begin(plan, delta.mids)
            self._offers.set(found.id, self._clock.monotonic() + found.style.offer_timeout_s)
            await self._apply(found, delta)
            self._check_open(found)
            return Offer(delta.sdp, found.sending())

    async def take_answer(self, peer: PeerId, sdp: str) -> None:
        """Complete the open offer: what the peer accepted is sent from now on.

        Raises NegotiationError with the offer still open, or Busy likewise; PeerNotFound and PeerClosed.
        """
        found = self.get(peer)
        async with found.lock:
            self._check(found)
            delta = found.negotiator.on_answer(sdp)
            self._offers.drop(found.id)
            applied = await self._apply(found, delta)
            self._send_accepted(found, delta, applied)
            self._check_open(found)

    async def rollback(self, peer: PeerId) -> None:
        """Withdraw the open offer. What it would have carried waits for the next one, which nobody is asked for."""
        found = self.get(peer)
        async with found.lock:
            self._check(found)
            delta = found.negotiator.rollback()
            self._offers.drop(found.id)
            found.abandon()
            await self._apply(found, delta)

    def restart(self, peer: PeerId) -> None:
        """Have the next offer restart ICE, and ask for that offer. Media goes on meanwhile (RFC 8445 §9)."""
        found = self.get(peer)
        found.negotiator.restart_ice(self._restart(found))
        found.wants_restart = True
        self._ask(found)

    def add_candidate(self, peer: PeerId, candidate: str) -> None:
        """Hand on a candidate of the peer's, from `candidate:` on. One that cannot be used is left out silently."""
        found = self.get(peer)
        if not candidate:
            return
        if found.has_remote:
            self._add_candidate(found, candidate)
        elif len(found.early_candidates) < MAX_EARLY_CANDIDATES:
            found.early_candidates.append(candidate)

    async def connected(self, peer: PeerId) -> bool:
        """Wait until the peer is connected, at most its style's `connect_gate_s`; whether it is."""
        found = self.get(peer)
        try:
            async with asyncio.timeout(found.style.connect_gate_s):
                await found.connected.wait()
        except TimeoutError:
            return False
        return found.is_open

    def unclaimed(self, peer: PeerId) -> tuple[RemoteSection, ...]:
        """Sections that the peer sends on and that no track is bound to, in the order of the description."""
        return self.get(peer).unclaimed()

    def claim(self, peer: PeerId, mid: Mid, track: TrackId) -> None:
        """Bind an announced track to a section that was negotiated before it: the track is published now.

        Raises TrackNotFound, SectionNotFound, KindMismatch, AlreadyBound.
        """
        found = self.get(peer)
        receiver = found.receivers.get(mid)
        if receiver is None:
            raise SectionNotFound(peer, mid)
        self._check_take(found, mid, receiver.spec.kind, Take(track))
        if receiver.track is not None:
            raise AlreadyBound(track, mid)
        self._bind(found, receiver, track)

    def close(self, peer: PeerId) -> None:
        """End the peer, if it is open. Its tracks end and its subscriptions have no section any more."""
        found = self._peers.get(peer)
        if found is not None:
            self._close(found, Reason.PEER_CLOSED)

    # For rooms: participants and their tracks.

    def seat(self, participant: ParticipantId, group: int) -> None:
        """Let the participant open peers. group: an opaque number for transports that belong together."""
        self._group_of[participant] = group

    def unseat(self, participant: ParticipantId) -> None:
        """Close every peer of the participant and let it open no more."""
        self._group_of.pop(participant, None)
        for peer in self.of(participant):
            self._close(peer, Reason.PEER_CLOSED)
        self._of.pop(participant, None)

    def know(self, track: Track) -> None:
        """Remember how a track is now; a muted one is not forwarded."""
        before = self._tracks.get(track.id)
        self._tracks[track.id] = track
        receiver = self._receivers.get(track.id)
        if receiver is not None and (before is None or before.muted != track.muted):
            self._mute(receiver, track)

    def forget(self, track: TrackId) -> None:
        """Forward nothing more of a track. Its section is answered as before, and can be claimed by another."""
        self._tracks.pop(track, None)
        receiver = self._receivers.pop(track, None)
        if receiver is not None:
            receiver.track = None

    # For rooms: subscriptions.

    def send(self, peer: PeerId, subscription: Subscription) -> None:
        """Have this peer carry the subscription; its section is in the next offer."""
        found = self._peers.get(peer)
        if found is None or subscription.id in found.senders:
            return
        self._orders += 1
        sender = Sender(subscription, self._orders)
        found.senders[subscription.id] = sender
        source = self._receivers.get(subscription.track)
        if source is not None and not fits(found.style, source.spec):
            self._refuse(found, sender, source.spec)
            return
        self._ask(found)

    def stop(self, peer: PeerId, subscription: Subscription) -> None:
        """Have this peer no longer carry the subscription; nothing of it is sent from now on."""
        found = self._peers.get(peer)
        sender = found.senders.pop(subscription.id, None) if found is not None else None
        if found is None or sender is None:
            return
        slot, sender.slot = sender.slot, None
        if slot is None:
            return
        slot.sender = None
        consumer = slot.consumer
        if consumer is not None:
            self._tell(found, lambda: consumer.set_source(None))
        self._ask(found)

    def switch(self, peer: PeerId, subscription: Subscription) -> None:
        """Forward the subscription or hold it back, as its `enabled` says."""
        found = self._peers.get(peer)
        sender = found.senders.get(subscription.id) if found is not None else None
        if found is None or sender is None:
            return
        sender.subscription = subscription
        self._switch(found, sender)

    # For rooms: data.

    def channel(self, participant: ParticipantId, label: str) -> Channel | None:
        """The channel that data for the participant goes out on: of its primary peer, and ready; None: not yet."""
        for peer in self.of(participant):
            if peer.style.primary and label in peer.ready_channels:
                return peer.channels[label]
        return None

    def broadcast(self, channels: Iterable[Channel], message: bytes) -> bool:
        """Send one message on many channels; False, and nothing was sent, when the engine has no room for it now."""
        several = list(channels)
        if not several:
            return True
        try:
            self._engine.broadcast(several, message)
        except EngineBusy:
            return False
        except EngineClosed:
            pass  # The channels are gone with it, and that is reported by itself.
        except BadValue as error:
            log.warning("a message was left out", why=str(error), size=len(message))
        return True

    # Deadlines.

    def sweep(self, now: float) -> None:
        """Act on every deadline that has passed. now: seconds on the injected clock."""
        for id in self._offers.due(now):
            peer = self._peers.get(id)
            if peer is None or peer.exchange is None:
                continue
            if not peer.is_connected:
                # The peer may be too early to answer; the join deadline looks after that.
                self._offers.set(id, now + peer.style.offer_timeout_s)
                continue
            limit = peer.style.offer_timeout_s
            self._fail(peer, Failure(Reason.OFFER_TIMEOUT, f"no answer to an offer within {limit:g} s"))
        unclosed, self._unclosed = self._unclosed, []
        for transport in unclosed:
            self._end_transport(transport)

    # The engine's side.

    def _hear(self, id: PeerId, event: TransportEvent) -> None:
        peer = self._peers.get(id)
        if peer is None:
            return
        match event:
            case engine_events.TransportState(phase=TransportPhase.CONNECTED):
                self._connect(peer)
            case engine_events.TransportState(phase=TransportPhase.FAILED, reason=reason):
                self._fail(peer, Failure(Reason.PEER_FAILED, reason or "the connection failed"))
            case engine_events.TransportState(phase=TransportPhase.CLOSED, reason=reason):
                self._fail(peer, Failure(Reason.PEER_HUNG_UP, reason or "the peer closed the connection"))
            case engine_events.InternalError(reason=reason):
                self._fail(peer, Failure(Reason.INTERNAL, reason))
            case engine_events.FirstPacket(producer=producer, layer=layer):
                self._flow(peer, producer, layer)
            case engine_events.LayerActive(producer=producer, layer=layer):
                self._flow(peer, producer, layer)
            case engine_events.LayerInactive(producer=producer, layer=layer):
                self._stall(peer, producer, layer)
            case engine_events.ChannelOpen(channel=channel):
                self._open_channel(peer, channel)
            case engine_events.ChannelClosed(channel=channel, reason=reason):
                self._lose_channel(peer, channel, reason)

    def _connect(self, peer: Peer) -> None:
        if peer.connected.is_set():
            return
        peer.connected.set()
        self._report(facts.PeerUp(peer.participant, peer.id, is_primary=peer.style.primary))
        for sender in list(peer.senders.values()):
            if sender.slot is not None and sender.slot.phase is Phase.LIVE:
                self._report(facts.SendingFlows(peer.participant, sender.subscription.id))

    def _flow(self, peer: Peer, producer: int, layer: int) -> None:
        receiver = _by_producer(peer, producer)
        if receiver is None:
            return
        was_silent = not receiver.layers
        receiver.layers.add(layer)
        if was_silent and receiver.track is not None:
            self._report(facts.TrackFlows(peer.participant, receiver.track))

    def _stall(self, peer: Peer, producer: int, layer: int) -> None:
        receiver = _by_producer(peer, producer)
        if receiver is None or layer not in receiver.layers:
            return
        receiver.layers.discard(layer)
        if not receiver.layers and receiver.track is not None:
            self._report(facts.TrackStalls(peer.participant, receiver.track))

    # Channels.

    def _open_own_channels(self, peer: Peer) -> None:
        for style in peer.style.channels:
            channel = peer.transport.open_channel(
                style.label,
                id=style.id,
                negotiated=style.negotiated,
                ordered=style.ordered,
                max_retransmits=style.max_retransmits,
                protocol=style.protocol,
            )
            peer.channels[style.label] = channel
            peer.own_channels.add(style.label)

    def _open_channel(self, peer: Peer, channel: Channel) -> None:
        label = channel.label
        own = peer.channels.get(label) if label in peer.own_channels else None
        is_reliable = channel.max_retransmits is None and channel.max_lifetime_ms is None
        limit = self._limits.channel_queue_bytes if is_reliable else self._limits.lossy_queue_bytes
        self._tell(peer, lambda: channel.set_limit(limit, OnFull.CLOSE if is_reliable else OnFull.DROP_OLD))
        self._tell(
            peer,
            lambda: channel.listen(
                lambda message: self._report(facts.MessageArrived(peer.participant, label, message.data))
            ),
        )
        if own is None or own.id == channel.id:
            peer.channels[label] = channel
            peer.ready_channels.add(label)
            if peer.style.primary:
                self._report(facts.ChannelReady(peer.participant, label))

    def _lose_channel(self, peer: Peer, channel: Channel, reason: str) -> None:
        current = peer.channels.get(channel.label)
        if current is None or current.id != channel.id:
            return
        del peer.channels[channel.label]
        peer.ready_channels.discard(channel.label)
        if peer.style.primary:
            self._report(facts.ChannelLost(peer.participant, channel.label, reason))

    # An exchange, step by step.

    def _check(self, peer: Peer) -> None:
        self._check_open(peer)
        if not self._engine.has_room(4):
            raise Busy("the engine's command queue is full")

    def _check_open(self, peer: Peer) -> None:
        if peer.closed_for is not None:
            raise PeerClosed(peer.id, peer.closed_for)

    def _check_takes(self, peer: Peer, view: RemoteView, takes: Mapping[Mid, Take]) -> None:
        kinds = {section.mid: section.kind for section in view.sections}
        for mid, take in takes.items():
            if mid not in kinds:
                raise SectionNotFound(peer.id, mid)
            self._check_take(peer, mid, kinds[mid], take)
        if len({take.track for take in takes.values()}) < len(takes):
            mid, take = next(iter(takes.items()))
            raise AlreadyBound(take.track, mid)

    def _check_take(self, peer: Peer, mid: Mid, kind: Kind, take: Take) -> None:
        track = self._tracks.get(take.track)
        if track is None or track.participant != peer.participant:
            raise TrackNotFound(take.track)
        if track.kind is not kind:
            raise KindMismatch(take.track, mid)
        bound = self._receivers.get(take.track)
        if bound is not None and bound is not peer.receivers.get(mid):
            raise AlreadyBound(take.track, mid)

    async def _apply(self, peer: Peer, delta: Delta) -> Applied:
        """Have the engine carry out what was negotiated; a failure closes the peer and raises PeerClosed."""
        # A section that is only inactive keeps its consumer, without a source, so that its numbers on the wire
        # go on when it is used again.
        stopped = {line.mid for line in peer.negotiator.sections if line.stopped}
        kept = peer.slots.keys() - stopped
        end = tuple((mid, flow) for mid, flow in delta.ended if flow is not Flow.SEND or mid not in kept)
        if not (delta.remote or end or delta.recv or delta.send or delta.data):
            return NO_CHANGE
        try:
            applied = await self._carry_out(peer.transport, delta.remote, end, delta.recv, delta.send, delta.data)
        except EngineError as error:
            failure = Failure(Reason.APPLY_FAILED, str(error))
            log.warning("a negotiated change could not be carried out", peer=to_hex(peer.id), why=str(error))
            self._fail(peer, failure)
            raise PeerClosed(peer.id, failure.reason) from error
        except asyncio.CancelledError:
            # The engine may or may not have done it: what the peer is, nobody knows any more.
            self._fail(peer, Failure(Reason.ABANDONED, "the request that negotiated was abandoned"))
            raise
        self._check_open(peer)
        if delta.remote is not None and not peer.has_remote:
            peer.has_remote = True
            early, peer.early_candidates = peer.early_candidates, []
            for candidate in early:
                self._add_candidate(peer, candidate)
        if delta.data is not None and not peer.own_channels:
            self._tell(peer, lambda: self._open_own_channels(peer))
        return applied

    async def _carry_out(
        self,
        transport: Transport,
        remote: RemoteTransport | None,
        end: tuple[tuple[Mid, Flow], ...],
        recv: tuple[RecvSpec, ...],
        send: tuple[SendSpec, ...],
        data: DataSpec | None,
    ) -> Applied:
        deadline_s = self._limits.apply_timeout_s
        return await transport.apply(remote=remote, end=end, recv=recv, send=send, data=data, deadline_s=deadline_s)

    def _receive(self, peer: Peer, view: RemoteView, takes: Mapping[Mid, Take], delta: Delta, applied: Applied) -> None:
        """Bring what the peer sends up to date with an answer that the engine has carried out."""
        sections = {section.mid: section for section in view.sections}
        for mid, flow in delta.ended:
            if flow is Flow.RECV and (receiver := peer.receivers.pop(mid, None)) is not None:
                self._unbind(peer, receiver, EndReason.UNPUBLISHED)
        for spec in delta.recv:
            known = peer.receivers.get(spec.mid)
            if known is None:
                peer.receivers[spec.mid] = Receiver(peer, sections[spec.mid], spec, applied.producers[spec.mid])
            else:
                known.spec, known.producer, known.section = spec, applied.producers[spec.mid], sections[spec.mid]
        for mid, take in takes.items():
            receiver = peer.receivers.get(mid)
            if receiver is None or receiver.track == take.track:
                continue
            if receiver.track is not None:
                self._unbind(peer, receiver, EndReason.REPLACED)
            if take.track in self._tracks:
                self._bind(peer, receiver, take.track)

    def _bind(self, peer: Peer, receiver: Receiver, track: TrackId) -> None:
        receiver.track = track
        self._receivers[track] = receiver
        self._mute(receiver, self._tracks[track])
        codec = receiver.spec.codecs[0].name
        self._report(facts.TrackBound(peer.participant, track, receiver.spec.mid, codec))
        if receiver.layers:
            self._report(facts.TrackFlows(peer.participant, track))

    def _unbind(self, peer: Peer, receiver: Receiver, reason: EndReason) -> None:
        track, receiver.track = receiver.track, None
        if track is not None:
            self._receivers.pop(track, None)
            self._report(facts.TrackLost(peer.participant, track, reason))

    def _mute(self, receiver: Receiver, track: Track) -> None:
        if receiver.is_paused != track.muted:
            receiver.is_paused = track.muted
            self._tell(receiver.peer, receiver.producer.pause if track.muted else receiver.producer.resume)

    def _send_accepted(self, peer: Peer, delta: Delta, applied: Applied) -> None:
        """Start what the peer's answer accepted, and refuse what it did not."""
        exchange = peer.complete()
        stopped = {line.mid for line in peer.negotiator.sections if line.stopped}
        for slot, sender in exchange.sending:
            slot.consumer = applied.consumers.get(slot.mid, slot.consumer)
            accepted = any(spec.mid == slot.mid for spec in delta.send)
            if not accepted:
                if slot.mid in stopped:
                    peer.slots.pop(slot.mid, None)
                else:
                    slot.phase = Phase.FREE
                slot.sender = None
                if sender.slot is not None:
                    source = self._receivers.get(sender.subscription.track)
                    self._refuse(peer, sender, source.spec if source is not None else None)
                continue
            slot.phase = Phase.LIVE
            if sender.slot is slot:
                self._start(peer, sender)
        if peer.is_open and peer.wants_offer():
            self._ask(peer)

    def _start(self, peer: Peer, sender: Sender) -> None:
        slot = sender.slot
        consumer = sender.consumer
        assert slot is not None, "what starts has been negotiated"
        assert consumer is not None, "what was negotiated has been applied"
        source = self._receivers.get(sender.subscription.track)
        self._tell(peer, lambda: consumer.set_source(source.producer if source is not None else None))
        self._switch(peer, sender)
        self._report(facts.SendingBound(peer.participant, sender.subscription.id, slot.mid))
        if peer.is_connected:
            self._report(facts.SendingFlows(peer.participant, sender.subscription.id))

    def _switch(self, peer: Peer, sender: Sender) -> None:
        consumer = sender.consumer
        if consumer is not None:
            self._tell(peer, consumer.resume if sender.subscription.enabled else consumer.pause)

    def _refuse(self, peer: Peer, sender: Sender, spec: RecvSpec | None) -> None:
        peer.senders.pop(sender.subscription.id, None)
        sender.slot = None
        names = ", ".join(codec.name for codec in spec.codecs) if spec is not None else "none"
        failure = Failure(Reason.CODEC_UNSUPPORTED, f"the receiver takes none of the codecs sent: {names}")
        self._report(facts.SendingRefused(peer.participant, sender.subscription.id, failure))

    def _describe(self, peer: Peer, subscription: Subscription, mid: Mid | None) -> MLinePlan | None:
        track = self._tracks.get(subscription.track)
        source = self._receivers.get(subscription.track)
        if track is None or source is None:
            return None
        return describe_sending(peer.style, subscription, track, source.spec, mid)

    def _ask(self, peer: Peer) -> None:
        """Ask for an offer, unless one is open: then the answer asks."""
        if peer.is_open and peer.style.offers and peer.exchange is None and peer.wants_offer():
            self._report(facts.OfferWanted(peer.participant, peer.id, self._orders))

    def _restart(self, peer: Peer) -> TransportParams:
        try:
            return peer.transport.restart_ice()
        except EngineError as error:
            raise Busy(str(error)) from error

    def _add_candidate(self, peer: Peer, candidate: str) -> None:
        try:
            peer.transport.add_remote_candidate(candidate)
        except (BadValue, EngineBusy):
            pass  # RFC 8838 §11: a candidate is only ever one chance more; peer-reflexive ones make up for it.
        except EngineClosed:
            pass

    # Ends.

    def _tell(self, peer: Peer, command: Callable[[], object]) -> None:
        """Give the engine a small command; a peer that cannot be told is out of step and is closed."""
        if not peer.is_open:
            return
        try:
            command()
        except EngineError as error:
            self._fail(peer, Failure(Reason.ENGINE_BUSY, str(error)))

    def _fail(self, peer: Peer, failure: Failure) -> None:
        if not peer.is_open:
            return
        is_needed = peer.style.primary or peer.style.essential
        self._close(peer, failure.reason)
        self._report(facts.PeerDown(peer.participant, peer.id, failure, is_needed))

    def _close(self, peer: Peer, reason: Reason) -> None:
        if not peer.is_open:
            return
        peer.closed_for = reason
        del self._peers[peer.id]
        self._of.get(peer.participant, {}).pop(peer.id, None)
        self._offers.drop(peer.id)
        peer.negotiator.close()
        peer.connected.set()  # Whoever waits at the gate need not wait for its end.
        self._end_transport(peer.transport)
        for receiver in peer.receivers.values():
            self._unbind(peer, receiver, EndReason.PEER_CLOSED)
        peer.senders.clear()
        peer.slots.clear()

    def _end_transport(self, transport: Transport) -> None:
        try:
            transport.close()
        except EngineBusy:
            self._unclosed.append(transport)
        except EngineError:
            pass


def _by_producer(peer: Peer, producer: int) -> Receiver | None:
    return next((receiver for receiver in peer.receivers.values() if receiver.producer.id == producer), None)
