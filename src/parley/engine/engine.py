"""The face of the media engine that core programs against.

`parley.engine.live` is the engine itself, `tests/fakes.py` a small one without sockets; one suite
(`tests/engine/test_contract.py`) asserts that both keep what the docstrings here promise.

Every method that is not a coroutine returns at once: it puts a command into a bounded queue and
raises `EngineBusy`, before anything has changed, when that is full. Coroutines wait for the
engine's answer, at most `deadline_s` seconds, then raise `EngineTimeout`. Values the engine cannot
use raise `BadValue`, calls on something closed raise `EngineClosed`.

Listeners are plain callables, called on the event loop one at a time and, but for `Channel.listen`,
never from inside a method of this face. They must not block; what they raise is logged and goes no
further.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from parley.engine.events import EngineEvent, TransportEvent, TransportPhase
from parley.engine.specs import (
    ChannelId,
    ConsumerId,
    DataSpec,
    Flow,
    Kind,
    LayerPolicy,
    Mid,
    ProducerId,
    ProducerPolicy,
    RecvSpec,
    RemoteTransport,
    SendSpec,
    TransportId,
    TransportParams,
)

TransportListener = Callable[[TransportEvent], None]
EngineListener = Callable[[EngineEvent], None]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a data channel."""

    data: bytes
    text: bool = False
    """Whether it was sent as text (PPIDs 51 and 56 of RFC 8831); then `data` is UTF-8."""


MessageListener = Callable[[Message], None]


class OnFull(Enum):
    """What a channel does with a message when its queue is full."""

    DROP_NEW = "drop_new"
    """The new message is dropped and `send` says so."""
    DROP_OLD = "drop_old"
    """The oldest waiting message makes room."""
    CLOSE = "close"
    """The channel is closed, since a gap would be worse."""


@dataclass(frozen=True, slots=True)
class ProducerStats:
    """What was received of one producer, all layers together."""

    id: ProducerId
    mid: Mid
    packets: int = 0
    bytes: int = 0
    lost: int = 0
    """Packets still missing after repair."""
    repaired: int = 0
    """Packets that a retransmission brought."""
    nacks_sent: int = 0
    plis_sent: int = 0
    keyframes: int = 0
    jitter_ms: float = 0.0
    """Interarrival jitter (RFC 3550 §6.4.1)."""


@dataclass(frozen=True, slots=True)
class ConsumerStats:
    """What was sent by one consumer, and what its peer reported."""

    id: ConsumerId
    mid: Mid
    packets: int = 0
    bytes: int = 0
    retransmitted: int = 0
    nacks_received: int = 0
    plis_received: int = 0
    lost: int = 0
    """Packets lost in total, from the peer's last receiver report: on the path, before repair by RTX."""
    fraction_lost: float = 0.0
    """Fraction lost since the report before, 0 to 1."""
    rtt_ms: float | None = None
    """Round trip; None before the first report."""


@dataclass(frozen=True, slots=True)
class TransportStats:
    """A transport at one moment. Packets and bytes in are UDP payloads of every protocol."""

    phase: TransportPhase
    remote: str | None = None
    """The nominated address of the peer, `ip:port`."""
    srtp_profile: str | None = None
    """As in `DtlsConnected`."""
    packets_in: int = 0
    bytes_in: int = 0
    packets_out: int = 0
    """Of ICE, DTLS and SCTP; what media sends is counted by consumer."""
    bytes_out: int = 0
    sctp_rtt_ms: float | None = None
    channels: int = 0
    remb_bps: int | None = None
    """What the peer says it can receive (REMB), in bits a second; None before it says so."""
    rtt_ms: float | None = None
    """Round trip, smoothed over RTCP of both directions; None before the first that tells one."""
    producers: tuple[ProducerStats, ...] = ()
    consumers: tuple[ConsumerStats, ...] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """What `Transport.apply` made or changed."""

    producers: Mapping[Mid, Producer]
    """The producer of every `RecvSpec`, by its mid."""
    consumers: Mapping[Mid, Consumer]
    """The consumer of every `SendSpec`, by its mid."""


