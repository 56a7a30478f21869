"""What a session's client pulls: on sections of our offers, of its own, or on those it has already."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from parley.core.errors import LimitExceeded, NotAllowed, NotFound, SectionNotFound, UnfitSection
from parley.core.layers import LayerWish
from parley.core.model import Subscription, Track
from parley.core.style import Decisions, Give
from parley.dialects.cloudflare import wire
from parley.dialects.cloudflare.errors import (
    NO_CODEC,
    NO_SECTION,
    NOT_SIMULCAST,
    TRACK_EMPTY,
    TRACK_MISSING,
    Fault,
    ItemCode,
)
from parley.dialects.cloudflare.session import Remote, Session
from parley.engine.specs import Mid
from parley.ids import ParticipantId, SubscriptionId, TrackId, read
from parley.negotiation import Change, Direction, RemoteSection, RemoteView

NO_RECEIVER = Fault(ItemCode.INVALID_PARAMS, "No receiving media section of its kind is left in the offer")
UNFIT = Fault(ItemCode.INVALID_PARAMS, "The transceiver is not bidirectional, of another kind, or without the codec")


@dataclass(frozen=True, slots=True)
class Wanted:
    """An item of a pull and what has been found for it."""

    item: wire.TrackItem
    found: Track | Fault


async def resolve(session: Session, items: Sequence[wire.TrackItem], *, within_s: float) -> list[Wanted]:
    """Find what the items name, and wait until media of it has arrived."""
    found = [_find(session, item.session_id, item.track_name) for item in items]
    waits = {track.id: session.core.rooms.until_live(track.id) for track in found if isinstance(track, Track)}
    if waits:
        await asyncio.wait(set(waits.values()), timeout=max(0.0, within_s))
    wanted = []
    for item, track in zip(items, found, strict=True):
        if isinstance(track, Track):
            live = waits[track.id]
            if not live.done():
                track = TRACK_EMPTY
            elif not live.result():
                track = TRACK_MISSING
        wanted.append(Wanted(item, track))
    return wanted


async def pull(session: Session, wanted: Sequence[Wanted]) -> wire.Tracks:
    """Put each track onto the section its item names, or onto one of an offer of ours."""
    taken = [_take(session, one) for one in wanted]
    asked = [one for one in taken if isinstance(one, Subscription) and one.mid is None]
    offer = None
    if asked:
        try:
            offer = await session.core.peers.make_offer(session.peer)
        except BaseException:
            _release(session, asked)
            raise
    carrying = offer.carrying if offer is not None else {}
    results = []
    for one, subscription in zip(wanted, taken, strict=True):
        if isinstance(subscription, Subscription):
            mid = subscription.mid or carrying.get(subscription.id)
            results.append(_result(session, one, subscription, mid, NO_CODEC))
        else:
            results.append(_failed(session, one.item, subscription))
    return wire.Tracks(
        requires_immediate_renegotiation=offer is not None,
        session_description=None if offer is None else wire.SessionDescription(type="offer", sdp=offer.sdp),
        tracks=results,
    )


async def pull_into(session: Session, wanted: Sequence[Wanted], sdp: str) -> wire.Tracks:
    """Take the client's offer and put each track onto one of its receiving sections."""
    taken = [_take(session, Wanted(one.item.model_copy(update={"mid": None}), one.found)) for one in wanted]
    placed: dict[SubscriptionId, Mid] = {}

    def choose(view: RemoteView) -> Decisions:
        for one, subscription in zip(wanted, taken, strict=True):
            if isinstance(subscription, Subscription):
                section = _receiving(session, view, one.item, subscription, set(placed.values()))
                if section is not None:
                    placed[subscription.id] = section.mid
        return {mid: Give(id, receives=False) for id, mid in placed.items()}

    try:
        answer = await session.take_offer(sdp, choose)
    except BaseException:
        _release(session, [one for one in taken if isinstance(one, Subscription)])
        raise
    results = []
    for one, subscription in zip(wanted, taken, strict=True):
        if isinstance(subscription, Subscription):
            now = session.core.rooms.pulled(subscription.id)
            mid = now.mid if now is not None else None
            otherwise = NO_CODEC if subscription.id in placed else NO_RECEIVER
            results.append(_result(session, one, subscription, mid, otherwise))
        else:
            results.append(_failed(session, one.item, subscription))
    return wire.Tracks(
        requires_immediate_renegotiation=False,
        session_description=wire.SessionDescription(type="answer", sdp=answer),
        tracks=results,
    )


def update(session: Session, items: Sequence[wire.UpdateItem]) -> wire.UpdatedTracks:
    """Change what sections carry, or how, without a description; also while an offer of ours is open."""
    return wire.UpdatedTracks(tracks=[_update(session, item) for item in items])


# Finding.


def _find(session: Session, publisher: str | None, name: str) -> Track | Fault:
    """A published track: of a session of this app, or of a participant of a room of its tenant.

    publisher: a session's or participant's id, however it is spelt. name: the track's name, else its id.
    """
    id = read(publisher or "")
    track = read(name)
    if id is None:
        return TRACK_MISSING
    try:
        return session.core.rooms.find_track(
            session.participant.grant, ParticipantId(id), name, None if track is None else TrackId(track)
        )
    except NotFound:
        return TRACK_MISSING


