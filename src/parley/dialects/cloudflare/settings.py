"""What an operator may say about the Cloudflare Realtime dialect: the `[cloudflare]` section of the configuration."""

from typing import Literal

from pydantic import Field

from parley.config import Credential, Section


class Limits(Section):
    """Bounds of one call or one session."""

    tracks_per_call: int = Field(default=64, ge=1)
    """Items of one request."""
    tracks_per_session: int = Field(default=1024, ge=1)
    """Local tracks of one session, and as many remote ones, from being named to their end."""
    body_bytes: int = Field(default=1024 * 1024, ge=1024)
    channel_bytes: int = Field(default=1024 * 1024, ge=1024)
    """What may wait for one subscriber of a data channel; beyond it the newest message is dropped, and a reliable
    channel closed."""
    calls_per_s: float = Field(default=50.0, gt=0)
    """Calls on one session, in the long run."""
    burst_calls: int = Field(default=100, ge=1)
    """Calls on one session that may come at once."""


class Timeouts(Section):
    """Deadlines, in seconds.

    Clients give up on a call after ten. A call waits for its connection and for media at the same time, and for its
    turn after that: at worst the longer of the first two and the third, 13 s.
    """

    connect_gate_s: float = Field(default=5.0, gt=0)
    """How long a call waits for a session that has negotiated to be connected."""
    media_s: float = Field(default=8.0, gt=0)
    """How long a pull waits for the first packet of its track, from the arrival of the call."""
    turn_s: float = Field(default=5.0, gt=0)
    """How long a call waits for those before it on the same session."""
    renegotiate_s: float = Field(default=30.0, gt=0)
    """How long an offer of the server's may stay unanswered before it is withdrawn."""
    return_s: float = Field(default=20.0, ge=0)
    """How long a session may take to come back once its connection counts as failed (`media.failed_s`)."""
    unused_s: float = Field(default=600.0, gt=0)
    """How long a session lives without ever being connected."""
    ack_s: float = Field(default=30.0, gt=0)
    """How long a subscriber of a data channel with `waitForAck` has to say so."""
    silent_s: float = Field(default=30.0, gt=0)
    """How long a local track may be without packets before it is collected."""


class Compat(Section):
    """Where the live service and its schema differ."""

    empty_mid_on_error: bool = False
    """Whether a failed item of a pull says `"mid": ""`, as the live service does, in place of no `mid`."""


CodecName = Literal["opus", "VP8", "H264", "VP9", "AV1"]


class CloudflareSettings(Section):
    """The `[cloudflare]` section."""

    enabled: bool = True
    apps: dict[str, Credential] = Field(default_factory=dict)
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    compat: Compat = Compat()
    codecs: tuple[CodecName, ...] = ("opus", "VP8", "H264", "VP9", "AV1")
    """Codecs accepted and offered; the order among video codecs is the order of preference."""

    @property
    def has_credentials(self) -> bool:
        """Whether anybody could use this dialect."""
        return bool(self.apps)

    def weak_keys(self) -> tuple[str, ...]:
        """The apps whose secret is too short to be safe, in the order they were written."""
        return tuple(name for name, app in self.apps.items() if app.is_weak)


Settings = CloudflareSettings
"""The name under which the server looks for every dialect's section."""
