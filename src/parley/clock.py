"""Time as something that is passed in: one clock for deadlines, one for dates."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What anything that needs the time is given."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment, never going back: for deadlines and durations."""
        ...

    def wall(self) -> float:
        """Seconds since 1970-01-01 UTC: for what people read. It may jump."""
        ...


class SystemClock:
    """The machine's own clock."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()
