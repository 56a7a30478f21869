"""Who may receive what a participant publishes, as it has said itself."""

from __future__ import annotations

from parley.core.access import Access
from parley.core.events import AccessChanged, Event, SubscriptionEnded, SubscriptionOpened
from parley.core.grants import Source
from parley.core.model import EndReason
from tests.core.conftest import of_type
from tests.core.test_room import enter, make_room, publish


def changes(events: list[Event]) -> list[tuple[int, bool]]:
    return [(event.to, event.allowed) for event in of_type(events, AccessChanged)]


def test_only_whom_the_publisher_names_keeps_receiving() -> None:
    room = make_room()
    ada, bob, eve = (enter(room, name) for name in ("ada", "bob", "eve"))
    publish(room, ada)

    events = room.restrict(ada.id, Access(everybody=False, by_identity={"bob": None}))

    assert changes(events) == [(eve.id, False)]
    (ended,) = of_type(events, SubscriptionEnded)
    assert (ended.to, ended.reason) == (eve.id, EndReason.NOT_ALLOWED)
    assert room.subscriptions.find(bob.id, ended.subscription.track)


def test_whoever_is_let_in_again_receives_again() -> None:
    room = make_room()
    ada, bob = enter(room, "ada"), enter(room, "bob")
    publish(room, ada)
    room.restrict(ada.id, Access(everybody=False))

    events = room.restrict(ada.id, Access())

    assert changes(events) == [(bob.id, True)]
    assert [event.to for event in of_type(events, SubscriptionOpened)] == [bob.id]


def test_a_rule_counts_for_tracks_to_come() -> None:
    room = make_room()
    ada, bob = enter(room, "ada"), enter(room, "bob")
    room.restrict(ada.id, Access(everybody=False))

    _, events = publish(room, ada)

    assert changes(events) == [(bob.id, False)]
    assert of_type(events, SubscriptionOpened) == []


def test_single_tracks_may_be_named_and_others_stay_closed() -> None:
    room = make_room()
    ada, bob = enter(room, "ada"), enter(room, "bob")
    voice, _ = publish(room, ada)
    picture, _ = publish(room, ada, Source.CAMERA)

    room.restrict(ada.id, Access(everybody=False, by_id={bob.id: frozenset({voice.id})}))

    assert room.subscriptions.find(bob.id, voice.id)
    assert room.subscriptions.find(bob.id, picture.id) is None


def test_asking_does_not_help_whoever_is_barred() -> None:
    room = make_room()
    ada, bob = enter(room, "ada"), enter(room, "bob")
    room.restrict(ada.id, Access(everybody=False))
    track, _ = publish(room, ada)

    assert of_type(room.want(bob.id, track.id, True), SubscriptionOpened) == []
    assert of_type(room.restrict(ada.id, Access()), SubscriptionOpened)


def test_what_records_is_always_admitted() -> None:
    room = make_room()
    ada, tape = enter(room, "ada"), enter(room, "tape", recorder=True)
    room.restrict(ada.id, Access(everybody=False))

    _, events = publish(room, ada)

    assert [event.to for event in of_type(events, SubscriptionOpened)] == [tape.id]
    assert changes(events) == []


def test_nothing_is_told_twice() -> None:
    room = make_room()
    ada, _ = enter(room, "ada"), enter(room, "bob")
    publish(room, ada)
    room.restrict(ada.id, Access(everybody=False))

    assert room.restrict(ada.id, Access(everybody=False, by_identity={"eve": None})) == []
