"""Simulcast of Chromium through the real engine to Chromium: a layer or a source changes, and nobody
who watches sees more of it than another size."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from parley.engine.engine import Consumer, Producer
from parley.engine.events import ConsumerLayer, LayerActive, LayerDemand
from parley.engine.specs import EngineConfig, Kind, LayerPolicy
from tests.engine.chromium import ChromiumPeer
from tests.engine.conftest import HAS_NATIVE, NEEDS_CHROMIUM

if HAS_NATIVE:
    from parley.engine.live import LiveEngine, open_engine

pytestmark = NEEDS_CHROMIUM

LARGE = {"rid": "a", "maxBitrate": 600_000}
SMALL = {"rid": "b", "maxBitrate": 150_000, "scaleResolutionDownBy": 2}
WIDTHS = (640, 320)
"""Of the layers in their declared order."""
CHANGES = 20
LONGEST_MS = 300
"""Between two pictures, however the layer or the source changes."""


@pytest.fixture
async def engine() -> AsyncIterator[LiveEngine]:
    engine = open_engine(EngineConfig(bind="127.0.0.1", udp_port=0))
    yield engine
    await engine.close()


async def publish(browser: Browser, engine: LiveEngine) -> tuple[ChromiumPeer, Producer]:
    """A camera that sends both its layers."""
    peer = await ChromiumPeer.open(browser, engine)
    await peer.publish_layers(LARGE, SMALL)
    applied = await peer.connect()
    [producer] = applied.producers.values()
    for layer in range(2):
        await peer.ear.hear(LayerActive, lambda event, layer=layer: event.layer == layer)  # type: ignore[misc]
    return peer, producer


async def watch(browser: Browser, engine: LiveEngine, source: Producer) -> tuple[ChromiumPeer, Consumer]:
    """A viewer who has seen a while of the large layer."""
    viewer = await ChromiumPeer.open(browser, engine)
    [consumer] = (await viewer.view([Kind.VIDEO])).consumers.values()
    consumer.set_source(source, LayerPolicy(target=0))
    await viewer.until(f"peer.shown().width === {WIDTHS[0]} && peer.shown().count > 60")
    await viewer.page.evaluate("peer.watchAnew()")
    return viewer, consumer


async def assert_smooth(viewer: ChromiumPeer, engine: LiveEngine, before: int, ssrc: int) -> None:
    """Nothing froze, no stream but the one was seen, and no change has cost more than one request."""
    shown = await viewer.page.evaluate("peer.shown()")
    [video] = await viewer.stats("inbound-rtp", "video")

    assert shown["longest_ms"] <= LONGEST_MS
    assert video["freezeCount"] == 0
    assert video["packetsLost"] == 0
    assert video["ssrc"] == ssrc
    assert engine.counters()["keyframe_requests_out"] - before <= CHANGES


async def test_twenty_changes_of_the_layer_are_seen_as_another_size(browser: Browser, engine: LiveEngine) -> None:
    publisher, producer = await publish(browser, engine)
    viewer, consumer = await watch(browser, engine, producer)
    [video] = await viewer.stats("inbound-rtp", "video")
    before = engine.counters()["keyframe_requests_out"]

    for change in range(1, CHANGES + 1):
        layer = change % 2
        consumer.set_policy(LayerPolicy(target=layer))
        await viewer.until(f"peer.shown().width === {WIDTHS[layer]}")
        count = (await viewer.page.evaluate("peer.shown()"))["count"]
        await viewer.until(f"peer.shown().count >= {count + 30}")

    await assert_smooth(viewer, engine, before, video["ssrc"])
    assert [event.layer for event in viewer.ear.of(ConsumerLayer)] == [n % 2 for n in range(CHANGES + 1)]
    assert publisher.ear.of(LayerDemand)[-1].layers == (0,)


async def test_twenty_changes_of_the_source_are_seen_without_a_pause(browser: Browser, engine: LiveEngine) -> None:
    sources = [await publish(browser, engine) for _ in range(2)]
    viewer, consumer = await watch(browser, engine, sources[0][1])
    [video] = await viewer.stats("inbound-rtp", "video")
    before = engine.counters()["keyframe_requests_out"]

    # The layers say which source is seen.
    for change in range(1, CHANGES + 1):
        chosen = change % 2
        consumer.set_source(sources[chosen][1], LayerPolicy(target=chosen))
        await viewer.until(f"peer.shown().width === {WIDTHS[chosen]}")
        count = (await viewer.page.evaluate("peer.shown()"))["count"]
        await viewer.until(f"peer.shown().count >= {count + 30}")

    await assert_smooth(viewer, engine, before, video["ssrc"])


async def test_a_layer_that_chromium_stops_is_replaced_until_it_returns(browser: Browser, engine: LiveEngine) -> None:
    publisher, producer = await publish(browser, engine)
    viewer, consumer = await watch(browser, engine, producer)
    consumer.set_policy(LayerPolicy(target=0, when_missing=(1,)))

    await publisher.page.evaluate("peer.setActive('a', false)")
    await viewer.until(f"peer.shown().width === {WIDTHS[1]}", within_s=3)
    await publisher.page.evaluate("peer.setActive('a', true)")
    await viewer.until(f"peer.shown().width === {WIDTHS[0]}", within_s=10)
