"""Calls over a network that loses packets: a seeded proxy stands between the browsers and the engine."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.udp_proxy import UdpProxy, Weather

from .browser import Client, chromium
from .server import Server, running_server, token

pytestmark = [pytest.mark.anyio, pytest.mark.native, pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(180)]

timed = pytest.mark.flaky(reruns=1, only_rerun=["assert"])
"""How long a picture stands still belongs to the machine as well (`test_page.py` says why); a rerun shows."""

SOURCES = ("camera", "microphone")
ENGINE_COUNTERS = (
    "rtp_in", "rtp_out", "nacks_out", "repaired_in", "given_up", "nacks_in", "retransmitted", "nack_ahead",
    "nack_missed", "nack_repeated", "nack_over_budget", "keyframe_requests_in", "keyframe_requests_late",
    "keyframe_requests_out", "keyframes_in",
)  # fmt: skip
WARM_UP_S = 10.0
SAMPLE_S = 0.05


@dataclass(frozen=True)
class View:
    """One side of the call: whose page, and whom it sees."""

    client: Client
    other: str

    async def inbound(self) -> dict[str, Any]:
        """The inbound-rtp report of each source."""
        return {source: await self.client.call("inbound", self.other, source) for source in SOURCES}

    async def longest_gap_s(self, watched_s: float) -> float:
        """Watch for so long; the longest time in which no further picture was decoded."""
        script = """async ([identity, forMs, everyMs]) => {
            const end = performance.now() + forMs;
            let count = -1, since = performance.now(), longest = 0;
            while (performance.now() < end) {
                const { framesDecoded } = await driver.inbound(identity, "camera");
                const now = performance.now();
                if (framesDecoded !== count) {
                    longest = Math.max(longest, now - since);
                    [since, count] = [now, framesDecoded];
                }
                await new Promise((done) => setTimeout(done, everyMs));
            }
            return Math.max(longest, performance.now() - since) / 1000;
        }"""
        return float(await self.client.page.evaluate(script, [self.other, watched_s * 1000, SAMPLE_S * 1000]))


@dataclass(frozen=True)
class Watched:
    """What a stretch of the call was like for one side."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]
    gap_s: float

    def since(self, source: str, name: str) -> float:
        """How much a counter of Chromium's rose."""
        return float(self.after[source].get(name, 0) - self.before[source].get(name, 0))

    def unrepaired(self, source: str) -> float:
        """The share of packets that never arrived, not even as a retransmission.

        What arrives as RTX, under an SSRC of its own, stays in Chromium's `packetsLost`; a packet that is sent again as
        it was, as audio is, is taken out of it (webrtc-stats: `retransmittedPacketsReceived`).
        """
        lost, received = self.since(source, "packetsLost"), self.since(source, "packetsReceived")
        again = self.since(source, "retransmittedPacketsReceived") if source == "camera" else 0.0
        return max(0.0, lost - again) / max(1.0, received + lost)

    @property
    def concealed(self) -> float:
        """The share of sound that had to be made up."""
        silent = self.since("microphone", "silentConcealedSamples")
        return (self.since("microphone", "concealedSamples") - silent) / self.since(
            "microphone", "totalSamplesReceived"
        )

    def __str__(self) -> str:
        counts = {
            source: {name: int(self.since(source, name)) for name in names}
            for source, names in {
                "camera": (
                    "packetsLost", "retransmittedPacketsReceived", "packetsReceived", "nackCount", "pliCount",
                    "framesDecoded", "framesDropped", "freezeCount",
                ),
                "microphone": ("packetsLost", "retransmittedPacketsReceived", "packetsReceived", "packetsDiscarded"),
            }.items()
        }  # fmt: skip
        return f"gap {self.gap_s:.2f} s, concealed {self.concealed:.2%}, {counts}"


