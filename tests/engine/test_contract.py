"""What core relies on, asserted of the fake engine and of the real one alike."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from parley.engine.engine import Channel, Engine, Message, OnFull
from parley.engine.errors import BadValue, EngineBusy, EngineClosed, EngineRefused, EngineTimeout
from parley.engine.events import (
    ChannelClosed,
    ChannelOpen,
    DtlsConnected,
    EngineEvent,
    FirstPacket,
    IceSelected,
    Overflow,
    TransportPhase,
    TransportState,
)
from parley.engine.specs import Flow, Kind, LayerPolicy, Mid, Setup
from tests.engine.conftest import Call, Rig
from tests.engine.inbox import Inbox
from tests.engine.peers import DATA, OPUS, PATIENCE_S, Ear, PeerChannel, receiving, sending

pytestmark = pytest.mark.anyio

END_RECV = ((Mid("0"), Flow.RECV),)


async def connected(rig: Rig, engine: Engine) -> Call:
    """A connected call with data channels."""
    call = await rig.call(engine, data=DATA)
    await call.peer.connect()
    await call.ear.reach(TransportPhase.CONNECTED)
    return call


# Transports.


async def test_a_new_transport_says_at_once_what_a_description_needs(engine: Engine) -> None:
    params = engine.create_transport(group=1, on_event=Ear()).params

    assert len(params.ufrag) >= 4
    assert len(params.pwd) >= 22
    assert params.fingerprint.startswith("sha-256 ")
    assert params.candidates
    assert all(text.startswith("candidate:") and text.endswith("typ host") for text in params.candidates)
    assert params.lite


async def test_no_two_transports_share_an_id_or_credentials(engine: Engine) -> None:
    first, second = (engine.create_transport(group=1, on_event=Ear()) for _ in range(2))

    assert first.id != second.id
    assert first.params.ufrag != second.params.ufrag
    assert first.params.pwd != second.params.pwd


async def test_a_peer_that_connects_is_told_step_by_step(rig: Rig, engine: Engine) -> None:
    call = await connected(rig, engine)

    steps = [
        type(event).__name__
        for event in call.ear.heard
        if isinstance(event, IceSelected | DtlsConnected | TransportState)
    ]
    dtls = call.ear.of(DtlsConnected)[0]

    assert call.ear.phases == [TransportPhase.CHECKING, TransportPhase.CONNECTED]
    assert steps.index("IceSelected") < steps.index("DtlsConnected") < len(steps) - 1
    assert dtls.transport == call.transport.id
    assert dtls.version.startswith("DTLS 1.")
    assert dtls.srtp_profile is not None
    assert dtls.srtp_profile.startswith("SRTP_")


async def test_stats_tell_the_phase(rig: Rig, engine: Engine) -> None:
    call = await rig.call(engine, data=DATA)
    before = await call.transport.stats()

    await call.peer.connect()
    await call.ear.reach(TransportPhase.CONNECTED)
    after = await call.transport.stats()

    assert before.phase is TransportPhase.NEW
    assert after.phase is TransportPhase.CONNECTED


async def test_a_peer_that_hangs_up_is_told_as_closed(rig: Rig, engine: Engine) -> None:
    call = await connected(rig, engine)

    await call.peer.hang_up()

    assert (await call.ear.reach(TransportPhase.CLOSED)).reason == "peer"


async def test_a_peer_that_falls_silent_is_disconnected_and_then_failed(rig: Rig) -> None:
    engine = rig.open(disconnected_s=0.5, failed_s=1.0)
    call = await connected(rig, engine)

    await call.peer.vanish()
    failed = await call.ear.reach(TransportPhase.FAILED)

    assert failed.reason == "timeout"
    assert call.ear.phases[-2:] == [TransportPhase.DISCONNECTED, TransportPhase.FAILED]


async def test_a_restart_mints_fresh_credentials_and_keeps_the_rest(engine: Engine) -> None:
    transport = engine.create_transport(group=1, on_event=Ear())
    before = transport.params

    after = transport.restart_ice()

    assert transport.params == after
    assert after.ufrag != before.ufrag
    assert after.pwd != before.pwd
    assert (after.fingerprint, after.candidates) == (before.fingerprint, before.candidates)


async def test_a_closed_transport_refuses_everything_and_says_nothing(rig: Rig, engine: Engine) -> None:
    call = await connected(rig, engine)
    heard = len(call.ear.heard)

    call.transport.close()
    call.transport.close()
    with pytest.raises(EngineClosed, match=f"transport {call.transport.id} is closed"):
        await call.transport.apply(data=DATA)
    with pytest.raises(EngineClosed):
        call.transport.restart_ice()
    with pytest.raises(EngineClosed):
        call.transport.open_channel("late")
    await (engine.create_transport(group=1, on_event=Ear())).stats()  # answered after whatever the close says

    assert len(call.ear.heard) == heard


async def test_there_are_no_more_transports_than_allowed(rig: Rig) -> None:
    engine = rig.open(max_transports=2)
    first, _ = (engine.create_transport(group=1, on_event=Ear()) for _ in range(2))

    with pytest.raises(EngineRefused, match="2 of 2"):
        engine.create_transport(group=1, on_event=Ear())
    first.close()
    await settled(engine, transports=1)

    engine.create_transport(group=1, on_event=Ear())


async def test_one_group_cannot_take_every_transport(rig: Rig) -> None:
    engine = rig.open(max_transports_per_group=2)
    first, _ = (engine.create_transport(group=1, on_event=Ear()) for _ in range(2))

    with pytest.raises(EngineRefused, match="no more transports in this group: 2 of 2 exist"):
        engine.create_transport(group=1, on_event=Ear())
    engine.create_transport(group=2, on_event=Ear())
    first.close()
    await settled(engine, transports=2)

    engine.create_transport(group=1, on_event=Ear())


async def test_a_closed_engine_refuses_everything_but_its_counters(rig: Rig) -> None:
    engine = rig.open()
    transport = engine.create_transport(group=1, on_event=Ear())

    await engine.close()
    await engine.close()

    with pytest.raises(EngineClosed, match="engine"):
        engine.create_transport(group=1, on_event=Ear())
    with pytest.raises(EngineClosed):
        await transport.apply(data=DATA)
    assert engine.counters()["transports"] == 0


async def test_an_idle_engine_has_room(engine: Engine) -> None:
    assert engine.has_room()
    assert engine.has_room(100)


async def test_a_full_queue_refuses_before_anything_has_changed(rig: Rig) -> None:
    engine = rig.open(command_queue=16, max_pending=100_000, max_transports=100_000)

    with pytest.raises(EngineBusy, match="command"):
        rig.fill(engine)
    rig.drain(engine)
    async with asyncio.timeout(PATIENCE_S):
        while not engine.has_room(16):  # noqa: ASYNC110, a number is read
            await asyncio.sleep(0.01)

    transport = engine.create_transport(group=1, on_event=Ear())
    assert (await transport.stats(deadline_s=PATIENCE_S)).phase is TransportPhase.NEW


async def test_events_that_are_lost_are_told(rig: Rig) -> None:
    engine = rig.open(event_queue=64)
    told: asyncio.Queue[EngineEvent] = asyncio.Queue()
    engine.on_event(told.put_nowait)

    rig.overflow(engine)
    async with asyncio.timeout(PATIENCE_S):
        event = await told.get()

    assert isinstance(event, Overflow)
    assert event.lost > 0


async def test_an_answer_that_does_not_come_in_time_is_told_and_the_next_one_counts(rig: Rig, engine: Engine) -> None:
    call = await rig.call(engine)

    with pytest.raises(EngineTimeout, match="apply"):
        await call.transport.apply(recv=[receiving("0")], deadline_s=rig.ignore(call))
    applied = await call.transport.apply(recv=[receiving("1")])

    assert list(applied.producers) == ["1"]


# What is negotiated.


async def test_every_section_gets_its_producer_or_consumer(rig: Rig, engine: Engine) -> None:
    call = await rig.call(
        engine, recv=[receiving("0"), receiving("1", Kind.VIDEO)], send=[sending("2", 1000), sending("3", 2000)]
    )
    producers, consumers = call.applied.producers, call.applied.consumers

    assert {mid: p.kind for mid, p in producers.items()} == {"0": Kind.AUDIO, "1": Kind.VIDEO}
    assert {mid: c.kind for mid, c in consumers.items()} == {"2": Kind.AUDIO, "3": Kind.AUDIO}
    assert all(producer.mid == mid for mid, producer in producers.items())
    assert len({*(p.id for p in producers.values()), *(c.id for c in consumers.values())}) == 4


async def test_a_section_that_changes_keeps_its_producer(rig: Rig, engine: Engine) -> None:
    call = await rig.call(engine, recv=[receiving("0")])

    changed = replace(receiving("0"), nack=False)
    again = await call.transport.apply(recv=[changed])

    assert again.producers[Mid("0")] is call.applied.producers[Mid("0")]


async def test_a_section_that_begins_anew_is_a_new_producer(rig: Rig, engine: Engine) -> None:
    call = await rig.call(engine, recv=[receiving("0")])

    await call.transport.apply(end=END_RECV)
    again = await call.transport.apply(recv=[receiving("0")])

    assert again.producers[Mid("0")].id != call.applied.producers[Mid("0")].id


async def test_ending_what_does_not_exist_is_no_error(rig: Rig, engine: Engine) -> None:
    call = await rig.call(engine)

    applied = await call.transport.apply(end=[(Mid("0"), Flow.RECV), (Mid("7"), Flow.SEND)])

    assert not applied.producers
    assert not applied.consumers


async def test_a_bad_value_is_refused_by_its_name_before_anything_changes(rig: Rig, engine: Engine) -> None:
    call = await rig.call(engine)
    bad = replace(receiving("1"), codecs=(replace(OPUS, pt=200),))

    with pytest.raises(BadValue, match="200"):
        await call.transport.apply(recv=[receiving("0"), bad])
    with pytest.raises(BadValue):
        await call.transport.apply(recv=[replace(receiving("0"), kind=Kind.DATA)])
    with pytest.raises(BadValue):
        await call.transport.apply(recv=[replace(receiving("0"), codecs=())])

    await settled(engine, producers=0)


async def test_two_senders_of_a_transport_cannot_share_an_ssrc(rig: Rig, engine: Engine) -> None:
    call = await rig.call(engine, send=[sending("0", 1000)])

    with pytest.raises(EngineRefused, match="1000"):
        await call.transport.apply(recv=[receiving("2")], send=[sending("1", 1000)])

    await settled(engine, producers=0, consumers=1)


async def test_a_peer_that_will_not_open_the_handshake_is_refused(rig: Rig, engine: Engine) -> None:
    call = await rig.call(engine)
    remote = replace(call.peer.remote(), setup=Setup.PASSIVE)
    transport = engine.create_transport(group=1, on_event=Ear())

    with pytest.raises(EngineRefused, match="passive"):
        await transport.apply(remote=remote)


async def test_a_transport_with_full_ice_says_so_and_opens_the_handshake(rig: Rig, engine: Engine) -> None:
    call = await rig.call(engine)
    remote = replace(call.peer.remote(), setup=Setup.PASSIVE, controls=False)
    transport = engine.create_transport(group=1, on_event=Ear(), lite=False)

    await transport.apply(remote=remote)

    assert call.transport.params.lite
    assert not transport.params.lite
    assert not transport.restart_ice().lite


async def test_the_first_packet_of_a_producer_is_told_once(rig: Rig, engine: Engine) -> None:
    call = await rig.call(engine, recv=[receiving("0")], data=DATA)
    await call.peer.connect()

    await call.peer.speak("0")
    first = await call.ear.hear(FirstPacket)
    await call.transport.stats()

    assert (first.producer, first.mid) == (call.applied.producers[Mid("0")].id, "0")
    assert (first.layer, first.codec) == (0, "opus")
    assert len(call.ear.of(FirstPacket)) == 1


async def test_a_consumer_takes_a_source_of_another_transport_and_loses_it(rig: Rig, engine: Engine) -> None:
    speaker = await rig.call(engine, recv=[receiving("0")])
    listener = await rig.call(engine, send=[sending("0", 1000)])
    consumer = listener.applied.consumers[Mid("0")]

    consumer.set_source(speaker.applied.producers[Mid("0")])
    speaker.transport.close()
    consumer.request_keyframe()
    consumer.set_source(None)

    await settled(engine, transports=1, producers=0, consumers=1)


async def test_a_consumer_is_given_a_policy_with_its_source_or_later(rig: Rig, engine: Engine) -> None:
    speaker = await rig.call(engine, recv=[receiving("0", Kind.VIDEO)])
    viewer = await rig.call(engine, send=[sending("0", 1000, Kind.VIDEO)])
    consumer = viewer.applied.consumers[Mid("0")]

    consumer.set_source(speaker.applied.producers[Mid("0")], LayerPolicy(target=2, when_missing=(1, 0)))
    consumer.set_policy(LayerPolicy(max_temporal=1))
    speaker.transport.close()
    consumer.set_source(None)

    assert (await viewer.transport.stats()).phase is TransportPhase.NEW


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        (LayerPolicy(target=256), "256"),
        (LayerPolicy(when_missing=(0, -1)), "-1"),
        (LayerPolicy(when_missing=(0,) * 9), "when_missing"),
        (LayerPolicy(max_temporal=4), "max_temporal"),
    ],
    ids=["target", "when_missing", "too many", "max_temporal"],
)
async def test_a_policy_that_cannot_be_is_refused(rig: Rig, engine: Engine, policy: LayerPolicy, named: str) -> None:
    call = await rig.call(engine, send=[sending("0", 1000, Kind.VIDEO)])
    consumer = call.applied.consumers[Mid("0")]

    with pytest.raises(BadValue, match=named):
        consumer.set_policy(policy)
    with pytest.raises(BadValue, match=named):
        consumer.set_source(None, policy)


# Data channels.


async def test_a_channel_the_peer_opens_is_told_with_its_properties(rig: Rig, engine: Engine) -> None:
    call = await connected(rig, engine)

    await call.peer.open_channel("lossy", protocol="chat", ordered=False, max_retransmits=2)
    opened = await call.ear.hear(ChannelOpen)

    assert opened.remote
    assert (opened.channel.label, opened.channel.protocol) == ("lossy", "chat")
    assert (opened.channel.ordered, opened.channel.max_retransmits) == (False, 2)
    assert opened.channel.max_lifetime_ms is None


async def test_messages_wait_for_a_listener_and_then_come_in_order(rig: Rig, engine: Engine) -> None:
    call = await connected(rig, engine)
    inbox = Inbox()

    theirs = await call.peer.open_channel("chat")
    theirs.send("before")
    theirs.send(b"\x00\x01")
    ours = (await call.ear.hear(ChannelOpen)).channel
    ours.listen(inbox)
    first, second = await inbox.next(), await inbox.next()
    theirs.send("after")

    assert first == Message(b"before", text=True)
    assert second == Message(b"\x00\x01", text=False)
    assert await inbox.next() == Message(b"after", text=True)


async def test_messages_go_to_the_peer_as_text_or_bytes(rig: Rig, engine: Engine) -> None:
    call = await connected(rig, engine)
    theirs = await call.peer.open_channel("chat")
    ours = (await call.ear.hear(ChannelOpen)).channel

    assert ours.send("grüß dich".encode(), text=True)
    assert ours.send(bytes(range(256)))

    assert await theirs.receive() == Message("grüß dich".encode(), text=True)
    assert await theirs.receive() == Message(bytes(range(256)), text=False)


async def test_a_channel_we_open_is_usable_at_once_and_told_when_open(rig: Rig, engine: Engine) -> None:
    call = await rig.call(engine, data=DATA)
    inbox = Inbox()

    ours = call.transport.open_channel("_lossy", ordered=False, max_retransmits=0)
    ours.listen(inbox)
    assert ours.send(b"early")
    await call.peer.connect()
    opened = await call.ear.hear(ChannelOpen)
    theirs = await call.peer.channel("_lossy")
    theirs.send(b"back")

    assert opened.channel is ours
    assert not opened.remote
    assert (await theirs.receive()).data == b"early"
    assert (await inbox.next()).data == b"back"


async def test_a_broadcast_reaches_every_channel_and_counts_them(rig: Rig, engine: Engine) -> None:
    calls = [await connected(rig, engine) for _ in range(2)]
    theirs = [await call.peer.open_channel("all") for call in calls]
    ours = [(await call.ear.hear(ChannelOpen)).channel for call in calls]

    taken = engine.broadcast(ours, b"to everyone")

    assert taken == 2
    assert [(await channel.receive()).data for channel in theirs] == [b"to everyone"] * 2


async def paired(rig: Rig, engine: Engine, count: int) -> list[tuple[Call, PeerChannel, Channel]]:
    """So many connected calls, each with a channel: the peer's end and ours."""
    found = []
    for _ in range(count):
        call = await connected(rig, engine)
        theirs = await call.peer.open_channel("linked")
        found.append((call, theirs, (await call.ear.hear(ChannelOpen)).channel))
    return found


