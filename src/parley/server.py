"""Builds the parts, joins them, starts and stops them in order. It knows every part and decides nothing.

    engine → core → dialects → console → one Starlette application → uvicorn

Stopping runs the other way: core ends every room, the dialects say so to their clients, the listener closes what is
left, the engine goes last.
"""

import asyncio
import contextlib
import dataclasses
import functools
import importlib
import ipaddress
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import structlog
import uvicorn
import uvloop
from pydantic import create_model
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from parley import __version__, collector, console, log
from parley.config import ConfigError, Http, Limits, Log, Media, Section, load, merge, nearest, split_address
from parley.core import model
from parley.core.core import Core
from parley.core.events import ParticipantUpdated
from parley.dialects import DIALECTS
from parley.engine import buffers
from parley.engine.engine import Engine
from parley.engine.errors import EngineError
from parley.engine.specs import EngineConfig
from parley.errors import ParleyError
from parley.metrics import CONTENT_TYPE, Metrics
from parley.web.connections import HttpConnection, SocketConnection
from parley.web.paths import OneLeadingSlash

logger = structlog.get_logger(__name__)

GOODBYE_S = 2.0
"""How long clients have to be told that the server goes, within the time of the whole shutdown."""

OpenEngine = Callable[[EngineConfig], Engine]


class StartError(RuntimeError):
    """The server cannot start; the message says which part and why."""


# ---- configuration


class Configuration(Section):
    """What an operator may say about the server itself; `configuration_model` adds a section for each dialect."""

    http: Http = Http()
    media: Media = Media()
    limits: Limits = Limits()
    log: Log = Log()


PUBLISHED_KEY, PUBLISHED_APP, PUBLISHED_SECRET = "devkey", "devapp", "secret"
"""What the users of LiveKit expect of a development server, an app beside it, and therefore no secret at all."""

_LOOPBACK = {"http": {"bind": ["127.0.0.1:7880"]}, "media": {"bind": "127.0.0.1"}}
_PUBLISHED = {
    "livekit": {"keys": {PUBLISHED_KEY: PUBLISHED_SECRET}},
    "cloudflare": {"apps": {PUBLISHED_APP: PUBLISHED_SECRET}},
}


def configure(
    *,
    file: Path | None = None,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    dev: bool = False,
    dev_public: bool = False,
) -> Configuration:
    """Load the configuration and refuse what would be unsafe. Raises ConfigError.

    dev: published credentials stand in where none are given, and everything listens on loopback unless told otherwise.
    dev_public: with dev, published credentials may be used on other addresses.
    """
    model = configuration_model()
    base: Mapping[str, object] = _LOOPBACK if dev and not dev_public else {}
    configuration = load(model, file=file, environ=environ, flags=flags, base=base)
    if not any(section.has_credentials for section in _sections(configuration)):
        if not dev:
            raise ConfigError(
                "no API key and no app is configured, so nobody could join; `parley keys` prints one for the "
                "configuration file, and --dev starts without"
            )
        configuration = load(model, file=file, environ=environ, flags=flags, base=merge(base, _PUBLISHED))
    weak = _weak(configuration)
    if weak and not dev:
        raise ConfigError(
            f"the secret of {', '.join(map(repr, weak))} is so short that it could be guessed: "
            f"at least 32 bytes are needed ({_advice(configuration, weak)} prints a strong pair)"
        )
    if weak and not dev_public:
        _refuse_public(configuration)
    return configuration


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
    known = _keys(load(configuration_model(), file=file, environ=environ, flags={}))
    if not known:
        raise ConfigError("nothing to sign with: use --dev, --config with a file that has keys, or --key and --secret")
    if not key:
        key = next(iter(known))
    if key not in known:
        raise ConfigError(f"the configuration has no API key '{key}'{nearest(key, known)}")
    return key, known[key]


@functools.cache
def configuration_model() -> type[Configuration]:
    """The server's sections, and each dialect's own under the dialect's name."""
    sections: dict[str, Any] = {}
    for path in DIALECTS:
        section = importlib.import_module(f"{path}.settings").Settings
        sections[_name(path)] = (section, section())
    return create_model("Configuration", __base__=Configuration, **sections)


def _keys(configuration: Configuration) -> dict[str, str]:
    """The API keys that sign tokens, with their secrets."""
    return {
        name: key.secret.get_secret_value()
        for section in _sections(configuration)
        for name, key in getattr(section, "keys", {}).items()
    }


