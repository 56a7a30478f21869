"""The `livekit` package, unmodified, as a driver for the flows: one Room that publishes tones and moving pictures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import numpy as np
from livekit import rtc

SAMPLE_RATE_HZ = 48_000
FRAME_S = 0.01


@dataclass
class Heard:
    """What arrived on one remote track."""

    frames: int = 0
    loudest: int = 0
    size: tuple[int, int] | None = None


@dataclass
class Participant:
    """One Room and what it has seen."""

    room: rtc.Room
    data: list[rtc.DataPacket] = field(default_factory=list)
    heard: dict[tuple[str, int], Heard] = field(default_factory=dict)
    events: list[tuple[str, str]] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def others(self) -> dict[str, rtc.RemoteParticipant]:
        return dict(self.room.remote_participants)

    def audio_from(self, identity: str) -> Heard:
        return self.heard.get((identity, rtc.TrackKind.KIND_AUDIO), Heard())

    def video_from(self, identity: str) -> Heard:
        return self.heard.get((identity, rtc.TrackKind.KIND_VIDEO), Heard())

    async def speak(self, hertz: float = 440.0, *, name: str = "tone") -> rtc.LocalTrackPublication:
        """Publish a steady tone."""
        source = rtc.AudioSource(SAMPLE_RATE_HZ, 1)
        track = rtc.LocalAudioTrack.create_audio_track(name, source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        publication = await self.room.local_participant.publish_track(track, options)
        self._tasks.append(asyncio.create_task(_sing(source, hertz)))
        return publication

    async def show(
        self, width: int = 640, height: int = 360, *, name: str = "picture", simulcast: bool = False
    ) -> rtc.LocalTrackPublication:
        """Publish a moving picture of this size at 15 frames a second."""
        source = rtc.VideoSource(width, height)
        track = rtc.LocalVideoTrack.create_video_track(name, source)
        options = rtc.TrackPublishOptions(
            source=rtc.TrackSource.SOURCE_CAMERA, simulcast=simulcast, video_codec=rtc.VideoCodec.VP8
        )
        publication = await self.room.local_participant.publish_track(track, options)
        self._tasks.append(asyncio.create_task(_paint(source, width, height)))
        return publication

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.room.disconnect()


async def _sing(source: rtc.AudioSource, hertz: float) -> None:
    samples = int(SAMPLE_RATE_HZ * FRAME_S)
    at = 0
    while True:
        t = (np.arange(samples) + at) / SAMPLE_RATE_HZ
        tone = (np.sin(2 * np.pi * hertz * t) * 12_000).astype(np.int16)
        await source.capture_frame(rtc.AudioFrame(tone.tobytes(), SAMPLE_RATE_HZ, 1, samples))
        at += samples


async def _paint(source: rtc.VideoSource, width: int, height: int) -> None:
    picture = np.zeros((height, width, 4), np.uint8)
    at = 0
    while True:
        picture[:] = (40, 90, 160, 255)
        picture[:, at % width : at % width + 40] = (250, 220, 60, 255)
        source.capture_frame(rtc.VideoFrame(width, height, rtc.VideoBufferType.RGBA, picture.tobytes()))
        at += 16
        await asyncio.sleep(1 / 15)


async def _listen(stream: rtc.AudioStream, heard: Heard) -> None:
    async for event in stream:
        heard.frames += 1
        heard.loudest = max(heard.loudest, int(np.abs(np.frombuffer(event.frame.data, np.int16)).max(initial=0)))


async def _watch(stream: rtc.VideoStream, heard: Heard) -> None:
    async for event in stream:
        heard.frames += 1
        heard.size = (event.frame.width, event.frame.height)


@contextlib.asynccontextmanager
async def joined(url: str, token: str, options: rtc.RoomOptions | None = None) -> AsyncIterator[Participant]:
    """A participant in the room, with default options unless told; it leaves when the block ends."""
    room = rtc.Room()
    participant = Participant(room)

    @room.on("track_subscribed")
    def _(track: rtc.Track, _publication: object, remote: rtc.RemoteParticipant) -> None:
        heard = participant.heard.setdefault((remote.identity, track.kind), Heard())
        reader = (
            _listen(rtc.AudioStream(track), heard)
            if track.kind == rtc.TrackKind.KIND_AUDIO
            else _watch(rtc.VideoStream(track), heard)
        )
        participant._tasks.append(asyncio.create_task(reader))

    @room.on("data_received")
    def _(packet: rtc.DataPacket) -> None:
        participant.data.append(packet)

    for name in ("participant_connected", "participant_disconnected"):
        room.on(name, lambda remote, name=name: participant.events.append((name, remote.identity)))
    room.on("disconnected", lambda reason: participant.events.append(("disconnected", str(reason))))

    await room.connect(url, token, options or rtc.RoomOptions())
    try:
        yield participant
    finally:
        await participant.leave()
