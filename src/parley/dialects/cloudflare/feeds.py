"""What the participants of a room say, as data channels of the sessions in it; and what these say, to the room.

Data in a room has a topic. A session that is bound to the room says something under a topic on its local channel of
that name, and hears a participant on a remote channel that names the participant as `sessionId`, and the topic.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from parley.core.core import Core
from parley.core.data import Data
from parley.core.events import DataReceived, Event, ParticipantLeft
from parley.dialects.cloudflare.channels import End
from parley.engine.engine import Message
from parley.errors import ParleyError
from parley.ids import ParticipantId

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Said:
    """What is said under one topic, as one session of the room hears it."""

    by: ParticipantId
    to: ParticipantId
    topic: str


@dataclass(eq=False, kw_only=True)
class Follower(End):
    """An end that hears one participant of the session's room, on one topic."""

    said: Said
    core: Core
    feeds: Feeds
    can_reply: bool = field(init=False)
    """Whether its messages go to that participant."""

    def __post_init__(self) -> None:
        self.hear = self.heard
        self.can_reply = self.item.can_reply is True

    def follow(self, ack_s: float) -> None:
        self.feeds.add(self)
        if self.item.wait_for_ack:
            self.await_ack(ack_s)

    def set_reply(self, allowed: bool) -> None:
        self.can_reply = allowed

    def pass_on(self, data: Data) -> None:
        if not self.is_ready:
            return
        if not self.peers.broadcast([self.channel], data.payload) and self.style.is_reliable:
            self.close()  # A gap would be worse.

    def heard(self, message: Message) -> None:
        """The first message acknowledges, where that is awaited; others are said to the participant alone."""
        if not self.is_ready:
            self.ready()
        elif self.can_reply:
            say(self.core, self.said.to, self, message, to=(self.said.by,))

    def _finish(self) -> None:
        super()._finish()
        self.feeds.drop(self)


class Feeds:
    """Every follower of every session."""

    def __init__(self) -> None:
        self._by_source: dict[ParticipantId, dict[Said, Follower]] = {}

    def get(self, said: Said) -> Follower | None:
        return self._by_source.get(said.by, {}).get(said)

    def add(self, follower: Follower) -> None:
        self._by_source.setdefault(follower.said.by, {})[follower.said] = follower

    def drop(self, follower: Follower) -> None:
        of_source = self._by_source.get(follower.said.by, {})
        of_source.pop(follower.said, None)
        if not of_source:
            self._by_source.pop(follower.said.by, None)

    def hear(self, event: Event) -> None:
        """Take an event of a session's. It may come once for each session of the room."""
        match event:
            case DataReceived(to=to, sender=sender, data=data) if sender is not None:
                follower = self.get(Said(sender.id, to, data.topic))
                if follower is not None:
                    follower.pass_on(data)
            case ParticipantLeft(participant=participant):
                for follower in list(self._by_source.get(participant.id, {}).values()):
                    follower.close()


def say(core: Core, session: ParticipantId, end: End, message: Message, *, to: tuple[ParticipantId, ...] = ()) -> None:
    """Pass a message of a session's channel on to its room, or to some there, under the channel's name."""
    data = Data(payload=message.data, reliable=end.style.is_reliable, topic=end.style.label, to_ids=to)
    try:
        core.rooms.send(session, data)
    except ParleyError as error:
        log.debug("data did not go to the room", why=str(error))
