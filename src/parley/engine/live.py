"""The engine itself behind the face of `parley.engine.engine`.

The compiled module knows commands and tuples; here they become awaitable answers, typed events and
calls of listeners. Everything runs on one event loop and none of it waits with the loop held.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

import structlog

from parley import _native
from parley.clock import within
from parley.engine.bridge import Bridge
from parley.engine.engine import (
    Applied,
    Channel,
    ConsumerStats,
    EngineListener,
    Message,
    MessageListener,
    OnFull,
    Producer,
    ProducerStats,
    TransportListener,
    TransportStats,
)
from parley.engine.errors import EngineClosed, EngineError, EngineRefused, EngineTimeout
from parley.engine.events import (
    ChannelClosed,
    ChannelLow,
    ChannelOpen,
    ConsumerLayer,
    ConsumerPaused,
    ConsumerResumed,
    DtlsConnected,
    EngineEnded,
    EngineEvent,
    FirstForwarded,
    FirstPacket,
    IceSelected,
    InternalError,
    LayerActive,
    LayerDemand,
    LayerInactive,
    Overflow,
    ProducerPaused,
    ProducerResumed,
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
    TransportId,
    TransportParams,
)

log = structlog.get_logger(__name__)

_Heard = TypeVar("_Heard")


def open_engine(config: EngineConfig) -> LiveEngine:
    """Start the engine and watch it from the running event loop.

    Raises BadValue for a configuration that cannot work, EngineRefused when the system says no: the
    port is taken, or binding it is not allowed.
    """
    return LiveEngine(config, asyncio.get_running_loop())


class LiveEngine:
    """The media engine of this process; `Engine` of the face."""

    def __init__(self, config: EngineConfig, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._native = _native.Engine(config)
        self._bridge: Bridge | None = Bridge(loop, self._native, self._handle)
        self._listener: EngineListener | None = None
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._transports: dict[int, LiveTransport] = {}
        self._producers: dict[int, LiveProducer] = {}
        self._consumers: dict[int, LiveConsumer] = {}
        self._channels: dict[int, LiveChannel] = {}

    @property
    def local_address(self) -> tuple[str, int]:
        """Address and port the media socket is bound to, whatever is announced."""
        return self._native.local_address

    # The face.

    def on_event(self, listener: EngineListener) -> None:
        self._listener = listener

    def has_room(self, commands: int = 1) -> bool:
        return self._native.has_room(commands)

    def create_transport(self, *, group: int, on_event: TransportListener, lite: bool = True) -> LiveTransport:
        transport = LiveTransport(self, self._native.create_transport(group=group, lite=lite), on_event, lite)
        self._transports[transport.id] = transport
        return transport

    def broadcast(self, channels: Sequence[Channel], data: bytes, *, text: bool = False) -> int:
        natives = [channel.native for channel in channels if isinstance(channel, LiveChannel)]
        return self._native.broadcast(natives, data, text=text)

    def counters(self) -> Mapping[str, int]:
        return self._native.counters()

    async def close(self, timeout_s: float = 2.0) -> None:
        if self._bridge is None:
            return
        self._bridge.stop()
        # The bridge holds us: without this cycle our descriptors go with the last reference.
        self._bridge = None
        for transport in list(self._transports.values()):
            self.forget(transport)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(EngineClosed("the engine is closed"))
        if not await asyncio.to_thread(self._native.close, timeout_s):
            log.error("the engine did not end in time", timeout_s=timeout_s)

    # For the objects below.

    async def answer(self, request: int, what: str, deadline_s: float) -> Any:
        """Wait for the engine's answer to a request."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._answers[request] = future
        try:
            async with within(deadline_s):
                return await future
        except TimeoutError as late:
            raise EngineTimeout(f"no answer to {what} within {deadline_s} s") from late
        finally:
            del self._answers[request]

    def add_media(self, made: LiveProducer | LiveConsumer) -> None:
        if isinstance(made, LiveProducer):
            self._producers[made.id] = made
        else:
            self._consumers[made.id] = made

    def forget_media(self, gone: LiveProducer | LiveConsumer) -> None:
        if isinstance(gone, LiveProducer):
            self._producers.pop(gone.id, None)
        else:
            self._consumers.pop(gone.id, None)

    def add_channel(self, channel: LiveChannel) -> None:
        self._channels[channel.id] = channel
        channel.transport.channels.add(channel.id)

    def forget_channel(self, id: int) -> LiveChannel | None:
        """Drop a channel; None: it has been dropped before."""
        channel = self._channels.pop(id, None)
        if channel is not None:
            channel.transport.channels.discard(channel.id)
        return channel

    def forget(self, transport: LiveTransport) -> None:
        """Drop a transport and everything on it; events that are under way find nobody."""
        self._transports.pop(transport.id, None)
        for media in transport.media():
            self.forget_media(media)
        for channel in list(transport.channels):
            self.forget_channel(channel)

    # What comes up. Every handler takes the fields of its tuple, as `_native.pyi` lists them.

    def _handle(self, event: tuple[Any, ...]) -> None:
        name, *fields = event
        try:
            self._HANDLERS[name](self, *fields)
        except Exception:
            log.exception("engine event not handled", engine_event=name)

    def _on_transport_state(self, transport: int, phase: str, reason: str | None) -> None:
        if (owner := self._transports.get(transport)) is not None:
            owner.hear(TransportState(owner.id, TransportPhase(phase), reason))

    def _on_ice_selected(self, transport: int, remote: str, protocol: str) -> None:
        if (owner := self._transports.get(transport)) is not None:
            owner.hear(IceSelected(owner.id, remote, protocol))

    def _on_dtls_connected(self, transport: int, version: str, srtp_profile: str | None) -> None:
        if (owner := self._transports.get(transport)) is not None:
            owner.hear(DtlsConnected(owner.id, version, srtp_profile))

    def _on_first_packet(self, producer: int, layer: int, codec: str, ago_s: float) -> None:
        if (source := self._producers.get(producer)) is not None:
            owner = source.transport
            owner.hear(FirstPacket(owner.id, source.id, source.mid, layer, codec, _when(ago_s)))

    def _on_layer_active(self, producer: int, layer: int, ago_s: float) -> None:
        if (source := self._producers.get(producer)) is not None:
            source.transport.hear(LayerActive(source.transport.id, source.id, layer, _when(ago_s)))

    def _on_layer_inactive(self, producer: int, layer: int, ago_s: float, last_packet_ago_s: float) -> None:
        if (source := self._producers.get(producer)) is not None:
            owner = source.transport
            owner.hear(LayerInactive(owner.id, source.id, layer, _when(ago_s), _when(last_packet_ago_s)))

    def _on_first_forwarded(self, consumer: int, ago_s: float) -> None:
        if (sender := self._consumers.get(consumer)) is not None:
            sender.transport.hear(FirstForwarded(sender.transport.id, sender.id, _when(ago_s)))

    def _on_producer_paused(self, producer: int, reason: str) -> None:
        if (source := self._producers.get(producer)) is not None:
            source.transport.hear(ProducerPaused(source.transport.id, source.id, reason))

    def _on_producer_resumed(self, producer: int) -> None:
        if (source := self._producers.get(producer)) is not None:
            source.transport.hear(ProducerResumed(source.transport.id, source.id))

    def _on_consumer_paused(self, consumer: int, reason: str) -> None:
        if (sender := self._consumers.get(consumer)) is not None:
            sender.transport.hear(ConsumerPaused(sender.transport.id, sender.id, reason))

    def _on_consumer_resumed(self, consumer: int) -> None:
        if (sender := self._consumers.get(consumer)) is not None:
            sender.transport.hear(ConsumerResumed(sender.transport.id, sender.id))

    def _on_consumer_layer(self, consumer: int, layer: int | None) -> None:
        if (sender := self._consumers.get(consumer)) is not None:
            sender.transport.hear(ConsumerLayer(sender.transport.id, sender.id, layer))

    def _on_layer_demand(self, producer: int, mask: int) -> None:
        if (source := self._producers.get(producer)) is not None:
            layers = tuple(layer for layer in range(mask.bit_length()) if mask >> layer & 1)
            source.transport.hear(LayerDemand(source.transport.id, source.id, layers))

    def _on_channel_open(self, transport: int, native: _native.Channel, remote: bool) -> None:
        owner = self._transports.get(transport)
        if owner is None:
            return
        channel = self._channels.get(native.id)
        if channel is None:
            if not remote:  # closed by us while its OPEN was under way
                return
            channel = LiveChannel(owner, native)
            self.add_channel(channel)
        owner.hear(ChannelOpen(owner.id, channel, remote))

    def _on_channel_message(self, channel: int, data: bytes, text: bool) -> None:
        if (target := self._channels.get(channel)) is not None:
            target.hear(Message(data, text))

    def _on_channel_low(self, channel: int) -> None:
        if (target := self._channels.get(channel)) is not None:
            target.transport.hear(ChannelLow(target.transport.id, target))

    def _on_channel_closed(self, channel: int, reason: str) -> None:
        if (target := self.forget_channel(channel)) is not None:
            target.transport.hear(ChannelClosed(target.transport.id, target, reason))

    def _on_done(self, request: int, kind: str | None, text: str | None) -> None:
        answer = self._answers.get(request)
        if answer is None or answer.done():
            return
        if kind is None:
            answer.set_result(None)
        else:
            answer.set_exception(_failure(kind, text or kind))

    def _on_stats(self, request: int, stats: dict[str, Any]) -> None:
        answer = self._answers.get(request)
        if answer is not None and not answer.done():
            answer.set_result(_read_stats(stats))

    def _on_overflow(self, shard: int, lost: int) -> None:
        log.error("engine events lost", shard=shard, lost=lost)
        self._tell(Overflow(lost))

    def _on_internal_error(self, shard: int, transport: int | None) -> None:
        log.error("engine contained a mistake of its own", shard=shard, transport=transport)
        event = InternalError(None if transport is None else TransportId(transport), "internal")
        owner = None if transport is None else self._transports.get(transport)
        if owner is not None:
            owner.hear(event)
        else:
            self._tell(event)

    def _on_ended(self, shard: int) -> None:
        log.error("the media engine has ended: no call goes on, and the server must be restarted", shard=shard)
        self._tell(EngineEnded())

    def _tell(self, event: EngineEvent) -> None:
        if self._listener is not None:
            call(self._listener, event)

    _HANDLERS: ClassVar[dict[str, Callable[..., None]]] = {
        "transport_state": _on_transport_state,
        "ice_selected": _on_ice_selected,
        "dtls_connected": _on_dtls_connected,
        "first_packet": _on_first_packet,
        "layer_active": _on_layer_active,
        "layer_inactive": _on_layer_inactive,
        "first_forwarded": _on_first_forwarded,
        "producer_paused": _on_producer_paused,
        "producer_resumed": _on_producer_resumed,
        "consumer_paused": _on_consumer_paused,
        "consumer_resumed": _on_consumer_resumed,
        "consumer_layer": _on_consumer_layer,
        "layer_demand": _on_layer_demand,
        "channel_open": _on_channel_open,
        "channel_message": _on_channel_message,
        "channel_low": _on_channel_low,
        "channel_closed": _on_channel_closed,
        "done": _on_done,
        "stats": _on_stats,
        "overflow": _on_overflow,
        "internal_error": _on_internal_error,
        "ended": _on_ended,
    }


