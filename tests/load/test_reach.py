"""Asking the server before the clients do."""

import asyncio
import socket

import pytest

from parley.load.generator import LoadError
from parley.load.reach import check
from tests.test_server import serving

# The published secret is short, and meant to be.
pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")]


async def test_a_server_that_takes_the_key_is_passed():
    async with serving() as url:
        await asyncio.to_thread(check, url.replace("http", "ws"), "devkey", "secret")


@pytest.mark.parametrize(("key", "secret"), [("devkey", "another"), ("nokey", "secret")])
async def test_a_key_that_is_refused_is_named_and_its_secret_is_not(key, secret):
    async with serving() as url:
        with pytest.raises(LoadError, match=f"{url} refuses API key '{key}': ") as refused:
            await asyncio.to_thread(check, url.replace("http", "ws"), key, secret)

    assert secret not in str(refused.value)


async def test_an_address_where_nobody_listens_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(LoadError, match=f"cannot reach http://127.0.0.1:{port}: Connection refused"):
        await asyncio.to_thread(check, f"ws://127.0.0.1:{port}", "devkey", "secret")


async def test_a_server_of_another_kind_is_told_apart():
    async def answer(reader, writer):
        await reader.readline()
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nConnection: close\r\n\r\nwhat?")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(LoadError, match="does not answer as a LiveKit server: 404 what\\?"):
            await asyncio.to_thread(check, f"ws://127.0.0.1:{port}", "devkey", "secret")
