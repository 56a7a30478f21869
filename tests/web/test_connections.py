"""Clients that hold a connection or send without measure, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable

import pytest
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from parley.web import connections
from parley.web.connections import FRAGMENTS, HEAD_BYTES, HttpConnection, SocketConnection

pytestmark = pytest.mark.anyio

UPGRADE = (
    b"GET /socket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
LIMIT = 100_000
BIG = 64 * 1024 * 1024


class Site:
    """A server of this process: its port, its open connections and what its sockets have received."""

    def __init__(self, uvicorn_server: uvicorn.Server, port: int, heard: list[int]) -> None:
        self._server = uvicorn_server
        self.port = port
        self.heard = heard

    @property
    def open(self) -> list[object]:
        return list(self._server.server_state.connections)

    async def emptied(self) -> None:
        """Wait until no connection is left."""
        async with asyncio.timeout(5):
            while self.open:  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def serving(**options: object) -> AsyncIterator[Site]:
    heard: list[int] = []

    async def hello(request: Request) -> Response:
        return PlainTextResponse("hello")

    async def big(request: Request) -> Response:
        return PlainTextResponse(b"x" * BIG)

    async def echo(websocket: WebSocket) -> None:
        await websocket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            async for data in websocket.iter_bytes():
                heard.append(len(data))
                await websocket.send_bytes(data)

    routes = [Route("/hello", hello), Route("/big", big), WebSocketRoute("/socket", echo)]
    config = uvicorn.Config(
        Starlette(routes=routes),
        http=HttpConnection,
        ws=SocketConnection,
        ws_max_size=LIMIT,
        ws_per_message_deflate=False,
        log_config=None,
        access_log=False,
        lifespan="off",
        **options,  # type: ignore[arg-type]
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    listening = socket.create_server(("127.0.0.1", 0))
    await server.startup(sockets=[listening])
    site = Site(server, listening.getsockname()[1], heard)
    try:
        yield site
    finally:
        for accepting in server.servers:
            accepting.close()
        for connection in site.open:
            connection.shutdown()  # type: ignore[attr-defined]
        await site.emptied()


Connect = Callable[[Site], contextlib.AbstractAsyncContextManager[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


@contextlib.asynccontextmanager
async def connected(site: Site) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def rest(reader: asyncio.StreamReader) -> bytes:
    """Everything until the server closes."""
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            return await reader.read()
        return b"(reset)"


# HTTP.


async def test_ordinary_requests_on_one_connection_are_answered() -> None:
    async with serving() as site, connected(site) as (reader, writer):
        for _ in range(3):
            writer.write(b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n")
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(5) == b"hello"


@pytest.mark.parametrize(
    ("said", "answer"), [(b"", b""), (b"GET /hello HTTP/1.1\r\nHost: h\r\nX: ", b"HTTP/1.1 408 Request Timeout")]
)
async def test_a_client_that_does_not_finish_its_head_is_let_go(
    monkeypatch: pytest.MonkeyPatch, said: bytes, answer: bytes
) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.1)
    async with serving() as site, connected(site) as (reader, writer):
        writer.write(said)

        assert (await rest(reader)).partition(b"\r\n")[0] == answer


async def test_a_further_request_must_be_finished_in_time_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.1)
    async with serving() as site, connected(site) as (reader, writer):
        writer.write(b"GET /hello HTTP/1.1\r\nHost: h\r\n\r\n")
        await reader.readuntil(b"hello")
        writer.write(b"GET /hel")

        assert (await rest(reader)).startswith(b"HTTP/1.1 408")


async def test_a_head_without_end_is_refused_and_not_kept() -> None:
    async with serving() as site, connected(site) as (reader, writer):
        writer.write(b"GET /hello HTTP/1.1\r\nHost: h\r\nX: ")
        with contextlib.suppress(ConnectionError):
            for _ in range(2 * HEAD_BYTES // 1024):
                writer.write(b"x" * 1024)
                await writer.drain()
                await asyncio.sleep(0)

        assert (await rest(reader)).startswith((b"HTTP/1.1 431", b"(reset)"))


async def test_a_body_that_stops_coming_ends_with_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ANSWER_S", 0.1)
    async with serving() as site, connected(site) as (_, writer):
        writer.write(b"POST /big HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
        await asyncio.sleep(0.05)
        assert site.open

        await site.emptied()


async def test_an_answer_that_nobody_takes_ends_with_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "ANSWER_S", 0.2)
    async with serving() as site:
        with slow_reader(site) as unread:
            unread.sendall(b"GET /big HTTP/1.1\r\nHost: h\r\n\r\n")

            await site.emptied()


# WebSockets.


@contextlib.contextmanager
def slow_reader(site: Site) -> AsyncIterator[socket.socket]:
    """A connection that reads only what the test reads of it, with the least that the kernel will hold."""
    with socket.socket() as unread:
        unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        unread.connect(("127.0.0.1", site.port))
        unread.setblocking(True)
        yield unread


def frame(opcode: int, payload: bytes, *, fin: bool = True, length: int | None = None) -> bytes:
    """A client's frame; length: as stated, where it is not the payload's."""
    length = len(payload) if length is None else length
    if length < 126:
        size = bytes([0x80 | length])
    elif length < 65_536:
        size = bytes([0x80 | 126]) + struct.pack(">H", length)
    else:
        size = bytes([0x80 | 127]) + struct.pack(">Q", length)
    return bytes([opcode | (0x80 if fin else 0)]) + size + bytes(4) + payload


async def next_frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """The server's next frame, of less than 126 bytes: opcode and payload."""
    async with asyncio.timeout(5):
        first, length = await reader.readexactly(2)
        return first & 15, await reader.readexactly(length)


