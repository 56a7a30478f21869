"""The server as a whole: what answers, how it starts and how it ends."""

import asyncio
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import asynccontextmanager

import httpx2 as httpx
import jwt
import pytest
from livekit.protocol.models import DisconnectReason
from livekit.protocol.rtc import SignalResponse
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from parley import __version__
from parley.core.core import Core
from parley.server import Server, Started, StartError, _reachable, configure
from tests.fakes import FakeEngine

pytestmark = pytest.mark.anyio


def token_for(identity, secret="secret", **claims):
    """A token for the room `standup`, as a LiveKit user makes it."""
    said = {"iss": "devkey", "sub": identity, "video": {"roomJoin": True, "room": "standup"}, "exp": time.time() + 600}
    return jwt.encode({**said, **claims}, secret, algorithm="HS256")


def settings(**http):
    flags = {"http": {"bind": ["127.0.0.1:0"], **http}, "media": {"udp_port": 0}}
    return configure(environ={}, flags=flags, dev=True)


@asynccontextmanager
async def serving(engine=None, *, configuration=None, dev=True):
    """A server on an ephemeral port with an engine that has no sockets: its URL."""
    server = Server(configuration or settings(), dev=dev, open_engine=lambda _: engine or FakeEngine())
    started: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
    running = asyncio.ensure_future(server.run(started.set_result))
    await asyncio.wait({running, started}, return_when=asyncio.FIRST_COMPLETED, timeout=10)
    if running.done():
        running.result()
    try:
        yield started.result().urls[0]
    finally:
        server.stop()
        await asyncio.wait_for(running, 10)


async def test_healthz_says_that_the_engine_is_alive():
    async with serving() as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.get("/healthz")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ok", "version": __version__, "engine": True}


async def test_healthz_fails_once_the_engine_is_gone():
    engine = FakeEngine()
    async with serving(engine) as url, httpx.AsyncClient(base_url=url) as client:
        await engine.close()

        answer = await client.get("/healthz")

    assert answer.status_code == 503
    assert answer.json()["status"] == "failing"


async def test_metrics_show_rooms_traffic_and_the_loop():
    async with serving() as url, httpx.AsyncClient(base_url=url) as client:
        answer = await client.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for name in ("parley_rooms 0.0", "parley_participants 0.0", "parley_tracks 0.0"):
        assert name in answer.text
    for name in ("parley_join_seconds_count", "parley_loop_lag_seconds_count", "process_open_fds"):
        assert name in answer.text


async def test_a_load_balancer_gets_ok_and_a_browser_the_page():
    async with serving() as url, httpx.AsyncClient(base_url=url) as client:
        plain = await client.get("/")
        page = await client.get("/", headers={"accept": "text/html"})

    assert (plain.status_code, plain.text) == (200, "OK")
    assert "<!doctype html>" in page.text.lower()


async def test_a_development_server_mints_tokens_and_another_does_not():
    asked = {"room": "standup", "name": "Ada"}
    async with serving() as url, httpx.AsyncClient(base_url=url) as client:
        minted = await client.post("/try/token", json=asked)
    async with serving(dev=False) as url, httpx.AsyncClient(base_url=url) as client:
        refused = await client.post("/try/token", json=asked)

    assert minted.status_code == 200
    assert minted.json()["token"].count(".") == 2
    assert refused.status_code in (404, 405)


async def test_the_server_closes_its_engine_and_its_port_when_it_stops():
    engine = FakeEngine()

    async with serving(engine) as url:
        port = int(url.rpartition(":")[2])

    assert engine.is_closed
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


@pytest.mark.parametrize(
    ("url", "announce", "shown"),
    [
        ("http://127.0.0.1:7880", ("203.0.113.7",), "http://127.0.0.1:7880"),
        ("https://0.0.0.0:7880", ("203.0.113.7:9000",), "https://203.0.113.7:7880"),
        ("http://0.0.0.0:7880", (), "http://localhost:7880"),
        ("http://[::]:7880", ("2001:db8::7",), "http://localhost:7880"),
    ],
)
def test_the_banner_shows_an_address_that_can_be_opened(url, announce, shown):
    assert _reachable(url, announce) == shown


async def test_several_addresses_answer_alike():
    both = configure(environ={}, flags={"http": {"bind": ["127.0.0.1:0", "127.0.0.2:0"]}}, dev=True)
    server = Server(both, open_engine=lambda _: FakeEngine())
    started: asyncio.Future[Started] = asyncio.get_running_loop().create_future()
    running = asyncio.ensure_future(server.run(started.set_result))
    try:
        urls = (await asyncio.wait_for(started, 10)).urls
        async with httpx.AsyncClient() as client:
            statuses = [(await client.get(f"{url}/healthz")).status_code for url in urls]
    finally:
        server.stop()
        await asyncio.wait_for(running, 10)

    assert statuses == [200, 200]


async def test_a_certificate_that_cannot_be_read_is_named(tmp_path):
    missing = tmp_path / "none.pem"
    server = Server(settings(tls_cert=missing, tls_key=missing), open_engine=lambda _: FakeEngine())

    with pytest.raises(StartError, match=rf"cannot use {missing} with {missing}: No such file or directory"):
        await server.run()


