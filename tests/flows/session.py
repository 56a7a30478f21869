"""A program that calls the Cloudflare Realtime API, with aiortc as its connection: a driver for the flows."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
from aiortc import MediaStreamTrack, RTCDataChannel, RTCPeerConnection, RTCRtpTransceiver, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, VideoStreamTrack

from .participant import Heard
from .server import Server

Json = dict[str, Any]


class Channel:
    """One end of a data channel, and what arrived on it."""

    def __init__(self, channel: RTCDataChannel) -> None:
        self.received: list[str | bytes] = []
        self.send = channel.send
        self.id = channel.id
        self._channel = channel
        channel.on("message", self.received.append)

    @property
    def is_open(self) -> bool:
        return bool(self._channel.readyState == "open")


class Session:
    """One session: its calls over HTTP, its media over one connection."""

    def __init__(self, http: httpx2.AsyncClient, id: str) -> None:
        self.id = id
        self.pc = RTCPeerConnection()
        self.heard: dict[str, Heard] = {}
        """What arrived, by mid."""
        self.sending: dict[str, RTCRtpTransceiver] = {}
        """What it publishes, by name."""
        self.opened: list[str] = []
        """Labels of the data channels that the server opened."""
        self.pc.on("datachannel", lambda channel: self.opened.append(channel.label))
        self._http = http
        self._tasks: list[asyncio.Task[None]] = []
        self.pc.on("track", self._watch)

    async def call(self, method: str, operation: str, body: Json | None = None) -> Json:
        content = None if body is None else json.dumps(body)
        answer = await self._http.request(method, f"/sessions/{self.id}/{operation}".rstrip("/"), content=content)
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    async def push(self, **tracks: MediaStreamTrack) -> Json:
        """Publish these under their names."""
        senders = {name: self.pc.addTransceiver(track, direction="sendonly") for name, track in tracks.items()}
        self.sending |= senders
        await self.pc.setLocalDescription(await self.pc.createOffer())
        items = [{"location": "local", "mid": one.mid, "trackName": name} for name, one in senders.items()]
        pushed = await self.call("POST", "tracks/new", {"sessionDescription": _described(self.pc), "tracks": items})
        await self._take(pushed)
        return pushed

    async def pull(self, *tracks: tuple[str, str]) -> dict[tuple[str, str], str]:
        """Receive tracks of sessions, as (session, name); the mid of each."""
        items = [{"location": "remote", "sessionId": session, "trackName": name} for session, name in tracks]
        pulled = await self.call("POST", "tracks/new", {"tracks": items})
        assert all("mid" in one for one in pulled["tracks"]), pulled["tracks"]
        await self._answer(pulled)
        return {(one["sessionId"], one["trackName"]): one["mid"] for one in pulled["tracks"]}

    async def find(self, publisher: str, name: str, *, within_s: float = 10) -> str:
        """Receive a track that may have yet to come; its mid."""
        item = {"location": "remote", "sessionId": publisher, "trackName": name}
        async with asyncio.timeout(within_s):
            while True:
                pulled = await self.call("POST", "tracks/new", {"tracks": [item]})
                if "mid" in pulled["tracks"][0]:
                    break
                await asyncio.sleep(0.05)
        await self._answer(pulled)
        mid: str = pulled["tracks"][0]["mid"]
        return mid

    async def close(self, *mids: str) -> None:
        """Stop sending or receiving on these sections, without an exchange."""
        closed = await self.call("PUT", "tracks/close", {"tracks": [{"mid": mid} for mid in mids], "force": True})
        assert closed["tracks"] == [{"mid": mid} for mid in mids]

    async def establish(self) -> None:
        """Bring data up by an offer of the server's."""
        await self._answer(await self.call("POST", "datachannels/establish", {}))

    async def channel(self, name: str, publisher: str = "", **options: Any) -> Channel:
        """Publish a data channel, or subscribe to that of another session."""
        item: Json = {"location": "remote", "sessionId": publisher} if publisher else {"location": "local"}
        body = {"dataChannels": [item | {"dataChannelName": name, **options}]}
        [made] = (await self.call("POST", "datachannels/new", body))["dataChannels"]
        ours = self.pc.createDataChannel(
            name,
            negotiated=True,
            id=made["id"],
            ordered=options.get("ordered", True),
            maxRetransmits=options.get("maxRetransmits"),
        )
        return Channel(ours)

    async def close_channel(self, channel: Channel) -> None:
        await self.call("PUT", "datachannels/close", {"dataChannels": [{"id": channel.id}]})

    def fall_silent(self) -> None:
        """Take no data from here on and acknowledge none, with the connection as it is."""

        async def drop(data: bytes) -> None:
            pass

        assert self.pc.sctp is not None
        self.pc.sctp._handle_data = drop  # type: ignore[method-assign]

    async def channel_statuses(self) -> dict[str, str]:
        return {one["dataChannelName"]: one["status"] for one in (await self.call("GET", ""))["dataChannels"]}

    async def statuses(self) -> dict[str, str]:
        return {one["trackName"]: one["status"] for one in (await self.call("GET", ""))["tracks"]}

    async def hang_up(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.pc.close()

    async def _answer(self, offered: Json) -> None:
        assert offered["requiresImmediateRenegotiation"] is True, offered
        await self._take(offered)
        await self.pc.setLocalDescription(await self.pc.createAnswer())
        assert await self.call("PUT", "renegotiate", {"sessionDescription": _described(self.pc)}) == {}

    async def _take(self, answered: Json) -> None:
        described = answered["sessionDescription"]
        await self.pc.setRemoteDescription(RTCSessionDescription(described["sdp"], described["type"]))

    def _watch(self, track: MediaStreamTrack) -> None:
        transceiver = next(one for one in self.pc.getTransceivers() if one.receiver.track is track)
        heard = self.heard.setdefault(transceiver.mid, Heard())
        self._tasks.append(asyncio.create_task(_count(track, heard)))


async def _count(track: MediaStreamTrack, heard: Heard) -> None:
    with contextlib.suppress(MediaStreamError):
        while True:
            frame = await track.recv()
            heard.frames += 1
            if track.kind == "video":
                heard.size = (frame.width, frame.height)  # type: ignore[union-attr]
            else:
                heard.loudest = max(heard.loudest, int(abs(frame.to_ndarray()).max(initial=0)))  # type: ignore[union-attr]


def _described(pc: RTCPeerConnection) -> Json:
    return {"type": pc.localDescription.type, "sdp": pc.localDescription.sdp}


class App:
    """A back end with its secret."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http
        self._sessions: list[Session] = []

    async def session_with_data(self) -> Session:
        """A session that brings data up with the offer it is made by, as some do: with a placeholder of a channel."""
        session = Session(self.http, "")
        self._sessions.append(session)
        session.pc.createDataChannel("server-events")
        await session.pc.setLocalDescription(await session.pc.createOffer())
        body = json.dumps({"sessionDescription": _described(session.pc)})
        made = (await self.http.post("/sessions/new", content=body)).json()
        session.id = made["sessionId"]
        await session._take(made)
        return session

    async def session(self, query: str = "") -> Session:
        made = await self.http.post(f"/sessions/new?{query}")
        assert made.status_code == 201, made.text
        session = Session(self.http, made.json()["sessionId"])
        self._sessions.append(session)
        return session

    async def hang_up(self) -> None:
        for session in self._sessions:
            await session.hang_up()


@contextlib.asynccontextmanager
async def calling(server: Server | str, app: str = "devapp", secret: str = "secret") -> AsyncIterator[App]:
    """An app of a server, or of the one at this URL; its sessions end with the block."""
    url = server if isinstance(server, str) else server.http
    headers = {"authorization": f"Bearer {secret}"}
    async with httpx2.AsyncClient(base_url=f"{url}/v1/apps/{app}", headers=headers, timeout=15) as http:
        caller = App(http)
        try:
            yield caller
        finally:
            await caller.hang_up()


__all__ = ["App", "AudioStreamTrack", "Session", "VideoStreamTrack", "calling"]
