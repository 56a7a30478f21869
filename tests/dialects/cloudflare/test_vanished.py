"""What sessions that have ended leave running: nothing."""

from __future__ import annotations

import asyncio

import pytest

from parley.core.core import Core
from tests.core.clients import OPUS, VP8
from tests.dialects.cloudflare.client import App, Session, local
from tests.fakes import FakeClock, FakeEngine

pytestmark = pytest.mark.anyio

LONG = {"connect_gate_s": 60, "media_s": 60, "turn_s": 60}
"""Longer than a test may take: whatever waits so long has to be let go."""


async def test_calls_that_wait_for_a_session_end_when_it_is_lost(
    core: Core, fake_engine: FakeEngine, clock: FakeClock
) -> None:
    app = App(core, fake_engine, timeouts=LONG)
    ada, bob, cyd = await app.session(), await app.session(), await app.session()
    before = asyncio.all_tasks()
    await call(ada, bob)
    offer = ada.offer(late=OPUS)
    tracks = [local("late", ada.side.mids["late"])]
    added = await ada.call("POST", "tracks/new", {"sessionDescription": offer, "tracks": tracks})
    ada.take(added["sessionDescription"])

    ada.transport.fail()
    waiting = [
        asyncio.create_task(ada.ask(bob.remote("cam"), expect=410)),
        asyncio.create_task(ada.channels({"location": "local", "dataChannelName": "more"}, expect=410)),
        asyncio.create_task(cyd.ask(ada.remote("late"))),
    ]
    for _ in range(50):  # As far as they get.
        await asyncio.sleep(0)
    assert not any(one.done() for one in waiting)
    clock.advance(20.1)
    core.sweep()

    async with asyncio.timeout(5):
        pulled, made, found = await asyncio.gather(*waiting)
    assert pulled["errorCode"] == "session_error"
    assert made[0]["errorCode"] == "session_error"
    assert found["tracks"][0]["errorCode"] == "not_found_track_error"
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("end", ["hang up", "are lost"])
async def test_fifty_sessions_that_come_pull_and_end_leave_no_task(
    app: App, core: Core, clock: FakeClock, end: str
) -> None:
    before = asyncio.all_tasks()

    for _ in range(25):
        ada, bob = await app.session(), await app.session()
        await call(ada, bob)
        for one in (ada, bob):
            (one.transport.hang_up if end == "hang up" else one.transport.fail)()
    assert core.rooms.count().participants == 50
    clock.advance(20.1)
    core.sweep()

    assert asyncio.all_tasks() == before
    assert core.rooms.count().participants == 0
    assert app.engine.transports == {}


async def call(ada: Session, bob: Session) -> None:
    """Each receives the other's picture, and bob a channel of ada's that awaits his acknowledgement."""
    for one in (ada, bob):
        await one.push(cam=VP8)
    await ada.pull(bob.remote("cam"))
    await bob.pull(ada.remote("cam"))
    await ada.publish("news")
    await bob.subscribe(ada, "news", waitForAck=True)
