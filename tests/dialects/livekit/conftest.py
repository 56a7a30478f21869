"""A server of the dialect over the fake engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.dialects.livekit.client import Server, serving
from tests.fakes import FakeEngine


@pytest.fixture
async def server(anyio_backend: str) -> AsyncIterator[Server]:
    async with serving(FakeEngine()) as server:
        yield server