async def test_a_link_passes_messages_on_as_they_came(rig: Rig, engine: Engine) -> None:
    (_, speaker, source), *others = await paired(rig, engine, 3)
    for _, _, ours in others:
        source.link(ours)
        source.link(ours)

    said = [Message(b"text", True), Message(b"\x00\xff"), Message(b"", True), Message(b""), Message(bytes(50_000))]
    for message in said:
        speaker.send(message.data.decode() if message.text else message.data)

    for _, theirs, _ in others:
        assert [await theirs.receive() for _ in said] == said
    await settled(engine, links=2)


async def test_what_was_held_goes_to_the_first_link_and_to_no_other(rig: Rig, engine: Engine) -> None:
    (_, speaker, source), (_, first, to_first), (_, second, to_second) = await paired(rig, engine, 3)
    inbox = Inbox()
    source.listen(inbox, once=True)

    for text in ("heard", "held", "held too"):
        speaker.send(text)
    assert (await inbox.next()).data == b"heard"
    source.link(to_first)
    assert [(await first.receive()).data for _ in range(2)] == [b"held", b"held too"]
    source.link(to_second)
    speaker.send("to both")

    assert (await first.receive()).data == b"to both"
    assert (await second.receive()).data == b"to both"
    assert inbox.is_empty


async def test_two_channels_may_be_linked_to_each_other(rig: Rig, engine: Engine) -> None:
    (_, ada, to_ada), (_, bob, to_bob) = await paired(rig, engine, 2)
    to_ada.link(to_bob)
    to_bob.link(to_ada)

    for number in range(20):
        ada.send(f"ada {number}")
        bob.send(f"bob {number}")

    assert [(await bob.receive()).data for _ in range(20)] == [b"ada %d" % number for number in range(20)]
    assert [(await ada.receive()).data for _ in range(20)] == [b"bob %d" % number for number in range(20)]


