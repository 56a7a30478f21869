"""The shell around rooms: takes participants in, asks `room.py` what follows, and makes it so.

Nothing here waits. A change to a room, telling it to everybody concerned and handing it to peers are one step of the
event loop, so nobody ever sees a room half changed. Every method raises before it changes anything, or not at all.

Participants are named by their ids, which nobody can guess and only their own dialect holds.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from random import Random
from typing import TypeVar

import structlog

from parley.clock import Clock
from parley.core import facts, story
from parley.core.access import Access
from parley.core.audience import audience, replaces, wait_s
from parley.core.bus import Bus
from parley.core.courier import Courier
from parley.core.data import Data, DataStyle
from parley.core.errors import (
    LimitExceeded,
    NameEmpty,
    NotAllowed,
    ParticipantNotFound,
    RoomNotFound,
    ShuttingDown,
    TrackNotFound,
    UnfitSection,
)
from parley.core.events import (
    DataReceived,
    Event,
    Happening,
    LayerForwarded,
    LayersArriving,
    LayersWanted,
    ParticipantEvent,
    ParticipantLeft,
    PeerConnected,
    PeerFailed,
    PeerWantsOffer,
    RoomClosed,
    RoomOpened,
    SubscriptionEnded,
    SubscriptionOpened,
    SubscriptionSwitched,
    TrackEnded,
    TrackEvent,
    TrackLive,
    TrackPublished,
    TrackSilent,
)
from parley.core.grants import Grant, Source
from parley.core.layers import Layer, LayerWish
from parley.core.leases import Leases
from parley.core.mailbox import Mailbox
from parley.core.model import (
    NO_ATTRIBUTES,
    NOTHING,
    Counts,
    EndReason,
    LeaveReason,
    Limits,
    Participant,
    ParticipantState,
    RoomInfo,
    RoomOptions,
    Subscription,
    Terms,
    Track,
    TrackState,
    frozen,
)
from parley.core.peers import Peers
from parley.core.pulls import Pulls
from parley.core.room import Room, check_sizes
from parley.core.seat import Listener, Member
from parley.core.seat import Seat as Seat
from parley.engine.specs import Kind, Mid
from parley.errors import Reason
from parley.ids import ParticipantId, PeerId, RoomId, SubscriptionId, TenantId, TrackId, mint, to_hex

log = structlog.get_logger(__name__)

FAREWELLS = frozenset({"peer", "transport"})
"""The engine's words for a channel that ended because the other side closed it, or everything."""

NO_TERMS = Terms()

_T = TypeVar("_T")


