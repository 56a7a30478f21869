"""LiveKit's HTTP face: `/rtc` for signalling, `/rtc/validate` to learn why that was refused.

Source: LiveKit documentation, "Client protocol"; its SDKs choose their path by these statuses.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from random import Random, SystemRandom

from google.protobuf import json_format
from livekit.protocol.models import DisconnectReason
from livekit.protocol.room import RoomConfiguration
from livekit.protocol.rtc import LeaveRequest
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute, request_response, websocket_session
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from parley.core.core import Core
from parley.core.model import RoomInfo, RoomOptions
from parley.core.rooms import Seat
from parley.dialects.livekit import auth, wire
from parley.dialects.livekit.connect import Admitted, ConnectRequest, admit, check_attributes, read_connect
from parley.dialects.livekit.errors import ConnectRefused, Malformed, NoSuchRoom, refusal
from parley.dialects.livekit.news import Bulletins
from parley.dialects.livekit.packets import PacketReader
from parley.dialects.livekit.session import NORMAL, Session
from parley.dialects.livekit.settings import LiveKitSettings
from parley.errors import ParleyError
from parley.web.answers import plain, refuse_upgrade
from parley.web.cors import AnyOrigin

NO_V1 = "this server speaks the signalling protocol of /rtc"
"""The body that goes with 404 on the newer paths. Clients then fall back to the older ones."""


def build(core: Core, settings: LiveKitSettings, *, product: str = "parley", random: Random | None = None) -> LiveKit:
    """The dialect over this core. The server mounts its `routes` at the root and `drain`s it when it stops.

    product: who we are, for whoever looks at the server's information in a client.
    """
    return LiveKit(core, settings, product=product, random=random or SystemRandom())


class LiveKit:
    """The dialect's handlers, and the sessions they have begun."""

    def __init__(self, core: Core, settings: LiveKitSettings, *, product: str, random: Random) -> None:
        self._core = core
        self._settings = settings
        self._random = random
        self._server = wire.server_info(settings, random.getrandbits(128), product)
        self._bulletins = Bulletins(settings.region)
        self._sessions: set[asyncio.Task[object]] = set()

    @property
    def routes(self) -> list[BaseRoute]:
        return [
            WebSocketRoute("/rtc", _readable_socket(self._connect)),
            Route("/rtc", _readable(self._not_a_socket)),
            Route("/rtc/validate", _readable(self._validate)),
            WebSocketRoute("/rtc/v1", _readable_socket(self._no_v1_socket)),
            Route("/rtc/v1", _readable(self._no_v1)),
            Route("/rtc/v1/validate", _readable(self._no_v1)),
        ]

    @property
    def message_bytes(self) -> int:
        return self._settings.limits.signal_message_bytes

    async def drain(self, within_s: float) -> int:
        """Wait until every client has been told good-bye, after `Core.stop`; how many had not been in time."""
        waiting = set(self._sessions)
        if not waiting:
            return 0
        _, late = await asyncio.wait(waiting, timeout=within_s)
        return len(late)

    # Handlers.

    async def _connect(self, websocket: WebSocket) -> None:
        task = asyncio.current_task()
        assert task is not None, "handlers run in tasks"
        self._sessions.add(task)
        try:
            admitted = self._admit(websocket)
            if admitted.request.reconnect:
                await self._start_over(websocket, admitted.request)
                return
            await self._core.turns.take()
            self._check(admitted, strict=False)
            seat = self._join(admitted)
            await self._talk(websocket, admitted, seat)
        except ConnectRefused as refused:
            await refuse_upgrade(websocket, refused.status, str(refused))
        finally:
            self._sessions.discard(task)

    async def _not_a_socket(self, request: Request) -> Response:
        try:
            self._claims(request)
        except ConnectRefused as refused:
            return plain(refused.status, str(refused))
        return plain(404)

    async def _validate(self, request: Request) -> Response:
        try:
            self._check(self._admit(request), strict=True)
        except ConnectRefused as refused:
            return _for_anybody(plain(refused.status, str(refused)))
        return _for_anybody(plain(200, "success"))

    async def _no_v1(self, request: Request) -> Response:
        # A bad token is told first: a client that fell back would only hear the same again.
        try:
            self._claims(request)
        except ConnectRefused as refused:
            return _for_anybody(plain(refused.status, str(refused)))
        return _for_anybody(plain(404, NO_V1))

    async def _no_v1_socket(self, websocket: WebSocket) -> None:
        try:
            self._claims(websocket)
        except ConnectRefused as refused:
            await refuse_upgrade(websocket, refused.status, str(refused))
        else:
            await refuse_upgrade(websocket, 404, NO_V1)

    # What they share.

    def _claims(self, connection: HTTPConnection) -> auth.Claims | None:
        token = auth.find_token(connection.headers, connection.query_params)
        return None if token is None else auth.read_token(token, self._settings.keys, self._core.clock.wall())

    def _admit(self, connection: HTTPConnection) -> Admitted:
        claims = self._claims(connection)
        request = read_connect(connection.query_params)
        if request.single_peer:
            raise NoSuchRoom(NO_V1)
        return admit(claims, request, self._core.limits.max_name_bytes)

    def _check(self, admitted: Admitted, *, strict: bool) -> None:
        """Whether the room is there to be joined, and then whether the client may bring what it brings.

        A full room does not count: that is found out by joining.
        """
        video, rooms = admitted.video, self._core.rooms
        is_open = rooms.find(auth.grant(admitted.claims, video, admitted.identity).tenant, admitted.room) is not None
        if not (is_open or video.room_create or self._settings.rooms.auto_create):
            raise NoSuchRoom("requested room does not exist")
        check_attributes(admitted, strict=strict)

    def _join(self, admitted: Admitted) -> Seat:
        claims, request = admitted.claims, admitted.request
        baggage = wire.ParticipantBaggage(
            kind=wire.read_kind(claims.kind),
            kind_details=wire.read_kind_details(claims.kind_details),
            client_protocol=request.client.client_protocol,
            capabilities=tuple(request.client.capabilities),
            can_subscribe_metrics=bool(admitted.video.can_subscribe_metrics),
            can_manage_agent_session=bool(admitted.video.can_manage_agent_session),
        )
        try:
            return self._core.rooms.join(
                auth.grant(claims, admitted.video, admitted.identity),
                name=claims.name,
                metadata=claims.metadata,
                attributes=admitted.attributes,
                auto_subscribe=request.auto_subscribe,
                baggage={wire.BAGGAGE: baggage},
                data=PacketReader().style,
                options=self._options(claims),
            )
        except ParleyError as error:
            raise refusal(error) from error

    def _options(self, claims: auth.Claims) -> RoomOptions:
        """How a room behaves that this join creates: as the token says, else as the operator does."""
        asked = RoomConfiguration()
        try:
            json_format.ParseDict(dict(claims.room_config or {}), asked, ignore_unknown_fields=True)
        except (json_format.ParseError, RecursionError):
            raise Malformed("the token's roomConfig cannot be read") from None
        rooms = self._settings.rooms
        return RoomOptions(
            max_participants=asked.max_participants or rooms.max_participants,
            empty_timeout_s=asked.empty_timeout or rooms.empty_timeout_s,
            departure_timeout_s=asked.departure_timeout or rooms.departure_timeout_s,
            metadata=asked.metadata,
        )

    async def _talk(self, websocket: WebSocket, admitted: Admitted, seat: Seat) -> None:
        """Begin the session, and only then accept the socket, so that what goes wrong has a status of its own."""
        session = Session(
            self._core, seat, admitted, self._settings, self._bulletins, clock=self._core.clock, random=self._random
        )
        try:
            subscriber_primary = session.open()
            join = wire.join(
                room=seat.room,
                participant=seat.participant,
                others=seat.others,
                settings=self._settings,
                server=self._server,
                subscriber_primary=subscriber_primary,
                sif_trailer=_sif_trailer(seat.room),
            )
        except ParleyError as error:
            session.abandon()
            raise refusal(error) from error
        try:
            await websocket.accept()
        except BaseException:
            session.abandon()
            raise
        await session.run(websocket, join)

    async def _start_over(self, websocket: WebSocket, request: ConnectRequest) -> None:
        """Tell a client that wants its old session back to begin a new one."""
        await websocket.accept()
        leave = wire.leave_with(DisconnectReason.STATE_MISMATCH, LeaveRequest.RECONNECT, request.protocol)
        await websocket.send_bytes(leave.SerializeToString())
        await websocket.close(NORMAL)


def _sif_trailer(room: RoomInfo) -> bytes:
    """What marks frames that the server itself made, where the room's media is encrypted end to end."""
    return hashlib.sha256(room.id.to_bytes(16, "big")).digest()[:16]


def _readable(handler: Callable[[Request], Awaitable[Response]]) -> ASGIApp:
    """A handler for every method, whose answers scripts of any origin may read."""
    return AnyOrigin(request_response(handler))


def _readable_socket(handler: Callable[[WebSocket], Awaitable[None]]) -> ASGIApp:
    return AnyOrigin(websocket_session(handler))


def _for_anybody(answer: Response) -> Response:
    answer.headers["Access-Control-Allow-Origin"] = "*"
    return answer
