"""Which machine a number was measured on, and what its kernel charges where."""

from __future__ import annotations

import datetime
import gzip
import os
import platform
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
SERVER_CORE, GENERATOR_CORE = 0, 1


def about() -> str:
    """Processor, kernel, interpreter, commit and date, on one line."""
    commit = _said("git", "describe", "--always", "--dirty")
    python = f"CPython {platform.python_version()}"
    rust = " ".join(_said("rustc", "--version").split()[:2])
    parts = [f"{os.cpu_count()} × {_processor()}", f"Linux {platform.release()}", python, rust, f"commit {commit}"]
    return ", ".join([*parts, datetime.date.today().isoformat()])


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


@dataclass(frozen=True)
class CpuTime:
    """What a process and its core have spent so far, in seconds."""

    at: float
    """Monotonic clock."""
    process: float
    softirq: float
    """Of the core, sampled by ticks."""
    ksoftirqd: float
    """Of the core's thread that takes over when interrupts come too fast; nobody's process."""

    def __sub__(self, earlier: CpuTime) -> CpuTime:
        return CpuTime(
            self.at - earlier.at,
            self.process - earlier.process,
            self.softirq - earlier.softirq,
            self.ksoftirqd - earlier.ksoftirqd,
        )

    @property
    def spent(self) -> float:
        """All of it: softirq is already in the process's own time unless the kernel keeps it apart."""
        return self.process + self.ksoftirqd + (self.softirq if SOFTIRQ_IS_APART else 0.0)


def cpu_time(pid: int, core: int = SERVER_CORE) -> CpuTime:
    """Read it now. Raises OSError when the process is gone."""
    keeper = _ksoftirqd(core)
    return CpuTime(
        at=time.monotonic(),
        process=_process_clock(pid),
        softirq=_softirq(core),
        ksoftirqd=_process_clock(keeper) if keeper else 0.0,
    )


def _process_clock(pid: int) -> float:
    # clock_getcpuclockid(3) makes the same number: the process's scheduler clock, which counts nanoseconds.
    return time.clock_gettime((~pid << 3) | 2)


def _softirq(core: int) -> float:
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            # proc(5): user, nice, system, idle, iowait, irq, softirq.
            return int(line.split()[7]) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _ksoftirqd(core: int) -> int | None:
    for name in Path("/proc").glob("[0-9]*/comm"):
        try:
            if name.read_text().strip() == f"ksoftirqd/{core}":
                return int(name.parent.name)
        except OSError:
            continue
    return None


def _softirq_is_apart() -> bool:
    """Whether the kernel takes interrupts out of a process's time (CONFIG_IRQ_TIME_ACCOUNTING)."""
    try:
        settings = gzip.decompress(Path("/proc/config.gz").read_bytes()).decode()
    except OSError:
        try:
            settings = Path(f"/boot/config-{platform.release()}").read_text()
        except OSError:
            return False
    return "CONFIG_IRQ_TIME_ACCOUNTING=y" in settings


SOFTIRQ_IS_APART = _softirq_is_apart()
