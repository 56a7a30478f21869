"""Sound and pictures for aiortc to send that can be told from nothing when decoded: a tone, a moving bar."""

from __future__ import annotations

import fractions

import numpy as np
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack
from av import AudioFrame, VideoFrame

RATE_HZ = 48_000
SAMPLES = 960


class Tone(AudioStreamTrack):
    """A steady tone, in frames of 20 ms."""

    def __init__(self, hertz: float = 440.0) -> None:
        super().__init__()
        self._hertz = hertz
        self._at = 0

    async def recv(self) -> AudioFrame:
        await super().recv()  # For its pace.
        t = (np.arange(SAMPLES) + self._at) / RATE_HZ
        samples = (np.sin(2 * np.pi * self._hertz * t) * 12_000).astype(np.int16)
        frame = AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, self._at, fractions.Fraction(1, RATE_HZ)
        self._at += SAMPLES
        return frame


class Picture(VideoStreamTrack):
    """A bar that moves over a plain ground, at 30 frames a second."""

    def __init__(self, width: int = 320, height: int = 240) -> None:
        super().__init__()
        self._picture = np.zeros((height, width, 3), np.uint8)
        self._at = 0

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        width = self._picture.shape[1]
        self._picture[:] = (40, 90, 160)
        self._picture[:, self._at % width : self._at % width + 40] = (250, 220, 60)
        self._at += 8
        frame = VideoFrame.from_ndarray(self._picture, format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame
