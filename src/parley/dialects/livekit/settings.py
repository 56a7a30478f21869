"""What an operator may say about the LiveKit dialect: the `[livekit]` section of the configuration."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

STRONG_SECRET_BYTES = 32
"""RFC 7518 §3.2: an HS256 key is at least as long as the hash it feeds."""


class _Section(BaseModel):
    """A part of the configuration: read once, never changed, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ApiKey(_Section):
    """One API key: the secret that signs its tokens, and the tenant whose rooms they open."""

    secret: SecretStr = Field(min_length=1)
    tenant: str = "default"


def _secret_alone(value: object) -> object:
    """Let `APIkey = "secret"` stand for the long form, as LiveKit's own configuration has it."""
    return {"secret": value} if isinstance(value, str) else value


class IceServer(_Section):
    """A STUN or TURN server that clients are told of, with static credentials."""

    urls: tuple[str, ...] = Field(min_length=1)
    username: str = ""
    credential: SecretStr = SecretStr("")


class Rooms(_Section):
    """How rooms that a join creates behave, unless the token's `roomConfig` says otherwise."""

    auto_create: bool = True
    empty_timeout_s: int = Field(default=300, ge=1)
    """How long a room waits for its first participant."""
    departure_timeout_s: int = Field(default=20, ge=1)
    """How long a room waits for somebody to come back after the last one left."""
    max_participants: int = Field(default=0, ge=0)
    """Seats in a room; 0: no limit."""


class Limits(_Section):
    """Bounds of the signalling itself; names and metadata are bounded for all dialects alike."""

    signal_message_bytes: int = Field(default=2 * 1024 * 1024, ge=0)
    """One message of a client; 0: no limit."""
    outgoing_messages: int = Field(default=1024, ge=16)
    """Signal messages waiting for one client's socket; a client that falls further behind is cut off."""
    outgoing_bytes: int = Field(default=8 * 1024 * 1024, ge=64 * 1024)
    """The same in bytes, over all of them; a single message may be larger."""


class Timeouts(_Section):
    """Deadlines, in seconds."""

    ping_interval_s: int = Field(default=5, ge=1)
    """Announced in the join response; 0 makes LiveKit's Rust clients fail, so it is not allowed."""
    ping_timeout_s: int = Field(default=15, ge=2)
    answer_s: float = Field(default=15.0, gt=0)
    """How long a client may take to answer an offer."""
    refresh_token_s: float = Field(default=300.0, gt=0)
    write_s: float = Field(default=5.0, gt=0)
    """How long one message may wait for the client to read before the client is cut off."""


CodecName = Literal["opus", "VP8", "H264", "VP9", "AV1"]


class LiveKitSettings(_Section):
    """The `[livekit]` section."""

    enabled: bool = True
    keys: dict[str, Annotated[ApiKey, BeforeValidator(_secret_alone)]] = Field(default_factory=dict)
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
        return tuple(
            name for name, key in self.keys.items() if len(key.secret.get_secret_value().encode()) < STRONG_SECRET_BYTES
        )


Settings = LiveKitSettings
"""The name under which the server looks for every dialect's section."""
