"""What the engine reports, as frozen values.

Times are seconds on the monotonic clock of the process, the one `asyncio` loops and
`time.monotonic` read. Events of one transport arrive in the order in which they happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from parley.engine.specs import ConsumerId, Mid, ProducerId, TransportId

if TYPE_CHECKING:
    from parley.engine.engine import Channel


class TransportPhase(Enum):
    """Where a transport stands; compare `RTCPeerConnectionState` of the W3C WebRTC API."""

    NEW = "new"
    CHECKING = "checking"
    CONNECTED = "connected"
    """ICE has a nominated pair and the SRTP keys are installed."""
    DISCONNECTED = "disconnected"
    """Nothing authenticated has arrived for `disconnected_s`; it may come back."""
    FAILED = "failed"
    """It will not come back without an ICE restart."""
    CLOSED = "closed"
    """The peer ended DTLS, or the engine gave the transport up. Nothing follows."""


@dataclass(frozen=True, slots=True)
class TransportState:
    """A transport has changed its phase. Each phase is reported once when it is entered."""

    transport: TransportId
    phase: TransportPhase
    reason: str | None = None
    """Why, when it is not the ordinary way forward: `peer` (it closed DTLS), `timeout` (silence), `dtls`,
    `fingerprint`, `sctp`, `internal`."""


@dataclass(frozen=True, slots=True)
class IceSelected:
    """ICE nominated a pair, or moved to another."""

    transport: TransportId
    remote: str
    """The peer's address, `ip:port`. Addresses are personal data: DEBUG only."""
    protocol: str
    """`udp` or `tcp`."""


@dataclass(frozen=True, slots=True)
class DtlsConnected:
    """The handshake is complete and the peer's fingerprint is the one it announced."""

    transport: TransportId
    version: str
    """`DTLS 1.2` or `DTLS 1.3`."""
    srtp_profile: str | None
    """As IANA names it: `SRTP_AEAD_AES_256_GCM`, `SRTP_AES128_CM_SHA1_80`; None: data only."""


@dataclass(frozen=True, slots=True)
class FirstPacket:
    """The first authenticated media packet of a producer has arrived."""

    transport: TransportId
    producer: ProducerId
    mid: Mid
    layer: int
    """Its layer, an index in declared order."""
    codec: str
    """Its codec, in canonical case."""
    at: float


@dataclass(frozen=True, slots=True)
class LayerActive:
    """A layer of a producer has begun, or begun again, to arrive."""

    transport: TransportId
    producer: ProducerId
    layer: int
    at: float


@dataclass(frozen=True, slots=True)
class LayerInactive:
    """A layer of a producer has stopped arriving."""

    transport: TransportId
    producer: ProducerId
    layer: int
    at: float
    last_packet_at: float


@dataclass(frozen=True, slots=True)
class FirstForwarded:
    """The first packet of a consumer has been sent."""

    transport: TransportId
    consumer: ConsumerId
    at: float


@dataclass(frozen=True, slots=True)
class ProducerPaused:
    """Nothing of a producer is forwarded."""

    transport: TransportId
    producer: ProducerId
    reason: str
    """`policy`: it was asked for."""


@dataclass(frozen=True, slots=True)
class ProducerResumed:
    """A producer is forwarded again."""

    transport: TransportId
    producer: ProducerId


@dataclass(frozen=True, slots=True)
class ConsumerPaused:
    """A consumer sends nothing."""

    transport: TransportId
    consumer: ConsumerId
    reason: str
    """`source` (taken away, ended or paused), `policy` (it was asked for), `codec` (the source's is not agreed)."""


@dataclass(frozen=True, slots=True)
class ConsumerResumed:
    """A consumer sends again."""

    transport: TransportId
    consumer: ConsumerId


@dataclass(frozen=True, slots=True)
class ConsumerLayer:
    """Which layer of its source a consumer forwards has changed.

    A fact and not a step: while nobody listens, a later one takes the place of an earlier one.
    """

    transport: TransportId
    consumer: ConsumerId
    layer: int | None
    """What is forwarded from now on, an index in the source's declared order; None: nothing any more."""


@dataclass(frozen=True, slots=True)
class LayerDemand:
    """Which layers of a producer are wanted has changed.

    A fact as `ConsumerLayer` is: while nobody listens, a later one takes the place of an earlier one.
    """

    transport: TransportId
    producer: ProducerId
    layers: tuple[int, ...]
    """Ascending: what consumers that are not paused want, their targets and what stands in for a missing
    one; empty when nobody wants any."""


@dataclass(frozen=True, slots=True)
class ChannelOpen:
    """A data channel is open: the peer opened it, or answered ours.

    Messages of a channel that the peer opened are held, within the channel's limit, until
    `channel.listen`.
    """

    transport: TransportId
    channel: Channel
    """The object that `open_channel` returned, when this side opened it."""
    remote: bool
    """Whether the peer opened it."""


@dataclass(frozen=True, slots=True)
class ChannelClosed:
    """A data channel has ended, and not by our own `close`."""

    transport: TransportId
    channel: Channel
    reason: str
    """`peer` (it reset the stream), `full` (as `OnFull.CLOSE` asks), `transport` (that has ended),
    `refused` (it could not be opened)."""


@dataclass(frozen=True, slots=True)
class ChannelLow:
    """What waits on a channel has fallen to half of its limit after a message was refused."""

    transport: TransportId
    channel: Channel


@dataclass(frozen=True, slots=True)
class InternalError:
    """The engine has caught a mistake of its own and closed the transport it belongs to."""

    transport: TransportId | None
    reason: str


@dataclass(frozen=True, slots=True)
class Overflow:
    """Events were lost because Python was too slow; states are to be read again with `stats`."""

    lost: int


@dataclass(frozen=True, slots=True)
class EngineEnded:
    """The engine could go on no longer: every transport is closed, and every call raises EngineClosed."""


TransportEvent = (
    TransportState
    | IceSelected
    | DtlsConnected
    | FirstPacket
    | LayerActive
    | LayerInactive
    | FirstForwarded
    | ProducerPaused
    | ProducerResumed
    | ConsumerPaused
    | ConsumerResumed
    | ConsumerLayer
    | LayerDemand
    | ChannelOpen
    | ChannelClosed
    | ChannelLow
    | InternalError
)
"""What the listener of one transport hears."""

EngineEvent = Overflow | InternalError | EngineEnded
"""What concerns no single transport."""
