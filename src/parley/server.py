"""Builds the parts, joins them, starts and stops them in order. It knows every part and decides nothing."""

import asyncio
import contextlib
import ipaddress
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import structlog
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from parley import __version__, log
from parley.config import ConfigError, Http, Log, Media, Section, load, split_address
from parley.metrics import CONTENT_TYPE, Metrics

logger = structlog.get_logger(__name__)


class StartError(RuntimeError):
    """The server cannot start; the message says which part and why."""


class Configuration(Section):
    """Everything an operator may say."""

    http: Http = Http()
    media: Media = Media()
    log: Log = Log()


def configure(
    *,
    file: Path | None = None,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    dev: bool = False,
    dev_public: bool = False,
) -> Configuration:
    """Load the configuration and refuse what would be unsafe. Raises ConfigError."""
    configuration = load(Configuration, file=file, environ=environ, flags=flags)
    if dev and not dev_public:
        _refuse_public(configuration)
    return configuration


def _refuse_public(configuration: Configuration) -> None:
    for address in configuration.http.bind:
        host, _ = split_address(address)
        if not _is_loopback(host):
            raise ConfigError(
                f"--dev uses published keys, so it listens on loopback only, and {address} is not loopback; "
                "use keys of your own (parley keys), or add --dev-public if anyone on that network may join"
            )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def run(configuration: Configuration) -> None:
    """Serve until told to stop. Raises StartError when a part cannot start."""
    log.setup(format=configuration.log.format, level=configuration.log.level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(configuration))


async def serve(configuration: Configuration, *, started: Callable[[tuple[str, ...]], None] | None = None) -> None:
    """Serve until SIGTERM or SIGINT.

    started: called once with the URLs that answer, ports resolved.
    """
    http = configuration.http
    sockets = _listen(http.bind)
    metrics = Metrics()
    app = _root(metrics)
    listener = _Listener(
        uvicorn.Config(
            app,
            log_config=None,  # its own logs every query string, tokens included
            access_log=False,
            server_header=False,
            ws_per_message_deflate=False,
            ssl_certfile=http.tls_cert,
            ssl_keyfile=http.tls_key,
            lifespan="on",
        )
    )
    scheme = "https" if http.tls_cert else "http"
    urls = tuple(f"{scheme}://{_show(s)}" for s in sockets)

    def announce() -> None:
        logger.info("serving", urls=urls, version=__version__)
        if started is not None:
            started(urls)

    listener.on_started = announce
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, listener.stop)
    await listener.serve(sockets=sockets)


def _root(metrics: Metrics) -> Starlette:
    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok", "version": __version__})

    async def scrape(_: Request) -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(metrics.watch_loop())
            yield
            watch.cancel()

    return Starlette(routes=[Route("/healthz", healthz), Route("/metrics", scrape)], lifespan=lifespan)


def _listen(addresses: tuple[str, ...]) -> list[socket.socket]:
    sockets = []
    for address in addresses:
        host, port = split_address(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            sockets.append(socket.create_server((host, port), family=family, backlog=2048))
        except OSError as error:
            for opened in sockets:
                opened.close()
            raise StartError(f"cannot listen on {address}: {error.strerror}") from None
    return sockets


def _show(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Listener(uvicorn.Server):
    """uvicorn, with the signals in our hands: it would tell nobody before it closes their sockets."""

    on_started: Callable[[], None]

    def stop(self) -> None:
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
