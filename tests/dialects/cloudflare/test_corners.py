"""What the table of edge cases does not reach: halves of calls, second spellings, exchanges that come to nothing."""

from __future__ import annotations

import re

import pytest

from parley.engine.specs import Kind, Mid
from parley.negotiation import Direction, MLinePlan
from tests.dialects.cloudflare.client import OPUS, VP8, App, line, local

pytestmark = pytest.mark.anyio


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