async def test_a_part_that_fails_takes_the_server_down(monkeypatch):
    async def fail(self):
        raise RuntimeError("nobody watches the deadlines any more")

    monkeypatch.setattr(Core, "run", fail)
    engine = FakeEngine()

    with pytest.RaisesGroup(RuntimeError):
        await asyncio.wait_for(Server(settings(), open_engine=lambda _: engine).run(), 10)

    assert engine.is_closed


async def test_an_engine_that_cannot_start_leaves_no_port_behind():
    from parley.engine.errors import EngineRefused

    def refuse(_):
        raise EngineRefused("UDP port 7882 is taken")

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Server(settings(bind=[f"127.0.0.1:{port}"]), open_engine=refuse)

    with pytest.raises(StartError, match="the media engine cannot start: UDP port 7882 is taken"):
        await server.run()

    socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
async def test_clients_hear_that_the_server_shuts_down_before_their_socket_closes():
    heard = []
    async with serving() as url:
        socket = await connect(f"{url.replace('http', 'ws')}/rtc?access_token={token_for('ada')}&protocol=15")
        heard.append(SignalResponse.FromString(await asyncio.wait_for(socket.recv(), 5)))
        reading = asyncio.ensure_future(collect(socket, heard))
    await asyncio.wait_for(reading, 5)

    assert heard[0].HasField("join")
    assert heard[-1].leave.reason == DisconnectReason.SERVER_SHUTDOWN
    assert socket.close_code is not None


async def collect(socket, heard):
    """Read until the socket is closed."""
    async for frame in socket:
        heard.append(SignalResponse.FromString(frame))


# ---- the process


def process_test(test):
    """A test of `parley serve` itself, engine and all."""
    is_built = importlib.util.find_spec("parley._native") is not None
    return pytest.mark.native(pytest.mark.skipif(not is_built, reason="the engine is not compiled")(test))


def start(*arguments, **variables):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **variables}
    command = [sys.executable, "-m", "parley", "serve", "--dev", "--bind", "127.0.0.1:0", "--udp-port", "0", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@process_test
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_in_order(number):
    process = start("--log-format", "json")
    try:
        first = json.loads(process.stderr.readline())
        process.send_signal(number)
        began = time.monotonic()
        output, errors = process.communicate(timeout=10)
    finally:
        process.kill()

    assert first["event"] == "serving"
    assert process.returncode == 0
    assert time.monotonic() - began < 5
    assert output == ""
    assert "Traceback" not in errors


@process_test
@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
def test_a_second_signal_ends_the_process_at_once_though_a_client_is_stuck():
    process = start("--log-format", "json")
    try:
        port = int(json.loads(process.stderr.readline())["urls"][0].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as stuck:
            stuck.sendall(
                f"GET /rtc?access_token={token_for('ada')} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                "Sec-WebSocket-Version: 13\r\n\r\n".encode()
            )
            assert stuck.recv(12) == b"HTTP/1.1 101"
            process.terminate()
            while "stopping" not in process.stderr.readline():
                pass
            began = time.monotonic()
            process.terminate()
            _, errors = process.communicate(timeout=10)
    finally:
        process.kill()

    assert process.returncode == 1
    assert time.monotonic() - began < 1.5
    assert "told to stop a second time" in errors


@process_test
def test_the_banner_shows_where_to_try_it_and_how_to_join():
    process = start("--log-format", "text")
    try:
        lines = []
        while not lines or "Ctrl-C" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr.read()
    finally:
        process.terminate()
        process.communicate(timeout=10)

    text = "".join(lines)
    assert re.search(r"try it +http://127\.0\.0\.1:\d+/", text)
    assert re.search(r"clients +ws://127\.0\.0\.1:\d+\n", text)
    assert re.search(r"API key +devkey\n +secret +secret\n", text)
    assert re.search(r"^  eyJ[\w-]+\.[\w-]+\.[\w-]+$", text, re.MULTILINE)


@process_test
@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
@pytest.mark.parametrize("format", ["text", "json"])
def test_no_log_line_holds_a_token_whatever_becomes_of_the_join(format):
    tokens = {
        "good": token_for("good"),
        "forged": token_for("forged", "another secret"),
        "expired": token_for("late", exp=1),
        "garbage": "eyJhbGciOiJIUzI1NiJ9.garbage.garbage",
    }
    process = start("--log-format", format, "--log-level", "debug")
    try:
        url = re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())[0]
        statuses = {name: asyncio.run(join(url, token)) for name, token in tokens.items()}
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=10)

    assert statuses == {"good": 101, "forged": 401, "expired": 401, "garbage": 401}
    assert "stopping" in errors
    for name, token in tokens.items():
        for part in token.split("."):
            assert part not in errors, f"{name}: {part} was logged"


async def join(url, token):
    """Join by query and by header, and ask whether one may: the status of the upgrade, 101 when it was granted."""
    async with httpx.AsyncClient() as client:
        await client.get(f"{url}/rtc/validate", params={"access_token": token})
        await client.get(f"{url}/rtc/validate", headers={"authorization": f"Bearer {token}"})
    try:
        async with connect(
            f"{url.replace('http', 'ws')}/rtc?access_token={token}&protocol=15", open_timeout=5
        ) as socket:
            await asyncio.wait_for(socket.recv(), 5)
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code
