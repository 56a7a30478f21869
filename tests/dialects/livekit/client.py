"""A LiveKit client made of a bare WebSocket and hand-written descriptions, and a server for it to call."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from random import Random
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlencode

import uvicorn
import websockets
from livekit.protocol.models import TrackInfo, TrackSource, TrackType
from livekit.protocol.rtc import AddTrackRequest, JoinResponse, SessionDescription, SignalRequest, SignalResponse
from starlette.applications import Starlette
from websockets.asyncio.client import ClientConnection

from parley.clock import Clock, SystemClock
from parley.core.core import Core
from parley.core.model import Limits
from parley.dialects.livekit.auth import Claims, VideoGrant, write_token
from parley.dialects.livekit.routes import LiveKit, build
from parley.dialects.livekit.settings import LiveKitSettings
from parley.engine.engine import Engine
from parley.web.connections import HttpConnection, SocketConnection
from tests.fakes import FakeEngine, FakeTransport

SECRET = "a secret of thirty-two characters"
WAIT_S = 3.0

T = TypeVar("T")

FINGERPRINT = "sha-256 " + ":".join(["CD"] * 32)


class Server:
    """The dialect on a loopback port of its own."""

    def __init__(self, core: Core, livekit: LiveKit, engine: Engine, clock: Clock, port: int) -> None:
        self.core = core
        self.livekit = livekit
        self.engine = engine
        self.clock = clock
        self.host = f"127.0.0.1:{port}"

    @property
    def fake(self) -> FakeEngine:
        assert isinstance(self.engine, FakeEngine)
        return self.engine

    def token(self, identity: str = "ada", room: str = "standup", ttl_s: float = 600, **more: Any) -> str:
        """A token of the one key this server knows. more: of the claims, or, in camelCase, of the video grant."""
        grant = {key: more.pop(key) for key in list(more) if key in _GRANT_KEYS}
        video = VideoGrant.model_validate({"roomJoin": True, "room": room} | grant)
        claims = Claims(key="APIkey", identity=identity, video=video, **more)
        return write_token(claims, SECRET, now=self.clock.wall(), ttl_s=ttl_s)


_GRANT_KEYS = {field.alias for field in VideoGrant.model_fields.values()}


@contextlib.asynccontextmanager
async def serving(
    engine: Engine, *, settings: Mapping[str, Any] | None = None, limits: Limits | None = None
) -> AsyncIterator[Server]:
    """Run a server until the end of the `async with`; every session must be over by then, or is told to be."""
    clock = SystemClock()
    chosen = LiveKitSettings.model_validate({"keys": {"APIkey": SECRET}} | dict(settings or {}))
    core = Core(engine, clock=clock, random=Random(5), limits=limits)
    livekit = build(core, chosen, product="parley test", random=Random(7))
    # asyncio turns Nagle's delays off only for sockets that say they are TCP; uvloop, which servers run on, for all.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    config = uvicorn.Config(
        Starlette(routes=livekit.routes),
        http=HttpConnection,
        ws=SocketConnection,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws_per_message_deflate=False,
    )
    config.load()
    listener = uvicorn.Server(config)
    listener.lifespan = config.lifespan_class(config)
    sweeping = asyncio.create_task(core.run())
    # Its parts are called one by one: the loop around them looks for signals every 100 ms, in each of these tests.
    await listener.startup(sockets=[listening])
    try:
        yield Server(core, livekit, engine, clock, listening.getsockname()[1])
    finally:
        core.stop()
        await livekit.drain(WAIT_S)
        for accepting in listener.servers:
            accepting.close()
        for connection in list(listener.server_state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):  # A client that does not read does not hang up either.
            await settled(lambda: not listener.server_state.connections)
        sweeping.cancel()


async def settled(condition: Callable[[], T]) -> T:
    """Wait until something is so that nobody announces, and return what it was."""
    async with asyncio.timeout(WAIT_S):
        while not (value := condition()):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.002)
        return value


class Client:
    """One client; every wait has a deadline."""

    def __init__(self, server: Server, socket: ClientConnection, *, as_text: bool = False) -> None:
        self.server = server
        self.socket = socket
        self.join = JoinResponse()
        self.heard: list[SignalResponse] = []
        """Everything heard so far, in order."""
        self._unread: list[SignalResponse] = []
        self._transports: list[FakeTransport] = []
        self.rids: dict[str, str] = {}
        """The simulcast layers of what is offered under each cid that has any: `q h f`."""

    @classmethod
    async def connect(
        cls,
        server: Server,
        identity: str = "ada",
        *,
        token: str | None = None,
        query: Mapping[str, str] | None = None,
        **claims: Any,
    ) -> Client:
        """Join; the first message is the `join`."""
        params = {"protocol": "17", "sdk": "js", "access_token": token or server.token(identity, **claims)}
        known = set(server.fake.transports) if isinstance(server.engine, FakeEngine) else set()
        socket = await websockets.connect(f"ws://{server.host}/rtc?{urlencode(params | dict(query or {}))}")
        client = cls(server, socket)
        first = await client.next()
        assert first.WhichOneof("message") == "join", first
        client.join = first.join
        if isinstance(server.engine, FakeEngine):
            client._transports = [server.engine.transports[id] for id in server.engine.transports if id not in known]
        return client

    @property
    def subscriber(self) -> FakeTransport:
        return self._transports[0]

    @property
    def publisher(self) -> FakeTransport:
        return self._transports[1]

    @property
    def sid(self) -> str:
        return self.join.participant.sid

    async def send(self, **variant: Any) -> None:
        await self.socket.send(SignalRequest(**variant).SerializeToString())

    async def next(self, variant: str | None = None) -> SignalResponse:
        """The next message of this kind that was not returned before; others keep waiting for their turn."""
        for waiting in self._unread:
            if variant is None or waiting.WhichOneof("message") == variant:
                self._unread.remove(waiting)
                return waiting
        async with asyncio.timeout(WAIT_S):
            while True:
                frame = await self.socket.recv()
                assert isinstance(frame, bytes)
                response = SignalResponse.FromString(frame)
                self.heard.append(response)
                if variant is None or response.WhichOneof("message") == variant:
                    return response
                self._unread.append(response)

    async def no_more(self, variant: str, *, within_s: float = 0.3) -> None:
        """Assert that no message of this kind comes for a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                unexpected = await self.next(variant)
                raise AssertionError(f"heard {unexpected}")

    async def until_update(self, identity: str, **expected: Any) -> Any:
        """The next `update` in which this participant looks as expected."""
        while True:
            update = (await self.next("update")).update
            for info in update.participants:
                if info.identity == identity and all(getattr(info, key) == value for key, value in expected.items()):
                    return info

    async def closed(self) -> int:
        """Wait until the server has closed the socket; the code it closed with."""
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await self.next("none of them")
        assert self.socket.close_code is not None
        return self.socket.close_code

    def order(self, *variants: str) -> list[str]:
        """The kinds of what was heard, those named only."""
        kinds = [response.WhichOneof("message") or "" for response in self.heard]
        return [kind for kind in kinds if kind in variants]

    async def leave(self) -> None:
        await self.send(leave={})
        await self.closed()

    # Negotiation.

    async def answer_offer(self) -> SessionDescription:
        """Answer the server's next offer as a browser would; returns the offer."""
        offer = (await self.next("offer")).offer
        await self.send(answer=SessionDescription(type="answer", sdp=answer_to(offer.sdp), id=offer.id))
        return offer

    async def go_active(self) -> None:
        """Bring the subscriber's connection up."""
        await self.answer_offer()
        await settled(lambda: self.subscriber.remote is not None)
        self.subscriber.connect()
        await self.until_update(self.join.participant.identity, state=2)

    async def offer(self, *sections: tuple[str, str, str], id: int = 1) -> SessionDescription:
        """Offer a data section and these (kind, cid, direction); returns the answer."""
        known = set(self.server.fake.transports)
        await self.send(offer=SessionDescription(type="offer", sdp=offer_of(*sections, rids=self.rids), id=id))
        answer = (await self.next("answer")).answer
        fresh = [one for id_, one in self.server.fake.transports.items() if id_ not in known]
        self._transports += fresh
        return answer

    async def publish(
        self,
        cid: str = "mic",
        source: TrackSource = TrackSource.MICROPHONE,
        *,
        before: tuple[tuple[str, str, str], ...] = (),
        id: int = 1,
        **more: Any,
    ) -> TrackInfo:
        """Announce a track and offer it."""
        kind = TrackType.VIDEO if source in (TrackSource.CAMERA, TrackSource.SCREEN_SHARE) else TrackType.AUDIO
        await self.send(add_track=AddTrackRequest(cid=cid, type=kind, source=source, **more))
        info = (await self.next("track_published")).track_published.track
        media = "video" if kind == TrackType.VIDEO else "audio"
        await self.offer(*before, (media, cid, "sendonly"), id=id)
        return info


