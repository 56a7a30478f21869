"""Fixtures of the flows."""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator

import pytest

from .server import Server, running_server


@pytest.fixture
async def server(anyio_backend: str) -> AsyncIterator[Server]:
    async with running_server() as running:
        yield running
        assert not [line for line in running.log if "Traceback" in line], "\n".join(running.log)


@pytest.fixture
def room_name() -> str:
    return f"room-{secrets.token_hex(4)}"


@pytest.fixture
def seed() -> int:
    """One seed a test: printed, so that a failure can be run again."""
    value = int(os.environ.get("PARLEY_TEST_SEED", "20260"))
    print(f"seed {value}")
    return value
