"""The wake-up between the engine's threads and the loop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

import pytest

from parley.engine.bridge import BATCH, SLICE_S, STEP, Bridge

pytestmark = pytest.mark.anyio


class Pile:
    """A source that keeps its descriptor readable while events wait, as the engine does."""

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK)
        self._events: list[tuple[object, ...]] = []

    def fileno(self) -> int:
        return self._fd

    def add(self, count: int) -> None:
        self._events += [("event", number) for number in range(count)]
        os.eventfd_write(self._fd, 1)

    def drain(self, limit: int = BATCH) -> list[tuple[object, ...]]:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._fd)
        taken, self._events = self._events[:limit], self._events[limit:]
        if self._events:
            os.eventfd_write(self._fd, 1)
        return taken

    def close(self) -> None:
        os.close(self._fd)


async def test_events_are_handled_in_order() -> None:
    pile, handled = Pile(), []
    bridge = Bridge(asyncio.get_running_loop(), pile, lambda event: handled.append(event[1]))

    pile.add(3)
    await _turns(3)

    assert handled == [0, 1, 2]
    bridge.stop()
    pile.close()


async def test_a_flood_leaves_turns_to_others() -> None:
    pile, order = Pile(), []
    loop = asyncio.get_running_loop()
    bridge = Bridge(loop, pile, lambda event: order.append("event"))

    def other() -> None:
        order.append("other")
        if order.count("event") < 3 * BATCH:
            loop.call_soon(other)

    pile.add(3 * BATCH)
    loop.call_soon(other)
    await _turns(12)

    longest = max(len(run) for run in "".join(entry[0] for entry in order).split("o"))
    assert order.count("event") == 3 * BATCH
    assert longest <= BATCH
    bridge.stop()
    pile.close()


async def test_events_that_take_long_leave_turns_to_others_sooner() -> None:
    pile, order = Pile(), []
    loop = asyncio.get_running_loop()
    bridge = Bridge(loop, pile, lambda event: (time.sleep(SLICE_S / STEP), order.append("event")))

    pile.add(4 * STEP)
    for _ in range(8):
        loop.call_soon(order.append, "other")
        await asyncio.sleep(0)

    runs = [len(run) for run in "".join(entry[0] for entry in order).split("o") if run]
    assert sum(runs) == 4 * STEP
    assert max(runs) <= 2 * STEP
    bridge.stop()
    pile.close()


async def test_nothing_is_handled_after_the_stop() -> None:
    pile = Pile()
    handled: list[object] = []
    bridge = Bridge(asyncio.get_running_loop(), pile, handled.append)

    bridge.stop()
    pile.add(1)
    await _turns(3)

    assert handled == []
    pile.close()


async def _turns(count: int) -> None:
    """Let the loop run so often."""
    for _ in range(count):
        await asyncio.sleep(0)
