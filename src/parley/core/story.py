"""A room's story as log lines: who came, published, subscribed, left, and why."""

from __future__ import annotations

import structlog

from parley.core.events import (
    Event,
    ParticipantJoined,
    ParticipantLeft,
    PeerFailed,
    RoomClosed,
    RoomOpened,
    SubscriptionActive,
    SubscriptionFailed,
    TrackEnded,
    TrackPublished,
)
from parley.core.model import RoomInfo
from parley.ids import to_hex

log = structlog.get_logger(__name__)


def write(room: RoomInfo, event: Event) -> None:
    """Log an event that belongs to the story. Ids are in hexadecimal, whatever a dialect shows."""

    # Not a bound logger: most events are not of the story, and when a crowd leaves at once one for each is felt.
    def line(said: str, **fields: object) -> None:
        place = {"lobby": room.lobby} if room.is_private else {"room": room.name}
        log.info(said, tenant=room.tenant, **place, **fields)

    match event:
        case RoomOpened() | RoomClosed() if room.is_private:
            pass  # It opens and closes with its one participant, which is a line already.
        case RoomOpened():
            line("room opened", id=to_hex(room.id))
        case RoomClosed(reason=reason):
            line("room closed", reason=reason.value)
        case ParticipantJoined(participant=one):
            line("participant joined", identity=one.identity, participant=to_hex(one.id))
        case ParticipantLeft(participant=one, reason=reason):
            line("participant left", identity=one.identity, participant=to_hex(one.id), reason=reason.value)
        case TrackPublished(participant=one, track=track):
            line(
                "track published",
                identity=one.identity,
                track=to_hex(track.id),
                source=track.source.value,
                codec=track.codec,
            )
        case TrackEnded(participant=one, track=track, reason=reason) if track.was_published:
            line("track ended", identity=one.identity, track=to_hex(track.id), reason=reason.value)
        case SubscriptionActive(to=to, subscription=subscription):
            line("track subscribed", participant=to_hex(to), track=to_hex(subscription.track))
        case SubscriptionFailed(to=to, track=id, failure=failure):
            line("subscription failed", participant=to_hex(to), track=to_hex(id), reason=failure.reason.value)
        case PeerFailed(to=to, peer=peer, failure=failure):
            line(
                "peer failed",
                participant=to_hex(to),
                peer=to_hex(peer),
                reason=failure.reason.value,
                why=failure.text,
            )
