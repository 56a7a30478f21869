"""Reliable messages that wait for one participant's channel, in order and within a bound."""

from __future__ import annotations

from collections import deque


class Outbox:
    """When it is full, the newest message is left out and counted: those before it keep their order."""

    def __init__(self, limit_bytes: int) -> None:
        self.left_out = 0
        """Messages that found it full."""
        self._limit_bytes = limit_bytes
        self._held: deque[tuple[str, bytes]] = deque()
        self._bytes = 0

    @property
    def waiting(self) -> int:
        return len(self._held)

    def hold(self, label: str, message: bytes) -> None:
        """Keep a message for the channel with this label."""
        if self._bytes + len(message) > self._limit_bytes:
            self.left_out += 1
            return
        self._held.append((label, message))
        self._bytes += len(message)

    def next(self) -> tuple[str, bytes] | None:
        """The oldest message and its label; it stays until `done`."""
        return self._held[0] if self._held else None

    def done(self) -> None:
        """The oldest message has been sent."""
        _, message = self._held.popleft()
        self._bytes -= len(message)
