"""When the next offer is due: one at a time, and changes that come together travel together."""

from __future__ import annotations

GATHER_S = 0.010
"""How long a change waits for others when the connection has been quiet."""
BUSY_GATHER_S = 0.150
"""The same, when the last exchange began less than this long ago."""
SECTION_GATHER_S = 0.010
"""The same for each section that the last offer had: so what an offer costs in a crowd is spread over as much time."""
MOST_GATHER_S = 2.0


class OfferClock:
    """Says when to make an offer; times are seconds on the injected monotonic clock."""

    def __init__(self) -> None:
        self._due: float | None = None
        self._last = float("-inf")
        self._gather_s = BUSY_GATHER_S
        self._outstanding = False

    @property
    def due(self) -> float | None:
        """When an offer is to be made; None while none is wanted or one is still unanswered."""
        return None if self._outstanding else self._due

    def want(self, now: float, *, at_once: bool = False) -> None:
        """Something has changed that needs an offer."""
        wait = 0.0 if at_once else self._gather_s if now - self._last < self._gather_s else GATHER_S
        self._due = now + wait if self._due is None else min(self._due, now + wait)

    def offered(self, now: float, sections: int) -> None:
        """An offer with this many sections went out; changes from here on wait for its answer."""
        self._gather_s = min(max(BUSY_GATHER_S, sections * SECTION_GATHER_S), MOST_GATHER_S)
        self._due = None
        self._last = now
        self._outstanding = True

    def nothing_to_offer(self) -> None:
        """It turned out that no offer was needed."""
        self._due = None

    def settled(self, now: float) -> None:
        """The offer was answered or withdrawn; what was wanted meanwhile is due now."""
        self._outstanding = False
        if self._due is not None:
            self._due = max(self._due, now)
