"""Session descriptions (RFC 8866) as values: a tolerant parser and a strict writer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Direction(Enum):
    """Which way media flows on a section (RFC 8866 §6.7); the value is the attribute's name."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        """Whether the side that states it sends."""
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        """Whether the side that states it receives."""
        return self in (Direction.SENDRECV, Direction.RECVONLY)


@dataclass(frozen=True, slots=True)
class Msid:
    """The stream and the track that a section belongs to (RFC 8830)."""

    stream: str
    """`-` for a track without a stream."""
    track: str = ""
    """Empty where the peer states only a stream."""
