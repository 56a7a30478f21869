"""Tracks pulled one by one: across rooms, onto named sections, with and without an exchange of descriptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from parley.core.access import Access
from parley.core.core import Core
from parley.core.errors import LimitExceeded, NotAllowed, SectionNotFound, TrackNotFound, UnfitSection
from parley.core.events import Event, ParticipantLeft, SubscriptionEnded, SubscriptionFailed, TrackHeard
from parley.core.grants import Grant
from parley.core.model import EndReason, Limits, Subscription, SubscriptionState, Terms, Track, TrackState
from parley.core.peer import Peer
from parley.core.rooms import Seat
from parley.core.style import Choose, Give, PeerStyle, Stop, Take
from parley.engine.specs import Kind, Mid
from parley.errors import Reason
from parley.ids import SubscriptionId, TenantId, TrackId
from parley.negotiation import Caps, Direction, MLinePlan, Msid, RemoteView, WrongSignalingState
from tests.core.clients import OPUS, VP8, Client, cname, msid
from tests.core.conftest import ACME, of_type, read
from tests.fakes import FakeClock, FakeConsumer, FakeEngine, FakeTransport

pytestmark = pytest.mark.anyio

Join = Callable[..., Seat]


class Caller:
    """A participant with one connection on which either side offers, told of nothing but by its listener."""

    def __init__(self, core: Core, engine: FakeEngine, identity: str, **given: object) -> None:
        self.core = core
        self.heard: list[Event] = []
        grant = Grant(**{"tenant": ACME, "identity": identity, "lobby": "here", "can_join": True, **given})  # type: ignore[arg-type]
        self.seat = core.rooms.join(grant, auto_subscribe=False, listener=self.heard.append)
        style = PeerStyle(
            caps=Caps(),
            msid=msid,
            cname=cname,
            primary=True,
            data=False,
            reuse_inactive=False,
            keep_emptied=True,
            withdraw_offers=True,
            offer_timeout_s=30,
        )
        self.peer: Peer = core.peers.open(self.seat.id, style)
        self.client = Client(seed=len(engine.transports))
        self._engine = engine

    @property
    def transport(self) -> FakeTransport:
        return self._engine.transports[self.peer.transport.id]

    @property
    def tracks(self) -> tuple[Track, ...]:
        return self.core.rooms.participant(self.seat.id).tracks

    async def publish(self, *rids: str, **send: object) -> dict[str, TrackId]:
        """Offer and name what is sent: `publish(cam=VP8)`. rids: the layers of each."""
        self.client.rids |= dict.fromkeys(send, rids) if rids else {}
        await self.take(self.client.offer(**send))  # type: ignore[arg-type]
        tracks = {}
        for name, codec in send.items():
            kind = Kind.AUDIO if codec is OPUS else Kind.VIDEO
            track = self.core.rooms.announce(self.seat.id, kind=kind, name=name)
            self.core.peers.claim(self.peer.id, self.client.mids[name], track.id)
            tracks[name] = track.id
        return tracks

    async def take(self, sdp: str, choose: Choose = lambda view: {}) -> str:
        answer = await self.core.peers.take_offer(self.peer.id, sdp, choose)
        self.client.take_answer(answer.sdp)
        return answer.sdp

    async def pull(self, track: TrackId) -> Subscription:
        """Pull a track by an offer of the server's, and answer it."""
        pulled = self.ask(track)
        offer = await self.core.peers.make_offer(self.peer.id)
        assert offer is not None
        await self.core.peers.take_answer(self.peer.id, self.client.answer(offer.sdp))
        return self.now(pulled)

    def accept(self, sdp: str) -> str:
        """Answer an offer of the server's, and go on sending what is sent."""
        self.client.negotiator.on_offer(sdp)
        answer = self.client.negotiator.answer([]).sdp
        assert answer is not None
        return answer.replace("a=setup:passive", "a=setup:active")

    def ask(self, track: TrackId, mid: str | None = None) -> Subscription:
        return self.core.rooms.pull(self.seat.id, track, self.peer.id, None if mid is None else Mid(mid))

    def now(self, pulled: Subscription) -> Subscription:
        found = self.core.rooms.pulled(pulled.id)
        assert found is not None
        return found

    def consumer(self, mid: str) -> FakeConsumer:
        return self.transport.consumers[Mid(mid)]

    def ended(self) -> list[EndReason]:
        return [event.reason for event in of_type(self.heard, SubscriptionEnded)]


Call = Callable[..., Caller]


@pytest.fixture
def call(core: Core, fake_engine: FakeEngine) -> Call:
    return lambda identity, **given: Caller(core, fake_engine, identity, **given)


