"""livekit-client in Chromium, beside the `livekit` package."""

from __future__ import annotations

import pytest

from .browser import Client, chromium
from .participant import joined
from .server import Server, token, until

pytestmark = [pytest.mark.anyio, pytest.mark.native, pytest.mark.browser]


async def test_a_browser_and_two_packages_share_a_room(server: Server, room_name: str) -> None:
    async with (
        chromium() as browser,
        joined(server.ws, token("ada", room_name)) as ada,
        joined(server.ws, token("bob", room_name)) as bob,
    ):
        await ada.speak()
        await ada.show(640, 360)
        await bob.speak()
        await bob.show(320, 240)
        cyd = await Client.open(browser, server.http)
        seat = await cyd.call("join", server.ws, token("cyd", room_name))
        assert seat["sid"].startswith("RM_")
        await cyd.call("microphone", True)
        await cyd.call("camera", True, {"resolution": {"width": 640, "height": 480}})

        for identity, width, height in (("ada", 640, 360), ("bob", 320, 240)):
            await cyd.until(
                f"driver.inbound('{identity}', 'camera').then(s => s?.framesDecoded > 5"
                f" && s.frameWidth === {width} && s.frameHeight === {height})",
                within_s=15,
            )
            await cyd.until(
                f"driver.inbound('{identity}', 'microphone').then(s => s?.totalAudioEnergy > 0.001)", within_s=15
            )
        for package in (ada, bob):
            await until(lambda: package.video_from("cyd").size == (640, 480), within_s=15, what="cyd's picture")  # noqa: B023
            await until(lambda: package.audio_from("cyd").loudest > 500, within_s=15, what="cyd's tone")  # noqa: B023


async def test_data_flows_both_ways_between_browser_and_package(server: Server, room_name: str) -> None:
    async with chromium() as browser, joined(server.ws, token("ada", room_name)) as ada:
        cyd = await Client.open(browser, server.http)
        await cyd.call("join", server.ws, token("cyd", room_name))
        await until(lambda: "cyd" in ada.others(), within_s=5, what="cyd at ada")

        await cyd.call("sendNumbered", 1000, 1024, True)
        for number in range(1_000):
            await ada.room.local_participant.publish_data(number.to_bytes(4, "big") + bytes(1020), reliable=True)

        await until(lambda: len(ada.data) >= 1_000, within_s=30, what="cyd's messages at ada")
        # Behind a megabyte of reliable messages a client may drop lossy ones; alone some arrive.
        await cyd.call("sendNumbered", 10, 100, False)
        await until(lambda: any(len(p.data) == 100 for p in ada.data), within_s=10, what="a lossy message at ada")
        reliable = [int.from_bytes(p.data[:4], "big") for p in ada.data if len(p.data) == 1024]
        assert reliable == list(range(1_000))
        await cyd.until("driver.received().reliable.length >= 1000", within_s=30)
        firsts = await cyd.page.evaluate("driver.received().reliable.map(m => m.first)")
        assert firsts == list(range(1_000))


async def test_a_default_simulcast_publisher_is_seen(server: Server, room_name: str) -> None:
    async with chromium() as browser, joined(server.ws, token("ada", room_name)) as ada:
        cyd = await Client.open(browser, server.http)
        await cyd.call("join", server.ws, token("cyd", room_name), {"room": {"publishDefaults": {}}})
        await cyd.call("camera", True)

        await until(lambda: ada.video_from("cyd").frames > 10, within_s=15, what="moving pictures of cyd")


async def test_a_cut_socket_ends_in_a_full_rejoin_with_tracks(server: Server, room_name: str) -> None:
    async with chromium() as browser, joined(server.ws, token("ada", room_name)) as ada:
        await ada.show(320, 240)
        cyd = await Client.open(browser, server.http)
        await cyd.call("join", server.ws, token("cyd", room_name))
        await cyd.until("driver.inbound('ada', 'camera').then(s => s?.framesDecoded > 2)", within_s=15)

        await cyd.call("cutSocket")
        await cyd.until("driver.events().some(e => e.name === 'reconnected')", within_s=20)
        await cyd.until("driver.inbound('ada', 'camera').then(s => s?.framesDecoded > 2)", within_s=15)

        await until(lambda: list(ada.others()) == ["cyd"], within_s=5, what="one cyd and no ghost")


async def test_the_second_tab_of_one_identity_takes_the_seat(server: Server, room_name: str) -> None:
    async with chromium() as browser:
        first = await Client.open(browser, server.http)
        second = await Client.open(browser, server.http)
        await first.call("join", server.ws, token("cyd", room_name))
        await second.call("join", server.ws, token("cyd", room_name))

        duplicate_identity = 2
        reason = await first.until("driver.events().find(e => e.name === 'disconnected')?.reason", within_s=5)
        assert reason == duplicate_identity
        assert await second.call("connectionState") == "connected"


@pytest.mark.parametrize("codec", ["h264", "vp9", "av1"])
async def test_each_codec_is_forwarded_and_shown(server: Server, room_name: str, codec: str) -> None:
    async with chromium() as browser:
        ada = await Client.open(browser, server.http)
        bob = await Client.open(browser, server.http)
        await bob.call("join", server.ws, token("bob", room_name))
        await ada.call("join", server.ws, token("ada", room_name))
        await ada.call(
            "camera", True, {"resolution": {"width": 640, "height": 360}}, {"videoCodec": codec, "simulcast": False}
        )

        shown = await bob.until("driver.inbound('ada', 'camera').then(s => s?.framesDecoded > 10 && s)", within_s=20)

        assert await bob.call("codec", "ada", "camera") == f"video/{codec.upper()}"
        assert (shown["frameWidth"], shown["frameHeight"]) == (640, 360)
