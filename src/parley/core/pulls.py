"""Pulled subscriptions: tracks a participant receives because it named each of them, on a section of its own.

They join a track to a peer whether or not both are in one room; `Subscriptions` beside it has what follows from being
in a room together. The same track may be pulled twice, and a participant may pull its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import TypeVar

from parley.core.errors import LimitExceeded
from parley.core.events import Event, SubscriptionActive, SubscriptionEnded, SubscriptionFailed, SubscriptionSwitched
from parley.core.layers import LayerWish
from parley.core.model import EndReason, Failure, Participant, Subscription, SubscriptionState, Track
from parley.engine.specs import Mid
from parley.errors import Reason
from parley.ids import ParticipantId, SubscriptionId, TrackId, mint

K = TypeVar("K", TrackId, ParticipantId)


class Pulls:
    """The pulled subscriptions of all participants. Each method that changes anything returns the events it caused."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._by_id: dict[SubscriptionId, Subscription] = {}
        self._of_track: dict[TrackId, set[SubscriptionId]] = {}
        self._of_subscriber: dict[ParticipantId, set[SubscriptionId]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, id: SubscriptionId) -> bool:
        return id in self._by_id

    def get(self, id: SubscriptionId) -> Subscription | None:
        return self._by_id.get(id)

    def of_track(self, track: TrackId) -> Iterator[Subscription]:
        return iter([self._by_id[id] for id in self._of_track.get(track, ())])

    def of_subscriber(self, subscriber: ParticipantId) -> Iterator[Subscription]:
        return iter([self._by_id[id] for id in self._of_subscriber.get(subscriber, ())])

    def open(self, subscriber: Participant, track: Track, limit: int, layers: LayerWish | None = None) -> Subscription:
        """A new one. Raises LimitExceeded(too_many_subscriptions)."""
        if len(self._of_subscriber.get(subscriber.id, ())) >= limit:
            raise LimitExceeded(Reason.TOO_MANY_SUBSCRIPTIONS, f"pulls of {subscriber.identity!r}", limit)
        subscription = Subscription(
            id=SubscriptionId(mint(self._random)),
            subscriber=subscriber.id,
            publisher=track.participant,
            track=track.id,
            kind=track.kind,
            layers=layers,
        )
        self._by_id[subscription.id] = subscription
        self._of_track.setdefault(track.id, set()).add(subscription.id)
        self._of_subscriber.setdefault(subscriber.id, set()).add(subscription.id)
        return subscription

    def bind(self, id: SubscriptionId, mid: Mid) -> None:
        """A negotiated section carries it."""
        if (subscription := self._by_id.get(id)) is not None:
            self._by_id[id] = replace(subscription, state=SubscriptionState.BOUND, mid=mid)

    def prefer(self, id: SubscriptionId, layers: LayerWish) -> list[Event]:
        """Remember which layer of its track is wanted."""
        subscription = self._by_id.get(id)
        if subscription is None or subscription.layers == layers:
            return []
        subscription = self._by_id[id] = replace(subscription, layers=layers)
        return [SubscriptionSwitched(subscription.subscriber, subscription)]

    def activate(self, id: SubscriptionId) -> list[Event]:
        """What is sent there arrives."""
        subscription = self._by_id.get(id)
        if subscription is None or subscription.state is SubscriptionState.ACTIVE:
            return []
        subscription = self._by_id[id] = replace(subscription, state=SubscriptionState.ACTIVE)
        return [SubscriptionActive(subscription.subscriber, subscription)]

    def refuse(self, id: SubscriptionId, failure: Failure) -> list[Event]:
        """It cannot be carried."""
        subscription = self._drop(id)
        if subscription is None:
            return []
        return [SubscriptionFailed(subscription.subscriber, subscription.track, failure)]

    def end(self, id: SubscriptionId, reason: EndReason) -> list[Event]:
        subscription = self._drop(id)
        if subscription is None:
            return []
        ended = replace(subscription, state=SubscriptionState.ENDED)
        return [SubscriptionEnded(subscription.subscriber, ended, reason)]

    def _drop(self, id: SubscriptionId) -> Subscription | None:
        subscription = self._by_id.pop(id, None)
        if subscription is not None:
            _discard(self._of_track, subscription.track, id)
            _discard(self._of_subscriber, subscription.subscriber, id)
        return subscription


def _discard(table: dict[K, set[SubscriptionId]], key: K, id: SubscriptionId) -> None:
    table[key].discard(id)
    if not table[key]:
        del table[key]
