"""Simulcast: every subscriber gets the layer it asks for, and publishers stop what nobody wants."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from livekit import rtc

from .browser import Client, chromium
from .participant import joined
from .server import Server, token, until
from .session import Session, calling
from .test_cloudflare_browser import page, run, timed

pytestmark = [pytest.mark.anyio, pytest.mark.native, pytest.mark.browser]

CAMERA = {"resolution": {"width": 960, "height": 540, "frameRate": 15}}
SIZES = {"q": (320, 180), "h": (640, 360), "f": (960, 540)}
LOW, MEDIUM, HIGH = 0, 1, 2
PUBLISHER = """
    const ada = await sfu.session();
    const [camera] = (await sfu.devices()).getVideoTracks();
    ada.pc.addTransceiver(camera, { direction: "sendonly", sendEncodings: [
        { rid: "a" }, { rid: "b", scaleResolutionDownBy: 2 },
    ] });
    await ada.offer({ tracks: [sfu.local("cam", "0")] });
    const bob = await sfu.session();
"""


@contextlib.asynccontextmanager
async def two(server: Server, room: str, codec: str = "vp8", **options: Any) -> AsyncIterator[tuple[Client, Client]]:
    """Ada, who publishes a camera in three layers and stops those that nobody wants, and Bob, who sees it."""
    async with chromium() as browser:
        ada, bob = await Client.open(browser, server.http), await Client.open(browser, server.http)
        await bob.call("join", server.ws, token("bob", room), {"room": options})
        await publish(ada, server, room, codec)
        yield ada, bob


async def publish(ada: Client, server: Server, room: str, codec: str = "vp8") -> None:
    await ada.call("join", server.ws, token("ada", room), {"room": {"dynacast": True}})
    await ada.call("camera", True, CAMERA, {"videoCodec": codec, "simulcast": True})


async def shows(client: Client, rid: str, *, within_s: float = 15) -> None:
    """Wait until Ada's picture is shown in this layer's size, and goes on."""
    width, height = SIZES[rid]
    size = f"s?.frameWidth === {width} && s.frameHeight === {height}"
    frames = await client.until(
        f"driver.inbound('ada', 'camera').then(s => {size} && s.framesDecoded)", within_s=within_s
    )
    await client.until(
        f"driver.inbound('ada', 'camera').then(s => {size} && s.framesDecoded > {frames} + 5)", within_s=within_s
    )


async def sends(client: Client, rids: str, *, within_s: float) -> float:
    """Wait until a publisher sends these layers and no others; seconds that took."""
    began = time.monotonic()
    await client.until(f"driver.sentLayers().then(rids => rids.join('') === {rids!r} && 'so')", within_s=within_s)
    return time.monotonic() - began


@pytest.mark.parametrize("codec", ["vp8", "h264"])
async def test_a_livekit_client_is_shown_what_it_asks_for(server: Server, room_name: str, codec: str) -> None:
    async with two(server, room_name, codec) as (_, bob):
        await shows(bob, "f")
        assert await bob.call("codec", "ada", "camera") == f"video/{codec.upper()}"

        for method, argument, rid in (
            ("setVideoQuality", LOW, "q"),
            ("setVideoQuality", MEDIUM, "h"),
            ("setVideoDimensions", {"width": 200, "height": 112}, "q"),
            ("setVideoDimensions", {"width": 960, "height": 540}, "f"),
        ):
            await bob.call("choose", "ada", "camera", method, argument)
            await shows(bob, rid)

        await bob.call("choose", "ada", "camera", "setEnabled", False)
        frames = "driver.inbound('ada', 'camera').then(s => s.framesReceived)"
        await bob.until(
            f"{frames}.then(async before => {{ await new Promise(done => setTimeout(done, 500));"
            f" return await {frames} === before && 'still'; }})",
            within_s=5,
        )
        await bob.call("choose", "ada", "camera", "setEnabled", True)
        await shows(bob, "f")


async def test_a_publisher_stops_the_layers_that_nobody_wants_and_brings_them_back(
    server: Server, room_name: str
) -> None:
    async with two(server, room_name) as (ada, bob):
        await shows(bob, "f")
        assert await sends(ada, "qhf", within_s=10) < 10

        await bob.call("choose", "ada", "camera", "setVideoQuality", LOW)
        await shows(bob, "q")
        assert await sends(ada, "q", within_s=12) > 3

        await bob.call("choose", "ada", "camera", "setVideoQuality", HIGH)
        assert await sends(ada, "qhf", within_s=10) < 2
        await shows(bob, "f")

        await bob.call("choose", "ada", "camera", "setEnabled", False)
        assert await sends(ada, "", within_s=12) > 3
        await bob.call("choose", "ada", "camera", "setEnabled", True)
        assert await sends(ada, "qhf", within_s=10) < 2
        await shows(bob, "f")


async def test_a_camera_that_nobody_watches_is_not_sent(server: Server, room_name: str) -> None:
    async with chromium() as browser:
        ada = await Client.open(browser, server.http)
        await publish(ada, server, room_name)

        await sends(ada, "", within_s=20)

        bob = await Client.open(browser, server.http)
        await bob.call("join", server.ws, token("bob", room_name))
        await shows(bob, "f")


async def test_an_adaptive_client_is_shown_what_fits_its_element(server: Server, room_name: str) -> None:
    async with two(server, room_name, adaptiveStream={"pixelDensity": 1}) as (ada, bob):
        await bob.until("driver.inbound('ada', 'camera').then(s => s?.framesDecoded > 0)", within_s=15)

        for width, height, rid in ((160, 90, "q"), (640, 360, "h"), (960, 540, "f"), (320, 180, "q")):
            await bob.call("resize", "ada", "camera", width, height)
            await shows(bob, rid)
        await sends(ada, "q", within_s=12)


async def test_the_package_is_sent_the_quality_it_asks_for(server: Server, room_name: str) -> None:
    async with chromium() as browser, joined(server.ws, token("bob", room_name)) as bob:
        ada = await Client.open(browser, server.http)
        await publish(ada, server, room_name)
        seen = lambda: bob.video_from("ada").size  # noqa: E731
        await until(lambda: seen() == SIZES["f"], within_s=15, what="the highest layer")
        [publication] = bob.others()["ada"].track_publications.values()

        for quality, rid in (
            (rtc.VideoQuality.VIDEO_QUALITY_LOW, "q"),
            (rtc.VideoQuality.VIDEO_QUALITY_MEDIUM, "h"),
            (rtc.VideoQuality.VIDEO_QUALITY_HIGH, "f"),
        ):
            publication.set_video_quality(quality)
            await until(lambda: seen() == SIZES[rid], within_s=10, what=f"layer {rid}")  # noqa: B023


async def test_the_package_stops_the_layers_that_nobody_wants(server: Server, room_name: str) -> None:
    async with (
        joined(server.ws, token("ada", room_name), rtc.RoomOptions(dynacast=True)) as ada,
        joined(server.ws, token("bob", room_name)) as bob,
    ):
        shown = await ada.show(960, 540, simulcast=True)
        await until(lambda: bob.video_from("ada").size == SIZES["f"], within_s=15, what="the highest layer")
        [publication] = bob.others()["ada"].track_publications.values()
        for quality, rids in (
            (rtc.VideoQuality.VIDEO_QUALITY_LOW, {"q"}),
            (rtc.VideoQuality.VIDEO_QUALITY_HIGH, {"q", "h", "f"}),
        ):
            publication.set_video_quality(quality)
            began = time.monotonic()
            while await sent_layers(shown) != rids:
                assert time.monotonic() - began < 15, f"{quality} was asked for"


async def sent_layers(publication: rtc.LocalTrackPublication) -> set[str]:
    """The rids of a published video that are not turned off."""
    assert publication.track is not None
    stats = await publication.track.get_stats()
    sent = (one.outbound_rtp.outbound for one in stats if one.HasField("outbound_rtp"))
    return {one.rid for one in sent if one.rid and one.active}


async def test_what_a_session_prefers_is_sent_by_a_livekit_publisher(server: Server, room_name: str) -> None:
    async with chromium() as browser, calling(server) as app:
        ada = await Client.open(browser, server.http)
        await publish(ada, server, room_name)
        sid = await ada.page.evaluate("driver.state.room.localParticipant.sid")
        track = await ada.until("[...driver.state.room.localParticipant.trackPublications.keys()][0]", within_s=10)
        bob = await app.session()
        mid = await prefer(bob, sid, track, "f")
        await until(lambda: bob.heard[mid].size == SIZES["f"], within_s=15, what="the highest layer")

        for rid, rids, least_s, most_s in (("q", "q", 3, 12), ("f", "qhf", 0, 2)):
            item = {"location": "remote", "mid": mid, "simulcast": {"preferredRid": rid}}
            await bob.call("PUT", "tracks/update", {"tracks": [item]})
            assert least_s < await sends(ada, rids, within_s=15) < most_s
            await until(lambda: bob.heard[mid].size == SIZES[rid], within_s=15, what=f"layer {rid}")  # noqa: B023


async def prefer(session: Session, publisher: str, track: str, rid: str) -> str:
    """Pull a track with a preference; its mid."""
    pulled = await session.pull((publisher, track))
    mid = pulled[publisher, track]
    item = {"location": "remote", "mid": mid, "simulcast": {"preferredRid": rid}}
    [updated] = (await session.call("PUT", "tracks/update", {"tracks": [item]}))["tracks"]
    assert updated["simulcast"] == {"preferredRid": rid}
    return mid


@timed
async def test_a_session_switches_between_layers_as_one_stream(server: Server) -> None:
    async with page(server) as opened:
        seen = await run(
            opened,
            PUBLISHER
            + """
            await bob.ask({ tracks: [sfu.remote(ada, "cam", { simulcast: { preferredRid: "a" } })] });
            await bob.shows("0", 30);
            const first = await bob.inbound("0");
            const keyframesAsked = async () => {
                let count = 0;
                for (const entry of (await ada.pc.getSenders()[0].getStats()).values())
                    if (entry.type === "outbound-rtp") count += entry.pliCount + entry.firCount;
                return count;
            };
            const before = await keyframesAsked();
            const described = bob.pc.remoteDescription.sdp;
            const sizes = [];
            for (let turn = 0; turn < 20; turn++) {
                const preferredRid = turn % 2 ? "a" : "b";
                const item = { location: "remote", mid: "0", simulcast: { preferredRid } };
                const done = await bob.operate("PUT", "tracks/update", { tracks: [item] });
                if (done.tracks[0].errorCode) throw new Error(done.tracks[0].errorDescription);
                sizes.push(await bob.grows("0", turn % 2 ? 360 : 180));
                // WebRTC makes no two keyframes of a sender within 300 ms, whoever asks.
                await bob.shows("0", 8);
            }
            const last = await bob.inbound("0");
            return {
                sizes,
                first,
                last,
                sameSdp: described === bob.pc.remoteDescription.sdp,
                asked: await keyframesAsked() - before,
            };
            """,
        )

        assert seen["sizes"] == [180, 360] * 10
        assert seen["sameSdp"]
        assert seen["first"]["ssrc"] == seen["last"]["ssrc"]
        assert seen["last"]["freezeCount"] == seen["first"]["freezeCount"]
        assert seen["first"]["pliCount"] == seen["last"]["pliCount"]
        assert seen["asked"] <= 20


async def test_a_layer_that_stops_is_replaced_or_missed_as_its_subscriber_said(server: Server) -> None:
    async with page(server) as opened:
        seen = await run(
            opened,
            PUBLISHER
            + """
            const simulcast = { preferredRid: "a" };
            await bob.ask({ tracks: [
                sfu.remote(ada, "cam", { simulcast: { ...simulcast, ridNotAvailable: "asciibetical" } }),
                sfu.remote(ada, "cam", { simulcast: { ...simulcast, ridNotAvailable: "none" } }),
            ] });
            await bob.shows("0");
            await bob.shows("1");
            const sender = ada.pc.getSenders()[0];
            const turn = async (active) => {
                const parameters = sender.getParameters();
                parameters.encodings[0].active = active;
                await sender.setParameters(parameters);
            };
            const height = async (mid, wanted) => {
                for (let wait = 0; (await bob.inbound(mid)).frameHeight !== wanted; wait++) {
                    if (wait === 200) throw new Error(`section ${mid} is still not ${wanted} high`);
                    await new Promise((resolve) => setTimeout(resolve, 50));
                }
                await bob.shows(mid);
            };
            await turn(false);
            await height("0", 180);
            const before = (await bob.inbound("1")).framesDecoded;
            await bob.shows("0", 10);
            const missed = (await bob.inbound("1")).framesDecoded - before;
            const { tracks } = await bob.operate("GET", "");
            await turn(true);
            await height("0", 360);
            await height("1", 360);
            return { missed, statuses: tracks.map(({ status }) => status) };
            """,
        )

        assert seen == {"missed": 0, "statuses": ["active", "active"]}
