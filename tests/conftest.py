"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import pytest

from tests.fakes import FakeClock, FakeEngine


@pytest.fixture
def anyio_backend() -> str:
    """Everything runs on asyncio, as the server does."""
    return "asyncio"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def fake_engine() -> FakeEngine:
    return FakeEngine()
