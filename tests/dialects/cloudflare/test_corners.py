"""What the table of edge cases does not reach: halves of calls, second spellings, exchanges that come to nothing."""

from __future__ import annotations

import re

import pytest

from parley.core.core import Core
from parley.engine.errors import EngineBusy
from parley.engine.specs import Kind, Mid
from parley.negotiation import Direction, MLinePlan
from tests.dialects.cloudflare.client import OPUS, VP8, App, line, local
from tests.fakes import FakeClock, FakeTransport

pytestmark = pytest.mark.anyio


# Bodies.


@pytest.mark.parametrize("depth", [100, 450, 500, 900, 3000])
async def test_a_deep_body_is_no_mistake_of_ours(app: App, depth: int) -> None:
    session = await app.session()
    for body in (b'{"a":' * depth + b"1" + b"}" * depth, b'{"a":' + b"[" * depth + b"]" * depth + b"}"):
        answer = await app.request("POST", f"sessions/{session.id}/tracks/new", body)
        assert answer.status_code in (400, 406), answer.text


async def test_a_body_without_data_channels_is_refused_like_any_that_lacks_a_key(app: App) -> None:
    session = await app.session()
    for method, operation in (("POST", "new"), ("PUT", "update"), ("PUT", "close")):
        found = await session.call(method, f"datachannels/{operation}", {}, expect=400)
        assert found["errorDescription"] == "JSON body validation error: dataChannels"
        await session.call(method, f"datachannels/{operation}", {"datachannels": []}, expect=406)


async def test_a_slipped_type_line_is_dropped_from_offers_too(app: App) -> None:
    session = await app.session()
    described = session.offer(cam=VP8)
    described["sdp"] += "type: offer\r\n"
    found = await session.call("PUT", "renegotiate", {"sessionDescription": described})
    assert found["sessionDescription"]["type"] == "answer"


# Descriptions.


@pytest.mark.parametrize(
    ("pattern", "instead"),
    [
        (r"a=group:BUNDLE.*\r\n", "a=group:BUNDLE 0\r\n"),
        (r"a=rtcp-mux\r\n", ""),
        (r"m=audio 9 UDP/TLS/RTP/SAVPF", "m=audio 9 RTP/AVP"),
    ],
)
async def test_an_offer_that_one_transport_cannot_carry_changes_nothing(app: App, pattern: str, instead: str) -> None:
    session = await app.session()
    described = session.offer(cam=VP8, mic=OPUS)
    described["sdp"] = re.sub(pattern, instead, described["sdp"])
    body = {"sessionDescription": described, "tracks": [local("cam", "0"), local("mic", "1")]}
    found = await session.call("POST", "tracks/new", body, expect=406)
    assert found["errorCode"] == "invalid_session_description"
    assert await session.state() == []


async def test_a_session_whose_first_offer_was_refused_whole_may_offer_again(app: App) -> None:
    session = await app.session()
    described = session.offer_lines(line(Kind.AUDIO, Direction.SENDONLY, codecs=(OPUS,)))
    wrong = described | {"sdp": described["sdp"].replace("opus/48000", "speex/48000")}
    body = {"sessionDescription": wrong, "tracks": [local("mic", "0")]}
    added = await session.call("POST", "tracks/new", body)
    assert added["tracks"][0]["errorCode"] == "invalid_session_description"

    body["sessionDescription"] = described
    added = await session.call("POST", "tracks/new", body)
    assert added["tracks"] == [{"mid": "0", "trackName": "mic"}]


async def test_what_was_on_a_section_that_another_has_taken_is_listed_no_longer(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8)
    await bob.pull(ada.remote("cam"))
    stopped = bob.offer_lines(MLinePlan(Mid("0"), Kind.VIDEO, Direction.INACTIVE, reject=True))
    body = {"tracks": [{"mid": "0"}], "sessionDescription": stopped}
    bob.take((await bob.call("PUT", "tracks/close", body))["sessionDescription"])
    assert [(one["mid"], one["status"]) for one in await bob.state()] == [("0", "inactive")]

    await bob.pull(ada.remote("cam"))
    assert [(one["mid"], one["status"]) for one in await bob.state()] == [("1", "active")]


