"""Dynacast: what a publisher is told of the qualities that anybody wants of its video, so that it sends no others.

More is told at once, since somebody waits for it. Less is told only when it has been so for a while: who switches
back and forth, or rejoins, finds the layer still there.
"""

from __future__ import annotations

from livekit.protocol.rtc import SignalResponse

from parley.core import events
from parley.core.events import Event
from parley.core.layers import Quality, best
from parley.core.model import Track
from parley.dialects.livekit.layers import quality_update
from parley.engine.specs import Kind
from parley.ids import TrackId

FIRST_S = 10.0
"""How long a publisher that nobody has asked anything of may go on sending everything: upstream's value."""

OFF = -1
"""A level below every quality: nobody wants any."""


class Demand:
    """What is wanted of one track, and what its publisher knows of that. Levels are qualities, or OFF."""

    def __init__(self, now: float, pause_s: float) -> None:
        self._pause_s = pause_s
        self._wanted = OFF
        self._told: int | None = None
        self._most = OFF
        """The most that was wanted since the last change was put off."""
        self._due: float | None = now + FIRST_S
        self._is_muted = False

    @property
    def due(self) -> float | None:
        """When `take` has something to tell; None: not as things stand. Nothing is told of a muted track."""
        return None if self._is_muted else self._due

    def want(self, level: int, now: float) -> None:
        """Another level is the highest that anybody wants."""
        self._wanted = level
        # Who has been told nothing sends everything.
        sent = Quality.HIGH if self._told is None else self._told
        if level >= sent:
            self._due = now if level > sent or self._told is None else None
            self._most = level
        elif self._due is None:
            self._due, self._most = now + self._pause_s, level
        else:
            self._due, self._most = min(self._due, now + self._pause_s), max(self._most, level)

    def mute(self, muted: bool, now: float) -> None:
        """Nothing of the track is forwarded, or it is again: then its publisher is told once more."""
        if self._is_muted and not muted and self._told is not None:
            self._due, self._most = now, max(self._told, self._wanted)
        self._is_muted = muted

    def take(self, now: float) -> int | None:
        """The level to tell now; None: nothing is due."""
        if self.due is None or self.due > now:
            return None
        self._told = self._most
        self._due = now + self._pause_s if self._wanted < self._told else None
        self._most = self._wanted
        return self._told


class Dynacast:
    """The demand for every video track of one publisher."""

    def __init__(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._of: dict[TrackId, tuple[Track, Demand]] = {}

    @property
    def due(self) -> float | None:
        """When `take` has something to tell; None: not as things stand."""
        return min((demand.due for _, demand in self._of.values() if demand.due is not None), default=None)

    def follow(self, event: Event, now: float) -> None:
        """Something has happened to a track of the publisher's, or to the demand for it."""
        match event:
            case events.TrackPublished(track=track) if track.kind is Kind.VIDEO:
                demand = Demand(now, self._pause_s)
                demand.mute(track.muted, now)
                self._of[track.id] = track, demand
            case events.TrackUpdated(track=track) if track.id in self._of:
                _, demand = self._of[track.id]
                demand.mute(track.muted, now)
                self._of[track.id] = track, demand
            case events.TrackEnded(track=track):
                self._of.pop(track.id, None)
            case events.LayersWanted(track=id, layers=layers) if id in self._of:
                track, demand = self._of[id]
                quality = best(track.layers, layers)
                demand.want(OFF if quality is None else quality, now)

    def take(self, now: float) -> list[SignalResponse]:
        """What the publisher is to be told now."""
        messages = []
        for track, demand in self._of.values():
            level = demand.take(now)
            if level is not None:
                wanted = None if level == OFF else Quality(level)
                messages.append(SignalResponse(subscribed_quality_update=quality_update(track, wanted)))
        return messages
