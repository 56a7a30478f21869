"""Core on the engine itself, with aiortc as its clients: real packets over loopback."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

pytest.importorskip("parley._native", reason="the compiled engine is not built")

from aiortc import MediaStreamTrack, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, VideoStreamTrack

from parley.core.core import Core
from parley.core.data import Data, DataStyle
from parley.core.events import Event, PeerConnected, PeerWantsOffer
from parley.core.grants import Grant
from parley.core.model import LeaveReason, Limits, TrackState
from parley.core.peer import Peer
from parley.core.style import Take
from parley.engine.live import LiveEngine, open_engine
from parley.engine.specs import EngineConfig, Kind
from parley.ids import TrackId
from tests.core.clients import publishing, receiving
from tests.core.conftest import ACME

pytestmark = [pytest.mark.anyio, pytest.mark.native]

PATIENCE_S = 15.0
PLAIN = DataStyle(
    reliable="reliable",
    lossy="lossy",
    read=lambda sender, label, message: Data(payload=message, reliable=label == "reliable"),
    write=lambda sender, data: data.payload,
)


class Caller:
    """A participant with an aiortc connection for each direction."""

    def __init__(self, core: Core, identity: str) -> None:
        self.core = core
        grant = Grant(tenant=ACME, identity=identity, room="standup", can_join=True)
        self.seat = core.rooms.join(grant, data=PLAIN)
        core.rooms.arrive(self.seat.id)
        self.frames = {"audio": 0, "video": 0}
        self.messages: list[bytes] = []
        self.told: list[Event] = []
        self.down = RTCPeerConnection()
        self.down.on("track", self._watch)
        self.down.on("datachannel", lambda channel: channel.on("message", self.messages.append))
        self.subscriber: Peer = core.peers.open(self.seat.id, receiving())
        self.up = RTCPeerConnection()
        self.publisher: Peer = core.peers.open(self.seat.id, publishing())
        self.talk = self.up.createDataChannel("reliable")
        self.tracks: dict[Kind, TrackId] = {}
        self._tasks: list[asyncio.Task[None]] = [asyncio.create_task(self._listen())]

    async def publish(self) -> None:
        self.up.addTrack(AudioStreamTrack())
        self.up.addTrack(VideoStreamTrack())
        for kind in (Kind.AUDIO, Kind.VIDEO):
            self.tracks[kind] = self.core.rooms.announce(self.seat.id, kind=kind).id
        await self.up.setLocalDescription(await self.up.createOffer())
        answer = await self.core.peers.take_offer(
            self.publisher.id,
            self.up.localDescription.sdp,
            lambda view: {one.mid: Take(self.tracks[one.kind]) for one in view.sections if one.kind in self.tracks},
        )
        await self.up.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))

    async def hang_up(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self.up.close()
        await self.down.close()

    async def _listen(self) -> None:
        async for event in self.seat.events:
            self.told.append(event)
            if isinstance(event, PeerWantsOffer):
                offer = await self.core.peers.make_offer(event.peer, event.upto)
                if offer is not None:
                    await self.down.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
                    await self.down.setLocalDescription(await self.down.createAnswer())
                    await self.core.peers.take_answer(event.peer, self.down.localDescription.sdp)

    def _watch(self, track: MediaStreamTrack) -> None:
        async def count() -> None:
            with contextlib.suppress(MediaStreamError):
                while True:
                    await track.recv()
                    self.frames[track.kind] += 1

        self._tasks.append(asyncio.create_task(count()))


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - what packets do to another stack has no event to wait for
            await asyncio.sleep(0.02)


@pytest.fixture
async def engine() -> AsyncIterator[LiveEngine]:
    engine = open_engine(EngineConfig(bind="127.0.0.1", udp_port=0))
    yield engine
    await engine.close()


@pytest.fixture
async def live(engine: LiveEngine) -> AsyncIterator[Core]:
    core = Core(engine)
    running = asyncio.create_task(core.run())
    yield core
    running.cancel()
    core.stop()


@pytest.fixture
async def call(live: Core) -> AsyncIterator[Callable[[str], Awaitable[Caller]]]:
    callers: list[Caller] = []

    async def call(identity: str) -> Caller:
        """Join, and wait for the first connection: aiortc confuses a second exchange with one still connecting."""
        caller = Caller(live, identity)
        callers.append(caller)
        await until(lambda: any(isinstance(event, PeerConnected) for event in caller.told))
        return caller

    yield call
    for caller in callers:
        await caller.hang_up()


Call = Callable[[str], Awaitable[Caller]]


async def test_what_one_publishes_the_other_sees_and_hears_until_it_leaves(
    live: Core, call: Call, engine: LiveEngine
) -> None:
    ada, bob = await call("ada"), await call("bob")
    await ada.publish()
    await until(lambda: bob.frames["audio"] > 20 and bob.frames["video"] > 10)
    states = {track.state for track in live.rooms.participant(ada.seat.id).tracks}
    assert states == {TrackState.LIVE}

    live.rooms.leave(ada.seat.id, LeaveReason.CLIENT_LEFT)
    live.rooms.leave(bob.seat.id, LeaveReason.CLIENT_LEFT)

    await until(lambda: engine.counters()["transports"] == 0)
    counters = engine.counters()
    assert (counters["producers"], counters["consumers"], counters["channels"]) == (0, 0, 0)


async def test_a_muted_track_does_not_arrive_and_comes_back(live: Core, call: Call) -> None:
    ada, bob = await call("ada"), await call("bob")
    await ada.publish()
    await until(lambda: bob.frames["video"] > 5 and bob.frames["audio"] > 5)

    live.rooms.mute(ada.seat.id, ada.tracks[Kind.VIDEO], True)
    await asyncio.sleep(0.5)
    muted_at, heard = bob.frames["video"], bob.frames["audio"]
    await until(lambda: bob.frames["audio"] > heard + 20)
    assert bob.frames["video"] <= muted_at + 1

    live.rooms.mute(ada.seat.id, ada.tracks[Kind.VIDEO], False)
    await until(lambda: bob.frames["video"] > muted_at + 5)


async def test_a_thousand_reliable_messages_arrive_in_order(call: Call) -> None:
    ada, bob = await call("ada"), await call("bob")
    await ada.publish()
    await until(lambda: ada.talk.readyState == "open")
    sent = [b"%04d" % number + bytes(1020) for number in range(1000)]

    for message in sent:
        ada.talk.send(message)

    await until(lambda: len(bob.messages) == len(sent))
    assert bob.messages == sent


async def test_an_end_that_the_engine_could_not_tell_is_found_out() -> None:
    engine = open_engine(EngineConfig(bind="127.0.0.1", udp_port=0, event_queue=64))
    core = Core(engine, limits=Limits(good_bye_s=0.1))
    running = asyncio.create_task(core.run())
    seat = core.rooms.join(Grant(tenant=ACME, identity="ada", room="standup", can_join=True))
    lost = core.peers.open(seat.id, receiving()).transport
    other = engine.create_transport(group=1, on_event=lambda event: None)

    for _ in range(100):
        other.native.stats()
    lost.native.close()  # type: ignore[attr-defined]
    time.sleep(0.2)  # noqa: ASYNC251, the loop is what does not look
    await until(lambda: core.rooms.count().participants == 0)

    running.cancel()
    await engine.close()
