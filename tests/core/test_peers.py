"""Negotiation through core: what is offered when, what is told first, what the engine is asked."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable

import pytest

from parley.core.core import Core
from parley.core.errors import AlreadyBound, Busy, KindMismatch, LimitExceeded, PeerClosed, PeerNotFound, TrackNotFound
from parley.core.events import (
    ParticipantLeft,
    PeerFailed,
    PeerWantsOffer,
    SubscriptionActive,
    SubscriptionFailed,
    TrackEnded,
    TrackHeard,
    TrackLive,
    TrackPublished,
    TrackSilent,
)
from parley.core.grants import Source
from parley.core.model import EndReason, LeaveReason, SubscriptionState, TrackState
from parley.core.peer import Peer
from parley.core.rooms import Seat
from parley.engine.errors import EngineBusy
from parley.engine.events import LayerInactive, TransportPhase
from parley.engine.specs import Kind
from parley.errors import Reason
from parley.ids import PeerId, TrackId
from parley.negotiation import Caps, Direction, NegotiationError, WrongSignalingState
from tests.core.clients import OPUS, VP8, Client, publishing, receiving, take
from tests.core.conftest import names, of_type, read
from tests.fakes import FakeClock, FakeEngine, FakeTransport

pytestmark = pytest.mark.anyio

Join = Callable[..., Seat]


class Someone:
    """A seated participant with both peers, and its client's two connections."""

    def __init__(self, core: Core, seat: Seat, engine: FakeEngine, *, caps: Caps | None = None) -> None:
        self.core = core
        self.seat = seat
        self.engine = engine
        self.sends = Client(seed=len(engine.transports) + 1)
        self.hears = Client(seed=len(engine.transports) + 2)
        self.publisher: Peer = core.peers.open(seat.id, publishing())
        self.subscriber: Peer = core.peers.open(seat.id, receiving(caps))
        self.tracks: dict[str, TrackId] = {}

    @property
    def up(self) -> FakeTransport:
        return self.engine.transports[self.publisher.transport.id]

    @property
    def down(self) -> FakeTransport:
        return self.engine.transports[self.subscriber.transport.id]

    async def publish(self, **send: object) -> None:
        """Announce and negotiate: `publish(mic=OPUS, cam=VP8)`; `publish(mic=None)` stops it."""
        for name, codec in send.items():
            if codec is not None and name not in self.tracks:
                kind = Kind.AUDIO if codec is OPUS else Kind.VIDEO
                self.tracks[name] = self.core.rooms.announce(self.seat.id, kind=kind).id
        offer = self.sends.offer(**send)  # type: ignore[arg-type]
        answer = await self.core.peers.take_offer(self.publisher.id, offer, take(self.tracks))
        self.sends.take_answer(answer.sdp)
        for name, codec in send.items():
            if codec is None:
                del self.tracks[name]

    async def exchange(self, refuse: tuple[str, ...] = ()) -> bool:
        """Let the server offer and the client answer; whether there was anything to offer."""
        offer = await self.core.peers.make_offer(self.subscriber.id)
        if offer is None:
            return False
        await self.core.peers.take_answer(self.subscriber.id, self.hears.answer(offer.sdp, refuse))
        return True

    async def settle(self) -> None:
        """Exchange until there is nothing left to offer."""
        for _ in range(10):
            if not await self.exchange():
                return
        raise AssertionError("offers never end")

    def subscribed(self) -> dict[TrackId, SubscriptionState]:
        return {one.track: one.state for one in self.core.rooms.subscriptions(self.seat.id)}


@pytest.fixture
def arrive(core: Core, fake_engine: FakeEngine, join: Join) -> Callable[..., Someone]:
    def arrive(identity: str, caps: Caps | None = None, **given: object) -> Someone:
        someone = Someone(core, join(identity, **given), fake_engine, caps=caps)
        core.rooms.arrive(someone.seat.id)
        return someone

    return arrive


Arrive = Callable[..., Someone]


# What clients send.


async def test_a_track_is_published_when_its_section_is_negotiated(core: Core, arrive: Arrive) -> None:
    ada = arrive("ada")
    await ada.publish(cam=VP8)

    [told] = of_type(read(ada.seat), TrackPublished)
    assert (told.track.id, told.track.codec, told.track.mid) == (ada.tracks["cam"], "VP8", ada.sends.mids["cam"])
    assert list(ada.up.producers) == [ada.sends.mids["cam"]]


