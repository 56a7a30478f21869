"""The dialect's HTTP face: every call under `/v1/apps/{appId}/…`, and without the `/v1`, which some clients leave out.

Whatever happens, the answer is a JSON object: clients parse it before they look at anything else. No answer is a
redirect, since one client takes that for the end of its user's login.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random, SystemRandom

import structlog
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from parley import __version__
from parley.core.core import Core
from parley.core.events import Event, ParticipantLeft
from parley.core.model import LeaveReason, Terms
from parley.dialects.cloudflare import adapters, channels, closing, data, pulling, styles, tracks, wire
from parley.dialects.cloudflare.auth import Caller, authenticate, read_binding
from parley.dialects.cloudflare.errors import Code, Problem, gone, problem
from parley.dialects.cloudflare.feeds import Feeds
from parley.dialects.cloudflare.openapi import document
from parley.dialects.cloudflare.session import Local, Remote, Session
from parley.dialects.cloudflare.settings import CloudflareSettings
from parley.errors import ParleyError, Reason
from parley.ids import ParticipantId, from_hex, mint, to_hex
from parley.negotiation import IceMode
from parley.web.bodies import BodyTooLarge, read_body

log = structlog.get_logger(__name__)

METHODS = "GET, POST, PUT, DELETE, OPTIONS"
PREFLIGHT_MAX_AGE_S = 86400
MAX_LABEL = 256
"""Characters of a `correlationId` that log lines show."""
PREFIXES = ("/v1/apps", "/apps")


def build(core: Core, settings: CloudflareSettings, *, random: Random | None = None) -> Cloudflare:
    """The dialect over this core. The server mounts its `routes` at the root."""
    return Cloudflare(core, settings, random or SystemRandom())


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated request."""

    request: Request
    caller: Caller
    session: str
    """The session in its path; empty: there is none."""
    body: bytes


Handler = Callable[[Call], Awaitable[Response]]