async def test_a_track_is_pulled_from_one_lobby_seat_to_another(core: Core, call: Call) -> None:
    ada, bob = call("ada"), call("bob")
    tracks = await ada.publish(cam=VP8)

    pulled = await bob.pull(tracks["cam"])
    bob.transport.connect()

    assert pulled.mid == "0"
    assert bob.now(pulled).state is SubscriptionState.ACTIVE
    assert bob.consumer("0").source is ada.transport.producers[Mid("0")]
    assert [one.id for one in core.rooms.subscriptions(bob.seat.id)] == [pulled.id]
    assert [event.track for event in of_type(ada.heard, TrackHeard)] == [tracks["cam"]]


async def test_the_same_track_twice_is_two_subscriptions(core: Core, call: Call) -> None:
    ada, bob = call("ada"), call("bob")
    tracks = await ada.publish(cam=VP8)

    first, second = await bob.pull(tracks["cam"]), await bob.pull(tracks["cam"])

    assert (first.mid, second.mid) == ("0", "1")
    core.rooms.release(bob.seat.id, first.id)
    assert bob.consumer("0").source is None
    assert bob.consumer("1").source is not None


async def test_a_participant_may_pull_its_own_track(call: Call) -> None:
    ada = call("ada")
    tracks = await ada.publish(mic=OPUS)

    pulled = ada.ask(tracks["mic"])
    offer = await ada.core.peers.make_offer(ada.peer.id)
    assert offer is not None
    await ada.core.peers.take_answer(ada.peer.id, ada.accept(offer.sdp))

    assert ada.now(pulled).mid == "2"  # The client's data section has mid 1.
    assert ada.consumer("2").source is ada.transport.producers[Mid("0")]


async def test_a_lobby_is_seen_from_itself_alone_and_a_room_from_its_tenant(core: Core, call: Call, join: Join) -> None:
    ada = call("ada")
    tracks = await ada.publish(cam=VP8)
    cyd = call("cyd", lobby="", room="standup")
    [shared] = (await cyd.publish(cam=VP8)).values()

    near = Grant(tenant=ACME, identity="x", lobby="here")
    elsewhere = Grant(tenant=ACME, identity="x", lobby="there")
    stranger = Grant(tenant=TenantId("other"), identity="x", lobby="here")

    assert core.rooms.find_track(near, ada.seat.id, "cam").id == tracks["cam"]
    assert core.rooms.find_track(near, ada.seat.id, "", tracks["cam"]).id == tracks["cam"]
    for grant in (near, elsewhere):
        assert core.rooms.find_track(grant, cyd.seat.id, "cam").id == shared
    for grant in (elsewhere, stranger):
        with pytest.raises(Exception, match="there is no participant"):
            core.rooms.find_track(grant, ada.seat.id, "cam")
    with pytest.raises(TrackNotFound):
        core.rooms.find_track(near, ada.seat.id, "")


async def test_what_may_not_be_received_is_not_pulled(core: Core, call: Call) -> None:
    ada = call("ada")
    tracks = await ada.publish(cam=VP8)
    core.rooms.restrict(ada.seat.id, Access(everybody=False))

    for stranger in (call("bob"), call("cyd", lobby="there"), call("dan", tenant=TenantId("other"))):
        with pytest.raises(NotAllowed, match="may not receive this track"):
            stranger.ask(tracks["cam"])
    with pytest.raises(TrackNotFound):
        call("eve").ask(TrackId(7))


async def test_a_pull_ends_with_the_permission_for_it(core: Core, call: Call) -> None:
    ada, bob = call("ada"), call("bob")
    tracks = await ada.publish(cam=VP8)
    await bob.pull(tracks["cam"])

    core.rooms.restrict(ada.seat.id, Access(everybody=False))

    assert bob.ended() == [EndReason.NOT_ALLOWED]
    assert bob.consumer("0").source is None


async def test_a_publisher_in_a_room_hears_of_its_first_listener_wherever_that_is(
    core: Core, fake_engine: FakeEngine, call: Call
) -> None:
    ada, bob = call("ada", lobby="", room="standup"), call("bob")
    tracks = await ada.publish(cam=VP8)
    await bob.pull(tracks["cam"])
    bob.transport.connect()

    assert [event.track for event in of_type(ada.heard, TrackHeard)] == [tracks["cam"]]


