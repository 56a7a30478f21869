"""The plain values that cross between negotiation, core and the media engine.

Everything here is frozen and knows nothing of SDP text, sockets or rooms. Negotiation produces
these values from descriptions; the engine consumes them. Rates are in bits a second, durations
carry their unit in the name, sequence numbers and payload types are those on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NewType

Mid = NewType("Mid", str)
"""The identification of one media section: the value of `a=mid` (RFC 8843, RFC 9143)."""

TransportId = NewType("TransportId", int)
"""One ICE, DTLS, SRTP and SCTP association; 64 bits, never used twice in a process."""

ProducerId = NewType("ProducerId", int)
"""One received track; 64 bits, never used twice in a process."""

ConsumerId = NewType("ConsumerId", int)
"""One sent track; 64 bits, never used twice in a process."""

ChannelId = NewType("ChannelId", int)
"""One data channel; 64 bits, never used twice in a process, unlike its SCTP stream number."""


class Kind(Enum):
    """What a media section carries: the first word of its `m=` line (`application` is DATA)."""

    AUDIO = "audio"
    VIDEO = "video"
    DATA = "data"


class Flow(Enum):
    """One direction of one section, as the server sees it."""

    RECV = "recv"
    SEND = "send"


class Setup(Enum):
    """Who opens the DTLS handshake: the value of `a=setup` (RFC 8842)."""

    ACTIVE = "active"
    PASSIVE = "passive"
    ACTPASS = "actpass"


class Estimator(Enum):
    """The feedback a receiving peer has agreed to send, from which its capacity is estimated."""

    REMB = "remb"
    TWCC = "twcc"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class CodecSpec:
    """One codec of one section, with the numbers it has there."""

    pt: int
    """Payload type, 0 to 127."""
    name: str
    """Encoding name in canonical case: `opus`, `VP8`, `H264`, `VP9`, `AV1`."""
    clock_hz: int
    """RTP clock: 48000 for Opus, 90000 for video."""
    channels: int = 1
    """Audio channels as on the rtpmap line (2 for Opus); 1 for video."""
    fmtp: str = ""
    """Format parameters as on the wire, without the payload type: `minptime=10;useinbandfec=1`."""
    rtx_pt: int | None = None
    """Payload type of the retransmissions whose `apt` is `pt` (RFC 4588); None: none agreed."""
    red_pt: int | None = None
    """Payload type of the redundant encoding around `pt` (RFC 2198); None: none agreed."""


@dataclass(frozen=True, slots=True)
class ExtensionSpec:
    """A negotiated RTP header extension (RFC 8285)."""

    uri: str
    """Its URI as on the extmap line: `urn:ietf:params:rtp-hdrext:sdes:mid`."""
    id: int
    """Its number in this bundle, 1 to 255."""


@dataclass(frozen=True, slots=True)
class SsrcGroup:
    """An `a=ssrc-group` line (RFC 5576)."""

    semantics: str
    """`FID` (a stream and its retransmissions), `SIM` (layers, lowest first), `FEC-FR`."""
    ssrcs: tuple[int, ...]
    """The SSRCs in their declared order."""


@dataclass(frozen=True, slots=True)
class RecvSpec:
    """What the server receives on one section: it becomes a producer."""

    mid: Mid
    """The section."""
    kind: Kind
    """AUDIO or VIDEO."""
    codecs: tuple[CodecSpec, ...]
    """Every codec the peer may send here, preferred first; never empty."""
    extensions: tuple[ExtensionSpec, ...] = ()
    """Extensions the peer may put on packets of this section."""
    ssrcs: tuple[int, ...] = ()
    """SSRCs the peer declared, in order; empty when it declares none and uses MID and RID."""
    ssrc_groups: tuple[SsrcGroup, ...] = ()
    """How those SSRCs belong together."""
    rids: tuple[str, ...] = ()
    """Simulcast layers by RID (RFC 8851), in declared order; empty: a single layer."""
    nack: bool = False
    """Whether generic NACK (RFC 4585 §6.2.1) was agreed: the engine asks for what is missing."""
    twcc: bool = False
    """Whether transport-wide feedback was agreed: the engine sends it."""
    remb: bool = False
    """Whether REMB was agreed: the engine states the cap of `set_bitrate` with it."""


@dataclass(frozen=True, slots=True)
class SendSpec:
    """What the server sends on one section: it becomes a consumer with fixed numbers."""

    mid: Mid
    """The section."""
    kind: Kind
    """AUDIO or VIDEO."""
    ssrc: int
    """SSRC of every media packet sent here, for the life of the section."""
    codecs: tuple[CodecSpec, ...]
    """Every codec the peer accepts here, preferred first; never empty."""
    rtx_ssrc: int | None = None
    """SSRC of retransmissions (RFC 4588); None: lost packets are sent again as they were."""
    extensions: tuple[ExtensionSpec, ...] = ()
    """Extensions the peer accepts on this section."""
    cname: str = ""
    """CNAME for the SDES of `ssrc` and `rtx_ssrc`; streams of one CNAME are played in sync."""
    nack: bool = False
    """Whether the peer may ask for retransmissions (RFC 4585 §6.2.1)."""
    estimator: Estimator = Estimator.NONE
    """The feedback from which the peer's capacity may be estimated."""


