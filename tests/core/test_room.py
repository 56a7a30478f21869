"""The rules of a room, asked of the plain object."""

from __future__ import annotations

from random import Random

import pytest

from parley.core.data import Data
from parley.core.errors import LimitExceeded, NotAllowed, RoomFull, SourceNotAllowed, TrackNotFound
from parley.core.events import (
    Event,
    ParticipantLeft,
    ParticipantUpdated,
    RoomUpdated,
    SubscriptionEnded,
    SubscriptionFailed,
    SubscriptionOpened,
    SubscriptionSwitched,
    TrackEnded,
    TrackHeard,
    TrackPublished,
    TrackUpdated,
)
from parley.core.grants import Grant, Source
from parley.core.model import (
    NOTHING,
    EndReason,
    Failure,
    LeaveReason,
    Limits,
    Participant,
    ParticipantState,
    RoomInfo,
    Track,
    TrackState,
)
from parley.core.room import Room
from parley.engine.specs import Kind, Mid
from parley.errors import Reason
from parley.ids import ParticipantId, PeerId, RoomId, TrackId
from tests.core.conftest import ACME, names, of_type


def make_room(**limits: object) -> Room:
    bounds = Limits(**limits)  # type: ignore[arg-type]
    info = RoomInfo(id=RoomId(1), tenant=ACME, name="standup", created_at=0.0, max_participants=bounds.max_participants)
    return Room(info, random=Random(1), limits=bounds)


def enter(
    room: Room, identity: str, *, receives: bool = True, auto_subscribe: bool = True, **grant: object
) -> Participant:
    """Seat somebody who, unless told otherwise, already has a peer to receive on."""
    number = sum(identity.encode())
    participant = Participant(
        id=ParticipantId(number),
        room=room.info.id,
        identity=identity,
        grant=Grant(tenant=ACME, identity=identity, room="standup", can_join=True, **grant),  # type: ignore[arg-type]
        joined_at=0.0,
        auto_subscribe=auto_subscribe,
    )
    room.join(participant)
    if receives:
        room.receive_on(participant.id, PeerId(number))
    return room.participant(participant.id)


def announce(room: Room, who: Participant, source: Source = Source.MICROPHONE, *, muted: bool = False) -> Track:
    kind = Kind.AUDIO if source in (Source.MICROPHONE, Source.SCREEN_AUDIO) else Kind.VIDEO
    track, _ = room.announce(who.id, kind=kind, source=source, name="", muted=muted, baggage=NOTHING)
    return track


def publish(room: Room, who: Participant, source: Source = Source.MICROPHONE) -> tuple[Track, list[Event]]:
    track = announce(room, who, source)
    events = room.publish(track.id, Mid("0"), "opus")
    return room.track(track.id), events


# Tracks.


def test_a_track_is_announced_to_nobody_else_and_published_to_all() -> None:
    room = make_room()
    ada = enter(room, "ada")
    track = announce(room, ada)
    assert room.participant(ada.id).published == ()

    events = room.publish(track.id, Mid("3"), "VP8")

    [told] = of_type(events, TrackPublished)
    assert (told.track.mid, told.track.codec, told.track.state) == ("3", "VP8", TrackState.PUBLISHED)
    assert told.participant.published == (told.track,)
    assert told.participant.is_publisher


def test_publishing_what_is_published_tells_nothing() -> None:
    room = make_room()
    track, _ = publish(room, enter(room, "ada"))

    assert room.publish(track.id, Mid("0"), "opus") == []


def test_a_track_goes_between_live_and_silent_and_each_step_is_told_once() -> None:
    room = make_room()
    track, _ = publish(room, enter(room, "ada"))

    steps = [room.flow(track.id), room.flow(track.id), room.stall(track.id), room.stall(track.id), room.flow(track.id)]

    assert [names(events) for events in steps] == [["TrackLive"], [], ["TrackSilent"], [], ["TrackLive"]]


def test_packets_of_a_track_that_is_only_announced_mean_nothing() -> None:
    room = make_room()
    track = announce(room, enter(room, "ada"))

    assert room.flow(track.id) == []
    assert room.track(track.id).state is TrackState.ANNOUNCED


