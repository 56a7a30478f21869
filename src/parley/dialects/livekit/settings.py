"""What an operator may say about the LiveKit dialect: the `[livekit]` section of the configuration."""

from typing import Literal

from pydantic import Field, SecretStr

from parley.config import Credential, Section


class IceServer(Section):
    """A STUN or TURN server that clients are told of, with static credentials."""

    urls: tuple[str, ...] = Field(min_length=1)
    username: str = ""
    credential: SecretStr = SecretStr("")


class Rooms(Section):
    """How rooms that a join creates behave, unless the token's `roomConfig` says otherwise."""

    auto_create: bool = True
    empty_timeout_s: int = Field(default=300, ge=1)
    """How long a room waits for its first participant."""
    departure_timeout_s: int = Field(default=20, ge=1)
    """How long a room waits for somebody to come back after the last one left."""
    max_participants: int = Field(default=0, ge=0)
    """Seats in a room; 0: no limit."""


class Limits(Section):
    """Bounds of the signalling itself; names and metadata are bounded for all dialects alike."""

    signal_message_bytes: int = Field(default=2 * 1024 * 1024, ge=0)
    """One message of a client; 0: no limit."""
    outgoing_messages: int = Field(default=1024, ge=16)
    """Signal messages waiting for one client's socket; a client that falls further behind is cut off."""
    outgoing_bytes: int = Field(default=8 * 1024 * 1024, ge=64 * 1024)
    """The same in bytes, over all of them; a single message may be larger."""


class Timeouts(Section):
    """Deadlines, in seconds."""

    ping_interval_s: int = Field(default=5, ge=1)
    """Announced in the join response; 0 makes LiveKit's Rust clients fail, so it is not allowed."""
    ping_timeout_s: int = Field(default=15, ge=2)
    answer_s: float = Field(default=15.0, gt=0)
    """How long a client may take to answer an offer."""
    refresh_token_s: float = Field(default=300.0, gt=0)
    dynacast_pause_s: float = Field(default=5.0, ge=0)
    """How long nobody must have wanted a layer of a video before its publisher is told to stop sending it."""
    write_s: float = Field(default=5.0, gt=0)
    """How long one message may wait for the client to read before the client is cut off."""


CodecName = Literal["opus", "VP8", "H264", "VP9", "AV1"]


class LiveKitSettings(Section):
    """The `[livekit]` section."""

    enabled: bool = True
    keys: dict[str, Credential] = Field(default_factory=dict)
    rooms: Rooms = Rooms()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    ice_servers: tuple[IceServer, ...] = ()
    codecs: tuple[CodecName, ...] = ("opus", "VP8", "H264", "VP9", "AV1")
    """Codecs accepted and offered; the order among video codecs is the order of preference."""
    start_bitrate_kbps: int = Field(default=1000, ge=0)
    """What a client's video encoder begins with, before it knows its network; 0: what the client thinks best."""
    region: str = ""

    @property
    def has_credentials(self) -> bool:
        """Whether anybody could use this dialect."""
        return bool(self.keys)

    def weak_keys(self) -> tuple[str, ...]:
        """The API keys whose secret is too short to be safe, in the order they were written."""
        return tuple(name for name, key in self.keys.items() if key.is_weak)


Settings = LiveKitSettings
"""The name under which the server looks for every dialect's section."""
