from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from parley import collector

pytestmark = pytest.mark.anyio


class Cycle:
    def __init__(self) -> None:
        self.itself = self


async def test_what_has_left_is_not_kept_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "PERIOD_S", 0.01)
    gone = Cycle()
    gc.collect()  # it is old now: only a full collection finds it
    left = weakref.ref(gone)
    del gone
    collecting = asyncio.create_task(collector.run())

    async with asyncio.timeout(5):
        while left() is not None:  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)

    collecting.cancel()


def test_what_is_loaded_is_passed_over() -> None:
    before = gc.get_threshold()
    try:
        collector.pass_over_the_present()

        assert gc.get_freeze_count() > 0
        assert len(gc.get_objects()) < 1000
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)