def _apps(configuration: Configuration) -> list[str]:
    """The ids of the apps that call the server."""
    return [name for section in _sections(configuration) for name in getattr(section, "apps", {})]


def _sections(configuration: Configuration) -> list[Any]:
    """Every dialect's own part."""
    return [getattr(configuration, _name(path)) for path in DIALECTS]


def _name(path: str) -> str:
    return path.rpartition(".")[2]


def _weak(configuration: Configuration) -> list[str]:
    """The API keys and apps whose secret could be guessed, the published ones among them."""
    return [name for section in _sections(configuration) for name in section.weak_keys()]


def _advice(configuration: Configuration, weak: list[str]) -> str:
    """The commands that make what should stand in place of these."""
    commands = {"`parley keys`": _keys(configuration), "`parley keys --app`": _apps(configuration)}
    return " or ".join(command for command, names in commands.items() if set(names) & set(weak))


def _refuse_public(configuration: Configuration) -> None:
    for address in configuration.http.bind:
        host, _ = split_address(address)
        if not _is_loopback(host):
            raise ConfigError(
                f"--dev uses published or short keys, so it listens on loopback only, and {address} is not loopback; "
                "use keys of your own (parley keys), or add --dev-public if anyone on that network may join"
            )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


# ---- the parts


class Dialect(Protocol):
    """What `build(core, settings)` in a dialect's `routes` module gives."""

    @property
    def routes(self) -> list[BaseRoute]:
        """What its clients call, from the root on."""

    @property
    def message_bytes(self) -> int | None:
        """The largest message of a WebSocket that it takes; 0: any; None: it has no WebSockets."""

    async def drain(self, within_s: float) -> int:
        """Wait until every client has been told good-bye, after `Core.stop`; how many had not been in time."""


@dataclasses.dataclass(frozen=True, slots=True)
class Started:
    """Where a running server answers."""

    urls: tuple[str, ...]
    """As `http://host:port` or `https://host:port`, without a slash at the end; ports are the real ones."""


class Server:
    """One server: its parts are made when it runs, and gone when it has ended."""

    def __init__(
        self, configuration: Configuration, *, dev: bool = False, open_engine: OpenEngine | None = None
    ) -> None:
        """dev: the page may mint tokens for loopback. open_engine: another engine than the compiled one."""
        self._configuration = configuration
        self._dev = dev
        self._open_engine = open_engine or _compiled_engine
        self._stopping = asyncio.Event()
        self._listener: _Listener | None = None

    async def run(self, started: Callable[[Started], None] = lambda _: None) -> None:
        """Serve until `stop`; returns when everything is closed, within `http.shutdown_s` of it.

        started: called once, when requests are answered. Raises StartError when a part cannot start.
        """
        http = self._configuration.http
        sockets = _listen(http.bind)
        try:
            engine = self._open_engine(_engine_config(self._configuration.media))
        except StartError:
            _close(sockets)
            raise
        except (EngineError, OSError) as error:
            _close(sockets)
            raise StartError(f"the media engine cannot start: {error}") from error
        scheme = "https" if http.tls_cert else "http"
        urls = tuple(f"{scheme}://{_show(s)}" for s in sockets)
        try:
            if not self._dev:
                buffers.warn_of_small(engine.counters())
            core = Core(engine, limits=model.Limits(**self._configuration.limits.model_dump()))
            metrics = Metrics(counters=engine.counters, census=lambda: dataclasses.asdict(core.rooms.count()))
            dialects = self._dialects(core)
            app = self._application(core, engine, dialects, metrics)
            self._listener = _Listener(
                _listening(app, http, _largest(dialects)), on_started=lambda: started(Started(urls))
            )
            # A task that fails takes the server down: calls without their deadlines and metrics would be worse.
            async with asyncio.TaskGroup() as tasks:
                beside = [
                    tasks.create_task(core.run()),
                    tasks.create_task(metrics.watch_loop()),
                    tasks.create_task(collector.run()),
                    tasks.create_task(buffers.watch(engine.counters)),
                    tasks.create_task(_watch_joins(core, metrics)),
                    tasks.create_task(self._end(core, dialects)),
                ]
                await self._listener.serve(sockets=sockets)
                for task in beside:
                    task.cancel()
        finally:
            _close(sockets)
            await engine.close(timeout_s=1.0)

    def stop(self) -> None:
        """Begin to end. Call it on the loop that runs the server."""
        self._stopping.set()

    async def _end(self, core: Core, dialects: list[Dialect]) -> None:
        """When asked to stop: tell every client, wait until they are told, then close the listener."""
        await self._stopping.wait()
        assert self._listener is not None, "it is made before this task"
        logger.info("stopping", participants=core.rooms.count().participants)
        core.stop()
        untold = sum(await asyncio.gather(*(dialect.drain(GOODBYE_S) for dialect in dialects)))
        if untold:
            logger.warning("clients did not hear the good-bye", clients=untold)
        self._listener.should_exit = True

    def _dialects(self, core: Core) -> list[Dialect]:
        """Every dialect that is spoken, each over the same core."""
        spoken = [(path, getattr(self._configuration, _name(path))) for path in DIALECTS]
        return [
            importlib.import_module(f"{path}.routes").build(core, settings)
            for path, settings in spoken
            if settings.enabled
        ]

    def _application(self, core: Core, engine: Engine, dialects: list[Dialect], metrics: Metrics) -> Starlette:
        mint = self._mint if self._dev and _keys(self._configuration) else None
        routes: list[BaseRoute] = [
            Route("/healthz", _health(engine)),
            Route("/metrics", _scrape(metrics)),
        ]
        for dialect in dialects:
            routes += dialect.routes
        routes += console.build(mint=mint)

        return Starlette(routes=routes, middleware=[Middleware(OneLeadingSlash)])

    def _mint(self, room: str, name: str) -> str:
        """A token for the page: an hour in one room, under an identity of its own."""
        return mint_token(self._configuration, room=room, name=name)


