"""What peers are sent: which subscription each is to carry, and how far that has come."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from parley.core import facts
from parley.core.errors import SectionNotFound
from parley.core.layers import policy
from parley.core.model import EndReason, Failure, Subscription
from parley.core.peer import Exchange, Peer, Phase, Sender, Slot, codecs_of, describe_sending, fits, suits
from parley.core.receiving import Receiving, Report, Tell
from parley.core.style import Give
from parley.engine.engine import Applied
from parley.engine.specs import ConsumerId, Kind, LayerPolicy, Mid
from parley.errors import Reason
from parley.ids import TrackId
from parley.negotiation import Direction, MLinePlan


class Sending:
    """The senders of all peers."""

    def __init__(self, receiving: Receiving, report: Report, tell: Tell, ask: Callable[[Peer], None]) -> None:
        self._receiving = receiving
        self._report = report
        self._tell = tell
        self._ask = ask
        self.orders = 0
        """How many subscriptions peers have ever been asked to carry: the age of the youngest."""

    # What rooms say.

    def start(self, peer: Peer, subscription: Subscription, mid: Mid | None = None) -> None:
        """Have the peer carry the subscription; its section is in the next offer.

        mid: the section that is to carry it, in place of what it carries now; at once if the server sends there
        already, else with the next offer.
        """
        if subscription.id in peer.senders:
            return
        self.orders += 1
        sender = peer.senders[subscription.id] = Sender(subscription, self.orders, mid)
        slot = peer.slots.get(mid) if mid is not None else None
        source = self._receiving.source(subscription.track)
        if source is not None and not fits(peer.style, source.spec):
            self._refuse(peer, sender)
        elif slot is not None and slot.phase is not Phase.FREE:
            self._attach(peer, sender, slot)
        else:
            self._ask(peer)

    def check_place(self, peer: Peer, mid: Mid, kind: Kind, track: TrackId) -> bool:
        """Whether this section can carry this track: one of its kind, with what is sent agreed where the server sends
        already, and elsewhere not one that the client offered for sending alone.

        Raises SectionNotFound when there is no such section.
        """
        line = next((line for line in peer.negotiator.sections if line.mid == mid and not line.stopped), None)
        slot = peer.slots.get(mid)
        if line is None and slot is None:
            raise SectionNotFound(peer.id, mid)
        if (slot.kind if slot is not None else line.kind if line is not None else None) is not kind:
            return False
        source = self._receiving.source(track)
        if slot is None or slot.phase is Phase.FREE:
            receiver = peer.receivers.get(mid)
            return receiver is None or receiver.section.direction is not Direction.SENDONLY
        return slot.spec is None or source is None or suits(slot.spec, source.spec)

    def vacate(self, peer: Peer, mid: Mid) -> None:
        """Take what a section carries off it; nothing is sent there from now on."""
        slot = peer.slots.get(mid)
        if slot is not None and slot.sender is not None:
            self._end(peer, slot, EndReason.UNSUBSCRIBED)

    def stop(self, peer: Peer, subscription: Subscription) -> None:
        """Have the peer no longer carry the subscription; nothing of it is sent from now on."""
        sender = peer.senders.pop(subscription.id, None)
        slot = sender.slot if sender is not None else None
        if sender is None or slot is None:
            return
        sender.slot = slot.sender = None
        consumer = slot.consumer
        if consumer is not None:
            self._tell(peer, lambda: consumer.set_source(None))
        self._ask(peer)

    def switch(self, peer: Peer, subscription: Subscription) -> None:
        """Forward the subscription or hold it back, as its `enabled` says, and the layer it wants."""
        sender = peer.senders.get(subscription.id)
        if sender is not None:
            sender.subscription = subscription
            self._choose(peer, sender)
            self._hold(peer, sender)

    # What negotiation and the engine have made true.

    def describe(self, peer: Peer, subscription: Subscription, mid: Mid | None) -> MLinePlan | None:
        """The section that is to carry it; None: its track is not there now."""
        track = self._receiving.track(subscription.track)
        source = self._receiving.source(subscription.track)
        if track is None or source is None:
            return None
        return describe_sending(peer.style, subscription, track, source.spec, mid)

    def complete(self, peer: Peer, applied: Applied) -> None:
        """Start what the peer's answer accepted, and refuse what it did not."""
        self._settle(peer, applied, self._drop)
        self._ask(peer)

    def give(self, peer: Peer, gives: Mapping[Mid, Give], applied: Applied) -> None:
        """Start what the answer to the peer's own offer gives it, and end what the offer no longer takes."""
        for mid, give in gives.items():
            sender = peer.senders.get(give.subscription) if give.subscription is not None else None
            line = next((line for line in peer.negotiator.sections if line.mid == mid), None)
            if sender is not None and line is not None and line.direction.sends:
                slot = peer.slots.setdefault(mid, Slot(mid, line.kind, Phase.FREE))
                slot.consumer = applied.consumers.get(mid, slot.consumer)
                self._attach(peer, sender, slot)
        self._settle(peer, applied, lambda peer, slot: self._end(peer, slot, EndReason.UNSUBSCRIBED))

    def withdraw(self, peer: Peer, exchange: Exchange, failure: Failure) -> None:
        """Fail what an offer would have carried that is withdrawn for good."""
        for _, sender in exchange.sending:
            if peer.senders.pop(sender.subscription.id, None) is not None:
                self._report(facts.SendingRefused(peer.participant, sender.subscription.id, failure))

    def forward(self, peer: Peer, consumer: ConsumerId, layer: int | None) -> None:
        """A consumer forwards another layer of what it carries, or nothing of it."""
        sender = peer.sender_of(consumer)
        if sender is not None:
            self._report(facts.SendingLayer(peer.participant, sender.subscription.id, layer))

    def connect(self, peer: Peer) -> None:
        """The peer is connected: what it already carries arrives."""
        for sender in list(peer.senders.values()):
            if sender.slot is not None and sender.slot.phase is Phase.LIVE:
                self._report(facts.SendingFlows(peer.participant, sender.subscription.id))

    def close(self, peer: Peer) -> None:
        """The peer is closed: nothing is carried any more."""
        for sender in list(peer.senders.values()):
            peer.senders.pop(sender.subscription.id, None)
            self._report(facts.SendingEnded(peer.participant, sender.subscription.id, EndReason.PEER_CLOSED))

    # For itself.

    def _settle(self, peer: Peer, applied: Applied, drop: Callable[[Peer, Slot], None]) -> None:
        """Bring every section that the server sends on up to date with what is negotiated now.

        All of them, not those alone that something was asked of: a client may stop taking one in any description.
        """
        stopped = []
        for line in peer.negotiator.sections:
            if line.kind is Kind.DATA:
                continue
            slot = peer.slots.get(line.mid)
            if line.direction.sends:
                if slot is None:
                    slot = peer.slots[line.mid] = Slot(line.mid, line.kind, Phase.FREE)
                slot.consumer = applied.consumers.get(line.mid, slot.consumer)
                slot.spec = line.send
                before, slot.phase = slot.phase, Phase.LIVE
                if before is not Phase.LIVE and slot.sender is not None:
                    self._begin(peer, slot.sender)
            elif slot is not None:
                drop(peer, slot)
                slot.phase = Phase.FREE
            if line.stopped:
                stopped.append(line.mid)
        for mid in stopped:
            peer.slots.pop(mid, None)
            peer.shut.discard(mid)

    def _attach(self, peer: Peer, sender: Sender, slot: Slot) -> None:
        """Put a sender on a section, in place of what it carries now."""
        if slot.sender is not None:
            self._end(peer, slot, EndReason.REPLACED)
        slot.sender, sender.slot = sender, slot
        peer.shut.discard(slot.mid)
        if slot.phase is Phase.LIVE:
            self._begin(peer, sender)

    def _end(self, peer: Peer, slot: Slot, reason: EndReason) -> None:
        """Take the sender off a section and say so."""
        sender, slot.sender = slot.sender, None
        if sender is None:
            return
        peer.senders.pop(sender.subscription.id, None)
        sender.slot = None
        if reason is not EndReason.REPLACED:
            self._silence(peer, slot)
        self._report(facts.SendingEnded(peer.participant, sender.subscription.id, reason))

    def _drop(self, peer: Peer, slot: Slot) -> None:
        """The peer takes nothing on this section."""
        sender, slot.sender = slot.sender, None
        if sender is not None:
            self._silence(peer, slot)
            self._refuse(peer, sender)

    def _silence(self, peer: Peer, slot: Slot) -> None:
        consumer = slot.consumer
        if consumer is not None and slot.mid not in peer.stopped():
            self._tell(peer, lambda: consumer.set_source(None))

    def _begin(self, peer: Peer, sender: Sender) -> None:
        slot, consumer = sender.slot, sender.consumer
        assert slot is not None, "what begins has been negotiated"
        assert consumer is not None, "what was negotiated has been applied"
        source = self._receiving.source(sender.subscription.track)
        chosen = slot.policy = self._policy(peer, sender)
        if not sender.subscription.enabled:
            self._hold(peer, sender)  # First, or for a moment its publisher would be asked for what nobody wants.
        # Both at once, for the same reason: a choice means layers of one source.
        self._tell(peer, lambda: consumer.set_source(source.producer if source is not None else None, chosen))
        self._hold(peer, sender)
        self._report(facts.SendingBound(peer.participant, sender.subscription.id, slot.mid))
        if peer.is_connected:
            self._report(facts.SendingFlows(peer.participant, sender.subscription.id))

    def _hold(self, peer: Peer, sender: Sender) -> None:
        slot, consumer = sender.slot, sender.consumer
        paused = not sender.subscription.enabled
        if slot is not None and consumer is not None and slot.is_paused != paused:
            slot.is_paused = paused
            self._tell(peer, consumer.pause if paused else consumer.resume)

    def _choose(self, peer: Peer, sender: Sender) -> None:
        slot, consumer, chosen = sender.slot, sender.consumer, self._policy(peer, sender)
        if slot is None or consumer is None or chosen is None or slot.phase is not Phase.LIVE:
            return
        if chosen != slot.policy:
            slot.policy = chosen
            self._tell(peer, lambda: consumer.set_policy(chosen))

    def _policy(self, peer: Peer, sender: Sender) -> LayerPolicy | None:
        """What is to be forwarded of a track that may have layers; None: it cannot have any."""
        track = self._receiving.track(sender.subscription.track)
        if track is None or track.kind is not Kind.VIDEO:
            return None
        return policy(track.layers, sender.subscription.layers or peer.style.layers)

    def _refuse(self, peer: Peer, sender: Sender) -> None:
        peer.senders.pop(sender.subscription.id, None)
        sender.slot = None
        source = self._receiving.source(sender.subscription.track)
        sent = ", ".join(codec.name for codec in codecs_of(source.spec)) if source is not None else "nothing"
        failure = Failure(Reason.CODEC_UNSUPPORTED, f"the receiver takes nothing of what is sent ({sent})")
        self._report(facts.SendingRefused(peer.participant, sender.subscription.id, failure))
