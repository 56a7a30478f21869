"""What peers are sent: which subscription each is to carry, and how far that has come."""

from __future__ import annotations

from collections.abc import Callable

from parley.core import facts
from parley.core.model import Failure, Subscription
from parley.core.peer import Peer, Phase, Sender, Slot, codecs_of, describe_sending, fits
from parley.core.receiving import Receiving, Report, Tell
from parley.engine.engine import Applied
from parley.engine.specs import Flow, Mid
from parley.errors import Reason
from parley.negotiation import Delta, MLinePlan


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

    def start(self, peer: Peer, subscription: Subscription) -> None:
        """Have the peer carry the subscription; its section is in the next offer."""
        if subscription.id in peer.senders:
            return
        self.orders += 1
        sender = peer.senders[subscription.id] = Sender(subscription, self.orders)
        source = self._receiving.source(subscription.track)
        if source is not None and not fits(peer.style, source.spec):
            self._refuse(peer, sender)
        else:
            self._ask(peer)

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
        """Forward the subscription or hold it back, as its `enabled` says."""
        sender = peer.senders.get(subscription.id)
        if sender is not None:
            sender.subscription = subscription
            self._switch(peer, sender)

    # What negotiation and the engine have made true.

    def describe(self, peer: Peer, subscription: Subscription, mid: Mid | None) -> MLinePlan | None:
        """The section that is to carry it; None: its track is not there now."""
        track = self._receiving.track(subscription.track)
        source = self._receiving.source(subscription.track)
        if track is None or source is None:
            return None
        return describe_sending(peer.style, subscription, track, source.spec, mid)

    def complete(self, peer: Peer, delta: Delta, applied: Applied) -> None:
        """Start what the peer's answer accepted, and refuse what it did not."""
        exchange = peer.complete()
        accepted = {spec.mid for spec in delta.send}
        for slot, sender in exchange.sending:
            slot.consumer = applied.consumers.get(slot.mid, slot.consumer)
            if slot.mid in accepted:
                slot.phase = Phase.LIVE
                if sender.slot is slot:
                    self._begin(peer, sender)
            else:
                self._drop(peer, slot)
        for mid, flow in delta.ended:
            # Of sections that nothing was asked of, too: a client may stop taking one in any answer.
            if flow is Flow.SEND and (ended := peer.slots.get(mid)) is not None:
                self._drop(peer, ended)
        for mid in peer.stopped():
            peer.slots.pop(mid, None)
        self._ask(peer)

    def connect(self, peer: Peer) -> None:
        """The peer is connected: what it already carries arrives."""
        for sender in list(peer.senders.values()):
            if sender.slot is not None and sender.slot.phase is Phase.LIVE:
                self._report(facts.SendingFlows(peer.participant, sender.subscription.id))

    # For itself.

    def _drop(self, peer: Peer, slot: Slot) -> None:
        """The peer takes nothing on this section."""
        sender, slot.sender, slot.phase = slot.sender, None, Phase.FREE
        if sender is not None:
            consumer = slot.consumer
            if consumer is not None and slot.mid not in peer.stopped():
                self._tell(peer, lambda: consumer.set_source(None))
            self._refuse(peer, sender)

    def _begin(self, peer: Peer, sender: Sender) -> None:
        slot, consumer = sender.slot, sender.consumer
        assert slot is not None, "what begins has been negotiated"
        assert consumer is not None, "what was negotiated has been applied"
        source = self._receiving.source(sender.subscription.track)
        self._tell(peer, lambda: consumer.set_source(source.producer if source is not None else None))
        self._switch(peer, sender)
        self._report(facts.SendingBound(peer.participant, sender.subscription.id, slot.mid))
        if peer.is_connected:
            self._report(facts.SendingFlows(peer.participant, sender.subscription.id))

    def _switch(self, peer: Peer, sender: Sender) -> None:
        slot, consumer = sender.slot, sender.consumer
        paused = not sender.subscription.enabled
        if slot is not None and consumer is not None and slot.is_paused != paused:
            slot.is_paused = paused
            self._tell(peer, consumer.pause if paused else consumer.resume)

    def _refuse(self, peer: Peer, sender: Sender) -> None:
        peer.senders.pop(sender.subscription.id, None)
        sender.slot = None
        source = self._receiving.source(sender.subscription.track)
        sent = ", ".join(codec.name for codec in codecs_of(source.spec)) if source is not None else "nothing"
        failure = Failure(Reason.CODEC_UNSUPPORTED, f"the receiver takes nothing of what is sent ({sent})")
        self._report(facts.SendingRefused(peer.participant, sender.subscription.id, failure))
