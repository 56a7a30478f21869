"""The data channels of peers: opened, listened to, found by participant and label."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from parley.core import facts
from parley.core.errors import Busy
from parley.core.model import Limits
from parley.core.peer import Line, Peer
from parley.core.receiving import Report, Tell
from parley.core.style import ChannelStyle
from parley.engine.engine import Channel, Engine, MessageListener, OnFull
from parley.engine.errors import BadValue, EngineBusy, EngineClosed, EngineError

log = structlog.get_logger(__name__)


class Channels:
    """Of several channels with one label on a peer, the server's own is the one that is sent on."""

    def __init__(self, engine: Engine, limits: Limits, report: Report, tell: Tell) -> None:
        self._engine = engine
        self._limits = limits
        self._report = report
        self._tell = tell

    def open_own(self, peer: Peer) -> None:
        """Open the channels that the peer's style names."""
        for style in peer.style.channels:
            channel = peer.transport.open_channel(
                style.label,
                id=style.id,
                negotiated=style.negotiated,
                ordered=style.ordered,
                max_retransmits=style.max_retransmits,
                protocol=style.protocol,
            )
            peer.channels[style.label] = channel
            peer.own_channels.add(style.label)

    def open_line(
        self, peer: Peer, style: ChannelStyle, line: Line, limit_bytes: int, *, ack: bool, hear: MessageListener | None
    ) -> Channel:
        """Open a channel that is this line's own affair. Raises Busy.

        limit_bytes: what may wait to be sent; beyond it the newest is dropped, or a reliable channel closed.
        ack: the line hears of the first message; otherwise what arrives goes where it is linked to and nowhere else.
        hear: hears every message besides, where `ack` does not.
        """
        try:
            channel = peer.transport.open_channel(
                style.label,
                id=style.id,
                negotiated=style.negotiated,
                ordered=style.ordered,
                max_retransmits=style.max_retransmits,
                max_lifetime_ms=style.max_lifetime_ms,
                protocol=style.protocol,
            )
        except EngineError as error:
            raise Busy(str(error)) from error
        peer.lines[channel.id] = line
        self._tell(peer, lambda: channel.set_limit(limit_bytes, OnFull.CLOSE if style.is_reliable else OnFull.DROP_NEW))
        if ack:
            channel.listen(lambda _: line.acknowledged(), once=True)
        elif hear is not None:
            channel.listen(hear)
        else:
            channel.ignore()
        return channel

    def link(self, source: Channel, to: Channel) -> None:
        """Pass what arrives on one channel on to another. Raises Busy."""
        try:
            source.link(to)
        except EngineClosed:
            pass  # The channels are gone with it, and that is reported by itself.
        except EngineError as error:
            raise Busy(str(error)) from error

    def unlink(self, peer: Peer, source: Channel, to: Channel) -> None:
        """Pass nothing more on. peer: that of the source, which is closed if the engine cannot be told."""
        self._tell(peer, lambda: source.unlink(to))

    def close_line(self, peer: Peer, channel: Channel) -> None:
        """End such a channel; its line is not told."""
        if peer.lines.pop(channel.id, None) is not None:
            self._tell(peer, channel.close)

    def close(self, peer: Peer) -> None:
        """The peer is closed: every line is told."""
        lines, peer.lines = peer.lines, {}
        for line in lines.values():
            line.ended("transport")

    def opened(self, peer: Peer, channel: Channel) -> None:
        """A channel can be used: one of the server's own, or one that the peer opened."""
        if (line := peer.lines.get(channel.id)) is not None:
            line.opened()
            return
        label = channel.label
        own = peer.channels.get(label) if label in peer.own_channels else None
        is_reliable = channel.max_retransmits is None and channel.max_lifetime_ms is None
        if is_reliable:
            self._tell(peer, lambda: channel.set_limit(self._limits.channel_queue_bytes, OnFull.CLOSE))
        else:
            self._tell(peer, lambda: channel.set_limit(self._limits.lossy_queue_bytes, OnFull.DROP_OLD))
        self._tell(
            peer,
            lambda: channel.listen(
                lambda message: self._report(facts.MessageArrived(peer.participant, label, message.data))
            ),
        )
        if own is None or own.id == channel.id:
            peer.channels[label] = channel
            peer.ready_channels.add(label)
            if peer.style.primary:
                self._report(facts.ChannelReady(peer.participant, label))

    def lost(self, peer: Peer, channel: Channel, reason: str) -> None:
        """A channel has ended, and not because the server closed it."""
        if (line := peer.lines.pop(channel.id, None)) is not None:
            line.ended(reason)
            return
        current = peer.channels.get(channel.label)
        if current is None or current.id != channel.id:
            return
        del peer.channels[channel.label]
        peer.ready_channels.discard(channel.label)
        if peer.style.primary:
            self._report(facts.ChannelLost(peer.participant, channel.label, reason))

    def broadcast(self, channels: Iterable[Channel], message: bytes) -> bool:
        """Send one message on many channels; False, and nothing was sent, when the engine has no room for it now."""
        several = list(channels)
        if not several:
            return True
        try:
            self._engine.broadcast(several, message)
        except EngineBusy:
            return False
        except EngineClosed:
            pass  # The channels are gone with it, and that is reported by itself.
        except BadValue as error:
            if len(several) == 1:
                log.warning("a message was left out", why=str(error), size=len(message))
            else:
                # Too large for one of them, which is no concern of the others.
                sent = [self.broadcast([channel], message) for channel in several]
                return any(sent)
        return True