class Rooms:
    """Every room of every tenant."""

    def __init__(self, peers: Peers, bus: Bus, *, clock: Clock, random: Random, limits: Limits) -> None:
        self._peers = peers
        self._bus = bus
        self._clock = clock
        self._random = random
        self._limits = limits
        self._rooms: dict[RoomId, Room] = {}
        self._by_name: dict[tuple[TenantId, str], RoomId] = {}
        self._members: dict[ParticipantId, Member] = {}
        self._leases = Leases[_Deadline]()
        self._untold: deque[tuple[Room, Event]] = deque()
        self._is_telling = False
        self._is_stopping = False
        self._courier = Courier(peers, limits)
        self._pulls = Pulls(random)
        self._until_live: dict[TrackId, asyncio.Future[bool]] = {}
        peers.on_fact(self._learn)

    # Coming and going.

    def check(self, grant: Grant) -> None:
        """Raise what `join` would raise for this grant now; change nothing."""
        self._admit(grant)

    def join(
        self,
        grant: Grant,
        *,
        name: str = "",
        metadata: str = "",
        attributes: Mapping[str, str] = NO_ATTRIBUTES,
        auto_subscribe: bool = True,
        baggage: Mapping[str, object] = NOTHING,
        data: DataStyle | None = None,
        options: RoomOptions | None = None,
        terms: Terms = NO_TERMS,
        listener: Listener | None = None,
    ) -> Seat:
        """Seat the grant's holder in the room the grant names, which is created if it does not exist; or, where it
        names a lobby and no room, by itself.

        A participant with the same identity leaves first, for DUPLICATE_IDENTITY. The new one is JOINING until
        `arrive`, and has the join deadline to become ACTIVE.
        data: how its channels carry data; None: data reaches it as `DataReceived`.
        options: how a room that is created here behaves.
        terms: what it is held to where that is not what the limits say.
        listener: hears its events at once, in place of its queue, which then holds the last one alone.
        Raises NotAllowed, NameEmpty, RoomNotFound, RoomFull, LimitExceeded, ShuttingDown.
        """
        room = self._admit(grant)
        check_sizes(self._limits, name=name, metadata=metadata, attributes=attributes)
        before = room.by_identity(grant.identity) if room is not None else None
        if room is None:
            room = self._open(grant, options or RoomOptions())
        if before is not None:
            self.leave(before.id, LeaveReason.DUPLICATE_IDENTITY)
        participant = Participant(
            id=ParticipantId(mint(self._random)),
            room=room.info.id,
            identity=grant.identity,
            grant=grant,
            joined_at=self._clock.wall(),
            name=name,
            metadata=metadata,
            attributes=frozen({key: value for key, value in attributes.items() if value}),
            auto_subscribe=auto_subscribe,
            terms=terms,
            baggage=baggage,
        )
        events = room.join(participant)
        mailbox = Mailbox(self._limits.events)
        self._members[participant.id] = Member(room, mailbox, listener)
        self._courier.seat(participant.id, data)
        self._peers.seat(participant.id, _group_of(room.info.id))
        within_s = self._limits.join_timeout_s if terms.connect_s is None else terms.connect_s
        self._leases.set(_Joining(participant.id), self._clock.monotonic() + within_s)
        seat = Seat(participant, room.info, room.visible_to(participant.id), mailbox)
        self._tell(room, events)
        self._watch(room)
        return seat

    def arrive(self, participant: ParticipantId) -> None:
        """Its client has been told what the room looks like: it is JOINED."""
        room = self._room_of(participant)
        self._tell(room, room.advance(participant, ParticipantState.JOINED))

    def activate(self, participant: ParticipantId) -> None:
        """It is ACTIVE. Its primary peer's connecting says so by itself; this is for participants without one."""
        room = self._room_of(participant)
        self._leases.drop(_Joining(participant))
        self._tell(room, room.advance(participant, ParticipantState.ACTIVE))

    def expect(self, participant: ParticipantId, within_s: float) -> None:
        """Give a participant that is not ACTIVE yet so long from now to become so. Raises ParticipantNotFound."""
        if not self._room_of(participant).participant(participant).is_active:
            self._leases.set(_Joining(participant), self._clock.monotonic() + within_s)

    def leave(self, participant: ParticipantId, reason: LeaveReason = LeaveReason.CLIENT_LEFT) -> None:
        """Unseat a participant and close its peers; no error when it is gone already."""
        member = self._members.get(participant)
        if member is None or member.is_leaving:
            return
        member.is_leaving, member.is_told = True, False
        room = member.room
        for pull in self._pulls.of_subscriber(participant):
            self._tell(room, self._pulls.end(pull.id, EndReason.PARTICIPANT_LEFT))
        self._tell(room, room.leave(participant, reason))
        if room.info.is_private and room.info.id in self._rooms:
            self.close(room.info.id, reason)
        self._watch(room)

    def close(self, room: RoomId, reason: LeaveReason = LeaveReason.ROOM_DELETED) -> None:
        """End a room: everybody leaves for this reason. Raises RoomNotFound."""
        found = self._room(room)
        # From here on its name is free: whoever joins it opens a new room with a new id.
        self._by_name.pop((found.info.tenant, found.info.name), None)
        del self._rooms[room]
        for participant in found.participants:
            # Everybody leaves, so nobody need be told of each other one: only of leaving itself.
            self._members[participant].is_told = False
        for participant in list(found.participants):
            self.leave(participant, reason)
        self._leases.drop(_Empty(room))
        self._tell(found, [RoomClosed(found.info, reason)])

    def shut_down(self) -> None:
        """Take nobody in any more and end every room, for SERVER_SHUTDOWN."""
        self._is_stopping = True
        for room in list(self._rooms):
            self.close(room, LeaveReason.SERVER_SHUTDOWN)

    # Looking.

    def participant(self, participant: ParticipantId) -> Participant:
        """The participant as it is now. Raises ParticipantNotFound."""
        return self._room_of(participant).participant(participant)

    def others(self, participant: ParticipantId) -> tuple[Participant, ...]:
        """Everybody else it may know of, in the order of joining. Raises ParticipantNotFound."""
        return self._room_of(participant).visible_to(participant)

    def room_of(self, participant: ParticipantId) -> RoomInfo:
        """The participant's room as it is now. Raises ParticipantNotFound."""
        return self._room_of(participant).info

    def find(self, tenant: TenantId, name: str) -> RoomInfo | None:
        """The open room of that name, if there is one."""
        id = self._by_name.get((tenant, name))
        return self._rooms[id].info if id is not None else None

    def all(self, tenant: TenantId | None = None) -> tuple[RoomInfo, ...]:
        """Every open room, of one tenant or of all, oldest first."""
        return tuple(
            room.info
            for room in self._rooms.values()
            if not room.info.is_private and (tenant is None or room.info.tenant == tenant)
        )

    def participants(self, room: RoomId) -> tuple[Participant, ...]:
        """Everybody in a room, hidden ones too, in the order of joining. Raises RoomNotFound."""
        return tuple(self._room(room).participants.values())

    def subscriptions(self, participant: ParticipantId) -> tuple[Subscription, ...]:
        """What a participant receives or is about to. Raises ParticipantNotFound."""
        every = self._room_of(participant).subscriptions
        return (
            *(one for one in every if one.subscriber == participant),
            *self._pulls.of_subscriber(participant),
        )

    def find_track(self, grant: Grant, participant: ParticipantId, name: str, id: TrackId | None = None) -> Track:
        """A published track of anybody the grant's holder may find: in a room of its tenant, or in its own lobby.

        name: as the track was announced, which goes before its id. Raises ParticipantNotFound, TrackNotFound.
        """
        publisher = self.find_participant(grant, participant)
        named = (track for track in reversed(publisher.published) if name and track.name == name)
        by_id = (track for track in publisher.published if track.id == id)
        found = next(chain(named, by_id), None)
        if found is None:
            raise TrackNotFound(name if id is None else id)
        return found

    def find_participant(self, grant: Grant, participant: ParticipantId) -> Participant:
        """Anybody the grant's holder may find: in a room of its tenant, or in its own lobby, and not hidden.

        Raises ParticipantNotFound.
        """
        room = self._room_of(participant)
        found = room.participant(participant)
        is_near = room.info.tenant == grant.tenant and (not room.info.is_private or room.info.lobby == grant.lobby)
        if not is_near or found.grant.hidden:
            raise ParticipantNotFound(participant)
        return found

    def until_live(self, track: TrackId) -> asyncio.Future[bool]:
        """Becomes True with a track's first packet, or at once if it has come; False when the track ends before."""
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        found = self._find(track)
        if found is None:
            future.set_result(False)
        elif found.state in (TrackState.LIVE, TrackState.SILENT):
            future.set_result(True)
        else:
            return self._until_live.setdefault(track, future)
        return future

    def count(self) -> Counts:
        """How much there is now, over all tenants."""
        rooms = self._rooms.values()
        return Counts(
            rooms=sum(not room.info.is_private for room in rooms),
            participants=len(self._members),
            tracks=sum(len(one.published) for room in rooms for one in room.participants.values()),
            subscriptions=sum(1 for room in rooms for _ in room.subscriptions) + len(self._pulls),
            peers=len(self._peers),
        )

    # Tracks.

    def announce(
        self,
        participant: ParticipantId,
        *,
        kind: Kind,
        source: Source = Source.UNKNOWN,
        name: str = "",
        muted: bool = False,
        layers: tuple[Layer, ...] = (),
        baggage: Mapping[str, object] = NOTHING,
    ) -> Track:
        """Add a track that will come. It is published once a section of a peer of its participant carries it:
        `Peers.take_offer` with a `Take` for it, or `Peers.claim`.

        layers: what is known of its encodings by then; which there are, its section says.
        Raises ParticipantNotFound, NotAllowed, SourceNotAllowed, LimitExceeded(too_many_tracks, name_too_long).
        """
        room = self._room_of(participant)
        track, events = room.announce(
            participant, kind=kind, source=source, name=name, muted=muted, layers=layers, baggage=baggage
        )
        self._tell(room, events)
        return track

    def withdraw(self, participant: ParticipantId, track: TrackId, reason: EndReason = EndReason.UNPUBLISHED) -> None:
        """End a track of the participant's, whatever its client sends. Raises ParticipantNotFound, TrackNotFound."""
        room = self._room_of(participant)
        if room.participant(participant).track(track) is None:
            raise TrackNotFound(track)
        self._tell(room, room.end_track(track, reason))

    def mute(self, participant: ParticipantId, track: TrackId, muted: bool) -> None:
        """Set whether a track is muted: a muted one is not forwarded. Raises ParticipantNotFound, TrackNotFound."""
        room = self._room_of(participant)
        self._tell(room, room.revise(participant, track, muted=muted))

    def revise(self, participant: ParticipantId, track: TrackId, baggage: Mapping[str, object]) -> Track:
        """Replace a track's baggage. Raises ParticipantNotFound, TrackNotFound."""
        room = self._room_of(participant)
        self._tell(room, room.revise(participant, track, baggage=baggage))
        return room.track(track)

    # Subscriptions.

    def subscribe(self, participant: ParticipantId, track: TrackId) -> None:
        """Have the participant receive a track of its room. A track that is not there yet is waited for; after
        `Limits.wish_timeout_s` comes `SubscriptionFailed`. Without the permission the wish is kept.

        Raises ParticipantNotFound, LimitExceeded(too_many_subscriptions).
        """
        room = self._room_of(participant)
        self._tell(room, room.want(participant, track, True))
        if room.is_missing(participant, track):
            at = self._clock.monotonic() + self._limits.wish_timeout_s
            self._leases.set(_Wishing(participant, track), at)

    def unsubscribe(self, participant: ParticipantId, track: TrackId) -> None:
        """Have the participant no longer receive a track; subscribing to everything does not undo that.

        Raises ParticipantNotFound, LimitExceeded(too_many_subscriptions).
        """
        room = self._room_of(participant)
        self._leases.drop(_Wishing(participant, track))
        self._tell(room, room.want(participant, track, False))

    def set_enabled(self, participant: ParticipantId, track: TrackId, enabled: bool) -> None:
        """Have a track forwarded to the participant, or held back while it stays subscribed. May come before the
        subscription, or the track. Raises ParticipantNotFound, LimitExceeded(too_many_subscriptions).
        """
        room = self._room_of(participant)
        self._tell(room, room.show(participant, track, enabled))

    def prefer(self, participant: ParticipantId, track: TrackId, layers: LayerWish) -> None:
        """Have another layer of a track forwarded to the participant, with the next keyframe of that layer and without
        any exchange. May come before the subscription, or the track.

        Raises ParticipantNotFound, LimitExceeded(too_many_subscriptions).
        """
        room = self._room_of(participant)
        self._tell(room, room.prefer(participant, track, layers))

    def pull(
        self,
        participant: ParticipantId,
        track: TrackId,
        peer: PeerId,
        mid: Mid | None = None,
        layers: LayerWish | None = None,
    ) -> Subscription:
        """Have a peer of the participant's carry a track of anybody its grant's holder may find, itself included.

        mid: the section that is to carry it; what it carries now ends as REPLACED, at once if the server sends there
        already. None: a section of the next offer, or one that a `Give` names. The same track may be pulled again.
        layers: which layer of it; None: what the peer's style says.
        Raises ParticipantNotFound, TrackNotFound, NotAllowed, SectionNotFound, UnfitSection, PeerNotFound,
        LimitExceeded(too_many_subscriptions).
        """
        room = self._room_of(participant)
        subscriber = room.participant(participant)
        found = self._find(track)
        if found is None:
            raise TrackNotFound(track)
        if not self._admits(subscriber, found):
            raise NotAllowed(subscriber.identity, "receive this track")
        if mid is not None and not self._peers.can_carry(peer, mid, found):
            raise UnfitSection(peer, mid, track)
        limit = self._limits.max_subscriptions
        if subscriber.terms.max_pulls is not None:
            limit = subscriber.terms.max_pulls
        pulled = self._pulls.open(subscriber, found, limit, layers)
        self._tell(room, [SubscriptionOpened(participant, pulled)])
        self._peers.send(peer, pulled, mid)
        return self._pulls.get(pulled.id) or pulled

    def prefer_pulled(self, participant: ParticipantId, subscription: SubscriptionId, layers: LayerWish) -> None:
        """The same as `prefer`, of a pulled subscription of the participant's, if it has not ended. It may come while
        the offer is open that brings it. Raises ParticipantNotFound.
        """
        room = self._room_of(participant)
        pulled = self._pulls.get(subscription)
        if pulled is not None and pulled.subscriber == participant:
            self._tell(room, self._pulls.prefer(subscription, layers))

    def release(self, participant: ParticipantId, subscription: SubscriptionId) -> None:
        """End a pulled subscription of the participant's, if it has not ended. Raises ParticipantNotFound."""
        room = self._room_of(participant)
        pulled = self._pulls.get(subscription)
        if pulled is not None and pulled.subscriber == participant:
            self._tell(room, self._pulls.end(subscription, EndReason.UNSUBSCRIBED))

    def pulled(self, subscription: SubscriptionId) -> Subscription | None:
        """A pulled subscription as it is now; None: it has ended or failed."""
        return self._pulls.get(subscription)

    def restrict(self, participant: ParticipantId, access: Access) -> None:
        """Say who may receive the participant's tracks, those to come included, in place of any earlier rule. Whom it
        bars hears so by `AccessChanged`, and stops receiving at once. Raises ParticipantNotFound.
        """
        room = self._room_of(participant)
        self._tell(room, room.restrict(participant, access))
        self._recheck(participant)

    # What is said of participants and rooms.

    def update(
        self,
        participant: ParticipantId,
        *,
        name: str | None = None,
        metadata: str | None = None,
        attributes: Mapping[str, str] | None = None,
    ) -> Participant:
        """Change what a participant says of itself, where that is not None. Attributes are merged, and an empty value
        deletes its key. Returns it as it is then.

        Raises ParticipantNotFound, NotAllowed without `can_update_own_metadata`, LimitExceeded(name_too_long,
        metadata_too_large, attributes_too_large).
        """
        room = self._room_of(participant)
        grant = room.participant(participant).grant
        if not grant.can_update_own_metadata:
            raise NotAllowed(grant.identity, "update its own metadata")
        self._tell(room, room.update(participant, name=name, metadata=metadata, attributes=attributes))
        return room.participant(participant)

    def set_baggage(self, participant: ParticipantId, baggage: Mapping[str, object]) -> None:
        """Replace a participant's baggage. Raises ParticipantNotFound."""
        room = self._room_of(participant)
        self._tell(room, room.update(participant, baggage=baggage))

    def regrant(self, participant: ParticipantId, grant: Grant) -> None:
        """Replace what a participant may do: what goes beyond it ends at once. Raises ParticipantNotFound."""
        room = self._room_of(participant)
        self._tell(room, room.regrant(participant, grant))
        self._recheck(participant)
        self._watch(room)

    def set_metadata(self, room: RoomId, metadata: str) -> None:
        """Change a room's own metadata. Raises RoomNotFound, LimitExceeded(metadata_too_large)."""
        found = self._room(room)
        self._tell(found, found.set_metadata(metadata))

    # Data.

    def send(self, participant: ParticipantId, data: Data) -> None:
        """Pass a participant's data on to the others, or to those it names, never to itself.

        Lossy data goes to whoever is ACTIVE. Reliable data for a participant whose channel is not open yet is held
        until it is, at most `Limits.held_data_bytes`. A name that is nobody's is ignored.
        Raises ParticipantNotFound, NotAllowed, LimitExceeded(message_too_large).
        """
        room = self._room_of(participant)
        self._pass_on(room, room.participant(participant), room.recipients(participant, data), data)

    def send_from_server(self, room: RoomId, data: Data) -> None:
        """Send data to a room's participants from nobody in it. Raises RoomNotFound, LimitExceeded."""
        found = self._room(room)
        self._pass_on(found, None, found.recipients(None, data), data)

    # Deadlines.

    def sweep(self, now: float) -> None:
        """Act on every deadline that has passed. now: seconds on the injected clock."""
        for deadline in self._leases.due(now):
            match deadline:
                case _Joining(participant):
                    self.leave(participant, LeaveReason.JOIN_TIMEOUT)
                case _Leaving(participant, reason):
                    self.leave(participant, reason)
                case _Wishing(participant, track):
                    if (member := self._members.get(participant)) is not None:
                        self._tell(member.room, member.room.give_up(participant, track))
                case _Empty(room):
                    if room in self._rooms:
                        self.close(room, LeaveReason.ROOM_CLOSED)
                case _Silent(participant, track):
                    self._collect(participant, track)
        self._courier.sweep()

    # For itself: finding.

    def _room(self, id: RoomId) -> Room:
        room = self._rooms.get(id)
        if room is None:
            raise RoomNotFound(id)
        return room

    def _room_of(self, participant: ParticipantId) -> Room:
        member = self._members.get(participant)
        if member is None or member.is_leaving:
            raise ParticipantNotFound(participant)
        return member.room

    def _find(self, id: TrackId) -> Track | None:
        """A published track of any room."""
        found = self._peers.track(id)
        member = self._members.get(found.participant) if found is not None else None
        if member is None or member.is_leaving or not member.room.has(id):
            return None
        track = member.room.track(id)
        return track if track.is_published else None

    def _admits(self, subscriber: Participant, track: Track) -> bool:
        """Whether a participant may receive a track, of its own room or not."""
        try:
            publisher = self.find_participant(subscriber.grant, track.participant)
        except ParticipantNotFound:
            return False
        return self._members[publisher.id].room.subscriptions.admits(subscriber, publisher, track)

    def _admit(self, grant: Grant) -> Room | None:
        """The room this grant's holder may join; None: it does not exist and may be created."""
        if self._is_stopping:
            raise ShuttingDown
        if not grant.can_join:
            raise NotAllowed(grant.identity, "join")
        if not (grant.room or grant.lobby):
            raise NameEmpty("the room's name")
        if not grant.identity:
            raise NameEmpty("the identity")
        check_sizes(self._limits, name=grant.room)
        check_sizes(self._limits, name=grant.identity)
        id = self._by_name.get((grant.tenant, grant.room)) if grant.room else None
        if id is None:
            if grant.room and not (self._limits.auto_create or grant.can_create):
                raise RoomNotFound(grant.room)
            if len(self._rooms) >= self._limits.max_rooms:
                raise LimitExceeded(Reason.TOO_MANY_ROOMS, f"{len(self._rooms)} rooms are open", self._limits.max_rooms)
            return None
        room = self._rooms[id]
        room.check_seat(grant)
        return room

    def _open(self, grant: Grant, options: RoomOptions) -> Room:
        check_sizes(self._limits, metadata=options.metadata)
        limits = self._limits
        info = RoomInfo(
            id=RoomId(mint(self._random)),
            tenant=grant.tenant,
            name=grant.room,
            created_at=self._clock.wall(),
            max_participants=_first(options.max_participants, limits.max_participants),
            empty_timeout_s=_first(options.empty_timeout_s, limits.empty_timeout_s),
            departure_timeout_s=_first(options.departure_timeout_s, limits.departure_timeout_s),
            metadata=options.metadata,
            lobby="" if grant.room else grant.lobby,
            baggage=options.baggage,
        )
        room = self._rooms[info.id] = Room(info, random=self._random, limits=limits)
        if not info.is_private:
            self._by_name[info.tenant, info.name] = info.id
        self._tell(room, [RoomOpened(info)])
        return room

    def _watch(self, room: Room) -> None:
        """Keep the deadline of an empty room up to date."""
        key = _Empty(room.info.id)
        if room.info.id not in self._rooms or not room.is_empty:
            self._leases.drop(key)
        elif key not in self._leases:
            wait_s = room.info.departure_timeout_s if room.was_joined else room.info.empty_timeout_s
            self._leases.set(key, self._clock.monotonic() + wait_s)

    # For itself: telling and acting.

    def _tell(self, room: Room, events: Iterable[Event]) -> None:
        """Tell events to whom they concern and act on them, in order; what acting causes comes after them."""
        self._untold.extend((room, event) for event in events)
        if self._is_telling:
            return
        self._is_telling = True
        try:
            while self._untold:
                room, event = self._untold.popleft()
                story.write(room.info, event)
                self._bus.tell(Happening(event, room.info, self._clock.wall()))
                within_s = wait_s(room, event, self._limits)
                latest = replaces(event)
                for participant in audience(room, event):
                    self._put(participant, event, latest, within_s)
                self._act(event)
        finally:
            self._is_telling = False

    def _put(self, participant: ParticipantId, event: Event, latest: Hashable, within_s: float) -> None:
        member = self._members.get(participant)
        if member is None or not member.is_told:
            return
        if member.listener is not None:
            _hear(member.listener, event)
            return
        if isinstance(event, ParticipantEvent) and event.participant.id == participant:
            within_s = 0.0
        if not member.mailbox.put(event, latest=latest, within_s=within_s):
            log.warning("a participant reads its events too slowly", participant=to_hex(participant))
            member.is_slow = True
            self.leave(participant, LeaveReason.SLOW_READER)

    def _act(self, event: Event) -> None:
        if isinstance(event, TrackEvent):
            self._follow(event)
        match event:
            case TrackEnded(track=track, reason=reason):
                self._peers.forget(track.id)
                for pull in self._pulls.of_track(track.id):
                    self._tell(self._members[pull.subscriber].room, self._pulls.end(pull.id, reason))
            case TrackEvent(track=track):
                self._peers.know(track)
            case SubscriptionOpened(subscription=subscription):
                self._carry(subscription)
            case SubscriptionSwitched(subscription=subscription):
                for peer in self._peers.of(subscription.subscriber):
                    self._peers.switch(peer.id, subscription)
            case SubscriptionEnded(subscription=subscription):
                for peer in self._peers.of(subscription.subscriber):
                    self._peers.stop(peer.id, subscription)
            case ParticipantLeft(participant=participant):
                self._unseat(participant.id, event)

    def _carry(self, subscription: Subscription) -> None:
        member = self._members.get(subscription.subscriber)
        if member is None or member.is_leaving:
            return
        peer = member.room.participant(subscription.subscriber).receives_on
        if peer is not None:
            self._peers.send(peer, subscription)

    def _follow(self, event: TrackEvent) -> None:
        """Wake those who wait for a track's first packet, and watch how long it is without any."""
        track = event.track
        match event:
            case TrackLive() | TrackEnded():
                self._leases.drop(_Silent(track.participant, track.id))
                future = self._until_live.pop(track.id, None)
                if future is not None and not future.done():
                    future.set_result(isinstance(event, TrackLive))
            case TrackPublished() | TrackSilent():
                self._time_silence(event.participant, track.id)

    def _time_silence(self, publisher: Participant, track: TrackId) -> None:
        if publisher.terms.silent_s is not None:
            self._leases.set(_Silent(publisher.id, track), self._clock.monotonic() + publisher.terms.silent_s)

    def _collect(self, participant: ParticipantId, id: TrackId) -> None:
        """A track has been without packets for as long as its participant's terms allow."""
        member = self._members.get(participant)
        if member is None or member.is_leaving or not member.room.has(id):
            return
        publisher = member.room.participant(participant)
        if publisher.is_active:
            self._tell(member.room, member.room.end_track(id, EndReason.SILENT))
        else:
            self._time_silence(publisher, id)  # None could come: the time counts from when its peer is connected.

    def _recheck(self, participant: ParticipantId) -> None:
        """End the pulls that what has just been said of a participant no longer allows: by it, and of its tracks."""
        tracks = self._room_of(participant).participant(participant).tracks
        pulls = [
            *self._pulls.of_subscriber(participant),
            *(p for track in tracks for p in self._pulls.of_track(track.id)),
        ]
        for pull in pulls:
            room = self._members[pull.subscriber].room
            track = self._find(pull.track)
            if track is not None and not self._admits(room.participant(pull.subscriber), track):
                self._tell(room, self._pulls.end(pull.id, EndReason.NOT_ALLOWED))

    def _unseat(self, participant: ParticipantId, last: ParticipantLeft) -> None:
        member = self._members.pop(participant)
        self._leases.drop(_Joining(participant))
        for reason in LeaveReason:
            self._leases.drop(_Leaving(participant, reason))
        self._peers.unseat(participant)
        self._courier.unseat(participant)
        member.mailbox.close(last, drop=member.is_slow)
        if member.listener is not None:
            _hear(member.listener, last)

    # For itself: what peers report.

    def _learn(self, fact: facts.Fact) -> None:
        member = self._members.get(fact.participant)
        if member is None or member.is_leaving:
            return
        room, id = member.room, fact.participant
        match fact:
            case facts.PeerOpened(peer=peer, receives=True):
                self._tell(room, room.receive_on(id, peer))
            case facts.PeerUp(peer=peer, is_primary=is_primary):
                self._tell(room, [PeerConnected(id, peer)])
                if is_primary:
                    self.activate(id)
                    for track in room.participant(id).published:
                        if track.state is not TrackState.LIVE:
                            self._time_silence(room.participant(id), track.id)
            case facts.PeerClosed(peer=peer):
                if room.participant(id).receives_on == peer:
                    self._tell(room, room.receive_on(id, None))
            case facts.PeerDown(peer=peer, failure=failure, is_needed=is_needed):
                self._tell(room, [PeerFailed(id, peer, failure)])
                if is_needed:
                    self._lose(id, failure.reason)
            case facts.OfferWanted(peer=peer, upto=upto):
                self._tell(room, [PeerWantsOffer(id, peer, upto)])
            case facts.TrackFact(track=track) if not room.has(track):
                pass  # It has just ended here, and peers will be told of it in a moment.
            case facts.TrackBound(track=track, mid=mid, codec=codec, rids=rids):
                self._tell(room, room.publish(track, mid, codec, rids))
            case facts.TrackLost(track=track, reason=reason):
                self._tell(room, room.end_track(track, reason))
            case facts.TrackFlows(track=track):
                self._tell(room, room.flow(track))
            case facts.TrackStalls(track=track):
                self._tell(room, room.stall(track))
            case facts.LayersFlow(track=track, layers=layers):
                self._tell(room, [LayersArriving(id, track, layers)])
            case facts.LayersDemanded(track=track, layers=layers):
                self._tell(room, [LayersWanted(id, track, layers)])
            case facts.SendingLayer(subscription=subscription, layer=layer):
                forwarded = self._pulls.get(subscription) or room.subscriptions.get(subscription)
                if forwarded is not None:
                    self._tell(room, [LayerForwarded(id, forwarded, layer)])
            case facts.SendingBound(subscription=subscription, mid=mid) if subscription in self._pulls:
                self._pulls.bind(subscription, mid)
            case facts.SendingFlows(subscription=subscription) if subscription in self._pulls:
                self._activate_pull(room, subscription)
            case facts.SendingRefused(subscription=subscription, failure=failure) if subscription in self._pulls:
                self._tell(room, self._pulls.refuse(subscription, failure))
            case facts.SendingEnded(subscription=subscription, reason=reason):
                self._tell(room, self._pulls.end(subscription, reason))
            case facts.SendingBound(subscription=subscription, mid=mid):
                room.subscriptions.bind(subscription, mid)
            case facts.SendingFlows(subscription=subscription):
                self._tell(room, room.activate(subscription))
            case facts.SendingRefused(subscription=subscription, failure=failure):
                self._tell(room, room.subscriptions.refuse(subscription, failure))
            case facts.ChannelReady():
                self._courier.flush(id)
            case facts.ChannelLost(label=label, reason=why):
                self._lose_channel(id, label, why)
            case facts.MessageArrived(label=label, message=message):
                self._read(room, room.participant(id), label, message)

    def _activate_pull(self, room: Room, subscription: SubscriptionId) -> None:
        """What is pulled arrives: its subscriber is told, and the publisher if it is the first to hear it."""
        self._tell(room, self._pulls.activate(subscription))
        pulled = self._pulls.get(subscription)
        publisher = self._members.get(pulled.publisher) if pulled is not None else None
        if pulled is not None and publisher is not None and pulled.publisher != pulled.subscriber:
            there, subscriber = publisher.room, room.participant(pulled.subscriber)
            self._tell(there, there.subscriptions.hear(pulled.publisher, pulled.track, subscriber))

    def _lose(self, participant: ParticipantId, reason: Reason) -> None:
        """A participant's peer is gone and it cannot go on."""
        if reason is Reason.PEER_HUNG_UP:
            self._await_good_bye(participant, LeaveReason.PEER_FAILED)
        else:
            self.leave(participant, _LEFT_FOR.get(reason, LeaveReason.INTERNAL))

    def _lose_channel(self, participant: ParticipantId, label: str, why: str) -> None:
        """A channel has ended; without those its data goes on, a participant cannot stay."""
        style = self._courier.style(participant)
        if style is None or label not in (style.reliable, style.lossy):
            return
        if why in FAREWELLS:
            self._await_good_bye(participant, LeaveReason.DATA_LOST)
        else:
            self.leave(participant, LeaveReason.DATA_LOST)

    def _await_good_bye(self, participant: ParticipantId, otherwise: LeaveReason) -> None:
        """Give a participant whose client closed something a moment to say why.

        A client that leaves closes its channels and its peer and says good-bye at once; any of them may get here first.
        """
        self._leases.set(_Leaving(participant, otherwise), self._clock.monotonic() + self._limits.good_bye_s)

    # For itself: data.

    def _read(self, room: Room, sender: Participant, label: str, message: bytes) -> None:
        """A message has arrived on one of a participant's channels."""
        style = self._courier.style(sender.id)
        data = style.read(sender, label, message) if style is not None else None
        if data is None:
            return
        try:
            recipients = room.recipients(sender.id, data)
        except NotAllowed:
            return  # Without the permission it is dropped without a word: there is nobody to tell on a channel.
        except LimitExceeded as error:
            log.warning("data was left out", identity=sender.identity, why=str(error))
            return
        self._pass_on(room, sender, recipients, data)

    def _pass_on(self, room: Room, sender: Participant | None, recipients: Iterable[Participant], data: Data) -> None:
        for recipient in self._courier.carry(sender, recipients, data):
            self._tell(room, [DataReceived(recipient, sender, data)])