def test_a_source_that_the_grant_leaves_out_is_refused_by_name() -> None:
    room = make_room()
    ada = enter(room, "ada", publish_sources=frozenset({Source.MICROPHONE}))

    with pytest.raises(SourceNotAllowed, match="'ada' may not publish camera"):
        announce(room, ada, Source.CAMERA)
    announce(room, ada, Source.MICROPHONE)


def test_without_the_permission_nothing_may_be_published() -> None:
    room = make_room()
    ada = enter(room, "ada", can_publish=False)

    with pytest.raises(NotAllowed, match="'ada' may not publish"):
        announce(room, ada)


def test_too_many_announced_tracks_are_refused_and_publishing_makes_room() -> None:
    room = make_room(max_announced=2)
    ada = enter(room, "ada")
    first = announce(room, ada)
    announce(room, ada)

    with pytest.raises(LimitExceeded, match="tracks of 'ada': the limit is 2"):
        announce(room, ada)
    room.publish(first.id, Mid("0"), "opus")
    announce(room, ada)


def test_muting_is_told_with_the_whole_participant_and_only_when_it_changes() -> None:
    room = make_room()
    ada = enter(room, "ada")
    track, _ = publish(room, ada)

    [told] = of_type(room.revise(ada.id, track.id, muted=True), TrackUpdated)

    assert told.changed == {"muted"}
    assert told.participant.tracks[0].muted
    assert room.revise(ada.id, track.id, muted=True) == []


def test_a_participant_cannot_mute_another_ones_track() -> None:
    room = make_room()
    track, _ = publish(room, enter(room, "ada"))
    bob = enter(room, "bob")

    with pytest.raises(TrackNotFound):
        room.revise(bob.id, track.id, muted=True)


def test_an_ended_track_is_no_longer_listed_and_its_event_says_so() -> None:
    room = make_room()
    track, _ = publish(room, enter(room, "ada"))

    [told] = of_type(room.end_track(track.id, EndReason.UNPUBLISHED), TrackEnded)

    assert told.participant.tracks == ()
    assert told.participant.is_publisher, "who has published stays a publisher"
    assert told.track.state is TrackState.ENDED
    with pytest.raises(TrackNotFound):
        room.track(track.id)


def test_every_change_that_others_see_raises_the_revision() -> None:
    room = make_room()
    ada = enter(room, "ada")
    revisions = [ada.revision]
    track, _ = publish(room, ada)
    for change in (
        lambda: room.advance(ada.id, ParticipantState.JOINED),
        lambda: room.revise(ada.id, track.id, muted=True),
        lambda: room.revise(ada.id, track.id, baggage={"a": 1}),
        lambda: room.update(ada.id, name="Ada"),
        lambda: room.update(ada.id, baggage={"b": 1}),
        lambda: room.end_track(track.id, EndReason.UNPUBLISHED),
    ):
        change()
        revisions.append(room.participant(ada.id).revision)

    assert revisions == sorted(set(revisions))


# Subscriptions.


def test_whoever_subscribes_to_everything_is_subscribed_after_the_track_is_told() -> None:
    room = make_room()
    ada, bob = enter(room, "ada"), enter(room, "bob")

    track, events = publish(room, ada)

    assert names(events)[:2] == ["TrackPublished", "SubscriptionOpened"]
    [opened] = of_type(events, SubscriptionOpened)
    assert (opened.to, opened.subscription.track) == (bob.id, track.id)


def test_nobody_receives_its_own_track() -> None:
    room = make_room()
    ada = enter(room, "ada")
    track, events = publish(room, ada)

    assert of_type(events, SubscriptionOpened) == []
    assert room.want(ada.id, track.id, True) == []


def test_naming_the_peer_subscribes_to_what_is_already_there() -> None:
    room = make_room()
    track, _ = publish(room, enter(room, "ada"))
    bob = enter(room, "bob", receives=False)

    [opened] = of_type(room.receive_on(bob.id, PeerId(5)), SubscriptionOpened)

    assert opened.subscription.track == track.id


