"""Descriptions as LiveKit's own clients write them: a real server in this process, with its negotiators overheard."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from parley.negotiation import Delta, Negotiator, RemoteView
from parley.server import Server, configure, mint_token
from tests.negotiation import browsers

FIRST_PEERS = 2
"""Of the client that joins first: the peer it publishes on, and the one it subscribes on."""


@dataclass
class Capture:
    """What has been overheard."""

    url: str = ""
    token: Callable[[str], str] = str
    peers: list[int] = field(default_factory=list)
    heard: list[tuple[int, str, str]] = field(default_factory=list)
    """Negotiator, `offer`, `answer` or `server` (an offer of ours), and the description, in order."""

    def note(self, who: Negotiator, kind: str, sdp: str) -> None:
        if id(who) not in self.peers:
            self.peers.append(id(who))
        self.heard.append((id(who), kind, sdp))

    @property
    def texts(self) -> list[tuple[str, str, str]]:
        """Name, type and description of everything about the client that joined first.

        Our own offers are kept beside their answers, as `server`.
        """
        found = []
        counts: dict[tuple[int, str], int] = {}
        for who, kind, sdp in self.heard:
            if who not in self.peers[:FIRST_PEERS]:
                continue
            counts[who, kind] = counts.get((who, kind), 0) + 1
            role = "publisher" if kind == "offer" else "subscriber"
            found.append((f"{role}.{counts[who, kind]}", kind, sdp))
        return found


@asynccontextmanager
async def server() -> AsyncIterator[Capture]:
    """A development server on loopback, ended with the block."""
    capture = Capture()
    configuration = configure(
        environ={}, flags={"http": {"bind": ["127.0.0.1:0"]}, "media": {"bind": "127.0.0.1", "udp_port": 0}}, dev=True
    )
    running = Server(configuration, dev=True)
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    capture.token = lambda name: mint_token(configuration, room="capture", name=name)
    with _overheard(capture):
        task = asyncio.create_task(running.run(lambda started: ready.set_result(started.urls[0])))
        await asyncio.wait({task, ready}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        capture.url = ready.result().replace("http", "ws")
        try:
            yield capture
        finally:
            running.stop()
            await asyncio.wait_for(task, timeout=10)


def _overheard(capture: Capture) -> Any:
    """Every negotiator tells what it is told, and what it offers, when it has taken it."""
    on_offer, on_answer, offer = Negotiator.on_offer, Negotiator.on_answer, Negotiator.offer

    def hear_offer(self: Negotiator, sdp: str) -> RemoteView:
        view = on_offer(self, sdp)
        capture.note(self, "offer", sdp)
        return view

    def hear_answer(self: Negotiator, sdp: str) -> Delta:
        delta = on_answer(self, sdp)
        capture.note(self, "answer", sdp)
        return delta

    def hear_ours(self: Negotiator, plan: Any) -> Delta:
        delta = offer(self, plan)
        assert delta.sdp is not None
        capture.note(self, "server", delta.sdp)
        return delta

    return mock.patch.multiple(Negotiator, on_offer=hear_offer, on_answer=hear_answer, offer=hear_ours)


async def join_with_python(capture: Capture) -> None:
    """Join twice with the package from PyPI: the first publishes, then sees the second come, publish and go."""
    from livekit import rtc

    first, second = rtc.Room(), rtc.Room()
    await first.connect(capture.url, capture.token("first"))
    await _publish(first)
    await second.connect(capture.url, capture.token("second"))
    subscribed = asyncio.Event()
    seen: list[str] = []

    def on_subscribed(track: Any, *_: Any) -> None:
        seen.append(track.sid)
        if len(seen) == 2:
            subscribed.set()

    first.on("track_subscribed", on_subscribed)
    await _publish(second)
    await asyncio.wait_for(subscribed.wait(), timeout=15)
    await second.disconnect()
    await _settled(capture)
    for publication in list(first.local_participant.track_publications.values()):
        await first.local_participant.unpublish_track(publication.sid)
    await _settled(capture)
    await first.disconnect()


async def _publish(room: Any) -> None:
    from livekit import rtc

    audio = rtc.LocalAudioTrack.create_audio_track("microphone", rtc.AudioSource(48_000, 1))
    video = rtc.LocalVideoTrack.create_video_track("camera", rtc.VideoSource(640, 360))
    source = rtc.TrackSource
    await room.local_participant.publish_track(audio, rtc.TrackPublishOptions(source=source.SOURCE_MICROPHONE))
    await room.local_participant.publish_track(video, rtc.TrackPublishOptions(source=source.SOURCE_CAMERA))


async def _settled(capture: Capture) -> None:
    """Wait until no description has passed for a second."""
    count = -1
    while count != len(capture.heard):
        count = len(capture.heard)
        await asyncio.sleep(1)


_JOIN = """
await new Promise((done, failed) => {
  const script = document.createElement("script");
  script.src = "/livekit-client.js"; script.onload = done; script.onerror = failed;
  document.head.append(script);
});
const {Room, RoomEvent, Track} = LivekitClient;
state.room = new Room();
await state.room.connect(%(url)s, %(token)s);
const me = state.room.localParticipant;
await me.setMicrophoneEnabled(true);
await me.setCameraEnabled(true);
const shared = (await navigator.mediaDevices.getUserMedia({video: true})).getVideoTracks()[0];
await me.publishTrack(shared, {source: Track.Source.ScreenShare, name: "screen"});
"""
_LEAVE = """
const me = state.room.localParticipant;
for (const publication of [...me.trackPublications.values()]) await me.unpublishTrack(publication.track);
await new Promise(done => setTimeout(done, 1000));
await state.room.disconnect();
"""


async def join_with_browser(capture: Capture, script: Path) -> None:
    """Join with the package from npm: microphone, camera and screen, all options as they are by default."""
    from livekit import rtc

    with browsers.browser("chromium") as tab:
        tab.serve("/livekit-client.js", script)
        values = {"url": json.dumps(capture.url), "token": json.dumps(capture.token("first"))}
        await asyncio.to_thread(tab.run, _JOIN % values)
        other = rtc.Room()
        await other.connect(capture.url, capture.token("second"))
        await _publish(other)
        await _settled(capture)
        await other.disconnect()
        await _settled(capture)
        await asyncio.to_thread(tab.run, _LEAVE)
        await _settled(capture)


def npm_version(package: Path) -> str:
    """The version in a package.json."""
    return str(json.loads(package.read_text())["version"])
