"""What known programs do with the Cloudflare Realtime API, call by call, each with a real connection.

One test for each of them that needs neither adapters nor sessions for third parties, and has no other: echo and the
page that shows another's tracks are in `test_cloudflare.py`, the relay's transceivers in `test_cloudflare_browser.py`.
"""

from __future__ import annotations

import json

import pytest

from .media import Picture, Tone
from .server import Server, until
from .session import Channel, calling
from .sfu import PUBLISHER, page, run

pytestmark = [pytest.mark.anyio, pytest.mark.native]


async def test_a_client_that_hears_itself(server: Server) -> None:
    """Echo: push on one session, wait for the connection, pull on another."""
    async with calling(server) as app:
        out, back = await app.session(), await app.session()
        await out.push(mic=Tone(), cam=Picture())
        await until(lambda: out.pc.connectionState == "connected", within_s=5, what="a connection")

        mids = await back.pull((out.id, "mic"), (out.id, "cam"))

        sound, picture = mids[out.id, "mic"], mids[out.id, "cam"]
        await until(lambda: picture in back.heard and back.heard[picture].frames > 5, within_s=10, what="its picture")
        await until(lambda: sound in back.heard and back.heard[sound].loudest > 4_000, within_s=10, what="its tone")


async def test_two_that_only_have_data_begin_with_an_offer_of_data(server: Server) -> None:
    """The Go sample: no `establish`; a placeholder channel gets the section into the first offer."""
    async with calling(server) as app:
        ada, bob = await app.session_with_data(), await app.session_with_data()
        news, heard = await ada.channel("news"), await bob.channel("news", ada.id)
        await until(lambda: news.is_open and heard.is_open, within_s=10, what="open channels")

        news.send("hello")

        await until(lambda: heard.received == ["hello"], within_s=10, what="a message")
        assert ada.opened == bob.opened == []


@pytest.mark.browser
async def test_a_page_brings_data_up_by_being_asked_and_closes_what_it_made(server: Server) -> None:
    """The data channel sample of 2026."""
    async with page(server) as opened:
        seen = await run(
            opened,
            """
            const [ada, bob] = [await sfu.session(), await sfu.session()];
            const { asked, label, id } = await ada.establish();
            await bob.establish();
            const local = { location: "local", dataChannelName: "news" };
            const remote = { location: "remote", sessionId: ada.id, dataChannelName: "news" };
            const [news, heard] = [await ada.channel(local), await bob.channel(remote)];
            news.dc.send("hello");
            news.dc.send(new Uint8Array([0, 255]));
            await sfu.until(() => heard.received.length === 2, "two messages");
            const close = ({ made }) => ({ dataChannels: [{ id: made.id }] });
            const closed = [
                await bob.operate("PUT", "datachannels/close", close(heard)),
                await ada.operate("PUT", "datachannels/close", close(news)),
            ];
            return {
                asked, label, id, closed, made: [news.made, heard.made],
                text: heard.received[0], bytes: heard.received[1].byteLength ?? heard.received[1].size,
                again: await ada.operate("PUT", "datachannels/close", close(news)),
            };
            """,
        )

        asked = seen["asked"]
        assert asked["requiresImmediateRenegotiation"] is True
        assert asked["dataChannel"] == {"location": "remote", "dataChannelName": "server-events", "id": 0}
        assert (seen["label"], seen["id"]) == ("server-events", 0)
        local, remote = seen["made"]
        assert {"location": "local", "dataChannelName": "news"}.items() <= local.items()
        assert {"location": "remote", "dataChannelName": "news"}.items() <= remote.items()
        assert (seen["text"], seen["bytes"]) == ("hello", 2)
        assert [one["dataChannels"][0]["id"] for one in seen["closed"]] == [remote["id"], local["id"]]
        assert seen["again"]["dataChannels"][0]["errorCode"] == "close_track_error"


