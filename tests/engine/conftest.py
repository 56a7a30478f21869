"""An engine, fake or real, with whoever is on the other side of its transports."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

import pytest
from playwright.async_api import Browser

from parley.engine.engine import Applied, Engine, Transport
from parley.engine.specs import DataSpec, EngineConfig, RecvSpec, SendSpec
from tests.engine.chromium import CHROMIUM, chromium
from tests.engine.peers import AiortcPeer, Ear, FakePeer, Peer
from tests.fakes import FakeEngine, FakeTransport

HAS_NATIVE = importlib.util.find_spec("parley._native") is not None
CONFIG = EngineConfig(bind="127.0.0.1", udp_port=0)
NEEDS_CHROMIUM = [
    pytest.mark.anyio,
    pytest.mark.native,
    pytest.mark.browser,
    pytest.mark.skipif(not HAS_NATIVE, reason="the native module is not built"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the path"),
]
"""Marks of tests in which Chromium is the peer of a real engine."""


@dataclass(frozen=True, slots=True)
class Call:
    """One transport with its listener and its peer."""

    transport: Transport
    ear: Ear
    peer: Peer
    applied: Applied


class Rig:
    """Makes engines and transports of one sort and cleans up after them."""

    def __init__(self, is_real: bool) -> None:
        self.is_real = is_real
        self._engines: list[Engine] = []
        self._peers: list[Peer] = []

    def open(self, **changes: object) -> Engine:
        """Start an engine on loopback with these fields of its configuration changed."""
        config = replace(CONFIG, **changes)  # type: ignore[arg-type]
        engine: Engine
        if self.is_real:
            from parley.engine.live import open_engine

            engine = open_engine(config)
        else:
            engine = FakeEngine(config)
        self._engines.append(engine)
        return engine

    async def call(
        self,
        engine: Engine,
        *,
        recv: Sequence[RecvSpec] = (),
        send: Sequence[SendSpec] = (),
        data: DataSpec | None = None,
    ) -> Call:
        """A transport that knows its peer and is not connected yet."""
        ear = Ear()
        transport = engine.create_transport(group=1, on_event=ear)
        peer: Peer = await AiortcPeer.create(transport) if self.is_real else FakePeer(transport)
        self._peers.append(peer)
        applied = await transport.apply(remote=peer.remote(), recv=recv, send=send, data=data)
        return Call(transport, ear, peer, applied)

    def ignore(self, call: Call) -> float:
        """Let the next `apply` go unanswered within the deadline that is returned."""
        if isinstance(call.transport, FakeTransport):
            call.transport.ignore_next()
            return 1.0
        # The real engine is quick: so it is not listened to for a while.
        loop, bridge = asyncio.get_running_loop(), call.transport.engine._bridge  # type: ignore[attr-defined]
        bridge.stop()
        loop.call_later(0.2, loop.add_reader, bridge._fd, bridge.drain)
        return 0.05

    def fill(self, engine: Engine) -> None:
        """Ask faster than the engine can take it, until it refuses."""
        if isinstance(engine, FakeEngine):
            engine.is_busy = True
        for _ in range(100_000):
            engine.create_transport(group=1, on_event=Ear())

    def drain(self, engine: Engine) -> None:
        """Let the engine catch up."""
        if isinstance(engine, FakeEngine):
            engine.is_busy = False

    def overflow(self, engine: Engine) -> None:
        """Let more happen than the event queue holds, with nobody looking."""
        if isinstance(engine, FakeEngine):
            engine.overflow()
            return
        transport = engine.create_transport(group=1, on_event=Ear())
        for _ in range(100):
            transport.native.stats()  # type: ignore[attr-defined]
        time.sleep(0.2)  # the loop is what does not look

    async def close(self) -> None:
        for peer in self._peers:
            await peer.stop()
        for engine in self._engines:
            await engine.close()


SORTS = [
    pytest.param(False, id="fake"),
    pytest.param(
        True,
        id="real",
        marks=[pytest.mark.native, pytest.mark.skipif(not HAS_NATIVE, reason="the native module is not built")],
    ),
]


@pytest.fixture(params=SORTS)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    rig = Rig(is_real=request.param)
    yield rig
    await rig.close()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture
async def engine(rig: Rig) -> Engine:
    return rig.open()
