from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from parley.core.turns import Turns

pytestmark = pytest.mark.anyio


async def test_a_turn_that_nobody_else_wants_is_had_at_once() -> None:
    taking = Turns().take()

    with pytest.raises(StopIteration):
        taking.send(None)


async def test_one_turn_of_the_loop_has_room_for_one() -> None:
    turns, order = Turns(), []

    async def work(name: str) -> None:
        await turns.take()
        order.append(name)

    async def others() -> None:
        while len(order) < 9:
            order.append("other")
            await asyncio.sleep(0)

    await asyncio.gather(others(), *(work(f"work {number}") for number in range(3)))

    assert [name for name in order if name != "other"] == ["work 0", "work 1", "work 2"]
    for name, following in pairwise(order):
        assert "other" in (name, following)


async def test_whoever_gives_up_waiting_holds_nobody_up() -> None:
    turns = Turns()
    await turns.take()
    impatient, patient = asyncio.create_task(turns.take()), asyncio.create_task(turns.take())
    impatient.cancel()

    await asyncio.wait_for(patient, 1.0)

    assert impatient.cancelled()
