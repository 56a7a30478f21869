"""The 76 edge cases of this API's specification, each by its number.

A row that needs what is not there yet is in `ABSENT`, and docs/dialects/cloudflare.md names it.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from parley.core.core import Core
from parley.engine.specs import Kind, LayerPolicy, Mid
from parley.negotiation import CodecPref, Direction
from tests.dialects.cloudflare.client import OPUS, SECRET, VP8, App, Json, Session, line, local
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio

Case = Callable[[App, FakeClock], Awaitable[None]]
CASES: dict[int, tuple[str, Case]] = {}
ABSENT = {
    **dict.fromkeys(range(61, 69), "WebSocket adapters"),
}


def case(number: int, what: str) -> Callable[[Case], Case]:
    def register(one: Case) -> Case:
        assert number not in CASES
        CASES[number] = (what, one)
        return one

    return register


@pytest.mark.parametrize("number", range(1, 77))
async def test_edge_case(number: int, app: App, clock: FakeClock) -> None:
    if number in ABSENT:
        assert number not in CASES
        return
    await CASES[number][1](app, clock)


def test_every_absent_case_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[3] / "docs/dialects/cloudflare.md").read_text()
    [listed] = re.findall(r"Edge cases not covered: ([\d, –]+)", page)
    numbers: set[int] = set()
    for part in listed.split(","):
        first, _, last = part.strip().partition("–")
        numbers |= set(range(int(first), int(last or first) + 1))

    assert numbers == set(ABSENT)


# Bodies.


@case(1, "Content-Type missing or text/plain")
async def _(app: App, clock: FakeClock) -> None:
    for headers in ({}, {"content-type": "text/plain;charset=UTF-8"}):
        await app.call("POST", "sessions/new", {"anything": 1}, expect=201, headers=headers)


@case(2, "body null, array or number")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    for body in (b"null", b"[]", b"1", b"{", b"\xff", b"[" * 100_000, b'{"tracks":["\\ud800"]}'):
        await refused(session.call("POST", "tracks/new", body, expect=400), "decoding_error")


@case(3, "body on GET")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    await session.call("GET", "", b"not JSON")


@case(4, "mid given as number")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    await refused(session.ask(local("a", kind="audio") | {"mid": 4}, expect=400), "decoding_error")


@case(5, "trackname with a small n")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    wrong = {"location": "local", "trackname": "a", "kind": "audio"}
    found = await refused(session.ask(local("a", kind="audio"), wrong, wrong, expect=400), "decoding_error")
    assert found["errorDescription"] == "JSON body validation error: 1,2"


@case(6, "65 tracks")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    items = [local(str(number), kind="audio") for number in range(65)]
    await refused(session.ask(*items, expect=406), "invalid_params")
    assert await session.state() == []
    assert len((await session.ask(*items[:64]))["tracks"]) == 64


@case(7, "no tracks without autoDiscover")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    await refused(session.ask(expect=406), "invalid_params")
    await refused(session.call("POST", "tracks/new", {}, expect=406), "invalid_params")


@case(8, "autoDiscover without a description")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    await refused(session.call("POST", "tracks/new", {"autoDiscover": True}, expect=406), "invalid_params")


# What is pushed.


@case(9, "a mid that the offer does not have")
async def _(app: App, clock: FakeClock) -> None:
    await refused(push(await app.session(), local("cam", "9"), expect=406), "invalid_params")


@case(10, "the same mid twice")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    await refused(push(session, local("a", "0"), local("b", "0"), expect=406), "invalid_params")
    await refused(session.ask(local("a", kind="audio"), local("a", kind="audio"), expect=406), "invalid_params")


@case(11, "a local item on a receiving section")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    described = session.offer_lines(line(Kind.VIDEO, Direction.RECVONLY))
    body = {"sessionDescription": described, "tracks": [local("cam", "0")]}
    await refused(session.call("POST", "tracks/new", body, expect=406), "invalid_params")
    assert session.transport.consumers == {}


@case(12, "local without offer, kind and mid")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    await refused(session.ask(local("a"), expect=406), "invalid_params")
    await refused(session.ask(local("a", ""), expect=406), "invalid_params")


@case(13, "a local item that has a sessionId")
async def _(app: App, clock: FakeClock) -> None:
    await push(await app.session(), local("cam", "0", sessionId="whatever", size=3))


# What is pulled.


@case(14, "remote without sessionId")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    await refused(session.ask({"location": "remote", "trackName": "cam"}, expect=406), "invalid_params")


@case(15, "a publisher of another app")
async def _(app: App, clock: FakeClock) -> None:
    ada, eve = await app.session(), await app.session(app="sister")
    await ada.push(cam=VP8)
    assert await fault(eve.ask(ada.remote("cam"))) == "not_found_track_error"


@case(16, "a publisher's id that is not hexadecimal")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    for id in ("not an id", "ü" * 32, "PA_", "_" * 30):
        item = {"location": "remote", "sessionId": id, "trackName": "cam"}
        assert await fault(session.ask(item)) == "not_found_track_error"


@case(17, "a pull of one's own track")
async def _(app: App, clock: FakeClock) -> None:
    ada = await app.session()
    await ada.push(cam=VP8)
    pulled = await ada.pull(ada.remote("cam"))
    assert ada.source(pulled["tracks"][0]["mid"]) is ada.transport.producers[Mid("0")]


@case(18, "a relay of a relay")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob, cyd = await app.session(), await app.session(), await app.session()
    await ada.push(cam=VP8)
    await bob.pull(ada.remote("cam"))
    assert await fault(cyd.ask(bob.remote("cam"))) == "not_found_track_error"


@case(19, "a publisher that is connected and sends nothing")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await app.session(), await app.session()
    await push(ada, local("cam", "0"))
    ada.connect()
    assert await fault(bob.ask(ada.remote("cam"))) == "empty_track_error"


@case(20, "a publication that ends during the wait for its media")
async def _(app: App, clock: FakeClock) -> None:
    app = App(app.core, app.engine, timeouts={"media_s": 30})
    ada, bob = await app.session(), await app.session()
    await push(ada, local("cam", "0"))
    asking = asyncio.create_task(bob.ask(ada.remote("cam")))
    await asyncio.sleep(0.02)
    await close(ada, "0", force=True)
    async with asyncio.timeout(5):
        assert await fault(asking) == "not_found_track_error"


@case(21, "a caller that hangs up during the wait")
async def _(app: App, clock: FakeClock) -> None:
    from parley.dialects.cloudflare import tracks, wire

    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8)
    asked = wire.read(
        wire.TracksNew, b'{"tracks":[{"location":"remote","sessionId":"%s","trackName":"cam"}]}' % ada.id.encode()
    )

    async def is_gone() -> bool:
        return True

    known = next(one for one in app.dialect._sessions.values() if one.name == bob.id)
    assert await tracks.new(known, asked, None, is_gone) is None
    assert app.core.rooms.count().subscriptions == 0


@case(22, "two pulls in flight")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8, mic=OPUS)
    first = await bob.ask(ada.remote("cam"))
    second = await refused(bob.ask(ada.remote("mic"), expect=406), "invalid_session_description")
    assert second["errorSubcode"] == "invalid_modification_have_local_offer"
    assert "session is waiting for an answer" in second["errorDescription"]
    await bob.renegotiate(first["sessionDescription"])
    bob.connect()
    await bob.pull(ada.remote("mic"))


@case(23, "a push while our offer is open")
async def _(app: App, clock: FakeClock) -> None:
    bob = await waiting(app)
    found = await refused(push(bob, local("cam", "0"), expect=406), "invalid_session_description")
    assert found["errorSubcode"] == "invalid_modification_have_local_offer"
    body = {"tracks": [{"mid": "0"}], "sessionDescription": {"type": "offer", "sdp": "v=0"}}
    await refused(bob.call("PUT", "tracks/close", body, expect=406), "invalid_session_description")
    offer = {"sessionDescription": {"type": "offer", "sdp": "v=0\r\n"}}
    await refused(bob.call("PUT", "renegotiate", offer, expect=406), "invalid_session_description")


@case(24, "what needs no description while our offer is open")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8, screen=VP8)
    asked = await bob.ask(ada.remote("cam"))
    await bob.call("PUT", "tracks/update", {"tracks": [ada.remote("screen", mid="0")]})
    assert await close(bob, "0", force=True) == [{"mid": "0"}]
    assert await bob.statuses() == {"remote screen": "inactive"}
    await bob.renegotiate(asked["sessionDescription"])
    assert bob.source("0") is None


@case(25, "an answer replayed")
async def _(app: App, clock: FakeClock) -> None:
    bob = await waiting(app)
    answer = {"sessionDescription": bob.answer(bob.made)}
    assert await bob.call("PUT", "renegotiate", answer) == {}
    await refused(bob.call("PUT", "renegotiate", answer, expect=406), "invalid_session_description")


@case(26, "an answer before any offer")
async def _(app: App, clock: FakeClock) -> None:
    bob = await app.session()
    body = {"sessionDescription": {"type": "answer", "sdp": "v=0\r\n"}}
    await refused(bob.call("PUT", "renegotiate", body, expect=406), "invalid_session_description")
    await refused(bob.call("PUT", "renegotiate", {}, expect=400), "decoding_error")


@case(27, "tracks/new with an answer")
async def _(app: App, clock: FakeClock) -> None:
    bob = await app.session()
    body: Json = {"sessionDescription": {"type": "answer", "sdp": "v=0\r\n"}, "tracks": [local("a", "0")]}
    await refused(bob.call("POST", "tracks/new", body, expect=406), "invalid_session_description")
    await refused(app.call("POST", "sessions/new", body, expect=406), "invalid_session_description")
    assert app.core.rooms.count().participants == 1


@case(28, "an answer that takes video and rejects audio")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8, mic=OPUS)
    asked = await bob.ask(ada.remote("cam"), ada.remote("mic"))
    await bob.renegotiate(asked["sessionDescription"], line(Kind.AUDIO, Direction.INACTIVE, "1", reject=True))
    bob.connect()
    assert await bob.statuses() == {"remote cam": "active", "remote mic": "inactive"}


@case(29, "an answer without the codec in use")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await app.session(), await app.session()
    both = ada.offer_lines(line(Kind.VIDEO, Direction.SENDONLY))
    added = await ada.call("POST", "tracks/new", {"sessionDescription": both, "tracks": [local("cam", "0")]})
    ada.take(added["sessionDescription"])
    ada.connect()
    ada.transport.receive_media("0")
    asked = await bob.ask(ada.remote("cam"))
    other = CodecPref("VP9", "profile-id=0")
    await bob.renegotiate(asked["sessionDescription"], line(Kind.VIDEO, Direction.RECVONLY, "0", codecs=(other,)))
    # The engine pauses a consumer whose source sends what its section does not list (`ConsumerPaused("codec")`).
    assert [codec.name for codec in bob.transport.consumers[Mid("0")].spec.codecs] == ["VP9"]


# Descriptions.


@case(30, "two sections and no BUNDLE")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    described = session.offer(cam=VP8, mic=OPUS)
    described["sdp"] = re.sub(r"a=group:BUNDLE.*\r\n", "", described["sdp"])
    body = {"sessionDescription": described, "tracks": [local("cam", "0")]}
    await refused(session.call("POST", "tracks/new", body, expect=406), "invalid_session_description")


@case(31, "plain RTP/AVP")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    head = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\n"
    sdp = head + "m=audio 4000 RTP/AVP 111\na=rtpmap:111 OPUS/48000/2\n"
    body = {"sessionDescription": {"type": "offer", "sdp": sdp}, "tracks": [local("mic", "0")]}
    await refused(session.call("POST", "tracks/new", body, expect=406), "invalid_session_description")


@case(32, "a section with unsupported codecs alone")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    described = session.offer(cam=VP8, mic=OPUS)
    described["sdp"] = described["sdp"].replace("opus/48000", "speex/48000")
    body = {"sessionDescription": described, "tracks": [local("cam", "0"), local("mic", "1")]}
    added = await session.call("POST", "tracks/new", body)
    assert added["tracks"][0] == {"mid": "0", "trackName": "cam"}
    assert added["tracks"][1]["errorCode"] == "invalid_session_description"
    assert "m=audio 0 " in added["sessionDescription"]["sdp"]


@case(33, "an ICE restart")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    await push(session, local("cam", "0"))  # Not connected: the gate would hold anything else.
    session.side.restart_ice()
    body = {"sessionDescription": session.offer(), "autoDiscover": True}
    added = await session.call("POST", "tracks/new", body)
    assert added["tracks"] == []
    session.take(added["sessionDescription"])


@case(34, "another connection's offer on a live session")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    await session.push(cam=VP8)
    session.side = type(session.side)(seed=99)
    described = session.offer(cam=VP8)
    described["sdp"] = described["sdp"].replace("CD:CD", "EF:EF").replace("o=- ", "o=- 9")
    body = {"sessionDescription": described, "tracks": [local("cam", "0")]}
    await refused(session.call("POST", "tracks/new", body, expect=406), "invalid_session_description")


# How sessions end.


@case(35, "any call on a session that its client closed")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    await session.push(cam=VP8)
    session.transport.hang_up()
    found = await refused(session.call("GET", "", expect=410), "session_error")
    assert "disconnected" in found["errorDescription"]
    clock.advance(3)
    app.core.sweep()
    await refused(session.ask(local("a", kind="audio"), expect=410), "session_error")


@case(36, "a call on a session that has lost its connection, which may come back")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8)
    await bob.pull(ada.remote("cam"))
    bob.transport.fail()
    clock.advance(12)
    app.core.sweep()
    found = await refused(bob.ask(ada.remote("cam"), expect=410), "session_error")
    assert "disconnected" in found["errorDescription"]
    assert await bob.statuses() == {"remote cam": "active"}
    # An offer that restarts ICE does not wait.
    bob.side.restart_ice()
    added = await bob.call("POST", "tracks/new", {"sessionDescription": bob.offer(), "autoDiscover": True})
    bob.take(added["sessionDescription"])
    bob.transport.connect()
    assert (await bob.ask(ada.remote("cam")))["tracks"][0]["mid"] == "1"
    bob.transport.fail()
    clock.advance(20.1)
    app.core.sweep()
    await refused(bob.call("GET", "", expect=410), "session_error")


@case(37, "the subscriber of a collected publication")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await app.session(), await app.session()
    await push(ada, local("cam", "0"))
    ada.connect()
    ada.transport.receive_media("0")
    await bob.pull(ada.remote("cam"))
    await silence(ada, clock)
    assert await bob.statuses() == {"remote cam": "inactive"}
    assert await ada.statuses() == {"local cam": "inactive"}
    assert bob.source("0") is None


# Closing.


@case(38, "a push on the section of a forced close")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8)
    await close(ada, "0", force=True)
    await push(ada, local("again", "0"))
    assert (await bob.pull(ada.remote("again")))["tracks"][0]["mid"] == "0"
    assert bob.source("0") is ada.transport.producers[Mid("0")]


@case(39, "a close of two mids, one of them unknown")
async def _(app: App, clock: FakeClock) -> None:
    ada = await app.session()
    await ada.push(cam=VP8)
    closed = await close(ada, "0", "77", offer=ada.offer())
    assert closed[0] == {"mid": "0"}
    assert (closed[1]["mid"], closed[1]["errorCode"]) == ("77", "close_track_error")


@case(40, "a close of unknown mids alone")
async def _(app: App, clock: FakeClock) -> None:
    ada = await app.session()
    await ada.push(cam=VP8)
    closed = await close(ada, "76", "77", offer=ada.offer())
    assert [one["errorCode"] for one in closed] == ["close_track_error"] * 2
    assert await ada.statuses() == {"local cam": "active"}


@case(41, "a forced close of a bidirectional section")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(mic=OPUS)
    asked = await bob.ask(local("two-way", kind="audio", bidirectionalMediaStream=True))
    await bob.renegotiate(asked["sessionDescription"], line(Kind.AUDIO, Direction.SENDRECV, "0"))
    bob.connect()
    await bob.ask(ada.remote("mic", mid="0"))
    await close(bob, "0", force=True)
    assert set((await bob.statuses()).values()) == {"inactive"}
    assert bob.source("0") is None


# Sections by name.


@case(42, "#name of a pull that goes on")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8, screen=VP8)
    await bob.pull(ada.remote("cam"))
    added = await bob.ask(ada.remote("screen", mid="#cam"))
    assert added["tracks"] == [{"sessionId": ada.id, "trackName": "screen", "mid": "0"}]
    assert bob.source("0") is ada.transport.producers[Mid("1")]


@case(43, "# alone, and a name that is nobody's")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8)
    for mid in ("#", "#none", "7"):
        assert await fault(bob.ask(ada.remote("cam", mid=mid))) == "not_found_track_error"


@case(44, "a codec that the transceiver has not negotiated")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8, other=CodecPref("VP9", "profile-id=0"), mic=OPUS)
    await bob.pull(ada.remote("cam"))
    for name in ("other", "mic"):
        assert await fault(bob.ask(ada.remote(name, mid="0"))) == "invalid_params"
    assert await fault(ada.ask(ada.remote("cam", mid="0"))) == "invalid_params"  # It only ever sends there.


@case(45, "a simulcast pull with a rid nobody sends and no other wanted")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push("a", "b", cam=VP8)
    simulcast = {"preferredRid": "x", "ridNotAvailable": "none"}
    [item] = (await bob.pull(ada.remote("cam", simulcast=simulcast)))["tracks"]
    assert item == {"sessionId": ada.id, "trackName": "cam", "mid": "0", "simulcast": simulcast}
    assert bob.policy("0") == LayerPolicy(target=2)  # There is no such layer, and nothing stands in for it.
    assert await bob.statuses() == {"remote cam": "active"}


@case(46, "the same, with the next one wanted")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push("c", "a", "d", cam=VP8)
    simulcast = {"preferredRid": "b", "ridNotAvailable": "asciibetical"}
    await bob.pull(ada.remote("cam", simulcast=simulcast))
    assert bob.policy("0") == LayerPolicy(target=3, when_missing=(0, 2, 1))  # c, d, and only then a.


@case(47, "the publisher stops its top layer")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob, cyd = await app.session(), await app.session(), await app.session()
    await ada.push("a", "b", cam=VP8)
    await bob.pull(ada.remote("cam", simulcast={"preferredRid": "a", "ridNotAvailable": "asciibetical"}))
    await cyd.pull(ada.remote("cam", simulcast={"preferredRid": "a"}))
    assert bob.policy("0") == LayerPolicy(target=0, when_missing=(1,))
    assert cyd.policy("0") == LayerPolicy(target=0)
    ada.transport.stop_layer("0", 0)
    # The engine falls back and returns by what it was told; that nothing may come does not end anything.
    for one in (bob, cyd):
        assert await one.statuses() == {"remote cam": "active"}


@case(48, "simulcast on an audio pull")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(mic=OPUS)
    simulcast = {"preferredRid": "h", "ridNotAvailabl": "asciibetical"}
    [item] = (await bob.pull(ada.remote("mic", simulcast=simulcast)))["tracks"]
    assert item["mid"] == "0"
    assert item["simulcast"] == {"preferredRid": "h", "ridNotAvailable": "asciibetical"}
    wrong = ada.remote("mic", simulcast={"priorityOrdering": "best"})
    await refused(bob.ask(wrong, expect=400), "decoding_error")


# Data channels.


@case(49, "establish twice")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    await session.data()
    for body in ({}, {"datachannel": {"location": "remote", "dataChannelName": "server-events"}}):
        await refused(session.call("POST", "datachannels/establish", body, expect=400), "decoding_error")


@case(50, "establish for another name")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    for wrong in ({"location": "remote", "dataChannelName": "mine"}, {"location": "local", "dataChannelName": "x"}):
        body = {"dataChannel": wrong}
        await refused(session.call("POST", "datachannels/establish", body, expect=406), "invalid_params")


@case(51, "datachannels/new before data is negotiated")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    [found] = await session.channels({"location": "local", "dataChannelName": "a"}, expect=406)
    assert found["errorCode"] == "invalid_params"
    assert "not established" in found["errorDescription"]


@case(52, "a data channel with both limits")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    await session.data()
    both = {"location": "local", "dataChannelName": "a", "maxRetransmits": 0, "maxPacketLifeTime": 0}
    [found] = await session.channels(both, expect=406)
    assert found["errorCode"] == "invalid_params"
    mixed = [{"location": "local", "dataChannelName": "a"}, session.remote_channel("a")]
    [found] = await session.channels(*mixed, expect=406)
    assert found["errorCode"] == "invalid_params"


@case(53, "a data channel pulled before its publisher's is open")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await two_with_data(app)
    await ada.publish("news")
    await bob.subscribe(ada, "news")
    assert set((await ada.channel_statuses()).values()) == {"active", "initializing"}
    ada.channel("news").receive(b"hello", text=True)
    assert [(one.data, one.text) for one in bob.channel("news").sent] == [(b"hello", True)]


@case(54, "a subscriber that sends and may not reply")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await two_with_data(app)
    await ada.publish("news")
    await bob.subscribe(ada, "news")
    bob.channel("news").receive(b"psst")
    assert ada.channel("news").sent == []


@case(55, "a second subscriber that may reply")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await two_with_data(app)
    _, cyd = await two_with_data(app)
    await ada.publish("news")
    await bob.subscribe(ada, "news", canReply=True)
    bob.channel("news").receive(b"bob")
    id = await cyd.subscribe(ada, "news")
    body = {"dataChannels": [ada.remote_channel("news", canReply=True)]}
    [updated] = (await cyd.call("PUT", "datachannels/update", body))["dataChannels"]
    assert updated == ada.remote_channel("news", canReply=True, id=id)
    bob.channel("news").receive(b"lost")
    cyd.channel("news").receive(b"cyd")
    assert [one.data for one in ada.channel("news").sent] == [b"bob", b"cyd"]
    assert bob.channel("news").sent == cyd.channel("news").sent == []


@case(56, "a subscriber that never acknowledges")
async def _(app: App, clock: FakeClock) -> None:
    app = App(app.core, app.engine, timeouts={"ack_s": 0.05})
    ada, bob = await two_with_data(app)
    _, cyd = await two_with_data(app)
    await ada.publish("news")
    waits, acks = [await one.subscribe(ada, "news", waitForAck=True) for one in (bob, cyd)]
    ada.channel("news").receive(b"too early")
    cyd.channel("news").receive(b"ack")
    ada.channel("news").receive(b"in time")
    assert [one.data for one in cyd.channel("news").sent] == [b"in time"]
    assert bob.channel("news").sent == []
    async with asyncio.timeout(5):
        while True:
            if (await bob.channel_statuses())[waits] == "inactive":
                break
            await asyncio.sleep(0.02)
    assert (await cyd.channel_statuses())[acks] != "inactive"


@case(57, "a channel that the client resets")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await two_with_data(app)
    local_id, id = await ada.publish("news"), await bob.subscribe(ada, "news")
    assert (local_id, id) == (1, 1)
    bob.channel("news").reset()
    assert (await bob.channel_statuses())[id] == "inactive"
    body = {"datachannels": [{"id": float(id)}, {"id": 77}]}
    closed = await bob.call("PUT", "datachannels/close", body)
    assert closed["datachannels"] == closed["dataChannels"]
    assert [(one["id"], one["errorCode"]) for one in closed["dataChannels"]] == [
        (1, "close_track_error"),
        (77, "close_track_error"),
    ]


@case(58, "a name that is published again")
async def _(app: App, clock: FakeClock) -> None:
    ada, bob = await two_with_data(app)
    first, old = await ada.publish("news"), await bob.subscribe(ada, "news")
    [twice] = await ada.channels({"location": "local", "dataChannelName": "news"})
    assert twice["errorCode"] == "repeated_local_track_error"
    [closed] = (await ada.call("PUT", "datachannels/close", {"dataChannels": [{"id": first}]}))["dataChannels"]
    assert closed == {"location": "local", "dataChannelName": "news", "id": first}
    second = await ada.publish("news")
    assert second == first + 1
    assert (await bob.channel_statuses())[old] == "inactive"
    await bob.subscribe(ada, "news")
    ada.channel("news").receive(b"again")
    assert [one.data for one in bob.channel("news").sent] == [b"again"]


@case(75, "datachannels/new while the establish offer is open")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    asked = await session.call("POST", "datachannels/establish", {})
    assert asked["requiresImmediateRenegotiation"] is True
    assert asked["dataChannel"] == {"location": "remote", "dataChannelName": "server-events", "id": 0}
    item = {"location": "local", "dataChannelName": "a"}
    [found] = await session.channels(item, expect=425)
    assert "not ready" in found["errorDescription"]
    await session.renegotiate(asked["sessionDescription"])
    session.connect()
    [made] = await session.channels(item)
    assert made == item | {"id": 1}


# Adapters.


@case(59, "an adapter batch with one bad endpoint")
async def _(app: App, clock: FakeClock) -> None:
    good = {"location": "local", "trackName": "a", "endpoint": "wss://example.com/a", "inputCodec": "pcm"}
    body = {"tracks": [good, good | {"endpoint": "ftp://example.com"}]}
    await refused(app.call("POST", "adapters/websocket/new", body, expect=406), "invalid_params")


@case(60, "an adapter batch of which all fail")
async def _(app: App, clock: FakeClock) -> None:
    good = {"location": "local", "trackName": "a", "endpoint": "wss://example.com/a", "inputCodec": "pcm"}
    made = await app.call("POST", "adapters/websocket/new", {"tracks": [good] * 4}, expect=503)
    assert [one["errorCode"] for one in made["tracks"]] == ["adapter_unavailable"] * 4
    five = await refused(
        app.call("POST", "adapters/websocket/new", {"tracks": [good] * 5}, expect=406), "invalid_params"
    )
    assert five["errorDescription"] == "Expecting at most 4 track in the request"


# HTTP.


@case(69, "unknown and repeated query parameters, and a bare question mark")
async def _(app: App, clock: FakeClock) -> None:
    for query in ("?", "?debug=1&debug=2", "?correlationId=a&correlationId=b", "?thirdparty=false&thirdparty=true"):
        await app.session(query)


@case(70, "a session called undefined")
async def _(app: App, clock: FakeClock) -> None:
    for operation in ("", "/tracks/new"):
        method, body = ("GET", None) if not operation else ("POST", {"tracks": [local("a", kind="audio")]})
        path = f"sessions/undefined{operation}"
        await refused(app.call(method, path, body, expect=410), "session_error")


@case(71, "OPTIONS without a credential")
async def _(app: App, clock: FakeClock) -> None:
    for base in ("/v1", ""):
        answer = await app.http.request(
            "OPTIONS", f"{base}/apps/none/sessions/new", headers={"origin": "https://x.test"}
        )
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "https://x.test"
        assert answer.headers["access-control-allow-methods"] == "GET, POST, PUT, DELETE, OPTIONS"
        assert answer.headers["access-control-allow-headers"] == "authorization, content-type"
        assert "location" not in answer.headers


@case(72, "the secret of another app")
async def _(app: App, clock: FakeClock) -> None:
    for given, status, code in (
        (f"Bearer {SECRET}!", 401, "unauthorized"),
        ("", 401, "unauthorized"),
        (f"Basic {SECRET}", 401, "unauthorized"),
        ("Bearer ", 401, "unauthorized"),
        ("Bearer ü", 401, "unauthorized"),
    ):
        headers = {"authorization": given.encode()}
        await refused(app.call("POST", "sessions/new", expect=status, headers=headers), code)
    await app.call("POST", "sessions/new", expect=201, headers={"authorization": f"bearer   {SECRET}"})
    answer = await app.http.post("/v1/apps/none/sessions/new", headers={"authorization": f"Bearer {SECRET}"})
    assert (answer.status_code, answer.json()["errorCode"]) == (404, "not_found")


@case(73, "HEAD and DELETE on a session")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    await refused(session.call("DELETE", "", expect=405), "not_found")
    answer = await app.request("HEAD", f"sessions/{session.id}")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, OPTIONS")
    await refused(app.call("GET", "sessions/new", expect=405), "not_found")
    await refused(app.call("POST", "nothing/here", expect=404), "not_found")
    await session.call("GET", "/")  # A slash at the end is no other path.
    for path in ("/apps", "/v1/apps", "/v1/apps/", "/v1/apps/app"):
        assert (await app.http.get(path)).status_code in (401, 404)


@case(74, "a server that starts again")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    app.core.stop()
    await refused(session.call("GET", "", expect=410), "session_error")
    await refused(app.call("POST", "sessions/new", expect=503), "temporarily_unavailable_error")


@case(76, "a proxy that drops the body")
async def _(app: App, clock: FakeClock) -> None:
    session = await app.session()
    await refused(session.call("POST", "tracks/new", expect=400), "decoding_error")


# What the cases are written in.


async def refused(call: Awaitable[Json], code: str) -> Json:
    """A call that fails as a whole, with this code."""
    found = await call
    assert found["errorCode"] == code, found
    assert found["errorDescription"]
    return found


async def fault(call: Awaitable[Json]) -> str:
    """The code with which the one item of a call failed."""
    found = await call
    assert found["requiresImmediateRenegotiation"] is False
    assert "sessionDescription" not in found
    [item] = found["tracks"]
    assert "mid" not in item
    assert item["trackName"]
    code: str = item["errorCode"]
    return code


async def push(session: Session, *items: Json, **more: int) -> Json:
    """Offer one camera and name it so; nothing is connected by it."""
    known = session.side.mids.get("cam")
    described = session.offer() if known is not None else session.offer(cam=VP8)
    body = {"sessionDescription": described, "tracks": list(items)}
    added = await session.call("POST", "tracks/new", body, **more)
    if "sessionDescription" in added:
        session.take(added["sessionDescription"])
    return added


async def close(session: Session, *mids: str, force: bool = False, offer: Json | None = None) -> list[Json]:
    body: Json = {"tracks": [{"mid": mid} for mid in mids], "force": force}
    if offer is not None:
        body["sessionDescription"] = offer
    closed = await session.call("PUT", "tracks/close", body)
    assert closed["requiresImmediateRenegotiation"] is False
    assert ("sessionDescription" in closed) == (offer is not None)
    found: list[Json] = closed["tracks"]
    return found


async def waiting(app: App) -> Session:
    """A session with an offer of ours open, in its `made`."""
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8)
    bob.made = (await bob.ask(ada.remote("cam")))["sessionDescription"]
    return bob


async def two_with_data(app: App) -> tuple[Session, Session]:
    ada, bob = await app.session(), await app.session()
    await ada.data()
    await bob.data()
    return ada, bob


async def silence(session: Session, clock: FakeClock) -> None:
    """Let the session's packets stop for as long as it takes to be collected."""
    from parley.engine.events import LayerInactive

    for producer in session.transport.producers.values():
        session.transport.hear(LayerInactive(session.transport.id, producer.id, 0, 0.0, 0.0))
    clock.advance(31)
    core: Core = session.app.core
    core.sweep()
