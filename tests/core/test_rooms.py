"""Coming, going, deadlines and who is told what, on the fake engine and the fake clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from parley.core.core import Core
from parley.core.errors import (
    LimitExceeded,
    NameEmpty,
    NotAllowed,
    ParticipantNotFound,
    RoomFull,
    RoomNotFound,
    ShuttingDown,
    TrackNotFound,
)
from parley.core.events import (
    Event,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantUpdated,
    PeerConnected,
    RoomClosed,
    RoomUpdated,
    SubscriptionFailed,
)
from parley.core.grants import Grant
from parley.core.model import LeaveReason, Limits, ParticipantState, RoomOptions
from parley.core.rooms import Seat
from parley.engine.specs import Kind
from parley.errors import Reason
from parley.ids import ParticipantId, RoomId, TenantId, TrackId
from tests.core.clients import receiving
from tests.core.conftest import ACME, names, of_type, read
from tests.fakes import FakeClock, FakeEngine

Join = Callable[..., Seat]


# Coming.


def test_a_seat_shows_who_is_there_and_its_queue_what_comes_after(join: Join) -> None:
    ada = join("ada")
    bob = join("bob", name="Bob", metadata="m", attributes={"a": "1", "empty": ""})

    assert [one.identity for one in bob.others] == ["ada"]
    assert dict(bob.participant.attributes) == {"a": "1"}
    assert bob.participant.state is ParticipantState.JOINING
    assert of_type(read(bob), ParticipantJoined) == []
    [joined] = of_type(read(ada), ParticipantJoined)
    assert (joined.participant.identity, joined.participant.name) == ("bob", "Bob")


def test_states_are_told_to_everybody_the_participant_itself_included(core: Core, join: Join) -> None:
    ada, bob = join("ada"), join("bob")
    for seat in (ada, bob):
        read(seat)

    core.rooms.arrive(bob.id)
    core.rooms.arrive(bob.id)
    core.rooms.activate(bob.id)
    core.rooms.arrive(bob.id)

    for seat in (ada, bob):
        states = [event.participant.state for event in of_type(read(seat), ParticipantUpdated)]
        assert states == [ParticipantState.JOINED, ParticipantState.ACTIVE]


def test_the_primary_peer_makes_its_participant_active(core: Core, join: Join, fake_engine: FakeEngine) -> None:
    ada = join("ada")
    peer = core.peers.open(ada.id, receiving())
    [transport] = fake_engine.transports.values()

    transport.connect()

    assert core.rooms.participant(ada.id).is_active
    assert of_type(read(ada), PeerConnected)[0].peer == peer.id


def test_a_room_is_created_by_its_first_participant_as_that_one_says(join: Join) -> None:
    ada = join("ada", options=RoomOptions(max_participants=1, metadata="weekly", departure_timeout_s=5.0))

    assert (ada.room.metadata, ada.room.max_participants, ada.room.departure_timeout_s) == ("weekly", 1, 5.0)
    with pytest.raises(RoomFull, match="room 'standup' is full: 1 of 1 seats taken"):
        join("bob", options=RoomOptions(max_participants=0))


@pytest.mark.parametrize(
    ("grant", "error", "text"),
    [
        ({"can_join": False}, NotAllowed, "'ada' may not join"),
        ({"room": ""}, NameEmpty, "the room's name is empty"),
        ({"identity": ""}, NameEmpty, "the identity is empty"),
        ({"room": "x" * 257}, LimitExceeded, "a name of 257 bytes: the limit is 256"),
        ({"identity": "x" * 257}, LimitExceeded, "a name of 257 bytes: the limit is 256"),
    ],
)
def test_a_refusal_says_why_and_creates_nothing(
    core: Core, grant: dict[str, object], error: type[Exception], text: str
) -> None:
    fields = {"tenant": ACME, "identity": "ada", "room": "standup", "can_join": True, **grant}
    wanted = Grant(**fields)  # type: ignore[arg-type]

    for ask in (core.rooms.check, core.rooms.join):
        with pytest.raises(error, match=text):
            ask(wanted)
    assert core.rooms.all() == ()


def test_what_is_too_large_at_joining_creates_nothing(core: Core, join: Join) -> None:
    with pytest.raises(LimitExceeded, match="attributes of 65537 bytes"):
        join("ada", attributes={"a": "x" * 65536})
    with pytest.raises(LimitExceeded, match="metadata of"):
        join("ada", options=RoomOptions(metadata="x" * (512 * 1024 + 1)))

    assert core.rooms.all() == ()


def test_where_rooms_are_not_created_by_joining_it_takes_the_permission() -> None:
    core = Core(FakeEngine(), clock=FakeClock(), random=Random(1), limits=Limits(auto_create=False))
    grant = Grant(tenant=ACME, identity="ada", room="standup", can_join=True)

    with pytest.raises(RoomNotFound, match="there is no room 'standup'"):
        core.rooms.join(grant)
    core.rooms.join(Grant(tenant=ACME, identity="bob", room="standup", can_join=True, can_create=True))
    core.rooms.join(grant)


def test_there_is_a_bound_on_rooms() -> None:
    core = Core(FakeEngine(), clock=FakeClock(), random=Random(1), limits=Limits(max_rooms=1))
    core.rooms.join(Grant(tenant=ACME, identity="ada", room="one", can_join=True))

    with pytest.raises(LimitExceeded) as refusal:
        core.rooms.join(Grant(tenant=ACME, identity="ada", room="two", can_join=True))
    assert refusal.value.reason is Reason.TOO_MANY_ROOMS


def test_tenants_never_meet(core: Core, join: Join) -> None:
    ada = join("ada")
    eve = join("ada", tenant=TenantId("evil"))
    track = core.rooms.announce(ada.id, kind=Kind.AUDIO)

    assert ada.room.id != eve.room.id
    assert eve.others == ()
    assert of_type(read(ada), ParticipantJoined) == []
    assert core.rooms.find(TenantId("evil"), "standup") == core.rooms.room_of(eve.id)
    assert [room.id for room in core.rooms.all(ACME)] == [ada.room.id]
    core.rooms.subscribe(eve.id, track.id)
    assert core.rooms.subscriptions(eve.id) == ()
    with pytest.raises(TrackNotFound):
        core.rooms.mute(eve.id, track.id, True)


# Hidden participants.


def test_nobody_learns_of_a_hidden_participant_which_sees_everybody(core: Core, join: Join) -> None:
    ada = join("ada")
    spy = join("spy", hidden=True)
    bob = join("bob")
    for seat in (ada, bob):
        read(seat)
    core.rooms.activate(spy.id)
    core.rooms.leave(spy.id)

    assert [one.identity for one in spy.others] == ["ada"]
    assert [one.identity for one in bob.others] == ["ada"]
    assert set(names(read(ada))) <= {"RoomUpdated"}
    told = read(spy)
    assert [event.participant.identity for event in of_type(told, ParticipantJoined)] == ["bob"]
    assert [event.participant.identity for event in of_type(told, ParticipantUpdated)] == ["spy"]


# Going.


def test_who_leaves_gets_its_own_leaving_last_and_the_others_get_it_once(core: Core, join: Join) -> None:
    ada, bob = join("ada"), join("bob")
    for seat in (ada, bob):
        read(seat)

    core.rooms.leave(bob.id, LeaveReason.CLIENT_UNAVAILABLE)
    core.rooms.leave(bob.id)

    [left] = of_type(read(ada), ParticipantLeft)
    assert (left.reason, left.participant.left_for) == (LeaveReason.CLIENT_UNAVAILABLE,) * 2
    assert left.participant.state is ParticipantState.DISCONNECTED
    assert read(bob) == [left]
    assert bob.events.is_closed


def test_who_is_gone_can_do_nothing_more(core: Core, join: Join) -> None:
    ada = join("ada")
    core.rooms.leave(ada.id)

    for attempt in (
        lambda: core.rooms.announce(ada.id, kind=Kind.AUDIO),
        lambda: core.rooms.subscribe(ada.id, TrackId(1)),
        lambda: core.rooms.arrive(ada.id),
        lambda: core.peers.open(ada.id, receiving()),
    ):
        with pytest.raises(ParticipantNotFound, match="there is no participant"):
            attempt()


def test_the_same_identity_replaces_the_older_one(core: Core, join: Join) -> None:
    bob, old = join("bob"), join("ada")
    read(bob)
    new = join("ada")

    assert of_type(read(old), ParticipantLeft)[-1].participant.id == old.id
    told = read(bob)
    kinds = [name for name in names(told) if name.startswith("Participant")]
    assert kinds == ["ParticipantLeft", "ParticipantJoined"]
    assert of_type(told, ParticipantLeft)[0].reason is LeaveReason.DUPLICATE_IDENTITY
    assert [one.identity for one in core.rooms.participants(new.room.id)] == ["bob", "ada"]
    assert new.room.id == old.room.id
    assert new.id != old.id


def test_a_replacement_needs_no_second_seat(join: Join) -> None:
    join("ada", options=RoomOptions(max_participants=1))

    join("ada")


def test_a_refused_replacement_leaves_the_older_one_where_it_is(core: Core, join: Join) -> None:
    old = join("ada")

    with pytest.raises(LimitExceeded):
        join("ada", metadata="x" * (512 * 1024 + 1))

    assert core.rooms.participant(old.id)


# Deadlines.


def test_a_participant_that_never_becomes_active_gives_up_its_seat(core: Core, join: Join, clock: FakeClock) -> None:
    ada, bob = join("ada"), join("bob")
    core.rooms.activate(bob.id)

    clock.advance(59.9)
    core.sweep()
    assert not ada.events.is_closed
    clock.advance(0.1)
    core.sweep()

    assert of_type(read(ada), ParticipantLeft)[-1].reason is LeaveReason.JOIN_TIMEOUT
    assert not bob.events.is_closed


def test_a_room_is_kept_for_a_while_after_the_last_one_left(core: Core, join: Join, clock: FakeClock) -> None:
    first = join("ada")
    core.rooms.leave(first.id)
    clock.advance(19)
    core.sweep()
    again = join("ada")
    assert again.room.id == first.room.id

    core.rooms.leave(again.id)
    clock.advance(19)
    core.sweep()
    assert core.rooms.find(ACME, "standup") is not None
    clock.advance(1)
    core.sweep()

    assert core.rooms.find(ACME, "standup") is None
    assert join("ada").room.id != first.room.id


def test_a_room_that_nobody_with_a_seat_ever_joined_waits_longer(core: Core, join: Join, clock: FakeClock) -> None:
    robot = join("robot", agent=True)
    core.rooms.activate(robot.id)

    clock.advance(299)
    core.sweep()
    assert not robot.events.is_closed
    clock.advance(1)
    core.sweep()

    assert of_type(read(robot), ParticipantLeft)[-1].reason is LeaveReason.ROOM_CLOSED


def test_closing_tells_the_bus_after_everybody_has_left(core: Core, join: Join) -> None:
    with core.bus.listen() as listener:
        ada = join("ada")
        core.rooms.close(ada.room.id)
    heard = []
    while (happening := listener.get_nowait()) is not None:
        heard.append(happening.event)

    assert isinstance(heard[-1], RoomClosed)
    assert heard[-1].reason is LeaveReason.ROOM_DELETED
    assert of_type(heard, ParticipantLeft)[0].reason is LeaveReason.ROOM_DELETED
    with pytest.raises(RoomNotFound):
        core.rooms.close(ada.room.id)


def test_a_wish_for_a_track_that_never_comes_ends_in_its_time(core: Core, join: Join, clock: FakeClock) -> None:
    ada = join("ada")
    core.rooms.activate(ada.id)
    core.rooms.subscribe(ada.id, TrackId(404))

    clock.advance(60)
    core.sweep()
    core.sweep()

    [failed] = of_type(read(ada), SubscriptionFailed)
    assert (failed.track, failed.failure.reason) == (404, Reason.TRACK_NOT_FOUND)


def test_taking_a_wish_back_ends_the_waiting(core: Core, join: Join, clock: FakeClock) -> None:
    ada = join("ada")
    core.rooms.activate(ada.id)
    core.rooms.subscribe(ada.id, TrackId(404))
    core.rooms.unsubscribe(ada.id, TrackId(404))

    clock.advance(60)
    core.sweep()

    assert of_type(read(ada), SubscriptionFailed) == []


# Slow readers.


def test_a_participant_that_reads_nothing_is_disconnected_alone() -> None:
    core = Core(FakeEngine(), clock=FakeClock(), random=Random(1), limits=Limits(events=10))
    slow = core.rooms.join(Grant(tenant=ACME, identity="slow", room="standup", can_join=True))
    quick = core.rooms.join(
        Grant(tenant=ACME, identity="quick", room="standup", can_join=True, can_update_own_metadata=True)
    )
    for number in range(20):
        core.rooms.update(quick.id, metadata=str(number))
        last = read(quick)

    assert [type(event) for event in read(slow)] == [ParticipantLeft]
    assert len(last) == 1
    assert [one.identity for one in core.rooms.participants(quick.room.id)] == ["quick"]


@pytest.mark.anyio
async def test_head_counts_of_a_crowd_are_told_once_to_who_comes_to_read_them_late(join: Join) -> None:
    ada = join("ada")
    for number in range(50):
        join(f"p{number}")

    [counted] = of_type(read(ada), RoomUpdated)
    assert counted.room.num_participants == 51


# Who is woken, and how soon.


def crowd_of(core: Core, count: int) -> list[Seat]:
    """This many in a room, each with a reader that has read everything and waits."""
    who = {"tenant": ACME, "room": "standup", "can_join": True, "can_update_own_metadata": True}
    grants = [Grant(identity=f"p{number}", **who) for number in range(count)]  # type: ignore[arg-type]
    return [core.rooms.join(grant) for grant in grants]


async def waiting_reader(seat: Seat) -> asyncio.Task[Event]:
    read(seat)
    reader = asyncio.create_task(seat.events.get())
    await asyncio.sleep(0)
    return reader


@pytest.mark.anyio
@pytest.mark.parametrize(("before", "is_woken"), [(10, True), (60, False)])
async def test_in_a_crowd_nobody_is_woken_for_one_more_watcher(core: Core, before: int, is_woken: bool) -> None:
    [first, *_] = crowd_of(core, before)
    reader = await waiting_reader(first)

    core.rooms.join(Grant(tenant=ACME, identity="late", room="standup", can_join=True))
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert reader.done() is is_woken
    reader.cancel()


@pytest.mark.anyio
async def test_news_that_waited_are_read_with_the_first_that_cannot(core: Core) -> None:
    [first, second, third, *_] = crowd_of(core, 60)
    reader = await waiting_reader(first)

    core.rooms.leave(second.id)
    core.rooms.update(third.id, name="Third")
    event = await reader

    assert isinstance(event, ParticipantLeft)
    assert [type(after) for after in read(first)] == [RoomUpdated, ParticipantUpdated]


@pytest.mark.anyio
async def test_news_of_a_crowd_are_told_in_time(fake_engine: FakeEngine, clock: FakeClock) -> None:
    core = Core(fake_engine, clock=clock, random=Random(1), limits=Limits(small_talk_per_s=6000))
    [first, second, *_] = crowd_of(core, 60)
    reader = await waiting_reader(first)

    core.rooms.leave(second.id)
    event = await asyncio.wait_for(reader, 1.0)

    assert isinstance(event, ParticipantLeft)


@pytest.mark.anyio
async def test_in_a_crowd_everybody_hears_at_once_of_itself_and_of_what_others_say(core: Core) -> None:
    [first, second, third, *_] = crowd_of(core, 60)
    mine, others = await waiting_reader(second), await waiting_reader(first)

    core.rooms.activate(second.id)
    await asyncio.wait_for(mine, 1.0)
    assert not others.done()

    core.rooms.update(third.id, name="Third")
    await asyncio.wait_for(others, 1.0)


@pytest.mark.anyio
async def test_the_end_of_a_large_room_overflows_nobody() -> None:
    core = Core(FakeEngine(), clock=FakeClock(), random=Random(1), limits=Limits(events=100))
    grants = [Grant(tenant=ACME, identity=str(number), room="standup", can_join=True) for number in range(90)]
    seats = [core.rooms.join(grant) for grant in grants]
    for seat in seats:
        read(seat)

    core.stop()

    for seat in seats:
        [left] = read(seat)
        assert isinstance(left, ParticipantLeft)
        assert left.reason is LeaveReason.SERVER_SHUTDOWN


# What is said of participants and rooms.


def test_only_who_may_changes_what_is_said_of_itself(core: Core, join: Join) -> None:
    ada, bob = join("ada", can_update_own_metadata=True), join("bob")
    read(bob)

    core.rooms.update(ada.id, name="Ada", attributes={"hand": "up"})

    [told] = of_type(read(bob), ParticipantUpdated)
    assert (told.participant.name, told.changed) == ("Ada", {"name", "attributes"})
    with pytest.raises(NotAllowed, match="'bob' may not update its own metadata"):
        core.rooms.update(bob.id, name="Bob")


def test_an_event_keeps_what_was_true_when_it_happened(core: Core, join: Join) -> None:
    ada = join("ada", can_update_own_metadata=True)
    read(ada)
    core.rooms.update(ada.id, name="one")
    core.rooms.update(ada.id, name="two")

    told = of_type(read(ada), ParticipantUpdated)
    assert [event.participant.name for event in told] == ["one", "two"]
    assert told[0].participant.revision < told[1].participant.revision


def test_a_rooms_metadata_is_told_to_all(core: Core, join: Join) -> None:
    ada = join("ada")
    read(ada)

    core.rooms.set_metadata(ada.room.id, "agenda")

    [told] = of_type(read(ada), RoomUpdated)
    assert (told.room.metadata, told.counts_only) == ("agenda", False)
    with pytest.raises(RoomNotFound):
        core.rooms.set_metadata(RoomId(1), "agenda")


def test_a_smaller_grant_that_frees_the_last_seat_starts_the_rooms_deadline(
    core: Core, join: Join, clock: FakeClock
) -> None:
    ada = join("ada")
    core.rooms.activate(ada.id)
    core.rooms.regrant(ada.id, Grant(tenant=ACME, identity="ada", room="standup", agent=True))

    clock.advance(20)
    core.sweep()

    assert ada.events.is_closed


# Stopping.


def test_a_stopping_server_sends_everybody_home_and_takes_nobody_in(core: Core, join: Join) -> None:
    seats = [join("ada"), join("bob"), join("cyd", room="other")]

    core.stop()

    for seat in seats:
        assert of_type(read(seat), ParticipantLeft)[-1].reason is LeaveReason.SERVER_SHUTDOWN
    assert core.rooms.all() == ()
    with pytest.raises(ShuttingDown, match="the server is stopping"):
        join("dan")


def test_unknown_participants_are_refused_by_name(core: Core) -> None:
    with pytest.raises(ParticipantNotFound, match=r"there is no participant 0{30}2a"):
        core.rooms.participant(ParticipantId(42))
