"""Somebody in a room, whatever their client speaks: the same verbs for every dialect, each by a real client.

A verb returns when its client has done what it can do; that it came through is what `sees`, `hears` and the other
questions wait for. Pictures count when they are decoded, sound when it is loud.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Protocol

from livekit import rtc

from tests.flows.browser import chromium
from tests.flows.media import Picture, Tone
from tests.flows.participant import Heard, Participant, joined
from tests.flows.server import Server, token, until
from tests.flows.session import Channel, Session, calling

MIC, CAM = "mic", "cam"
SIZE = (320, 240)
LAYERS = ((320, 180), (960, 540))
"""The sizes that `publish_layers` sends, the smaller first."""
WAIT_S = 15.0
QUIET_S = 0.4
"""How long nothing arrives before it is said to have stopped."""

ABSENT = {
    ("mute", "livekit", "cloudflare"): "a session's state has no mute: a muted track is active there, and silent",
    ("mute", "cloudflare", "livekit"): "the API has no mute: a session that sends nothing says nothing",
    ("mute", "cloudflare", "cloudflare"): "the API has no mute: a session that sends nothing says nothing",
}
"""(what is told, by whose client, to whose client) to why it cannot be said."""


class Member(Protocol):
    """One client in one room."""

    identity: str
    """What it is called there."""

    @property
    def id(self) -> str:
        """What sessions pull its tracks by."""

    async def publish(self) -> None:
        """Send a tone and a moving picture, as MIC and CAM."""

    async def publish_layers(self) -> None:
        """Send a picture in the two sizes of LAYERS at once, as CAM."""

    @property
    def layers(self) -> tuple[str, str]:
        """What those are called where layers have names, the smaller first."""

    async def choose(self, other: Member, best: bool) -> None:
        """Receive the larger of another's sizes, or the smaller."""

    async def set_muted(self, name: str, muted: bool) -> None:
        """Stop sending a track, or go on; it stays published."""

    async def unpublish(self, name: str) -> None: ...

    async def leave(self) -> None:
        """As a client does that closes."""

    async def view(self, other: Member, *names: str) -> None:
        """Begin to receive tracks of another, as soon as they are there."""

    async def look_away(self, other: Member, name: str) -> None:
        """Stop receiving one of them."""

    def heard(self, other: Member, name: str) -> Heard:
        """What has been decoded of a track."""

    async def has(self, other: Member, name: str) -> bool:
        """Whether it knows of a track it viewed, by what its dialect tells it."""

    async def listen(self, other: Member, topic: str) -> None:
        """Begin to take messages of another that say what they are about."""

    async def prepare(self, topic: str) -> None:
        """Make it possible for others to listen."""

    async def say(self, topic: str, text: str) -> None:
        """Send a reliable message to whoever listens."""

    def told(self, other: Member, topic: str) -> list[str]:
        """The messages that came."""


