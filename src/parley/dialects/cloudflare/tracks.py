"""`tracks/new`: which of its shapes a call has, what must hold before anything changes, and the order of it all.

A call is decoded and checked first; then, at the same time and out of turn, it waits for its own connection and for
the media of what it pulls; and then it has its turn on the session's descriptions.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from parley.dialects.cloudflare import publishing, pulling, wire
from parley.dialects.cloudflare.errors import Code, Problem
from parley.dialects.cloudflare.pulling import Wanted
from parley.dialects.cloudflare.session import Session
from parley.errors import ParleyError

IsGone = Callable[[], Awaitable[bool]]
"""Whether the caller has hung up: then nothing is to be allocated for it."""


async def new(session: Session, asked: wire.TracksNew, sdp: str | None, is_gone: IsGone) -> wire.Tracks | None:
    """Add tracks to a session; None: the caller has hung up, and nothing was done. Raises ParleyError.

    asked, sdp: as `check` found them good.
    """
    items = [item.model_copy(update={"mid": item.mid or None}) for item in asked.tracks]
    session.check_stable()
    wanted: list[Wanted] = []
    if items and items[0].location == "remote":
        finding = pulling.resolve(session, items, within_s=session.settings.timeouts.media_s)
        wanted = await _both(session.gate(sdp), finding)
    else:
        await session.gate(sdp)
    if await is_gone():
        return None
    async with session.turn():
        session.check_stable()
        # `7` and `#name` may be one section.
        _check_unique("mid", [mid for item in items if item.mid and (mid := session.find_section(item.mid))])
        if wanted and sdp is None:
            return await pulling.pull(session, wanted)
        if wanted and sdp is not None:
            return await pulling.pull_into(session, wanted, sdp)
        if sdp is None:
            return await publishing.ask(session, items)
        return await publishing.push(session, items, sdp, discover=asked.auto_discover)


def check_count(count: int, limit: int) -> None:
    """Raise Problem unless a call has some items and not too many."""
    if not 1 <= count <= limit:
        raise Problem(Code.INVALID_PARAMS, f"Expecting 1 to {limit} tracks in the request")


def check(asked: wire.TracksNew, limit: int) -> str | None:
    """The client's offer, if there is one. Raises Problem for what is well formed and cannot be meant."""
    sdp, items = wire.read_offer(asked.session_description), asked.tracks
    has_offer = sdp is not None
    locations = {item.location for item in items}
    if len(locations) > 1:
        raise Problem(Code.INVALID_PARAMS, "Pushing and Pulling tracks in one request is unsupported")
    if asked.auto_discover and not has_offer:
        raise Problem(Code.INVALID_PARAMS, "autoDiscover needs an offer to look into")
    if asked.auto_discover and "remote" in locations:
        raise Problem(Code.INVALID_PARAMS, "autoDiscover is for local tracks")
    if items or not asked.auto_discover:
        check_count(len(items), limit)
    for index, item in enumerate(items):
        if item.location == "remote" and not item.session_id:
            raise Problem(Code.INVALID_PARAMS, f"Track {index} is remote and has no sessionId")
        if item.location == "local" and has_offer and not item.mid:
            raise Problem(Code.INVALID_PARAMS, f"Track {index} has no mid, which names its section of the offer")
        if item.location == "local" and not has_offer and not item.mid and item.kind is None:
            raise Problem(Code.INVALID_PARAMS, f"Track {index} needs a kind, since the SFU makes the offer")
    _check_unique("mid", [item.mid for item in items if item.mid])
    _check_unique("trackName", [item.track_name for item in items if item.location == "local"])
    return sdp


def _check_unique(key: str, values: Sequence[str]) -> None:
    if any(count > 1 for count in Counter(values).values()):
        raise Problem(Code.INVALID_PARAMS, f"Two tracks of the request have the same {key}")


async def _both(gate: Coroutine[Any, Any, None], finding: Coroutine[Any, Any, list[Wanted]]) -> list[Wanted]:
    """Pass the gate and find what is pulled, at the same time; what the gate refuses does not wait for media."""
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(gate)
            found = tasks.create_task(finding)
    except* ParleyError as group:
        raise group.exceptions[0] from None
    return found.result()