def test_losing_the_peer_ends_what_it_carried() -> None:
    room = make_room()
    publish(room, enter(room, "ada"))
    bob = enter(room, "bob")

    [ended] = of_type(room.receive_on(bob.id, None), SubscriptionEnded)

    assert ended.reason is EndReason.PEER_CLOSED


def test_without_subscribing_to_everything_a_track_has_to_be_asked_for() -> None:
    room = make_room()
    bob = enter(room, "bob", auto_subscribe=False)
    track, events = publish(room, enter(room, "ada"))
    assert of_type(events, SubscriptionOpened) == []

    assert names(room.want(bob.id, track.id, True)) == ["SubscriptionOpened"]
    assert room.want(bob.id, track.id, True) == []


def test_an_explicit_no_stays() -> None:
    room = make_room()
    bob = enter(room, "bob")
    track, _ = publish(room, enter(room, "ada"))

    assert names(room.want(bob.id, track.id, False)) == ["SubscriptionEnded"]
    assert room.receive_on(bob.id, PeerId(9)) == []
    assert names(room.want(bob.id, track.id, True)) == ["SubscriptionOpened"]


def test_a_wish_for_a_track_that_is_only_announced_waits_for_it() -> None:
    room = make_room()
    ada, bob = enter(room, "ada"), enter(room, "bob", auto_subscribe=False)
    track = announce(room, ada)
    assert room.want(bob.id, track.id, True) == []
    assert room.is_missing(bob.id, track.id)

    events = room.publish(track.id, Mid("0"), "opus")

    assert of_type(events, SubscriptionOpened) != []
    assert not room.is_missing(bob.id, track.id)
    assert room.give_up(bob.id, track.id) == []


def test_a_wish_in_vain_is_given_up_with_its_reason() -> None:
    room = make_room()
    bob = enter(room, "bob")
    room.want(bob.id, TrackId(404), True)

    [failed] = of_type(room.give_up(bob.id, TrackId(404)), SubscriptionFailed)

    assert failed.failure.reason is Reason.TRACK_NOT_FOUND
    assert room.give_up(bob.id, TrackId(404)) == []


def test_whoever_may_not_subscribe_gets_its_wish_when_it_may() -> None:
    room = make_room()
    bob = enter(room, "bob", can_subscribe=False)
    track, _ = publish(room, enter(room, "ada"))
    assert room.want(bob.id, track.id, True) == []

    events = room.regrant(bob.id, Grant(tenant=ACME, identity="bob", room="standup"))

    assert of_type(events, SubscriptionOpened) != []


def test_a_track_can_be_hidden_before_it_is_subscribed_to() -> None:
    room = make_room()
    ada, bob = enter(room, "ada"), enter(room, "bob")
    track = announce(room, ada)
    assert room.show(bob.id, track.id, False) == []

    [opened] = of_type(room.publish(track.id, Mid("0"), "opus"), SubscriptionOpened)
    assert not opened.subscription.enabled

    [switched] = of_type(room.show(bob.id, track.id, True), SubscriptionSwitched)
    assert switched.subscription.enabled
    assert room.show(bob.id, track.id, True) == []


def test_a_refused_subscription_is_dropped_until_it_is_asked_for_again() -> None:
    room = make_room()
    bob = enter(room, "bob")
    track, events = publish(room, enter(room, "ada"))
    [opened] = of_type(events, SubscriptionOpened)

    refused = room.subscriptions.refuse(opened.subscription.id, Failure(Reason.CODEC_UNSUPPORTED))

    assert names(refused) == ["SubscriptionFailed"]
    assert room.receive_on(bob.id, PeerId(9)) == []
    assert names(room.want(bob.id, track.id, True)) == ["SubscriptionOpened"]