def _take(session: Session, wanted: Wanted) -> Subscription | Fault:
    """Pull a track: at once onto the section its item names, else onto one that is to come."""
    if isinstance(wanted.found, Fault):
        return wanted.found
    item = wanted.item
    mid = None if item.mid is None else session.find_section(item.mid)
    if item.mid is not None and mid is None:
        return NO_SECTION
    return _pull(session, wanted.found, mid, wire.layer_wish(item.simulcast), unfit=UNFIT)


def _pull(session: Session, track: Track, mid: Mid | None, wish: LayerWish, *, unfit: Fault) -> Subscription | Fault:
    try:
        pulled = session.core.rooms.pull(session.id, track.id, session.peer, mid, wish)
    except SectionNotFound:
        return NO_SECTION
    except UnfitSection:
        return unfit
    except LimitExceeded as error:
        return Fault(ItemCode.INVALID_PARAMS, str(error))
    except (NotFound, NotAllowed):
        return TRACK_MISSING
    if session.core.rooms.pulled(pulled.id) is None:
        return NO_CODEC
    return pulled


def _receiving(
    session: Session, view: RemoteView, item: wire.TrackItem, pulled: Subscription, taken: set[Mid]
) -> RemoteSection | None:
    """The section of the client's offer for a track: the one its item names, else the first that is free for it."""
    fitting = [
        section
        for section in view.sections
        if section.kind is pulled.kind
        and section.refused is None
        and section.change is not Change.STOPPED
        and section.direction in (Direction.RECVONLY, Direction.SENDRECV)
        and section.mid not in taken
    ]
    if item.mid is not None:
        mid = session.find_section(item.mid)
        return next((section for section in fitting if section.mid == mid), None)
    free = [section for section in fitting if session.remote_on(section.mid) is None]
    only_receiving = (section for section in free if section.direction is Direction.RECVONLY)
    return next(chain(only_receiving, free), None)


# Answering.


def _result(
    session: Session, wanted: Wanted, subscription: Subscription, mid: Mid | None, otherwise: Fault
) -> wire.TrackResult:
    """The item of a pull that has its section; one that has none is released and fails."""
    item = wanted.item
    if mid is None:
        has_ended = session.core.rooms.pulled(subscription.id) is None
        _release(session, [subscription])
        return _failed(session, item, TRACK_MISSING if has_ended else otherwise)
    publisher = item.session_id or ""
    simulcast = item.simulcast.over(None) if item.simulcast is not None else None
    session.pull(Remote(mid, item.track_name, publisher, subscription.id, simulcast))
    return wire.TrackResult(session_id=publisher, track_name=item.track_name, mid=mid, simulcast=simulcast)


def _failed(session: Session, item: wire.TrackItem, fault: Fault) -> wire.TrackResult:
    mid = "" if session.settings.compat.empty_mid_on_error else None
    return wire.TrackResult(session_id=item.session_id, track_name=item.track_name, mid=mid).failed(fault)


def _release(session: Session, subscriptions: Sequence[Subscription]) -> None:
    for one in subscriptions:
        if session.core.rooms.pulled(one.id) is not None:
            session.core.rooms.release(session.id, one.id)


# Updating.


def _update(session: Session, item: wire.UpdateItem) -> wire.TrackResult:
    result = wire.TrackResult(mid=item.mid, session_id=item.session_id, track_name=item.track_name)
    mid = session.find_section(item.mid or "")
    remote = session.remote_on(mid) if mid is not None else None
    if item.location == "local" or (remote is None and mid is not None and session.local_on(mid) is not None):
        return result.failed(Fault(ItemCode.UPDATE, "Only what is received can be updated"))
    if mid is None or remote is None:
        return result.failed(NO_SECTION)
    publisher, name = item.session_id or remote.publisher, item.track_name or remote.name
    has_ended = session.core.rooms.pulled(remote.subscription) is None
    is_other = has_ended or (publisher, name) != (remote.publisher, remote.name)
    found = _find(session, publisher, name)
    if isinstance(found, Fault):
        return result.failed(found)
    simulcast = remote.simulcast
    if item.simulcast is not None and found.is_simulcast:
        simulcast = item.simulcast.over(remote.simulcast)
    elif item.simulcast is not None and not is_other:
        return result.failed(NOT_SIMULCAST)
    wish = wire.layer_wish(simulcast)
    if is_other:
        unfit = Fault(ItemCode.UPDATE, "The track is of another kind, or its codec was not negotiated here")
        pulled = _pull(session, found, mid, wish, unfit=unfit)
        if isinstance(pulled, Fault):
            return result.failed(pulled)
        session.pull(Remote(mid, name, publisher, pulled.id, simulcast))
    else:
        session.core.rooms.prefer_pulled(session.id, remote.subscription, wish)
        remote.simulcast = simulcast
    return wire.TrackResult(mid=mid, session_id=publisher, track_name=name, simulcast=simulcast)
