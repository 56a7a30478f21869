"""A media engine without sockets, and a clock that moves when it is told to.

`FakeEngine` has the face of `parley.engine.engine`. What a peer would do is done by a test through
the methods under "the peer's side"; the listener is called before they return. The suite in
`tests/engine/test_contract.py` holds it to the same promises as the real engine.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping, Sequence

from parley.engine.engine import (
    Applied,
    Channel,
    EngineListener,
    Message,
    MessageListener,
    OnFull,
    Producer,
    TransportListener,
    TransportStats,
)
from parley.engine.errors import BadValue, EngineBusy, EngineClosed, EngineRefused, EngineTimeout
from parley.engine.events import (
    ChannelClosed,
    ChannelOpen,
    ConsumerLayer,
    DtlsConnected,
    FirstPacket,
    IceSelected,
    LayerActive,
    LayerDemand,
    LayerInactive,
    Overflow,
    TransportEvent,
    TransportPhase,
    TransportState,
)
from parley.engine.specs import (
    ChannelId,
    ConsumerId,
    DataSpec,
    EngineConfig,
    Flow,
    Kind,
    LayerPolicy,
    Mid,
    ProducerId,
    ProducerPolicy,
    RecvSpec,
    RemoteTransport,
    SendSpec,
    Setup,
    TransportId,
    TransportParams,
)

MAX_LINKS = 1024
FINGERPRINT = "sha-256 " + ":".join(["AB"] * 32)


class FakeClock:
    """Both clocks of `parley.clock` under a test's control; they move together."""

    def __init__(self, monotonic: float = 1000.0, wall: float = 1_800_000_000.0) -> None:
        self._monotonic = monotonic
        self._wall = wall

    def monotonic(self) -> float:
        return self._monotonic

    def wall(self) -> float:
        return self._wall

    def advance(self, seconds: float) -> None:
        """Let time pass; it never goes back."""
        assert seconds >= 0, "time only moves forward"
        self._monotonic += seconds
        self._wall += seconds


class FakeEngine:
    """An engine whose transports connect, fail and receive when a test says so."""

    def __init__(self, config: EngineConfig | None = None) -> None:
        self.config = config or EngineConfig()
        self.transports: dict[TransportId, FakeTransport] = {}
        self.is_closed = False
        self.is_busy = False
        """Set by a test: every command is refused as if the queue were full."""
        self._ids = itertools.count(1)
        self._listener: EngineListener = lambda event: None

    def on_event(self, listener: EngineListener) -> None:
        self._listener = listener

    def has_room(self, commands: int = 1) -> bool:
        return not self.is_busy

    def create_transport(self, *, group: int, on_event: TransportListener, lite: bool = True) -> FakeTransport:
        self._check()
        if len(self.transports) >= self.config.max_transports:
            raise EngineRefused(
                f"the engine is full: {len(self.transports)} of {self.config.max_transports} transports"
            )
        in_group = sum(t.group == group for t in self.transports.values())
        if in_group >= self.config.max_transports_per_group:
            raise EngineRefused(f"no more transports in this group: {in_group} of {in_group} exist")
        transport = FakeTransport(self, TransportId(self.next_id()), group, on_event, lite)
        self.transports[transport.id] = transport
        return transport

    def broadcast(self, channels: Sequence[Channel], data: bytes, *, text: bool = False) -> int:
        self._check()
        return sum(channel.send(data, text=text) for channel in channels)

    def counters(self) -> Mapping[str, int]:
        live = self.transports.values()
        return {
            "transports": len(self.transports),
            "producers": sum(len(t.producers) for t in live),
            "consumers": sum(len(t.consumers) for t in live),
            "channels": sum(len(t.channels) for t in live),
            "links": sum(len(c.links) for t in live for c in t.channels.values()),
        }

    async def close(self, timeout_s: float = 2.0) -> None:
        for transport in list(self.transports.values()):
            transport.close()
        self.is_closed = True

    # The engine's side, for a test.

    def overflow(self, lost: int = 1) -> None:
        """Lose so many events and say so."""
        self._listener(Overflow(lost))

    # For the objects below.

    def next_id(self) -> int:
        return next(self._ids)

    def _check(self) -> None:
        if self.is_closed:
            raise EngineClosed("the engine is closed")
        if self.is_busy:
            raise EngineBusy("the engine's command queue is full")


