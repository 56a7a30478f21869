"""Who is told of an event through its queue, and which earlier news that makes needless."""

from __future__ import annotations

from collections.abc import Hashable

from parley.core.events import (
    Event,
    ParticipantEvent,
    ParticipantJoined,
    ParticipantLeft,
    PeerWantsOffer,
    Personal,
    RoomUpdated,
    TrackAnnounced,
    TrackEnded,
    TrackEvent,
    TrackUpdated,
)
from parley.core.room import Room
from parley.ids import ParticipantId


def audience(room: Room, event: Event) -> tuple[ParticipantId, ...]:
    """Participants in the order of joining. A participant's own `ParticipantLeft` closes its queue and is not here."""
    match event:
        case Personal(to=to):
            return (to,)
        case RoomUpdated():
            return tuple(room.participants)
        case TrackEvent() if _is_private(event):
            return (event.participant.id,)
        case ParticipantJoined() | ParticipantLeft() if event.participant.grant.hidden:
            return ()
        case ParticipantEvent(participant=subject) if subject.grant.hidden:
            return (subject.id,)
        case ParticipantJoined(participant=subject):
            return tuple(id for id in room.participants if id != subject.id)
        case ParticipantEvent():
            return tuple(room.participants)
        case _:
            return ()


def replaces(event: Event) -> Hashable:
    """The key under which a newer event makes an older one needless; None: every one counts."""
    match event:
        case PeerWantsOffer(peer=peer):
            return peer
        case RoomUpdated(counts_only=True):
            return RoomUpdated
        case _:
            return None


def _is_private(event: TrackEvent) -> bool:
    """Whether it is about a track of which the others have not been told."""
    match event:
        case TrackAnnounced():
            return True
        case TrackUpdated() | TrackEnded():
            return not event.track.was_published
        case _:
            return False