async def test_a_track_that_ends_leaves_the_section_silent_and_negotiated(core: Core, call: Call) -> None:
    ada, bob = call("ada"), call("bob")
    tracks = await ada.publish(cam=VP8, mic=OPUS)
    await bob.pull(tracks["cam"])

    core.rooms.leave(ada.seat.id)

    assert bob.ended() == [EndReason.PARTICIPANT_LEFT]
    assert bob.consumer("0").source is None
    assert await core.peers.make_offer(bob.peer.id) is None
    cyd = call("cyd")
    [track] = (await cyd.publish(cam=VP8)).values()
    await bob.pull(track)
    assert bob.client.receives == {"0": Direction.RECVONLY, "1": Direction.RECVONLY}


async def test_a_section_gets_another_track_without_an_exchange(core: Core, call: Call) -> None:
    ada, bob = call("ada"), call("bob")
    tracks = await ada.publish(cam=VP8, screen=VP8)
    first = await bob.pull(tracks["cam"])
    before = bob.consumer("0")

    second = bob.ask(tracks["screen"], "0")

    assert bob.now(second).mid == "0"
    assert core.rooms.pulled(first.id) is None
    assert bob.ended() == [EndReason.REPLACED]
    assert bob.consumer("0") is before
    assert before.source is ada.transport.producers[ada.client.mids["screen"]]


async def test_a_section_gets_another_track_while_its_offer_is_open(core: Core, call: Call) -> None:
    ada, bob = call("ada"), call("bob")
    tracks = await ada.publish(cam=VP8, screen=VP8)
    bob.ask(tracks["cam"])
    offer = await core.peers.make_offer(bob.peer.id)
    assert offer is not None

    bob.ask(tracks["screen"], "0")
    await core.peers.take_answer(bob.peer.id, bob.client.answer(offer.sdp))

    assert bob.consumer("0").source is ada.transport.producers[ada.client.mids["screen"]]
    assert bob.ended() == [EndReason.REPLACED]


async def test_a_section_is_refused_what_it_cannot_carry(core: Core, call: Call) -> None:
    ada, bob = call("ada"), call("bob")
    tracks = await ada.publish(cam=VP8, mic=OPUS)
    await bob.pull(tracks["cam"])

    with pytest.raises(UnfitSection):
        bob.ask(tracks["mic"], "0")
    with pytest.raises(SectionNotFound):
        bob.ask(tracks["cam"], "7")
    assert bob.ended() == []


async def test_a_stopped_section_says_so_in_the_next_offer_and_can_be_used_again(core: Core, call: Call) -> None:
    ada, bob = call("ada"), call("bob")
    tracks = await ada.publish(cam=VP8, mic=OPUS)
    await bob.pull(tracks["cam"])

    core.peers.stop_section(bob.peer.id, Mid("0"))
    assert bob.ended() == [EndReason.UNSUBSCRIBED]
    await bob.pull(tracks["mic"])
    assert bob.client.receives == {"0": Direction.INACTIVE, "1": Direction.RECVONLY}

    again = bob.ask(tracks["cam"], "0")
    offer = await core.peers.make_offer(bob.peer.id)
    assert offer is not None
    await core.peers.take_answer(bob.peer.id, bob.client.answer(offer.sdp))
    assert bob.now(again).mid == "0"
    assert bob.client.receives == {"0": Direction.RECVONLY, "1": Direction.RECVONLY}


async def test_a_stopped_section_of_the_clients_carries_another_track_later(core: Core, call: Call) -> None:
    ada = call("ada")
    await ada.publish(cam=VP8)

    core.peers.stop_section(ada.peer.id, Mid("0"))
    assert ada.tracks == ()
    again = core.rooms.announce(ada.seat.id, kind=Kind.VIDEO, name="cam")
    core.peers.claim(ada.peer.id, Mid("0"), again.id)

    assert [track.state for track in ada.tracks] == [TrackState.PUBLISHED]
    with pytest.raises(SectionNotFound):
        core.peers.stop_section(ada.peer.id, Mid("7"))


async def test_an_answer_gives_a_client_what_it_made_sections_for(core: Core, call: Call) -> None:
    ada, bob = call("ada"), call("bob")
    tracks = await ada.publish(cam=VP8, mic=OPUS)
    cam, mic = bob.ask(tracks["cam"]), bob.ask(tracks["mic"])

    offer = bob.client.negotiator.offer([section(Kind.AUDIO), section(Kind.VIDEO)])
    assert offer.sdp is not None
    await bob.take(offer.sdp, lambda view: give({"0": mic.id, "1": cam.id}))

    assert (bob.now(mic).mid, bob.now(cam).mid) == ("0", "1")
    assert bob.consumer("1").source is ada.transport.producers[Mid("0")]
    assert bob.client.receives == {"0": Direction.RECVONLY, "1": Direction.RECVONLY}


