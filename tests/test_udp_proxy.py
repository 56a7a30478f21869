"""The proxy that stands for a bad network in other tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from random import Random
from typing import cast

import pytest

from tests.udp_proxy import Address, Lane, UdpProxy, Weather

pytestmark = pytest.mark.anyio


def test_clear_weather_changes_nothing() -> None:
    lane = Lane(Random(1))

    fates = [lane.due(Weather(), now) for now in (1.0, 2.0, 3.0)]

    assert fates == [[1.0], [2.0], [3.0]]


def test_a_seed_always_means_the_same_fates() -> None:
    weather = Weather(loss=0.2, duplicate=0.1, reorder=0.1, jitter_s=0.01)

    first, second = (_run(Lane(Random(7)), weather, 500) for _ in range(2))

    assert first == second
    assert first != _run(Lane(Random(8)), weather, 500)


@pytest.mark.parametrize(("loss", "burst_loss"), [(0.05, 0.0), (0.0, 0.05), (0.02, 0.03)])
def test_loss_is_the_share_of_all_datagrams_one_by_one_and_in_bursts(loss: float, burst_loss: float) -> None:
    lane = Lane(Random(3))

    fates = _run(lane, Weather(loss=loss, burst_loss=burst_loss), 100_000)

    assert lane.counts["lost"] / len(fates) == pytest.approx(0.05, rel=0.1)


def test_bursts_have_their_length() -> None:
    fates = _run(Lane(Random(3)), Weather(burst_loss=0.02, burst=5), 20_000)

    pattern = "".join("x" if fate == [] else "." for fate in fates)
    runs = [len(run) for run in pattern.split(".") if run]

    assert runs
    assert all(run % 5 == 0 for run in runs)


def test_jitter_delays_without_reordering() -> None:
    fates = _run(Lane(Random(3)), Weather(delay_s=0.03, jitter_s=0.02), 1000)

    times = [due for fate in fates for due in fate]
    added = [due - number * 0.001 for number, due in enumerate(times)]

    assert times == sorted(times)
    assert 0.03 <= min(added) <= max(added) <= 0.05 + 1e-9


def test_a_reordered_datagram_is_overtaken() -> None:
    lane = Lane(Random(3))
    fates = _run(lane, Weather(reorder=0.1), 1000)

    times = [due for fate in fates for due in fate]
    overtaken = sum(earlier > later for earlier, later in pairwise(times))

    assert overtaken > 50
    assert lane.counts["reordered"] == pytest.approx(100, rel=0.4)


async def test_datagrams_go_both_ways_between_each_client_and_the_server() -> None:
    async with _echo_server() as server, UdpProxy() as proxy:
        proxy.target = server
        first, second = await _client(proxy.port), await _client(proxy.port)

        first.send(b"from the first")
        second.send(b"from the second")

        assert await first.next() == b"from the first"
        assert await second.next() == b"from the second"
        first.close()
        second.close()


async def test_every_datagram_is_counted() -> None:
    async with _echo_server() as server, UdpProxy(up=Weather(loss=0.5), down=Weather(duplicate=1.0)) as proxy:
        proxy.target = server
        client = await _client(proxy.port)
        for _ in range(100):
            client.send(b"x")
        await client.settle()

        up, down = proxy.counts["up"], proxy.counts["down"]

        assert up["in"] == 100
        assert 30 < up["lost"] < 70
        assert down["in"] == down["duplicated"] == 100 - up["lost"]
        assert client.received == 2 * down["in"]
        client.close()


async def test_nothing_reaches_a_server_that_is_not_known_yet() -> None:
    async with _echo_server() as server, UdpProxy() as proxy:
        client = await _client(proxy.port)
        client.send(b"too early")
        await client.settle()
        proxy.target = server
        client.send(b"in time")

        assert await client.next() == b"in time"
        client.close()


def _run(lane: Lane, weather: Weather, datagrams: int) -> list[list[float]]:
    """The fates of so many datagrams, a millisecond apart."""
    return [lane.due(weather, number * 0.001) for number in range(datagrams)]


class _Peer(asyncio.DatagramProtocol):
    def __init__(self, echo: bool = False) -> None:
        self.echo = echo
        self.received = 0
        self._arrived: asyncio.Queue[bytes] = asyncio.Queue()
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self.received += 1
        if self.echo and self._transport is not None:
            self._transport.sendto(data, addr)
        else:
            self._arrived.put_nowait(data)

    def send(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.sendto(data)

    async def next(self) -> bytes:
        async with asyncio.timeout(5):
            return await self._arrived.get()

    async def settle(self) -> None:
        """Wait until nothing has arrived for 200 ms."""
        seen = -1
        while seen != self.received:
            seen = self.received
            await asyncio.sleep(0.2)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


async def _client(port: int) -> _Peer:
    loop = asyncio.get_running_loop()
    _, client = await loop.create_datagram_endpoint(_Peer, remote_addr=("127.0.0.1", port))
    return client


@asynccontextmanager
async def _echo_server() -> AsyncIterator[Address]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Peer(echo=True), local_addr=("127.0.0.1", 0))
    yield transport.get_extra_info("sockname")
    transport.close()