@pytest.mark.browser
async def test_a_player_answers_the_offer_it_was_given_later(server: Server) -> None:
    """WHIP publishes whatever its client sends; WHEP hands out the server's offer, and passes the answer on."""
    async with page(server) as opened:
        seen = await run(
            opened,
            PUBLISHER
            + """
            const pushed = await ada.offer({ autoDiscover: true });
            const bob = await sfu.session();
            const items = pushed.tracks.map(({ trackName }) => sfu.remote(ada, trackName));
            const offered = await bob.operate("POST", "tracks/new", { tracks: items });
            await new Promise((done) => setTimeout(done, 500));
            const answered = await bob.answer(offered.sessionDescription);
            await bob.hears("0");
            return { pushed, offered, answered, picture: await bob.shows("1") };
            """,
        )

        assert all(one["trackName"] for one in seen["pushed"]["tracks"])
        assert seen["offered"]["sessionDescription"]["type"] == "offer"
        assert seen["answered"] == {}
        assert seen["picture"]["frameWidth"] == 640


@pytest.mark.browser
async def test_a_recorder_pushes_on_sections_that_would_receive_too_and_a_player_plays_it(server: Server) -> None:
    """The speech samples: `sendrecv` as browsers have it by default, `kind` of what was found, a player's offer."""
    async with page(server) as opened:
        seen = await run(
            opened,
            """
            const ada = await sfu.session();
            ada.pc.addTransceiver((await sfu.devices()).getAudioTracks()[0]);
            const pushed = await ada.offer({ autoDiscover: true });
            const bob = await sfu.session();
            bob.pc.addTransceiver("audio", { direction: "recvonly" });
            const [{ trackName, kind }] = pushed.tracks;
            const pulled = await bob.offer({ tracks: [sfu.remote(ada, trackName, { kind })] });
            await bob.hears("0");
            return { pushed, pulled, direction: ada.pc.getTransceivers()[0].currentDirection };
            """,
        )

        assert seen["pushed"]["tracks"][0]["kind"] == "audio"
        assert seen["direction"] == "sendonly"
        assert seen["pulled"]["requiresImmediateRenegotiation"] is False


@pytest.mark.browser
async def test_a_player_of_a_game_is_handed_the_control(server: Server) -> None:
    """The cloud gaming sample: a viewer with its own offer, input that may be lost, and control by `update`."""
    async with page(server) as opened:
        seen = await run(
            opened,
            PUBLISHER
            + """
            await ada.offer({ tracks: [sfu.local("screen", "1")] });
            await ada.establish();
            const lossy = { ordered: false, maxRetransmits: 0 };
            const input = await ada.channel({ location: "local", dataChannelName: "input", ...lossy });
            const viewers = [];
            for (let number = 0; number < 2; number++) {
                const one = await sfu.session();
                one.pc.addTransceiver("video", { direction: "recvonly" });
                const pulled = await one.offer({ tracks: [sfu.remote(ada, "screen", { kind: "video" })] });
                if (pulled.requiresImmediateRenegotiation) throw new Error("no offer was wanted");
                await one.shows("0");
                await one.establish();
                one.item = { location: "remote", sessionId: ada.id, dataChannelName: "input" };
                const options = { canReply: false, waitForAck: true, ...lossy };
                one.input = await one.channel({ ...one.item, ...options });
                viewers.push(one);
            }
            const said = [];
            for (const one of viewers) {
                one.input.dc.send("ready");
                one.input.dc.send("not mine yet");
            }
            for (const one of viewers) {
                const dataChannels = [{ ...one.item, id: one.input.made.id, canReply: true }];
                said.push(await one.operate("PUT", "datachannels/update", { dataChannels }));
                const count = input.received.length;
                for (const other of viewers) other.input.dc.send(`from ${viewers.indexOf(other)}`);
                await sfu.until(() => input.received.length > count, "input");
                await new Promise((done) => setTimeout(done, 200));
            }
            input.dc.send("state");
            await sfu.until(() => viewers.every((one) => one.input.received.length === 1), "the state at both");
            return { said, received: input.received, made: viewers.map((one) => one.input.made) };
            """,
        )

        assert seen["received"] == ["from 0", "from 1"]
        assert [one["dataChannels"][0]["canReply"] for one in seen["said"]] == [True, True]
        for made in seen["made"]:
            assert (made["canReply"], made["waitForAck"], made["ordered"], made["maxRetransmits"]) == (
                False,
                True,
                False,
                0,
            )
        assert "null" not in json.dumps(seen)