async def test_a_pull_that_ends_while_its_answer_waits_for_its_turn_leaves_the_section_empty(
    core: Core, call: Call
) -> None:
    ada, bob = call("ada"), call("bob")
    tracks = await ada.publish(mic=OPUS)
    mic = bob.ask(tracks["mic"])
    offer = bob.client.negotiator.offer([section(Kind.AUDIO)])
    assert offer.sdp is not None

    core.rooms.leave(ada.seat.id)
    await bob.take(offer.sdp, lambda view: give({"0": mic.id}))

    assert bob.client.receives == {"0": Direction.INACTIVE}


async def test_an_answer_may_keep_a_section_open_both_ways(core: Core, call: Call) -> None:
    ada, bob = call("ada"), call("bob")
    tracks = await ada.publish(mic=OPUS)
    offer = bob.client.negotiator.offer([MLinePlan(None, Kind.AUDIO, Direction.SENDRECV, msid=Msid("s", "t"))])
    assert offer.sdp is not None

    answer = await bob.take(offer.sdp, lambda view: {Mid("0"): Give(msid=Msid("stream", "track"))})
    pulled = bob.ask(tracks["mic"], "0")

    assert "a=sendrecv" in answer
    assert "a=msid:stream track" in answer
    assert bob.now(pulled).mid == "0"
    assert bob.consumer("0").source is ada.transport.producers[Mid("0")]
    assert [one.mid for one in core.peers.unclaimed(bob.peer.id)] == ["0"]


async def test_a_clients_offer_that_stops_a_section_ends_what_it_carried(core: Core, call: Call) -> None:
    ada, bob = call("ada"), call("bob")
    tracks = await ada.publish(cam=VP8, mic=OPUS)
    await bob.pull(tracks["cam"])
    await bob.pull(tracks["mic"])

    offer = bob.client.negotiator.offer([MLinePlan(Mid("0"), Kind.VIDEO, reject=True)])
    assert offer.sdp is not None
    await bob.take(offer.sdp, lambda view: {Mid("1"): Stop()})

    assert bob.ended() == [EndReason.UNSUBSCRIBED] * 2
    assert "0" not in bob.transport.consumers
    assert bob.consumer("1").source is None
    assert bob.client.receives == {"0": Direction.INACTIVE, "1": Direction.INACTIVE}


async def test_a_choice_that_raises_leaves_everything_as_it_was(core: Core, call: Call) -> None:
    bob = call("bob")

    def choose(view: RemoteView) -> Mapping[Mid, Take | Give | Stop]:
        raise ValueError("no")

    offer = bob.client.offer(cam=VP8)
    with pytest.raises(ValueError):
        await core.peers.take_offer(bob.peer.id, offer, choose)

    await bob.take(offer)
    assert list(bob.transport.producers) == ["0"]


async def test_an_invited_track_is_published_with_the_answer(core: Core, call: Call) -> None:
    ada = call("ada")
    track = core.rooms.announce(ada.seat.id, kind=Kind.AUDIO, name="mic")
    core.peers.invite(ada.peer.id, track.id, Give(msid=Msid("stream", "track")))
    offer = await core.peers.make_offer(ada.peer.id)
    assert offer is not None
    assert offer.inviting == {track.id: "0"}
    assert "a=sendrecv" in offer.sdp
    assert list(ada.transport.producers) == ["0"]

    ada.client.negotiator.on_offer(offer.sdp)
    answer = ada.client.negotiator.answer(
        [MLinePlan(Mid("0"), Kind.AUDIO, Direction.SENDRECV, msid=Msid("mine", "mic"))]
    )
    assert answer.sdp is not None
    await core.peers.take_answer(ada.peer.id, answer.sdp.replace("a=setup:passive", "a=setup:active"))

    assert [(one.name, one.mid, one.state) for one in ada.tracks] == [("mic", "0", TrackState.PUBLISHED)]
    pulled = ada.ask(track.id, "0")
    assert ada.now(pulled).mid == "0"


async def test_an_invited_track_that_the_client_does_not_send_ends(core: Core, call: Call) -> None:
    ada = call("ada")
    track = core.rooms.announce(ada.seat.id, kind=Kind.AUDIO, name="mic")
    core.peers.invite(ada.peer.id, track.id)
    offer = await core.peers.make_offer(ada.peer.id)
    assert offer is not None
    assert "a=recvonly" in offer.sdp

    ada.client.negotiator.on_offer(offer.sdp)
    answer = ada.client.negotiator.answer([MLinePlan(Mid("0"), Kind.AUDIO, Direction.INACTIVE)])
    assert answer.sdp is not None
    await core.peers.take_answer(ada.peer.id, answer.sdp.replace("a=setup:passive", "a=setup:active"))

    assert ada.tracks == ()
    assert ada.transport.producers == {}


