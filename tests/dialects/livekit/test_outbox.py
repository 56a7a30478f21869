"""What waits for a client that reads slowly, and when that is too much."""

from __future__ import annotations

import asyncio

import pytest

from parley.dialects.livekit.frames import Frame
from parley.dialects.livekit.outbox import Outbox, TooSlow

pytestmark = pytest.mark.anyio


class Client:
    """Takes frames only while it reads."""

    def __init__(self) -> None:
        self.read: list[Frame] = []
        self.reads = asyncio.Event()

    async def take(self, frame: Frame) -> None:
        await self.reads.wait()
        self.read.append(frame)


def outbox(client: Client, *, limit: int = 100, limit_bytes: int = 1000, write_s: float = 60.0) -> Outbox:
    return Outbox(client.take, limit=limit, limit_bytes=limit_bytes, write_s=write_s)


async def test_frames_are_written_in_order_and_all_before_the_end() -> None:
    client = Client()
    client.reads.set()
    box = outbox(client)
    for frame in (b"one", "two", b"three"):
        box.put(frame)
    box.close()

    await box.run()

    assert client.read == [b"one", "two", b"three"]


async def test_too_many_frames_are_refused() -> None:
    box = outbox(Client(), limit=3)
    for _ in range(3):
        box.put(b"")

    with pytest.raises(TooSlow, match="3 messages wait for the client to read"):
        box.put(b"")


async def test_too_many_bytes_are_refused() -> None:
    box = outbox(Client(), limit_bytes=1000)
    box.put(b"x" * 600)

    with pytest.raises(TooSlow, match="600 bytes wait for the client to read"):
        box.put(b"x" * 401)


async def test_one_frame_may_be_larger_than_all_may_be_together() -> None:
    client = Client()
    box = outbox(client, limit_bytes=1000)
    running = asyncio.create_task(box.run())
    box.put(b"x" * 5000)
    client.reads.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    box.put(b"y")
    box.close()
    await running

    assert [len(frame) for frame in client.read] == [5000, 1]


async def test_a_frame_that_is_not_read_in_time_ends_it() -> None:
    box = outbox(Client(), write_s=0.02)
    box.put(b"x")

    with pytest.raises(TooSlow, match=r"one message was not read within 0.02 s"):
        await box.run()