@dataclass(frozen=True, slots=True)
class DataSpec:
    """The SCTP association both sides have agreed on (RFC 8841)."""

    port: int = 5000
    """The peer's `a=sctp-port`."""
    max_message_size: int = 65_535
    """The peer's `a=max-message-size` in bytes: the largest message it takes; 0: any."""
    streams: int = 1024
    """How many streams each way are asked for; a channel uses one each way."""


@dataclass(frozen=True, slots=True)
class TransportParams:
    """What the engine says of one of its transports, for a local description."""

    ufrag: str
    """Local ICE user fragment."""
    pwd: str
    """Local ICE password. A secret of this transport: never logged."""
    fingerprint: str
    """Of the DTLS certificate, as on the wire: `sha-256 AB:CD:…`."""
    candidates: tuple[str, ...]
    """Every local candidate, complete at once: `candidate:1 1 udp 2130706431 192.0.2.1 7882 typ host`."""
    lite: bool = True
    """Whether this side is an ICE-lite agent (RFC 8445 §2.5)."""


@dataclass(frozen=True, slots=True)
class RemoteTransport:
    """What the peer said of its transport."""

    ufrag: str
    """Remote ICE user fragment."""
    pwd: str
    """Remote ICE password. Never logged."""
    fingerprint: str
    """Of the peer's certificate, as on the wire: `sha-256 AB:CD:…`; compared before a key is used."""
    setup: Setup
    """The peer's role. PASSIVE, where the server opens the handshake, only with full ICE."""
    candidates: tuple[str, ...] = ()
    """Remote candidates, each from `candidate:` on; may be empty, since peer-reflexive ones suffice."""
    begins_anew: bool = False
    """Whether the peer may soon begin DTLS anew on the same terms: another section leads its bundle now."""
    controls: bool = True
    """Whether it is the peer that nominates (RFC 8445 §6.1.1); of lite transports always."""


@dataclass(frozen=True, slots=True)
class ProducerPolicy:
    """How a producer is treated, where no description says it."""

    keyframe_gap_ms: tuple[int, ...] = (500, 1000, 1000)
    """Shortest time between requests for two keyframes, by layer; the last one serves all further layers.
    A request that somebody waits on is repeated sooner while it goes unanswered."""
    max_layer: int | None = None
    """The highest layer index that is accepted; None: all."""


@dataclass(frozen=True, slots=True)
class LayerPolicy:
    """Which simulcast layer a consumer forwards; indexes in the producer's declared order, which implies no quality.

    A consumer whose policy was never set forwards the first declared layer that sends, and others in
    declared order while it does not. An index that the source does not have counts as missing.
    """

    target: int = 0
    """The layer that is wanted, 0 to 255."""
    when_missing: tuple[int, ...] = ()
    """Tried in order while the target sends nothing, at most 8; empty: nothing is sent then."""
    max_temporal: int | None = None
    """Highest temporal layer that is forwarded (the TID of VP8), 0 to 3; None: all."""


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """How the engine is started. Values that cannot work are refused by name when it is made."""

    bind: str = "0.0.0.0"
    """Address the media socket is bound to; `127.0.0.1` for development."""
    udp_port: int = 7882
    """Media port; 0: one chosen by the kernel, to be read from the candidates."""
    announce: tuple[str, ...] = ()
    """Addresses put into candidates, `ip` or `ip:port`; empty: `bind`, or what the host has if that is any."""
    mtu_bytes: int = 1200
    """Largest RTP packet or DTLS record that is sent."""
    rtx_cache_ms: int = 1000
    """How long received packets are kept for retransmission."""
    disconnected_s: float = 5.0
    """Silence after which a transport is `disconnected`."""
    failed_s: float = 10.0
    """Silence after which a transport is `failed`; also the limit for the first connection."""
    sr_interval_s: float = 3.0
    """Time between sender reports of one sender."""
    stun_rate: int = 200
    """STUN requests a second accepted from one source address before the rest is dropped."""
    max_pending: int = 1000
    """Transports whose peer is awaited at one time, each for at most `failed_s`; one beyond it is refused."""
    max_transports: int = 10_000
    """Transports at one time; one beyond it is refused."""
    max_transports_per_group: int = 5_000
    """Of these: in one group; one beyond it is refused."""
    sctp_window_bytes: int = 1_048_576
    """SCTP receive window and send buffer of a transport."""
    max_message_bytes: int = 262_144
    """Largest data-channel message taken from a peer."""
    channel_limit_bytes: int = 1_048_576
    """What a channel may hold for sending, and what it may hold until it is read, unless `set_limit` says so."""
    command_queue: int = 4096
    """Commands that may wait for the engine; a full queue raises `EngineBusy`."""
    event_queue: int = 65_536
    """Events that may wait for Python; what comes after is reported by one `Overflow`."""
