"""Data channels of sessions: a publisher's messages go to its subscribers, and some of theirs come back.

The engine passes them on, along links that are made and ended here. Both ends of a channel are known by an id that the
API hands out, so nothing is said on the wire to open one. The publisher's channel is `local` to its session; each
subscriber has a `remote` one in its own.
Source: Cloudflare Realtime documentation, "DataChannels".
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from parley.core.errors import Busy
from parley.core.peer import Line
from parley.core.peers import Peers
from parley.core.style import ChannelStyle
from parley.dialects.cloudflare import wire
from parley.engine.engine import Channel, MessageListener
from parley.ids import PeerId

SERVER_EVENTS = "server-events"
"""The channel 0 that only serves to bring data up; nothing is ever said on it."""
FIRST_ID, LAST_ID = 1, 1023
REST_S = 30.0
"""How long an id rests before another channel may have it: what is still on its way must not be taken for news."""

Status = Literal["active", "inactive", "initializing"]


@dataclass(eq=False)
class End(Line):
    """One session's end of a data channel."""

    holds_replies: ClassVar[bool] = False
    """Whether what the client says behind its acknowledgement waits in the engine for a link back."""

    peers: Peers
    peer: PeerId
    item: wire.ChannelItem
    id: int
    hear: MessageListener | None = None
    """Hears every message, beside the engine's links."""
    channel: Channel = field(init=False)
    status: Status = "initializing"
    closed_at: float = 0.0
    """On the loop's clock."""
    is_ready: bool = True
    """Whether its client has acknowledged, or need not."""
    deadline: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        return self.status != "inactive"

    @property
    def style(self) -> ChannelStyle:
        """How the server sends on it; both ends are told the same by the application."""
        item = self.item
        return ChannelStyle(
            label=item.data_channel_name,
            ordered=item.ordered is not False,
            max_retransmits=item.max_retransmits,
            max_lifetime_ms=item.max_packet_life_time,
            id=self.id,
            negotiated=True,
        )

    def start(self, limit_bytes: int) -> None:
        """Open it. Raises Busy, PeerNotFound."""
        ack = self.holds_replies and self.item.wait_for_ack is True
        self.channel = self.peers.open_channel(self.peer, self.style, self, limit_bytes, ack=ack, hear=self.hear)

    def follow(self, ack_s: float) -> None:
        """Begin to receive, once it is open: from now on, or from the acknowledgement on. Raises Busy."""

    def await_ack(self, within_s: float) -> None:
        """Pass nothing on before the client's first message, and end it if that does not come in time."""
        self.is_ready = False
        self.deadline = asyncio.get_running_loop().call_later(within_s, self.close)

    def ready(self) -> None:
        """The first message has come."""
        self.is_ready = True
        self._stop_waiting()

    def close(self) -> None:
        """End it from our side, with whatever depends on it."""
        was_open = self.is_open
        self._finish()
        if was_open:
            self.peers.close_channel(self.peer, self.channel)

    # What its channel tells.

    def opened(self) -> None:
        if self.is_open:
            self.status = "active"

    def acknowledged(self) -> None:
        """Nobody says anything on it that is awaited here."""

    def ended(self, reason: str) -> None:
        self._finish()

    def _finish(self) -> None:
        self._stop_waiting()
        if self.is_open:
            self.status = "inactive"
            self.closed_at = asyncio.get_running_loop().time()

    def _stop_waiting(self) -> None:
        if self.deadline is not None:
            self.deadline.cancel()
            self.deadline = None


@dataclass(eq=False)
class Publisher(End):
    """The end whose messages go to every subscriber."""

    subscribers: list[Subscriber] = field(default_factory=list)
    holder: Subscriber | None = None
    """The one subscriber whose messages come back."""

    def let_reply(self, one: Subscriber | None) -> None:
        """Have this subscriber's messages come back, and no other's. Raises Busy."""
        if one is not None and one.is_ready:
            self.peers.link(one.channel, self.channel)
        holder, self.holder = self.holder, one
        if holder is not None and holder is not one:
            self.peers.unlink(holder.peer, holder.channel, self.channel)

    def _finish(self) -> None:
        super()._finish()
        self.holder = None
        for one in list(self.subscribers):
            one.close()


