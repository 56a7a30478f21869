"""What the load generator says, one JSON object a line, as values; and what to make of the sum."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

MOST_LOST = 0.01
"""Of the packets that should have come: more than this is a failed run."""


class Reading(BaseModel):
    """One line. What it holds beyond these fields is for `--json` and the benchmarks."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Latency(Reading):
    """From the publisher's clock to the subscriber's, in microseconds; the same machine has both."""

    p50: float = 0.0
    p99: float = 0.0
    p999: float = 0.0


class Started(Reading):
    """Everybody has joined, or will not."""

    type: Literal["started"] = "started"
    clients: int
    joined: int
    join_s: float


class Mark(Reading):
    """The ends of what is measured."""

    type: Literal["measuring", "measured"]


class Second(Reading):
    """What happened in one second."""

    type: Literal["second"] = "second"
    t: float
    """Seconds since everybody had joined."""
    packets_out: int
    packets_in: int
    bytes_in: int
    lost: int
    """Below zero when more was repaired than lost."""
    latency_us: Latency


class Spread(Reading):
    """Of a duration, in milliseconds."""

    p50: float = 0.0
    p99: float = 0.0
    max: float = 0.0


class Summary(Reading):
    """The whole of what was measured, warm-up left out."""

    type: Literal["summary"] = "summary"
    clients: int
    rooms: int
    joined: int
    failed: tuple[str, ...]
    """Why clients are not there, each with the client's name."""
    duration_s: float
    packets_sent: int
    packets_received: int
    bytes_received: int
    expected: int
    lost: int
    """Missing after repair."""
    repaired: int
    bad_length: int
    bad_open: int
    longest_media_gap_ms: float
    latency_us: Latency
    signalling_ms: Spread

    @property
    def lost_share(self) -> float:
        """Of the packets expected, 0 to 1."""
        return self.lost / self.expected if self.expected else 0.0


Line = Started | Mark | Second | Summary

_ANY_LINE: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="type")])


def read_line(text: str) -> Line:
    """Raises ValueError when it is not a line of the load generator that this version knows."""
    try:
        return _ANY_LINE.validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise ValueError(f"{where}: {fault['msg'].lower()}" if where else fault["msg"].lower()) from None


def faults(summary: Summary, *, expects_media: bool) -> Iterator[str]:
    """Why the run failed, a sentence each; nothing when it did not."""
    if summary.failed:
        yield f"{len(summary.failed)} of {summary.clients} clients could not join; the first: {summary.failed[0]}"
    if summary.lost_share > MOST_LOST:
        yield f"{summary.lost_share:.2%} of the packets were lost; {MOST_LOST:.0%} is the most that a good run loses"
    if expects_media and not summary.packets_received:
        yield "no packet arrived"
    if broken := summary.bad_length + summary.bad_open:
        yield f"{broken} packets arrived broken"
