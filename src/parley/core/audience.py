"""Who is told of an event through its queue, how soon, and which earlier news that makes needless."""

from __future__ import annotations

from collections.abc import Hashable

from parley.core.events import (
    Event,
    LayerForwarded,
    LayersArriving,
    LayersWanted,
    ParticipantEvent,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantUpdated,
    PeerWantsOffer,
    Personal,
    RoomUpdated,
    TrackAnnounced,
    TrackEnded,
    TrackEvent,
    TrackUpdated,
)
from parley.core.model import LeaveReason, Limits
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


def wait_s(room: Room, event: Event, limits: Limits) -> float:
    """How long everybody but its subject may be left without the event, so that more of its kind come together.

    In a crowd that is news of those who only watch. It grows with the room: so telling a room costs about the same
    whatever its size, where telling everybody of everybody at once would cost the square of it.
    """
    count = len(room.participants)
    if count < limits.crowd or not _is_small_talk(event):
        return 0.0
    return min(count / limits.small_talk_per_s, limits.small_talk_wait_s)


def replaces(event: Event) -> Hashable:
    """The key under which a newer event makes an older one needless; None: every one counts."""
    match event:
        case PeerWantsOffer(peer=peer):
            return peer
        case RoomUpdated(counts_only=True):
            return RoomUpdated
        case LayerForwarded(subscription=subscription):
            return LayerForwarded, subscription.id
        case LayersWanted(track=track) | LayersArriving(track=track):
            return type(event), track
        case _:
            return None


def _is_small_talk(event: Event) -> bool:
    """Whether nobody in a crowd would miss it for a moment: nothing that anyone sees or hears hangs on it."""
    match event:
        case RoomUpdated(counts_only=counts_only):
            return counts_only
        case ParticipantUpdated(participant=subject, changed=changed):
            return changed == {"state"} and not subject.is_publisher
        case ParticipantLeft(participant=subject, reason=reason):
            # Whoever is replaced has come back, and is to be seen in one place.
            return reason is not LeaveReason.DUPLICATE_IDENTITY and not subject.is_publisher
        case ParticipantJoined():
            return True
        case _:
            return False


def _is_private(event: TrackEvent) -> bool:
    """Whether it is about a track of which the others have not been told."""
    match event:
        case TrackAnnounced():
            return True
        case TrackUpdated() | TrackEnded():
            return not event.track.was_published
        case _:
            return False
