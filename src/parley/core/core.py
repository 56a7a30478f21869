"""Puts core together: one bus, one set of peers, one set of rooms, and the task that watches their deadlines."""

from __future__ import annotations

import asyncio
import time
from random import Random, SystemRandom

import structlog

from parley.clock import GRACE_S, Clock, SystemClock
from parley.core.bus import Bus
from parley.core.model import Limits
from parley.core.peers import Peers
from parley.core.rooms import Rooms
from parley.core.turns import Turns
from parley.engine.engine import Engine

log = structlog.get_logger(__name__)


class Core:
    """What dialects ask and the server starts. It belongs to one event loop and is used from no other thread."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock | None = None,
        random: Random | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.clock = clock or SystemClock()
        random = random or SystemRandom()
        self.turns = Turns()
        self.bus = Bus(self.limits.listener_events)
        self.peers = Peers(engine, clock=self.clock, random=random, limits=self.limits, turns=self.turns)
        self.rooms = Rooms(self.peers, self.bus, clock=self.clock, random=random, limits=self.limits)

    async def run(self) -> None:
        """Watch deadlines, and what the engine could not tell, until cancelled."""
        while True:
            await _nap(self.limits.sweep_interval_s)
            try:
                self.sweep()
                await self.peers.withdraw()
                await self.peers.recheck()
            except Exception:
                # A mistake about one participant must not end the calls of all others.
                log.exception("a sweep went wrong")

    def sweep(self) -> None:
        """Act on every deadline that has passed."""
        now = self.clock.monotonic()
        self.peers.sweep(now)
        self.rooms.sweep(now)

    def stop(self) -> None:
        """Take nobody in any more and end every room. Each participant's queue ends with its `ParticipantLeft`."""
        self.rooms.shut_down()


async def _nap(seconds: float) -> None:
    """Sleep; and after the loop stood still, as long again as it did, at most `GRACE_S`.

    What clients sent meanwhile is to be heard before anybody is told to be late.
    """
    due = time.monotonic() + seconds
    await asyncio.sleep(seconds)
    late = time.monotonic() - due
    if late > seconds:
        await asyncio.sleep(min(late, GRACE_S))