class LiveKit:
    """By the `livekit` package."""

    def __init__(self, participant: Participant, identity: str) -> None:
        self.identity = identity
        self.room = participant.room
        self._participant = participant
        self._mine: dict[str, rtc.LocalTrackPublication] = {}

    @property
    def id(self) -> str:
        return str(self.room.local_participant.sid)

    async def publish(self) -> None:
        self._mine[MIC] = await self._participant.speak(name=MIC)
        self._mine[CAM] = await self._participant.show(*SIZE, name=CAM)

    async def publish_layers(self) -> None:
        self._mine[CAM] = await self._participant.show(*LAYERS[-1], name=CAM, simulcast=True)

    @property
    def layers(self) -> tuple[str, str]:
        return "q", "f"

    async def choose(self, other: Member, best: bool) -> None:
        publication = self.publication(other, CAM)
        assert publication is not None
        publication.set_video_quality(
            rtc.VideoQuality.VIDEO_QUALITY_HIGH if best else rtc.VideoQuality.VIDEO_QUALITY_LOW
        )

    async def set_muted(self, name: str, muted: bool) -> None:
        track: Any = self._mine[name].track
        if muted:
            track.mute()
        else:
            track.unmute()

    async def unpublish(self, name: str) -> None:
        await self.room.local_participant.unpublish_track(self._mine.pop(name).sid)

    async def leave(self) -> None:
        await self._participant.leave()

    async def view(self, other: Member, *names: str) -> None:
        for name in names:
            await until(lambda: self.publication(other, name), within_s=WAIT_S, what=f"{name} of {other.identity}")  # noqa: B023
            self._set_subscribed(other, name, True)

    async def look_away(self, other: Member, name: str) -> None:
        self._set_subscribed(other, name, False)

    def heard(self, other: Member, name: str) -> Heard:
        return (
            self._participant.audio_from(other.identity)
            if name == MIC
            else self._participant.video_from(other.identity)
        )

    async def has(self, other: Member, name: str) -> bool:
        return self.publication(other, name) is not None

    async def listen(self, other: Member, topic: str) -> None:
        """Everything comes, and is sorted when it has come."""

    async def prepare(self, topic: str) -> None:
        """There is nothing to prepare."""

    async def say(self, topic: str, text: str) -> None:
        await self.room.local_participant.publish_data(text, topic=topic)

    def told(self, other: Member, topic: str) -> list[str]:
        return [
            packet.data.decode()
            for packet in self._participant.data
            if packet.topic == topic
            and packet.participant is not None
            and packet.participant.identity == other.identity
        ]

    def publication(self, other: Member, name: str) -> rtc.RemoteTrackPublication | None:
        remote = self._participant.others().get(other.identity)
        publications = remote.track_publications.values() if remote is not None else ()
        return next((one for one in publications if one.name == name), None)

    def _set_subscribed(self, other: Member, name: str, subscribed: bool) -> None:
        publication = self.publication(other, name)
        assert publication is not None
        publication.set_subscribed(subscribed)


CAMERA = """async ([url, secret, names, width, height]) => {
    const camera = await navigator.mediaDevices.getUserMedia({ video: { width, height, frameRate: 15 } });
    const pc = (globalThis.pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" }));
    const sendEncodings = [{ rid: names[1] }, { rid: names[0], scaleResolutionDownBy: 3 }];
    pc.addTransceiver(camera.getVideoTracks()[0], { direction: "sendonly", sendEncodings });
    await pc.setLocalDescription(await pc.createOffer());
    const { type, sdp } = pc.localDescription;
    const tracks = [{ location: "local", trackName: "cam", mid: "0" }];
    const body = JSON.stringify({ sessionDescription: { type, sdp }, tracks });
    const answer = await fetch(url, { method: "POST", headers: { Authorization: `Bearer ${secret}` }, body });
    await pc.setRemoteDescription((await answer.json()).sessionDescription);
}"""
"""Publishes on a session that has no connection yet: aiortc sends no layers."""


