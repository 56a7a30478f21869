"""What only the real engine can show: refusals in words, a full queue, nothing left behind."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from parley.engine.engine import OnFull
from parley.engine.errors import BadValue, EngineClosed, EngineRefused
from parley.engine.events import ChannelOpen, EngineEnded, EngineEvent, TransportEvent, TransportPhase
from parley.engine.specs import ExtensionSpec, Mid
from tests.engine.conftest import CONFIG, HAS_NATIVE, Rig
from tests.engine.inbox import Inbox
from tests.engine.peers import DATA, EXTENSIONS, OPUS, PATIENCE_S, Ear, receiving, sending
from tests.engine.test_contract import connected, settled
from tests.udp_proxy import UdpProxy, Weather

if HAS_NATIVE:
    from parley.engine.live import LiveEngine, open_engine

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.native,
    pytest.mark.skipif(not HAS_NATIVE, reason="the native module is not built"),
]


@pytest.fixture
async def engine() -> AsyncIterator[LiveEngine]:
    engine = open_engine(CONFIG)
    yield engine
    await engine.close()


@pytest.fixture
async def real() -> AsyncIterator[Rig]:
    rig = Rig(is_real=True)
    yield rig
    await rig.close()


# Health.


async def test_an_engine_whose_thread_is_over_refuses_even_what_does_nothing(engine: LiveEngine) -> None:
    assert engine.broadcast((), b"") == 0

    engine._native.close(2.0)

    with pytest.raises(EngineClosed, match="engine closed"):
        engine.broadcast((), b"")


async def test_an_engine_that_ends_says_so(engine: LiveEngine) -> None:
    heard: list[EngineEvent] = []
    engine.on_event(heard.append)

    engine._handle(("ended", 0))

    assert heard == [EngineEnded()]


# Refusals.

BAD_CONFIGS = [
    ({"bind": "localhost"}, 'config.bind: "localhost" is not an IP address'),
    ({"udp_port": 65_536}, "config.udp_port: 65536 is outside 0 to 65535"),
    ({"announce": ("192.0.2.1", "example.org:1")}, 'config.announce[1]: "example.org:1" is neither ip nor ip:port'),
    ({"failed_s": 0.0}, "config.failed_s: 0 s is not above 0 and at most 86400"),
    ({"disconnected_s": float("nan")}, "config.disconnected_s: NaN s is not above 0"),
    ({"mtu_bytes": 100}, "mtu_bytes: 100 is outside 576"),
    ({"command_queue": True}, "command_queue: 1 is outside 16"),
]


@pytest.mark.parametrize(("changes", "text"), BAD_CONFIGS)
async def test_a_configuration_that_cannot_work_is_refused_in_words(changes: dict[str, object], text: str) -> None:
    with pytest.raises(BadValue) as refused:
        open_engine(replace(CONFIG, **changes))  # type: ignore[arg-type]

    assert text in str(refused.value)


async def test_a_port_in_use_is_refused_with_the_systems_words() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]

        with pytest.raises(EngineRefused, match=rf"127\.0\.0\.1:{port}.*in use"):
            open_engine(replace(CONFIG, udp_port=port))


BAD_SPECS = [
    ({"codecs": (OPUS, replace(OPUS, pt=200))}, "recv[0].codecs[1].pt: 200 is outside 0 to 127"),
    ({"codecs": (replace(OPUS, clock_hz=0),)}, "recv[0].codecs[0].clock_hz: 0 is outside 1 to"),
    ({"codecs": (replace(OPUS, name=7),)}, "recv[0].codecs[0].name: is not text"),  # type: ignore[arg-type]
    ({"codecs": ()}, "recv[0].codecs: is empty"),
    ({"codecs": None}, "recv[0].codecs: is not a sequence"),
    ({"extensions": (*EXTENSIONS, ExtensionSpec("urn:x", 256))}, "recv[0].extensions[1].id: 256 is outside 1 to 255"),
    ({"ssrcs": (1, -1)}, "recv[0].ssrcs[1]: -1 is outside 0 to 4294967295"),
    ({"ssrcs": (2**70,)}, "recv[0].ssrcs[0]: is not a whole number of 64 bits"),
    ({"mid": Mid("")}, "recv[0].mid: has not between 1 and 255 bytes"),
    ({"kind": "audio"}, "recv[0].kind: is not a member of its enum"),
    ({"nack": None}, "recv[0].nack: is neither True nor False"),
]


@pytest.mark.parametrize(("changes", "text"), BAD_SPECS)
async def test_a_bad_value_is_named_by_its_path(engine: LiveEngine, changes: dict[str, object], text: str) -> None:
    transport = engine.create_transport(group=1, on_event=Ear())

    with pytest.raises(BadValue) as refused:
        await transport.apply(recv=[replace(receiving("0"), **changes)])  # type: ignore[arg-type]

    assert text in str(refused.value)


async def test_no_refusal_quotes_a_secret(real: Rig) -> None:
    engine = real.open()
    call = await real.call(engine)
    remote = replace(call.peer.remote(), pwd="the-secret-password-of-the-peer", fingerprint="sha-256 nonsense")

    with pytest.raises(EngineRefused) as refused:
        await engine.create_transport(group=1, on_event=Ear()).apply(remote=remote)

    assert "secret" not in str(refused.value)
    assert "fingerprint" in str(refused.value)


# Listeners.


async def test_a_listener_that_raises_disturbs_nobody(real: Rig) -> None:
    engine = real.open()

    def clumsy(event: TransportEvent) -> None:
        raise LookupError("a mistake in a listener")

    call = await real.call(engine, data=DATA)
    call.transport._on_event = clumsy  # type: ignore[attr-defined]
    other = await connected(real, engine)
    await call.peer.connect()
    stats = await call.transport.stats()

    assert stats.phase is TransportPhase.CONNECTED
    assert other.ear.phases[-1] is TransportPhase.CONNECTED


# Bad weather.


async def test_reliable_messages_survive_bad_weather(real: Rig) -> None:
    weather = Weather(loss=0.05, duplicate=0.02, reorder=0.05, delay_s=0.01, jitter_s=0.005)
    inbox = Inbox()

    async with UdpProxy(up=weather, down=weather, seed=1) as proxy:
        engine = real.open(announce=(proxy.announce,))
        assert isinstance(engine, LiveEngine)
        proxy.target = engine.local_address
        call = await connected(real, engine)
        theirs = await call.peer.open_channel("chat")
        ours = (await call.ear.hear(ChannelOpen)).channel
        ours.listen(inbox)
        for number in range(200):
            theirs.send(f"up {number:01024}")
            ours.send(f"down {number:01024}".encode(), text=True)
        up = [(await inbox.next()).data.decode() for _ in range(200)]
        down = [(await theirs.receive()).data.decode() for _ in range(200)]

    assert up == [f"up {number:01024}" for number in range(200)]
    assert down == [f"down {number:01024}" for number in range(200)]
    assert proxy.counts["up"]["lost"] > 0
    assert proxy.counts["down"]["lost"] > 0


# Nothing left behind.


async def test_an_engine_gives_back_every_descriptor_and_thread() -> None:
    async def once() -> None:
        engine = open_engine(CONFIG)
        engine.create_transport(group=1, on_event=Ear())
        await engine.close()

    await once()
    gc.collect()  # what other tests have left in cycles
    before = _descriptors(), _threads()
    for _ in range(5):
        await once()

    # The thread that closed the last one lets go of it a moment after it has said so.
    async with asyncio.timeout(PATIENCE_S):
        while (_descriptors(), _threads()) != before:  # noqa: ASYNC110, the kernel tells nobody
            await asyncio.sleep(0.01)


async def test_calls_that_come_and_go_leave_nothing(real: Rig) -> None:
    engine = real.open()
    assert isinstance(engine, LiveEngine)

    for _ in range(5):
        call = await real.call(engine, recv=[receiving("0")], send=[sending("1", 1000)], data=DATA)
        await call.peer.connect()
        await call.peer.open_channel("chat")
        await call.ear.reach(TransportPhase.CONNECTED)
        call.transport.close()
        await call.peer.stop()

    await settled(engine, transports=0, producers=0, consumers=0, channels=0)
    assert not engine._transports
    assert not engine._producers
    assert not engine._consumers
    assert not engine._channels
    assert not engine._answers


async def test_a_message_no_one_reads_takes_bounded_room(real: Rig) -> None:
    engine = real.open(channel_limit_bytes=65_536)
    call = await real.call(engine, data=DATA)
    channel = call.transport.open_channel("unread")
    channel.set_limit(65_536, OnFull.DROP_NEW)

    taken = [channel.send(bytes(1024)) for _ in range(1000)]

    assert taken.count(True) == 64
    assert channel.buffered == 65_536


async def test_the_loop_can_close_the_engine_while_an_answer_is_awaited(engine: LiveEngine) -> None:
    transport = engine.create_transport(group=1, on_event=Ear())
    waiting = asyncio.create_task(transport.stats())
    await asyncio.sleep(0)

    await engine.close()

    result = (await asyncio.gather(waiting, return_exceptions=True))[0]
    assert not isinstance(result, asyncio.CancelledError)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def _threads() -> int:
    """Those of the engine; the loop's own pool may grow."""
    names = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/comm") as comm:
            names.append(comm.read())
    return sum(name.startswith("parley-") for name in names)
