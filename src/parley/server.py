"""Builds the parts, joins them, starts and stops them in order. It knows every part and decides nothing."""

import asyncio
import contextlib
import functools
import importlib
import ipaddress
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import structlog
import uvicorn
import uvloop
from pydantic import create_model
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from parley import __version__, log
from parley.config import ConfigError, Http, Log, Media, Section, load, merge, nearest, split_address
from parley.dialects import DIALECTS
from parley.metrics import CONTENT_TYPE, Metrics

logger = structlog.get_logger(__name__)


class StartError(RuntimeError):
    """The server cannot start; the message says which part and why."""


class Configuration(Section):
    """What an operator may say about the server itself; `_configuration_model` adds a section for each dialect."""

    http: Http = Http()
    media: Media = Media()
    log: Log = Log()


PUBLISHED_KEY, PUBLISHED_SECRET = "devkey", "secret"
"""What the users of LiveKit expect of a development server, and therefore no secret at all."""

_LOOPBACK = {"http": {"bind": ["127.0.0.1:7880"]}, "media": {"bind": "127.0.0.1"}}
_PUBLISHED = {"livekit": {"keys": {PUBLISHED_KEY: PUBLISHED_SECRET}}}


def configure(
    *,
    file: Path | None = None,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    dev: bool = False,
    dev_public: bool = False,
) -> Configuration:
    """Load the configuration and refuse what would be unsafe. Raises ConfigError.

    dev: the published key stands in where no other is given, and everything listens on loopback unless told otherwise.
    dev_public: with dev, the published key may be used on other addresses.
    """
    model = _configuration_model()
    base: Mapping[str, object] = _LOOPBACK if dev and not dev_public else {}
    configuration = load(model, file=file, environ=environ, flags=flags, base=base)
    if _keys(configuration):
        if not dev:
            _refuse_weak(configuration)
        return configuration
    if not dev:
        raise ConfigError(
            "no API key is configured, so nobody could join; `parley keys` prints one for the configuration file, "
            "and --dev starts without"
        )
    if not dev_public:
        _refuse_public(configuration)
    return load(model, file=file, environ=environ, flags=flags, base=merge(base, _PUBLISHED))


def signing_pair(*, dev: bool, key: str, secret: str, file: Path | None, environ: Mapping[str, str]) -> tuple[str, str]:
    """The API key and secret to sign a token with. Raises ConfigError when they are not to be had.

    dev: the published pair. Else a key with its secret as given; else those of the configuration, where `key` picks one
    of several.
    """
    if dev:
        return PUBLISHED_KEY, PUBLISHED_SECRET
    if key and secret:
        return key, secret
    if secret:
        raise ConfigError("--secret needs --key")
    known = _keys(load(_configuration_model(), file=file, environ=environ, flags={}))
    if not known:
        raise ConfigError("nothing to sign with: use --dev, --config with a file that has keys, or --key and --secret")
    if not key:
        key = next(iter(known))
    if key not in known:
        raise ConfigError(f"the configuration has no API key '{key}'{nearest(key, known)}")
    return key, known[key]


@functools.cache
def _configuration_model() -> type[Configuration]:
    """The server's sections, and each dialect's own under the dialect's name."""
    sections: dict[str, Any] = {}
    for path in DIALECTS:
        section = importlib.import_module(f"{path}.settings").Settings
        sections[path.rpartition(".")[2]] = (section, section())
    return create_model("Configuration", __base__=Configuration, **sections)


def _keys(configuration: Configuration) -> dict[str, str]:
    """The API keys of every dialect that has some, with their secrets."""
    return {
        name: key.secret.get_secret_value()
        for section in _dialect_sections(configuration)
        for name, key in getattr(section, "keys", {}).items()
    }


def _dialect_sections(configuration: Configuration) -> list[Any]:
    return [getattr(configuration, path.rpartition(".")[2]) for path in DIALECTS]


def _refuse_weak(configuration: Configuration) -> None:
    weak = [name for section in _dialect_sections(configuration) for name in section.weak_keys()]
    if weak:
        raise ConfigError(
            f"the secret of API key {', '.join(map(repr, weak))} is so short that it could be guessed: "
            "at least 32 bytes are needed (`parley keys` prints a strong pair)"
        )


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
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise StartError(f"cannot listen on {address}: {reason}") from None
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