class Cloudflare:
    """The dialect's handlers, and the sessions that are open."""

    def __init__(self, core: Core, settings: CloudflareSettings, random: Random) -> None:
        self._core = core
        self._settings = settings
        self._random = random
        self._styles = {ice: styles.style(settings, ice) for ice in IceMode}
        self._sessions: dict[ParticipantId, Session] = {}
        self._feeds = Feeds()
        self._operations: Mapping[str, tuple[str, Handler]] = {
            "sessions/new": ("POST", self._new_session),
            "sessions/*": ("GET", self._state),
            "sessions/*/tracks/new": ("POST", self._new_tracks),
            "sessions/*/tracks/update": ("PUT", self._update_tracks),
            "sessions/*/tracks/close": ("PUT", self._close_tracks),
            "sessions/*/renegotiate": ("PUT", self._renegotiate),
            "sessions/*/datachannels/establish": ("POST", self._establish),
            "sessions/*/datachannels/new": ("POST", self._new_channels),
            "sessions/*/datachannels/update": ("PUT", self._update_channels),
            "sessions/*/datachannels/close": ("PUT", self._close_channels),
            "adapters/websocket/new": ("POST", self._new_adapters),
            "adapters/websocket/close": ("POST", self._close_adapters),
        }

    @property
    def message_bytes(self) -> None:
        """Its clients speak HTTP alone."""
        return None

    @property
    def routes(self) -> list[BaseRoute]:
        face = _Face(self._answer)
        calls = [Route(path, face) for prefix in PREFIXES for path in (prefix, prefix + "/{path:rest}")]
        others = [Route(path, _Face(self._know_nothing)) for path in ("/v1", "/v1/{path:rest}")]
        return [Route("/v1/openapi.json", _Face(self._describe)), *calls, *others]

    async def drain(self, within_s: float) -> int:
        """There is nobody to tell: clients find out by their connection, or with their next call."""
        return 0

    # Every call.

    async def _answer(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return _readable(request, _preflight(request))
        app, _, rest = request.path_params.get("path", "").partition("/")
        operation, name = _operation(rest)
        session = self._named(app, name)
        line = log if session is None else session.log
        try:
            caller = authenticate(app, request.headers.get("authorization"), self._settings.apps)
            answer = await self._carry_out(request, caller, operation, name, session)
        except ParleyError as error:
            answer = _refuse(problem(error), line)
        except Exception:
            line.exception("a call failed")
            answer = _refuse(Problem(Code.INTERNAL, "Backend error"), line)
        return _readable(request, answer)

    async def _know_nothing(self, request: Request) -> Response:
        """What is called beside the apps: other services of the same API, which there are none of here."""
        if request.method == "OPTIONS":
            return _readable(request, _preflight(request))
        return _readable(request, _refuse(Problem(Code.NOT_FOUND, "There is no such operation"), log))

    async def _carry_out(
        self, request: Request, caller: Caller, operation: str, name: str, session: Session | None
    ) -> Response:
        known = self._operations.get(operation)
        if known is None:
            raise Problem(Code.NOT_FOUND, "There is no such operation")
        method, handler = known
        if request.method != method:
            refused = _refuse(Problem(Code.WRONG_METHOD, f"This operation is called with {method}"), log)
            refused.headers["Allow"] = f"{method}, OPTIONS"
            return refused
        if session is not None:
            session.count_call()
        try:
            body = b"" if method == "GET" else await read_body(request, self._settings.limits.body_bytes)
        except BodyTooLarge as error:
            raise Problem(Code.TOO_LARGE, str(error)) from None
        return await handler(Call(request, caller, name, body))

    async def _describe(self, request: Request) -> Response:
        return _readable(request, JSONResponse(document(__version__)))

    def _session(self, call: Call) -> Session:
        """The session in the call's path. Raises Problem where the app has no such session."""
        session = self._named(call.caller.app, call.session)
        if session is None:
            raise gone()
        self._core.peers.get(session.peer)
        return session

    def _named(self, app: str, name: str) -> Session | None:
        """The app's session of this name."""
        session = self._find(name)
        return session if session is not None and session.app == app else None

    # Sessions.

    async def _new_session(self, call: Call) -> Response:
        ice = IceMode.FULL if wire.read_flag(_query(call, "thirdparty")) else IceMode.LITE
        asked = wire.read(wire.SessionsNew, call.body) if call.body.strip() else wire.SessionsNew()
        sdp = wire.read_offer(asked.session_description)
        session = self._open(call.caller, _query(call, "correlationId"), ice)
        answer = None
        if sdp is not None:
            try:
                answer = await session.take_offer(sdp, lambda view: {})
            except BaseException:
                self._core.rooms.leave(session.id, LeaveReason.NEGOTIATION_FAILED)
                raise
        described = None if answer is None else wire.SessionDescription(type="answer", sdp=answer)
        return _json(201, wire.NewSession(session_id=session.name, session_description=described))

    def _open(self, caller: Caller, correlation_id: str, ice: IceMode) -> Session:
        """Seat a session, in the app's lobby or in the room it is bound to, and open its connection."""
        binding = read_binding(correlation_id)
        core, settings = self._core, self._settings
        limit = settings.limits.tracks_per_session
        room, identity = (binding.room, binding.identity) if binding is not None else ("", "")
        seat = core.rooms.join(
            caller.grant(identity or to_hex(mint(self._random)), room),
            auto_subscribe=False,
            terms=Terms(
                connect_s=settings.timeouts.unused_s,
                silent_s=settings.timeouts.silent_s,
                max_tracks=limit,
                max_announced=limit,
                max_pulls=limit,
            ),
            listener=self._hear,
        )
        try:
            peer = core.peers.open(seat.id, self._styles[ice])
            core.rooms.arrive(seat.id)
        except BaseException:
            core.rooms.leave(seat.id, LeaveReason.INTERNAL)
            raise
        label = correlation_id[:MAX_LABEL]
        session = Session(core, settings, caller, seat.id, peer.id, self._random, self._feeds, label)
        self._sessions[seat.id] = session
        session.log.info("session opened")
        return session

    def _hear(self, event: Event) -> None:
        """Sessions look up everything but their own end, and what is said in their rooms."""
        self._feeds.hear(event)
        if isinstance(event, ParticipantLeft):
            self._sessions.pop(event.participant.id, None)

    async def _state(self, call: Call) -> Response:
        session = self._session(call)
        return _json(
            200,
            wire.SessionState(
                tracks=[_status(session, one) for one in session.entries],
                data_channels=_channel_statuses(session),
            ),
        )

    async def _renegotiate(self, call: Call) -> Response:
        described = wire.read(wire.Renegotiate, call.body).session_description
        sdp = wire.without_type(described.sdp)
        session = self._session(call)
        async with session.turn():
            if described.type == "answer":
                await session.take_answer(sdp)
                return _json(200, wire.Renegotiated())
            answer = await session.take_offer(sdp, lambda view: {})
        return _json(200, wire.Renegotiated(session_description=wire.SessionDescription(type="answer", sdp=answer)))

    # Tracks.

    async def _new_tracks(self, call: Call) -> Response:
        asked = wire.read(wire.TracksNew, call.body)
        sdp = tracks.check(asked, self._settings.limits.tracks_per_call)
        added = await tracks.new(self._session(call), asked, sdp, call.request.is_disconnected)
        return Response(status_code=499) if added is None else _json(200, added)

    async def _update_tracks(self, call: Call) -> Response:
        asked = wire.read(wire.TracksUpdate, call.body)
        tracks.check_count(len(asked.tracks), self._settings.limits.tracks_per_call)
        if not all(item.mid for item in asked.tracks):
            raise Problem(Code.INVALID_PARAMS, "Every track needs the mid of its transceiver")
        return _json(200, pulling.update(self._session(call), asked.tracks))

    async def _close_tracks(self, call: Call) -> Response:
        asked = wire.read(wire.TracksClose, call.body)
        tracks.check_count(len(asked.tracks), self._settings.limits.tracks_per_call)
        if not all(item.mid.strip() for item in asked.tracks):
            raise Problem(Code.INVALID_PARAMS, "Every track needs the mid of its transceiver")
        if asked.force:
            return _json(200, closing.force(self._session(call), asked.tracks))
        sdp = wire.read_offer(asked.session_description)
        if sdp is None:
            raise Problem(Code.INVALID_PARAMS, "Closing needs either force or an offer")
        session = self._session(call)
        session.check_stable()
        async with session.turn():
            return _json(200, await closing.negotiate(session, asked.tracks, sdp))

    # Data channels.

    async def _establish(self, call: Call) -> Response:
        asked = wire.read(wire.Establish, call.body)
        sdp = data.check_establish(asked)
        return _json(200, await data.establish(self._session(call), asked, sdp))

    async def _new_channels(self, call: Call) -> Response:
        asked = wire.read(wire.ChannelsNew, call.body)
        data.check(asked.items, self._settings.limits.tracks_per_call)
        made = await data.new(self._session(call), asked.items, self._find)
        return _channels(made, is_lower=asked.lower is not None)

    async def _update_channels(self, call: Call) -> Response:
        asked = wire.read(wire.ChannelsNew, call.body)
        data.check(asked.items, self._settings.limits.tracks_per_call, has_options=False)
        return _channels(data.update(self._session(call), asked.items, self._find), is_lower=asked.lower is not None)

    async def _close_channels(self, call: Call) -> Response:
        asked = wire.read(wire.ChannelsClose, call.body)
        tracks.check_count(len(asked.items), self._settings.limits.tracks_per_call)
        return _channels(data.close(self._session(call), asked.items), is_lower=asked.lower is not None)

    def _find(self, id: str) -> Session | None:
        number = from_hex(id)
        return None if number is None else self._sessions.get(ParticipantId(number))

    # Adapters.

    async def _new_adapters(self, call: Call) -> Response:
        return _json(503, adapters.new(wire.read(wire.AdaptersNew, call.body)))

    async def _close_adapters(self, call: Call) -> Response:
        return _json(503, adapters.close(wire.read(wire.AdaptersClose, call.body)))


class _Rest(Convertor[str]):
    """The rest of a path, whatever it is: Starlette's own ends at a line break, and its answer is not JSON."""

    regex = r"[\s\S]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("rest", _Rest())


class _Face:
    """A handler for every method of a path; as a bare function Starlette would give it GET alone."""

    def __init__(self, answer: Callable[[Request], Awaitable[Response]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive, send))
        await response(scope, receive, send)


def _query(call: Call, key: str) -> str:
    """The first value of a query parameter; empty: there is none."""
    return next(iter(call.request.query_params.getlist(key)), "")


def _operation(rest: str) -> tuple[str, str]:
    """The operation a path names, with `*` for its session, and the session."""
    parts = rest.rstrip("/").split("/")
    if parts[0] != "sessions" or len(parts) < 2 or parts == ["sessions", "new"]:
        return "/".join(parts), ""
    return "/".join(["sessions", "*", *parts[2:]]), parts[1]


def _status(session: Session, entry: Local | Remote) -> wire.TrackStatus:
    return wire.TrackStatus(
        location="local" if isinstance(entry, Local) else "remote",
        mid=entry.mid,
        track_name=entry.name,
        session_id=None if isinstance(entry, Local) else entry.publisher,
        status=session.status(entry),
    )


def _channel_statuses(session: Session) -> list[wire.ChannelStatus]:
    events = session.events
    listed = [
        wire.ChannelStatus(
            location=end.item.location,
            data_channel_name=end.item.data_channel_name,
            id=end.id,
            session_id=end.item.session_id if end.item.location == "remote" else None,
            status=end.status,
        )
        for end in session.ends
    ]
    if events is not None:
        name = channels.SERVER_EVENTS
        listed.insert(0, wire.ChannelStatus(location="remote", data_channel_name=name, id=0, status=events.status))
    return listed


def _channels(results: list[wire.ChannelResult], *, is_lower: bool) -> Response:
    return _json(200, wire.Channels(data_channels=results, datachannels=results if is_lower else None))


def _json(status: int, shape: wire._Shape) -> Response:
    return JSONResponse(shape.body(), status)


def _refuse(refused: Problem, line: structlog.typing.FilteringBoundLogger) -> Response:
    """line: where to log what is no fault of the caller's."""
    code = refused.code
    if code.status >= 500 and refused.reason is Reason.INTERNAL:
        line.warning("a call could not be carried out", why=str(refused))
    answer = _json(
        code.status,
        wire.Refusal(error_code=code.text, error_description=str(refused), error_subcode=refused.subcode or None),
    )
    if code is Code.TOO_MANY_CALLS:
        answer.headers["Retry-After"] = "1"
    return answer


def _preflight(request: Request) -> Response:
    answer = Response(status_code=204)
    answer.headers["Access-Control-Allow-Methods"] = METHODS
    asked = request.headers.get("access-control-request-headers")
    answer.headers["Access-Control-Allow-Headers"] = asked or "authorization, content-type"
    answer.headers["Access-Control-Max-Age"] = str(PREFLIGHT_MAX_AGE_S)
    return answer


def _readable(request: Request, answer: Response) -> Response:
    """Let scripts of any origin read it: callers send their credential themselves, and no cookie is looked at."""
    answer.headers["Access-Control-Allow-Origin"] = request.headers.get("origin") or "*"
    answer.headers["Access-Control-Expose-Headers"] = "Retry-After"
    answer.headers["Vary"] = "Origin"
    answer.headers["Cache-Control"] = "no-store"
    return answer
