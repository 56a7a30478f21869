"""A back end and its browsers, made of bare HTTP and hand-written descriptions, against the dialect in this process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any

import httpx2 as httpx
from starlette.applications import Starlette

from parley.core.core import Core
from parley.dialects.cloudflare.routes import Cloudflare, build
from parley.dialects.cloudflare.settings import CloudflareSettings
from parley.engine.specs import Kind, LayerPolicy, Mid
from parley.ids import ParticipantId
from parley.negotiation import CodecPref, Direction, MLinePlan, Msid, Negotiator
from tests.core.clients import OPUS, VP8
from tests.core.clients import Client as Side
from tests.dialects.cloudflare.shapes import check_shape
from tests.fakes import FakeChannel, FakeEngine, FakeTransport

SECRET = "a secret of thirty-two characters"
APPS: Mapping[str, Mapping[str, str]] = {
    "app": {"secret": SECRET, "tenant": "acme"},
    "sister": {"secret": SECRET + "!", "tenant": "acme"},
    "stranger": {"secret": SECRET + "?", "tenant": "other"},
}
QUICK = {"connect_gate_s": 0.05, "media_s": 0.1, "turn_s": 0.2}

Json = dict[str, Any]


class App:
    """One server, as the back ends of its apps see it."""

    def __init__(self, core: Core, engine: FakeEngine, **settings: Any) -> None:
        self.core = core
        self.engine = engine
        given = {"apps": APPS, "timeouts": QUICK} | settings
        self.dialect: Cloudflare = build(core, CloudflareSettings.model_validate(given), random=Random(2))
        transport = httpx.ASGITransport(app=Starlette(routes=self.dialect.routes))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://parley")

    async def request(
        self, method: str, path: str, body: object = None, *, app: str = "app", **more: Any
    ) -> httpx.Response:
        """A call with a JSON body and no content type, as clients make it. body: bytes go as they are."""
        headers = {"authorization": f"Bearer {APPS[app]['secret']}"} | more.pop("headers", {})
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        return await self.http.request(
            method, f"{more.pop('base', '/v1')}/apps/{app}/{path}", content=content, headers=headers, **more
        )

    async def call(self, method: str, path: str, body: object = None, *, expect: int = 200, **more: Any) -> Json:
        answer = await self.request(method, path, body, **more)
        assert answer.status_code == expect, answer.text
        _check(answer)
        found: Json = answer.json()
        check_shape(method, path.partition("?")[0], answer.status_code, found)
        return found

    async def session(self, query: str = "", *, app: str = "app", body: object = None) -> Session:
        made = await self.call("POST", f"sessions/new{query}", body, expect=201, app=app)
        return Session(self, made["sessionId"], app, made)


class Session:
    """One session and its browser's side of the connection."""

    def __init__(self, app: App, id: str, name: str, made: Json) -> None:
        self.app = app
        self.id = id
        self.name = name
        self.made = made
        self.side = Side(seed=len(app.engine.transports))

    @property
    def negotiator(self) -> Negotiator:
        return self.side.negotiator

    @property
    def transport(self) -> FakeTransport:
        peers = self.app.core.peers.of(ParticipantId(int(self.id, 16)))
        return self.app.engine.transports[peers[0].transport.id]

    async def call(self, method: str, operation: str, body: object = None, **more: Any) -> Json:
        path = f"sessions/{self.id}/{operation}".rstrip("/")
        return await self.app.call(method, path, body, **({"app": self.name} | more))

    async def state(self, **more: Any) -> list[Json]:
        found: list[Json] = (await self.call("GET", "", **more))["tracks"]
        return found

    async def statuses(self) -> dict[str, str]:
        return {f"{one['location']} {one['trackName']}": one["status"] for one in await self.state()}

    # What a browser would say.

    def offer(self, **send: CodecPref | None) -> Json:
        """An offer that sends these besides what is sent: `offer(cam=VP8)`."""
        return {"type": "offer", "sdp": self.side.offer(**send)}

    def offer_lines(self, *lines: MLinePlan) -> Json:
        return {"type": "offer", "sdp": self.negotiator.offer(lines).sdp}

    def take(self, answer: Json) -> None:
        assert answer["type"] == "answer"
        self.side.take_answer(answer["sdp"])

    def answer(self, offer: Json, *plan: MLinePlan) -> Json:
        """The answer to an offer of the server's: what is sent goes on, what is offered is taken."""
        assert offer["type"] == "offer"
        self.negotiator.on_offer(offer["sdp"])
        sdp = self.negotiator.answer(plan).sdp
        assert sdp is not None
        return {"type": "answer", "sdp": sdp.replace("a=setup:passive", "a=setup:active")}

    # What a client does with it.

    async def push(self, *rids: str, **send: CodecPref) -> Json:
        """Publish under these names, connected and with media arriving. rids: the layers of each."""
        self.side.rids |= dict.fromkeys(send, rids) if rids else {}
        described = self.offer(**send)
        items = [{"location": "local", "mid": self.side.mids[name], "trackName": name} for name in send]
        added = await self.call("POST", "tracks/new", {"sessionDescription": described, "tracks": items})
        self.take(added["sessionDescription"])
        self.live(*send)
        return added

    def live(self, *names: str) -> None:
        """Connect, and let media of these arrive."""
        self.connect()
        for name in names:
            self.transport.receive_media(self.side.mids[name])

    def connect(self) -> None:
        if self.transport.phase.value != "connected":
            self.transport.connect()

    async def ask(self, *items: Json, **more: Any) -> Json:
        return await self.call("POST", "tracks/new", {"tracks": list(items)}, **more)

    async def pull(self, *items: Json) -> Json:
        """Pull, and complete the exchange that comes of it."""
        added = await self.ask(*items)
        if "sessionDescription" in added:
            await self.renegotiate(added["sessionDescription"])
            self.connect()
        return added

    async def renegotiate(self, offer: Json, *plan: MLinePlan) -> None:
        done = await self.call("PUT", "renegotiate", {"sessionDescription": self.answer(offer, *plan)})
        assert done == {}

    def remote(self, name: str, **more: Any) -> Json:
        """An item that pulls a track of this session."""
        return {"location": "remote", "sessionId": self.id, "trackName": name, **more}

    # Data.

    async def data(self) -> None:
        """Bring data up by an offer of the server's, and connect."""
        asked = await self.call("POST", "datachannels/establish", {})
        await self.renegotiate(asked["sessionDescription"])
        self.connect()

    async def channels(self, *items: Json, **more: Any) -> list[Json]:
        made = await self.call("POST", "datachannels/new", {"dataChannels": list(items)}, **more)
        found: list[Json] = made.get("dataChannels", [made])
        return found

    async def publish(self, name: str, **more: Any) -> int:
        [made] = await self.channels({"location": "local", "dataChannelName": name, **more})
        id: int = made["id"]
        return id

    async def subscribe(self, publisher: Session, name: str, **more: Any) -> int:
        [made] = await self.channels(publisher.remote_channel(name, **more))
        id: int = made["id"]
        return id

    def remote_channel(self, name: str, **more: Any) -> Json:
        """An item that subscribes to a channel of this session."""
        return {"location": "remote", "sessionId": self.id, "dataChannelName": name, **more}

    def channel(self, name: str) -> FakeChannel:
        """The server's end of the open channel of this name."""
        return next(one for one in self.transport.channels.values() if one.label == name)

    async def channel_statuses(self) -> dict[int, str]:
        return {one["id"]: one["status"] for one in (await self.call("GET", ""))["dataChannels"]}

    def source(self, mid: str) -> object:
        """Whose packets go out on a section: the producer, or None."""
        return self.transport.consumers[Mid(mid)].source

    def policy(self, mid: str) -> LayerPolicy | None:
        """Which of its source's layers go out on a section."""
        return self.transport.consumers[Mid(mid)].policy

    async def update(self, *items: Json) -> list[Json]:
        """Change what sections carry; each item needs its `mid`."""
        asked = [{"location": "remote", **item} for item in items]
        done = await self.call("PUT", "tracks/update", {"tracks": asked})
        assert done["requiresImmediateRenegotiation"] is False
        found: list[Json] = done["tracks"]
        return found


def line(kind: Kind, direction: Direction, mid: str | None = None, **more: Any) -> MLinePlan:
    msid = Msid("s", "t") if direction.sends else None
    return MLinePlan(None if mid is None else Mid(mid), kind, direction, msid=msid, **more)


def local(name: str, mid: str | None = None, **more: Any) -> Json:
    item = {"location": "local", "trackName": name, **more}
    return item if mid is None else item | {"mid": mid}


def _check(answer: httpx.Response) -> None:
    """What holds of every answer."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["vary"] == "Origin"
    assert answer.headers["access-control-allow-origin"]
    assert "null" not in answer.text.replace("a=null", "")
    found = answer.json()
    assert isinstance(found, dict)
    if answer.is_success:
        assert "errorCode" not in found
    else:
        assert "errorCode" in found or "tracks" in found


__all__ = ["OPUS", "VP8"]