def mint_token(configuration: Configuration, *, room: str, name: str) -> str:
    """A token for one room, good for an hour, for a fresh identity that begins with the name."""
    from parley.dialects.livekit.auth import Claims, VideoGrant, write_token

    key, secret = next(iter(_keys(configuration).items()))
    video = VideoGrant(room_join=True, room=room, can_update_own_metadata=True)
    claims = Claims(key=key, identity=f"{name}-{secrets.token_hex(3)}", name=name, video=video)
    return write_token(claims, secret, now=time.time(), ttl_s=3600)


def _compiled_engine(config: EngineConfig) -> Engine:
    try:
        from parley.engine.live import open_engine
    except ImportError as error:
        raise StartError(f"the compiled engine is missing; `make serve` builds it ({error})") from None
    return open_engine(config)


def _engine_config(media: Media) -> EngineConfig:
    return EngineConfig(
        bind=media.bind,
        udp_port=media.udp_port,
        announce=media.announce,
        disconnected_s=media.failed_s / 2,
        failed_s=media.failed_s,
        stun_rate=media.stun_rate,
        max_pending=media.max_pending,
        max_transports=media.max_transports,
        max_transports_per_group=media.max_transports_per_room,
    )


async def _watch_joins(core: Core, metrics: Metrics) -> None:
    """Time every join, from the seat to connected media; runs until cancelled."""
    with core.bus.listen() as heard:
        async for happening in heard:
            event = happening.event
            if isinstance(event, ParticipantUpdated) and "state" in event.changed and event.participant.is_active:
                metrics.join_s.observe(max(0.0, happening.at - event.participant.joined_at))


def _health(engine: Engine) -> Callable[[Request], Any]:
    async def healthz(_: Request) -> Response:
        try:
            engine.broadcast((), b"")  # a command that does nothing: raises when the engine is gone or does not keep up
            is_alive = True
        except ParleyError:
            is_alive = False
        state = {"status": "ok" if is_alive else "failing", "version": __version__, "engine": is_alive}
        return JSONResponse(state, 200 if is_alive else 503)

    return healthz


def _scrape(metrics: Metrics) -> Callable[[Request], Any]:
    async def scrape(_: Request) -> Response:
        return Response(metrics.render(), media_type=CONTENT_TYPE)

    return scrape


# ---- the listener


def _largest(dialects: list[Dialect]) -> int | None:
    """The limit of the dialect that takes the largest messages; each has its own besides. None: there is none."""
    limits = [limit for dialect in dialects if (limit := dialect.message_bytes) is not None]
    return None if 0 in limits else max(limits, default=0)


