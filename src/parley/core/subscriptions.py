"""Who receives which track: what each participant has said, and what follows from it. One table for each room.

A participant wants a track because it said so, or because it subscribes to everything. What it says about a track
outlives the subscription and may come before the track: an explicit no stays, and so does whether and how the track is
shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import TypeVar

from parley.core.access import Access
from parley.core.errors import LimitExceeded
from parley.core.events import (
    AccessChanged,
    Event,
    SubscriptionActive,
    SubscriptionEnded,
    SubscriptionFailed,
    SubscriptionOpened,
    SubscriptionSwitched,
    TrackHeard,
)
from parley.core.layers import LayerWish
from parley.core.model import EndReason, Failure, Limits, Participant, Subscription, SubscriptionState, Track
from parley.engine.specs import Mid
from parley.errors import Reason
from parley.ids import ParticipantId, SubscriptionId, TrackId, mint

K = TypeVar("K")
L = TypeVar("L")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a participant has said about a track."""

    wanted: bool | None = None
    """None: nothing; then `Participant.auto_subscribe` counts."""
    enabled: bool = True
    """Whether it is to be forwarded while subscribed."""
    layers: LayerWish | None = None
    """Which of its layers; None: nothing."""


_NOTHING_SAID = Wish()


class Subscriptions:
    """The subscriptions of one room. Each method that changes anything returns the events it caused."""

    def __init__(self, random: Random, limits: Limits) -> None:
        self._random = random
        self._limits = limits
        self._wishes: dict[ParticipantId, dict[TrackId, Wish]] = {}
        self._by_id: dict[SubscriptionId, Subscription] = {}
        # When a crowd leaves at once, each leave must not look at everybody's subscriptions.
        self._of_subscriber: dict[ParticipantId, dict[TrackId, Subscription]] = {}
        self._of_track: dict[TrackId, dict[ParticipantId, Subscription]] = {}
        self._heard: set[TrackId] = set()
        self._access: dict[ParticipantId, Access] = {}
        self._barred: set[tuple[ParticipantId, TrackId]] = set()

    def __iter__(self) -> Iterator[Subscription]:
        return iter(self._by_id.values())

    def get(self, id: SubscriptionId) -> Subscription | None:
        return self._by_id.get(id)

    def find(self, subscriber: ParticipantId, track: TrackId) -> Subscription | None:
        return self._of_subscriber.get(subscriber, {}).get(track)

    def wish(self, subscriber: ParticipantId, track: TrackId) -> Wish:
        wishes = self._wishes.get(subscriber)
        return _NOTHING_SAID if wishes is None else wishes.get(track, _NOTHING_SAID)

    # What a participant says.

    def want(self, subscriber: ParticipantId, track: TrackId, wanted: bool) -> None:
        """Remember a yes or a no. Raises LimitExceeded(too_many_subscriptions)."""
        self._remember(subscriber, track, replace(self.wish(subscriber, track), wanted=wanted))

    def show(self, subscriber: ParticipantId, track: TrackId, enabled: bool) -> list[Event]:
        """Remember whether the track is to be forwarded. Raises LimitExceeded(too_many_subscriptions)."""
        return self._adjust(subscriber, track, replace(self.wish(subscriber, track), enabled=enabled))

    def prefer(self, subscriber: ParticipantId, track: TrackId, layers: LayerWish) -> list[Event]:
        """Remember which layer of the track is wanted. Raises LimitExceeded(too_many_subscriptions)."""
        return self._adjust(subscriber, track, replace(self.wish(subscriber, track), layers=layers))

    def restrict(self, publisher: ParticipantId, access: Access) -> None:
        """Remember who may receive a participant's tracks."""
        self._access[publisher] = access

    # What follows.

    def reconcile(self, subscriber: Participant, publisher: Participant, track: Track) -> list[Event]:
        """Open the subscription of this pair, or end it, if that is what follows from everything said."""
        return [*self._admit(subscriber, publisher, track), *self._settle(subscriber, publisher, track)]

    def _admit(self, subscriber: Participant, publisher: Participant, track: Track) -> list[Event]:
        """Tell the subscriber when it is barred from a track that it can see, and when it no longer is."""
        pair = subscriber.id, track.id
        if not self._is_barred(subscriber, publisher, track):
            if pair not in self._barred:
                return []
            self._barred.remove(pair)
            return [AccessChanged(subscriber.id, publisher.id, track.id, allowed=True)]
        is_seen = track.is_published and subscriber.id != publisher.id and not publisher.grant.hidden
        if pair in self._barred or not is_seen:
            return []
        self._barred.add(pair)
        return [AccessChanged(subscriber.id, publisher.id, track.id, allowed=False)]

    def _settle(self, subscriber: Participant, publisher: Participant, track: Track) -> list[Event]:
        subscription = self.find(subscriber.id, track.id)
        if self._is_wanted(subscriber, publisher, track):
            if subscription is not None:
                return []
            if len(self._of_subscriber.get(subscriber.id, ())) >= self._limits.max_subscriptions:
                text = f"{self._limits.max_subscriptions} subscriptions are the limit"
                return [SubscriptionFailed(subscriber.id, track.id, Failure(Reason.TOO_MANY_SUBSCRIPTIONS, text))]
            return [SubscriptionOpened(subscriber.id, self._open(subscriber, track))]
        if subscription is None:
            return []
        if not subscriber.grant.can_subscribe or self._is_barred(subscriber, publisher, track):
            return [self.end(subscription, EndReason.NOT_ALLOWED)]
        if subscriber.receives_on is None:
            return [self.end(subscription, EndReason.PEER_CLOSED)]
        return [self.end(subscription, EndReason.UNSUBSCRIBED)]

    def bind(self, id: SubscriptionId, mid: Mid) -> None:
        """A negotiated section carries it."""
        subscription = self._by_id.get(id)
        if subscription is not None:
            self._keep(replace(subscription, state=SubscriptionState.BOUND, mid=mid))

    def activate(self, id: SubscriptionId, subscriber: Participant) -> list[Event]:
        """What is sent there arrives. The publisher is told the first time, unless the subscriber is hidden."""
        subscription = self._by_id.get(id)
        if subscription is None or subscription.state is SubscriptionState.ACTIVE:
            return []
        subscription = self._keep(replace(subscription, state=SubscriptionState.ACTIVE))
        events: list[Event] = [SubscriptionActive(subscription.subscriber, subscription)]
        return [*events, *self.hear(subscription.publisher, subscription.track, subscriber)]

    def hear(self, publisher: ParticipantId, track: TrackId, subscriber: Participant) -> list[Event]:
        """Somebody receives a track of this room, from wherever it is. The publisher is told the first time."""
        if track in self._heard or subscriber.grant.hidden:
            return []
        self._heard.add(track)
        return [TrackHeard(publisher, track)]

    def admits(self, subscriber: Participant, publisher: Participant, track: Track) -> bool:
        """Whether this track is there for this participant to receive, in this room or not."""
        return (
            subscriber.grant.can_subscribe
            and not self._is_barred(subscriber, publisher, track)
            and not publisher.grant.hidden
            and track.is_published
        )

    def refuse(self, id: SubscriptionId, failure: Failure) -> list[Event]:
        """It cannot be carried; it is dropped until the subscriber asks again."""
        subscription = self._by_id.get(id)
        if subscription is None:
            return []
        wishes = self._wishes.setdefault(subscription.subscriber, {})
        wishes[subscription.track] = replace(self.wish(subscription.subscriber, subscription.track), wanted=False)
        self._drop(subscription)
        return [SubscriptionFailed(subscription.subscriber, subscription.track, failure)]

    def end(self, subscription: Subscription, reason: EndReason) -> Event:
        self._drop(subscription)
        ended = replace(subscription, state=SubscriptionState.ENDED)
        return SubscriptionEnded(subscription.subscriber, ended, reason)

    def end_track(self, track: TrackId, reason: EndReason) -> list[Event]:
        """End everybody's subscription to a track that is gone, and forget what was said about it."""
        self._heard.discard(track)
        self._barred = {pair for pair in self._barred if pair[1] != track}
        for wishes in self._wishes.values():
            wishes.pop(track, None)
        return [self.end(one, reason) for one in list(self._of_track.get(track, {}).values())]

    def end_subscriber(self, subscriber: ParticipantId, reason: EndReason) -> list[Event]:
        """End everything a participant receives, and forget what it said, of others' tracks and of its own."""
        self._wishes.pop(subscriber, None)
        self._access.pop(subscriber, None)
        self._barred = {pair for pair in self._barred if pair[0] != subscriber}
        return [self.end(one, reason) for one in list(self._of_subscriber.get(subscriber, {}).values())]

    # For itself.

    def _adjust(self, subscriber: ParticipantId, track: TrackId, wish: Wish) -> list[Event]:
        """Have a subscription forwarded as its subscriber says, now and when it comes."""
        self._remember(subscriber, track, wish)
        subscription = self.find(subscriber, track)
        if subscription is None:
            return []
        adjusted = replace(subscription, enabled=wish.enabled, layers=wish.layers)
        return [] if adjusted == subscription else [SubscriptionSwitched(subscriber, self._keep(adjusted))]

    def _is_barred(self, subscriber: Participant, publisher: Participant, track: Track) -> bool:
        access = self._access.get(publisher.id)
        return access is not None and not access.admits(subscriber, track.id)

    def _is_wanted(self, subscriber: Participant, publisher: Participant, track: Track) -> bool:
        said = self.wish(subscriber.id, track.id).wanted
        return (
            (subscriber.auto_subscribe if said is None else said)
            and subscriber.receives_on is not None
            and subscriber.grant.can_subscribe
            and not self._is_barred(subscriber, publisher, track)
            and subscriber.id != publisher.id
            and not subscriber.is_gone
            and not publisher.grant.hidden
            and track.is_published
        )

    def _open(self, subscriber: Participant, track: Track) -> Subscription:
        wish = self.wish(subscriber.id, track.id)
        subscription = Subscription(
            id=SubscriptionId(mint(self._random)),
            subscriber=subscriber.id,
            publisher=track.participant,
            track=track.id,
            kind=track.kind,
            enabled=wish.enabled,
            layers=wish.layers,
        )
        return self._keep(subscription)

    def _keep(self, subscription: Subscription) -> Subscription:
        self._by_id[subscription.id] = subscription
        self._of_subscriber.setdefault(subscription.subscriber, {})[subscription.track] = subscription
        self._of_track.setdefault(subscription.track, {})[subscription.subscriber] = subscription
        return subscription

    def _drop(self, subscription: Subscription) -> None:
        del self._by_id[subscription.id]
        _take_out(self._of_subscriber, subscription.subscriber, subscription.track)
        _take_out(self._of_track, subscription.track, subscription.subscriber)

    def _remember(self, subscriber: ParticipantId, track: TrackId, wish: Wish) -> None:
        wishes = self._wishes.setdefault(subscriber, {})
        if track not in wishes and len(wishes) >= self._limits.max_wishes:
            limit = self._limits.max_wishes
            raise LimitExceeded(Reason.TOO_MANY_SUBSCRIPTIONS, "tracks a participant has said something about", limit)
        wishes[track] = wish


def _take_out(index: dict[K, dict[L, Subscription]], key: K, inner: L) -> None:
    """Leave no empty part of the index behind."""
    del index[key][inner]
    if not index[key]:
        del index[key]
