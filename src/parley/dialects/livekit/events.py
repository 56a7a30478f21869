"""What happened in the room, as messages to one client. News of participants are in `news.py`."""

from __future__ import annotations

from collections.abc import Sequence

from livekit.protocol.models import SubscriptionError
from livekit.protocol.rtc import (
    RoomUpdate,
    SignalResponse,
    SubscriptionPermissionUpdate,
    SubscriptionResponse,
    TrackSubscribed,
)

from parley.core import events
from parley.core.events import Event
from parley.core.model import RoomInfo
from parley.dialects.livekit import wire
from parley.dialects.livekit.settings import LiveKitSettings
from parley.dialects.livekit.signal import Conversation
from parley.errors import Reason

_ERRORS = {
    Reason.TRACK_NOT_FOUND: SubscriptionError.SE_TRACK_NOTFOUND,
    Reason.CODEC_UNSUPPORTED: SubscriptionError.SE_CODEC_UNSUPPORTED,
}


def tell(event: Event, talk: Conversation, settings: LiveKitSettings) -> Sequence[SignalResponse]:
    """The messages that tell a client of an event that is about no participant; none where it has no need to know.

    Room updates and requests for an offer are the session's to act on.
    """
    match event:
        case events.TrackHeard(track=heard):
            sid = talk.track_sid(heard)
            return () if sid is None else (SignalResponse(track_subscribed=TrackSubscribed(track_sid=sid)),)
        case events.AccessChanged(publisher=publisher, track=barred, allowed=allowed):
            permission = SubscriptionPermissionUpdate(
                participant_sid=wire.participant_sid(publisher), track_sid=talk.track_sid(barred) or "", allowed=allowed
            )
            return (SignalResponse(subscription_permission_update=permission),)
        case events.SubscriptionFailed(track=missing, failure=failure):
            error = _ERRORS.get(failure.reason, SubscriptionError.SE_UNKNOWN)
            response = SubscriptionResponse(track_sid=talk.track_sid(missing) or "", err=error)
            return (SignalResponse(subscription_response=response),)
        case _:
            return ()


def room_update(room: RoomInfo, settings: LiveKitSettings) -> SignalResponse:
    """The room, whole."""
    return SignalResponse(room_update=RoomUpdate(room=wire.room_info(room, settings.codecs)))
