"""The server as users run it, and real clients to put through it.

The server is always its own process, so that what it leaves behind (descriptors, memory, log lines)
can be looked at from outside and a client's trouble is never the server's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

import httpx2
from livekit import api

REPOSITORY = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]
START_LIMIT_S = 15.0
STOP_LIMIT_S = 8.0


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port of this kind that was free a moment ago, on 127.0.0.1."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def token(identity: str, room: str, *, key: str = "devkey", secret: str = "secret", **grants: object) -> str:
    """An access token as LiveKit's own server SDK makes it, good for ten minutes."""
    grant = api.VideoGrants(room_join=True, room=room, can_update_own_metadata=True, **grants)  # type: ignore[arg-type]
    return (
        api.AccessToken(key, secret)
        .with_identity(identity)
        .with_name(identity.title())
        .with_ttl(timedelta(minutes=10))
        .with_grants(grant)
        .to_jwt()
    )


@dataclass
class Server:
    """One running `parley serve --dev`."""

    process: asyncio.subprocess.Process
    port: int
    udp_port: int
    log: list[str] = field(default_factory=list)

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def memory(self) -> int:
        """Bytes of memory the server has resident now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        """How many file descriptors the server holds open now."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    async def metrics(self) -> dict[str, float]:
        """The sample values of /metrics, by name with labels."""
        async with httpx2.AsyncClient() as client:
            text = (await client.get(f"{self.http}/metrics")).text
        samples = (line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    async def sample(self, name: str) -> float:
        """One of these values."""
        return (await self.metrics())[name]

    async def has_no_more(self, than: float, sample: str, *, within_s: float = 5) -> None:
        """Wait until a gauge of /metrics has fallen to a value; the engine's are up to 0.1 s old."""
        deadline = time.monotonic() + within_s
        while (now := await self.sample(sample)) > than:
            assert time.monotonic() < deadline, f"{sample} is still {now} after {within_s} s"
            await asyncio.sleep(0.05)


async def until(holds: Callable[[], object], *, within_s: float, what: str, every_s: float = 0.02) -> None:
    """Wait until holds() is true, or fail saying what was awaited."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        await asyncio.sleep(every_s)


async def settle(ask: Callable[[], Awaitable[object]], expected: object, *, within_s: float = 10) -> None:
    """Ask again and again until the answer is this one."""
    deadline = time.monotonic() + within_s
    while (found := await ask()) != expected:
        assert time.monotonic() < deadline, f"not {expected} within {within_s} s, but {found}"
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def running_server(
    *flags: str, udp_port: int | None = None, dev: bool = True, environ: Mapping[str, str] = MappingProxyType({})
) -> AsyncIterator[Server]:
    """Start `parley serve`, with --dev if not told otherwise, on free loopback ports; stop it by its own pid.

    environ: what else it is configured with, as `PARLEY_SECTION__KEY`.
    """
    port, udp = free_port(), udp_port or free_port(socket.SOCK_DGRAM)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "parley", "serve", *(["--dev"] if dev else []),
        "--bind", f"127.0.0.1:{port}", "--udp-port", str(udp), *flags,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), **environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    server = Server(process, port, udp)
    reader = asyncio.create_task(_collect(process, server.log))
    try:
        await _until_healthy(server)
        yield server
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP_LIMIT_S)
            except TimeoutError:
                process.kill()
                await process.wait()
                raise AssertionError("the server did not stop within its limit") from None
        await reader


async def _collect(process: asyncio.subprocess.Process, into: list[str]) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        into.append(line.decode(errors="replace").rstrip())


async def _until_healthy(server: Server) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    async with httpx2.AsyncClient() as client:
        while True:
            with contextlib.suppress(httpx2.TransportError):
                if (await client.get(f"{server.http}/healthz")).status_code == 200:
                    return
            running = server.process.returncode is None and time.monotonic() < deadline
            assert running, "\n".join(server.log)
            await asyncio.sleep(0.05)