class LiveTransport:
    """`Transport` of the face."""

    def __init__(self, engine: LiveEngine, native: _native.Transport, on_event: TransportListener, lite: bool) -> None:
        self.engine = engine
        self.native = native
        self.id = TransportId(native.id)
        self.params = _params(native, lite)
        self.producers: dict[Mid, LiveProducer] = {}
        self.consumers: dict[Mid, LiveConsumer] = {}
        self.channels: set[ChannelId] = set()
        self._on_event = on_event
        self._is_closed = False

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
        native = self.native.apply(remote=remote, end=end, recv=recv, send=send, data=data)
        producers = [self._producer(made, spec) for made, spec in zip(native.producers, recv, strict=True)]
        consumers = [self._consumer(made, spec) for made, spec in zip(native.consumers, send, strict=True)]
        # Their first events may stand beside the answer, so they must be known before it.
        media: list[LiveProducer | LiveConsumer] = [*producers, *consumers]
        for made in media:
            self.engine.add_media(made)
        try:
            await self.engine.answer(native.request, f"apply on transport {self.id}", deadline_s)
        except BaseException:
            self._forget_unless_installed(media)
            raise
        if self._is_closed:
            self._forget_unless_installed(media)
            raise EngineClosed(f"transport {self.id} is closed")
        self._install(end, producers, consumers)
        return Applied({p.mid: p for p in producers}, {c.mid: c for c in consumers})

    def add_remote_candidate(self, candidate: str) -> None:
        self._check()
        self.native.add_remote_candidate(candidate)

    def restart_ice(self) -> TransportParams:
        self._check()
        self.native.restart_ice()
        self.params = _params(self.native, self.params.lite)
        return self.params

    def set_bitrate(self, *, max_in_bps: int | None = None) -> None:
        self._check()
        self.native.set_bitrate(max_in_bps=max_in_bps)

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
    ) -> LiveChannel:
        self._check()
        native = self.native.open_channel(
            label,
            id=id,
            negotiated=negotiated,
            ordered=ordered,
            max_retransmits=max_retransmits,
            max_lifetime_ms=max_lifetime_ms,
            protocol=protocol,
        )
        channel = LiveChannel(self, native)
        self.engine.add_channel(channel)
        return channel

    async def stats(self, *, deadline_s: float = 1.0) -> TransportStats:
        self._check()
        stats = await self.engine.answer(self.native.stats(), f"stats of transport {self.id}", deadline_s)
        assert isinstance(stats, TransportStats)
        return stats

    def close(self) -> None:
        if self._is_closed:
            return
        self.native.close()
        self._is_closed = True
        self.engine.forget(self)

    def media(self) -> list[LiveProducer | LiveConsumer]:
        return [*self.producers.values(), *self.consumers.values()]

    def hear(self, event: TransportEvent) -> None:
        """Tell the listener."""
        if not self._is_closed:
            call(self._on_event, event)

    def _check(self) -> None:
        if self._is_closed:
            raise EngineClosed(f"transport {self.id} is closed")

    def _producer(self, native: _native.Producer, spec: RecvSpec) -> LiveProducer:
        known = self.producers.get(spec.mid)
        if known is not None and known.id == native.id:
            return known
        return LiveProducer(self, native, spec)

    def _consumer(self, native: _native.Consumer, spec: SendSpec) -> LiveConsumer:
        known = self.consumers.get(spec.mid)
        if known is not None and known.id == native.id:
            return known
        return LiveConsumer(self, native, spec)

    def _install(
        self,
        end: Sequence[tuple[Mid, Flow]],
        producers: Sequence[LiveProducer],
        consumers: Sequence[LiveConsumer],
    ) -> None:
        for mid, flow in end:
            ended = self.producers.pop(mid, None) if flow is Flow.RECV else self.consumers.pop(mid, None)
            if ended is not None:
                self.engine.forget_media(ended)
        self.producers.update({producer.mid: producer for producer in producers})
        self.consumers.update({consumer.mid: consumer for consumer in consumers})

    def _forget_unless_installed(self, media: list[LiveProducer | LiveConsumer]) -> None:
        installed = {known.id for known in self.media()}
        for made in media:
            if made.id not in installed:
                self.engine.forget_media(made)