async def close_code(reader: asyncio.StreamReader) -> int:
    opcode, payload = await next_frame(reader)
    assert opcode == 8
    return int.from_bytes(payload[:2], "big")


async def test_a_message_that_is_too_large_is_refused_before_it_has_come() -> None:
    async with serving() as site, connected(site) as (reader, writer):
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(2, b"the first of sixteen megabytes", length=16 * 1024 * 1024))

        assert await close_code(reader) == 1009
        assert site.heard == []


async def test_a_client_that_goes_on_sending_still_hears_why_it_was_closed() -> None:
    async with serving() as site:
        client = await websockets.connect(f"ws://127.0.0.1:{site.port}/socket", max_size=None)
        with contextlib.suppress(websockets.ConnectionClosed):
            await client.send(b"x" * 16 * 1024 * 1024)
        await asyncio.wait_for(client.wait_closed(), 5)

        assert client.close_code == 1009
        await site.emptied()


async def test_a_message_in_frames_without_end_is_refused() -> None:
    async with serving() as site, connected(site) as (reader, writer):
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(2, b"", fin=False) + frame(0, b"", fin=False) * (FRAGMENTS + 10))

        assert await close_code(reader) == 1009
        assert site.heard == []


async def test_a_message_in_a_few_frames_is_one_message() -> None:
    async with serving() as site, connected(site) as (reader, writer):
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(frame(2, b"one ", fin=False) + frame(0, b"two ", fin=False) + frame(0, b"three"))

        assert await next_frame(reader) == (2, b"one two three")


async def test_pings_of_a_client_that_does_not_read_take_no_memory() -> None:
    async with serving() as site:
        with slow_reader(site) as unread:
            unread.sendall(UPGRADE)
            [connection] = await opened(site)
            unread.setblocking(False)
            pings = frame(9, b"p" * 125) * (BIG // 131)
            flooding = asyncio.create_task(asyncio.get_running_loop().sock_sendall(unread, pings))

            await asyncio.wait_for(flooding, 20)

            assert 0 < connection.transport.get_write_buffer_size() < BIG // 64


async def test_a_client_that_does_not_read_is_gone_soon_after_it_was_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CLOSE_S", 0.2)
    async with serving() as site:
        with slow_reader(site) as unread:
            unread.sendall(UPGRADE)
            [connection] = await opened(site)
            connection.transport.write(b"x" * BIG)

            connection.transport.close()
            await asyncio.sleep(0.05)
            assert site.open

            await site.emptied()


async def test_a_half_open_connection_is_noticed_by_its_pings() -> None:
    async with serving(ws_ping_interval=0.1, ws_ping_timeout=0.1) as site:
        with slow_reader(site) as unread:
            unread.sendall(UPGRADE)
            await opened(site)

            await site.emptied()


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"use_uvloop": uses}) for uses in (True, False)])
async def test_a_pong_that_came_while_the_loop_stood_still_counts() -> None:
    async with serving(ws_ping_interval=0.2, ws_ping_timeout=0.2) as site, connected(site) as (reader, writer):
        writer.write(UPGRADE)
        await reader.readuntil(b"\r\n\r\n")
        opcode, payload = await next_frame(reader)
        writer.write(frame(10, payload))

        time.sleep(0.5)  # noqa: ASYNC251, the loop is what stalls

        assert opcode == 9
        assert (await next_frame(reader))[0] == 9


async def opened(site: Site) -> list[SocketConnection]:
    """Wait until a WebSocket is open."""
    async with asyncio.timeout(5):
        while True:
            sockets = [one for one in site.open if isinstance(one, SocketConnection) and one.handshake_complete]
            if sockets:
                return sockets
            await asyncio.sleep(0.01)