@dataclass(eq=False, kw_only=True)
class Subscriber(End):
    """An end that receives a publisher's messages."""

    holds_replies = True

    publisher: Publisher

    def follow(self, ack_s: float) -> None:
        self.publisher.subscribers.append(self)
        if self.item.wait_for_ack:
            self.await_ack(ack_s)
        else:
            self.peers.link(self.publisher.channel, self.channel)
        self.set_reply(self.item.can_reply is True)

    def set_reply(self, allowed: bool) -> None:
        """Let its messages come back, in place of anybody else's; or no longer. Raises Busy."""
        if not self.publisher.is_open:
            return
        if allowed:
            self.publisher.let_reply(self)
        elif self.publisher.holder is self:
            self.publisher.let_reply(None)

    def acknowledged(self) -> None:
        """Receive from here on; what the client has said behind its first message comes back if it may reply."""
        if not self.is_open:
            return
        self.ready()
        try:
            self.peers.link(self.publisher.channel, self.channel)
            if self.publisher.holder is self:
                self.peers.link(self.channel, self.publisher.channel)
            else:
                self.channel.ignore()
        except Busy:
            self.close()

    def _finish(self) -> None:
        super()._finish()
        if self in self.publisher.subscribers:
            self.publisher.subscribers.remove(self)
            if self.publisher.holder is self:
                self.publisher.holder = None


class Events(Line):
    """Channel 0, on which nothing is said."""

    def __init__(self, peers: Peers, peer: PeerId) -> None:
        self.status: Status = "initializing"
        self._peers = peers
        self._peer = peer
        self._channel: Channel | None = None

    def open(self, limit_bytes: int) -> None:
        """Open it from our side, which tells the client of it."""
        if self._channel is None:
            style = ChannelStyle(label=SERVER_EVENTS, id=0)
            self._channel = self._peers.open_channel(self._peer, style, self, limit_bytes)

    def close(self) -> None:
        self.status = "inactive"
        if self._channel is not None:
            self._peers.close_channel(self._peer, self._channel)

    def opened(self) -> None:
        self.status = "active"

    def acknowledged(self) -> None:
        """Nothing is documented that a client could say here."""

    def ended(self, reason: str) -> None:
        self.status = "inactive"


class Ends:
    """A session's ends of data channels, by id."""

    def __init__(self) -> None:
        self._all: dict[int, End] = {}
        self._next = FIRST_ID
        self.events: Events | None = None
        """Channel 0, where it was asked for."""

    def __iter__(self) -> Iterator[End]:
        return iter(self._all.values())

    def get(self, id: int) -> End | None:
        """The open end of this id."""
        end = self._all.get(id)
        return end if end is not None and end.is_open else None

    def published(self, name: str) -> Publisher | None:
        """The open local channel of this name."""
        return next((end for end in self if isinstance(end, Publisher) and self._is(end, name)), None)

    def subscribed(self, publisher: Publisher) -> Subscriber | None:
        """The open remote channel of this publisher."""
        return next(
            (end for end in self if isinstance(end, Subscriber) and end.is_open and end.publisher is publisher), None
        )

    def free_id(self, now: float) -> int | None:
        """An id that nobody has or had a moment ago; None: all are taken."""
        if self._next <= LAST_ID:
            return self._next
        rested = (id for id, end in self._all.items() if not end.is_open and end.closed_at + REST_S <= now)
        return next(rested, None)

    def add(self, end: End) -> None:
        """List an end under its id, in place of a closed one."""
        self._next = max(self._next, end.id + 1)
        self._all.pop(end.id, None)
        self._all[end.id] = end

    def _is(self, end: End, name: str) -> bool:
        return end.is_open and end.item.data_channel_name == name