class FakeTransport:
    """One transport; its peer is whoever writes the test."""

    def __init__(
        self, engine: FakeEngine, id: TransportId, group: int, on_event: TransportListener, lite: bool
    ) -> None:
        self.engine = engine
        self.id = id
        self.group = group
        self.is_lite = lite
        self.phase = TransportPhase.NEW
        self.is_closed = False
        self.remote: RemoteTransport | None = None
        self.remote_candidates: list[str] = []
        self.data: DataSpec | None = None
        self.max_in_bps: int | None = None
        self.producers: dict[Mid, FakeProducer] = {}
        self.consumers: dict[Mid, FakeConsumer] = {}
        self.channels: dict[ChannelId, FakeChannel] = {}
        self._on_event = on_event
        self._refusal: str | None = None
        self._is_silent = False
        self._generation = 0
        self.params = self._mint()

    # The face.

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
        self._check()
        for spec in recv:
            _check_media(spec)
        for sending in send:
            _check_media(sending)
        if self._is_silent:
            self._is_silent = False
            raise EngineTimeout(f"transport {self.id}: no answer to apply within {deadline_s} s")
        if (reason := self._why_not(remote, end, send)) is not None:
            raise EngineRefused(reason)
        if remote is not None:
            self.remote = remote
        for mid, flow in end:
            self._end(mid, flow)
        if data is not None:
            self.data = data
        return Applied(
            producers={spec.mid: self._receive(spec) for spec in recv},
            consumers={spec.mid: self._send(spec) for spec in send},
        )

    def add_remote_candidate(self, candidate: str) -> None:
        self._check()
        self.remote_candidates.append(candidate)

    def restart_ice(self) -> TransportParams:
        self._check()
        self.params = self._mint()
        return self.params

    def set_bitrate(self, *, max_in_bps: int | None = None) -> None:
        self._check()
        self.max_in_bps = max_in_bps

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
    ) -> FakeChannel:
        self._check()
        if max_retransmits is not None and max_lifetime_ms is not None:
            raise BadValue("max_retransmits and max_lifetime_ms are both set: one excludes the other")
        if negotiated and id is None:
            raise BadValue("id is None: a negotiated channel needs its stream number")
        return self._add_channel(label, protocol, ordered, max_retransmits, max_lifetime_ms)

    async def stats(self, *, deadline_s: float = 1.0) -> TransportStats:
        self._check()
        return TransportStats(self.phase)

    def close(self) -> None:
        if self.is_closed:
            return
        self.is_closed = True
        self.phase = TransportPhase.CLOSED
        for mid in list(self.producers):
            self._end(mid, Flow.RECV)
        self.consumers.clear()
        for channel in list(self.channels.values()):
            channel.close()
        del self.engine.transports[self.id]

    # The peer's side, for a test.

    def connect(self) -> None:
        """Let the peer complete ICE and DTLS; channels opened before are then open."""
        self.tell(TransportPhase.CHECKING)
        self.hear(IceSelected(self.id, "127.0.0.1:50000", "udp"))
        self.hear(DtlsConnected(self.id, "DTLS 1.2", "SRTP_AEAD_AES_256_GCM"))
        self.tell(TransportPhase.CONNECTED)
        for channel in list(self.channels.values()):
            channel.buffered = 0
            self.hear(ChannelOpen(self.id, channel, remote=False))

    def tell(self, phase: TransportPhase, reason: str | None = None) -> None:
        """Enter a phase: DISCONNECTED when packets stop, FAILED when they stay away."""
        self.phase = phase
        self.hear(TransportState(self.id, phase, reason))

    def fail(self, reason: str = "timeout") -> None:
        self.tell(TransportPhase.FAILED, reason)

    def hang_up(self) -> None:
        """Let the peer close DTLS."""
        self.tell(TransportPhase.CLOSED, "peer")

    def receive_media(self, mid: str, layer: int = 0) -> None:
        """Let packets of this section arrive; only the first of a layer tells anything."""
        producer = self.producers[Mid(mid)]
        if not producer.is_live:
            producer.is_live = True
            codec = producer.spec.codecs[0].name
            self.hear(FirstPacket(self.id, producer.id, producer.mid, layer, codec, 0.0))
        if layer not in producer.active_layers:
            producer.active_layers.add(layer)
            self.hear(LayerActive(self.id, producer.id, layer, 0.0))

    def stop_layer(self, mid: str, layer: int = 0) -> None:
        """Let a layer of this section stop arriving; the others go on."""
        producer = self.producers[Mid(mid)]
        if layer in producer.active_layers:
            producer.active_layers.discard(layer)
            self.hear(LayerInactive(self.id, producer.id, layer, 0.0, 0.0))

    def want_layers(self, mid: str, *layers: int) -> None:
        """Let the engine say that consumers want these layers of a section."""
        self.hear(LayerDemand(self.id, self.producers[Mid(mid)].id, tuple(sorted(layers))))

    def forward_layer(self, mid: str, layer: int | None) -> None:
        """Let the engine say which layer the consumer of a section forwards."""
        self.hear(ConsumerLayer(self.id, self.consumers[Mid(mid)].id, layer))

    def receive_channel(
        self,
        label: str,
        *,
        protocol: str = "",
        ordered: bool = True,
        max_retransmits: int | None = None,
        max_lifetime_ms: int | None = None,
    ) -> FakeChannel:
        """Let the peer open a channel."""
        channel = self._add_channel(label, protocol, ordered, max_retransmits, max_lifetime_ms)
        self.hear(ChannelOpen(self.id, channel, remote=True))
        return channel

    def refuse_next(self, reason: str) -> None:
        """Make the next `apply` raise EngineRefused."""
        self._refusal = reason

    def ignore_next(self) -> None:
        """Make the next `apply` go unanswered: it raises EngineTimeout at once."""
        self._is_silent = True

    def hear(self, event: TransportEvent) -> None:
        if not self.is_closed:
            self._on_event(event)

    # For itself.

    def _check(self) -> None:
        if self.is_closed:
            raise EngineClosed(f"transport {self.id} is closed")
        self.engine._check()

    def _mint(self) -> TransportParams:
        self._generation += 1
        port = self.engine.config.udp_port or 40000
        return TransportParams(
            ufrag=f"u{self.id}g{self._generation}",
            pwd=f"password{self.id:08}{self._generation:08}",
            fingerprint=FINGERPRINT,
            candidates=(f"candidate:1 1 udp 2130706431 127.0.0.1 {port} typ host",),
            lite=self.is_lite,
        )

    def _why_not(
        self, remote: RemoteTransport | None, end: Sequence[tuple[Mid, Flow]], send: Sequence[SendSpec]
    ) -> str | None:
        if self._refusal is not None:
            reason, self._refusal = self._refusal, None
            return reason
        if remote is not None and remote.setup is Setup.PASSIVE and self.is_lite:
            return "setup is passive: the engine is the DTLS server"
        senders = {c.mid: c.spec.ssrc for c in self.consumers.values() if (c.mid, Flow.SEND) not in end}
        for spec in send:
            taken = {ssrc for mid, ssrc in senders.items() if mid != spec.mid}
            if spec.ssrc in taken or senders.setdefault(spec.mid, spec.ssrc) != spec.ssrc:
                return f"section {spec.mid!r} cannot send with SSRC {spec.ssrc}"
        return None

    def _receive(self, spec: RecvSpec) -> FakeProducer:
        producer = self.producers.get(spec.mid)
        if producer is None:
            producer = FakeProducer(ProducerId(self.engine.next_id()), spec, self)
            self.producers[spec.mid] = producer
        producer.spec = spec
        return producer

    def _send(self, spec: SendSpec) -> FakeConsumer:
        consumer = self.consumers.get(spec.mid)
        if consumer is None:
            consumer = FakeConsumer(ConsumerId(self.engine.next_id()), spec, self)
            self.consumers[spec.mid] = consumer
        consumer.spec = spec
        return consumer

    def _end(self, mid: Mid, flow: Flow) -> None:
        if flow is Flow.SEND:
            self.consumers.pop(mid, None)
            return
        producer = self.producers.pop(mid, None)
        for transport in self.engine.transports.values():
            for consumer in transport.consumers.values():
                if producer is not None and consumer.source is producer:
                    consumer.source = None

    def _add_channel(
        self, label: str, protocol: str, ordered: bool, max_retransmits: int | None, max_lifetime_ms: int | None
    ) -> FakeChannel:
        id = ChannelId(self.engine.next_id())
        channel = FakeChannel(self, id, label, protocol, ordered, max_retransmits, max_lifetime_ms)
        self.channels[id] = channel
        return channel