class LiveProducer:
    """`Producer` of the face."""

    def __init__(self, transport: LiveTransport, native: _native.Producer, spec: RecvSpec) -> None:
        self.transport = transport
        self.native = native
        self.id = ProducerId(native.id)
        self.mid: Mid = spec.mid
        self.kind: Kind = spec.kind

    def pause(self) -> None:
        self.native.pause()

    def resume(self) -> None:
        self.native.resume()

    def request_keyframe(self) -> None:
        self.native.request_keyframe()

    def set_policy(self, policy: ProducerPolicy) -> None:
        self.native.set_policy(policy)


class LiveConsumer:
    """`Consumer` of the face."""

    def __init__(self, transport: LiveTransport, native: _native.Consumer, spec: SendSpec) -> None:
        self.transport = transport
        self.native = native
        self.id = ConsumerId(native.id)
        self.mid: Mid = spec.mid
        self.kind: Kind = spec.kind

    def set_source(self, source: Producer | None, policy: LayerPolicy | None = None) -> None:
        assert source is None or isinstance(source, LiveProducer), "a producer of another engine"
        self.native.set_source(None if source is None else source.native, policy)

    def set_policy(self, policy: LayerPolicy) -> None:
        self.native.set_policy(policy)

    def pause(self) -> None:
        self.native.pause()

    def resume(self) -> None:
        self.native.resume()

    def request_keyframe(self) -> None:
        self.native.request_keyframe()


