"""Data from channel to channel, in each recipient's own form."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from parley.core.core import Core
from parley.core.data import Data, DataStyle
from parley.core.errors import NotAllowed
from parley.core.events import DataReceived, ParticipantLeft
from parley.core.grants import Grant
from parley.core.model import LeaveReason, Limits, Participant
from parley.core.rooms import Seat
from parley.engine.specs import DataSpec
from tests.core.clients import Client, publishing, receiving
from tests.core.conftest import ACME, of_type, read
from tests.fakes import FakeClock, FakeEngine, FakeTransport

pytestmark = pytest.mark.anyio

Join = Callable[..., Seat]
writes: list[str] = []


def read_plain(sender: Participant, label: str, message: bytes) -> Data | None:
    """`bob,cyd:text` to a message; without a colon it is for everybody; empty is nothing."""
    if not message:
        return None
    to, _, payload = message.rpartition(b":")
    names = tuple(name.decode() for name in to.split(b",") if name)
    return Data(payload=payload, reliable=label == "reliable", to=names)


def write_plain(sender: Participant | None, data: Data) -> bytes | None:
    writes.append("plain")
    return (sender.identity if sender else "server").encode() + b"|" + data.payload


def write_loud(sender: Participant | None, data: Data) -> bytes | None:
    writes.append("loud")
    return data.payload.upper() if data.payload else None


PLAIN = DataStyle(reliable="reliable", lossy="lossy", read=read_plain, write=write_plain)
LOUD = DataStyle(reliable="reliable", lossy="lossy", read=read_plain, write=write_loud)


@pytest.fixture
def connect(core: Core, fake_engine: FakeEngine) -> Callable[[Seat], object]:
    async def connect(seat: Seat) -> FakeTransport:
        """Give a participant its primary peer, connected, with both channels open."""
        peer = core.peers.open(seat.id, receiving())
        offer = await core.peers.make_offer(peer.id)
        assert offer is not None
        await core.peers.take_answer(peer.id, Client().answer(offer.sdp))
        transport = fake_engine.transports[peer.transport.id]
        transport.connect()
        return transport

    return connect


def sent(transport: FakeTransport, label: str = "reliable") -> list[bytes]:
    return [
        message.data for channel in transport.channels.values() if channel.label == label for message in channel.sent
    ]


async def test_a_message_goes_from_one_channel_to_all_others_in_their_own_form(join: Join, connect) -> None:  # type: ignore[no-untyped-def]
    ada, bob, cyd, dan = (join(name, data=PLAIN) for name in ("ada", "bob", "cyd", "dan"))
    eve = join("eve", data=LOUD)
    up, *down = [await connect(seat) for seat in (ada, bob, cyd, dan, eve)]
    writes.clear()

    up.receive_channel("reliable").receive(b"hello")

    assert [sent(transport) for transport in down] == [[b"ada|hello"]] * 3 + [[b"HELLO"]]
    assert sent(up) == []
    assert sorted(writes) == ["loud", "plain"], "a message is written once for all that write alike"


async def test_lossy_data_takes_the_lossy_channel(join: Join, connect) -> None:  # type: ignore[no-untyped-def]
    ada, bob = join("ada", data=PLAIN), join("bob", data=PLAIN)
    up, down = await connect(ada), await connect(bob)

    up.receive_channel("lossy", ordered=False, max_retransmits=0).receive(b"hello")

    assert sent(down, "lossy") == [b"ada|hello"]
    assert sent(down, "reliable") == []


async def test_what_its_dialect_cannot_read_goes_nowhere(join: Join, connect) -> None:  # type: ignore[no-untyped-def]
    ada, bob = join("ada", data=PLAIN), join("bob", data=PLAIN)
    up, down = await connect(ada), await connect(bob)

    up.receive_channel("reliable").receive(b"")

    assert sent(down) == []


async def test_a_recipient_whose_dialect_cannot_say_it_is_left_out(core: Core, join: Join, connect) -> None:  # type: ignore[no-untyped-def]
    ada, eve = join("ada", data=PLAIN), join("eve", data=LOUD)
    down = await connect(eve)

    core.rooms.send(ada.id, Data(payload=b""))

    assert sent(down) == []


async def test_data_without_a_channel_reaches_the_queue_unless_it_is_another_dialects_own(
    core: Core, join: Join
) -> None:
    ada, bob = join("ada"), join("bob")
    read(bob)
    core.rooms.send(ada.id, Data(payload=b"hello", topic="chat"))
    core.rooms.send(ada.id, Data(payload=b"", envelope=object(), opaque=True))
    core.rooms.send_from_server(bob.room.id, Data(payload=b"from above"))

    told = of_type(read(bob), DataReceived)
    assert [(one.sender and one.sender.identity, one.data.payload) for one in told] == [
        ("ada", b"hello"),
        (None, b"from above"),
    ]


async def test_without_the_permission_data_is_dropped_in_silence_on_a_channel(core: Core, join: Join, connect) -> None:  # type: ignore[no-untyped-def]
    ada, bob = join("ada", data=PLAIN, can_publish_data=False), join("bob", data=PLAIN)
    up, down = await connect(ada), await connect(bob)

    up.receive_channel("reliable").receive(b"hello")

    assert sent(down) == []
    with pytest.raises(NotAllowed, match="'ada' may not send data"):
        core.rooms.send(ada.id, Data(payload=b"hello"))


async def test_reliable_data_for_a_joiner_waits_for_its_channel_and_keeps_its_order(
    core: Core,
    join: Join,
    connect,  # type: ignore[no-untyped-def]
) -> None:
    ada, bob = join("ada", data=PLAIN), join("bob", data=PLAIN)
    for number in range(100):
        core.rooms.send(ada.id, Data(payload=b"%d" % number))
    core.rooms.send(ada.id, Data(payload=b"lost", reliable=False))

    down = await connect(bob)
    core.rooms.send(ada.id, Data(payload=b"100"))

    assert sent(down) == [b"ada|%d" % number for number in range(101)]
    assert sent(down, "lossy") == []


async def test_what_waits_for_a_joiner_has_a_bound() -> None:
    engine = FakeEngine()
    core = Core(engine, clock=FakeClock(), random=Random(1), limits=Limits(held_data_bytes=100))
    ada, bob = (
        core.rooms.join(Grant(tenant=ACME, identity=name, room="standup", can_join=True), data=PLAIN)
        for name in ("ada", "bob")
    )
    for _ in range(50):
        core.rooms.send(ada.id, Data(payload=b"123456"))
    peer = core.peers.open(bob.id, receiving())
    offer = await core.peers.make_offer(peer.id)
    assert offer is not None
    await core.peers.take_answer(peer.id, Client().answer(offer.sdp))
    down = engine.transports[peer.transport.id]
    down.connect()

    assert sent(down) == [b"ada|123456"] * 10


async def test_reliable_data_outlasts_a_busy_engine_in_order(
    core: Core,
    join: Join,
    connect,
    fake_engine: FakeEngine,  # type: ignore[no-untyped-def]
) -> None:
    ada, bob = join("ada", data=PLAIN), join("bob", data=PLAIN)
    down = await connect(bob)
    fake_engine.is_busy = True
    core.rooms.send(ada.id, Data(payload=b"1"))
    core.sweep()
    fake_engine.is_busy = False
    core.rooms.send(ada.id, Data(payload=b"2"))
    assert sent(down) == []

    core.sweep()
    core.rooms.send(ada.id, Data(payload=b"3"))

    assert sent(down) == [b"ada|1", b"ada|2", b"ada|3"]


async def test_a_participant_without_the_servers_channels_is_sent_on_its_own(
    core: Core, join: Join, fake_engine: FakeEngine
) -> None:
    ada, bob = join("ada", data=PLAIN), join("bob", data=PLAIN, can_subscribe=False)
    peer = core.peers.open(bob.id, publishing(primary=True))
    transport = fake_engine.transports[peer.transport.id]
    transport.data = DataSpec()
    transport.connect()
    channel = transport.receive_channel("reliable")

    core.rooms.send(ada.id, Data(payload=b"hello"))

    assert [message.data for message in channel.sent] == [b"ada|hello"]


async def test_the_servers_own_channel_is_the_one_that_is_sent_on(core: Core, join: Join, connect) -> None:  # type: ignore[no-untyped-def]
    ada, bob = join("ada", data=PLAIN), join("bob", data=PLAIN)
    down = await connect(bob)
    theirs = down.receive_channel("reliable")

    core.rooms.send(ada.id, Data(payload=b"hello"))

    assert theirs.sent == []
    assert sent(down) == [b"ada|hello"]


async def test_a_reader_too_slow_for_reliable_data_is_disconnected_and_only_it(core: Core, join: Join, connect) -> None:  # type: ignore[no-untyped-def]
    ada, bob, cyd = (join(name, data=PLAIN) for name in ("ada", "bob", "cyd"))
    down, other = await connect(bob), await connect(cyd)
    for channel in list(down.channels.values()):
        channel.buffered = 100_000_000

    core.rooms.send(ada.id, Data(payload=b"hello"))

    assert of_type(read(bob), ParticipantLeft)[-1].reason is LeaveReason.DATA_LOST
    assert sent(other) == [b"ada|hello"]


async def test_a_channel_that_the_client_closes_leaves_it_a_moment_to_say_good_bye(
    core: Core, join: Join, connect, clock
) -> None:  # type: ignore[no-untyped-def]
    ada, bob = (join(name, data=PLAIN) for name in ("ada", "bob"))
    for seat in (ada, bob):
        down = await connect(seat)
        for channel in list(down.channels.values()):
            channel.reset()

    core.rooms.leave(ada.id, LeaveReason.CLIENT_LEFT)
    clock.advance(core.limits.good_bye_s)
    core.sweep()

    assert of_type(read(ada), ParticipantLeft)[-1].reason is LeaveReason.CLIENT_LEFT
    assert of_type(read(bob), ParticipantLeft)[-1].reason is LeaveReason.DATA_LOST