async def test_a_listener_hears_beside_links_and_nothing_once_it_ignores(rig: Rig, engine: Engine) -> None:
    (_, speaker, source), (_, theirs, ours) = await paired(rig, engine, 2)
    inbox = Inbox()
    source.listen(inbox)
    source.link(ours)

    speaker.send("both")
    assert (await theirs.receive()).data == (await inbox.next()).data == b"both"
    source.ignore()
    speaker.send("link alone")
    assert (await theirs.receive()).data == b"link alone"

    assert inbox.is_empty


async def test_what_is_ignored_is_not_held(rig: Rig, engine: Engine) -> None:
    (call, speaker, source), (_, theirs, ours) = await paired(rig, engine, 2)
    later, arrived = await call.peer.open_channel("later"), Inbox()
    opened = await call.ear.hear(ChannelOpen, lambda event: event.channel.label == "later")
    opened.channel.listen(arrived)

    async def say(text: str) -> None:
        speaker.send(text)
        later.send("and it has arrived")
        await arrived.next()

    await say("held")
    source.ignore()
    await say("ignored")
    source.link(ours)
    await say("passed on")
    source.unlink(ours)
    source.unlink(ours)
    await settled(engine, links=0)
    await say("ignored as before")
    source.link(ours)
    await say("passed on again")

    assert [(await theirs.receive()).data for _ in range(2)] == [b"passed on", b"passed on again"]


