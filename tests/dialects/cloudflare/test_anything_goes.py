"""Whatever is sent, the answer is a JSON object that says what was wrong with it, and no mistake of ours."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any

import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parley.core.core import Core
from tests.dialects.cloudflare.client import VP8, App
from tests.fakes import FakeClock, FakeEngine

OPERATIONS = [
    ("POST", "tracks/new"),
    ("PUT", "tracks/update"),
    ("PUT", "tracks/close"),
    ("PUT", "renegotiate"),
    ("POST", "datachannels/establish"),
    ("POST", "datachannels/new"),
    ("PUT", "datachannels/update"),
    ("PUT", "datachannels/close"),
    ("GET", ""),
    ("DELETE", ""),
]
KEYS = [
    "tracks",
    "sessionDescription",
    "type",
    "sdp",
    "location",
    "trackName",
    "mid",
    "sessionId",
    "kind",
    "autoDiscover",
    "force",
    "simulcast",
    "preferredRid",
    "bidirectionalMediaStream",
    "dataChannels",
    "datachannels",
    "dataChannel",
    "dataChannelName",
    "id",
    "ordered",
    "maxRetransmits",
    "canReply",
]
WORDS = [
    "local",
    "remote",
    "offer",
    "answer",
    "audio",
    "video",
    "cam",
    "0",
    "#cam",
    "#",
    "server-events",
    "me",
    "v=0\r\n",
]

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=20,
)
items = st.fixed_dictionaries(
    {"location": st.sampled_from(["local", "remote"]), "trackName": st.sampled_from(["cam", "mic", "none"])},
    optional={
        "mid": st.sampled_from(["0", "1", "7", "", "#cam"]),
        "sessionId": st.sampled_from(["me", "none"]),
        "kind": st.sampled_from(["audio", "video"]),
        "dataChannelName": st.sampled_from(["news", "server-events"]),
        "bidirectionalMediaStream": st.booleans(),
        "id": st.integers(-1, 3),
    },
)
bodies = st.fixed_dictionaries(
    {},
    optional={
        "tracks": st.lists(items, max_size=3),
        "dataChannels": st.lists(items, max_size=3),
        "sessionDescription": st.sampled_from(
            [{"type": "offer", "sdp": "OFFER"}, {"type": "answer", "sdp": "v=0\r\n"}]
        ),
        "autoDiscover": st.booleans(),
        "force": st.booleans(),
    },
)
calls = st.lists(st.tuples(st.sampled_from(OPERATIONS), values | bodies), min_size=1, max_size=6)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(calls, st.booleans())
def test_no_call_is_a_mistake_of_ours(asked: list[tuple[tuple[str, str], Any]], is_connected: bool) -> None:
    before = structlog.get_config()["processors"]
    structlog.configure(processors=[_nowhere])
    try:
        asyncio.run(_call(asked, is_connected))
    finally:
        structlog.configure(processors=before)


async def _call(asked: list[tuple[tuple[str, str], Any]], is_connected: bool) -> None:
    engine = FakeEngine()
    quick = {"connect_gate_s": 0.01, "media_s": 0.01, "turn_s": 0.05, "ack_s": 0.01}
    app = App(Core(engine, clock=FakeClock(), random=Random(1)), engine, timeouts=quick)
    session = await app.session()
    if is_connected:
        await session.push(cam=VP8)
    for (method, operation), body in asked:
        text = json.dumps(body).replace('"me"', json.dumps(session.id))
        if '"OFFER"' in text and session.negotiator.state.value == "stable":
            text = text.replace('"OFFER"', json.dumps(session.offer(cam=VP8)["sdp"]))
        answer = await app.request(method, f"sessions/{session.id}/{operation}".rstrip("/"), text.encode())
        assert answer.status_code < 500, (operation, text, answer.text)
        assert isinstance(answer.json(), dict)


def _nowhere(*_: object) -> Any:
    raise structlog.DropEvent