def test_the_publisher_is_told_once_that_it_is_heard_and_not_of_hidden_listeners() -> None:
    room = make_room()
    ada = enter(room, "ada")
    enter(room, "spy", hidden=True)
    enter(room, "bob")
    enter(room, "cyd")
    _, events = publish(room, ada)
    spy, bob, cyd = (one.subscription.id for one in of_type(events, SubscriptionOpened))

    assert of_type(room.activate(spy), TrackHeard) == []
    [heard] = of_type(room.activate(bob), TrackHeard)
    assert heard.to == ada.id
    assert of_type(room.activate(cyd), TrackHeard) == []
    assert room.activate(bob) == []


def test_nobody_is_subscribed_to_a_hidden_participant() -> None:
    room = make_room()
    enter(room, "bob")
    _, events = publish(room, enter(room, "spy", hidden=True))

    assert of_type(events, SubscriptionOpened) == []


def test_a_subscriber_has_a_bound() -> None:
    room = make_room(max_subscriptions=1)
    ada = enter(room, "ada")
    enter(room, "bob")
    publish(room, ada)

    _, events = publish(room, ada)

    [failed] = of_type(events, SubscriptionFailed)
    assert failed.failure == Failure(Reason.TOO_MANY_SUBSCRIPTIONS, "1 subscriptions are the limit")


def test_what_a_participant_says_about_tracks_has_a_bound() -> None:
    room = make_room(max_wishes=3)
    bob = enter(room, "bob")
    for track in range(3):
        room.want(bob.id, TrackId(track), True)

    with pytest.raises(LimitExceeded, match="the limit is 3"):
        room.want(bob.id, TrackId(3), True)


# Leaving.


def test_leaving_takes_tracks_and_subscriptions_along() -> None:
    room = make_room()
    ada, bob = enter(room, "ada"), enter(room, "bob")
    publish(room, ada)
    publish(room, bob)

    events = room.leave(ada.id, LeaveReason.CLIENT_LEFT)

    assert list(room.subscriptions) == []
    [left] = of_type(events, ParticipantLeft)
    assert (left.participant.state, left.participant.left_for) == (
        ParticipantState.DISCONNECTED,
        LeaveReason.CLIENT_LEFT,
    )
    ended = of_type(events, SubscriptionEnded)
    assert {one.to for one in ended} == {ada.id, bob.id}
    assert names(events).index("SubscriptionEnded") < names(events).index("TrackEnded")


# Seats and head counts.


def test_a_full_room_says_how_full() -> None:
    room = make_room(max_participants=1)
    enter(room, "ada")

    with pytest.raises(RoomFull, match="room 'standup' is full: 1 of 1 seats taken"):
        enter(room, "bob")


@pytest.mark.parametrize("role", ["recorder", "agent"])
def test_recorders_and_agents_take_no_seat_and_keep_no_room_open(role: str) -> None:
    room = make_room(max_participants=1)
    enter(room, "ada")

    enter(room, "robot", **{role: True})

    assert room.info.num_participants == 1
    room.leave(enter_id(room, "ada"), LeaveReason.CLIENT_LEFT)
    assert room.is_empty


def enter_id(room: Room, identity: str) -> ParticipantId:
    found = room.by_identity(identity)
    assert found is not None
    return found.id


def test_head_counts_follow_and_say_when_nothing_else_changed() -> None:
    room = make_room()
    ada = enter(room, "ada")
    _, events = publish(room, ada)
    [counted] = of_type(events, RoomUpdated)
    assert (counted.room.num_participants, counted.room.num_publishers, counted.counts_only) == (1, 1, True)

    robot = enter(room, "robot", recorder=True)
    assert room.info.is_recording
    [stopped] = of_type(room.leave(robot.id, LeaveReason.CLIENT_LEFT), RoomUpdated)
    assert not stopped.counts_only


# What participants say of themselves.


def test_attributes_merge_and_an_empty_value_deletes_its_key() -> None:
    room = make_room()
    ada = enter(room, "ada")
    room.update(ada.id, attributes={"hand": "up", "mood": "good"})

    [told] = of_type(room.update(ada.id, attributes={"hand": "", "seat": "3"}), ParticipantUpdated)

    assert dict(told.participant.attributes) == {"mood": "good", "seat": "3"}
    assert told.changed == {"attributes"}