class FakeProducer:
    """A received track that counts what was asked of it."""

    def __init__(self, id: ProducerId, spec: RecvSpec, transport: FakeTransport) -> None:
        self.id = id
        self.spec = spec
        self.transport = transport
        self.is_live = False
        self.active_layers: set[int] = set()
        self.is_paused = False
        self.keyframe_requests = 0
        self.policy = ProducerPolicy()

    @property
    def mid(self) -> Mid:
        return self.spec.mid

    @property
    def kind(self) -> Kind:
        return self.spec.kind

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False

    def request_keyframe(self) -> None:
        self.keyframe_requests += 1

    def set_policy(self, policy: ProducerPolicy) -> None:
        self.policy = policy


class FakeConsumer:
    """A sent track that remembers its source and which of its layers it should forward."""

    def __init__(self, id: ConsumerId, spec: SendSpec, transport: FakeTransport) -> None:
        self.id = id
        self.spec = spec
        self.transport = transport
        self.source: Producer | None = None
        self.policy: LayerPolicy | None = None
        """None: never set."""
        self.is_paused = False

    @property
    def mid(self) -> Mid:
        return self.spec.mid

    @property
    def kind(self) -> Kind:
        return self.spec.kind

    def set_source(self, source: Producer | None, policy: LayerPolicy | None = None) -> None:
        if policy is not None:
            _check_policy(policy)
        self.source = source
        self.policy = policy or self.policy

    def set_policy(self, policy: LayerPolicy) -> None:
        _check_policy(policy)
        self.policy = policy

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        self.is_paused = False

    def request_keyframe(self) -> None:
        if self.source is not None:
            self.source.request_keyframe()