async def test_a_link_that_is_full_answers_for_itself_alone(rig: Rig, engine: Engine) -> None:
    (_, speaker, source), (_, theirs, ours) = await paired(rig, engine, 2)
    # Nobody is there yet, so whatever is passed on waits.
    waiting = await rig.call(engine, data=DATA)
    refusing = waiting.transport.open_channel("refusing")
    closing = waiting.transport.open_channel("closing")
    refusing.set_limit(1000, OnFull.DROP_NEW)
    closing.set_limit(1000, OnFull.CLOSE)
    for to in (refusing, closing, ours):
        source.link(to)

    for _ in range(4):
        speaker.send(bytes(400))
    got = [await theirs.receive() for _ in range(4)]

    assert [len(one.data) for one in got] == [400] * 4
    closed = await waiting.ear.hear(ChannelClosed)
    assert (closed.channel, closed.reason) == (closing, "full")
    assert refusing.buffered == 800
    await settled(engine, links=2)


async def test_links_end_with_either_of_their_channels(rig: Rig, engine: Engine) -> None:
    (call, _, source), (_, theirs, ours), (_, _, other) = await paired(rig, engine, 3)
    for to in (ours, other):
        source.link(to)
        to.link(source)
    await settled(engine, links=4)

    theirs.close()
    await settled(engine, links=2)
    source.link(ours)
    other.close()
    await settled(engine, links=0)
    source.link(source)
    await settled(engine, links=1)
    call.transport.close()

    await settled(engine, links=0)


