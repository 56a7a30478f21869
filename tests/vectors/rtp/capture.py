"""Capture the RTP traces anew: `python -m tests.vectors.rtp.capture` from the root, after `tools/run loadgen`.

Headless Chromium publishes with livekit-client, VP8 and Opus, through a server of our own, and the load generator
records what the server forwards: once for each size of picture, or for the sizes named as arguments. The camera is
Chromium's fake device fed with a moving picture drawn here, since the device's own picture is so plain that it takes a
third of the bit rate of a real one.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.flows import browser
from tests.flows.browser import Client, chromium
from tests.flows.server import REPOSITORY, running_server, token

HERE = Path(__file__).parent
LOADGEN = REPOSITORY / "src" / "parley" / "_loadgen"
WIDTH, HEIGHT, FRAMES_PER_SECOND = 1280, 720, 30
PICTURE_S = 4
RAMP_S = 20
"""Chromium's estimate has reached the rate by then."""
RECORDED_S = 14


@dataclass(frozen=True)
class Layer:
    """One size of the picture, at the rate that libwebrtc aims at when it is a layer of simulcast."""

    file: str
    height: int
    rate_bps: int

    @property
    def width(self) -> int:
        return self.height * WIDTH // HEIGHT


LAYERS = {
    "720p": Layer("video.trace", 720, 2_000_000),
    "360p": Layer("video-360p.trace", 360, 500_000),
    "180p": Layer("video-180p.trace", 180, 150_000),
}


def draw(path: Path) -> None:
    """A slowly moving plasma, six blocks that cross it, and a little grain, as YUV4MPEG2."""
    random = np.random.default_rng(1)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    cy, cx = y[::2, ::2], x[::2, ::2]
    frames = PICTURE_S * FRAMES_PER_SECOND
    with path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FRAMES_PER_SECOND}:1 Ip A1:1 C420jpeg\n".encode())
        for frame in range(frames):
            turn = 2 * np.pi * frame / frames
            luma = 128 + 40 * np.sin(x / 47 + 3 * turn) + 35 * np.sin(y / 31 + 2 * turn)
            luma += 20 * np.sin((x + y) / 17 - 4 * turn) + random.normal(0, 2, (HEIGHT, WIDTH))
            for block in range(6):
                left = int((frame * 9 * (block + 1) + block * 200) % (WIDTH - 120))
                top = int((block * 110 + 60 * np.sin(turn * (block + 1))) % (HEIGHT - 100))
                luma[top : top + 100, left : left + 120] = 40 + 30 * block
            planes = (luma, 128 + 50 * np.sin(cx / 60 + turn), 128 + 50 * np.cos(cy / 60 - turn))
            file.write(b"FRAME\n" + b"".join(np.clip(plane, 0, 255).astype(np.uint8).tobytes() for plane in planes))


async def capture(layer: Layer) -> None:
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "moving.y4m"
        draw(picture)
        browser.CHROMIUM_FLAGS.append(f"--use-file-for-fake-video-capture={picture}")
        async with running_server() as server, chromium() as opened:
            ada = await Client.open(opened, server.http)
            await ada.call("join", server.ws, token("ada", "record"))
            await ada.call("microphone", True)
            size = {"width": layer.width, "height": layer.height, "frameRate": FRAMES_PER_SECOND}
            encoding = {"maxBitrate": layer.rate_bps, "maxFramerate": FRAMES_PER_SECOND}
            await ada.call("camera", True, {"resolution": size}, {"videoCodec": "vp8", "videoEncoding": encoding})
            await asyncio.sleep(RAMP_S)
            note = (
                f"Chromium {opened.version}, headless, publishing with livekit-client through Parley; camera "
                f"{layer.height}p VP8 of a moving picture, {layer.rate_bps / 1e6:g} Mbit/s at most; microphone Opus, "
                "beeping"
            )
            recording = await asyncio.create_subprocess_exec(
                LOADGEN, "record", "--url", server.ws, "--room", "record", "--identity", "ada",
                "--seconds", str(RECORDED_S), "--out", folder, "--note", note,
            )  # fmt: skip
            assert await recording.wait() == 0
        shutil.move(Path(folder, "video.trace"), HERE / layer.file)
        if layer.file == "video.trace":
            shutil.move(Path(folder, "audio.trace"), HERE / "audio.trace")


if __name__ == "__main__":
    for name in sys.argv[1:] or LAYERS:
        asyncio.run(capture(LAYERS[name]))
