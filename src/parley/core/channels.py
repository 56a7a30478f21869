"""The data channels of peers: opened, listened to, found by participant and label."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from parley.core import facts
from parley.core.model import Limits
from parley.core.peer import Peer
from parley.core.receiving import Report, Tell
from parley.engine.engine import Channel, Engine, OnFull
from parley.engine.errors import BadValue, EngineBusy, EngineClosed

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

    def opened(self, peer: Peer, channel: Channel) -> None:
        """A channel can be used: one of the server's own, or one that the peer opened."""
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
            log.warning("a message was left out", why=str(error), size=len(message))
        return True
