"""Whatever happens in whatever order: a room stays consistent, its events tell everything, peers stay in step."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from parley.core.core import Core
from parley.core.events import Event, ParticipantEvent, ParticipantLeft, RoomUpdated
from parley.core.grants import Grant, Source
from parley.core.layers import ANY_LAYER, ByRid, LayerWish, policy
from parley.core.model import NOTHING, EndReason, LeaveReason, Limits, Participant, ParticipantState, RoomInfo
from parley.core.room import Room
from parley.engine.specs import Kind, Mid
from parley.ids import ParticipantId, PeerId, RoomId, TrackId
from parley.negotiation.codecs import OPUS, VP8
from tests.core.clients import Client, publishing, receiving, take
from tests.core.conftest import ACME, read
from tests.fakes import FakeClock, FakeEngine

PEOPLE = ("ada", "bob", "cyd")
anybody = st.sampled_from(PEOPLE)


class RoomMachine(RuleBasedStateMachine):
    """A room, and a mirror of it that knows only what events have told."""

    def __init__(self) -> None:
        super().__init__()
        info = RoomInfo(id=RoomId(1), tenant=ACME, name="standup", created_at=0.0)
        self.room = Room(info, random=Random(1), limits=Limits())
        self.mirror: dict[ParticipantId, Participant] = {}
        self.mirrored_info = info
        self.tracks: list[TrackId] = []
        self.made = 0

    def learn(self, events: list[Event]) -> None:
        for event in events:
            match event:
                case ParticipantLeft(participant=participant):
                    del self.mirror[participant.id]
                case ParticipantEvent(participant=participant):
                    known = self.mirror.get(participant.id)
                    assert known is None or known.revision <= participant.revision
                    self.mirror[participant.id] = participant
                case RoomUpdated(room=room):
                    assert room.revision > self.mirrored_info.revision
                    self.mirrored_info = room

    def who(self, identity: str) -> ParticipantId | None:
        found = self.room.by_identity(identity)
        return found.id if found is not None else None

    @rule(identity=anybody, auto=st.booleans(), hidden=st.booleans(), agent=st.booleans())
    def join(self, identity: str, auto: bool, hidden: bool, agent: bool) -> None:
        if self.who(identity) is None:
            self.made += 1
            grant = Grant(tenant=ACME, identity=identity, room="standup", hidden=hidden, agent=agent)
            participant = Participant(
                id=ParticipantId(self.made),
                room=RoomId(1),
                identity=identity,
                grant=grant,
                joined_at=0.0,
                auto_subscribe=auto,
            )
            self.learn(self.room.join(participant))

    @rule(identity=anybody)
    def leave(self, identity: str) -> None:
        if (id := self.who(identity)) is not None:
            self.learn(self.room.leave(id, LeaveReason.CLIENT_LEFT))

    @rule(identity=anybody, state=st.sampled_from(list(ParticipantState)[:3]))
    def advance(self, identity: str, state: ParticipantState) -> None:
        if (id := self.who(identity)) is not None:
            self.learn(self.room.advance(id, state))

    @rule(identity=anybody, has_peer=st.booleans())
    def receive_on(self, identity: str, has_peer: bool) -> None:
        if (id := self.who(identity)) is not None:
            self.learn(self.room.receive_on(id, PeerId(1) if has_peer else None))

    @rule(identity=anybody, source=st.sampled_from(Source))
    def announce(self, identity: str, source: Source) -> None:
        id = self.who(identity)
        if id is not None and self.room.participant(id).grant.may_publish(source) and len(self.tracks) < 15:
            track, events = self.room.announce(
                id, kind=Kind.AUDIO, source=source, name="", muted=False, baggage=NOTHING
            )
            self.tracks.append(track.id)
            self.learn(events)

    @precondition(lambda self: self.tracks)
    @rule(data=st.data(), what=st.sampled_from(("publish", "flow", "stall", "end", "mute", "unmute")))
    def track(self, data: st.DataObject, what: str) -> None:
        id = data.draw(st.sampled_from(self.tracks))
        if id not in self.room._publisher_of:
            return
        owner = self.room.track(id).participant
        match what:
            case "publish":
                self.learn(self.room.publish(id, Mid("0"), "opus"))
            case "flow":
                self.learn(self.room.flow(id))
            case "stall":
                self.learn(self.room.stall(id))
            case "end":
                self.learn(self.room.end_track(id, EndReason.UNPUBLISHED))
            case _:
                self.learn(self.room.revise(owner, id, muted=what == "mute"))

    @precondition(lambda self: self.tracks)
    @rule(data=st.data(), identity=anybody, wanted=st.booleans(), enabled=st.booleans())
    def wish(self, data: st.DataObject, identity: str, wanted: bool, enabled: bool) -> None:
        if (id := self.who(identity)) is not None:
            track = data.draw(st.sampled_from(self.tracks))
            self.learn(self.room.want(id, track, wanted))
            self.learn(self.room.show(id, track, enabled))

    @rule(identity=anybody, subscribe=st.booleans(), sources=st.frozensets(st.sampled_from(Source)))
    def regrant(self, identity: str, subscribe: bool, sources: frozenset[Source]) -> None:
        if (id := self.who(identity)) is not None:
            grant = replace(self.room.participant(id).grant, can_subscribe=subscribe, publish_sources=sources)
            self.learn(self.room.regrant(id, grant))

    @rule(identity=anybody, name=st.sampled_from(("", "Ada", "Bob")), value=st.sampled_from(("", "1")))
    def update(self, identity: str, name: str, value: str) -> None:
        if (id := self.who(identity)) is not None:
            self.learn(self.room.update(id, name=name, attributes={"k": value}))

    @invariant()
    def the_events_have_told_everything(self) -> None:
        unseen = {"receives_on": None}
        assert self.mirrored_info == self.room.info
        assert {id: replace(one, **unseen) for id, one in self.mirror.items()} == {
            id: replace(one, **unseen) for id, one in self.room.participants.items()
        }

    @invariant()
    def subscriptions_are_those_that_follow_from_what_was_said(self) -> None:
        room = self.room
        expected = {
            (subscriber.id, track.id)
            for subscriber in room.participants.values()
            for publisher in room.participants.values()
            for track in publisher.published
            if subscriber.id != publisher.id
            and subscriber.receives_on is not None
            and subscriber.grant.can_subscribe
            and not publisher.grant.hidden
            and self.said(subscriber, track.id)
        }
        assert {(one.subscriber, one.track) for one in room.subscriptions} == expected

    def said(self, subscriber: Participant, track: TrackId) -> bool:
        wanted = self.room.subscriptions.wish(subscriber.id, track).wanted
        return subscriber.auto_subscribe if wanted is None else wanted

    @invariant()
    def head_counts_are_right(self) -> None:
        everybody = self.room.participants.values()
        assert self.room.info.num_participants == sum(one.grant.takes_a_seat for one in everybody)
        assert self.room.info.num_publishers == sum(one.is_publisher for one in everybody)
        assert all(one.is_publisher or not one.published for one in everybody)

    @invariant()
    def nothing_is_kept_of_what_is_gone(self) -> None:
        room, tables = self.room, self.room.subscriptions
        assert set(room._publisher_of) == {track.id for one in room.participants.values() for track in one.tracks}
        assert set(tables._wishes) <= set(room.participants)
        every = {one.id: one for one in tables}
        for index in (tables._of_subscriber, tables._of_track):
            assert {one.id: one for part in index.values() for one in part.values()} == every
            assert all(index.values())
        assert tables._heard <= set(room._publisher_of)


TestRooms = RoomMachine.TestCase
TestRooms.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


# Peers.

STEPS = st.one_of(
    st.tuples(st.just("publish"), anybody, st.sampled_from(("mic", "cam", "screen"))),
    st.tuples(st.just("stop"), anybody, st.sampled_from(("mic", "cam", "screen"))),
    st.tuples(st.just("offer"), anybody, st.just("")),
    st.tuples(st.just("answer"), anybody, st.just("")),
    st.tuples(st.just("refuse"), anybody, st.just("")),
    st.tuples(st.just("rollback"), anybody, st.just("")),
    st.tuples(st.just("unsubscribe"), anybody, anybody),
    st.tuples(st.just("subscribe"), anybody, anybody),
    st.tuples(st.just("prefer"), anybody, st.sampled_from(("a", "b", "x"))),
    st.tuples(st.just("connect"), anybody, st.just("")),
    st.tuples(st.just("settle"), anybody, st.just("")),
    st.tuples(st.just("settle"), anybody, st.just("")),
    st.tuples(st.just("rejoin"), anybody, st.just("")),
)


class Player:
    """A participant whose client does one thing at a time."""

    def __init__(self, core: Core, engine: FakeEngine, identity: str, seed: int) -> None:
        self.core, self.engine, self.identity = core, engine, identity
        grant = Grant(tenant=ACME, identity=identity, room="standup", can_join=True)
        self.seat = core.rooms.join(grant)
        self.up = core.peers.open(self.seat.id, publishing())
        self.down = core.peers.open(self.seat.id, receiving())
        self.sends, self.hears = Client(seed), Client(seed + 1)
        self.sends.rids = {"cam": "ab"}
        self.tracks: dict[str, TrackId] = {}
        self.open_offer: str | None = None

    async def do(self, step: str, argument: str, everybody: dict[str, Player]) -> None:
        match step:
            case "publish" if argument not in self.tracks:
                codec = OPUS if argument == "mic" else VP8
                self.tracks[argument] = self.core.rooms.announce(
                    self.seat.id, kind=Kind.AUDIO if codec is OPUS else Kind.VIDEO
                ).id
                await self.negotiate(**{argument: codec})
            case "stop" if argument in self.tracks:
                del self.tracks[argument]
                await self.negotiate(**{argument: None})
            case "offer" if self.open_offer is None:
                offer = await self.core.peers.make_offer(self.down.id)
                self.open_offer = offer.sdp if offer is not None else None
            case "answer" | "refuse" if self.open_offer is not None:
                sdp, self.open_offer = self.open_offer, None
                data = 1  # The data section comes first, and with it refused there is nothing left to talk on.
                refused = tuple(str(mid) for mid in range(data, 3)) if step == "refuse" else ()
                await self.core.peers.take_answer(self.down.id, self.hears.answer(sdp, refused))
            case "rollback" if self.open_offer is not None:
                self.open_offer = None
                await self.core.peers.rollback(self.down.id)
            case "subscribe" | "unsubscribe":
                change = self.core.rooms.subscribe if step == "subscribe" else self.core.rooms.unsubscribe
                for track in everybody[argument].tracks.values():
                    change(self.seat.id, track)
            case "prefer":
                for track in (track for one in everybody.values() for track in one.tracks.values()):
                    self.core.rooms.prefer(self.seat.id, track, LayerWish(ByRid(argument)))
            case "settle":
                await self.settle()
            case "connect":
                self.engine.transports[self.down.transport.id].connect()  # type: ignore[index]

    async def negotiate(self, **send: object) -> None:
        sdp = self.sends.offer(**send)  # type: ignore[arg-type]
        answer = await self.core.peers.take_offer(self.up.id, sdp, take(self.tracks))
        self.sends.take_answer(answer.sdp)

    async def settle(self) -> None:
        if self.open_offer is not None:
            await self.do("answer", "", {})
        for _ in range(8):
            await self.do("offer", "", {})
            if self.open_offer is None:
                return
            await self.do("answer", "", {})
        raise AssertionError("offers never end")


@given(st.lists(STEPS, min_size=20, max_size=60))
@settings(max_examples=100, deadline=None)
def test_after_any_sequence_everybody_is_sent_exactly_what_is_subscribed(steps: list[tuple[str, str, str]]) -> None:
    async def play() -> None:
        engine = FakeEngine()
        core = Core(engine, clock=FakeClock(), random=Random(1))
        players = {name: Player(core, engine, name, 10 * number) for number, name in enumerate(PEOPLE)}
        for number, (step, name, argument) in enumerate(steps):
            if step == "rejoin":
                players[name] = Player(core, engine, name, 100 + 10 * number)
            else:
                await players[name].do(step, argument, players)
        for player in players.values():
            await player.settle()

        sources = {
            track: engine.transports[player.up.transport.id].producers[player.sends.mids[name]]  # type: ignore[index]
            for player in players.values()
            for name, track in player.tracks.items()
        }
        for player in players.values():
            wanted = {one.track for one in core.rooms.subscriptions(player.seat.id)}
            transport = engine.transports[player.down.transport.id]  # type: ignore[index]
            flowing = [consumer.source for consumer in transport.consumers.values() if consumer.source is not None]
            assert sorted(map(id, flowing)) == sorted(id(sources[track]) for track in wanted)
            wishes = {
                id(sources[one.track]): (one.track, one.layers) for one in core.rooms.subscriptions(player.seat.id)
            }
            for consumer in transport.consumers.values():
                if consumer.source is not None and consumer.kind is Kind.VIDEO:
                    track, wish = wishes[id(consumer.source)]
                    known = core.peers.track(track)
                    assert known is not None
                    assert consumer.policy == policy(known.layers, wish or ANY_LAYER)
            expected = {mid for mid, consumer in transport.consumers.items() if consumer.source is not None}
            assert {mid for mid, direction in player.hears.receives.items() if direction.receives} == expected
            read(player.seat)
        assert len(engine.transports) == 2 * len(players)
        core.stop()
        assert engine.transports == {}
        assert core.peers._receiving._receivers == {}

    asyncio.run(play())