class Engine(Protocol):
    """The media engine of this process."""

    def on_event(self, listener: EngineListener) -> None:
        """Name the one listener for what concerns no single transport."""

    def has_room(self, commands: int = 1) -> bool:
        """Whether so many commands fit now. A yes stays true until the next call from this thread."""

    def create_transport(self, *, group: int, on_event: TransportListener, lite: bool = True) -> Transport:
        """Make a transport; its parameters are known at once.

        lite: an ICE-lite agent, for clients. Otherwise a full one, for peers that are lite themselves: it sends checks
        to the peer's candidates, and a description whose candidates another transport uses is refused.
        group: transports that belong together, an opaque number.
        on_event: hears everything about the transport, its producers and its channels, until
        `Transport.close` is called.
        Raises EngineRefused when the engine has as many transports as it may.
        """

    def broadcast(self, channels: Sequence[Channel], data: bytes, *, text: bool = False) -> int:
        """Send one message on many channels and return how many took it, each by its own `OnFull`."""

    def counters(self) -> Mapping[str, int]:
        """Everything the engine counts, by name; never waits. The names stand in `parley.engine.counters`.

        `transports`, `producers`, `consumers` and `channels` are how many there are now; every
        other value only rises.
        """

    async def close(self, timeout_s: float = 2.0) -> None:
        """Close every transport and stop; twice is once. Everything but `counters` raises afterwards."""


class Transport(Protocol):
    """One ICE, DTLS, SRTP and SCTP association with one peer."""

    @property
    def id(self) -> TransportId: ...

    @property
    def params(self) -> TransportParams:
        """What a local description says of it; new after `restart_ice`."""

    async def apply(
        self,
        *,
        remote: RemoteTransport | None = None,
        end: Sequence[tuple[Mid, Flow]] = (),
        recv: Sequence[RecvSpec] = (),
        send: Sequence[SendSpec] = (),
        data: DataSpec | None = None,
        deadline_s: float = 1.0,
    ) -> Applied:
        """Carry out a negotiated change, in this order, all or nothing.

        A mid already known is changed and keeps its producer or consumer, an unknown one is made.
        Ending what does not exist is no error. Raises EngineRefused with the engine's reason, and then
        nothing was applied; close the transport then, since its peer believes otherwise.
        """

    def add_remote_candidate(self, candidate: str) -> None:
        """Hand over a candidate that trickled in, from `candidate:` on."""

    def restart_ice(self) -> TransportParams:
        """Mint new ICE credentials; the old ones stay valid until the peer uses the new."""

    def set_bitrate(self, *, max_in_bps: int | None = None) -> None:
        """Cap what the peer sends, by REMB; None: no cap."""

    def open_channel(
        self,
        label: str,
        *,
        id: int | None = None,
        negotiated: bool = False,
        ordered: bool = True,
        max_retransmits: int | None = None,
        max_lifetime_ms: int | None = None,
        protocol: str = "",
    ) -> Channel:
        """Open a data channel (RFC 8832); usable at once, what is sent waits for the association.

        id: the SCTP stream; None: the next free odd one, since the server is the DTLS server.
        negotiated: no DCEP is exchanged; the peer must open the same `id` (RFC 8831 §6.5).
        max_retransmits and max_lifetime_ms exclude each other.
        """

    async def stats(self, *, deadline_s: float = 1.0) -> TransportStats:
        """How it stands now."""

    def close(self) -> None:
        """End it with everything on it, telling the peer (DTLS close_notify); twice is once.

        Its listener hears nothing more.
        """


