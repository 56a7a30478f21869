"""Who may receive what a participant publishes, as the participant itself has said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from parley.core.model import Participant
from parley.ids import ParticipantId, TrackId

Share = frozenset[TrackId] | None
"""The tracks somebody may receive; None: every one, now and later."""


@dataclass(frozen=True, slots=True)
class Access:
    """A participant's own rule for its tracks. Without one, everybody in the room may receive them."""

    everybody: bool = True
    by_identity: Mapping[str, Share] = field(default_factory=dict)
    """Who may, where not everybody may. Someone who is not there yet counts from when it joins."""
    by_id: Mapping[ParticipantId, Share] = field(default_factory=dict)
    """The same for whoever is not named by identity."""

    def admits(self, subscriber: Participant, track: TrackId) -> bool:
        """Whether this participant may receive this track. What records is always admitted."""
        if self.everybody or subscriber.grant.recorder:
            return True
        if subscriber.identity in self.by_identity:
            share = self.by_identity[subscriber.identity]
        elif subscriber.id in self.by_id:
            share = self.by_id[subscriber.id]
        else:
            return False
        return share is None or track in share