async def test_a_channel_has_so_many_links_and_no_more(rig: Rig, engine: Engine) -> None:
    transports = [engine.create_transport(group=1, on_event=Ear()) for _ in range(2)]
    source, *others = [transport.open_channel("x") for transport in transports for _ in range(513)]
    await settled(engine, channels=1026)

    for other in others[:1024]:
        source.link(other)
    with pytest.raises(EngineRefused, match="1024 of 1024"):
        source.link(others[1024])
    source.unlink(others[0])
    await settled(engine, links=1023)

    source.link(others[1024])


async def test_a_channel_the_peer_closes_is_told_and_takes_no_more(rig: Rig, engine: Engine) -> None:
    call = await connected(rig, engine)
    theirs = await call.peer.open_channel("chat")
    ours = (await call.ear.hear(ChannelOpen)).channel

    theirs.close()
    closed = await call.ear.hear(ChannelClosed)

    assert closed.channel is ours
    assert closed.reason == "peer"
    assert not ours.send(b"too late")


async def test_a_channel_we_close_is_closed_for_the_peer_and_not_told(rig: Rig, engine: Engine) -> None:
    call = await connected(rig, engine)
    theirs = await call.peer.open_channel("chat")
    ours = (await call.ear.hear(ChannelOpen)).channel

    ours.close()
    ours.close()
    await theirs.closed()
    await call.transport.stats()

    assert not call.ear.of(ChannelClosed)
    assert not ours.send(b"too late")