class Producer(Protocol):
    """One received track. It ends with `apply(end=…)` or its transport."""

    @property
    def id(self) -> ProducerId: ...

    @property
    def mid(self) -> Mid: ...

    @property
    def kind(self) -> Kind: ...

    def pause(self) -> None:
        """Forward nothing of it; packets are still received and answered."""

    def resume(self) -> None:
        """Forward again; video begins with a keyframe, which is asked for."""

    def request_keyframe(self) -> None:
        """Ask the peer for a keyframe, no more often than the policy allows."""

    def set_policy(self, policy: ProducerPolicy) -> None: ...


class Consumer(Protocol):
    """One sent track. It ends with `apply(end=…)` or its transport."""

    @property
    def id(self) -> ConsumerId: ...

    @property
    def mid(self) -> Mid: ...

    @property
    def kind(self) -> Kind: ...

    def set_source(self, source: Producer | None, policy: LayerPolicy | None = None) -> None:
        """Forward this producer, of any transport of the engine; None: nothing.

        policy: set with the source, so that its indexes mean the new source's layers; None: the
        consumer keeps its own.

        Numbers and time on the wire go on as if it were one stream. Video begins with a keyframe, which
        is asked for, and goes on with the old source until that has come, but no longer than a second.
        Audio changes at once, and so does anything to None. A source that ends or pauses in the
        meantime is simply gone; one that ends leaves the consumer without one.
        """

    def set_policy(self, policy: LayerPolicy) -> None:
        """Say which layer is wanted.

        The present layer goes on until the wanted one's keyframe has come, which is asked for once, and
        again after 0.3, 0.6, 1.1 and 2.1 seconds while it is still awaited.
        """

    def pause(self) -> None: ...

    def resume(self) -> None: ...

    def request_keyframe(self) -> None:
        """Ask the source for a keyframe, merged with what other consumers ask."""


class Channel(Protocol):
    """One data channel of one transport."""

    @property
    def id(self) -> ChannelId: ...

    @property
    def label(self) -> str: ...

    @property
    def protocol(self) -> str: ...

    @property
    def ordered(self) -> bool: ...

    @property
    def max_retransmits(self) -> int | None: ...

    @property
    def max_lifetime_ms(self) -> int | None: ...

    @property
    def buffered(self) -> int:
        """Bytes handed to `send` that the association has not yet taken."""

    def listen(self, listener: MessageListener, *, once: bool = False) -> None:
        """Hear every message from now on, first those held since it opened, in order.

        once: hear one message; those behind it are held again, until the next `listen`, `link` or `ignore`.
        Held messages may be heard before this returns.
        """

    def ignore(self) -> None:
        """Hear nothing and hold nothing: messages, those held too, are thrown away unless links take them."""

    def link(self, to: Channel) -> None:
        """Pass every message from now on to another channel of the engine, as text or bytes as it came; twice is once.

        The first link takes what is held, in order, and nothing is held from then on. The other channel's own limit
        and answer to being full hold, and one too large for its peer is left out, so that no link delays another.
        What was passed on is not passed on again: two channels may be linked to each other. The link ends with
        either channel, and there is none with one that has ended.

        A listener hears every message beside the links; a reliable channel that stops reading for a slow listener
        passes nothing on meanwhile. Raises EngineRefused when 1024 links of this channel exist.
        """

    def unlink(self, to: Channel) -> None:
        """Pass nothing more on to this channel; no error when nothing was."""

    def send(self, data: bytes, *, text: bool = False) -> bool:
        """Send one message; whether it was taken. False: the queue is full, or the channel closed.

        Raises BadValue when it is larger than the peer's `max_message_size`.
        """

    def set_limit(self, limit_bytes: int, on_full: OnFull) -> None:
        """Bound what may wait to be sent, and say what happens to a message beyond it.

        Until then `channel_limit_bytes`, with CLOSE for a reliable channel and DROP_OLD for any other.
        """

    def close(self) -> None:
        """Reset its stream (RFC 8831 §6.7); twice is once. Its listener hears nothing more."""
