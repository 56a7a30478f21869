"""One server for all the stories, each in a room of its own."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest

from tests.flows.server import Server, running_server


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def server(anyio_backend: str) -> AsyncIterator[Server]:
    async with running_server() as running:
        yield running
        assert not [line for line in running.log if "Traceback" in line], "\n".join(running.log)


@pytest.fixture
def room() -> str:
    return f"room-{secrets.token_hex(4)}"
