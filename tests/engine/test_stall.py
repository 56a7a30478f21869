"""A Python that does not answer: signalling may wait, media and memory must not suffer."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser

from parley.engine.events import ChannelOpen, FirstPacket
from parley.engine.specs import Kind
from tests.engine.chromium import ChromiumPeer
from tests.engine.conftest import CONFIG, HAS_NATIVE, NEEDS_CHROMIUM
from tests.engine.inbox import Inbox

if HAS_NATIVE:
    from parley.engine.live import LiveEngine, open_engine

pytestmark = NEEDS_CHROMIUM

STALL_S = 1.0

WATCH = """
window.arrivals = [];
setInterval(async () => {
  const [s] = await peer.stats("inbound-rtp", "audio");
  if (s) arrivals.push([performance.timeOrigin + performance.now(), s.packetsReceived]);
}, 50);
"""

FLOOD = """async () => {
  const bytes = "x".repeat(16384);
  let sent = 0;
  window.flooded = (async () => {
    while (sent < 32 * 64) {
      while (channels.flood.bufferedAmount > 1 << 20) await new Promise((r) => setTimeout(r, 5));
      peer.send("flood", bytes);
      sent += 1;
    }
  })();
}"""


@pytest.fixture
async def engine() -> AsyncIterator[LiveEngine]:
    engine = open_engine(CONFIG)
    yield engine
    await engine.close()


async def test_media_flows_while_the_interpreter_is_held(browser: Browser, engine: LiveEngine) -> None:
    speaker = await ChromiumPeer.open(browser, engine)
    await speaker.publish("audio")
    listener = await ChromiumPeer.open(browser, engine)
    published = await speaker.connect()
    viewed = await listener.view([Kind.AUDIO])
    [producer], [consumer] = published.producers.values(), viewed.consumers.values()
    consumer.set_source(producer)
    await speaker.ear.hear(FirstPacket)
    await listener.until("peer.stats('inbound-rtp', 'audio').then(s => s[0]?.packetsReceived > 50)")
    await listener.page.evaluate(WATCH)
    await listener.until("arrivals.length > 5")

    began = time.time()
    hold_the_interpreter(STALL_S)
    ended = time.time()
    arrivals = await listener.page.evaluate("arrivals")

    during = [packets for at, packets in arrivals if began <= at / 1000 <= ended]
    assert ended - began >= STALL_S
    # Opus sends 50 packets a second; the page's clock and ours agree to a few milliseconds.
    assert during[-1] - during[0] >= 50 * STALL_S * 0.8


async def test_a_loop_that_stalls_under_a_flood_takes_bounded_memory(browser: Browser, engine: LiveEngine) -> None:
    peer = await ChromiumPeer.open(browser, engine)
    await peer.open_channel("flood")
    await peer.connect()
    channel = (await peer.ear.hear(ChannelOpen)).channel
    inbox = Inbox()
    channel.listen(inbox)
    await peer.until("peer.isOpen('flood')")
    before = resident_bytes()

    await peer.page.evaluate(FLOOD)
    time.sleep(2 * STALL_S)  # noqa: ASYNC251, the loop is what stalls
    grown = resident_bytes() - before
    received = [await inbox.next() for _ in range(32 * 64)]

    assert grown < 16 << 20, f"{grown >> 20} MiB were taken for 32 MiB sent"
    assert all(len(message.data) == 16_384 for message in received)


def resident_bytes() -> int:
    """What this process holds in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def hold_the_interpreter(seconds: float) -> None:
    """Sleep without letting go: no other thread of Python runs meanwhile."""
    # PyDLL, unlike CDLL, keeps the interpreter locked during the call.
    ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