def _listening(app: Starlette, http: Http, message_bytes: int | None) -> uvicorn.Config:
    """How uvicorn serves the application. Raises StartError when the certificate or its key cannot be used.

    message_bytes: the largest message of a WebSocket; a larger one closes it with 1009 before it is read whole.
    """
    config = uvicorn.Config(
        app,
        http=HttpConnection,
        ws=SocketConnection,
        ws_max_size=message_bytes,  # type: ignore[arg-type]  # None, for websockets: no limit
        log_config=None,  # its own logs every query string, tokens included
        access_log=False,
        server_header=False,
        ws_per_message_deflate=False,  # signal messages are small, and its windows would cost each socket 64 KB
        ws_ping_interval=10.0,  # what LiveKit's clients are used to; one that is silent for 20 s more is gone
        ssl_certfile=http.tls_cert,
        ssl_keyfile=http.tls_key,
        lifespan="off",
        timeout_graceful_shutdown=1,
    )
    try:
        config.load()
    except OSError as error:  # ssl.SSLError is one
        raise StartError(f"cannot use {http.tls_cert} with {http.tls_key}: {error.strerror or error}") from None
    return config


class _Listener(uvicorn.Server):
    """uvicorn, with the signals in our hands: it would close every socket before its client was told."""

    def __init__(self, config: uvicorn.Config, *, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if not self.should_exit:
            self._on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(addresses: tuple[str, ...]) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    for address in addresses:
        host, port = split_address(address)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            sockets.append(socket.create_server((host, port), family=family, backlog=2048))
        except OSError as error:
            _close(sockets)
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise StartError(f"cannot listen on {address}: {reason}") from None
    return sockets


def _close(sockets: list[socket.socket]) -> None:
    for opened in sockets:
        opened.close()


def _show(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# ---- the process


def run(configuration: Configuration, *, dev: bool = False) -> None:
    """Serve in this process until SIGTERM or SIGINT. Raises StartError when a part cannot start."""
    log.setup(format=configuration.log.format, level=configuration.log.level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(configuration, dev=dev))


async def _run(configuration: Configuration, *, dev: bool) -> None:
    server = Server(configuration, dev=dev)
    loop = asyncio.get_running_loop()

    def begin_to_end() -> None:
        server.stop()
        loop.call_later(configuration.http.shutdown_s, _give_up, "the shutdown took too long")
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _give_up, "told to stop a second time")

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, begin_to_end)

    def tell(started: Started) -> None:
        collector.pass_over_the_present()
        logger.info("serving", urls=list(started.urls), version=__version__)
        if configuration.log.format == "text":
            print(_banner(configuration, started, dev=dev), flush=True)

    try:
        await server.run(tell)
    except StartError:
        raise
    except Exception:
        logger.exception("the server failed")
        raise SystemExit(1) from None


def _give_up(why: str) -> None:
    logger.error("ending at once", reason=why)
    os._exit(1)


def _reachable(url: str, announce: tuple[str, ...]) -> str:
    """The URL to open, where the server listens on every address: with the announced one if there is one."""
    scheme, _, address = url.partition("://")
    host, port = split_address(address)
    if host not in ("0.0.0.0", "::"):
        return url
    outer = announce[0].partition(":")[0] if announce and announce[0].count(":") < 2 else "localhost"
    return f"{scheme}://{outer}:{port}"


def _banner(configuration: Configuration, started: Started, *, dev: bool) -> str:
    """What a person wants to know when the server is up. The token in it is for a development server only."""
    url = _reachable(started.urls[0], configuration.media.announce)
    lines = [f"Parley {__version__}", ""]
    if dev:
        keys = _keys(configuration)
        lines += [f"  try it     {url}/          in two browser tabs"]
        lines += [f"  clients    {url.replace('http', 'ws', 1)}"]
        if keys.get(PUBLISHED_KEY) == PUBLISHED_SECRET:
            lines += [f"  API key    {PUBLISHED_KEY}", f"  secret     {PUBLISHED_SECRET}"]
            lines += [f"  app        {url}/v1/apps/{PUBLISHED_APP}   with the same secret"]
        if keys:
            lines += ["", "  a token for the room 'try', good for an hour:", ""]
            lines += [f"  {mint_token(configuration, room='try', name='guest')}"]
    else:
        if _keys(configuration):
            lines += [f"  clients    {url.replace('http', 'ws', 1)}"]
        lines += [f"  app        {url}/v1/apps/{app}" for app in _apps(configuration)]
    return "\n".join(["", *lines, "", "  Ctrl-C stops it", ""])
