"""The compiled media engine. Only `parley.engine.live` talks to it.

Every method returns at once: it pushes a command into a bounded queue, under 3 µs with the
interpreter held. Raises, from `parley.engine.errors`: `EngineBusy` when that queue is full, `EngineClosed`
after `close`, `BadValue` for a value that cannot be used, naming it (`recv[0].codecs[1].pt: 200 is
outside 0 to 127`). Nothing has changed when one of them is raised. No thread of the engine ever takes the
interpreter.

Objects of the engine are named by integers of 64 bits that are never used twice in a process.
"""

from collections.abc import Sequence
from typing import Any, final

from parley.engine.engine import OnFull
from parley.engine.specs import (
    DataSpec,
    EngineConfig,
    Flow,
    LayerPolicy,
    Mid,
    ProducerPolicy,
    RecvSpec,
    RemoteTransport,
    SendSpec,
)

__version__: str
"""Of the compiled module: the version of the workspace it was built from."""

@final
class Engine:
    """One engine with its threads and its UDP socket."""

    def __init__(self, config: EngineConfig) -> None:
        """Bind the socket and start. Raises EngineRefused with the system's words when it cannot."""

    @property
    def local_address(self) -> tuple[str, int]:
        """Address and port the media socket is bound to, whatever is announced."""

    def fileno(self) -> int:
        """A descriptor that is readable while events wait; the engine's own, not to be closed or read."""

    def drain(self, limit: int = 512) -> list[tuple[Any, ...]]:
        """Take the oldest events, at most `limit`; while more wait `fileno` stays readable.

        Each is a name and its fields:

        `("transport_state", transport, phase, reason | None)`, `("ice_selected", transport, "ip:port", "udp")`,
        `("dtls_connected", transport, version, srtp_profile | None)`,
        `("first_packet", producer, layer, codec, ago_s)`, `("first_forwarded", consumer, ago_s)`,
        `("layer_active", producer, layer, ago_s)`, `("layer_inactive", producer, layer, ago_s, last_packet_ago_s)`,
        `("producer_paused", producer, reason)`, `("producer_resumed", producer)`,
        `("consumer_paused", consumer, reason)`, `("consumer_resumed", consumer)`,
        `("consumer_layer", consumer, layer | None)`, `("layer_demand", producer, bitmask of layers)`,
        `("channel_open", transport, Channel, opened_by_the_peer)`, `("channel_message", channel, bytes, is_text)`,
        `("channel_low", channel)`, `("channel_closed", channel, reason)`,
        `("done", request, None | "gone" | "refused" | "internal", None | why)`,
        `("stats", request, {field of TransportStats: value})`, with producers and consumers as lists of dicts,
        `("overflow", shard, lost)`, `("internal_error", shard, transport | None)`, `("ended", shard)`.

        A time is its age when it is drained: how many seconds ago it was.
        """

    def has_room(self, commands: int = 1) -> bool:
        """Whether so many commands fit. Python is the queue's only producer: a yes holds until the next call."""

    def create_transport(self, *, group: int, lite: bool = True) -> Transport:
        """Make a transport, with ICE-lite or full ICE. Raises EngineRefused when there are as many as there may be."""

    def broadcast(self, channels: Sequence[Channel], data: bytes, *, text: bool = False) -> int:
        """Send one message on many channels with one command; how many took it."""

    def counters(self) -> dict[str, int]:
        """Every counter and gauge by its name in `parley.engine.counters`; never waits, works after `close`."""

    def close(self, timeout_s: float = 2.0) -> bool:
        """Close every transport and wait, with the interpreter released, for the threads to end.

        Whether they did; twice is once.
        """

@final
class Transport:
    """One ICE, DTLS, SRTP and SCTP association."""

    @property
    def id(self) -> int: ...
    @property
    def ufrag(self) -> str:
        """Of the latest generation, as `pwd`."""

    @property
    def pwd(self) -> str: ...
    @property
    def fingerprint(self) -> str:
        """`sha-256 AB:CD:…`"""

    @property
    def candidates(self) -> list[str]:
        """Complete, each from `candidate:` on."""

    def apply(
        self,
        *,
        remote: RemoteTransport | None = None,
        end: Sequence[tuple[Mid, Flow]] = (),
        recv: Sequence[RecvSpec] = (),
        send: Sequence[SendSpec] = (),
        data: DataSpec | None = None,
    ) -> Applied:
        """One command, all or nothing; answered by one `done`."""

    def add_remote_candidate(self, candidate: str) -> int:
        """A request; answered by `done`."""

    def restart_ice(self) -> tuple[str, str]:
        """New ufrag and pwd; the old ones stay valid until the peer uses the new."""

    def set_bitrate(self, *, max_in_bps: int | None = None) -> int:
        """Cap what the peer sends (REMB). A request; answered by `done`."""

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
        """Open a channel; `channel_open` follows when it is."""

    def stats(self) -> int:
        """A request; answered by `stats`, or by `done` with the error."""

    def close(self) -> None:
        """End it and everything on it, telling the peer. No event but the last state follows."""

@final
class Applied:
    """What `Transport.apply` knows at once."""

    @property
    def request(self) -> int: ...
    @property
    def producers(self) -> list[Producer]:
        """One for every `RecvSpec`, in the same order."""

    @property
    def consumers(self) -> list[Consumer]:
        """One for every `SendSpec`, in the same order."""

@final
class Producer:
    """One received track. Commands to one that is gone are ignored."""

    @property
    def id(self) -> int: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def request_keyframe(self, layer: int | None = None) -> None:
        """Merged with what others ask and throttled; None: every layer."""

    def set_policy(self, policy: ProducerPolicy) -> None: ...

@final
class Consumer:
    """One sent track. Commands to one that is gone are ignored."""

    @property
    def id(self) -> int: ...
    def set_source(self, source: Producer | None, policy: LayerPolicy | None = None) -> None:
        """Forward this producer from its next keyframe on, the old one until then; None: nothing.

        policy: set with it; None: it is kept.
        """

    def set_policy(self, policy: LayerPolicy) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def request_keyframe(self) -> None: ...

@final
class Channel:
    """One data channel."""

    @property
    def id(self) -> int: ...
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
    def stream(self) -> int | None:
        """Its SCTP stream; None while that is still to be chosen."""

    @property
    def buffered(self) -> int:
        """Bytes taken by `send` that SCTP has not been given."""

    def listen(self, *, once: bool = False) -> None:
        """Deliver every message, those held first, or the first and hold those behind it."""

    def ignore(self) -> None:
        """Deliver none and hold none."""

    def link(self, to: Channel) -> None:
        """Pass every message on to another channel; see `parley.engine.engine.Channel.link`."""

    def unlink(self, to: Channel) -> None:
        """Pass nothing more on to it."""

    def send(self, data: bytes, *, text: bool = False) -> bool:
        """Whether the message was taken; see `parley.engine.engine.Channel.send`."""

    def set_limit(self, limit_bytes: int, on_full: OnFull) -> None: ...
    def close(self) -> None:
        """Reset the stream once what was queued before has been sent."""
