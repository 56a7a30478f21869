"""Send a tone and a picture to an SFU that speaks the Cloudflare Realtime API, and receive both back.

    pip install aiortc
    python examples/cloudflare_echo.py --base http://127.0.0.1:7880/v1 --app devapp --secret secret

One session publishes, a second one pulls. Prints a line of JSON with what came back, and ends with status 1 when
nothing did: a quick proof that a server, its address and its firewall let media through.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, VideoStreamTrack
from av import AudioFrame, VideoFrame

SAMPLE_RATE_HZ = 48_000
FRAME_SAMPLES = 960
CONNECT_S = 10.0

Json = dict[str, Any]


class Tone(MediaStreamTrack):
    """A steady tone of 440 Hz."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._at = 0
        self._begun = asyncio.get_running_loop().time()

    async def recv(self) -> AudioFrame:
        due = self._begun + self._at / SAMPLE_RATE_HZ
        await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        times = (np.arange(FRAME_SAMPLES) + self._at) / SAMPLE_RATE_HZ
        wave = (np.sin(2 * np.pi * 440 * times) * 12_000).astype(np.int16)
        frame = AudioFrame.from_ndarray(wave.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, self._at, Fraction(1, SAMPLE_RATE_HZ)
        self._at += FRAME_SAMPLES
        return frame


class Picture(VideoStreamTrack):
    """A bar that moves over a grey ground, 30 times a second."""

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        pixels = np.full((360, 640, 3), 90, dtype=np.uint8)
        left = int(pts * time_base * 200) % 600
        pixels[:, left : left + 40] = (230, 160, 40)
        frame = VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        return frame


class Refused(Exception):
    """The server's answer says why."""


@dataclass
class App:
    """An app of the SFU: where it is, and what opens it."""

    base: str
    id: str
    secret: str

    async def call(self, method: str, path: str, body: Json | None = None) -> Json:
        """Make one call; raises Refused with the server's words."""
        return await asyncio.to_thread(self._call, method, path, body)

    def _call(self, method: str, path: str, body: Json | None) -> Json:
        request = urllib.request.Request(
            f"{self.base.rstrip('/')}/apps/{self.id}/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self.secret}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                answered: Json = json.load(answer)
        except urllib.error.HTTPError as error:
            raise Refused(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error
        except urllib.error.URLError as error:
            raise Refused(f"{self.base} does not answer: {error.reason}") from error
        return answered


@dataclass
class Came:
    """What has come back."""

    audio_frames: int = 0
    loudest: int = 0
    video_frames: int = 0
    picture: list[int] = field(default_factory=list)

    async def watch(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                frame = await track.recv()
                if isinstance(frame, VideoFrame):
                    self.video_frames += 1
                    self.picture = [frame.width, frame.height]
                elif isinstance(frame, AudioFrame):
                    self.audio_frames += 1
                    self.loudest = max(self.loudest, int(np.abs(frame.to_ndarray()).max(initial=0)))
        except MediaStreamError:
            return


async def publish(app: App, connection: RTCPeerConnection) -> Json:
    """Publish a tone and a picture on a new session; what others pull them by."""
    session = (await app.call("POST", "sessions/new"))["sessionId"]
    named = {"tone": connection.addTransceiver(Tone(), "sendonly")}
    named["picture"] = connection.addTransceiver(Picture(), "sendonly")
    await connection.setLocalDescription(await connection.createOffer())
    tracks = [{"location": "local", "mid": one.mid, "trackName": name} for name, one in named.items()]
    answered = await app.call(
        "POST", f"sessions/{session}/tracks/new", {"sessionDescription": description(connection), "tracks": tracks}
    )
    await take(connection, answered)
    return {name: {"location": "remote", "sessionId": session, "trackName": name} for name in named}


async def pull(app: App, connection: RTCPeerConnection, tracks: list[Json]) -> None:
    """Receive these tracks on a new session."""
    session = (await app.call("POST", "sessions/new"))["sessionId"]
    answered = await app.call("POST", f"sessions/{session}/tracks/new", {"tracks": tracks})
    for item in answered["tracks"]:
        if "errorCode" in item:
            raise Refused(f"{item['trackName']}: {item['errorDescription']}")
    await take(connection, answered)
    await connection.setLocalDescription(await connection.createAnswer())
    await app.call("PUT", f"sessions/{session}/renegotiate", {"sessionDescription": description(connection)})


def description(connection: RTCPeerConnection) -> Json:
    return {"type": connection.localDescription.type, "sdp": connection.localDescription.sdp}


async def take(connection: RTCPeerConnection, answered: Json) -> None:
    given = answered["sessionDescription"]
    await connection.setRemoteDescription(RTCSessionDescription(given["sdp"], given["type"]))


async def connected(connection: RTCPeerConnection) -> None:
    """Wait until the connection stands; raises Refused when it does not come about."""
    settled = asyncio.Event()

    @connection.on("connectionstatechange")
    def look() -> None:
        if connection.connectionState in ("connected", "failed", "closed"):
            settled.set()

    look()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CONNECT_S):
            await settled.wait()
    if connection.connectionState != "connected":
        raise Refused(f"media does not get through: the connection is {connection.connectionState} after {CONNECT_S} s")


async def echo(app: App, duration_s: float) -> Came:
    """Send and receive for so long."""
    came = Came()
    sender, receiver = RTCPeerConnection(), RTCPeerConnection()
    watching: list[asyncio.Task[None]] = []
    receiver.on("track", lambda track: watching.append(asyncio.create_task(came.watch(track))))
    try:
        tracks = await publish(app, sender)
        await connected(sender)
        await pull(app, receiver, list(tracks.values()))
        await connected(receiver)
        await asyncio.sleep(duration_s)
    finally:
        await sender.close()
        await receiver.close()
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    return came


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--base", default="http://127.0.0.1:7880/v1", help="the base URL (default: %(default)s)")
    parser.add_argument("--app", default="devapp", help="the app's id (default: %(default)s)")
    parser.add_argument("--secret", default="secret", help="the app's secret (default: that of `parley serve --dev`)")
    parser.add_argument("--duration", type=float, default=5.0, help="seconds (default: %(default)s)")
    options = parser.parse_args()
    try:
        came = asyncio.run(echo(App(options.base, options.app, options.secret), options.duration))
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    print(json.dumps(vars(came)))
    return 0 if came.audio_frames and came.video_frames else 1


if __name__ == "__main__":
    raise SystemExit(main())
