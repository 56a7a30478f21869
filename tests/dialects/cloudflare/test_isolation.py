"""What an app may not reach is answered as what is not there: sessions, tracks, rooms and data channels of others.

Two apps of one tenant share its rooms, and with them the sessions that are bound to these, as publishers; nothing else.
Two tenants share nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest

from parley.core.core import Core
from parley.core.grants import Grant
from parley.dialects.cloudflare.openapi import OPERATIONS
from parley.ids import TenantId
from tests.core.clients import VP8
from tests.dialects.cloudflare.client import APPS, SECRET, App, Session
from tests.fakes import FakeEngine

pytestmark = pytest.mark.anyio

NOBODY = "0123456789abcdef0123456789abcdef"
"""The id of no session."""
BOUND = "?correlationId=room:standup/ada"
OTHERS = ["sister", "stranger"]

ON_SESSION: dict[tuple[str, str], Any] = {
    ("GET", ""): None,
    ("POST", "tracks/new"): {"tracks": [{"location": "local", "trackName": "cam", "kind": "video"}]},
    ("PUT", "tracks/update"): {"tracks": [{"location": "remote", "mid": "0", "trackName": "cam", "sessionId": NOBODY}]},
    ("PUT", "tracks/close"): {"tracks": [{"mid": "0"}], "force": True},
    ("PUT", "renegotiate"): {"sessionDescription": {"type": "answer", "sdp": "v=0\r\n"}},
    ("POST", "datachannels/establish"): {},
    ("POST", "datachannels/new"): {"dataChannels": [{"location": "local", "dataChannelName": "news"}]},
    ("PUT", "datachannels/update"): {
        "dataChannels": [{"location": "remote", "dataChannelName": "news", "sessionId": NOBODY, "canReply": True}]
    },
    ("PUT", "datachannels/close"): {"dataChannels": [{"id": 1}]},
}
"""A good body for every call on a session."""

ELSEWHERE = {
    ("POST", "sessions/new"),
    ("POST", "adapters/websocket/new"),
    ("POST", "adapters/websocket/close"),
}


async def publisher(app: App, query: str = "") -> Session:
    """Ada of the first app, with a track and a data channel."""
    ada = await app.session(query)
    await ada.push(cam=VP8)  # Its offer brings data too.
    await ada.publish("news")
    return ada


def test_every_operation_is_in_the_table() -> None:
    described = {(one.method.upper(), one.path.removeprefix("/apps/{appId}/")) for one in OPERATIONS}

    assert described == ELSEWHERE | {
        (method, f"sessions/{{sessionId}}/{rest}".rstrip("/")) for method, rest in ON_SESSION
    }


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("query", ["", BOUND], ids=["alone", "in a room"])
@pytest.mark.parametrize(("method", "operation"), ON_SESSION)
async def test_a_session_of_another_app_cannot_be_called(
    app: App, method: str, operation: str, query: str, other: str
) -> None:
    ada = await publisher(app, query)
    before = await ada.call("GET", "")
    body = ON_SESSION[method, operation]

    answers = [
        await app.request(method, f"sessions/{id}/{operation}".rstrip("/"), body, app=other)
        for id in (ada.id, NOBODY, ada.id.upper(), "undefined")
    ]

    assert {(one.status_code, one.text) for one in answers} == {(410, answers[0].text)}
    assert len({json.dumps(dict(one.headers)) for one in answers}) == 1
    assert await ada.call("GET", "") == before


@pytest.mark.parametrize("other", OTHERS)
async def test_calls_of_others_do_not_count_against_a_session(app: App, other: str) -> None:
    ada = await publisher(app)

    for _ in range(300):
        await app.call("GET", f"sessions/{ada.id}", app=other, expect=410)

    await ada.call("GET", "")


@pytest.mark.parametrize("other", OTHERS)
async def test_a_track_of_another_app_is_not_found_and_not_waited_for(
    core: Core, fake_engine: FakeEngine, other: str
) -> None:
    app = App(core, fake_engine, timeouts={"media_s": 30})
    ada = await app.session()
    described = ada.offer(cam=VP8)
    named = [{"location": "local", "mid": ada.side.mids["cam"], "trackName": "cam"}]
    await ada.call("POST", "tracks/new", {"sessionDescription": described, "tracks": named})
    eve = await app.session(app=other)
    track = core.rooms.participant(_participant(ada)).tracks[0]

    began = time.monotonic()
    names = ("cam", f"{track.id:032x}", "none")
    answers = [
        (await eve.ask({"location": "remote", "sessionId": id, "trackName": name}))["tracks"][0]
        for id in (ada.id, NOBODY)
        for name in names
    ]

    # Nothing has arrived of the track: its own app would wait for it.
    assert time.monotonic() - began < 5
    assert len({(one["errorCode"], one["errorDescription"], frozenset(one)) for one in answers}) == 1
    assert answers[0]["errorCode"] == "not_found_track_error"


@pytest.mark.parametrize("other", OTHERS)
async def test_a_section_is_not_turned_to_a_track_of_another_app(app: App, other: str) -> None:
    ada = await publisher(app)
    eve, own = await app.session(app=other), await app.session(app=other)
    await own.push(cam=VP8)
    await eve.pull(own.remote("cam"))

    items = [{"location": "remote", "sessionId": id, "trackName": "cam", "mid": "0"} for id in (ada.id, NOBODY)]
    answers = [(await eve.call("PUT", "tracks/update", {"tracks": [item]}))["tracks"][0] for item in items]
    pulls = [(await eve.ask(item))["tracks"][0] for item in items]

    for one, another in (answers, pulls):
        assert one.pop("sessionId") != another.pop("sessionId")
        assert one == another
        assert one["errorCode"] == "not_found_track_error"
    assert eve.source("0") is own.transport.producers["0"]  # type: ignore[index]


@pytest.mark.parametrize("other", OTHERS)
async def test_a_data_channel_of_another_app_is_not_found(app: App, other: str) -> None:
    ada = await publisher(app)
    eve = await app.session(app=other)
    await eve.data()

    answers = [
        (await eve.channels({"location": "remote", "sessionId": id, "dataChannelName": name}))[0]
        for id in (ada.id, NOBODY)
        for name in ("news", "none")
    ]

    assert {(one["errorCode"], one["errorDescription"]) for one in answers} == {
        ("not_found_track_error", "Data channel not found on remote peer")
    }
    ada.channel("news").receive(b"secret")
    assert all(channel.sent == [] for channel in eve.transport.channels.values())


async def test_apps_of_a_tenant_share_its_rooms(app: App, core: Core) -> None:
    ada = await publisher(app, BOUND)
    bob = await app.session("?correlationId=room:standup/bob", app="sister")

    [room] = core.rooms.all(TenantId("acme"))
    assert [one.identity for one in core.rooms.participants(room.id)] == ["ada", "bob"]
    assert (await bob.pull(ada.remote("cam")))["tracks"][0]["mid"] == "0"
    await bob.data()
    assert await bob.subscribe(ada, "news") == 1


async def test_a_room_of_the_same_name_is_another_one_for_another_tenant(app: App, core: Core) -> None:
    ada = await publisher(app, BOUND)
    seat = core.rooms.join(Grant(tenant=TenantId("acme"), identity="cyd", room="standup", can_join=True))
    eve = await app.session(BOUND, app="stranger")
    await eve.data()

    assert len(core.rooms.all()) == 2
    for id in (ada.id, f"{seat.id:032x}"):
        [track] = (await eve.ask({"location": "remote", "sessionId": id, "trackName": "cam"}))["tracks"]
        [channel] = await eve.channels({"location": "remote", "sessionId": id, "dataChannelName": "news"})
        assert track["errorCode"] == channel["errorCode"] == "not_found_track_error"
    # The same identity in it takes nobody's seat.
    assert await ada.call("GET", "")


# Secrets.

KEYS = {
    "no header": (None, 401),
    "no secret": ("Bearer", 401),
    "a blank secret": ("Bearer  ", 401),
    "another scheme": (f"Basic {SECRET}", 401),
    "another secret": ("Bearer wrong", 401),
    "a part of it": (f"Bearer {SECRET[:-1]}", 401),
    "more than it": (f"Bearer {SECRET}1", 401),
    "that of another app": (f"Bearer {APPS['sister']['secret']}", 401),
    "that of another tenant": (f"Bearer {APPS['stranger']['secret']}", 401),
    "no text": ("Bearer \u00ff\u00fe", 401),
    "itself": (f"bearer  {SECRET} ", 200),
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("path", ["sessions/{id}", "sessions/{id}/nowhere", "nowhere", ""])
async def test_a_wrong_secret_says_so_before_anything_else(app: App, key: str, path: str) -> None:
    ada = await app.session()
    header, expected = KEYS[key]

    headers = {} if header is None else {"authorization": header.encode("latin-1")}
    answer = await app.http.get(f"/v1/apps/app/{path.format(id=ada.id)}", headers=headers)  # type: ignore[arg-type]

    if expected == 401:
        assert (answer.status_code, answer.json()["errorCode"]) == (401, "unauthorized")
        assert SECRET not in answer.text
    else:
        assert answer.status_code == (200 if path == "sessions/{id}" else 404)


@pytest.mark.parametrize(("header", "status"), [(None, 401), ("Basic x", 401), (f"Bearer {SECRET}", 404)])
async def test_an_app_that_does_not_exist_says_so_to_bearers(app: App, header: str | None, status: int) -> None:
    headers = {} if header is None else {"authorization": header}

    answer = await app.http.post("/v1/apps/nothing/sessions/new", headers=headers)

    assert answer.status_code == status


async def test_sessions_are_not_to_be_guessed(app: App) -> None:
    """Of 128 random bits, nothing is shared by those of one moment."""
    made = await asyncio.gather(*(app.session() for _ in range(64)))
    ids = [int(one.id, 16) for one in made]

    assert len(set(ids)) == 64
    for bit in range(128):
        ones = sum(id >> bit & 1 for id in ids)
        assert 8 < ones < 56, bit


def _participant(session: Session) -> Any:
    return int(session.id, 16)