class Cloudflare:
    """By aiortc and bare HTTP, as a session that is bound to the room; layers are sent by a browser."""

    def __init__(self, session: Session, identity: str, server: Server, open_things: contextlib.AsyncExitStack) -> None:
        self.identity = identity
        self.session = session
        self._server = server
        self._open_things = open_things
        self._mine: dict[str, Tone | Picture] = {}
        self._viewed: dict[tuple[str, str], str] = {}
        self._said: dict[str, Channel] = {}
        self._heard: dict[tuple[str, str], Channel] = {}

    @property
    def id(self) -> str:
        return self.session.id

    async def publish(self) -> None:
        self._mine = {MIC: Tone(), CAM: Picture(*SIZE)}
        await self.session.push(**self._mine)

    async def publish_layers(self) -> None:
        browser = await self._open_things.enter_async_context(chromium())
        page = await browser.new_page()
        await page.goto(f"{self._server.http}/healthz")
        url = f"{self._server.http}/v1/apps/devapp/sessions/{self.id}/tracks/new"
        await page.evaluate(CAMERA, [url, "secret", self.layers, *LAYERS[-1]])

    @property
    def layers(self) -> tuple[str, str]:
        return "b", "a"

    async def choose(self, other: Member, best: bool) -> None:
        simulcast = {"preferredRid": other.layers[best]}
        item = {"location": "remote", "mid": self._viewed[other.id, CAM], "simulcast": simulcast}
        [updated] = (await self.session.call("PUT", "tracks/update", {"tracks": [item]}))["tracks"]
        assert updated["simulcast"] == simulcast

    async def set_muted(self, name: str, muted: bool) -> None:
        self.session.sending[name].sender.replaceTrack(None if muted else self._mine[name])

    async def unpublish(self, name: str) -> None:
        await self.session.close(self.session.sending[name].mid)

    async def leave(self) -> None:
        await self.session.hang_up()

    async def view(self, other: Member, *names: str) -> None:
        for name in names:
            self._viewed[other.id, name] = await self.session.find(other.id, name, within_s=WAIT_S)

    async def look_away(self, other: Member, name: str) -> None:
        await self.session.close(self._viewed[other.id, name])

    def heard(self, other: Member, name: str) -> Heard:
        return self.session.heard.get(self._viewed[other.id, name], Heard())

    async def has(self, other: Member, name: str) -> bool:
        state = (await self.session.call("GET", ""))["tracks"]
        mid = self._viewed[other.id, name]
        return any(one["mid"] == mid and one["status"] == "active" for one in state)

    async def listen(self, other: Member, topic: str) -> None:
        await self._bring_data_up()
        channel = self._heard[other.id, topic] = await self.session.channel(topic, other.id)
        await until(lambda: channel.is_open, within_s=WAIT_S, what="an open channel")

    async def prepare(self, topic: str) -> None:
        await self._bring_data_up()
        channel = self._said[topic] = await self.session.channel(topic)
        await until(lambda: channel.is_open, within_s=WAIT_S, what="an open channel")

    async def say(self, topic: str, text: str) -> None:
        self._said[topic].send(text)

    def told(self, other: Member, topic: str) -> list[str]:
        return [one if isinstance(one, str) else one.decode() for one in self._heard[other.id, topic].received]

    async def _bring_data_up(self) -> None:
        if not (self._said or self._heard):
            await self.session.establish()


@contextlib.asynccontextmanager
async def member(dialect: str, server: Server, room: str, identity: str) -> AsyncIterator[Member]:
    """Somebody of that dialect in the room, who receives what they ask for and nothing else."""
    if dialect == "livekit":
        options = rtc.RoomOptions(auto_subscribe=False)
        async with joined(server.ws, token(identity, room), options) as participant:
            yield LiveKit(participant, identity)
    else:
        async with calling(server) as app, contextlib.AsyncExitStack() as open_things:
            session = await app.session(f"correlationId=room:{room}/{identity}")
            yield Cloudflare(session, identity, server, open_things)


async def sees(viewer: Member, other: Member, *, more: int = 5) -> None:
    """Wait until so many more pictures of the right size have been decoded."""
    first = viewer.heard(other, CAM).frames
    await until(
        lambda: viewer.heard(other, CAM).frames > first + more, within_s=WAIT_S, what=f"pictures of {other.identity}"
    )
    assert viewer.heard(other, CAM).size == SIZE


async def hears(viewer: Member, other: Member) -> None:
    """Wait until a tone that is loud has been decoded from now on."""
    viewer.heard(other, MIC).loudest = 0
    await until(lambda: viewer.heard(other, MIC).loudest > 4_000, within_s=WAIT_S, what=f"the tone of {other.identity}")


async def sees_nothing(viewer: Member, other: Member) -> None:
    """Wait until no more pictures are decoded."""
    async with asyncio.timeout(WAIT_S):
        frames = -1
        while viewer.heard(other, CAM).frames != frames:
            frames = viewer.heard(other, CAM).frames
            await asyncio.sleep(QUIET_S)


async def hears_nothing(viewer: Member, other: Member) -> None:
    """Wait until what is decoded, if anything, is silence."""
    async with asyncio.timeout(WAIT_S):
        while True:
            viewer.heard(other, MIC).loudest = 0
            await asyncio.sleep(QUIET_S)
            if viewer.heard(other, MIC).loudest < 100:
                return


async def has_no_more(viewer: Member, other: Member, name: str, *, within_s: float = WAIT_S) -> None:
    """Wait until its dialect has told it that the track is gone."""
    async with asyncio.timeout(within_s):
        has = True
        while has:
            await asyncio.sleep(0.05)
            has = await viewer.has(other, name)
