"""Bounded fan-out of everything that happens to whoever listens: metrics, webhooks, the console, the store."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from parley.core.events import Happening


class Listener:
    """What one listener has not read yet. When it is full, the oldest is dropped and counted."""

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        """Happenings this listener never got."""
        self._waiting: deque[Happening] = deque()
        self._limit = limit
        self._ready = asyncio.Event()

    def put(self, happening: Happening) -> None:
        if len(self._waiting) >= self._limit:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(happening)
        self._ready.set()

    def get_nowait(self) -> Happening | None:
        """The next happening, or None when none waits."""
        if self._waiting:
            return self._waiting.popleft()
        self._ready.clear()
        return None

    async def get(self) -> Happening:
        """The next happening, when there is one. Cancelling loses none."""
        while (happening := self.get_nowait()) is None:
            await self._ready.wait()
        return happening

    async def __aiter__(self) -> AsyncIterator[Happening]:
        while True:
            yield await self.get()


class Bus:
    """Tells every listener everything, of all tenants: a listener that serves one tenant picks its own."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._listeners: list[Listener] = []

    @contextmanager
    def listen(self) -> Iterator[Listener]:
        """A listener that hears everything from now until the end of the `with`."""
        listener = Listener(self._limit)
        self._listeners.append(listener)
        try:
            yield listener
        finally:
            self._listeners.remove(listener)

    def tell(self, happening: Happening) -> None:
        for listener in self._listeners:
            listener.put(happening)