@dataclass(frozen=True, slots=True)
class _Joining:
    participant: ParticipantId


@dataclass(frozen=True, slots=True)
class _Leaving:
    participant: ParticipantId
    reason: LeaveReason


@dataclass(frozen=True, slots=True)
class _Wishing:
    participant: ParticipantId
    track: TrackId


@dataclass(frozen=True, slots=True)
class _Empty:
    room: RoomId


@dataclass(frozen=True, slots=True)
class _Silent:
    participant: ParticipantId
    track: TrackId


_Deadline = _Joining | _Leaving | _Wishing | _Empty | _Silent

_LEFT_FOR = {
    Reason.PEER_FAILED: LeaveReason.PEER_FAILED,
    Reason.OFFER_TIMEOUT: LeaveReason.NEGOTIATION_TIMEOUT,
    Reason.APPLY_FAILED: LeaveReason.NEGOTIATION_FAILED,
    Reason.ABANDONED: LeaveReason.SIGNAL_LOST,
    Reason.ENGINE_BUSY: LeaveReason.NEGOTIATION_FAILED,
    Reason.ENGINE_REFUSED: LeaveReason.NEGOTIATION_FAILED,
}
"""Why a participant leaves when a peer it needs fails for this reason."""


def _hear(listener: Listener, event: Event) -> None:
    """What a listener raises is its own mistake, and must not leave a room half told."""
    try:
        listener(event)
    except Exception:
        log.exception("a listener failed")


def _group_of(room: RoomId) -> int:
    """The engine's opaque number for transports of one room: 63 bits of the room's id."""
    return room & (2**63 - 1)


def _first(value: _T | None, otherwise: _T) -> _T:
    return otherwise if value is None else value
