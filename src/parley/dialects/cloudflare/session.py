"""One session: one participant with one connection, what it has been asked to carry, and whose turn it is on it.

Calls on a session that change its descriptions take turns; those that only wait for others (for a connection, for
media) do so before their turn. Everything else a session is, core knows: nothing here is told, it is looked up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import TypeVar

import structlog

from parley.core.core import Core
from parley.core.model import Participant
from parley.core.style import Choose, Decisions
from parley.dialects.cloudflare import wire
from parley.dialects.cloudflare.auth import Caller
from parley.dialects.cloudflare.channels import Ends, Events
from parley.dialects.cloudflare.errors import (
    BUSY_SESSION,
    HAVE_REMOTE_OFFER,
    NOT_READY,
    Code,
    Problem,
    gone,
    open_offer,
)
from parley.dialects.cloudflare.feeds import Feeds
from parley.dialects.cloudflare.settings import CloudflareSettings
from parley.engine.specs import Kind, Mid
from parley.ids import ParticipantId, PeerId, SubscriptionId, TrackId, to_hex
from parley.negotiation import NO_COMMON_CODEC, Change, IceMode, RemoteView, SignalingState

log = structlog.get_logger(__name__)

MAX_CLOSED = 256
"""Closed tracks that stay listed; the oldest make room."""


@dataclass(eq=False)
class Local:
    """A track that the session's client publishes, or did."""

    mid: Mid
    name: str
    track: TrackId
    is_closed: bool = False
    """Whether the client has had it closed, or stopped its section; it may also have ended otherwise."""


@dataclass(eq=False)
class Remote:
    """A track that the session's client pulls, or did."""

    mid: Mid
    name: str
    publisher: str
    """The publisher's session, as the client wrote it."""
    subscription: SubscriptionId
    simulcast: wire.Simulcast | None = None
    is_closed: bool = False


