"""The dialect over the fake engine, called in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from parley.core.core import Core
from tests.dialects.cloudflare.client import App
from tests.fakes import FakeClock, FakeEngine


@pytest.fixture
def core(fake_engine: FakeEngine, clock: FakeClock) -> Core:
    return Core(fake_engine, clock=clock, random=Random(1))


@pytest.fixture
def app(core: Core, fake_engine: FakeEngine) -> App:
    return App(core, fake_engine)


@pytest.fixture
def let_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Awaitable[None]]:
    """Have so many seconds gone by on the loop's clock, with what was due in them."""

    async def pass_by(seconds: float) -> None:
        loop = asyncio.get_running_loop()
        time = loop.time
        monkeypatch.setattr(loop, "time", lambda: time() + seconds)
        for _ in range(2):  # What is due is found behind what is running already, and then called.
            await asyncio.sleep(0)

    return pass_by
