"""The load generator against a running server: what it counts is what a call without loss looks like."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from .server import REPOSITORY, Server

pytestmark = [pytest.mark.anyio, pytest.mark.native, pytest.mark.slow]

LOADGEN = REPOSITORY / "target" / "debug" / "examples" / "loadgen"
BUILD = "cargo build -p parley-sfu --example loadgen"


async def run_loadgen(server: Server, *arguments: str, status: int = 0) -> list[dict[str, Any]]:
    """Run it to its end; what it said, a dict a line."""
    assert LOADGEN.exists(), f"the load generator is not built; run: {BUILD}"
    process = await asyncio.create_subprocess_exec(
        LOADGEN, "--json", "--url", server.ws, *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        said = [json.loads(line) async for line in process.stdout]
        assert await process.wait() == status
        return said
    finally:
        if process.returncode is None:
            process.kill()


async def test_five_receive_camera_microphone_and_messages_of_one_without_loss(server: Server, room_name: str) -> None:
    said = await run_loadgen(
        server, "--room", room_name, "--subscribers", "5", "--media", "both",
        "--data-bytes", "500", "--data-rate", "20", "--warmup", "1", "--duration", "3",
    )  # fmt: skip

    kinds = [line["type"] for line in said]
    assert [kind for kind in kinds if kind != "second"] == ["started", "measuring", "measured", "summary"]
    assert kinds[kinds.index("measuring") : kinds.index("measured")].count("second") == 3
    summary = said[-1]
    assert summary["joined"] == summary["clients"] == 6
    assert summary["failed"] == []
    # 231 packets a second of video and 50 of audio, to each of five, for three seconds.
    assert 0.9 < summary["packets_received"] / (281 * 5 * 3) < 1.1
    assert (summary["lost"], summary["bad_length"], summary["bad_open"], summary["unknown"]) == (0, 0, 0, 0)
    assert summary["lengths_checked"] == summary["packets_received"]
    assert summary["opened"] > 30
    assert 0 < summary["latency_us"]["p50"] < 20_000
    assert summary["first_media_ms"]["count"] == 5
    data = summary["data"]
    assert data["lost"] == data["held_back"] == 0
    assert 0.8 < data["received"] / (20 * 5 * 3) < 1.2
    assert 0 < data["latency_us"]["p50"] < 100_000


async def test_what_the_network_loses_on_purpose_is_repaired(server: Server, room_name: str) -> None:
    said = await run_loadgen(
        server, "--room", room_name, "--subscribers", "3", "--media", "both",
        "--loss-up", "2", "--loss-down", "2", "--burst", "2", "--warmup", "1", "--duration", "3",
    )  # fmt: skip

    summary = said[-1]
    assert summary["repaired"] > 20
    assert summary["nacks_sent"] >= summary["repaired"]
    assert summary["retransmitted"] > 5
    assert summary["lost"] <= 0.002 * summary["expected"]


async def test_a_token_that_is_refused_is_told_and_never_repeated(server: Server, room_name: str) -> None:
    said = await run_loadgen(
        server, "--room", room_name, "--subscribers", "1", "--api-secret", "wrong",
        "--warmup", "0", "--duration", "0.2", status=1,
    )  # fmt: skip

    started = said[0]
    assert started["joined"] == 0
    assert len(started["failed"]) == 2
    assert all("refused with 401" in why and "eyJ" not in why for why in started["failed"])


async def test_connects_are_timed_one_by_one(server: Server, room_name: str) -> None:
    said = await run_loadgen(server, "connects", "5", "--room", room_name, "--media", "audio")

    summary = said[-1]
    assert summary["connects"] == 5
    assert summary["failed"] == []
    assert summary["connect_ms"]["count"] == summary["first_media_ms"]["count"] == 5
    assert 0 < summary["signalling_ms"]["p50"] <= summary["connect_ms"]["p50"] <= summary["first_media_ms"]["p50"]
