"""A participant's place in a room: what its dialect gets, and what the shell keeps beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from parley.core.events import Event
from parley.core.mailbox import Mailbox
from parley.core.model import Participant, RoomInfo
from parley.core.room import Room
from parley.ids import ParticipantId

Listener = Callable[[Event], None]
"""Hears a participant's events as they happen. It must neither wait nor ask core for a change."""


@dataclass(frozen=True, slots=True)
class Seat:
    """What a participant gets when it joins."""

    participant: Participant
    """Itself, as it joined."""
    room: RoomInfo
    others: tuple[Participant, ...]
    """Everybody else it may know of, as they were at that moment; what happens later is in `events`."""
    events: Mailbox
    """Everything that concerns it from then on, in order. Its last event is its own `ParticipantLeft`."""

    @property
    def id(self) -> ParticipantId:
        return self.participant.id


@dataclass(eq=False)
class Member:
    """What the shell keeps beside a participant."""

    room: Room
    mailbox: Mailbox
    listener: Listener | None = None
    """Hears every event in place of the mailbox."""
    is_leaving: bool = False
    is_slow: bool = False
    is_told: bool = True
    """Whether events are put into its mailbox."""
