"""Deadlines: who has to be looked at again, and when. Plain functions of the time they are given."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Leases(Generic[K]):
    """At most one deadline for each key, on a clock of which this knows nothing.

    Setting, dropping and taking cost O(log n); replaced deadlines stay in the heap until they pass.
    """

    def __init__(self) -> None:
        self._at: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._at)

    def __contains__(self, key: K) -> bool:
        return key in self._at

    def set(self, key: K, at: float) -> None:
        """Give this key a deadline, in place of any it had."""
        self._at[key] = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, key))
        if len(self._heap) > 64 + 4 * len(self._at):
            self._rebuild()

    def drop(self, key: K) -> None:
        """Take the deadline away, if there is one."""
        self._at.pop(key, None)

    def due(self, now: float) -> list[K]:
        """Take every key whose deadline has passed, oldest first. A key is taken once.

        now: seconds on the clock that `set` was given times of, never wall time.
        """
        taken = []
        while self._heap and self._heap[0][0] <= now:
            at, _, key = heapq.heappop(self._heap)
            if self._at.get(key) == at:
                del self._at[key]
                taken.append(key)
        return taken

    def _rebuild(self) -> None:
        self._heap = [entry for entry in self._heap if self._at.get(entry[2]) == entry[0]]
        heapq.heapify(self._heap)
