"""Closing what sections carry: with an exchange of descriptions, or without."""

from __future__ import annotations

from collections.abc import Sequence

from parley.core.errors import SectionNotFound
from parley.core.style import Decisions, Stop
from parley.dialects.cloudflare import wire
from parley.dialects.cloudflare.errors import NOT_OPEN
from parley.dialects.cloudflare.session import Session
from parley.engine.specs import Kind, Mid
from parley.negotiation import Change, RemoteView


def force(session: Session, items: Sequence[wire.MidItem]) -> wire.ClosedTracks:
    """Stop both directions of each section at once; the next offer of ours says so."""
    return wire.ClosedTracks(tracks=[_force(session, item) for item in items])


async def negotiate(session: Session, items: Sequence[wire.MidItem], sdp: str) -> wire.ClosedTracks:
    """Take the client's offer and close the sections named, whether or not the offer stops them."""
    mids = [Mid(item.mid) for item in items]
    are_open = {mid for mid in mids if any(session.on(mid))}

    def choose(view: RemoteView) -> Decisions:
        named = [one for one in view.sections if one.mid in are_open and one.kind is not Kind.DATA]
        return {one.mid: Stop() for one in named if one.change is not Change.STOPPED}

    answer = await session.take_offer(sdp, choose)
    results = []
    for mid in mids:
        result = wire.MidResult(mid=mid)
        results.append(result if mid in are_open else result.failed(NOT_OPEN))
        are_open.discard(mid)
        session.close(mid)
    return wire.ClosedTracks(
        session_description=wire.SessionDescription(type="answer", sdp=answer),
        tracks=results,
    )


def _force(session: Session, item: wire.MidItem) -> wire.MidResult:
    mid, result = Mid(item.mid), wire.MidResult(mid=item.mid)
    if not any(session.on(mid)):
        return result.failed(NOT_OPEN)
    try:
        session.core.peers.stop_section(session.peer, mid)
    except SectionNotFound:
        session.close(mid)
        return result.failed(NOT_OPEN)
    session.close(mid)
    return result
