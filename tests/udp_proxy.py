"""Bad weather for UDP, the same every time.

A proxy between one server and its clients that loses, delays, doubles and reorders datagrams. Each
direction of each client has its own seeded generator, so the fate of a client's n-th datagram does
not depend on what else is under way. The server announces the proxy's port in place of its own:

    async with UdpProxy(up=Weather(loss=0.02), down=Weather(loss=0.02)) as proxy:
        engine = open_engine(EngineConfig(bind="127.0.0.1", udp_port=0, announce=(proxy.announce,)))
        proxy.target = engine.local_address
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from random import Random

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Weather:
    """What happens to the datagrams of one direction. Probabilities are 0 to 1."""

    loss: float = 0.0
    """The share of datagrams that is lost one by one."""
    burst_loss: float = 0.0
    """The share that is lost in bursts, besides."""
    burst: int = 5
    """How many datagrams in a row a burst takes."""
    duplicate: float = 0.0
    """Probability that a datagram arrives twice."""
    reorder: float = 0.0
    """Probability that a datagram is overtaken by those of the next `reorder_s`."""
    reorder_s: float = 0.02
    delay_s: float = 0.0
    """Added to every datagram."""
    jitter_s: float = 0.0
    """Up to so much more delay, evenly spread; it does not reorder."""


class Lane:
    """The decisions for one direction of one client: plain, without sockets or clock."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._to_lose = 0
        self._last_due = 0.0
        self.counts: Counter[str] = Counter()

    def due(self, weather: Weather, now: float) -> list[float]:
        """When a datagram that came at `now` leaves: never, once or twice. Seconds, any clock."""
        # Every datagram draws the same numbers, whatever the weather, so that a seed means the same.
        lost, begun, doubled, late, wait = (self._random.random() for _ in range(5))
        self.counts["in"] += 1
        if self._is_in_burst(weather, begun) or lost < weather.loss:
            self.counts["lost"] += 1
            return []
        in_order = max(self._last_due, now + weather.delay_s + wait * weather.jitter_s)
        if late < weather.reorder:
            self.counts["reordered"] += 1
            due = in_order + weather.reorder_s
        else:
            due = self._last_due = in_order
        if doubled < weather.duplicate:
            self.counts["duplicated"] += 1
            return [due, due]
        return [due]

    def _is_in_burst(self, weather: Weather, drawn: float) -> bool:
        if self._to_lose == 0:
            # With this probability `burst_loss` becomes the share of all datagrams.
            begins = weather.burst_loss / (weather.burst - (weather.burst - 1) * weather.burst_loss)
            if drawn >= begins:
                return False
            self._to_lose = weather.burst
        self._to_lose -= 1
        return True


class UdpProxy:
    """One port toward the clients, one socket toward the server for each of them."""

    def __init__(self, *, up: Weather | None = None, down: Weather | None = None, seed: int = 1) -> None:
        self.up = up or Weather()
        """From the clients to the server; may be changed at any time, as `down`."""
        self.down = down or Weather()
        """From the server to the clients."""
        self.target: Address | None = None
        """The server; until it is known everything from clients is dropped."""
        self._seed = seed
        self._clients: dict[Address, _Client] = {}
        self._front = _open_socket()

    @property
    def port(self) -> int:
        """The port clients send to, on 127.0.0.1."""
        port: int = self._front.getsockname()[1]
        return port

    @property
    def announce(self) -> str:
        """`127.0.0.1:port`, for `EngineConfig.announce`."""
        return f"127.0.0.1:{self.port}"

    @property
    def counts(self) -> dict[str, Counter[str]]:
        """For `up` and `down`, over all clients: `in`, `lost`, `duplicated`, `reordered`."""
        clients = self._clients.values()
        return {
            "up": sum((client.up.counts for client in clients), Counter()),
            "down": sum((client.down.counts for client in clients), Counter()),
        }

    async def __aenter__(self) -> UdpProxy:
        asyncio.get_running_loop().add_reader(self._front, self._from_clients)
        return self

    async def __aexit__(self, *exc: object) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._front)
        self._front.close()
        for client in self._clients.values():
            loop.remove_reader(client.socket)
            client.socket.close()

    def _from_clients(self) -> None:
        for data, address in _receive(self._front):
            client = self._clients.get(address) or self._admit(address)
            if self.target is not None:
                self._send(client.up, self.up, data, client.socket, self.target)

    def _from_server(self, client: _Client) -> None:
        for data, _ in _receive(client.socket):
            self._send(client.down, self.down, data, self._front, client.address)

    def _admit(self, address: Address) -> _Client:
        number = len(self._clients)
        client = _Client(
            address,
            _open_socket(),
            up=Lane(Random(f"{self._seed} up {number}")),
            down=Lane(Random(f"{self._seed} down {number}")),
        )
        self._clients[address] = client
        asyncio.get_running_loop().add_reader(client.socket, self._from_server, client)
        return client

    def _send(self, lane: Lane, weather: Weather, data: bytes, via: socket.socket, to: Address) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for due in lane.due(weather, now):
            if due <= now:
                _deliver(via, data, to)
            else:
                loop.call_at(due, _deliver, via, data, to)


@dataclass(frozen=True, slots=True)
class _Client:
    address: Address
    socket: socket.socket
    up: Lane
    down: Lane


def _open_socket() -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setblocking(False)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    opened.bind(("127.0.0.1", 0))
    return opened


def _receive(source: socket.socket) -> list[tuple[bytes, Address]]:
    """What has arrived, a batch at most so that nobody else waits long."""
    received: list[tuple[bytes, Address]] = []
    while len(received) < 64:
        try:
            received.append(source.recvfrom(65_536))
        except (BlockingIOError, ConnectionError):
            break
    return received


def _deliver(via: socket.socket, data: bytes, to: Address) -> None:
    if via.fileno() == -1:  # closed while this was delayed
        return
    with suppress(BlockingIOError, ConnectionError):  # dropped, as a full or unreachable network would
        via.sendto(data, to)