async def test_an_offer_that_nobody_answers_is_withdrawn_with_what_it_would_have_carried(
    core: Core, call: Call, clock: FakeClock
) -> None:
    ada, bob = call("ada"), call("bob")
    tracks = await ada.publish(cam=VP8)
    pulled = bob.ask(tracks["cam"])
    invited = core.rooms.announce(bob.seat.id, kind=Kind.AUDIO)
    core.peers.invite(bob.peer.id, invited.id)
    offer = await core.peers.make_offer(bob.peer.id)
    assert offer is not None

    clock.advance(31)
    core.sweep()
    await core.peers.withdraw()

    assert core.rooms.pulled(pulled.id) is None
    [failed] = of_type(bob.heard, SubscriptionFailed)
    assert failed.failure.reason is Reason.OFFER_TIMEOUT
    assert bob.tracks == ()
    with pytest.raises(WrongSignalingState):
        await core.peers.take_answer(bob.peer.id, bob.client.answer(offer.sdp))
    bob.client = Client(seed=9)
    assert (await bob.pull(tracks["cam"])).mid == "2"  # A mid is never used for another generation.


async def test_closing_a_peer_ends_what_was_pulled_on_it(core: Core, call: Call) -> None:
    ada, bob = call("ada"), call("bob")
    tracks = await ada.publish(cam=VP8)
    await bob.pull(tracks["cam"])

    bob.transport.hang_up()

    assert bob.ended() == [EndReason.PEER_CLOSED]
    assert core.rooms.count().subscriptions == 0


async def test_a_participant_pulls_a_bounded_number_of_tracks(fake_engine: FakeEngine, clock: FakeClock) -> None:
    core = Core(fake_engine, clock=clock, limits=Limits(max_subscriptions=1))
    ada = Caller(core, fake_engine, "ada")
    tracks = await ada.publish(cam=VP8, mic=OPUS)
    ada.ask(tracks["cam"])

    with pytest.raises(LimitExceeded):
        ada.ask(tracks["mic"])


async def test_waiting_for_a_track_ends_with_its_first_packet_or_its_end(core: Core, call: Call) -> None:
    ada = call("ada")
    tracks = await ada.publish(cam=VP8, mic=OPUS)
    cam, mic = core.rooms.until_live(tracks["cam"]), core.rooms.until_live(tracks["mic"])
    assert not cam.done()

    ada.transport.receive_media("0")
    core.rooms.withdraw(ada.seat.id, tracks["mic"])

    assert (cam.result(), mic.result()) == (True, False)
    assert core.rooms.until_live(tracks["cam"]).result()
    assert not core.rooms.until_live(tracks["mic"]).result()


async def test_a_silent_track_ends_when_its_terms_say_so_but_not_before_it_could_speak(
    core: Core, fake_engine: FakeEngine, clock: FakeClock
) -> None:
    heard: list[Event] = []
    ada = Caller(core, fake_engine, "ada")
    core.rooms.leave(ada.seat.id)
    grant = Grant(tenant=ACME, identity="ada", lobby="here", can_join=True)
    ada.seat = core.rooms.join(grant, terms=Terms(silent_s=30, connect_s=600), listener=heard.append)
    ada.peer = core.peers.open(ada.seat.id, ada.peer.style)
    await ada.publish(cam=VP8)

    clock.advance(50)
    core.sweep()
    assert len(ada.tracks) == 1
    ada.transport.connect()
    clock.advance(29)
    core.sweep()
    assert len(ada.tracks) == 1
    clock.advance(2)
    core.sweep()
    assert ada.tracks == ()


async def test_who_waits_in_a_lobby_is_in_no_room(core: Core, call: Call, clock: FakeClock) -> None:
    ada = call("ada")

    assert core.rooms.all() == ()
    assert core.rooms.count().rooms == 0
    assert core.rooms.count().participants == 1
    assert core.rooms.find(ACME, "") is None
    assert ada.seat.others == ()

    core.rooms.expect(ada.seat.id, 5)
    clock.advance(6)
    core.sweep()

    assert core.rooms.count().participants == 0
    assert len(of_type(ada.heard, ParticipantLeft)) == 1
    assert [type(event) for event in read(ada.seat)] == [ParticipantLeft]


def section(kind: Kind) -> MLinePlan:
    return MLinePlan(None, kind, Direction.RECVONLY)


def give(subscriptions: Mapping[str, SubscriptionId]) -> dict[Mid, Take | Give | Stop]:
    return {Mid(mid): Give(id, receives=False) for mid, id in subscriptions.items()}
