"""What an event of the engine costs in Python: taken from the queue, made a value, handed to its listener."""

from __future__ import annotations

import asyncio
import select
import statistics
import time

from benchmarks.figures import Figure, at_most
from parley.engine.bridge import BATCH
from parley.engine.engine import Producer
from parley.engine.events import TransportEvent
from parley.engine.live import LiveEngine, open_engine
from parley.engine.specs import CodecSpec, EngineConfig, Kind, Mid, RecvSpec

ROUNDS = 200
MOST_US = 0.5
PATIENCE_S = 2.0


def measure() -> list[Figure]:
    """CPU time of one event, of `BATCH` that wait."""
    return asyncio.run(_measure())


async def _measure() -> list[Figure]:
    engine = open_engine(EngineConfig(bind="127.0.0.1", udp_port=0))
    heard: list[TransportEvent] = []
    try:
        transport = engine.create_transport(group=1, on_event=heard.append)
        codec = CodecSpec(pt=111, name="opus", clock_hz=48_000, channels=2)
        applied = await transport.apply(recv=[RecvSpec(mid=Mid("0"), kind=Kind.AUDIO, codecs=(codec,), ssrcs=(1,))])
        producer = applied.producers[Mid("0")]
        per_event = [_one_batch(engine, producer, heard) for _ in range(ROUNDS)]
    finally:
        await engine.close()
    note = f"least {min(per_event):.2f}, of {ROUNDS} batches"
    return [at_most(f"drain({BATCH}) and dispatch, per event", statistics.median(per_event), "µs", MOST_US, note)]


def _one_batch(engine: LiveEngine, producer: Producer, heard: list[TransportEvent]) -> float:
    """Have `BATCH` events wait, then take them as the loop would; CPU microseconds for each."""
    heard.clear()
    # The loop stands still meanwhile, so nobody else takes them.
    for turn in range(BATCH // 2):
        producer.pause()
        producer.resume()
        if turn % 64 == 63:
            time.sleep(0.001)  # the queue of commands is bounded too
    _settle(engine)
    bridge = engine._bridge
    assert bridge is not None
    began = time.thread_time_ns()
    bridge.drain()
    took = time.thread_time_ns() - began
    assert len(heard) == BATCH, f"{len(heard)} of {BATCH} events were waiting"
    return took / BATCH / 1000


def _settle(engine: LiveEngine) -> None:
    """Wait until the engine has had the time to answer everything."""
    select.select([engine._native.fileno()], [], [], PATIENCE_S)
    time.sleep(0.01)
