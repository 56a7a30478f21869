"""What layers a track has, which of them a subscriber's wish means, and who is told what of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parley.core.core import Core
from parley.core.events import LayerForwarded, LayersArriving, LayersWanted, SubscriptionSwitched
from parley.core.layers import (
    ByQuality,
    ByRid,
    BySize,
    Layer,
    LayerWish,
    Quality,
    arrange,
    best,
    policy,
)
from parley.core.rooms import Seat
from parley.engine.specs import Kind, LayerPolicy, Mid
from parley.ids import TrackId
from tests.core.clients import OPUS, VP8, Client, publishing, receiving, take
from tests.core.conftest import of_type, read
from tests.core.test_pulls import Call, call
from tests.fakes import FakeConsumer, FakeEngine

pytestmark = pytest.mark.anyio

__all__ = ["call"]

LOW, MEDIUM, HIGH = Quality.LOW, Quality.MEDIUM, Quality.HIGH
QHF = (Layer("q", LOW, 320, 180), Layer("h", MEDIUM, 640, 360), Layer("f", HIGH, 1280, 720))


# What layers there are.


@pytest.mark.parametrize(
    ("rids", "announced", "qualities"),
    [
        ("", [], []),
        ("a b", [], [HIGH, LOW]),
        ("q h f", [], [LOW, MEDIUM, HIGH]),
        ("f h q", [], [HIGH, MEDIUM, LOW]),
        ("2 1 0", [], [LOW, MEDIUM, HIGH]),
        ("a b c d", [], [HIGH, MEDIUM, MEDIUM, LOW]),
        ("x", [], [HIGH]),
        ("q h", [LOW, MEDIUM], [LOW, MEDIUM]),
        ("q h", [LOW, HIGH], [LOW, HIGH]),
        ("q h", [HIGH, MEDIUM], [MEDIUM, HIGH]),
        ("q h", [LOW, MEDIUM, HIGH], [LOW, MEDIUM]),
        ("q", [MEDIUM], [MEDIUM]),
        ("q h f", [HIGH], [LOW, MEDIUM, HIGH]),
    ],
)
def test_layers_are_those_of_the_section_with_what_was_announced_of_them(rids, announced, qualities) -> None:
    layers = arrange(rids.split(), [Layer(quality=quality) for quality in announced])

    assert [layer.rid for layer in layers] == rids.split()
    assert [layer.quality for layer in layers] == qualities


def test_an_announced_name_counts_before_the_order_of_names() -> None:
    announced = [Layer("lo", LOW, height=180), Layer("hi", HIGH, height=720)]

    layers = arrange(["hi", "lo"], announced)

    assert [layer.height for layer in layers] == [720, 180]


# Which of them is meant.


@pytest.mark.parametrize(
    ("rids", "choice", "target", "otherwise"),
    [
        ("a b c", ByRid(), 0, (1, 2)),
        ("q h f", ByRid(), 0, (1, 2)),
        ("a b c", ByRid("b"), 1, ()),
        ("a b c", ByRid("b", falls_back=True), 1, (2, 0)),
        ("q h f", ByRid("h", falls_back=True), 1, (0, 2)),
        ("a b c d", ByRid("c", falls_back=True), 2, (3, 1, 0)),
        ("a c d", ByRid("b"), 3, ()),
        ("a c d", ByRid("b", falls_back=True), 3, (1, 2, 0)),
        ("a b", ByRid("z", falls_back=True), 2, (1, 0)),
        ("b a", ByRid("", falls_back=True), 0, (1,)),
        ("Z a", ByRid("a", falls_back=True), 1, (0,)),
        ("a", ByRid("b"), 1, ()),
        ("a", ByRid("b", falls_back=True), 1, (0,)),
    ],
)
def test_a_name_means_its_layer_and_perhaps_its_neighbours(rids, choice, target, otherwise) -> None:
    assert policy(arrange(rids.split(), []), LayerWish(choice)) == LayerPolicy(target, otherwise)


@pytest.mark.parametrize(
    ("rids", "announced", "wanted", "target", "otherwise"),
    [
        ("q h f", [LOW, MEDIUM, HIGH], HIGH, 2, (1, 0)),
        ("q h f", [LOW, MEDIUM, HIGH], MEDIUM, 1, (0, 2)),
        ("q h f", [LOW, MEDIUM, HIGH], LOW, 0, (1, 2)),
        ("f h q", [], HIGH, 0, (1, 2)),
        ("q h", [LOW, HIGH], MEDIUM, 1, (0,)),
        ("q h", [MEDIUM, HIGH], LOW, 0, (1,)),
        ("q h", [LOW, MEDIUM], HIGH, 1, (0,)),
        ("a b", [], HIGH, 0, (1,)),
        ("a b", [], MEDIUM, 0, (1,)),
        ("a b", [], LOW, 1, (0,)),
        ("a", [], LOW, 0, ()),
    ],
)
def test_a_quality_means_the_layer_that_stands_for_it_and_then_worse_ones(
    rids, announced, wanted, target, otherwise
) -> None:
    layers = arrange(rids.split(), [Layer(quality=quality) for quality in announced])

    assert policy(layers, LayerWish(ByQuality(wanted))) == LayerPolicy(target, otherwise)


@pytest.mark.parametrize(
    ("layers", "width", "height", "rid"),
    [
        (QHF, 288, 162, "q"),
        (QHF, 320, 180, "q"),
        (QHF, 322, 181, "h"),
        (QHF, 640, 360, "h"),
        (QHF, 641, 361, "f"),
        (QHF, 4000, 3000, "f"),
        # Heights are compared whichever way the picture is turned.
        (QHF, 180, 320, "h"),
        # Two layers of one size: the better of the two.
        ((Layer("q", LOW, 640, 360), Layer("h", MEDIUM, 640, 360), Layer("f", HIGH, 1280, 720)), 320, 180, "h"),
        # Nothing is known of their sizes.
        (arrange("abc", []), 320, 180, "c"),
        (arrange("abc", []), 640, 360, "b"),
        (arrange("abc", []), 640, 361, "a"),
        (arrange("abc", []), 180, 320, "c"),
        (arrange("ab", []), 320, 180, "b"),
        (arrange("ab", []), 640, 360, "a"),
    ],
)
def test_a_size_means_the_smallest_layer_that_is_as_high(layers, width, height, rid) -> None:
    chosen = policy(layers, LayerWish(BySize(width, height)))

    assert layers[chosen.target].rid == rid
    assert {chosen.target, *chosen.when_missing} == set(range(len(layers)))


@pytest.mark.parametrize(("fps", "layer"), [(0, None), (5, 0), (7, 0), (8, 1), (15, 1), (16, None), (60, None)])
def test_a_rate_means_the_temporal_layers_that_reach_it(fps: int, layer: int | None) -> None:
    for layers in ((), QHF):
        assert policy(layers, LayerWish(max_fps=fps)).max_temporal == layer


def test_a_track_without_layers_is_forwarded_whatever_is_wished() -> None:
    for choice in (ByRid("b"), ByQuality(LOW), BySize(10, 10)):
        assert policy((), LayerWish(choice)) == LayerPolicy()


@pytest.mark.parametrize(
    ("layers", "wanted", "quality"),
    [(QHF, (), None), (QHF, (0,), LOW), (QHF, (0, 1), MEDIUM), (QHF, (2,), HIGH), ((), (0,), HIGH), ((), (), None)],
)
def test_the_best_quality_that_is_wanted(layers, wanted, quality) -> None:
    assert best(layers, wanted) is quality


# What the engine is told.


async def test_a_subscriber_is_sent_the_layer_its_connection_says_until_it_says_another(
    core: Core, join: Callable[..., Seat], fake_engine: FakeEngine
) -> None:
    ada, bob = join("ada"), join("bob")
    track = await _publish(core, ada)
    consumer = await _subscribe(core, fake_engine, bob, track)
    assert consumer.policy == LayerPolicy(2, (1, 0))

    core.rooms.prefer(bob.id, track, LayerWish(ByQuality(LOW), max_fps=10))

    assert consumer.policy == LayerPolicy(0, (1, 2), max_temporal=1)
    [switched] = of_type(read(bob), SubscriptionSwitched)
    assert switched.subscription.layers == LayerWish(ByQuality(LOW), max_fps=10)


async def test_layers_that_have_no_names_are_numbered_down_to_the_best(core: Core, join: Callable[..., Seat]) -> None:
    ada = join("ada")
    track = core.rooms.announce(ada.id, kind=Kind.VIDEO, layers=_announced()).id
    peer, client = core.peers.open(ada.id, publishing()), Client(seed=3)
    offer = client.offer(cam=VP8)
    old_kind = "a=sendonly\r\na=ssrc-group:SIM 1 2 3\r\na=ssrc:1 cname:c\r\na=ssrc:2 cname:c\r\na=ssrc:3 cname:c\r\n"

    await core.peers.take_offer(peer.id, offer.replace("a=sendonly\r\n", old_kind), take({"cam": track}))

    [published] = core.rooms.participant(ada.id).tracks
    assert [(layer.rid, layer.height) for layer in published.layers] == [("2", 180), ("1", 360), ("0", 720)]


async def test_a_wish_may_come_before_the_subscription_and_before_the_track(
    core: Core, join: Callable[..., Seat], fake_engine: FakeEngine
) -> None:
    ada, bob = join("ada"), join("bob")
    announced = core.rooms.announce(ada.id, kind=Kind.VIDEO, layers=_announced())
    core.rooms.prefer(bob.id, announced.id, LayerWish(ByQuality(MEDIUM)))
    core.rooms.set_enabled(bob.id, announced.id, False)

    consumer = await _subscribe(core, fake_engine, bob, await _publish(core, ada, announced.id))

    assert consumer.policy == LayerPolicy(1, (0, 2))
    assert consumer.is_paused


async def test_the_same_wish_again_tells_the_engine_nothing(
    core: Core, join: Callable[..., Seat], fake_engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob = join("ada"), join("bob")
    track = await _publish(core, ada)
    consumer = await _subscribe(core, fake_engine, bob, track)
    told: list[LayerPolicy] = []
    monkeypatch.setattr(consumer, "set_policy", told.append)

    for wish in (LOW, LOW, LOW, HIGH):
        core.rooms.prefer(bob.id, track, LayerWish(ByQuality(wish)))

    assert [one.target for one in told] == [0, 2]


async def test_what_is_not_shown_is_held_back_before_it_could_be_asked_for(
    core: Core, join: Callable[..., Seat], fake_engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(FakeConsumer, "set_source", lambda *_: told.append("source"))
    monkeypatch.setattr(FakeConsumer, "pause", lambda _: told.append("pause"))
    ada, bob = join("ada"), join("bob")
    track = await _publish(core, ada)
    core.rooms.set_enabled(bob.id, track, False)

    await _subscribe(core, fake_engine, bob, track)

    assert told == ["pause", "source"]


async def test_sound_has_no_layers(core: Core, call: Call) -> None:
    ada, bob = call("ada"), call("bob")
    pulled = await bob.pull((await ada.publish(mic=OPUS))["mic"])

    core.rooms.prefer_pulled(bob.seat.id, pulled.id, LayerWish(ByRid("b")))

    assert bob.consumer(pulled.mid or "").policy is None


async def test_a_pull_changes_its_layer_while_an_offer_is_open(core: Core, call: Call) -> None:
    ada, bob = call("ada"), call("bob")
    tracks = await ada.publish("a", "b", cam=VP8, screen=VP8)
    first = await bob.pull(tracks["cam"])
    second = bob.ask(tracks["screen"])
    offer = await core.peers.make_offer(bob.peer.id)
    assert offer is not None

    for pulled in (first, second):
        core.rooms.prefer_pulled(bob.seat.id, pulled.id, LayerWish(ByRid("b")))

    assert bob.consumer(first.mid or "").policy == LayerPolicy(1)
    await core.peers.take_answer(bob.peer.id, bob.client.answer(offer.sdp))
    assert bob.consumer(bob.now(second).mid or "").policy == LayerPolicy(1)


async def test_another_source_comes_with_its_own_choice_of_layers(
    core: Core, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob = call("ada"), call("bob")
    tracks = await ada.publish("a", "b", cam=VP8, screen=VP8)
    pulled = await bob.pull(tracks["cam"])
    consumer = bob.consumer(pulled.mid or "")
    told: list[tuple[object, LayerPolicy | None]] = []
    monkeypatch.setattr(consumer, "set_source", lambda source, policy=None: told.append((source, policy)))
    monkeypatch.setattr(consumer, "set_policy", lambda policy: told.append((None, policy)))

    core.rooms.pull(bob.seat.id, tracks["screen"], bob.peer.id, pulled.mid, LayerWish(ByRid("b")))

    [(source, policy)] = told
    assert source is ada.transport.producers[ada.client.mids["screen"]]
    assert policy == LayerPolicy(1)


# What the engine tells.


async def test_a_publisher_is_told_which_layers_arrive_and_which_are_wanted(
    core: Core, join: Callable[..., Seat], fake_engine: FakeEngine
) -> None:
    ada, bob = join("ada"), join("bob")
    track = await _publish(core, ada)
    read(bob)
    [mid] = _transport(core, fake_engine, ada).producers
    transport = _transport(core, fake_engine, ada)

    transport.receive_media(mid, 0)
    transport.receive_media(mid, 2)
    transport.want_layers(mid, 2)
    first = read(ada)
    transport.stop_layer(mid, 0)
    transport.want_layers(mid)

    # Of what it has not read by then it gets the last state only.
    assert of_type(first, LayersArriving) == [LayersArriving(ada.id, track, (0, 2))]
    assert of_type(first, LayersWanted) == [LayersWanted(ada.id, track, (2,))]
    second = read(ada)
    assert of_type(second, LayersArriving) == [LayersArriving(ada.id, track, (2,))]
    assert of_type(second, LayersWanted) == [LayersWanted(ada.id, track, ())]
    assert of_type(read(bob), LayersWanted) == []


async def test_a_subscriber_is_told_which_layer_it_gets(
    core: Core, join: Callable[..., Seat], fake_engine: FakeEngine
) -> None:
    ada, bob = join("ada"), join("bob")
    track = await _publish(core, ada)
    consumer = await _subscribe(core, fake_engine, bob, track)

    _transport(core, fake_engine, bob).forward_layer(consumer.mid, 1)

    [told] = of_type(read(bob), LayerForwarded)
    assert (told.subscription.track, told.layer) == (track, 1)


# For these tests.


def _announced() -> tuple[Layer, ...]:
    return tuple(Layer(quality=layer.quality, width=layer.width, height=layer.height) for layer in QHF)


def _transport(core: Core, engine: FakeEngine, seat: Seat):
    [peer] = core.peers.of(seat.id)
    return engine.transports[peer.transport.id]


async def _publish(core: Core, seat: Seat, track: TrackId | None = None) -> TrackId:
    if track is None:
        track = core.rooms.announce(seat.id, kind=Kind.VIDEO, layers=_announced()).id
    client = Client(seed=3)
    peer = core.peers.open(seat.id, publishing())
    client.rids["cam"] = "qhf"
    answer = await core.peers.take_offer(peer.id, client.offer(cam=VP8), take({"cam": track}))
    client.take_answer(answer.sdp)
    return track


async def _subscribe(core: Core, engine: FakeEngine, seat: Seat, track: TrackId) -> FakeConsumer:
    peer = core.peers.open(seat.id, receiving(layers=LayerWish(ByQuality(HIGH))))
    offer = await core.peers.make_offer(peer.id)
    assert offer is not None
    await core.peers.take_answer(peer.id, Client(seed=4).answer(offer.sdp))
    [mid] = [mid for mid, carried in offer.sending.items() if carried == track]
    return engine.transports[peer.transport.id].consumers[Mid(mid)]
