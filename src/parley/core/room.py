"""The rules of one room: what may happen in it, and what follows. A plain object with no await.

Each method checks first, then changes, then returns the events it caused, in their order. `rooms.py` tells them to
whom they concern and makes them true outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random

from parley.core.access import Access
from parley.core.data import Data
from parley.core.errors import (
    LimitExceeded,
    NotAllowed,
    ParticipantNotFound,
    RoomFull,
    SourceNotAllowed,
    TrackNotFound,
)
from parley.core.events import (
    Event,
    ParticipantJoined,
    ParticipantLeft,
    ParticipantUpdated,
    RoomUpdated,
    SubscriptionFailed,
    TrackAnnounced,
    TrackEnded,
    TrackLive,
    TrackPublished,
    TrackSilent,
    TrackUpdated,
)
from parley.core.grants import Grant, Source
from parley.core.layers import Layer, LayerWish, arrange
from parley.core.model import (
    EndReason,
    Failure,
    LeaveReason,
    Limits,
    Participant,
    ParticipantState,
    RoomInfo,
    Track,
    TrackState,
    frozen,
)
from parley.core.subscriptions import Subscriptions
from parley.engine.specs import Kind, Mid
from parley.errors import Reason
from parley.ids import ParticipantId, PeerId, SubscriptionId, TrackId, mint


class Room:
    """One room: its participants, their tracks and subscriptions."""

    def __init__(self, info: RoomInfo, *, random: Random, limits: Limits) -> None:
        self.info = info
        self.participants: dict[ParticipantId, Participant] = {}
        """Everybody in it, in the order of joining."""
        self.subscriptions = Subscriptions(random, limits)
        self.was_joined = False
        """Whether anybody who takes a seat ever joined."""
        self._by_identity: dict[str, ParticipantId] = {}
        self._publisher_of: dict[TrackId, ParticipantId] = {}
        self._random = random
        self._limits = limits

    # Who is here.

    @property
    def is_empty(self) -> bool:
        """Whether nobody is left who keeps a room open."""
        return not any(participant.grant.takes_a_seat for participant in self.participants.values())

    def participant(self, id: ParticipantId) -> Participant:
        """Raises ParticipantNotFound."""
        found = self.participants.get(id)
        if found is None:
            raise ParticipantNotFound(id)
        return found

    def by_identity(self, identity: str) -> Participant | None:
        id = self._by_identity.get(identity)
        return self.participants[id] if id is not None else None

    def visible_to(self, id: ParticipantId) -> tuple[Participant, ...]:
        """Everybody else that this participant may know of, in the order of joining."""
        return tuple(one for one in self.participants.values() if one.id != id and not one.grant.hidden)

    def check_seat(self, grant: Grant) -> None:
        """Raise RoomFull unless there is a seat; the one its identity holds already counts as free."""
        limit = self.info.max_participants
        if not limit or not grant.takes_a_seat:
            return
        taken = sum(one.grant.takes_a_seat and one.identity != grant.identity for one in self.participants.values())
        if taken >= limit:
            raise RoomFull(self.info.name, limit)

    # Coming and going.

    def join(self, participant: Participant) -> list[Event]:
        """Seat a participant whose identity is not here. Raises RoomFull."""
        assert participant.identity not in self._by_identity, "the older one leaves first"
        self.check_seat(participant.grant)
        self.participants[participant.id] = participant
        self._by_identity[participant.identity] = participant.id
        self.was_joined = self.was_joined or participant.grant.takes_a_seat
        return [ParticipantJoined(participant), *self._recount()]

    def leave(self, id: ParticipantId, reason: LeaveReason) -> list[Event]:
        """Unseat a participant, with its tracks and subscriptions."""
        participant = self.participant(id)
        events = self.subscriptions.end_subscriber(id, EndReason.PARTICIPANT_LEFT)
        for track in participant.tracks:
            events += self.end_track(track.id, EndReason.PARTICIPANT_LEFT)
        gone = self.participants.pop(id).changed(state=ParticipantState.DISCONNECTED, left_for=reason, receives_on=None)
        del self._by_identity[participant.identity]
        return [*events, ParticipantLeft(gone, reason), *self._recount()]

    def advance(self, id: ParticipantId, state: ParticipantState) -> list[Event]:
        """Move a participant to JOINED or ACTIVE; never back."""
        order = list(ParticipantState)
        participant = self.participant(id)
        if order.index(state) <= order.index(participant.state):
            return []
        return [self._update(participant.changed(state=state), "state")]

    def receive_on(self, id: ParticipantId, peer: PeerId | None) -> list[Event]:
        """Name the peer that carries a participant's subscriptions; what it wants is subscribed to now."""
        participant = self.participants[id] = replace(self.participant(id), receives_on=peer)
        return self._reconcile_subscriber(participant)

    # What participants say of themselves.

    def update(
        self,
        id: ParticipantId,
        *,
        name: str | None = None,
        metadata: str | None = None,
        attributes: Mapping[str, str] | None = None,
        baggage: Mapping[str, object] | None = None,
    ) -> list[Event]:
        """Change what is not None. Attributes are merged, and an empty value deletes its key."""
        before = self.participant(id)
        merged = before.attributes
        if attributes is not None:
            merged = frozen({key: value for key, value in {**merged, **attributes}.items() if value})
        after = replace(
            before,
            name=before.name if name is None else name,
            metadata=before.metadata if metadata is None else metadata,
            attributes=merged,
            baggage=before.baggage if baggage is None else baggage,
        )
        check_sizes(self._limits, name=after.name, metadata=after.metadata, attributes=after.attributes)
        fields = ("name", "metadata", "attributes", "baggage")
        changed = [field for field in fields if getattr(before, field) != getattr(after, field)]
        return [self._update(after.changed(), *changed)] if changed else []

    def regrant(self, id: ParticipantId, grant: Grant) -> list[Event]:
        """Replace what a participant may do: tracks and subscriptions beyond it end, allowed ones begin."""
        before = self.participant(id)
        if before.grant == grant:
            return []
        assert before.identity == grant.identity, "a grant is for one identity"
        events: list[Event] = []
        for track in before.tracks:
            if not grant.may_publish(track.source):
                events += self.end_track(track.id, EndReason.NOT_ALLOWED)
        after = self.participant(id)
        after = after.changed(grant=grant, is_publisher=bool(after.published))
        events.append(self._update(after, "grant"))
        return [*events, *self._reconcile_subscriber(after), *self._recount()]

    def set_metadata(self, metadata: str) -> list[Event]:
        """Change the room's own metadata. Raises LimitExceeded(metadata_too_large)."""
        check_sizes(self._limits, metadata=metadata)
        if metadata == self.info.metadata:
            return []
        self.info = replace(self.info, metadata=metadata, revision=self.info.revision + 1)
        return [RoomUpdated(self.info)]

    # Tracks.

    def announce(
        self,
        id: ParticipantId,
        *,
        kind: Kind,
        source: Source,
        name: str,
        muted: bool,
        layers: tuple[Layer, ...] = (),
        baggage: Mapping[str, object],
    ) -> tuple[Track, list[Event]]:
        """Add a track that will come. Raises NotAllowed, SourceNotAllowed, LimitExceeded(too_many_tracks)."""
        participant = self.participant(id)
        if not participant.grant.can_publish:
            raise NotAllowed(participant.identity, "publish")
        if not participant.grant.may_publish(source):
            raise SourceNotAllowed(participant.identity, source)
        check_sizes(self._limits, name=name)
        terms, limits = participant.terms, self._limits
        max_tracks = limits.max_tracks if terms.max_tracks is None else terms.max_tracks
        max_announced = limits.max_announced if terms.max_announced is None else terms.max_announced
        count = len(participant.tracks)
        announced = count - len(participant.published)
        for taken, limit in ((count, max_tracks), (announced, max_announced)):
            if taken >= limit:
                raise LimitExceeded(Reason.TOO_MANY_TRACKS, f"tracks of {participant.identity!r}", limit)
        track = Track(
            id=TrackId(mint(self._random)),
            participant=id,
            kind=kind,
            source=source,
            name=name,
            muted=muted,
            layers=layers,
            baggage=baggage,
        )
        self._publisher_of[track.id] = id
        # Nobody else sees an announced track, so the participant's revision stays.
        participant = replace(participant, tracks=(*participant.tracks, track))
        self.participants[id] = participant
        return track, [TrackAnnounced(participant, track)]

    def publish(self, id: TrackId, mid: Mid, codec: str, rids: tuple[str, ...] = ()) -> list[Event]:
        """Its section is negotiated: everybody is told, and subscriptions begin."""
        track = self.track(id)
        if track.is_published:
            return []
        layers, revision = arrange(rids, track.layers), track.revision + 1
        track = replace(track, state=TrackState.PUBLISHED, mid=mid, codec=codec, layers=layers, revision=revision)
        publisher = self._keep(self.participants[track.participant].with_track(track))
        recount: list[Event] = []
        if not publisher.is_publisher:
            publisher = self._keep(replace(publisher, is_publisher=True))
            recount = self._recount()
        events: list[Event] = [TrackPublished(publisher, track)]
        for subscriber in list(self.participants.values()):
            events += self.subscriptions.reconcile(subscriber, publisher, track)
        return events + recount

    def flow(self, id: TrackId) -> list[Event]:
        """Packets arrive."""
        return self._move(id, TrackState.LIVE)

    def stall(self, id: TrackId) -> list[Event]:
        """Packets have stopped arriving."""
        return self._move(id, TrackState.SILENT)

    def revise(
        self,
        id: ParticipantId,
        track: TrackId,
        *,
        muted: bool | None = None,
        baggage: Mapping[str, object] | None = None,
    ) -> list[Event]:
        """Change what is not None of a participant's own track. Raises TrackNotFound."""
        before = self._own_track(id, track)
        after = replace(
            before,
            muted=before.muted if muted is None else muted,
            baggage=before.baggage if baggage is None else baggage,
            revision=before.revision + 1,
        )
        changed = frozenset(field for field in ("muted", "baggage") if getattr(before, field) != getattr(after, field))
        if not changed:
            return []
        return [TrackUpdated(self._keep(self.participants[id].with_track(after)), after, changed)]

    def end_track(self, id: TrackId, reason: EndReason) -> list[Event]:
        """Take a track away, with every subscription to it."""
        track = self.track(id)
        events = self.subscriptions.end_track(id, reason)
        publisher = self.participants[track.participant]
        if track.is_published:
            publisher = publisher.without_track(id)
        else:
            publisher = replace(publisher, tracks=tuple(one for one in publisher.tracks if one.id != id))
        self._keep(publisher)
        del self._publisher_of[id]
        # `mid` and the rest stay as they were: they tell listeners which track it was and whether they ever saw it.
        ended = replace(track, state=TrackState.ENDED, revision=track.revision + 1)
        return [*events, TrackEnded(publisher, ended, reason)]

    def has(self, track: TrackId) -> bool:
        return track in self._publisher_of

    def track(self, id: TrackId) -> Track:
        """Raises TrackNotFound."""
        publisher = self._publisher_of.get(id)
        track = self.participants[publisher].track(id) if publisher is not None else None
        if track is None:
            raise TrackNotFound(id)
        return track

    def _own_track(self, participant: ParticipantId, id: TrackId) -> Track:
        track = self.participant(participant).track(id)
        if track is None:
            raise TrackNotFound(id)
        return track

    def _move(self, id: TrackId, state: TrackState) -> list[Event]:
        track = self.track(id)
        if not track.is_published or track.state is state:
            return []
        # Whether packets arrive is told by its own events; what others see of the track has not changed.
        track = replace(track, state=state)
        publisher = self.participants[track.participant]
        tracks = tuple(track if old.id == id else old for old in publisher.tracks)
        publisher = self._keep(replace(publisher, tracks=tracks))
        return [TrackLive(publisher, track) if state is TrackState.LIVE else TrackSilent(publisher, track)]

    # Subscriptions.

    def want(self, id: ParticipantId, track: TrackId, wanted: bool) -> list[Event]:
        """Subscribe or unsubscribe; what is said about a track that is not there yet is kept for when it is."""
        subscriber = self.participant(id)
        self.subscriptions.want(id, track, wanted)
        return self._reconcile(subscriber, track)

    def is_missing(self, id: ParticipantId, track: TrackId) -> bool:
        """Whether a participant wants a track that nobody has published."""
        publisher = self._publisher_of.get(track)
        is_there = publisher is not None and self.track(track).is_published
        return id in self.participants and not is_there and self.subscriptions.wish(id, track).wanted is True

    def give_up(self, id: ParticipantId, track: TrackId) -> list[Event]:
        """Stop waiting for a track that is missing."""
        if not self.is_missing(id, track):
            return []
        self.subscriptions.want(id, track, False)
        failure = Failure(Reason.TRACK_NOT_FOUND, "nobody published the track in time")
        return [SubscriptionFailed(id, track, failure)]

    def show(self, id: ParticipantId, track: TrackId, enabled: bool) -> list[Event]:
        """Have a track forwarded to a participant, or held back while it stays subscribed."""
        self.participant(id)
        return self.subscriptions.show(id, track, enabled)

    def prefer(self, id: ParticipantId, track: TrackId, layers: LayerWish) -> list[Event]:
        """Have this layer of a track forwarded to a participant."""
        self.participant(id)
        return self.subscriptions.prefer(id, track, layers)

    def restrict(self, id: ParticipantId, access: Access) -> list[Event]:
        """Say who may receive a participant's tracks, those to come included; it takes the place of an earlier rule."""
        publisher = self.participant(id)
        self.subscriptions.restrict(id, access)
        events: list[Event] = []
        for subscriber in self.participants.values():
            for track in publisher.tracks:
                events += self.subscriptions.reconcile(subscriber, publisher, track)
        return events

    def activate(self, id: SubscriptionId) -> list[Event]:
        """A negotiated section of a connected peer carries the subscription."""
        subscription = self.subscriptions.get(id)
        if subscription is None:
            return []
        return self.subscriptions.activate(id, self.participants[subscription.subscriber])

    def _reconcile(self, subscriber: Participant, track: TrackId) -> list[Event]:
        publisher = self._publisher_of.get(track)
        if publisher is None:
            return []
        return self.subscriptions.reconcile(subscriber, self.participants[publisher], self.track(track))

    def _reconcile_subscriber(self, subscriber: Participant) -> list[Event]:
        events: list[Event] = []
        for publisher in self.participants.values():
            for track in publisher.tracks:
                events += self.subscriptions.reconcile(subscriber, publisher, track)
        return events

    # Data.

    def recipients(self, sender: ParticipantId | None, data: Data) -> tuple[Participant, ...]:
        """Who gets this message: never its sender; lossy data only whoever is ACTIVE.

        sender: None for the server itself. Raises NotAllowed, LimitExceeded(message_too_large).
        """
        if sender is not None:
            grant = self.participant(sender).grant
            if not grant.can_publish_data:
                raise NotAllowed(grant.identity, "send data")
        limit = self._limits.max_data_bytes
        if limit and len(data.payload) > limit:
            raise LimitExceeded(Reason.MESSAGE_TOO_LARGE, f"a message of {len(data.payload)} bytes", limit)
        named = frozenset(data.to)
        return tuple(
            one
            for one in self.participants.values()
            if one.id != sender
            and (data.reliable or one.is_active)
            and (data.is_for_all or one.identity in named or one.id in data.to_ids)
        )

    # For itself.

    def _keep(self, participant: Participant) -> Participant:
        self.participants[participant.id] = participant
        return participant

    def _update(self, participant: Participant, *changed: str) -> Event:
        return ParticipantUpdated(self._keep(participant), frozenset(changed))

    def _recount(self) -> list[Event]:
        """Bring the room's head counts up to date."""
        everybody = self.participants.values()
        info = replace(
            self.info,
            num_participants=sum(one.grant.takes_a_seat for one in everybody),
            num_publishers=sum(one.is_publisher for one in everybody),
            is_recording=any(one.grant.recorder for one in everybody),
        )
        if info == self.info:
            return []
        counts_only = info.is_recording == self.info.is_recording
        self.info = replace(info, revision=info.revision + 1)
        return [RoomUpdated(self.info, counts_only)]


def check_sizes(
    limits: Limits, *, name: str = "", metadata: str = "", attributes: Mapping[str, str] | None = None
) -> None:
    """Raise LimitExceeded when one of these is larger than allowed, in bytes of UTF-8."""
    size = sum(_size(key) + _size(value) for key, value in (attributes or {}).items())
    for reason, what, bytes_, limit in (
        (Reason.NAME_TOO_LONG, "a name", _size(name), limits.max_name_bytes),
        (Reason.METADATA_TOO_LARGE, "metadata", _size(metadata), limits.max_metadata_bytes),
        (Reason.ATTRIBUTES_TOO_LARGE, "attributes", size, limits.max_attributes_bytes),
    ):
        if limit and bytes_ > limit:
            raise LimitExceeded(reason, f"{what} of {bytes_} bytes", limit)


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
