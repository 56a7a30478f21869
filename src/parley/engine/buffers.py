"""Whether the kernel's buffers of the media socket suffice: told at the start, and while they overflow."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import structlog

log = structlog.get_logger(__name__)

WANTED_BYTES = 4 * 1024 * 1024
"""What the engine asks for in each direction, so that a burst of keyframes fits."""
LOOK_EVERY_S = 5.0
WARN_EVERY_S = 60.0

_LIMITS = {"receive_buffer_bytes": "net.core.rmem_max", "send_buffer_bytes": "net.core.wmem_max"}
_DROPS = {
    "drop_in_full": "packets were lost before they were read: the receive buffer was full",
    "drop_out_full": "packets were not sent: the send buffer stayed full",
}


def warn_of_small(counters: Mapping[str, int]) -> None:
    """Log a warning, with what to set, for each direction in which the kernel gave less than was asked for.

    counters: the engine's. The kernel tells twice what it gave (socket(7)), and 0 where it does not tell.
    """
    for name, setting in _LIMITS.items():
        given = counters.get(name, 0) // 2
        if 0 < given < WANTED_BYTES:
            log.warning(
                "the kernel allows a small socket buffer only", bytes=given, fix=f"sysctl -w {setting}={WANTED_BYTES}"
            )


class Overflows:
    """Notices that the buffers overflow, and says so once a minute while they do."""

    def __init__(self) -> None:
        self._told: dict[str, int] = {}
        self._quiet_until: dict[str, float] = {}

    def look(self, counters: Mapping[str, int], now: float) -> None:
        """Compare with what was told before. now: seconds on a monotonic clock."""
        for name, text in _DROPS.items():
            dropped = counters.get(name, 0)
            more = dropped - self._told.get(name, 0)
            if more > 0 and now >= self._quiet_until.get(name, now):
                log.warning(text, packets=more, since_start=dropped)
                self._told[name] = dropped
                self._quiet_until[name] = now + WARN_EVERY_S


async def watch(counters: Callable[[], Mapping[str, int]]) -> None:
    """Look every few seconds; runs until cancelled."""
    overflows = Overflows()
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        overflows.look(counters(), loop.time())
