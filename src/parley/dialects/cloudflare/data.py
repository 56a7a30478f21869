"""The data channel calls: bringing data up, and channels made, changed and closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from parley.core.errors import Busy, NotFound
from parley.core.style import Decisions
from parley.dialects.cloudflare import wire
from parley.dialects.cloudflare.channels import SERVER_EVENTS, End, Events, Publisher, Subscriber
from parley.dialects.cloudflare.errors import (
    NO_CHANNEL,
    REPEATED_CHANNEL,
    Code,
    Fault,
    ItemCode,
    Problem,
    gone,
)
from parley.dialects.cloudflare.feeds import Follower, Said, say
from parley.dialects.cloudflare.session import Session
from parley.engine.specs import Kind
from parley.ids import ParticipantId, read
from parley.negotiation import Change, RemoteView

Find = Callable[[str], Session | None]
"""(a session's id as it was written) to the session, of this app or not."""

CHANNEL_CLOSED = Fault(ItemCode.CLOSE, "Data channel doesn't exist or was already closed")
ESTABLISHED = "DataChannel transport is already established"
NOT_ESTABLISHED = "The data channel transport is not established"


async def establish(session: Session, asked: wire.Establish, sdp: str | None) -> wire.Established:
    """Bring the session's data up, by an offer of the client's or of ours."""
    peers = session.core.peers
    _check_without_data(session)
    await session.gate(sdp)
    async with session.turn():
        _check_without_data(session)
        events = session.ends.events = Events(peers, session.peer)
        try:
            if sdp is not None:
                description = wire.SessionDescription(type="answer", sdp=await session.take_offer(sdp, _check_data))
                events.opened()  # The client has made its own channel, to have the section in its offer.
            else:
                peers.want_data(session.peer)
                offer = await peers.make_offer(session.peer)
                assert offer is not None, "a data section is wanted"
                description = wire.SessionDescription(type="offer", sdp=offer.sdp)
        except BaseException:
            session.ends.events = None
            raise
    channel = wire.ChannelResult(location="remote", data_channel_name=SERVER_EVENTS, id=0)
    return wire.Established(
        requires_immediate_renegotiation=sdp is None,
        session_description=description,
        data_channel=channel,
        datachannel=channel if asked.lower is not None else None,
    )


def _check_without_data(session: Session) -> None:
    """Raise Problem while an offer of ours is open, and once data is agreed."""
    session.check_stable()
    if session.core.peers.has_data(session.peer):
        raise Problem(Code.DECODING, ESTABLISHED)


def check_establish(asked: wire.Establish) -> str | None:
    """The client's offer, if there is one. Raises Problem for any other channel than the one there is."""
    channel = asked.data_channel or asked.lower or wire.EstablishItem()
    if channel.location != "remote" or channel.data_channel_name != SERVER_EVENTS:
        raise Problem(Code.INVALID_PARAMS, f"Only the remote {SERVER_EVENTS} channel can be established")
    return wire.read_offer(asked.session_description)


def check(items: Sequence[wire.ChannelItem], limit: int, *, has_options: bool = True) -> None:
    """Raise Problem for what is well formed and cannot be meant.

    has_options: whether the call looks at how messages are delivered.
    """
    if not 1 <= len(items) <= limit:
        raise Problem(Code.INVALID_PARAMS, f"Expecting 1 to {limit} data channels in the request")
    if len({item.location for item in items}) > 1:
        raise Problem(Code.INVALID_PARAMS, "Pushing and Pulling data channels in one request is unsupported")
    for index, item in enumerate(items):
        if item.location == "remote" and not item.session_id:
            raise Problem(Code.INVALID_PARAMS, f"Data channel {index} is remote and has no sessionId")
        if has_options and item.max_retransmits is not None and item.max_packet_life_time is not None:
            raise Problem(Code.INVALID_PARAMS, f"Data channel {index} has both maxRetransmits and maxPacketLifeTime")


async def new(session: Session, items: Sequence[wire.ChannelItem], find: Find) -> list[wire.ChannelResult]:
    """Publish or subscribe to channels, once the session's data is up."""
    peers = session.core.peers
    if not (peers.has_data(session.peer) or peers.offers_data(session.peer)):
        raise Problem(Code.INVALID_PARAMS, NOT_ESTABLISHED)
    if not await peers.data_ready(session.peer):
        raise session.unconnected()
    if not peers.get(session.peer).is_open:
        raise gone()
    return [_new(session, item, find) for item in items]


def update(session: Session, items: Sequence[wire.ChannelItem], find: Find) -> list[wire.ChannelResult]:
    """Let subscribers reply, or no longer."""
    return [_update(session, item, find) for item in items]


def close(session: Session, items: Sequence[wire.ChannelIdItem]) -> list[wire.ChannelResult]:
    """End channels by their ids."""
    return [_close(session, item.id) for item in items]


def _check_data(view: RemoteView) -> Decisions:
    """Raise Problem unless an offer has a data section that can be taken."""
    usable = (one for one in view.sections if one.refused is None and one.change is not Change.STOPPED)
    if not any(one.kind is Kind.DATA for one in usable):
        raise Problem(Code.INVALID_SDP, "The offer has no data section")
    return {}


def _new(session: Session, item: wire.ChannelItem, find: Find) -> wire.ChannelResult:
    result = _echo(item)
    ends = session.ends
    source = None
    if item.data_channel_name == SERVER_EVENTS:
        return result.failed(REPEATED_CHANNEL)
    if item.location == "local":
        if ends.published(item.data_channel_name) is not None:
            return result.failed(REPEATED_CHANNEL)
    else:
        source = _source(session, item, find)
        if source is None:
            return result.failed(NO_CHANNEL)
        if _following(session, source) is not None:
            return result.failed(REPEATED_CHANNEL)
    id = ends.free_id(asyncio.get_running_loop().time())
    if id is None:
        return result.failed(Fault(ItemCode.INVALID_PARAMS, "The session has as many data channels as it may"))
    end = _make(session, item, id, source)
    try:
        end.start(session.settings.limits.channel_bytes)
        ends.add(end)
        end.follow(session.settings.timeouts.ack_s)
    except Busy as error:
        if end in ends:
            end.close()
        return result.failed(Fault(ItemCode.AGAIN, str(error)))
    return result.model_copy(update={"id": id})


def _make(session: Session, item: wire.ChannelItem, id: int, source: Publisher | Said | None) -> End:
    """source: what a remote channel hears; None: it is a local one."""
    peers, peer = session.core.peers, session.peer
    match source:
        case Publisher():
            return Subscriber(peers, peer, item, id, publisher=source)
        case Said():
            return Follower(peers, peer, item, id, said=source, core=session.core, feeds=session.feeds)
        case None:
            made = Publisher(peers, peer, item, id)
            if not session.core.rooms.room_of(session.id).is_private:
                made.hear = partial(say, session.core, session.id, made)
            return made


def _update(session: Session, item: wire.ChannelItem, find: Find) -> wire.ChannelResult:
    result = wire.ChannelResult(
        location=item.location,
        data_channel_name=item.data_channel_name,
        session_id=item.session_id,
        can_reply=item.can_reply,
    )
    if item.location == "local":
        return result.failed(Fault(ItemCode.UPDATE, "Only remote data channels can be updated"))
    if item.id is not None:
        end = session.ends.get(item.id)
    else:
        source = _source(session, item, find)
        end = _following(session, source) if source is not None else None
    if not isinstance(end, Subscriber | Follower):
        return result.failed(NO_CHANNEL)
    if item.can_reply is not None:
        end.set_reply(item.can_reply)
    return result.model_copy(update={"id": end.id})


def _close(session: Session, id: int) -> wire.ChannelResult:
    events = session.events
    if id == 0 and events is not None and events.status != "inactive":
        events.close()
        return wire.ChannelResult(location="remote", data_channel_name=SERVER_EVENTS, id=0)
    end = session.ends.get(id)
    if end is None:
        return wire.ChannelResult(id=id).failed(CHANNEL_CLOSED)
    end.close()
    item = end.item
    publisher = item.session_id if item.location == "remote" else None
    return wire.ChannelResult(
        location=item.location, data_channel_name=item.data_channel_name, session_id=publisher, id=id
    )


def _source(session: Session, item: wire.ChannelItem, find: Find) -> Publisher | Said | None:
    """What a remote channel is to hear: a channel of another session, or somebody in the session's room."""
    return _publisher(session, item, find) or _said(session, item)


def _following(session: Session, source: Publisher | Said) -> Subscriber | Follower | None:
    """The open end of a session that hears this already."""
    if isinstance(source, Publisher):
        return session.ends.subscribed(source)
    return session.feeds.get(source)


def _publisher(session: Session, item: wire.ChannelItem, find: Find) -> Publisher | None:
    """The local channel that a remote one is to follow."""
    id = read(item.session_id or "")
    if id is None:
        return None
    try:
        session.core.rooms.find_participant(session.participant.grant, ParticipantId(id))
    except NotFound:
        return None
    found = find(f"{id:032x}")
    return None if found is None else found.ends.published(item.data_channel_name)


def _said(session: Session, item: wire.ChannelItem) -> Said | None:
    """What a remote channel is to hear, where it names somebody in the session's room."""
    id = read(item.session_id or "")
    try:
        found = session.core.rooms.find_participant(session.participant.grant, ParticipantId(id or 0))
    except NotFound:
        return None
    if found.room != session.participant.room or found.id == session.id:
        return None
    return Said(found.id, session.id, item.data_channel_name)


def _echo(item: wire.ChannelItem) -> wire.ChannelResult:
    """The item's names and the options that were sent with it."""
    sent = item.model_dump(exclude={"id"}, exclude_none=True)
    if item.location == "local":
        sent.pop("session_id", None)
    return wire.ChannelResult(**sent)
