"""The wake-up between the engine's threads and the event loop.

The engine makes one descriptor readable when events wait. The loop then drains at most
`BATCH` of them in one callback, and stops sooner when handling them takes long; while more wait the
descriptor stays readable, so the loop comes back after everything else that is ready has had its turn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

BATCH = 512
STEP = 32
"""Events taken at once, between looks at the clock."""
SLICE_S = 0.010
"""How long one callback may go on with further steps."""


class Source(Protocol):
    """Where events come from: `parley._native.Engine`."""

    def fileno(self) -> int:
        """Readable while events wait."""

    def drain(self, limit: int = BATCH) -> list[tuple[object, ...]]:
        """Take the oldest events; never waits."""


class Bridge:
    """Hands every event of a source to one plain function, on the loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, source: Source, handle: Callable[[tuple[object, ...]], None]
    ) -> None:
        self._loop = loop
        self._source = source
        self._handle = handle
        self._fd = source.fileno()
        loop.add_reader(self._fd, self.drain)

    def drain(self) -> None:
        """Handle what waits, one batch or one slice of time at most."""
        until = time.monotonic() + SLICE_S
        for _ in range(BATCH // STEP):
            events = self._source.drain(STEP)
            for event in events:
                self._handle(event)
            if len(events) < STEP or time.monotonic() >= until:
                return

    def stop(self) -> None:
        """Look no more. To be called before the source gives its descriptor back."""
        self._loop.remove_reader(self._fd)
