"""Reliable messages that wait for one participant's channel, in order and within a bound."""

from __future__ import annotations

from collections import deque


class Outbox:
    """When it is full, the newest message is left out and counted: those before it keep their order."""

    def __init__(self, limit_bytes: int) -> None:
        self.left_out = 0
        """Messages that found it full."""
        self._limit_bytes = limit_bytes
        self._held: deque[bytes] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        """Messages that wait."""
        return len(self._held)

    def hold(self, message: bytes) -> bool:
        """Keep a message; False when there is no room for it."""
        if self._bytes + len(message) > self._limit_bytes:
            self.left_out += 1
            return False
        self._held.append(message)
        self._bytes += len(message)
        return True

    def next(self) -> bytes | None:
        """The oldest message; it stays until `done`."""
        return self._held[0] if self._held else None

    def done(self) -> None:
        """The oldest message has been sent."""
        self._bytes -= len(self._held.popleft())
