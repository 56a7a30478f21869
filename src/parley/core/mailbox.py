"""One participant's events: a single ordered, bounded queue with one reader."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable

from parley.core.events import Event


class MailboxClosed(Exception):
    """The last event has been read; nothing follows."""


class Mailbox:
    """Events wait here until their reader takes them.

    Being full is answered by the owner: `put` says no, and the participant is disconnected. The last event is put by
    `close` and always fits. A reader that waits is woken at once, or later for news that can wait: whatever wakes it
    first, it reads everything.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: OrderedDict[int, Event] = OrderedDict()
        self._latest: dict[Hashable, int] = {}
        self._put = 0
        self._is_closed = False
        self._ready = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Events that wait."""
        return len(self._waiting)

    @property
    def is_closed(self) -> bool:
        """Whether the last event has been put; it may still wait to be read."""
        return self._is_closed

    def put(self, event: Event, *, latest: Hashable = None, within_s: float = 0.0) -> bool:
        """Append an event; False when the mailbox is full. After `close` it is dropped.

        latest: with a key, an earlier event with the same key that still waits is taken out.
        within_s: for how long a reader that waits may be left to wait, for more to come; needs a running loop if not 0.
        """
        if self._is_closed:
            return True
        if latest is not None:
            self._waiting.pop(self._latest.pop(latest, 0), None)
        if len(self._waiting) >= self._limit:
            return False
        self._append(event, within_s)
        if latest is not None:
            self._latest[latest] = self._put
        return True

    def close(self, last: Event, *, drop: bool = False) -> None:
        """Put the last event. drop: whether those that still wait are dropped, because nobody reads them."""
        if self._is_closed:
            return
        if drop:
            self._waiting.clear()
        self._latest.clear()
        self._is_closed = True
        self._append(last, 0.0)

    def get_nowait(self) -> Event | None:
        """The next event, or None when none waits. Raises MailboxClosed after the last one."""
        if self._waiting:
            return self._waiting.popitem(last=False)[1]
        if self._is_closed:
            raise MailboxClosed
        self._ready.clear()
        self._disarm()
        return None

    async def get(self) -> Event:
        """The next event, when there is one. Cancelling loses none. Raises MailboxClosed after the last one."""
        while (event := self.get_nowait()) is None:
            await self._ready.wait()
        return event

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Every event to the last."""
        while True:
            try:
                event = await self.get()
            except MailboxClosed:
                return
            yield event

    def _append(self, event: Event, within_s: float) -> None:
        self._put += 1
        self._waiting[self._put] = event
        if within_s <= 0 or 2 * len(self._waiting) >= self._limit:
            self._wake()
        elif self._alarm is None and not self._ready.is_set():
            self._alarm = asyncio.get_running_loop().call_later(within_s, self._wake)

    def _wake(self) -> None:
        self._disarm()
        self._ready.set()

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
