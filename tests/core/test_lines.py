"""Data channels that are their opener's own affair, and data sections that are asked for later."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from parley.core.core import Core
from parley.core.errors import Busy
from parley.core.peer import Peer
from parley.core.rooms import Seat
from parley.core.style import ChannelStyle
from parley.engine.engine import Message, OnFull
from parley.engine.events import ChannelOpen
from tests.core.clients import Client, publishing
from tests.fakes import FakeChannel, FakeEngine, FakeTransport

pytestmark = pytest.mark.anyio

Join = Callable[..., Seat]


class Notes:
    """A line that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def opened(self) -> None:
        self.told.append("opened")

    def acknowledged(self) -> None:
        self.told.append("acknowledged")

    def ended(self, reason: str) -> None:
        self.told.append(f"ended: {reason}")


@pytest.fixture
async def peer(core: Core, join: Join, anyio_backend: str) -> Peer:
    """A peer without data, on which both sides may offer."""
    return core.peers.open(join("ada").id, publishing(primary=True, data=False, connect_gate_s=0.05))


def transport_of(engine: FakeEngine, peer: Peer) -> FakeTransport:
    return engine.transports[peer.transport.id]


async def bring_up(core: Core, peer: Peer, client: Client) -> None:
    core.peers.want_data(peer.id)
    offer = await core.peers.make_offer(peer.id)
    assert offer is not None
    assert core.peers.offers_data(peer.id)
    await core.peers.take_answer(peer.id, client.answer(offer.sdp))


async def test_a_data_section_is_asked_for_once(core: Core, peer: Peer, fake_engine: FakeEngine) -> None:
    assert await core.peers.make_offer(peer.id) is None
    assert not await core.peers.data_ready(peer.id)

    await bring_up(core, peer, Client())
    transport_of(fake_engine, peer).connect()

    assert core.peers.has_data(peer.id)
    assert await core.peers.data_ready(peer.id)
    core.peers.want_data(peer.id)
    assert await core.peers.make_offer(peer.id) is None


async def test_a_line_is_told_of_its_channel_and_nobody_hears_it(
    core: Core, peer: Peer, fake_engine: FakeEngine
) -> None:
    await bring_up(core, peer, Client())
    transport = transport_of(fake_engine, peer)
    transport.connect()
    notes = Notes()

    channel = core.peers.open_channel(peer.id, ChannelStyle(label="x", id=3, negotiated=True), notes, 1000)
    assert isinstance(channel, FakeChannel)
    transport.hear(ChannelOpen(transport.id, channel, remote=False))
    channel.receive(b"hello")
    channel.reset()

    assert notes.told == ["opened", "ended: peer"]
    assert (channel.limit_bytes, channel.on_full) == (1000, OnFull.CLOSE)
    assert core.peers.channel(peer.participant, "x") is None


async def two_lines(core: Core, join: Join, peer: Peer, fake_engine: FakeEngine, *, ack: bool) -> list[FakeChannel]:
    """A channel of a peer of its own, and one of another peer, both with `Notes` for lines."""
    channels = []
    for one, seed in ((peer, 1), (core.peers.open(join("bob").id, peer.style), 2)):
        await bring_up(core, one, Client(seed))
        transport_of(fake_engine, one).connect()
        style = ChannelStyle(label="x", id=3, negotiated=True)
        channels.append(core.peers.open_channel(one.id, style, Notes(), 10**6, ack=ack))
    return [one for one in channels if isinstance(one, FakeChannel)]


async def test_what_arrives_on_a_line_goes_where_it_is_linked_to(
    core: Core, join: Join, peer: Peer, fake_engine: FakeEngine
) -> None:
    first, second = await two_lines(core, join, peer, fake_engine, ack=False)

    first.receive(b"to nobody")
    core.peers.link(first, second)
    first.receive(b"passed on", text=True)
    core.peers.unlink(peer.id, first, second)
    first.receive(b"to nobody again")

    assert second.sent == [Message(b"passed on", text=True)]


async def test_what_is_behind_an_acknowledgement_waits_for_a_link(
    core: Core, join: Join, peer: Peer, fake_engine: FakeEngine
) -> None:
    first, second = await two_lines(core, join, peer, fake_engine, ack=True)
    line = peer.lines[first.id]
    assert isinstance(line, Notes)

    for message in (b"ack", b"one", b"two"):
        first.receive(message)
    assert line.told == ["acknowledged"]
    core.peers.link(first, second)

    assert [one.data for one in second.sent] == [b"one", b"two"]


async def test_a_link_the_engine_has_no_room_for_is_refused(
    core: Core, join: Join, peer: Peer, fake_engine: FakeEngine
) -> None:
    first, second = await two_lines(core, join, peer, fake_engine, ack=False)
    fake_engine.is_busy = True

    with pytest.raises(Busy):
        core.peers.link(first, second)
    core.peers.unlink(peer.id, first, second)

    assert first.links == []
    assert not peer.is_open  # It may go on saying what it may not.


async def test_a_line_hears_of_the_end_of_its_peer_but_not_of_its_own_closing(
    core: Core, peer: Peer, fake_engine: FakeEngine
) -> None:
    await bring_up(core, peer, Client())
    kept, closed = Notes(), Notes()
    style = ChannelStyle(label="x", id=3, negotiated=True, max_lifetime_ms=50)
    core.peers.open_channel(peer.id, style, kept, 1000)
    other = core.peers.open_channel(peer.id, ChannelStyle(label="y", id=4, negotiated=True), closed, 1000)

    core.peers.close_channel(peer.id, other)
    core.peers.close_channel(peer.id, other)
    core.peers.close(peer.id)
    core.peers.close_channel(peer.id, other)

    assert kept.told == ["ended: transport"]
    assert closed.told == []


async def test_a_message_too_large_for_one_channel_reaches_the_others(
    core: Core, join: Join, peer: Peer, fake_engine: FakeEngine
) -> None:
    first, second = await two_lines(core, join, peer, fake_engine, ack=False)
    small = transport_of(fake_engine, peer).data
    assert small is not None

    assert core.peers.broadcast([first, second], bytes(small.max_message_size + 1)) is True
    assert core.peers.broadcast([first, second], b"small") is True

    assert [one.data for one in first.sent] == [one.data for one in second.sent] == [b"small"]


async def test_a_busy_engine_opens_no_channel(core: Core, peer: Peer, fake_engine: FakeEngine) -> None:
    await bring_up(core, peer, Client())
    fake_engine.is_busy = True

    with pytest.raises(Busy):
        core.peers.open_channel(peer.id, ChannelStyle(label="x", id=3, negotiated=True), Notes(), 1000)
    assert peer.lines == {}
