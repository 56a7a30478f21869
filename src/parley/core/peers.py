"""The shell around peers: negotiates with clients, tells the media engine, reports facts to rooms.

One order is kept throughout: room in the engine's queue is checked, the negotiator decides, the engine carries out
what was decided and says so, and only then is a description handed out. So no client ever holds a description that
the engine has not installed. A change the engine cannot carry out closes the peer.

A participant's dialect calls `open`, `take_offer`, `make_offer`, `take_answer`, `rollback`, `add_candidate`,
`restart`, `claim`, `invite`, `can_carry`, `stop_section` and `close`; `rooms` calls the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from random import Random

import structlog

from parley.clock import Clock, within
from parley.core import facts
from parley.core.channels import Channels
from parley.core.errors import (
    Busy,
    LimitExceeded,
    ParticipantNotFound,
    PeerClosed,
    PeerNotFound,
    Refused,
    SectionNotFound,
    TrackNotFound,
)
from parley.core.leases import Leases
from parley.core.model import EndReason, Failure, Limits, Subscription, Track
from parley.core.peer import Describe, Invitation, Line, Peer
from parley.core.receiving import Receiving
from parley.core.sending import Sending
from parley.core.style import ChannelStyle, Choose, Give, PeerStyle, Take
from parley.core.turns import Turns
from parley.engine import events as engine_events
from parley.engine.engine import Applied, Channel, Engine, MessageListener, Transport, TransportStats
from parley.engine.errors import BadValue, EngineBusy, EngineClosed, EngineError
from parley.engine.events import EngineEvent, TransportEvent, TransportPhase
from parley.engine.specs import Flow, Kind, Mid, TransportParams
from parley.errors import Reason
from parley.ids import ParticipantId, PeerId, SubscriptionId, TrackId, mint, to_hex
from parley.negotiation import Delta, IceMode, NegotiationError, Negotiator, RemoteSection, SignalingState

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
    carrying: Mapping[SubscriptionId, Mid]
    """The section of every subscription that this offer is the first to carry."""
    inviting: Mapping[TrackId, Mid]
    """The section of every track that this offer asks for."""


class Peers:
    """Every open peer, of every participant."""

    def __init__(self, engine: Engine, *, clock: Clock, random: Random, limits: Limits, turns: Turns) -> None:
        """turns: what negotiates takes one, so that offers to a whole crowd hold up nobody."""
        self._engine = engine
        self._clock = clock
        self._random = random
        self._limits = limits
        self._turns = turns
        self._listener: Callable[[facts.Fact], None] = lambda fact: None
        self._peers: dict[PeerId, Peer] = {}
        self._of: dict[ParticipantId, dict[PeerId, Peer]] = {}
        self._group_of: dict[ParticipantId, int] = {}
        self._offers = Leases[PeerId]()
        self._returns = Leases[PeerId]()
        self._unclosed: list[Transport] = []
        self._overdue: list[PeerId] = []
        """Whose offers are to be withdrawn."""
        self._missed = False
        """Whether the engine has lost events of it knows not which transports."""
        self._receiving = Receiving(self._report, self._tell)
        self._sending = Sending(self._receiving, self._report, self._tell, self._ask)
        self._channels = Channels(engine, limits, self._report, self._tell)
        engine.on_event(self._hear_engine)

    def on_fact(self, listener: Callable[[facts.Fact], None]) -> None:
        """Name the one callable that hears every fact; it must not wait."""
        self._listener = listener

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
                group=self._group_of[participant],
                on_event=lambda event: self._hear(id, event),
                lite=style.caps.ice is IceMode.LITE,
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
        Raises NegotiationError, TrackNotFound, SectionNotFound, KindMismatch, AlreadyBound or Busy with nothing
        changed, PeerNotFound and PeerClosed.
        """
        found = self.get(peer)
        async with found.lock:
            await self._turns.take()
            self._check(found)
            view = found.negotiator.on_offer(sdp)
            try:
                decisions = dict(choose(view))
                takes = {mid: one for mid, one in decisions.items() if isinstance(one, Take)}
                gives = {mid: one for mid, one in decisions.items() if isinstance(one, Give)}
                self._receiving.check(found, view, takes)
                if view.ice_restart:
                    found.negotiator.restart_ice(self._restart(found))
                delta = found.negotiator.answer(found.plan_answer(view, decisions, self._describe(found)))
            except BaseException:
                if found.negotiator.state is SignalingState.HAVE_REMOTE_OFFER:
                    found.negotiator.rollback()
                raise
            assert delta.sdp is not None, "an answer is a description"
            applied = await self._apply(found, delta)
            self._receiving.update(found, view, takes, delta, applied)
            self._sending.give(found, gives, applied)
            self._check_open(found)
            return Answer(delta.sdp, found.receiving(), found.sending())

    async def make_offer(self, peer: PeerId, upto: int | None = None) -> Offer | None:
        """Make an offer of everything that is wanted of the peer, or None when there is nothing to say now.

        upto: from the `PeerWantsOffer` that asks for it; nothing younger is offered. None: everything.
        While an offer is open this returns None too, and `PeerWantsOffer` comes again after the answer.
        The peer has `PeerStyle.offer_timeout_s` to answer while it is connected; then its participant leaves.
        Raises Busy with nothing changed, NegotiationError, PeerNotFound and PeerClosed.
        """
        found = self.get(peer)
        async with found.lock:
            await self._turns.take()
            self._check(found)
            if found.exchange is not None or not found.wants_offer(upto):
                return None
            plan = found.plan_offer(upto, self._describe(found))
            is_due = found.wants_restart or (found.style.offers and (plan.lines or not found.has_offered))
            brings = any(plan.carries) or any(line.kind is Kind.DATA for line in plan.lines)
            if not is_due and not brings:
                return None  # That something stops is no reason for an offer on a peer that does not ask for any.
            delta = found.negotiator.offer(plan.lines)
            assert delta.sdp is not None, "an offer is a description"
            exchange = found.begin(plan, delta.mids)
            self._offers.set(found.id, self._clock.monotonic() + found.style.offer_timeout_s)
            applied = await self._apply(found, delta)
            # The peer may begin to send what it is asked for before its answer is here.
            self._receiving.settle(found, delta, applied)
            self._check_open(found)
            carrying = {sender.subscription.id: slot.mid for slot, sender in exchange.sending}
            inviting = {track: mid for mid, track in exchange.inviting.items()}
            return Offer(delta.sdp, found.sending(), carrying, inviting)

    async def take_answer(self, peer: PeerId, sdp: str) -> None:
        """Complete the open offer: what the peer accepted is sent from now on.

        Raises NegotiationError with the offer still open, or Busy likewise; PeerNotFound and PeerClosed.
        """
        found = self.get(peer)
        async with found.lock:
            await self._turns.take()
            self._check(found)
            delta = found.negotiator.on_answer(sdp)
            self._offers.drop(found.id)
            applied = await self._apply(found, delta)
            exchange = found.complete()
            self._receiving.settle(found, delta, applied)
            self._receiving.accept(found, exchange.inviting)
            self._sending.complete(found, applied)
            self._check_open(found)

    async def rollback(self, peer: PeerId, failure: Failure | None = None) -> None:
        """Withdraw the open offer. What it would have carried waits for the next one, which nobody is asked for;
        tracks that it asked for are lost.

        failure: why that is for good; then what it would have carried fails.
        """
        found = self.get(peer)
        async with found.lock:
            self._check(found)
            delta = found.negotiator.rollback()
            self._offers.drop(found.id)
            exchange = found.abandon()
            applied = await self._apply(found, delta)
            self._receiving.settle(found, delta, applied)
            if exchange is not None:
                self._receiving.accept(found, exchange.inviting)
                if failure is not None:
                    self._sending.withdraw(found, exchange, failure)

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
            async with within(found.style.connect_gate_s):
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
        self._receiving.claim(self.get(peer), mid, track)

    def invite(self, peer: PeerId, track: TrackId, give: Give | None = None) -> None:
        """Have the next offer ask the peer for an announced track, on a section of its own. It is published with the
        answer, or ends if that refuses it.

        give: what the server sends there besides; None: nothing. Raises TrackNotFound.
        """
        found = self.get(peer)
        known = self._receiving.track(track)
        if known is None or known.participant != found.participant:
            raise TrackNotFound(track)
        found.invitations.append(Invitation(known, give))

    def can_carry(self, peer: PeerId, mid: Mid, track: Track) -> bool:
        """Whether `Rooms.pull` may put this track on this section: it is of its kind, and where the server sends
        already, what the track's publisher sends has been agreed. Raises SectionNotFound, PeerNotFound.
        """
        return self._sending.check_place(self.get(peer), mid, track.kind, track.id)

    def stop_section(self, peer: PeerId, mid: Mid) -> None:
        """Let nothing flow on a section any more, either way, without a description; the next offer says so. Its track
        and what it carries end. Raises SectionNotFound, PeerNotFound.
        """
        found = self.get(peer)
        is_there = any(line.mid == mid and not line.stopped for line in found.negotiator.sections)
        if not is_there and mid not in found.slots and mid not in found.receivers:
            raise SectionNotFound(found.id, mid)
        found.shut.add(mid)
        self._sending.vacate(found, mid)
        self._receiving.stop(found, mid)
        invited = found.exchange.inviting.get(mid) if found.exchange is not None else None
        if invited is not None and self._receiving.track(invited) is not None:
            self._report(facts.TrackLost(found.participant, invited, EndReason.UNPUBLISHED))

    def want_data(self, peer: PeerId) -> None:
        """Have the next offer ask for a data section, unless one is agreed. Raises PeerNotFound."""
        found = self.get(peer)
        found.wants_data = not found.has_data.is_set()

    def has_data(self, peer: PeerId) -> bool:
        """Whether a data section has been agreed. Raises PeerNotFound."""
        return self.get(peer).has_data.is_set()

    def offers_data(self, peer: PeerId) -> bool:
        """Whether the open offer asks for a data section. Raises PeerNotFound."""
        found = self.get(peer)
        return found.exchange is not None and found.exchange.asks_data

    async def data_ready(self, peer: PeerId) -> bool:
        """Wait until the peer is connected and a data section agreed, at most its style's `connect_gate_s`; whether
        they are. Raises PeerNotFound."""
        found = self.get(peer)
        try:
            async with asyncio.timeout(found.style.connect_gate_s):
                await found.connected.wait()
                await found.has_data.wait()
        except TimeoutError:
            return False
        return found.is_open

    def open_channel(
        self,
        peer: PeerId,
        style: ChannelStyle,
        line: Line,
        limit_bytes: int,
        *,
        ack: bool = False,
        hear: MessageListener | None = None,
    ) -> Channel:
        """Open a data channel whose end concerns nobody but `line`; what arrives goes where it is linked to.

        limit_bytes: what may wait to be sent; beyond it the newest is dropped, or a reliable channel closed.
        ack: the line is told of the first message, which goes nowhere else.
        hear: hears every message, besides.
        Raises Busy, PeerNotFound.
        """
        return self._channels.open_line(self.get(peer), style, line, limit_bytes, ack=ack, hear=hear)

    def link(self, source: Channel, to: Channel) -> None:
        """Have the engine pass what arrives on one such channel on to another; it ends with either. Raises Busy."""
        self._channels.link(source, to)

    def unlink(self, peer: PeerId, source: Channel, to: Channel) -> None:
        """Pass nothing more on from this peer's channel; no error when nothing was, or the peer is gone."""
        if (found := self._peers.get(peer)) is not None:
            self._channels.unlink(found, source, to)

    def close_channel(self, peer: PeerId, channel: Channel) -> None:
        """End a channel of `open_channel`; no error when it, or its peer, is gone. Its line is not told."""
        if (found := self._peers.get(peer)) is not None:
            self._channels.close_line(found, channel)

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

    def track(self, id: TrackId) -> Track | None:
        """A track of any participant, as it was last told of."""
        return self._receiving.track(id)

    def know(self, track: Track) -> None:
        """Remember how a track is now; a muted one is not forwarded."""
        self._receiving.know(track)

    def forget(self, track: TrackId) -> None:
        """The track is gone. Its section is answered as before, and can be claimed by another."""
        known = self._receiving.track(track)
        for peer in self.of(known.participant) if known is not None else ():
            peer.invitations = [one for one in peer.invitations if one.track.id != track]
        self._receiving.forget(track)

    # For rooms: subscriptions and data.

    def send(self, peer: PeerId, subscription: Subscription, mid: Mid | None = None) -> None:
        """Have this peer carry the subscription; its section is in the next offer.

        mid: the section that is to carry it, in place of what it carries; at once where the server sends already.
        """
        if (found := self._peers.get(peer)) is not None:
            self._sending.start(found, subscription, mid)

    def stop(self, peer: PeerId, subscription: Subscription) -> None:
        """Have this peer no longer carry the subscription; nothing of it is sent from now on."""
        if (found := self._peers.get(peer)) is not None:
            self._sending.stop(found, subscription)

    def switch(self, peer: PeerId, subscription: Subscription) -> None:
        """Forward the subscription or hold it back, as its `enabled` says, and the layer it wants; no error where this
        peer does not carry it."""
        if (found := self._peers.get(peer)) is not None:
            self._sending.switch(found, subscription)

    def channel(self, participant: ParticipantId, label: str) -> Channel | None:
        """The channel that data for the participant goes out on: of its primary peer, and ready; None: not yet."""
        for peer in self.of(participant):
            if peer.style.primary and label in peer.ready_channels:
                return peer.channels[label]
        return None

    def broadcast(self, channels: Iterable[Channel], message: bytes) -> bool:
        """Send one message on many channels; False, and nothing was sent, when the engine has no room for it now."""
        return self._channels.broadcast(channels, message)

    # Deadlines.

    def sweep(self, now: float) -> None:
        """Act on every deadline that has passed. now: seconds on the injected clock."""
        for id in self._offers.due(now):
            peer = self._peers.get(id)
            if peer is None or peer.exchange is None:
                continue
            if peer.style.withdraw_offers:
                self._overdue.append(id)
                continue
            if not peer.is_connected:
                # The peer may be too early to answer; the join deadline looks after that.
                self._offers.set(id, now + peer.style.offer_timeout_s)
                continue
            limit = peer.style.offer_timeout_s
            self._fail(peer, Failure(Reason.OFFER_TIMEOUT, f"no answer to an offer within {limit:g} s"))
        for id in self._returns.due(now):
            if (peer := self._peers.get(id)) is not None:
                self._fail(peer, Failure(Reason.PEER_FAILED, "the connection failed and did not come back"))
        unclosed, self._unclosed = self._unclosed, []
        for transport in unclosed:
            self._end_transport(transport)

    async def withdraw(self) -> None:
        """Withdraw the offers that have not been answered in time, where that is what the style wants."""
        overdue, self._overdue = self._overdue, []
        for id in overdue:
            peer = self._peers.get(id)
            if peer is None or peer.exchange is None:
                continue
            failure = Failure(Reason.OFFER_TIMEOUT, f"no answer to the offer within {peer.style.offer_timeout_s:g} s")
            try:
                await self.rollback(id, failure)
            except Busy:
                self._overdue.append(id)
            except (NegotiationError, Refused):
                pass  # It was answered after all, or its peer is gone.

    async def recheck(self) -> None:
        """Ask the engine where every peer stands, if it has said that it could not tell everything."""
        if not self._missed:
            return
        self._missed = False
        for peer in list(self._peers.values()):
            try:
                stats = await peer.transport.stats(deadline_s=self._limits.apply_timeout_s)
            except EngineClosed:
                stats = TransportStats(TransportPhase.CLOSED)
            except EngineError as error:
                log.warning("a transport could not be asked", peer=to_hex(peer.id), why=str(error))
                self._missed = True
                return
            self._enter(peer, stats.phase, "the engine has lost the event that said why")

    # The engine's side.

    def _hear_engine(self, event: EngineEvent) -> None:
        match event:
            case engine_events.Overflow(lost=lost):
                log.error("events of the media engine were lost; every transport is asked again", lost=lost)
                self._missed = True
            case engine_events.InternalError(reason=reason):
                log.error("the media engine has caught a mistake of its own", why=reason)
            case engine_events.EngineEnded():
                pass  # Every transport says that it is closed; `/healthz` tells the rest.

    def _hear(self, id: PeerId, event: TransportEvent) -> None:
        peer = self._peers.get(id)
        if peer is None:
            return
        match event:
            case engine_events.TransportState(phase=phase, reason=reason):
                self._enter(peer, phase, reason)
            case engine_events.InternalError(reason=reason):
                self._fail(peer, Failure(Reason.INTERNAL, reason))
            case engine_events.FirstPacket(producer=producer, layer=layer):
                self._receiving.flow(peer, producer, layer)
            case engine_events.LayerActive(producer=producer, layer=layer):
                self._receiving.flow(peer, producer, layer)
            case engine_events.LayerInactive(producer=producer, layer=layer):
                self._receiving.stall(peer, producer, layer)
            case engine_events.LayerDemand(producer=producer, layers=layers):
                self._receiving.demand(peer, producer, layers)
            case engine_events.ConsumerLayer(consumer=consumer, layer=forwarded):
                self._sending.forward(peer, consumer, forwarded)
            case engine_events.ChannelOpen(channel=channel):
                self._channels.opened(peer, channel)
            case engine_events.ChannelClosed(channel=channel, reason=reason):
                self._channels.lost(peer, channel, reason)

    def _enter(self, peer: Peer, phase: TransportPhase, reason: str | None) -> None:
        """Follow a transport into its phase. DISCONNECTED may pass: FAILED comes if it does not."""
        match phase:
            case TransportPhase.CONNECTED:
                self._connect(peer)
            case TransportPhase.FAILED if peer.style.return_s:
                peer.connected.clear()
                if peer.id not in self._returns:
                    self._returns.set(peer.id, self._clock.monotonic() + peer.style.return_s)
            case TransportPhase.FAILED:
                self._fail(peer, Failure(Reason.PEER_FAILED, reason or "the connection failed"))
            case TransportPhase.CLOSED:
                self._fail(peer, Failure(Reason.PEER_HUNG_UP, reason or "the peer closed the connection"))
            case _:
                pass

    def _connect(self, peer: Peer) -> None:
        self._returns.drop(peer.id)
        if peer.connected.is_set():
            return
        peer.connected.set()
        if not peer.has_connected:
            peer.has_connected = True
            self._report(facts.PeerUp(peer.participant, peer.id, is_primary=peer.style.primary))
        self._sending.connect(peer)

    # An exchange, step by step.

    def _check(self, peer: Peer) -> None:
        self._check_open(peer)
        if not self._engine.has_room(4):
            raise Busy("the engine's command queue is full")

    def _check_open(self, peer: Peer) -> None:
        if peer.closed_for is not None:
            raise PeerClosed(peer.id, peer.closed_for)

    async def _apply(self, peer: Peer, delta: Delta) -> Applied:
        """Have the engine carry out what was negotiated; a failure closes the peer and raises PeerClosed."""
        # A section that is only inactive keeps its consumer, without a source, so that its numbers on the wire
        # go on when it is used again.
        kept = peer.slots.keys() - peer.stopped()
        end = tuple((mid, flow) for mid, flow in delta.ended if flow is not Flow.SEND or mid not in kept)
        if not (delta.remote or end or delta.recv or delta.send or delta.data):
            return NO_CHANGE
        try:
            applied = await peer.transport.apply(
                remote=delta.remote,
                end=end,
                recv=delta.recv,
                send=delta.send,
                data=delta.data,
                deadline_s=self._limits.apply_timeout_s,
            )
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
        if delta.data is not None:
            peer.has_data.set()
        if delta.data is not None and not peer.own_channels:
            self._tell(peer, lambda: self._channels.open_own(peer))
        return applied

    def _describe(self, peer: Peer) -> Describe:
        return lambda subscription, mid: self._sending.describe(peer, subscription, mid)

    def _ask(self, peer: Peer) -> None:
        """Ask for an offer, unless one is open: then the answer asks."""
        if peer.is_open and peer.style.offers and peer.exchange is None and peer.wants_offer():
            self._report(facts.OfferWanted(peer.participant, peer.id, self._sending.orders))

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

    # Facts and ends.

    def _report(self, fact: facts.Fact) -> None:
        self._listener(fact)

    def _tell(self, peer: Peer, command: Callable[[], object]) -> None:
        """Give the engine a small command; a peer that cannot be told is out of step and is closed."""
        if not peer.is_open:
            return
        try:
            command()
        except EngineClosed:
            pass  # What it was for has ended meanwhile, and that is reported by itself.
        except EngineError as error:
            self._fail(peer, Failure(error.reason, str(error)))

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
        self._returns.drop(peer.id)
        peer.negotiator.close()
        peer.connected.set()  # Whoever waits at the gate need not wait for its end.
        peer.has_data.set()
        self._end_transport(peer.transport)
        self._receiving.close(peer)
        self._sending.close(peer)
        self._channels.close(peer)
        self._report(facts.PeerClosed(peer.participant, peer.id))

    def _end_transport(self, transport: Transport) -> None:
        try:
            transport.close()
        except EngineBusy:
            self._unclosed.append(transport)
        except EngineError:
            pass
