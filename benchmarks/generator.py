"""The load generator on a core of its own, and what the server spent while it measured."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import GENERATOR_CORE, CpuTime
from benchmarks.server import Server

ROOT = Path(__file__).parents[1]
BINARY = ROOT / "src" / "parley" / "_loadgen"
PATIENCE_S = 120.0
"""Beyond warm-up and duration, for joining and leaving."""

Line = dict[str, Any]


@dataclass
class Run:
    """One run: the generator's lines, and the server's CPU between `measuring` and `measured`."""

    seconds: list[Line] = field(default_factory=list)
    """Those of the measured window."""
    summary: Line = field(default_factory=dict)
    spent: CpuTime | None = None

    @property
    def received(self) -> int:
        """Media packets that arrived in the window."""
        return int(self.summary["packets_received"])

    @property
    def lost_share(self) -> float:
        """Of the packets that should have come, after repair."""
        expected = self.summary["expected"]
        return float(self.summary["lost"]) / expected if expected else 0.0

    @property
    def us_per_packet(self) -> float:
        """The server's CPU for each packet it forwarded, in microseconds."""
        assert self.spent is not None
        return self.spent.spent * 1e6 / self.received

    @property
    def utilisation(self) -> float:
        """The server's share of its core, 0 to 1."""
        assert self.spent is not None
        return self.spent.spent / self.spent.at

    @property
    def generator_utilisation(self) -> float:
        """The generator's own: near 1 it is the generator that was measured."""
        return float(self.summary["generator_cpu_s"]) / float(self.summary["duration_s"])


def load(
    server: Server, *flags: str, warmup_s: float, duration_s: float, heard: Callable[[Line], None] | None = None
) -> Run:
    """Put a load on the server and measure it. heard: is given every line as it comes. Raises SystemExit."""
    run, began = Run(), None
    window = ["--warmup", f"{warmup_s:g}", "--duration", f"{duration_s:g}"]
    for line in lines(server, *window, *flags, limit_s=warmup_s + duration_s + PATIENCE_S):
        if heard is not None:
            heard(line)
        match line["type"]:
            case "measuring":
                began = server.cpu_time()
            case "measured":
                assert began is not None, "what ends has begun"
                run.spent = server.cpu_time() - began
            case "second" if began is not None and run.spent is None:
                run.seconds.append(line)
            case "summary":
                run.summary = line
    if not run.summary or run.spent is None:
        raise SystemExit("the load generator ended without a summary")
    if failed := run.summary["failed"]:
        raise SystemExit(f"{len(failed)} of {run.summary['clients']} clients could not join; the first: {failed[0]}")
    if broken := run.summary["bad_length"] + run.summary["bad_open"]:
        raise SystemExit(f"{broken} packets were not what was sent")
    return run


def lines(server: Server, *arguments: str, limit_s: float) -> Iterator[Line]:
    """Run the generator and yield what it says. Raises SystemExit when it fails or takes longer."""
    command = [str(BINARY), *arguments, "--url", server.url, "--api-key", "devkey", "--api-secret", "secret", "--json"]
    command += ["--cpu", str(GENERATOR_CORE)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    watchdog = threading.Timer(limit_s, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        for text in process.stdout:
            yield json.loads(text)
        # 1: clients could not join, which its summary tells better.
        if (status := process.wait()) not in (0, 1):
            raise SystemExit(f"the load generator failed with status {status}")
    finally:
        watchdog.cancel()
        if process.poll() is None:
            process.terminate()
            process.wait()