# Sections by name.


async def test_an_offer_may_name_its_section_by_the_track_that_is_there(app: App) -> None:
    session = await app.session()
    await session.push(cam=VP8)
    body = {"sessionDescription": session.offer(), "tracks": [local("screen", "#cam")]}
    assert (await session.call("POST", "tracks/new", body))["tracks"] == [{"mid": "0", "trackName": "screen"}]
    assert {name: status for name, status in (await session.statuses()).items() if status == "active"} == {
        "local screen": "active"
    }


async def test_one_section_is_not_named_twice_in_two_ways(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8, screen=VP8)
    await ada.ask(local("a", "0"), local("b", "#cam"), expect=406)
    assert await ada.statuses() == {"local cam": "active", "local screen": "active"}

    await bob.pull(ada.remote("cam"))
    await bob.ask(ada.remote("cam", mid="0"), ada.remote("screen", mid="#cam"), expect=406)
    assert await bob.statuses() == {"remote cam": "active"}


# Data.


async def test_data_that_was_offered_in_vain_is_not_listed(app: App, core: Core, clock: FakeClock) -> None:
    session = await app.session()
    asked = await session.call("POST", "datachannels/establish", {})
    assert await session.channel_statuses() == {0: "initializing"}
    clock.advance(31)
    core.sweep()
    await core.peers.withdraw()
    assert await session.channel_statuses() == {}
    [closed] = (await session.call("PUT", "datachannels/close", {"dataChannels": [{"id": 0}]}))["dataChannels"]
    assert closed["errorCode"] == "close_track_error"

    asked = await session.call("POST", "datachannels/establish", {})
    [offered] = re.findall(r"a=mid:(\d+)", asked["sessionDescription"]["sdp"])
    await session.renegotiate(asked["sessionDescription"], MLinePlan(Mid(offered), Kind.DATA, reject=True))
    assert await session.channel_statuses() == {}

    await session.data()
    assert await session.channel_statuses() == {0: "active"}


async def test_data_that_is_agreed_is_refused_at_once_connected_or_not(app: App) -> None:
    session = await app.session()
    asked = await session.call("POST", "datachannels/establish", {})
    await session.renegotiate(asked["sessionDescription"])
    await session.call("POST", "datachannels/establish", {}, expect=400)


async def test_limits_that_no_browser_could_state_are_refused_with_nothing_made(app: App) -> None:
    session = await app.session()
    await session.data()
    item = {"location": "local", "dataChannelName": "a"}
    for key in ("maxRetransmits", "maxPacketLifeTime"):
        for value in (-1, 65536, 2**64):
            await session.channels(item, item | {"dataChannelName": "b", key: value}, expect=400)
    assert await session.channel_statuses() == {0: "active"}
    assert "errorCode" not in (await session.channels(item | {"maxRetransmits": 65535}))[0]


async def test_one_channel_that_the_engine_has_no_room_for_does_not_hide_the_others(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await app.session()
    await session.data()
    opens = FakeTransport.open_channel

    def open_channel(self: FakeTransport, label: str, **options: object) -> object:
        if label == "b":
            raise EngineBusy("full")
        return opens(self, label, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(FakeTransport, "open_channel", open_channel)
    made = await session.channels(*({"location": "local", "dataChannelName": name} for name in "abc"))
    assert [one.get("id") for one in made] == [1, None, 2]
    assert made[1]["errorCode"] == "retryable_transient_error"


async def test_an_update_looks_at_no_delivery_options(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.data()
    await bob.data()
    await ada.publish("news")
    id = await bob.subscribe(ada, "news")
    item = ada.remote_channel("news", canReply=True, maxRetransmits=0, maxPacketLifeTime=0)
    found = await bob.call("PUT", "datachannels/update", {"dataChannels": [item]})
    assert found["dataChannels"] == [ada.remote_channel("news", canReply=True, id=id)]
