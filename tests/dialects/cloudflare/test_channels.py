"""Data channels of sessions: who receives, who acknowledges, who may reply."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes import FakeChannel

from .client import App, Session

pytestmark = pytest.mark.anyio


async def session_with_data(app: App) -> Session:
    session = await app.session()
    await session.data()
    return session


async def subscribed(app: App, publisher: Session, **options: Any) -> tuple[Session, FakeChannel]:
    """A session with a subscription, and the server's end of that."""
    session = await session_with_data(app)
    await session.subscribe(publisher, "news", **options)
    return session, session.channel("news")


def sent(channel: FakeChannel) -> list[bytes]:
    return [message.data for message in channel.sent]


async def test_nothing_that_was_said_before_a_subscription_is_said_again(app: App) -> None:
    ada = await session_with_data(app)
    await ada.publish("news")
    news = ada.channel("news")

    news.receive(b"to nobody")
    _, to_bob = await subscribed(app, ada)
    news.receive(b"to bob")

    assert sent(to_bob) == [b"to bob"]


async def test_what_is_behind_an_acknowledgement_is_a_reply_where_one_is_allowed(app: App) -> None:
    ada = await session_with_data(app)
    await ada.publish("news")
    _, to_bob = await subscribed(app, ada, waitForAck=True, canReply=True)

    for message in (b"ack", b"first", b"second"):
        to_bob.receive(message)
    ada.channel("news").receive(b"heard you")

    assert sent(ada.channel("news")) == [b"first", b"second"]
    assert sent(to_bob) == [b"heard you"]


async def test_what_is_said_before_a_reply_is_allowed_is_lost(app: App) -> None:
    ada = await session_with_data(app)
    await ada.publish("news")
    bob, to_bob = await subscribed(app, ada, waitForAck=True)

    async def allow(reply: bool) -> None:
        body = {"dataChannels": [ada.remote_channel("news", canReply=reply)]}
        [updated] = (await bob.call("PUT", "datachannels/update", body))["dataChannels"]
        assert updated["canReply"] is reply

    to_bob.receive(b"ack")
    to_bob.receive(b"lost")
    await allow(True)
    await allow(True)
    to_bob.receive(b"reply")
    await allow(False)
    to_bob.receive(b"lost too")

    assert sent(ada.channel("news")) == [b"reply"]


async def test_a_grant_before_the_acknowledgement_counts_from_there_on(app: App) -> None:
    ada = await session_with_data(app)
    await ada.publish("news")
    _, to_bob = await subscribed(app, ada, canReply=True)
    _, to_cyd = await subscribed(app, ada, canReply=True, waitForAck=True)

    to_bob.receive(b"no longer the holder")
    to_cyd.receive(b"ack")
    to_cyd.receive(b"reply")

    assert sent(ada.channel("news")) == [b"reply"]
    assert sent(to_bob) == []


async def test_a_subscription_the_engine_has_no_room_for_leaves_nothing_behind(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.fakes.MAX_LINKS", 1)
    ada = await session_with_data(app)
    await ada.publish("news")
    _, to_bob = await subscribed(app, ada)
    cyd = await session_with_data(app)

    [refused] = await cyd.channels(ada.remote_channel("news"))

    assert refused["errorCode"] == "retryable_transient_error"
    assert "id" not in refused
    assert list((await cyd.channel_statuses()).values()) == ["active", "inactive"]
    assert len(cyd.transport.channels) == 1  # server-events
    ada.channel("news").receive(b"to bob")
    assert sent(to_bob) == [b"to bob"]


async def test_no_link_outlives_its_publisher_or_its_subscriber(app: App) -> None:
    ada = await session_with_data(app)
    id = await ada.publish("news")
    _, to_bob = await subscribed(app, ada, canReply=True)
    cyd, to_cyd = await subscribed(app, ada)
    assert app.engine.counters()["links"] == 3

    to_bob.reset()
    assert app.engine.counters()["links"] == 1
    await ada.call("PUT", "datachannels/close", {"dataChannels": [{"id": id}]})

    assert app.engine.counters()["links"] == 0
    assert to_cyd.is_closed
    assert list((await cyd.channel_statuses()).values()) == ["active", "inactive"]