class Session:
    """What a session holds beside its participant in core."""

    def __init__(
        self,
        core: Core,
        settings: CloudflareSettings,
        caller: Caller,
        id: ParticipantId,
        peer: PeerId,
        random: Random,
        feeds: Feeds,
        label: str = "",
    ) -> None:
        """label: what the caller calls it, for log lines alone."""
        self.core = core
        self.settings = settings
        self.app = caller.app
        self.id = id
        self.peer = peer
        self.random = random
        self.locals: list[Local] = []
        self.remotes: list[Remote] = []
        self.ends = Ends()
        self.feeds = feeds
        self.ufrag = ""
        """Of the client's last description."""
        self.log = log.bind(app=caller.app, participant=to_hex(id), **({"correlation": label} if label else {}))
        self._turn = asyncio.Lock()
        self._calls = settings.limits.burst_calls * 1.0
        self._called_at = core.clock.monotonic()

    @property
    def name(self) -> str:
        """Its id as clients know it."""
        return to_hex(self.id)

    @property
    def participant(self) -> Participant:
        """Raises ParticipantNotFound when it has left."""
        return self.core.rooms.participant(self.id)

    # How often, and whose turn.

    def count_call(self) -> None:
        """Raise Problem when calls come faster than the limit, on average."""
        limits, now = self.settings.limits, self.core.clock.monotonic()
        refilled = self._calls + (now - self._called_at) * limits.calls_per_s
        self._calls, self._called_at = min(float(limits.burst_calls), refilled), now
        if self._calls < 1:
            raise Problem(Code.TOO_MANY_CALLS, f"More than {limits.calls_per_s:g} calls a second on one session")
        self._calls -= 1

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Alone on the session's descriptions. Raises Problem when those before it take too long."""
        try:
            async with asyncio.timeout(self.settings.timeouts.turn_s):
                await self._turn.acquire()
        except TimeoutError:
            raise Problem(Code.INVALID_SDP, BUSY_SESSION, HAVE_REMOTE_OFFER) from None
        try:
            yield
        finally:
            self._turn.release()

    # Where its connection stands.

    @property
    def _calls_its_peer(self) -> bool:
        """Whether it was made for a third party that is an ICE-lite server itself."""
        return self.core.peers.get(self.peer).style.caps.ice is IceMode.FULL

    @property
    def is_negotiated(self) -> bool:
        """Whether there is a connection to wait for: one whose every section was refused never comes up."""
        return self.core.peers.get(self.peer).has_remote

    def check_stable(self) -> None:
        """Raise Problem while an offer of the server's is open."""
        if self.core.peers.get(self.peer).negotiator.state is SignalingState.HAVE_LOCAL_OFFER:
            raise open_offer()

    async def gate(self, sdp: str | None = None) -> None:
        """Wait for the connection, unless nothing has been negotiated yet or the client's offer restarts ICE.

        Raises Problem when it does not come in time, or has gone.
        """
        if not self.is_negotiated or (sdp is not None and wire.ufrag(sdp) not in ("", self.ufrag)):
            return
        if not await self.core.peers.connected(self.peer):
            raise self.unconnected()
        self.core.peers.get(self.peer)  # Whoever waited for a peer that has ended is let go too.

    def unconnected(self) -> Problem:
        """What a call is told that has waited for the connection in vain: it was never there, or it is lost."""
        peer = self.core.peers.get(self.peer)
        is_lost = peer.has_connected and not peer.is_connected
        return gone() if is_lost else Problem(Code.NOT_READY, NOT_READY)

    # What it carries.

    @property
    def events(self) -> Events | None:
        """Channel 0 where it was asked for, as long as the data section that brings it is agreed or offered."""
        peers = self.core.peers
        is_there = peers.has_data(self.peer) or peers.offers_data(self.peer)
        return self.ends.events if is_there else None

    def is_active(self, entry: Local | Remote) -> bool:
        return not entry.is_closed and self.status(entry) != "inactive"

    @property
    def entries(self) -> list[Local | Remote]:
        """Everything it carries or carried."""
        return [*self.locals, *self.remotes]

    def status(self, entry: Local | Remote) -> wire.Status:
        """Whether a track is there, waits for an answer to the offer that brings it, or is gone."""
        if entry.is_closed:
            return "inactive"
        if isinstance(entry, Local):
            track = self.participant.track(entry.track)
            is_there, is_waiting = track is not None, track is not None and not track.is_published
        else:
            pulled = self.core.rooms.pulled(entry.subscription)
            is_there, is_waiting = pulled is not None, pulled is not None and pulled.mid is None
        return "waiting" if is_waiting else "active" if is_there else "inactive"

    def local_named(self, name: str) -> Local | None:
        """The active local track of this name."""
        return next((one for one in self.locals if one.name == name and self.is_active(one)), None)

    def local_on(self, mid: Mid) -> Local | None:
        return next((one for one in self.locals if one.mid == mid and self.is_active(one)), None)

    def remote_on(self, mid: Mid) -> Remote | None:
        """The remote track of this section, if it has not been closed; its publisher may be gone."""
        return next((one for one in self.remotes if one.mid == mid and not one.is_closed), None)

    def on(self, mid: Mid) -> Iterator[Local | Remote]:
        """Everything on this section that has not been closed."""
        return (one for one in self.entries if one.mid == mid and not one.is_closed)

    def find_section(self, mid: str) -> Mid | None:
        """The section meant: `7`, or `#name` for that of the session's track of this name, local ones first."""
        if not mid.startswith("#"):
            return Mid(mid)
        name = mid.removeprefix("#")
        local = self.local_named(name)
        remote = next((one for one in self.remotes if one.name == name and not one.is_closed), None)
        entry = local or remote
        return entry.mid if entry is not None else None

    def publish(self, local: Local) -> None:
        """List a local track in place of whatever its section carried before."""
        self.locals = _listed(self.locals, local)

    def pull(self, remote: Remote) -> None:
        """List a remote track in place of whatever its section carried before."""
        self.remotes = _listed(self.remotes, remote)

    def close(self, mid: Mid) -> None:
        """Note that everything on this section is closed."""
        for one in self.on(mid):
            one.is_closed = True

    async def take_offer(self, sdp: str, choose: Choose) -> str:
        """Answer an offer of the client's, and note what it stops. Returns the answer."""
        views: list[RemoteView] = []
        ufrag = wire.ufrag(sdp)

        def look(view: RemoteView) -> Decisions:
            views.append(view)
            if not ufrag and any(section.change is not Change.STOPPED for section in view.sections):
                raise Problem(Code.INVALID_SDP, "Invalid session description: it has no ICE credentials")
            for section in view.sections:
                if section.kind is not Kind.DATA and section.refused not in (None, NO_COMMON_CODEC):
                    raise Problem(
                        Code.INVALID_SDP, f"Invalid session description: section {section.index}: {section.refused}"
                    )
            return choose(view)

        before = self._mids()
        answer = await self.core.peers.take_offer(self.peer, sdp, look)
        self._forget(before - self._mids())
        self.ufrag = ufrag or self.ufrag
        for section in views[-1].sections:
            if section.change is Change.STOPPED:
                self.close(section.mid)
        return answer.sdp

    async def take_answer(self, sdp: str) -> None:
        """Complete the open offer."""
        if not self.is_negotiated and self._calls_its_peer and not wire.has_candidates(sdp):
            raise Problem(Code.INVALID_SDP, "Invalid session description: a third party's answer has no candidates")
        before = self._mids()
        await self.core.peers.take_answer(self.peer, sdp)
        self._forget(before - self._mids())
        if self.ends.events is not None and self.core.peers.has_data(self.peer):
            self.ends.events.open(self.settings.limits.channel_bytes)
        self.ufrag = wire.ufrag(sdp) or self.ufrag

    def _mids(self) -> set[Mid]:
        return {line.mid for line in self.core.peers.get(self.peer).negotiator.sections}

    def _forget(self, mids: set[Mid]) -> None:
        """List no longer what was on sections whose place others have taken."""
        self.locals = [one for one in self.locals if one.mid not in mids]
        self.remotes = [one for one in self.remotes if one.mid not in mids]


E = TypeVar("E", bound=Local | Remote)


def _listed(entries: list[E], entry: E) -> list[E]:
    """The entries of other sections, not too many closed ones among them, and this one."""
    others: list[E] = [one for one in entries if one.mid != entry.mid]
    closed: list[E] = [one for one in others if one.is_closed]
    surplus = set(map(id, closed[:-MAX_CLOSED]))
    return [*(one for one in others if id(one) not in surplus), entry]