async def test_a_message_larger_than_the_peer_takes_is_refused(rig: Rig, engine: Engine) -> None:
    call = await connected(rig, engine)
    await call.peer.open_channel("chat")
    ours = (await call.ear.hear(ChannelOpen)).channel

    with pytest.raises(BadValue, match=r"larger|at most"):
        ours.send(bytes(DATA.max_message_size + 1))

    assert ours.send(bytes(DATA.max_message_size))


async def test_a_full_channel_refuses_what_is_new_when_told_to(rig: Rig, engine: Engine) -> None:
    call = await rig.call(engine, data=DATA)
    ours = call.transport.open_channel("slow")

    ours.set_limit(1000, OnFull.DROP_NEW)
    taken = [ours.send(bytes(400)) for _ in range(4)]

    assert taken == [True, True, False, False]
    assert ours.buffered == 800


async def test_impossible_channel_options_are_refused(engine: Engine) -> None:
    transport = engine.create_transport(group=1, on_event=Ear())

    with pytest.raises(BadValue):
        transport.open_channel("both", max_retransmits=1, max_lifetime_ms=100)
    with pytest.raises(BadValue):
        transport.open_channel("no stream", negotiated=True)


# Leaving nothing behind.


async def test_counters_return_to_nothing_when_transports_close(rig: Rig, engine: Engine) -> None:
    call = await rig.call(engine, recv=[receiving("0")], send=[sending("1", 1000)], data=DATA)
    await call.peer.connect()
    await call.peer.open_channel("chat")
    await call.ear.hear(ChannelOpen)
    await settled(engine, transports=1, producers=1, consumers=1, channels=1)

    call.transport.close()

    await settled(engine, transports=0, producers=0, consumers=0, channels=0)


async def settled(engine: Engine, **expected: int) -> None:
    """Wait until these counters have these values; the real engine publishes them now and then."""
    async with asyncio.timeout(PATIENCE_S):
        while {name: engine.counters().get(name) for name in expected} != expected:  # noqa: ASYNC110, a number is read
            await asyncio.sleep(0.02)