def test_an_update_that_changes_nothing_tells_nothing() -> None:
    room = make_room()
    ada = enter(room, "ada")

    assert room.update(ada.id, name="", attributes={"gone": ""}) == []


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        ({"name": "é" * 129}, Reason.NAME_TOO_LONG),
        ({"metadata": "x" * 1001}, Reason.METADATA_TOO_LARGE),
        ({"attributes": {"k" * 50: "v" * 51}}, Reason.ATTRIBUTES_TOO_LARGE),
    ],
)
def test_what_is_too_large_is_refused_and_nothing_changes(update: dict[str, object], reason: Reason) -> None:
    room = make_room(max_metadata_bytes=1000, max_attributes_bytes=100)
    ada = enter(room, "ada")

    with pytest.raises(LimitExceeded) as refusal:
        room.update(ada.id, **update)  # type: ignore[arg-type]

    assert refusal.value.reason is reason
    assert room.participant(ada.id) == ada


def test_the_merged_attributes_count_and_not_only_the_new_ones() -> None:
    room = make_room(max_attributes_bytes=10)
    ada = enter(room, "ada")
    room.update(ada.id, attributes={"a": "12345"})

    with pytest.raises(LimitExceeded, match="attributes of 12 bytes: the limit is 10"):
        room.update(ada.id, attributes={"b": "12345"})


def test_a_smaller_grant_ends_what_goes_beyond_it() -> None:
    room = make_room()
    ada = enter(room, "ada")
    publish(room, ada, Source.CAMERA)
    kept, _ = publish(room, ada, Source.MICROPHONE)
    only_sound = Grant(
        tenant=ACME,
        identity="ada",
        room="standup",
        publish_sources=frozenset({Source.MICROPHONE}),
        can_subscribe=False,
    )

    events = room.regrant(ada.id, only_sound)

    [ended] = of_type(events, TrackEnded)
    assert (ended.track.source, ended.reason) == (Source.CAMERA, EndReason.NOT_ALLOWED)
    assert room.participant(ada.id).published == (kept,)
    assert room.participant(ada.id).is_publisher


# Data.


def test_data_reaches_everybody_but_its_sender() -> None:
    room = make_room()
    ada = enter(room, "ada")
    enter(room, "bob")
    enter(room, "spy", hidden=True, can_subscribe=False)

    recipients = room.recipients(ada.id, Data(payload=b"hi"))

    assert [one.identity for one in recipients] == ["bob", "spy"]


def test_data_for_some_reaches_only_them_and_unknown_names_are_ignored() -> None:
    room = make_room()
    ada, bob, cyd = enter(room, "ada"), enter(room, "bob"), enter(room, "cyd")

    by_name = room.recipients(ada.id, Data(payload=b"hi", to=("bob", "nobody", "ada")))
    by_id = room.recipients(ada.id, Data(payload=b"hi", to_ids=(cyd.id,)))

    assert [one.id for one in by_name] == [bob.id]
    assert [one.id for one in by_id] == [cyd.id]
    assert room.recipients(ada.id, Data(payload=b"hi", to=("nobody",))) == ()


def test_lossy_data_reaches_only_who_is_active() -> None:
    room = make_room()
    ada, bob = enter(room, "ada"), enter(room, "bob")
    enter(room, "cyd")
    room.advance(bob.id, ParticipantState.ACTIVE)

    recipients = room.recipients(ada.id, Data(payload=b"hi", reliable=False))

    assert [one.id for one in recipients] == [bob.id]


def test_without_the_permission_data_is_refused() -> None:
    room = make_room()
    ada = enter(room, "ada", can_publish_data=False)

    with pytest.raises(NotAllowed, match="'ada' may not send data"):
        room.recipients(ada.id, Data(payload=b"hi"))


def test_a_message_beyond_the_limit_is_refused_with_its_size() -> None:
    room = make_room(max_data_bytes=10)
    ada = enter(room, "ada")

    with pytest.raises(LimitExceeded, match="a message of 11 bytes: the limit is 10"):
        room.recipients(ada.id, Data(payload=b"x" * 11))