async def test_the_engine_has_installed_what_an_answer_says(core: Core, arrive: Arrive) -> None:
    ada = arrive("ada")
    ada.up.refuse_next("no more producers")
    core.rooms.announce(ada.seat.id, kind=Kind.VIDEO)

    with pytest.raises(PeerClosed) as refusal:
        await core.peers.take_offer(ada.publisher.id, ada.sends.offer(cam=VP8), take({}))

    assert refusal.value.why is Reason.APPLY_FAILED
    events = read(ada.seat)
    [failed] = of_type(events, PeerFailed)
    assert "no more producers" in failed.failure.text
    assert of_type(events, ParticipantLeft)[-1].reason is LeaveReason.NEGOTIATION_FAILED


async def test_an_engine_that_does_not_answer_closes_the_peer(core: Core, arrive: Arrive) -> None:
    ada = arrive("ada")
    ada.up.ignore_next()

    with pytest.raises(PeerClosed):
        await core.peers.take_offer(ada.publisher.id, ada.sends.offer(cam=VP8), take({}))


async def test_a_busy_engine_refuses_an_exchange_with_nothing_changed(
    core: Core, arrive: Arrive, fake_engine: FakeEngine
) -> None:
    ada = arrive("ada")
    sdp = ada.sends.offer(cam=VP8)
    fake_engine.is_busy = True
    with pytest.raises(Busy):
        await core.peers.take_offer(ada.publisher.id, sdp, take({}))
    with pytest.raises(Busy):
        await core.peers.make_offer(ada.subscriber.id)

    fake_engine.is_busy = False
    await core.peers.take_offer(ada.publisher.id, sdp, take({}))


async def test_what_cannot_be_read_leaves_the_peer_as_it_was(core: Core, arrive: Arrive) -> None:
    ada = arrive("ada")

    with pytest.raises(NegotiationError):
        await core.peers.take_offer(ada.publisher.id, "v=0\r\nnonsense", take({}))

    await ada.publish(mic=OPUS)


async def test_a_section_without_a_track_is_received_and_can_be_claimed_later(core: Core, arrive: Arrive) -> None:
    ada = arrive("ada")
    await core.peers.take_offer(ada.publisher.id, ada.sends.offer(cam=VP8), take({}))
    [section] = core.peers.unclaimed(ada.publisher.id)
    ada.up.receive_media(section.mid)

    track = core.rooms.announce(ada.seat.id, kind=Kind.VIDEO, source=Source.CAMERA)
    core.peers.claim(ada.publisher.id, section.mid, track.id)

    assert core.peers.unclaimed(ada.publisher.id) == ()
    assert core.rooms.participant(ada.seat.id).tracks[0].state is TrackState.LIVE