class FakeChannel:
    """A data channel whose sent messages a test can read."""

    def __init__(
        self,
        transport: FakeTransport,
        id: ChannelId,
        label: str,
        protocol: str,
        ordered: bool,
        max_retransmits: int | None,
        max_lifetime_ms: int | None,
    ) -> None:
        self.transport = transport
        self.id = id
        self.label = label
        self.protocol = protocol
        self.ordered = ordered
        self.max_retransmits = max_retransmits
        self.max_lifetime_ms = max_lifetime_ms
        self.sent: list[Message] = []
        """What the server sent, oldest first."""
        self.is_closed = False
        self.limit_bytes = transport.engine.config.channel_limit_bytes
        is_reliable = max_retransmits is None and max_lifetime_ms is None
        self.on_full = OnFull.CLOSE if is_reliable else OnFull.DROP_OLD
        self.buffered = 0
        """Set by a test to make a slow reader; what is sent before the transport connects counts too."""
        self.links: list[FakeChannel] = []
        self._listener: MessageListener | None = None
        self._hears_one = False
        self._holds = True
        self._held: list[Message] = []

    # The face.

    def listen(self, listener: MessageListener, *, once: bool = False) -> None:
        self._listener, self._hears_one, self._holds = listener, once, True
        while self._held and self._listener is not None:
            self._hear(self._held.pop(0))

    def ignore(self) -> None:
        self._listener, self._holds = None, False
        self._held.clear()

    def link(self, to: Channel) -> None:
        assert isinstance(to, FakeChannel)
        self.transport.engine._check()
        if len(self.links) >= MAX_LINKS:
            raise EngineRefused(f"no more links of this channel: {MAX_LINKS} of {MAX_LINKS} exist")
        if self.is_closed or to.is_closed or to in self.links:
            return
        self.links.append(to)
        if self._listener is None:
            self._holds = False
            while self._held:
                self._pass(self._held.pop(0))

    def unlink(self, to: Channel) -> None:
        self.transport.engine._check()
        self.links = [link for link in self.links if link is not to]

    def send(self, data: bytes, *, text: bool = False) -> bool:
        largest = self.transport.data.max_message_size if self.transport.data else 0
        if largest and len(data) > largest:
            raise BadValue(f"a message of {len(data)} bytes: the peer takes at most {largest}")
        if self.is_closed:
            return False
        if self.buffered + len(data) > self.limit_bytes:
            return self._overflow(Message(bytes(data), text))
        self.sent.append(Message(bytes(data), text))
        if self.transport.phase in (TransportPhase.NEW, TransportPhase.CHECKING):
            self.buffered += len(data)
        return True

    def set_limit(self, limit_bytes: int, on_full: OnFull) -> None:
        self.limit_bytes = limit_bytes
        self.on_full = on_full

    def close(self) -> None:
        self.is_closed = True
        self.links.clear()
        for transport in self.transport.engine.transports.values():
            for channel in transport.channels.values():
                channel.links = [link for link in channel.links if link is not self]
        self.transport.channels.pop(self.id, None)

    # The peer's side, for a test.

    def receive(self, data: bytes, *, text: bool = False) -> None:
        """Let the peer send a message."""
        message = Message(bytes(data), text)
        if self.is_closed:
            return
        self._pass(message)
        if self._listener is not None:
            self._hear(message)
        elif self._holds and not self.links:
            self._held.append(message)

    def reset(self, reason: str = "peer") -> None:
        """Let the peer close it."""
        if not self.is_closed:
            self.close()
            self.transport.hear(ChannelClosed(self.transport.id, self, reason))

    def _hear(self, message: Message) -> None:
        assert self._listener is not None
        listener = self._listener
        if self._hears_one:
            self._listener = None
        listener(message)

    def _pass(self, message: Message) -> None:
        for link in list(self.links):
            with contextlib.suppress(BadValue):
                link.send(message.data, text=message.text)

    def _overflow(self, message: Message) -> bool:
        if self.on_full is OnFull.CLOSE:
            self.reset("full")
        if self.on_full is not OnFull.DROP_OLD:
            return False
        self.sent.append(message)
        return True


def _check_policy(policy: LayerPolicy) -> None:
    for layer in (policy.target, *policy.when_missing):
        if not 0 <= layer <= 255:
            raise BadValue(f"policy: layer {layer} is outside 0 to 255")
    if len(policy.when_missing) > 8:
        raise BadValue("policy.when_missing has more than 8 layers")
    if policy.max_temporal is not None and not 0 <= policy.max_temporal <= 3:
        raise BadValue(f"policy.max_temporal: {policy.max_temporal} is outside 0 to 3")


def _check_media(spec: RecvSpec | SendSpec) -> None:
    if spec.kind is Kind.DATA:
        raise BadValue(f"section {spec.mid!r}: kind is data, which has a DataSpec")
    if not spec.codecs:
        raise BadValue(f"section {spec.mid!r}: no codec")
    for codec in spec.codecs:
        if not 0 <= codec.pt <= 127:
            raise BadValue(f"section {spec.mid!r}: payload type {codec.pt} of {codec.name}: 0 to 127")
