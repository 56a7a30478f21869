"""Chromium against the real engine: its fragmented ClientHello, its channels, its media."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from parley.engine.engine import Message
from parley.engine.events import ChannelOpen, DtlsConnected, FirstPacket, TransportPhase
from parley.engine.specs import EngineConfig, Kind
from tests.engine.chromium import ChromiumPeer
from tests.engine.conftest import HAS_NATIVE, NEEDS_CHROMIUM
from tests.engine.inbox import Inbox
from tests.udp_proxy import UdpProxy, Weather

if HAS_NATIVE:
    from parley.engine.live import LiveEngine, open_engine

pytestmark = NEEDS_CHROMIUM


@pytest.fixture
async def engine() -> AsyncIterator[LiveEngine]:
    engine = open_engine(EngineConfig(bind="127.0.0.1", udp_port=0))
    yield engine
    await engine.close()


async def test_chromium_connects_and_talks_over_a_data_channel(browser: Browser, engine: LiveEngine) -> None:
    peer = await ChromiumPeer.open(browser, engine)
    inbox = Inbox()
    await peer.open_channel("chat", ordered=False, maxRetransmits=0)

    await peer.connect()
    dtls = await peer.ear.hear(DtlsConnected)
    await peer.ear.reach(TransportPhase.CONNECTED)
    channel = (await peer.ear.hear(ChannelOpen)).channel
    channel.listen(inbox)
    await peer.until("peer.isOpen('chat')")
    await peer.send("chat", "hello")
    heard = await inbox.next()
    channel.send("grüß dich".encode(), text=True)
    channel.send(b"\x00\x01")

    assert dtls.version == "DTLS 1.2"
    assert heard == Message(b"hello", text=True)
    assert (channel.ordered, channel.max_retransmits) == (False, 0)
    assert await peer.receive() == ("chat", "string", "grüß dich")
    assert await peer.receive() == ("chat", "object", "\x00\x01")
    assert await peer.page.evaluate("peer.state()") == "connected"


async def test_chromium_takes_a_thousand_messages_in_order(browser: Browser, engine: LiveEngine) -> None:
    peer = await ChromiumPeer.open(browser, engine)
    inbox = Inbox()
    await peer.open_channel("reliable")
    await peer.connect()
    channel = (await peer.ear.hear(ChannelOpen)).channel
    channel.listen(inbox)
    await peer.until("peer.isOpen('reliable')")

    for number in range(1000):
        assert channel.send(f"{number:01024}".encode(), text=True)
    down = [int((await peer.receive())[2]) for _ in range(1000)]
    await peer.page.evaluate("for (let n = 0; n < 1000; n++) peer.send('reliable', String(n).padStart(1024, '0'))")
    up = [int((await inbox.next()).data) for _ in range(1000)]

    assert down == list(range(1000))
    assert up == list(range(1000))


async def test_the_server_prefers_aes_gcm(browser: Browser, engine: LiveEngine) -> None:
    peer = await ChromiumPeer.open(browser, engine)
    await peer.publish("audio")

    await peer.connect()
    dtls = await peer.ear.hear(DtlsConnected)
    [transport] = await peer.stats("transport")

    assert dtls.srtp_profile == "SRTP_AEAD_AES_256_GCM"
    assert transport["srtpCipher"] == "SRTP_AEAD_AES_256_GCM"


async def test_chromium_sees_and_hears_chromium(browser: Browser, engine: LiveEngine) -> None:
    publisher = await ChromiumPeer.open(browser, engine)
    await publisher.publish("audio", "video")
    viewer = await ChromiumPeer.open(browser, engine)

    published = await publisher.connect()
    viewed = await viewer.view([Kind.AUDIO, Kind.VIDEO])
    sources = {producer.kind: producer for producer in published.producers.values()}
    for consumer in viewed.consumers.values():
        consumer.set_source(sources[consumer.kind])
    for producer in sources.values():
        await publisher.ear.hear(FirstPacket, lambda event, id=producer.id: event.producer == id)  # type: ignore[misc]

    await viewer.until("peer.stats('inbound-rtp', 'video').then(s => s[0]?.framesDecoded > 60)")
    await viewer.until("peer.stats('inbound-rtp', 'audio').then(s => s[0]?.totalAudioEnergy > 1e-5)")
    [video] = await viewer.stats("inbound-rtp", "video")

    assert (video["frameWidth"], video["frameHeight"]) == (640, 360)
    assert video["freezeCount"] == 0


@pytest.mark.slow
async def test_what_is_told_of_a_bad_path_is_what_chromium_sees(browser: Browser) -> None:
    one_way_s = 0.02
    async with UdpProxy(seed=3) as proxy:
        engine = open_engine(EngineConfig(bind="127.0.0.1", udp_port=0, announce=(proxy.announce,)))
        proxy.target = engine.local_address
        publisher = await ChromiumPeer.open(browser, engine)
        await publisher.publish("video")
        viewer = await ChromiumPeer.open(browser, engine)
        published = await publisher.connect()
        viewed = await viewer.view([Kind.VIDEO])
        [source], [consumer] = published.producers.values(), viewed.consumers.values()
        consumer.set_source(source)
        await viewer.until("peer.stats('inbound-rtp', 'video').then(s => s[0]?.framesDecoded > 30)")

        proxy.up = proxy.down = Weather(loss=0.08, delay_s=one_way_s)
        await asyncio.sleep(8)  # a real network for a real time
        proxy.up = proxy.down = Weather(delay_s=one_way_s)
        await asyncio.sleep(4)  # all is repaired, and one more sender report answered
        up, down = await publisher.transport.stats(), await viewer.transport.stats()
        [told] = await publisher.stats("remote-inbound-rtp", "video")
        [seen] = await viewer.stats("inbound-rtp", "video")
        await engine.close()

    [received], [sent] = up.producers, down.consumers
    assert received.repaired > 5
    assert told["packetsLost"] == received.lost + received.repaired
    assert told["roundTripTime"] * 1000 == pytest.approx(2 * one_way_s * 1000, abs=25)
    assert up.rtt_ms == pytest.approx(2 * one_way_s * 1000, abs=25)
    assert told["jitter"] * 1000 == pytest.approx(received.jitter_ms, abs=15)

    assert seen["packetsLost"] == sent.lost > 5
    assert sent.retransmitted >= seen["retransmittedPacketsReceived"] >= 0.8 * sent.retransmitted
    assert seen["packetsReceived"] + seen["packetsLost"] == pytest.approx(sent.packets, abs=40)
    assert sent.rtt_ms == pytest.approx(2 * one_way_s * 1000, abs=25)
    assert down.rtt_ms == pytest.approx(2 * one_way_s * 1000, abs=25)
