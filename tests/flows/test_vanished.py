"""Clients whose process is killed, and networks that stop: what they held is freed in time, and others are told."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest
from aiortc import RTCPeerConnection

from tests.udp_proxy import UdpProxy, Weather

from .browser import Client, chromium
from .media import Picture, Tone
from .participant import joined
from .server import Server, running_server, settle, token, until
from .session import App, Session, calling
from .victim import victim

pytestmark = [pytest.mark.anyio, pytest.mark.native, pytest.mark.timeout(120)]

FAILED_S, RETURN_S = 1.0, 1.0
SLACK_S = 2.0
"""What a sweep, a gauge and this machine may add to a timeout."""
QUICK = {"PARLEY_MEDIA__FAILED_S": str(FAILED_S), "PARLEY_CLOUDFLARE__TIMEOUTS__RETURN_S": str(RETURN_S)}
TRANSPORTS = 'parley_engine_objects{kind="transports"}'
OF_PARTICIPANT, OF_SESSION = 2, 1
"""How many transports a `livekit` participant has, and a session."""


@pytest.fixture
async def server(anyio_backend: str) -> AsyncIterator[Server]:
    async with running_server(environ=QUICK) as running:
        yield running
        assert not [line for line in running.log if "Traceback" in line], "\n".join(running.log)


@pytest.mark.parametrize("dialect", ["livekit", "cloudflare"])
async def test_a_killed_client_is_gone_for_everybody_within_its_timeout(
    server: Server, room_name: str, dialect: str
) -> None:
    async with calling(server) as app, joined(server.ws, token("ada", room_name)) as ada:
        bob = await app.session()
        before = server.descriptors()
        async with victim(dialect, server, room_name) as (process, id):
            mids = [await bob.find(id, name) for name in ("mic", "cam")]
            await until(lambda: ada.video_from("victim").frames > 5, within_s=15, what="the victim's picture at ada")
            await until(lambda: frames(bob, mids[1]) > 5, within_s=15, what="the victim's picture at bob")

            process.kill()
            killed = time.monotonic()
            await until(lambda: "victim" not in ada.others(), within_s=FAILED_S + RETURN_S + SLACK_S, what="its end")
            assert ("participant_disconnected", "victim") in ada.events
            left_s = killed + FAILED_S + RETURN_S + SLACK_S - time.monotonic()
            await settle(bob.statuses, {"mic": "inactive", "cam": "inactive"}, within_s=left_s)

        await server.has_no_more(OF_PARTICIPANT + OF_SESSION, TRANSPORTS)
        await until(lambda: server.descriptors() <= before, within_s=5, what="no descriptor left")
        metrics = await server.metrics()
        assert metrics["parley_participants"] == 2
        assert metrics["parley_tracks"] == 0
        if dialect == "cloudflare":
            assert (await app.http.get(f"/sessions/{id}")).status_code == 410


@pytest.mark.browser
async def test_a_browser_that_is_killed_is_gone_for_everybody_within_its_timeout(
    server: Server, room_name: str
) -> None:
    async with joined(server.ws, token("ada", room_name)) as ada:
        async with chromium() as browser:
            bob = await Client.open(browser, server.http)
            await bob.call("join", server.ws, token("bob", room_name))
            await bob.call("camera", True)
            await until(lambda: ada.video_from("bob").frames > 5, within_s=15, what="bob's picture at ada")

            session = await browser.new_browser_cdp_session()
            processes = (await session.send("SystemInfo.getProcessInfo"))["processInfo"]
            os.kill(next(one["id"] for one in processes if one["type"] == "browser"), signal.SIGKILL)
            await until(lambda: "bob" not in ada.others(), within_s=FAILED_S + SLACK_S, what="its end")

        await server.has_no_more(OF_PARTICIPANT, TRANSPORTS)
        assert (await server.metrics())["parley_participants"] == 1


async def test_a_killed_subscriber_leaves_its_publisher_alone(server: Server, room_name: str) -> None:
    async with calling(server) as app:
        bob = await app.session(f"correlationId=room:{room_name}/bob")
        await bob.push(cam=Picture())
        async with victim("livekit", server, room_name) as (process, _):
            await settle(lambda: server.sample("parley_subscriptions"), 1)
            process.kill()
            await settle(lambda: server.sample("parley_subscriptions"), 0)
        assert await bob.statuses() == {"cam": "active"}


async def test_a_session_whose_network_comes_back_goes_on(room_name: str) -> None:
    async with UdpProxy(up=Weather(), down=Weather()) as proxy:
        environ = {**QUICK, "PARLEY_CLOUDFLARE__TIMEOUTS__RETURN_S": "20"}
        async with running_server("--announce", proxy.announce, environ=environ) as server, calling(server) as app:
            proxy.target = ("127.0.0.1", server.udp_port)
            ada, bob = await app.session(), await app.session()
            await ada.push(cam=Picture(), mic=Tone())
            mid = await bob.find(ada.id, "cam")
            await until(lambda: frames(bob, mid) > 5, within_s=15, what="ada's picture")

            proxy.up = proxy.down = Weather(loss=1.0)
            await asyncio.sleep(2 * FAILED_S)  # The silence is what is tested.
            assert await bob.statuses() == {"cam": "active"}
            seen = frames(bob, mid)
            proxy.up = proxy.down = Weather()

            await until(lambda: frames(bob, mid) > seen + 5, within_s=20, what="ada's picture again")
            assert await bob.find(ada.id, "mic")


async def test_participants_whose_media_stops_while_their_sockets_stay_come_back_by_themselves(room_name: str) -> None:
    async with UdpProxy() as proxy, running_server("--announce", proxy.announce, environ=QUICK) as server:
        proxy.target = ("127.0.0.1", server.udp_port)
        async with joined(server.ws, token("ada", room_name)) as ada, joined(server.ws, token("bob", room_name)) as bob:
            await bob.show(320, 240)
            await until(lambda: ada.video_from("bob").frames > 5, within_s=15, what="bob's picture")

            proxy.up = proxy.down = Weather(loss=1.0)
            await until(lambda: departures(server) == 2, within_s=FAILED_S + SLACK_S, what="the end of both")
            seen = ada.video_from("bob").frames
            proxy.up = proxy.down = Weather()

            await until(lambda: ada.video_from("bob").frames > seen + 5, within_s=20, what="bob's picture again")
            assert (list(ada.others()), list(bob.others())) == (["bob"], ["ada"])
            assert (await server.metrics())["parley_participants"] == 2
        assert not [line for line in server.log if "Traceback" in line], "\n".join(server.log)


async def test_two_hundred_sessions_made_and_dropped_leave_memory_flat(server: Server) -> None:
    async with calling(server) as app:
        described = await offer()
        sizes: list[int] = []
        for _ in range(3):
            for number in range(200):
                if number % 20 == 0:
                    await call_and_drop(app)
                elif number % 20 > 1:  # A call is two sessions.
                    await make_and_drop(app, described)
            within_s = FAILED_S + RETURN_S + SLACK_S + 5
            await settle(lambda: server.sample("parley_participants"), 0, within_s=within_s)
            await server.has_no_more(0, TRANSPORTS)
            sizes.append(server.memory())

    # The first rounds fill pools and caches. 2,000 more sessions over HTTP alone grew it by 0.3 KiB each.
    grown = (sizes[-1] - sizes[-2]) / 200
    print(f"{grown / 1024:.1f} KiB a session; {[size >> 10 for size in sizes]} KiB after each round")
    assert grown < 8 * 1024


async def offer() -> dict[str, str]:
    """A browser's first offer of a microphone."""
    pc = RTCPeerConnection()
    pc.addTransceiver("audio", direction="sendonly")
    await pc.setLocalDescription(await pc.createOffer())
    await pc.close()
    return {"type": "offer", "sdp": pc.localDescription.sdp}


async def make_and_drop(app: App, described: dict[str, str]) -> None:
    """A session that negotiates and is never heard of again, as one whose client vanished before it connected."""
    session = await app.session()
    items = [{"location": "local", "mid": "0", "trackName": "mic"}]
    await session.call("POST", "tracks/new", {"sessionDescription": described, "tracks": items})


async def call_and_drop(app: App) -> None:
    """Two that connect and see each other, and hang up."""
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=Picture())
    mid = await bob.find(ada.id, "cam")
    await until(lambda: frames(bob, mid) > 2, within_s=15, what="the picture")
    await ada.hang_up()
    await bob.hang_up()


def departures(server: Server) -> int:
    return sum("participant left" in line and "peer_failed" in line for line in server.log)


def frames(session: Session, mid: str) -> int:
    return session.heard[mid].frames if mid in session.heard else 0
