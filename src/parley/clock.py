"""Time as something that is passed in: one clock for deadlines, one for dates; and how to wait with a deadline."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Final, Protocol

GRACE_S: Final = 1.0
"""The most that a deadline is put off because the loop stood still."""


class Clock(Protocol):
    """What anything that needs the time is given."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment, never going back: for deadlines and durations."""
        ...

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC: for what people read. It may jump."""
        ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


@contextlib.asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Raise TimeoutError from what is inside once it has taken this long; `asyncio.timeout`, and fair after a stall.

    A loop that stood still sees the deadline before it has acted on what came meanwhile. So whoever's deadline passed
    during a stall gets as long again as the loop is late, at most `GRACE_S`.
    """
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        due = loop.time() + seconds

        def judge() -> None:
            now = loop.time()
            limit.reschedule(now + min(now - due, GRACE_S))

        timer = loop.call_at(due, judge)
        try:
            yield
        finally:
            timer.cancel()
