"""Data between a session and the room it is bound to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from parley.core.core import Core
from parley.core.data import Data
from parley.core.events import DataReceived
from parley.core.grants import Grant
from parley.core.rooms import Seat
from parley.ids import ParticipantId, TenantId
from tests.dialects.cloudflare.client import App, Session

pytestmark = pytest.mark.anyio

BOUND = "?correlationId=room:standup"


async def in_room(app: App, query: str = BOUND, *, app_name: str = "app") -> Session:
    session = await app.session(query, app=app_name)
    await session.data()
    return session


def seated(core: Core, *, room: str = "standup", tenant: str = "acme", identity: str = "ada") -> Seat:
    """A participant of another dialect, whose data waits in its queue."""
    return core.rooms.join(Grant(tenant=TenantId(tenant), identity=identity, room=room, can_join=True))


def heard(seat: Seat) -> list[Data]:
    """The data that has come since it was last asked."""
    events = iter(seat.events.get_nowait, None)
    return [event.data for event in events if isinstance(event, DataReceived)]


def remote(seat: Seat, name: str = "news", **more: object) -> dict[str, object]:
    return {
        "location": "remote",
        "sessionId": f"{seat.participant.id:032x}",
        "dataChannelName": name,
        **more,
    }


async def test_a_room_hears_a_channel_under_its_name(app: App, core: Core) -> None:
    ada = seated(core)
    bob = await in_room(app)
    await bob.publish("news")
    await bob.publish("where", ordered=False, maxRetransmits=0)

    bob.channel("news").receive(b"hello", text=True)
    bob.channel("where").receive(b"here")
    bob.channel("news").receive(bytes(200_000))

    said = [(one.payload, one.topic, one.reliable, one.is_for_all) for one in heard(ada)]
    assert said[0] == (b"hello", "news", True, True)
    assert len(said) == 1  # Lossy data is for those who are active, and what is too large for nobody.


async def test_a_session_outside_rooms_tells_nobody(app: App, core: Core) -> None:
    ada = seated(core)
    bob = await in_room(app, "")
    await bob.publish("news")

    bob.channel("news").receive(b"hello")

    assert heard(ada) == []


async def test_a_session_hears_a_participant_on_its_topic_and_answers_it_alone(app: App, core: Core) -> None:
    ada, cyd = seated(core), seated(core, identity="cyd")
    bob = await in_room(app)
    [made] = await bob.channels(remote(ada, canReply=True))
    channel = bob.channel("news")

    core.rooms.send(ada.participant.id, Data(payload=b"one", topic="news"))
    core.rooms.send(ada.participant.id, Data(payload=b"two", topic="other"))
    core.rooms.send(cyd.participant.id, Data(payload=b"three", topic="news"))
    core.rooms.send(ada.participant.id, Data(payload=b"four", topic="news", to=("cyd",)))
    channel.receive(b"thanks")

    assert made == remote(ada, canReply=True, id=1)
    assert [one.data for one in channel.sent] == [b"one"]
    assert [(one.payload, one.topic) for one in heard(ada) if one.payload == b"thanks"] == [(b"thanks", "news")]
    assert b"thanks" not in [one.payload for one in heard(cyd)]


async def test_who_may_not_reply_is_not_heard_until_it_may(app: App, core: Core) -> None:
    ada = seated(core)
    bob = await in_room(app)
    await bob.channels(remote(ada, waitForAck=True))
    channel = bob.channel("news")

    core.rooms.send(ada.participant.id, Data(payload=b"too early", topic="news"))
    for message in (b"ack", b"lost"):
        channel.receive(message)
    core.rooms.send(ada.participant.id, Data(payload=b"in time", topic="news"))
    [updated] = (await bob.call("PUT", "datachannels/update", {"dataChannels": [remote(ada, canReply=True)]}))[
        "dataChannels"
    ]
    channel.receive(b"at last")

    assert updated["id"] == 1
    assert [one.data for one in channel.sent] == [b"in time"]
    assert [one.payload for one in heard(ada)] == [b"at last"]


async def test_who_does_not_acknowledge_in_time_has_to_subscribe_again(
    app: App, core: Core, let_pass: Callable[[float], Awaitable[None]]
) -> None:
    ada = seated(core)
    bob = await in_room(app)
    [late, in_time] = await bob.channels(remote(ada, waitForAck=True), remote(ada, "other", waitForAck=True))
    never = bob.channel("news")

    await let_pass(29)
    bob.channel("other").receive(b"ack")
    assert not never.is_closed
    await let_pass(2)

    statuses = await bob.channel_statuses()
    assert (statuses[late["id"]] == "inactive", statuses[in_time["id"]] == "inactive") == (True, False)
    assert never.is_closed
    [again] = await bob.channels(remote(ada))
    core.rooms.send(ada.participant.id, Data(payload=b"hello", topic="news"))
    core.rooms.send(ada.participant.id, Data(payload=b"and you", topic="other"))
    assert "errorCode" not in again
    assert [one.data for name in ("news", "other") for one in bob.channel(name).sent] == [b"hello", b"and you"]


async def test_a_topic_ends_with_whoever_speaks_of_it(app: App, core: Core) -> None:
    ada = seated(core)
    bob = await in_room(app)
    await bob.channels(remote(ada), remote(ada, "other"))
    [again] = await bob.channels(remote(ada))
    assert again["errorCode"] == "repeated_local_track_error"
    await bob.call("PUT", "datachannels/close", {"dataChannels": [{"id": 2}]})

    core.rooms.leave(ada.participant.id)

    statuses = await bob.channel_statuses()
    assert (statuses[1], statuses[2]) == ("inactive", "inactive")
    assert all(channel.is_closed for channel in bob.transport.channels.values() if channel.label == "news")


@pytest.mark.parametrize("where", [{"room": "elsewhere"}, {"tenant": "other"}])
async def test_a_session_hears_nobody_of_another_room(app: App, core: Core, where: dict[str, str]) -> None:
    ada = seated(core, **where)
    bob = await in_room(app)

    [made] = await bob.channels(remote(ada))

    assert made["errorCode"] == "not_found_track_error"


async def test_sessions_of_two_apps_in_one_room_hear_each_other(app: App, core: Core) -> None:
    bob = await in_room(app)
    cyd = await in_room(app, app_name="sister")
    await bob.publish("news")
    await cyd.subscribe(bob, "news")

    bob.channel("news").receive(b"hello")

    assert [one.data for one in cyd.channel("news").sent] == [b"hello"]
    assert core.rooms.participant(ParticipantId(int(cyd.id, 16))).grant.lobby == "sister"
