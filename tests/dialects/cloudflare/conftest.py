"""The dialect over the fake engine, called in this process."""

from __future__ import annotations

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
