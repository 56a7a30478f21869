"""News of participants as `update` frames, written once for all clients that are told the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from parley.core import events
from parley.core.events import Event
from parley.core.model import LeaveReason, Participant
from parley.dialects.livekit import wire
from parley.dialects.livekit.frames import Frame, write_response

SUCCESSION_PROTOCOL = 12
"""From this protocol on a client learns of a newer session of an identity from its new SID alone."""
KEPT = 64
"""Sets of frames that are remembered. Sessions that are told the same are told within moments of each other."""

_Key = tuple[bool, tuple[tuple[int, int], ...]]


def subject(event: Event) -> Participant | None:
    """Whom an `update` about this event shows, as it is then; None where clients need not know."""
    match event:
        case events.TrackAnnounced() | events.TrackLive() | events.TrackSilent():
            return None
        case events.ParticipantEvent(participant=participant):
            return participant
        case _:
            return None


def is_succession(event: Event, protocol: int) -> bool:
    """Whether a departure goes without saying.

    The newer session of the same identity says it all; a departure would only make tiles flicker.
    """
    return (
        isinstance(event, events.ParticipantLeft)
        and event.reason is LeaveReason.DUPLICATE_IDENTITY
        and protocol >= SUCCESSION_PROTOCOL
    )


class Bulletins:
    """The last few `update`s of a server. In a crowd one that is written once goes out a hundred times."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._kept: OrderedDict[_Key, tuple[Frame, ...]] = OrderedDict()

    def write(self, participants: Sequence[Participant], *, as_text: bool) -> tuple[Frame, ...]:
        """Frames that show all of these, in order, none much larger than `wire.UPDATE_BYTES`."""
        # A revision stands for everything that an update shows of a participant.
        key = (as_text, tuple((one.id, one.revision) for one in participants))
        frames = self._kept.get(key)
        if frames is not None:
            self._kept.move_to_end(key)
            return frames
        messages = wire.updates(wire.participant_info(one, self._region) for one in participants)
        frames = self._kept[key] = tuple(write_response(message, as_text=as_text) for message in messages)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return frames
