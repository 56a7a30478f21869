"""What a load test is asked to be, within bounds, and how the load generator is told."""

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit

MOST_CLIENTS = 10_000
"""In all rooms together: a machine has 28,000 ports for its own use, and a client takes two."""


class Media(StrEnum):
    """What the publishers send."""

    VIDEO = "video"
    AUDIO = "audio"
    BOTH = "both"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Plan:
    """One load test. Raises ValueError, naming the option and its bound."""

    url: str
    rooms: int = 1
    publishers: int = 1
    """In each room; so are the subscribers."""
    subscribers: int = 10
    media: str = Media.VIDEO
    warmup_s: float = 3
    """From everybody being in to the start of measuring."""
    duration_s: float = 30
    join_over_s: float = 0
    """Over how long the joins are spread; 0: as fast as they go."""

    def __post_init__(self) -> None:
        address = urlsplit(self.url)
        if address.scheme == "wss":
            raise ValueError(f"--url {self.url}: the load generator speaks no TLS; name the ws:// address behind it")
        if address.scheme != "ws" or not address.hostname:
            raise ValueError(f"--url {self.url}: write it as ws://host:port")
        if self.media not in list(Media):
            raise ValueError(f"--media {self.media}: one of {', '.join(Media)}")
        _within("--rooms", self.rooms, 1, 1000)
        _within("--publishers", self.publishers, 0, 1000)
        _within("--subscribers", self.subscribers, 0, MOST_CLIENTS)
        _within("--warmup", self.warmup_s, 0, 600, "s")
        _within("--duration", self.duration_s, 1, 86_400, "s")
        _within("--join-over", self.join_over_s, 0, 3600, "s")
        if not 1 <= self.clients <= MOST_CLIENTS:
            raise ValueError(
                f"--rooms {self.rooms} of {self.publishers} --publishers and {self.subscribers} --subscribers are "
                f"{self.clients} clients: 1 to {MOST_CLIENTS} are possible"
            )

    @property
    def clients(self) -> int:
        """How many there are in all rooms together."""
        return self.rooms * (self.publishers + self.subscribers)

    @property
    def expects_media(self) -> bool:
        """Whether anybody is there to receive what somebody sends."""
        return self.media != Media.NONE and self.publishers > 0 and self.publishers + self.subscribers > 1

    def arguments(self) -> list[str]:
        """The load generator's, without the key and its secret."""
        return [
            *("--url", self.url),
            *("--rooms", str(self.rooms)),
            *("--publishers", str(self.publishers)),
            *("--subscribers", str(self.subscribers)),
            *("--media", self.media),
            *("--warmup", f"{self.warmup_s:g}"),
            *("--duration", f"{self.duration_s:g}"),
            *("--join-over", f"{self.join_over_s:g}"),
            "--json",
        ]


def _within(option: str, value: float, least: int, most: int, unit: str = "") -> None:
    if not least <= value <= most:
        raise ValueError(f"{option} {value:g}{unit}: {least} to {most}{unit} are possible")
