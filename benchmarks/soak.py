"""A call for an hour with joins and leaves: `python -m benchmarks.soak --minutes 60`. Says what grew meanwhile.

Four people with camera, microphone and messages call each other; every twenty seconds one of them leaves and
another joins. Every five seconds the server is looked at. After a tenth of the time, when its caches have filled, a
straight line is laid through each series; its slope is the answer.

With `--rounds N`, two hundred sessions of the Cloudflare API are made and dropped N times instead, in some 15 s each,
and the line is laid through what the server holds between the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import generator, machine, server
from benchmarks.server import Server

ROOT = Path(__file__).parents[1]
LOG = ROOT / "target" / "soak.jsonl"
SAMPLE_S = 5.0
CALL = ["--publishers", "4", "--subscribers", "0", "--media", "both", "--churn", "20"]
CALL += ["--data-bytes", "1024", "--data-rate", "5"]

HELD = ("transports", "producers", "consumers", "channels")


def look(running: Server) -> dict[str, float]:
    """What the server holds now: memory in KiB, descriptors, threads, and the engine's objects."""
    process = Path(f"/proc/{running.process.pid}")
    metrics = running.metrics()
    objects = {kind: metrics[f'parley_engine_objects{{kind="{kind}"}}'] for kind in HELD}
    return {
        "memory_kib": running.resident_bytes() / 1024,
        "descriptors": len(os.listdir(process / "fd")),
        "threads": len(os.listdir(process / "task")),
        **objects,
    }


def slope_per_hour(series: Sequence[tuple[float, float]]) -> float:
    """Of the straight line with the least squares through (seconds, value)."""
    count = len(series)
    middle_t, middle_v = (sum(values) / count for values in zip(*series, strict=True))
    spread = sum((t - middle_t) ** 2 for t, _ in series)
    together = sum((t - middle_t) * (v - middle_v) for t, v in series)
    return together / spread * 3600 if spread else 0.0


def soak(minutes: float) -> None:
    samples: list[dict[str, float]] = []
    began = time.monotonic()
    with server.running() as running, LOG.open("w") as log:
        before = look(running)

        def heard(line: generator.Line) -> None:
            if line["type"] != "second" or (samples and time.monotonic() - began - samples[-1]["t"] < SAMPLE_S):
                return
            samples.append({"t": time.monotonic() - began, **look(running)})
            log.write(json.dumps({**samples[-1], "lost": line["lost"], "latency_us": line["latency_us"]}) + "\n")
            log.flush()

        run = generator.load(running, *CALL, warmup_s=10, duration_s=minutes * 60, heard=heard)
        time.sleep(2 * SAMPLE_S)  # for those who left last
        after = look(running)

    settled = [sample for sample in samples if sample["t"] > minutes * 6]
    print(machine.about())
    for name in before:
        slope = slope_per_hour([(sample["t"], sample[name]) for sample in settled])
        first, last = settled[0][name], settled[-1][name]
        print(f"{name:<12} before {before[name]:8.0f}   {first:8.0f} to {last:8.0f}   after {after[name]:8.0f}", end="")
        print(f"   {slope:+9.1f} an hour")
    gap_ms = run.summary["longest_media_gap_ms"]
    print(f"{run.received} packets, {run.lost_share:.4%} lost, longest gap {gap_ms:.0f} ms,", end=" ")
    print(f"server {run.utilisation:.1%} of a core; every sample is in {LOG.relative_to(ROOT)}")


SESSIONS = 200
MEETING = ["--cloudflare", "--publishers", "2", "--subscribers", str(SESSIONS - 2), "--media", "both", "--pace", "20"]
SETTLED_ROUND = 3
"""From this round on nothing is held for the first time."""
GONE_WITHIN_S = 30.0


def rounds(count: int) -> None:
    """Say what the server holds after each round of sessions. Raises SystemExit when some never go away."""
    found: list[dict[str, float]] = []
    print(machine.about())
    with server.running() as running:
        for number in range(1, count + 1):
            generator.load(running, *MEETING, warmup_s=1, duration_s=2)
            _await_none(running)
            found.append({"t": float(number), **look(running)})
            print("  ".join(f"{name} {value:.0f}" for name, value in found[-1].items()), flush=True)
    settled = found[min(SETTLED_ROUND, count) - 1 :]
    for name in settled[0]:
        series = [(sample["t"], sample[name]) for sample in settled]
        if name != "t":
            print(f"{name:<12} {slope_per_hour(series) / 3600:+8.1f} a round of {SESSIONS} sessions")


def _await_none(running: Server) -> None:
    deadline = time.monotonic() + GONE_WITHIN_S
    while (left := look(running)["transports"]) > 0:
        if time.monotonic() > deadline:
            raise SystemExit(f"{left:.0f} of {SESSIONS} sessions are still there after {GONE_WITHIN_S:.0f} s")
        time.sleep(0.2)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, help="make and drop two hundred sessions this often instead")
    asked = parser.parse_args()
    rounds(asked.rounds) if asked.rounds else soak(asked.minutes)