class LiveChannel:
    """`Channel` of the face."""

    def __init__(self, transport: LiveTransport, native: _native.Channel) -> None:
        self.transport = transport
        self.native = native
        self.id = ChannelId(native.id)
        self.label: str = native.label
        self.protocol: str = native.protocol
        self.ordered: bool = native.ordered
        self.max_retransmits: int | None = native.max_retransmits
        self.max_lifetime_ms: int | None = native.max_lifetime_ms
        self._listener: MessageListener | None = None
        self._is_closed = False

    @property
    def buffered(self) -> int:
        return self.native.buffered

    def listen(self, listener: MessageListener, *, once: bool = False) -> None:
        self._listener = listener
        self.native.listen(once=once)

    def ignore(self) -> None:
        self._listener = None
        self.native.ignore()

    def link(self, to: Channel) -> None:
        assert isinstance(to, LiveChannel), "a channel of another engine"
        self.native.link(to.native)

    def unlink(self, to: Channel) -> None:
        assert isinstance(to, LiveChannel), "a channel of another engine"
        self.native.unlink(to.native)

    def send(self, data: bytes, *, text: bool = False) -> bool:
        return not self._is_closed and self.native.send(data, text=text)

    def set_limit(self, limit_bytes: int, on_full: OnFull) -> None:
        self.native.set_limit(limit_bytes, on_full)

    def close(self) -> None:
        if self._is_closed:
            return
        self.native.close()
        self._is_closed = True
        self.transport.engine.forget_channel(self.id)

    def hear(self, message: Message) -> None:
        """Hand a message to the listener."""
        if self._listener is not None:
            call(self._listener, message)


def call(listener: Callable[[_Heard], None], heard: _Heard) -> None:
    """Call a listener; a mistake of its own is logged and goes no further."""
    try:
        listener(heard)
    except Exception:
        log.exception("engine listener failed", heard=type(heard).__name__)


def _when(ago_s: float) -> float:
    """A moment on the monotonic clock, from its age."""
    return time.monotonic() - ago_s


def _params(native: _native.Transport, lite: bool) -> TransportParams:
    return TransportParams(
        ufrag=native.ufrag,
        pwd=native.pwd,
        fingerprint=native.fingerprint,
        candidates=tuple(native.candidates),
        lite=lite,
    )


def _failure(kind: str, text: str) -> EngineError:
    return EngineClosed(text) if kind == "gone" else EngineRefused(text)


def _read_stats(values: dict[str, Any]) -> TransportStats:
    values["phase"] = TransportPhase(values["phase"])
    values["producers"] = tuple(ProducerStats(**producer) for producer in values["producers"])
    values["consumers"] = tuple(ConsumerStats(**consumer) for consumer in values["consumers"])
    return TransportStats(**values)
