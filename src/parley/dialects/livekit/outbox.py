"""What waits to be written to one client's socket, and the one task that writes it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from parley.clock import within
from parley.dialects.livekit.frames import Frame


class TooSlow(Exception):
    """The client does not read what it is sent; the answer is to disconnect it."""


class Outbox:
    """Frames in order, at most `limit` of them and `limit_bytes` in all, each written within `write_s` seconds.

    A single frame may be larger: a room can be so large that the first one, which shows it, is.
    """

    def __init__(
        self, write: Callable[[Frame], Awaitable[None]], *, limit: int, limit_bytes: int, write_s: float
    ) -> None:
        self._write = write
        self._write_s = write_s
        self._frames: asyncio.Queue[Frame | None] = asyncio.Queue()
        self._limit = limit
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._is_closed = False

    def put(self, frame: Frame) -> None:
        """Send a frame when its turn comes. Raises TooSlow when too much waits; after `close` it is dropped."""
        if self._is_closed:
            return
        if self._frames.qsize() >= self._limit:
            self._is_closed = True
            raise TooSlow(f"{self._limit} messages wait for the client to read")
        if self._bytes and self._bytes + len(frame) > self._limit_bytes:
            self._is_closed = True
            raise TooSlow(f"{self._bytes} bytes wait for the client to read")
        self._bytes += len(frame)
        self._frames.put_nowait(frame)

    def close(self) -> None:
        """Nothing is added any more; `run` ends once what waits has been written."""
        if not self._is_closed:
            self._is_closed = True
            self._frames.put_nowait(None)

    async def run(self) -> None:
        """Write until closed. Raises TooSlow when one frame takes too long."""
        while (frame := await self._frames.get()) is not None:
            try:
                async with within(self._write_s):
                    await self._write(frame)
            except TimeoutError:
                self._is_closed = True
                raise TooSlow(f"one message was not read within {self._write_s:g} s") from None
            self._bytes -= len(frame)