@pytest.mark.browser
async def test_a_room_of_pages_publishes_and_receives_on_sessions_of_their_own(server: Server) -> None:
    """The video room sample: nothing is closed but by force."""
    async with page(server) as opened:
        seen = await run(
            opened,
            PUBLISHER
            + """
            await ada.offer({ tracks: [sfu.local("mic", "0"), sfu.local("cam", "1")] });
            const bob = await sfu.session();
            await bob.ask({ tracks: [sfu.remote(ada, "mic"), sfu.remote(ada, "cam")] });
            await bob.hears("0");
            await bob.shows("1");
            const force = (...mids) => ({ tracks: mids.map((mid) => ({ mid })), force: true });
            const closed = await bob.operate("PUT", "tracks/close", force("1", "7"));
            const again = await bob.ask({ tracks: [sfu.remote(ada, "cam")] });
            await bob.shows(again.tracks[0].mid);
            const unpublished = await ada.operate("PUT", "tracks/close", force("0", "1"));
            return { closed, again, unpublished, state: await bob.operate("GET", "") };
            """,
        )

        good, bad = seen["closed"]["tracks"]
        assert good == {"mid": "1"}
        assert (bad["mid"], bad["errorCode"]) == ("7", "close_track_error")
        assert "sessionDescription" not in seen["closed"]
        assert seen["unpublished"]["tracks"] == [{"mid": "0"}, {"mid": "1"}]
        assert {one["status"] for one in seen["state"]["tracks"]} == {"inactive"}


async def test_a_device_sends_sound_and_data_by_its_first_offer(server: Server) -> None:
    """The ESP32 sample: media and a negotiated channel 0 in one exchange, and no `establish`."""
    async with calling(server) as app:
        device, bob = await app.session(), await app.session()
        events = Channel(device.pc.createDataChannel("server-events", negotiated=True, id=0))
        pushed = await device.push(radio=Tone())
        await until(lambda: events.is_open, within_s=10, what="its own channel")
        station = await device.channel("station")
        await bob.establish()
        heard = await bob.channel("station", device.id)
        mid = await bob.find(device.id, "radio")
        await until(lambda: station.is_open and heard.is_open, within_s=10, what="open channels")

        station.send("101.7 MHz")

        await until(lambda: heard.received == ["101.7 MHz"], within_s=10, what="the station")
        await until(lambda: mid in bob.heard and bob.heard[mid].loudest > 4_000, within_s=10, what="the tone")
        assert "m=application" in pushed["sessionDescription"]["sdp"]
        assert device.opened == []


async def test_an_operator_sees_a_robot_and_steers_it(server: Server) -> None:
    """Teleoperation in Python: pulls and data on one connection, candidates in every section, no surprising channel."""
    async with calling(server) as app:
        robot, operator = await app.session_with_data(), await app.session_with_data()
        await until(lambda: robot.pc.connectionState == "connected", within_s=5, what="a connection")
        # One by one: of several sections that aiortc adds to a connection that began with data, it bundles the first.
        await robot.push(front=Picture())
        pushed = await robot.push(rear=Picture(160, 120))
        state = await robot.channel("state")
        at_operator = await operator.channel("state", robot.id, canReply=True)
        mids = [await operator.find(robot.id, name) for name in ("front", "rear")]
        await until(lambda: state.is_open and at_operator.is_open, within_s=10, what="open channels")

        for number in range(100):
            state.send(json.dumps({"position": number}))
        at_operator.send(json.dumps({"stop": True}))

        await until(lambda: len(at_operator.received) == 100, within_s=10, what="its state")
        await until(lambda: state.received == ['{"stop": true}'], within_s=10, what="a command")
        sizes = [(320, 240), (160, 120)]
        await until(lambda: [operator.heard[mid].size for mid in mids] == sizes, within_s=10, what="both pictures")
        sections = pushed["sessionDescription"]["sdp"].split("m=")[1:]
        assert len(sections) == 3
        assert all("a=candidate:" in one and "a=end-of-candidates" in one for one in sections)
        assert robot.opened == operator.opened == []