@asynccontextmanager
async def call(room: str, seed: int) -> AsyncIterator[tuple[UdpProxy, Server, list[View]]]:
    """Two pages that see and hear each other, still in fair weather."""
    async with (
        UdpProxy(seed=seed) as proxy,
        running_server("--announce", proxy.announce) as server,
        chromium() as browser,
    ):
        proxy.target = ("127.0.0.1", server.udp_port)
        people = {name: await Client.open(browser, server.http) for name in ("ada", "bob")}
        for name, client in people.items():
            await client.call("join", server.ws, token(name, room))
            await client.call("microphone", True)
            await client.call("camera", True, {"resolution": {"width": 640, "height": 480}})
        views = [View(people[a], b) for a, b in itertools.permutations(people, 2)]
        for view in views:
            await view.client.until(
                f"driver.inbound('{view.other}', 'camera').then(s => s?.framesDecoded > 5)", within_s=15
            )
        yield proxy, server, views


async def watch(views: list[View], watched_s: float) -> list[Watched]:
    """Look at every side for so long, after a warm-up in which the browsers' estimators settle."""
    await asyncio.sleep(WARM_UP_S)  # a real time, not an event
    before = [await view.inbound() for view in views]
    gaps = await asyncio.gather(*(view.longest_gap_s(watched_s) for view in views))
    after = [await view.inbound() for view in views]
    watched = [Watched(*each) for each in zip(before, after, gaps, strict=True)]
    for view, seen in zip(views, watched, strict=True):
        print(f"{view.other}: {seen}")
    return watched


def lost_share(proxy: UdpProxy) -> dict[str, float]:
    return {way: counts["lost"] / counts["in"] for way, counts in proxy.counts.items()}


@timed
async def test_a_minute_of_losses_and_bursts_each_way_is_repaired(room_name: str, seed: int) -> None:
    async with call(room_name, seed) as (proxy, _, views):
        proxy.up = proxy.down = Weather(loss=0.02, burst_loss=0.01, burst=5)
        watched = await watch(views, 60.0)

    for way, share in lost_share(proxy).items():
        assert 0.02 < share < 0.04, f"the network lost {share:.1%} {way}: something else was tested"
    for view, seen in zip(views, watched, strict=True):
        for source in SOURCES:
            assert seen.unrepaired(source) <= 0.002, f"{view.other}'s {source} lost {seen.unrepaired(source):.2%}"
        assert seen.gap_s <= 0.5, f"{view.other}'s picture stood still for {seen.gap_s:.2f} s"


@timed
async def test_a_call_that_loses_a_tenth_each_way_stays_intelligible(room_name: str, seed: int) -> None:
    watched_s = 20.0
    async with call(room_name, seed) as (proxy, server, views):
        proxy.up = proxy.down = Weather(loss=0.1)
        start = await server.metrics()
        watched = await watch(views, watched_s)
        end = await server.metrics()

    for way, share in lost_share(proxy).items():
        assert 0.07 < share < 0.12, f"the network lost {share:.1%} {way}: something else was tested"
    for view, seen in zip(views, watched, strict=True):
        assert seen.unrepaired("microphone") <= 0.01, f"{view.other}: {seen}"
        assert seen.concealed <= 0.05, f"{view.other}: {seen}"
        assert seen.since("camera", "framesDecoded") >= 10 * watched_s, f"{view.other}: {seen}"
        assert seen.gap_s <= 2.0, f"{view.other}: {seen}"

    rose = {name: end[name] - start[name] for name in end}

    def count(counter: str) -> float:
        return rose[f'parley_engine_total{{counter="{counter}"}}']

    seconds = WARM_UP_S + watched_s
    print({name: count(name) for name in ENGINE_COUNTERS})
    # Two pictures, each of one layer.
    assert count("keyframe_requests_out") <= 2 * 2 * seconds
    # A lost packet costs 1.1 questions and repeats where one in ten fails; a storm would cost many.
    assert count("nacks_out") <= 0.25 * count("rtp_in")
    assert count("retransmitted") <= 0.25 * count("rtp_out")