# Descriptions, by hand: what a client writes, and no more than that.

_HEAD = "v=0\r\no=- 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {mids}\r\n"
_TRANSPORT = (
    "c=IN IP4 0.0.0.0\r\na=ice-ufrag:cli{who}\r\na=ice-pwd:clientpasswordclientpassword\r\n"
    f"a=fingerprint:{FINGERPRINT}\r\na=setup:{{setup}}\r\na=rtcp-mux\r\n"
)
_CODECS = {
    "audio": (
        "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n{transport}"
        "a=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10;useinbandfec=1\r\n"
    ),
    "video": (
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n{transport}"
        "a=rtpmap:96 VP8/90000\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\n"
        "a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
    ),
}
_versions = iter(range(1, 1_000_000))


def offer_of(*sections: tuple[str, str, str], rids: Mapping[str, str] = MappingProxyType({})) -> str:
    """An offer of a data section, with the mid "data", and of media sections (kind, cid, direction), mids from 0.

    rids: by cid, the layers of those that have any.
    """
    transport = _TRANSPORT.format(who="pub", setup="actpass")
    data = (
        f"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n{transport}a=mid:data\r\n"
        "a=sctp-port:5000\r\na=max-message-size:262144\r\n"
    )
    parts = [data]
    for index, (kind, cid, direction) in enumerate(sections):
        ssrc = f"a=ssrc:{1000 + index} cname:c\r\n" if "send" in direction else ""
        msid = f"a=msid:- {cid}\r\n" if "send" in direction else ""
        layers = rids[cid].split() if cid in rids else []
        simulcast = "".join(f"a=rid:{rid} send\r\n" for rid in layers)
        simulcast += f"a=simulcast:send {';'.join(layers)}\r\n" if layers else ""
        media = _CODECS[kind].format(transport=transport)
        parts.append(f"{media}a=mid:{index}\r\na={direction}\r\n{msid}{simulcast or ssrc}")
    mids = " ".join(["data", *(str(index) for index in range(len(sections)))])
    return _HEAD.format(version=next(_versions), mids=mids) + "".join(parts)


def answer_to(sdp: str) -> str:
    """An answer that takes everything an offer has."""
    _, *parts = re.split(r"(?m)^(?=m=)", sdp)
    mids = [found[1] for part in parts if (found := re.search(r"(?m)^a=mid:(\S+)", part))]
    dropped = re.compile(
        r"a=(candidate|end-of-candidates|ice-|fingerprint|setup|ssrc|msid|sendonly|recvonly|sendrecv|inactive|rtcp-mux)"
    )
    answered = []
    for part in parts:
        first, *lines = part.strip().splitlines()
        direction = "recvonly" if "a=sendonly" in lines else "inactive"
        kept = [line for line in lines if not dropped.match(line) and not line.startswith("c=")]
        media = "" if first.startswith("m=application") else f"a={direction}\r\n"
        transport = _TRANSPORT.format(who="sub", setup="active")
        answered.append(f"{first}\r\n{transport}" + "".join(f"{line}\r\n" for line in kept) + media)
    return _HEAD.format(version=next(_versions), mids=" ".join(mids)) + "".join(answered)


def sections_of(sdp: str) -> list[str]:
    """The media sections of a description."""
    return re.split(r"(?m)^(?=m=)", sdp)[1:]