async def test_a_claim_is_checked(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await ada.publish(cam=VP8)
    mid = ada.sends.mids["cam"]
    mic = core.rooms.announce(ada.seat.id, kind=Kind.AUDIO)
    cam = core.rooms.announce(ada.seat.id, kind=Kind.VIDEO)
    foreign = core.rooms.announce(bob.seat.id, kind=Kind.VIDEO)

    for track, error in ((mic, KindMismatch), (cam, AlreadyBound), (foreign, TrackNotFound)):
        with pytest.raises(error):
            core.peers.claim(ada.publisher.id, mid, track.id)


async def test_binding_a_track_of_somebody_else_is_refused_and_nothing_is_answered(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    foreign = core.rooms.announce(bob.seat.id, kind=Kind.VIDEO)
    sdp = ada.sends.offer(cam=VP8)

    with pytest.raises(TrackNotFound):
        await core.peers.take_offer(ada.publisher.id, sdp, take({"cam": foreign.id}))

    assert ada.up.producers == {}
    await core.peers.take_offer(ada.publisher.id, sdp, take({}))


async def test_a_section_that_stops_ends_its_track_alone(core: Core, arrive: Arrive) -> None:
    ada = arrive("ada")
    await ada.publish(mic=OPUS, cam=VP8)
    read(ada.seat)

    await ada.publish(cam=None)

    [ended] = of_type(read(ada.seat), TrackEnded)
    assert (ended.track.kind, ended.reason) == (Kind.VIDEO, EndReason.UNPUBLISHED)
    assert [track.kind for track in ended.participant.published] == [Kind.AUDIO]


async def test_another_track_on_the_same_section_replaces_the_first(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await ada.publish(cam=VP8)
    await bob.settle()
    read(ada.seat)
    second = core.rooms.announce(ada.seat.id, kind=Kind.VIDEO)

    ada.tracks["cam"] = second.id
    await ada.publish(cam=VP8)

    events = read(ada.seat)
    assert of_type(events, TrackEnded)[0].reason is EndReason.REPLACED
    assert of_type(events, TrackPublished)[0].track.id == second.id
    assert list(bob.subscribed()) == [second.id]


async def test_packets_make_a_track_live_and_their_absence_silent(core: Core, arrive: Arrive) -> None:
    ada = arrive("ada")
    await ada.publish(cam=VP8)
    mid = ada.sends.mids["cam"]
    ada.up.receive_media(mid)
    producer = ada.up.producers[mid]
    ada.up.hear(LayerInactive(ada.up.id, producer.id, 0, 5.0, 2.0))

    told = [one for one in read(ada.seat) if isinstance(one, TrackLive | TrackSilent)]
    assert names(told) == ["TrackLive", "TrackSilent"]  # type: ignore[arg-type]


async def test_a_muted_track_is_not_forwarded_until_it_is_unmuted(core: Core, arrive: Arrive) -> None:
    ada = arrive("ada")
    track = core.rooms.announce(ada.seat.id, kind=Kind.VIDEO, muted=True)
    ada.tracks["cam"] = track.id
    await ada.publish(cam=VP8)
    producer = ada.up.producers[ada.sends.mids["cam"]]
    assert producer.is_paused

    core.rooms.mute(ada.seat.id, track.id, False)
    assert not producer.is_paused
    core.rooms.mute(ada.seat.id, track.id, True)
    assert producer.is_paused


async def test_a_withdrawn_track_ends_although_its_client_goes_on_sending(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await ada.publish(cam=VP8)
    await bob.settle()

    core.rooms.withdraw(ada.seat.id, ada.tracks["cam"], EndReason.NOT_ALLOWED)

    assert bob.subscribed() == {}
    assert [consumer.source for consumer in bob.down.consumers.values()] == [None]
    assert len(core.peers.unclaimed(ada.publisher.id)) == 1


# What clients are sent.


async def test_a_peer_that_offers_asks_for_its_first_offer_at_once(core: Core, arrive: Arrive) -> None:
    ada = arrive("ada")

    [wanted] = of_type(read(ada.seat), PeerWantsOffer)
    offer = await core.peers.make_offer(wanted.peer, wanted.upto)

    assert offer is not None
    assert "m=application" in offer.sdp
    assert offer.sending == {}


async def test_the_update_always_stands_before_the_offer_that_needs_it(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await bob.settle()
    read(bob.seat)

    await ada.publish(mic=OPUS)
    await ada.publish(cam=VP8)

    told = [name for name in names(read(bob.seat)) if name in ("TrackPublished", "PeerWantsOffer")]
    assert told == ["TrackPublished", "TrackPublished", "PeerWantsOffer"]


async def test_an_offer_holds_nothing_younger_than_the_event_that_asked_for_it(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await bob.settle()
    read(bob.seat)
    await ada.publish(mic=OPUS)
    [wanted] = of_type(read(bob.seat), PeerWantsOffer)
    await ada.publish(cam=VP8)

    offer = await core.peers.make_offer(wanted.peer, wanted.upto)

    assert offer is not None
    assert list(offer.sending.values()) == [ada.tracks["mic"]]
    assert of_type(read(bob.seat), PeerWantsOffer) != [], "the younger track has its own event"


async def test_a_subscription_is_bound_with_the_answer_and_active_once_connected(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await ada.publish(mic=OPUS)
    track = ada.tracks["mic"]
    assert bob.subscribed() == {track: SubscriptionState.WANTED}

    await bob.exchange()
    assert bob.subscribed() == {track: SubscriptionState.BOUND}
    [consumer] = bob.down.consumers.values()
    assert consumer.source is ada.up.producers[ada.sends.mids["mic"]]
    assert of_type(read(ada.seat), TrackHeard) == []

    bob.down.connect()
    assert bob.subscribed() == {track: SubscriptionState.ACTIVE}
    assert of_type(read(bob.seat), SubscriptionActive)[0].subscription.track == track
    assert of_type(read(ada.seat), TrackHeard)[0].track == track


async def test_while_an_offer_is_open_there_is_no_second_and_the_answer_asks_again(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    first = await core.peers.make_offer(bob.subscriber.id)
    assert first is not None
    read(bob.seat)

    await ada.publish(mic=OPUS)
    assert await core.peers.make_offer(bob.subscriber.id) is None
    assert of_type(read(bob.seat), PeerWantsOffer) == []

    await core.peers.take_answer(bob.subscriber.id, bob.hears.answer(first.sdp))
    assert len(of_type(read(bob.seat), PeerWantsOffer)) == 1
    assert await bob.exchange()


async def test_ten_tracks_at_once_are_one_offer(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await bob.settle()
    await ada.publish(**{f"t{number}": OPUS for number in range(10)})

    assert len(of_type(read(bob.seat), PeerWantsOffer)) == 1
    assert await bob.exchange()
    assert not await bob.exchange()
    assert len(bob.down.consumers) == 10


async def test_a_section_is_used_again_after_one_exchange_with_it_inactive(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await ada.publish(cam=VP8)
    await bob.settle()
    [(mid, consumer)] = bob.down.consumers.items()

    await ada.publish(cam=None)
    await ada.publish(screen=VP8)
    assert consumer.source is None
    await bob.exchange()
    first_pass = dict(bob.hears.receives)
    await bob.settle()

    assert first_pass[mid] is Direction.INACTIVE, "clients see a new track only when a section starts again"
    await ada.publish(other=VP8)
    await bob.settle()
    assert bob.hears.receives[mid] is Direction.RECVONLY
    assert bob.down.consumers[mid] is consumer, "its numbers on the wire go on"
    assert consumer.source is not None
    assert len(bob.hears.receives) == 2


async def test_a_section_is_not_used_for_another_kind(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await ada.publish(cam=VP8)
    await bob.settle()
    await ada.publish(cam=None)
    await bob.settle()

    await ada.publish(mic=OPUS)
    await bob.settle()

    assert sorted(bob.hears.receives.values(), key=str) == sorted([Direction.INACTIVE, Direction.RECVONLY], key=str)


async def test_a_track_that_ends_while_it_is_being_offered_is_taken_out_again(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await bob.settle()
    await ada.publish(cam=VP8)
    offer = await core.peers.make_offer(bob.subscriber.id)
    assert offer is not None
    await ada.publish(cam=None)

    await core.peers.take_answer(bob.subscriber.id, bob.hears.answer(offer.sdp))

    [consumer] = bob.down.consumers.values()
    assert consumer.source is None
    await bob.settle()
    assert list(bob.hears.receives.values()) == [Direction.INACTIVE]


async def test_unsubscribing_stops_the_flow_before_the_next_offer(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await ada.publish(cam=VP8)
    await bob.settle()
    [consumer] = bob.down.consumers.values()

    core.rooms.unsubscribe(bob.seat.id, ada.tracks["cam"])
    assert consumer.source is None

    core.rooms.subscribe(bob.seat.id, ada.tracks["cam"])
    await bob.settle()
    assert any(one.source is not None for one in bob.down.consumers.values())


async def test_a_track_that_is_not_shown_is_held_back_and_comes_back(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await ada.publish(cam=VP8)
    core.rooms.set_enabled(bob.seat.id, ada.tracks["cam"], False)
    await bob.settle()
    [consumer] = bob.down.consumers.values()
    assert consumer.is_paused

    core.rooms.set_enabled(bob.seat.id, ada.tracks["cam"], True)
    assert not consumer.is_paused


async def test_a_receiver_without_the_codec_misses_that_track_alone(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob", caps=Caps(codecs=(OPUS,)))
    await ada.publish(mic=OPUS, cam=VP8)

    [failed] = of_type(read(bob.seat), SubscriptionFailed)
    assert (failed.track, failed.failure.reason) == (ada.tracks["cam"], Reason.CODEC_UNSUPPORTED)
    await bob.settle()
    assert list(bob.subscribed()) == [ada.tracks["mic"]]


async def test_a_section_that_the_client_refuses_is_a_failed_subscription(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await bob.settle()
    await ada.publish(mic=OPUS, cam=VP8)
    offer = await core.peers.make_offer(bob.subscriber.id)
    assert offer is not None
    [video] = [mid for mid, track in offer.sending.items() if track == ada.tracks["cam"]]

    await core.peers.take_answer(bob.subscriber.id, bob.hears.answer(offer.sdp, refuse=(video,)))

    [failed] = of_type(read(bob.seat), SubscriptionFailed)
    assert failed.failure.reason is Reason.CODEC_UNSUPPORTED
    await bob.settle()
    core.rooms.subscribe(bob.seat.id, ada.tracks["cam"])
    await bob.settle()
    assert len([one for one in bob.down.consumers.values() if one.source is not None]) == 2


async def test_a_section_that_the_client_refuses_instead_of_pausing_is_not_used_again(
    core: Core, arrive: Arrive
) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await ada.publish(cam=VP8)
    await bob.settle()
    [mid] = bob.down.consumers

    await ada.publish(cam=None)
    await bob.exchange(refuse=(mid,))
    await ada.publish(cam=VP8)
    await bob.settle()

    assert mid not in bob.down.consumers
    [consumer] = bob.down.consumers.values()
    assert consumer.source is ada.up.producers[ada.sends.mids["cam"]]


async def test_a_client_may_stop_taking_a_track_in_any_answer(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await ada.publish(cam=VP8)
    await bob.settle()
    [(mid, consumer)] = bob.down.consumers.items()
    await ada.publish(mic=OPUS)
    offer = await core.peers.make_offer(bob.subscriber.id)
    assert offer is not None
    answer = bob.hears.answer(offer.sdp)
    head, *sections = answer.split("\r\nm=")
    sections = [one.replace("a=recvonly", "a=inactive") if f"a=mid:{mid}\r\n" in one else one for one in sections]

    await core.peers.take_answer(bob.subscriber.id, "\r\nm=".join((head, *sections)))

    assert consumer.source is None
    assert [one.track for one in of_type(read(bob.seat), SubscriptionFailed)] == [ada.tracks["cam"]]
    assert list(bob.subscribed()) == [ada.tracks["mic"]]


async def test_what_was_offered_is_offered_again_after_a_rollback(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await bob.settle()
    await ada.publish(mic=OPUS)
    assert await core.peers.make_offer(bob.subscriber.id) is not None

    await core.peers.rollback(bob.subscriber.id)

    with pytest.raises(WrongSignalingState):
        await core.peers.take_answer(bob.subscriber.id, "v=0")
    offer = await core.peers.make_offer(bob.subscriber.id)
    assert offer is not None
    assert list(offer.sending.values()) == [ada.tracks["mic"]]


async def test_a_malformed_answer_leaves_the_offer_open(core: Core, arrive: Arrive) -> None:
    bob = arrive("bob")
    offer = await core.peers.make_offer(bob.subscriber.id)
    assert offer is not None

    with pytest.raises(NegotiationError):
        await core.peers.take_answer(bob.subscriber.id, "nonsense")
    await core.peers.take_answer(bob.subscriber.id, bob.hears.answer(offer.sdp))


async def test_an_answer_nobody_asked_for_is_refused(core: Core, arrive: Arrive) -> None:
    bob = arrive("bob")

    with pytest.raises(WrongSignalingState):
        await core.peers.take_answer(bob.subscriber.id, "v=0")


async def test_an_unanswered_offer_ends_the_participant(core: Core, arrive: Arrive, clock: FakeClock) -> None:
    bob = arrive("bob")
    bob.down.connect()
    await core.peers.make_offer(bob.subscriber.id)

    clock.advance(14.9)
    core.sweep()
    assert core.rooms.participants(bob.seat.room.id) != ()
    clock.advance(0.2)
    core.sweep()

    events = read(bob.seat)
    assert of_type(events, PeerFailed)[0].failure.reason is Reason.OFFER_TIMEOUT
    assert of_type(events, ParticipantLeft)[0].reason is LeaveReason.NEGOTIATION_TIMEOUT


async def test_an_answer_that_came_while_the_loop_stood_still_is_in_time(
    core: Core, arrive: Arrive, clock: FakeClock
) -> None:
    bob = arrive("bob")
    bob.down.connect()
    offer = await core.peers.make_offer(bob.subscriber.id)
    assert offer is not None
    ours, theirs = socket.socketpair()
    ours.setblocking(False)

    async def read_answer() -> None:
        received = await asyncio.get_running_loop().sock_recv(ours, 65_536)
        for _ in range(5):  # a dialect's tasks hand it on
            await asyncio.sleep(0)
        await core.peers.take_answer(bob.subscriber.id, received.decode())

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(core.run())
        answering = tasks.create_task(read_answer())
        await asyncio.sleep(0)
        theirs.sendall(bob.hears.answer(offer.sdp).encode())
        clock.advance(16)
        time.sleep(2 * core.limits.sweep_interval_s)  # noqa: ASYNC251, the loop is what stalls
        await answering
        watching.cancel()
    ours.close()
    theirs.close()

    assert of_type(read(bob.seat), ParticipantLeft) == []


async def test_a_peer_that_is_not_connected_may_take_longer_to_answer(
    core: Core, arrive: Arrive, clock: FakeClock
) -> None:
    bob = arrive("bob")
    await core.peers.make_offer(bob.subscriber.id)

    clock.advance(30)
    core.sweep()

    assert bob.subscriber.is_open


async def test_restarting_ice_is_an_offer_with_fresh_credentials(core: Core, arrive: Arrive) -> None:
    bob = arrive("bob")
    await bob.settle()
    before = bob.down.params.ufrag
    read(bob.seat)

    core.peers.restart(bob.subscriber.id)

    assert len(of_type(read(bob.seat), PeerWantsOffer)) == 1
    offer = await core.peers.make_offer(bob.subscriber.id)
    assert offer is not None
    assert bob.down.params.ufrag in offer.sdp
    assert before not in offer.sdp


async def test_a_client_that_restarts_ice_is_answered_with_fresh_credentials(core: Core, arrive: Arrive) -> None:
    ada = arrive("ada")
    await ada.publish(mic=OPUS)
    producer = ada.up.producers[ada.sends.mids["mic"]]
    before = ada.up.params.ufrag
    ada.sends.restart_ice()

    answer = await core.peers.take_offer(ada.publisher.id, ada.sends.offer(), take(ada.tracks))

    assert ada.up.params.ufrag != before
    assert ada.up.params.ufrag in answer.sdp
    assert list(ada.up.producers.values()) == [producer], "media goes on"


async def test_offers_that_overlap_are_answered_one_after_the_other(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")

    await asyncio.gather(ada.publish(mic=OPUS), bob.publish(mic=OPUS))
    results = await asyncio.gather(*(core.peers.make_offer(bob.subscriber.id) for _ in range(3)))

    assert [offer is not None for offer in results] == [True, False, False]


# Candidates.


async def test_candidates_that_come_before_the_description_are_kept_for_it(core: Core, arrive: Arrive) -> None:
    ada = arrive("ada")
    core.peers.add_candidate(ada.publisher.id, "candidate:1 1 udp 1 192.0.2.1 5000 typ host")
    core.peers.add_candidate(ada.publisher.id, "")
    assert ada.up.remote_candidates == []

    await ada.publish(mic=OPUS)
    core.peers.add_candidate(ada.publisher.id, "candidate:2 1 udp 1 192.0.2.2 5000 typ host")

    assert [one.split()[4] for one in ada.up.remote_candidates] == ["192.0.2.1", "192.0.2.2"]


async def test_candidates_before_the_description_have_a_bound(core: Core, arrive: Arrive) -> None:
    ada = arrive("ada")
    for number in range(1000):
        core.peers.add_candidate(ada.publisher.id, f"candidate:{number} 1 udp 1 192.0.2.1 5000 typ host")

    await ada.publish(mic=OPUS)

    assert len(ada.up.remote_candidates) == 64


# Peers that come and go.


async def test_the_gate_opens_when_the_peer_is_connected(core: Core, arrive: Arrive) -> None:
    ada = arrive("ada")
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(core.peers.connected(ada.publisher.id))
        await asyncio.sleep(0)
        ada.up.connect()

    assert waiting.result()


async def test_the_gate_closes_after_its_time(core: Core, join: Join) -> None:
    seat = join("ada")
    peer = core.peers.open(seat.id, publishing(connect_gate_s=0.01))

    assert not await core.peers.connected(peer.id)


async def test_whoever_waits_at_the_gate_of_a_closed_peer_is_let_go(core: Core, arrive: Arrive) -> None:
    ada = arrive("ada")
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(core.peers.connected(ada.publisher.id))
        await asyncio.sleep(0)
        core.rooms.leave(ada.seat.id)

    assert not waiting.result()


async def test_a_failed_peer_takes_its_participant_along(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await ada.publish(mic=OPUS)
    await bob.settle()
    ada.up.fail()

    assert of_type(read(ada.seat), ParticipantLeft)[-1].reason is LeaveReason.PEER_FAILED
    told = read(bob.seat)
    assert of_type(told, TrackEnded)[0].track.id == ada.tracks["mic"]
    assert of_type(told, ParticipantLeft)[0].participant.identity == "ada"
    assert bob.subscribed() == {}


async def test_a_client_that_hangs_up_has_a_moment_to_say_good_bye(
    core: Core, arrive: Arrive, clock: FakeClock
) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    ada.down.hang_up()
    assert core.rooms.participant(ada.seat.id)
    core.rooms.leave(ada.seat.id, LeaveReason.CLIENT_LEFT)
    assert of_type(read(ada.seat), ParticipantLeft)[-1].reason is LeaveReason.CLIENT_LEFT

    bob.down.hang_up()
    clock.advance(2.1)
    core.sweep()
    assert of_type(read(bob.seat), ParticipantLeft)[-1].reason is LeaveReason.PEER_FAILED


async def test_a_peer_that_is_not_essential_fails_alone(core: Core, join: Join, fake_engine: FakeEngine) -> None:
    seat = join("ada")
    peer = core.peers.open(seat.id, publishing(essential=False))
    fake_engine.transports[peer.transport.id].fail()  # type: ignore[index]

    assert names(read(seat))[-1] == "PeerFailed"
    assert core.rooms.participant(seat.id)


async def test_closing_a_peer_ends_its_tracks_and_what_it_carried(core: Core, arrive: Arrive) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await ada.publish(mic=OPUS)
    await bob.publish(mic=OPUS)
    await ada.settle()
    read(ada.seat)

    core.peers.close(ada.publisher.id)
    core.peers.close(ada.subscriber.id)

    assert of_type(read(ada.seat), TrackEnded)[0].reason is EndReason.PEER_CLOSED
    assert ada.subscribed() == {}
    assert core.rooms.participant(ada.seat.id).receives_on is None
    with pytest.raises(PeerNotFound):
        await core.peers.make_offer(ada.subscriber.id)


async def test_an_abandoned_exchange_closes_the_peer(core: Core, arrive: Arrive) -> None:
    ada = arrive("ada")
    started = asyncio.Event()

    async def never(**_: object) -> object:
        started.set()
        return await asyncio.Future()

    ada.up.apply = never  # type: ignore[method-assign, assignment]
    exchange = asyncio.create_task(ada.publish(mic=OPUS))
    await started.wait()
    exchange.cancel()
    await asyncio.gather(exchange, return_exceptions=True)

    assert exchange.cancelled()
    assert of_type(read(ada.seat), PeerFailed)[0].failure.reason is Reason.ABANDONED


async def test_a_participant_that_leaves_during_an_exchange_ends_it(core: Core, arrive: Arrive) -> None:
    ada = arrive("ada")
    going_on = ada.up.apply

    async def slow(**given: object) -> object:
        await asyncio.sleep(0)
        core.rooms.leave(ada.seat.id)
        return await going_on(**given)  # type: ignore[arg-type]

    ada.up.apply = slow  # type: ignore[method-assign, assignment]
    with pytest.raises(PeerClosed):
        await ada.publish(mic=OPUS)


async def test_a_participant_has_a_bounded_number_of_peers(core: Core, join: Join) -> None:
    seat = join("ada")
    for _ in range(8):
        core.peers.open(seat.id, publishing())

    with pytest.raises(LimitExceeded, match="peers of one participant: the limit is 8"):
        core.peers.open(seat.id, publishing())


async def test_unknown_peers_are_refused_by_name(core: Core) -> None:
    with pytest.raises(PeerNotFound, match=r"there is no peer 0{30}2a"):
        await core.peers.make_offer(PeerId(42))


async def test_a_transport_that_the_busy_engine_would_not_close_is_closed_later(
    core: Core, arrive: Arrive, fake_engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:

    ada = arrive("ada")
    close, tries = ada.up.close, []

    def sometimes() -> None:
        tries.append(1)
        if len(tries) == 1:
            raise EngineBusy("full")
        close()

    monkeypatch.setattr(ada.up, "close", sometimes)
    core.rooms.leave(ada.seat.id)
    assert len(fake_engine.transports) == 1

    core.sweep()
    assert fake_engine.transports == {}


async def test_a_peer_that_cannot_be_told_of_the_end_of_its_own_track_ends_in_order(
    core: Core, arrive: Arrive, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    await ada.publish(mic=OPUS, cam=VP8)
    await bob.publish(mic=OPUS)
    await ada.settle()
    await bob.settle()

    def busy(*_: object) -> None:
        raise EngineBusy("the engine's command queue is full")

    for consumer in bob.down.consumers.values():
        monkeypatch.setattr(consumer, "set_source", busy)
    core.rooms.leave(ada.seat.id)

    assert of_type(read(bob.seat), ParticipantLeft)[-1].reason is LeaveReason.NEGOTIATION_FAILED
    assert core.rooms.participants(bob.seat.room.id) == ()


async def test_a_peer_that_is_lost_may_come_back_for_a_while(
    core: Core, join: Join, fake_engine: FakeEngine, clock: FakeClock
) -> None:
    seat = join("ada")
    peer = core.peers.open(seat.id, publishing(primary=True, return_s=20, connect_gate_s=0.01))
    transport = fake_engine.transports[peer.transport.id]  # type: ignore[index]
    transport.connect()
    transport.fail()
    clock.advance(19)
    core.sweep()
    assert not await core.peers.connected(peer.id)
    transport.connect()

    assert await core.peers.connected(peer.id)
    clock.advance(21)
    core.sweep()
    told = names(read(seat))
    assert told.count("PeerConnected") == 1
    assert "PeerFailed" not in told

    transport.fail()
    clock.advance(20.1)
    core.sweep()
    assert names(read(seat)) == ["PeerFailed", "ParticipantLeft"]


async def test_what_the_engine_could_not_tell_is_asked_again(
    core: Core, arrive: Arrive, fake_engine: FakeEngine
) -> None:
    ada, bob = arrive("ada"), arrive("bob")
    ada.down.phase = TransportPhase.CONNECTED
    bob.down.phase = TransportPhase.FAILED
    await core.peers.recheck()
    assert not core.rooms.participant(ada.seat.id).is_active

    fake_engine.overflow()
    await core.peers.recheck()

    assert core.rooms.participant(ada.seat.id).is_active
    assert of_type(read(bob.seat), ParticipantLeft)[-1].reason is LeaveReason.PEER_FAILED


async def test_twenty_comings_and_goings_leave_nothing_behind(
    core: Core, arrive: Arrive, fake_engine: FakeEngine, clock: FakeClock
) -> None:
    bob = arrive("bob")
    tasks = len(asyncio.all_tasks())
    for _ in range(20):
        ada = arrive("ada")
        await ada.publish(mic=OPUS, cam=VP8)
        await bob.settle()
        ada.down.connect()
        await ada.settle()
        core.rooms.leave(ada.seat.id)
        await bob.settle()
        read(bob.seat)

    assert len(bob.down.consumers) == 2, "sections are used again"
    assert core.rooms.count().participants == 1
    core.rooms.leave(bob.seat.id)
    clock.advance(21)
    core.sweep()
    assert fake_engine.transports == {}
    assert (core.rooms.count().rooms, core.rooms.count().peers, core.rooms.count().subscriptions) == (0, 0, 0)
    assert len(asyncio.all_tasks()) == tasks
    assert len(core.peers._receiving) == 0
    assert core.peers._receiving._receivers == {}
    assert core.peers._of == {}
    assert core.peers._group_of == {}
    assert core.rooms._members == {}
    assert core.rooms._by_name == {}
    assert len(core.rooms._leases) == 0
    assert len(core.peers._offers) == 0
    assert core.rooms._courier._addressees == {}
