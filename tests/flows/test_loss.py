"""A call over a network that loses packets: a seeded proxy stands between the browsers and the engine."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from tests.udp_proxy import UdpProxy, Weather

from .browser import Client, chromium
from .server import running_server, token

pytestmark = [pytest.mark.anyio, pytest.mark.native, pytest.mark.browser]

WARM_UP_S = 5.0
WATCHED_S = 60.0
SAMPLE_S = 0.1
FREEZE_LIMIT_S = 1.0
LOSS_LIMIT = 0.01


def unrepaired(before: Mapping[str, Any], after: Mapping[str, Any]) -> float:
    """The share of packets that never arrived, not even as a retransmission, between two inbound-rtp reports.

    What arrives as RTX, under an SSRC of its own, stays in Chromium's `packetsLost`; a packet that is sent again as it
    was, as audio is, is taken out of it (webrtc-stats: `retransmittedPacketsReceived`).
    """
    lost, received, again = (
        after.get(name, 0) - before.get(name, 0)
        for name in ("packetsLost", "packetsReceived", "retransmittedPacketsReceived")
    )
    print(f"  lost {lost}, received {received}, again {again}")
    repaired = again if after["kind"] == "video" else 0
    return float(max(0, lost - repaired) / max(1, received + lost))


async def longest_gap_s(client: Client, identity: str) -> float:
    """The longest time in which no further picture of this participant was decoded."""
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
    return float(await client.page.evaluate(script, [identity, WATCHED_S * 1000, SAMPLE_S * 1000]))


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_minute_of_two_percent_loss_each_way_is_repaired(room_name: str, seed: int) -> None:
    fair = Weather()
    async with (
        UdpProxy(up=fair, down=fair, seed=seed) as proxy,
        running_server("--announce", proxy.announce) as server,
        chromium() as browser,
    ):
        proxy.target = ("127.0.0.1", server.udp_port)
        people = {name: await Client.open(browser, server.http) for name in ("ada", "bob")}
        for name, client in people.items():
            await client.call("join", server.ws, token(name, room_name))
            await client.call("microphone", True)
            await client.call("camera", True, {"resolution": {"width": 640, "height": 480}})
        pairs = [(people[a], b) for a, b in itertools.permutations(people, 2)]
        for client, other in pairs:
            await client.until(f"driver.inbound('{other}', 'camera').then(s => s?.framesDecoded > 5)", within_s=15)

        proxy.up = proxy.down = Weather(loss=0.02)
        await asyncio.sleep(WARM_UP_S)  # the estimators of the browsers settle: a real time, not an event
        sources = ("camera", "microphone")
        before = [{s: await client.call("inbound", other, s) for s in sources} for client, other in pairs]
        gaps = await asyncio.gather(*(longest_gap_s(client, other) for client, other in pairs))
        after = [{s: await client.call("inbound", other, s) for s in sources} for client, other in pairs]

    for direction, counts in proxy.counts.items():
        share = counts["lost"] / counts["in"]
        assert 0.01 < share < 0.03, f"the network lost {share:.1%} {direction}: nothing was tested"
    for (_, other), start, end, gap in zip(pairs, before, after, gaps, strict=True):
        for source in sources:
            loss = unrepaired(start[source], end[source])
            print(f"{other} {source}: {loss:.3%} unrepaired of {end[source]['packetsReceived']}, gap {gap:.2f} s")
            assert loss < LOSS_LIMIT, f"{other}'s {source} lost {loss:.2%}"
        assert gap < FREEZE_LIMIT_S, f"{other}'s picture stood still for {gap:.2f} s"
