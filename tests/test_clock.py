"""Waiting with a deadline, also while the loop stands still."""

from __future__ import annotations

import asyncio
import time

import pytest

from parley.clock import within

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[True, False], ids=["uvloop", "asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


async def test_what_takes_too_long_is_ended_in_time() -> None:
    began = time.monotonic()

    with pytest.raises(TimeoutError):
        async with within(0.05):
            await asyncio.sleep(10)

    assert 0.04 < time.monotonic() - began < 1.0


async def test_what_ends_in_time_goes_on() -> None:
    async with within(0.05):
        value = await asyncio.sleep(0, "done")
    await asyncio.sleep(0.1)

    assert value == "done"


async def test_a_deadline_that_passed_while_the_loop_stood_still_is_judged_after_what_came() -> None:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()
    loop.call_later(0.05, time.sleep, 0.3)
    loop.call_later(0.06, lambda: loop.call_soon(lambda: loop.call_soon(answer.set_result, "here")))

    async with within(0.1):
        assert await answer == "here"


async def test_a_stall_does_not_put_the_end_off_for_ever() -> None:
    began = time.monotonic()
    asyncio.get_running_loop().call_later(0.05, time.sleep, 0.3)

    with pytest.raises(TimeoutError):
        async with within(0.1):
            await asyncio.sleep(10)

    assert time.monotonic() - began < 1.5


async def test_cancelling_is_no_deadline() -> None:
    async def wait() -> None:
        async with within(10):
            await asyncio.sleep(10)

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert waiting.cancelled()
