"""aiortc against the real engine, with descriptions: an independent stack sends and receives everything."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from random import Random

import aioice.ice
import aiortc.rtcdtlstransport
import pytest
from aiortc import AudioStreamTrack, MediaStreamTrack, RTCPeerConnection, RTCSessionDescription, VideoStreamTrack
from av import AudioFrame, VideoFrame
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from parley.engine.engine import Applied, Engine, Transport
from parley.engine.events import ChannelOpen, FirstPacket, TransportPhase
from parley.engine.specs import Kind, Mid
from parley.negotiation import Caps, Delta, Direction, MLinePlan, Msid, Negotiator
from tests.engine.conftest import CONFIG, HAS_NATIVE
from tests.engine.inbox import Inbox
from tests.engine.peers import PATIENCE_S, Ear

if HAS_NATIVE:
    from parley.engine.live import LiveEngine, open_engine

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.native,
    pytest.mark.skipif(not HAS_NATIVE, reason="the native module is not built"),
]


@pytest.fixture
async def engine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiveEngine]:
    # aioice leaves loopback out; nothing else is certain to exist where tests run.
    monkeypatch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
    engine = open_engine(CONFIG)
    yield engine
    await engine.close()


class Described:
    """An RTCPeerConnection of aiortc and the server's side of its descriptions."""

    def __init__(self, engine: Engine) -> None:
        self.ear = Ear()
        self.transport: Transport = engine.create_transport(group=1, on_event=self.ear)
        self.negotiator = Negotiator(Caps(), self.transport.params, random=Random(1))
        self.connection = RTCPeerConnection()

    async def publish(self) -> Applied:
        """Offer what the connection has; the server takes all of it."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        self.negotiator.on_offer(self.connection.localDescription.sdp)
        delta = self.negotiator.answer([])
        assert delta.sdp is not None
        applied = await self._apply(delta)
        await self.connection.setRemoteDescription(RTCSessionDescription(delta.sdp, "answer"))
        return applied

    async def view(self) -> Applied:
        """Take an offer of one audio and one video section."""
        plan = [
            MLinePlan(None, kind, Direction.SENDONLY, msid=Msid("stream", kind.value))
            for kind in (Kind.AUDIO, Kind.VIDEO)
        ]
        offer = self.negotiator.offer(plan)
        assert offer.sdp is not None
        await self.connection.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
        await self.connection.setLocalDescription(await self.connection.createAnswer())
        return await self._apply(self.negotiator.on_answer(self.connection.localDescription.sdp))

    def track(self, kind: str) -> MediaStreamTrack:
        """What the connection receives of this kind."""
        [track] = [r.track for r in self.connection.getReceivers() if r.track.kind == kind]
        return track

    async def _apply(self, delta: Delta) -> Applied:
        return await self.transport.apply(
            remote=delta.remote, end=delta.ended, recv=delta.recv, send=delta.send, data=delta.data
        )


@pytest.fixture(params=["SRTP_AEAD_AES_256_GCM", "SRTP_AEAD_AES_128_GCM", "SRTP_AES128_CM_SHA1_80"])
def profile(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The only SRTP profile that aiortc offers."""
    offered = [
        profile
        for profile in aiortc.rtcdtlstransport.SRTP_PROFILES
        if profile.openssl_profile.decode() == request.param
    ]
    monkeypatch.setattr(aiortc.rtcdtlstransport, "SRTP_PROFILES", offered)
    return str(request.param)


async def test_aiortc_publishes_and_views_audio_and_video(engine: LiveEngine, profile: str) -> None:
    publisher, viewer = Described(engine), Described(engine)
    publisher.connection.addTrack(AudioStreamTrack())
    publisher.connection.addTrack(VideoStreamTrack())

    published = await publisher.publish()
    viewed = await viewer.view()
    sources = {producer.kind: producer for producer in published.producers.values()}
    for consumer in viewed.consumers.values():
        consumer.set_source(sources[consumer.kind])
    async with asyncio.timeout(2 * PATIENCE_S):
        sounds = [await viewer.track("audio").recv() for _ in range(10)]
        pictures = [await viewer.track("video").recv() for _ in range(10)]

    assert all(isinstance(frame, AudioFrame) and frame.sample_rate == 48_000 for frame in sounds)
    assert all(isinstance(frame, VideoFrame) and (frame.width, frame.height) == (640, 480) for frame in pictures)
    assert {event.codec for event in publisher.ear.of(FirstPacket)} == {"opus", "VP8"}
    stats = [await side.transport.stats() for side in (publisher, viewer)]
    assert [one.srtp_profile for one in stats] == [profile, profile]
    await publisher.connection.close()
    await viewer.connection.close()


async def test_aiortc_has_media_and_data_on_one_transport(engine: LiveEngine) -> None:
    peer, inbox = Described(engine), Inbox()
    peer.connection.addTrack(AudioStreamTrack())
    channel = peer.connection.createDataChannel("chat")
    channel.on("open", lambda: channel.send("hello"))

    applied = await peer.publish()
    ours = (await peer.ear.hear(ChannelOpen)).channel
    ours.listen(inbox)
    await peer.ear.hear(FirstPacket)
    stats = await peer.transport.stats()

    assert (await inbox.next()).data == b"hello"
    assert stats.phase is TransportPhase.CONNECTED
    assert stats.channels == 1
    assert [(p.id, p.mid) for p in stats.producers] == [(applied.producers[Mid("0")].id, "0")]
    assert stats.producers[0].packets > 0
    await peer.connection.close()


async def test_a_client_with_an_rsa_certificate_is_refused_with_a_reason(engine: LiveEngine) -> None:
    client = Described(engine)
    certificates = client.connection._RTCPeerConnection__certificates  # type: ignore[attr-defined]
    certificates[:] = [rsa_certificate()]
    client.connection.addTrack(AudioStreamTrack())

    await client.publish()
    ended = await client.ear.reach(TransportPhase.CLOSED)
    await client.connection.close()

    assert ended.reason == "dtls"
    async with asyncio.timeout(PATIENCE_S):
        while engine.counters()["dtls_failures"] < 1:  # noqa: ASYNC110, a number is read
            await asyncio.sleep(0.01)
    assert engine.counters()["fingerprint_mismatches"] == 0


def rsa_certificate() -> aiortc.rtcdtlstransport.RTCCertificate:
    """As old clients make them; the engine's DTLS knows ECDSA alone."""
    key = rsa.generate_private_key(65_537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "rsa")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    return aiortc.rtcdtlstransport.RTCCertificate(key, builder.sign(key, hashes.SHA256()))
