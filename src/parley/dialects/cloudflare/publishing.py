"""What a session's client publishes: named in its own offer, found there, or asked for in an offer of ours."""

from __future__ import annotations

from collections.abc import Sequence

from parley.core.errors import LimitExceeded
from parley.core.grants import Source
from parley.core.style import Decisions
from parley.dialects.cloudflare import wire
from parley.dialects.cloudflare.errors import NO_CODEC, Code, Fault, ItemCode, Problem
from parley.dialects.cloudflare.session import Local, Session
from parley.dialects.cloudflare.styles import both_ways, uuid
from parley.engine.specs import Kind, Mid
from parley.ids import TrackId
from parley.negotiation import Change, Direction, RemoteSection, RemoteView

_SOURCES = {Kind.AUDIO: Source.MICROPHONE, Kind.VIDEO: Source.CAMERA}
"""The API does not say where a track comes from; this is what most of them are, and what others show them as."""


async def push(session: Session, items: Sequence[wire.TrackItem], sdp: str, *, discover: bool) -> wire.Tracks:
    """Take the client's offer and publish what the items name in it.

    discover: publish whatever else the client sends, under random names.
    """
    sections: dict[Mid, RemoteSection] = {}
    items = [item.model_copy(update={"mid": session.find_section(_mid(item)) or item.mid}) for item in items]

    def choose(view: RemoteView) -> Decisions:
        sections.update({section.mid: section for section in view.sections})
        for item in items:
            _check_sends(item, sections.get(_mid(item)))
        return {_mid(item): both_ways(session.id, session.random) for item in items if item.bidirectional_media_stream}

    answer = await session.take_offer(sdp, choose)
    results = [_publish(session, item.track_name, _mid(item), sections[_mid(item)].kind) for item in items]
    if discover:
        named = {_mid(item) for item in items}
        found = [section for section in session.core.peers.unclaimed(session.peer) if section.mid not in named]
        results += [_discover(session, section) for section in found]
    return wire.Tracks(
        requires_immediate_renegotiation=False,
        session_description=wire.SessionDescription(type="answer", sdp=answer),
        tracks=results,
    )


async def ask(session: Session, items: Sequence[wire.TrackItem]) -> wire.Tracks:
    """Without an offer: publish on the sections that items name, and ask the client for the tracks of the others."""
    places = [None if item.mid is None else _received(session, item.mid) for item in items]
    results: list[wire.TrackResult] = []
    asked: dict[int, TrackId] = {}
    for index, (item, place) in enumerate(zip(items, places, strict=True)):
        if place is not None:
            results.append(_publish(session, item.track_name, *place))
            continue
        result = wire.TrackResult(track_name=item.track_name)
        track = _announce(session, item.track_name, Kind(item.kind))
        if isinstance(track, Fault):
            result = result.failed(track)
        else:
            give = both_ways(session.id, session.random) if item.bidirectional_media_stream else None
            session.core.peers.invite(session.peer, track, give)
            asked[index] = track
        results.append(result)
    if not asked:
        return wire.Tracks(requires_immediate_renegotiation=False, tracks=results)
    try:
        offer = await session.core.peers.make_offer(session.peer)
        assert offer is not None, "there are tracks to ask for"
    except BaseException:
        for track in asked.values():
            if session.participant.track(track) is not None:
                session.core.rooms.withdraw(session.id, track)
        raise
    for index, track in asked.items():
        mid = offer.inviting[track]
        session.publish(Local(mid, items[index].track_name, track))
        results[index] = results[index].model_copy(update={"mid": mid})
    return wire.Tracks(
        requires_immediate_renegotiation=True,
        session_description=wire.SessionDescription(type="offer", sdp=offer.sdp),
        tracks=results,
    )


def _mid(item: wire.TrackItem) -> Mid:
    return Mid(item.mid or "")


def _check_sends(item: wire.TrackItem, section: RemoteSection | None) -> None:
    """Raise Problem unless the client's offer has this section, and sends on it."""
    if section is None or section.kind is Kind.DATA:
        raise Problem(Code.INVALID_PARAMS, f"The offer has no media section {item.mid!r} for a local track")
    is_sending = section.direction in (Direction.SENDONLY, Direction.SENDRECV)
    if section.change is Change.STOPPED or not is_sending:
        raise Problem(Code.INVALID_PARAMS, f"The offer sends nothing on section {item.mid!r}")


def _received(session: Session, text: str) -> tuple[Mid, Kind]:
    """A section that the client sends on already. Raises Problem."""
    mid = session.find_section(text)
    for section in session.core.peers.unclaimed(session.peer):
        if section.mid == mid:
            return section.mid, section.kind
    local = None if mid is None else session.local_on(mid)
    track = None if local is None else session.participant.track(local.track)
    if local is None or track is None:
        raise Problem(Code.INVALID_PARAMS, f"This session receives nothing on a section {text!r}")
    return local.mid, track.kind


def _publish(session: Session, name: str, mid: Mid, kind: Kind) -> wire.TrackResult:
    """Publish what arrives on a negotiated section under this name, in place of any other."""
    result = wire.TrackResult(mid=mid, track_name=name)
    before = session.local_on(mid)
    if before is not None and before.name == name:
        return result  # Clients that are not sure repeat themselves.
    unclaimed = {section.mid for section in session.core.peers.unclaimed(session.peer)}
    if before is None and mid not in unclaimed:
        return result.failed(NO_CODEC)
    track = _announce(session, name, kind)
    if isinstance(track, Fault):
        return result.failed(track)
    if before is not None:
        session.core.rooms.withdraw(session.id, before.track)
    session.core.peers.claim(session.peer, mid, track)
    session.publish(Local(mid, name, track))
    return result


def _announce(session: Session, name: str, kind: Kind) -> TrackId | Fault:
    """A new track of this name, which no active one may have."""
    if session.local_named(name) is not None:
        return Fault(ItemCode.REPEATED, "The session has an active local track of this name already")
    try:
        return session.core.rooms.announce(session.id, kind=kind, name=name, source=_SOURCES[kind]).id
    except LimitExceeded as error:
        return Fault(ItemCode.INVALID_PARAMS, str(error))


def _discover(session: Session, section: RemoteSection) -> wire.TrackResult:
    result = _publish(session, uuid(session.random), section.mid, section.kind)
    kind: wire.TrackKind = "audio" if section.kind is Kind.AUDIO else "video"
    return result.model_copy(update={"location": "local", "kind": kind})
