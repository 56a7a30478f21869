"""livekit-client in Chromium in one call with sessions of the Cloudflare Realtime API: media and data, both ways."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser

from .browser import Client, chromium
from .media import Picture, Tone
from .server import Server, token, until
from .session import calling
from .sfu import opened

pytestmark = [pytest.mark.anyio, pytest.mark.native, pytest.mark.browser]


async def in_room(browser: Browser, server: Server, room: str, *, simulcast: bool = False) -> Client:
    ada = await Client.open(browser, server.http)
    await ada.call("join", server.ws, token("ada", room), {"room": {"publishDefaults": {"simulcast": simulcast}}})
    return ada


async def published(ada: Client) -> tuple[str, str, str]:
    """Her id, and those of her microphone and camera: how sessions name what she sends."""
    await ada.call("microphone", True)
    await ada.call("camera", True, {"resolution": {"width": 640, "height": 360}})
    sid, mic, cam = await ada.page.evaluate(
        """() => {
            const me = driver.state.room.localParticipant;
            const of = (source) => me.getTrackPublication(source).trackSid;
            return [me.sid, of("microphone"), of("camera")];
        }"""
    )
    return sid, mic, cam


async def test_a_session_of_aiortc_sees_and_hears_a_browsers_participant(server: Server, room_name: str) -> None:
    async with chromium() as browser, calling(server) as app:
        sid, mic, cam = await published(await in_room(browser, server, room_name))

        bob = await app.session()
        sound, picture = await bob.find(sid, mic), await bob.find(sid, cam)

        await until(lambda: bob.heard[picture].frames > 10, within_s=20, what="ada's picture")
        await until(lambda: bob.heard[sound].loudest > 500, within_s=20, what="ada's beeps")
        assert bob.heard[picture].size == (640, 360)


async def test_a_browsers_own_connection_sees_and_hears_a_browsers_participant(server: Server, room_name: str) -> None:
    async with chromium() as browser:
        sid, mic, cam = await published(await in_room(browser, server, room_name, simulcast=True))
        page = await opened(browser, server)

        seen: dict[str, Any] = await page.evaluate(
            """async ([id, mic, cam]) => {
                const bob = await sfu.session();
                const pulled = await bob.ask({ tracks: [sfu.remote({ id }, mic), sfu.remote({ id }, cam)] });
                await bob.hears("0");
                return { pulled, picture: await bob.shows("1") };
            }""",
            [sid, mic, cam],
        )

        assert [one["trackName"] for one in seen["pulled"]["tracks"]] == [mic, cam]
        assert seen["picture"]["framesDecoded"] > 5


async def test_a_browsers_participant_sees_and_hears_a_session_of_its_room(server: Server, room_name: str) -> None:
    async with chromium() as browser, calling(server) as app:
        ada = await in_room(browser, server, room_name)
        bob = await app.session(f"correlationId=room:{room_name}/bob")
        await bob.push(mic=Tone(), cam=Picture(320, 240))

        await ada.until("driver.inbound('bob', 'camera').then(s => s?.framesDecoded > 10)", within_s=20)
        await ada.until("driver.inbound('bob', 'microphone').then(s => s?.totalAudioEnergy > 0.001)", within_s=20)
        shown = await ada.call("inbound", "bob", "camera")
        assert (shown["frameWidth"], shown["frameHeight"]) == (320, 240)

        await bob.close(bob.sending["cam"].mid)
        await ada.until(
            "driver.events().some(e => e.name === 'unpublished' && e.source === 'camera')",
            within_s=5,
        )
        await bob.hang_up()
        await ada.until("driver.others().length === 0", within_s=5)


async def test_messages_cross_between_a_browsers_participant_and_a_session(server: Server, room_name: str) -> None:
    async with chromium() as browser, calling(server) as app:
        ada = await in_room(browser, server, room_name)
        sid = await ada.page.evaluate("driver.state.room.localParticipant.sid")
        bob = await app.session(f"correlationId=room:{room_name}/bob")
        await bob.establish()
        mine, hers = await bob.channel("numbers"), await bob.channel("numbers", sid, canReply=True)
        await until(lambda: mine.is_open and hers.is_open, within_s=10, what="open channels")

        await ada.call("sendNumbered", 200, 1000, True)
        await until(lambda: len(hers.received) >= 200, within_s=20, what="ada's messages")
        for number in range(200):
            mine.send(number.to_bytes(4, "big") + bytes(1000))
        await ada.until("driver.received().reliable.length >= 200", within_s=20)
        hers.send((1000).to_bytes(4, "big"))
        await ada.until("driver.received().reliable.length > 200", within_s=20)

        assert [int.from_bytes(one[:4], "big") for one in hers.received] == list(range(200))
        said = await ada.page.evaluate("driver.received().reliable.map(m => [m.from, m.topic, m.first])")
        assert said == [["bob", "numbers", number] for number in [*range(200), 1000]]
