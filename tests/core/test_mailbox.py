from __future__ import annotations

import asyncio

import pytest

from parley.core.events import Event, PeerWantsOffer
from parley.core.mailbox import Mailbox, MailboxClosed
from parley.ids import ParticipantId, PeerId

pytestmark = pytest.mark.anyio


def wants(upto: int, peer: int = 7) -> Event:
    return PeerWantsOffer(ParticipantId(1), PeerId(peer), upto)


def test_events_come_out_in_the_order_they_went_in() -> None:
    mailbox = Mailbox(10)
    for upto in range(3):
        mailbox.put(wants(upto))

    assert [mailbox.get_nowait() for _ in range(3)] == [wants(0), wants(1), wants(2)]
    assert mailbox.get_nowait() is None


def test_a_full_mailbox_says_no_and_keeps_what_it_has() -> None:
    mailbox = Mailbox(2)
    assert mailbox.put(wants(0))
    assert mailbox.put(wants(1))

    assert not mailbox.put(wants(2))
    assert len(mailbox) == 2


def test_a_newer_event_of_one_key_takes_the_older_ones_place_at_the_end() -> None:
    mailbox = Mailbox(10)
    mailbox.put(wants(1), latest="offer")
    mailbox.put(wants(2))
    mailbox.put(wants(3), latest="offer")

    assert [mailbox.get_nowait() for _ in range(3)] == [wants(2), wants(3), None]


def test_replacing_an_event_needs_no_room() -> None:
    mailbox = Mailbox(1)
    for upto in range(1000):
        assert mailbox.put(wants(upto), latest="offer")

    assert mailbox.get_nowait() == wants(999)


def test_an_event_that_was_read_is_not_replaced() -> None:
    mailbox = Mailbox(10)
    mailbox.put(wants(1), latest="offer")
    assert mailbox.get_nowait() == wants(1)
    mailbox.put(wants(2), latest="offer")

    assert mailbox.get_nowait() == wants(2)


def test_the_last_event_fits_into_a_full_mailbox_and_nothing_follows_it() -> None:
    mailbox = Mailbox(1)
    mailbox.put(wants(0))
    mailbox.close(wants(1))
    mailbox.put(wants(2))

    assert mailbox.get_nowait() == wants(0)
    assert mailbox.get_nowait() == wants(1)
    with pytest.raises(MailboxClosed):
        mailbox.get_nowait()


def test_closing_for_a_reader_that_is_too_slow_drops_what_waits() -> None:
    mailbox = Mailbox(5)
    mailbox.put(wants(0))
    mailbox.close(wants(1), drop=True)

    assert mailbox.get_nowait() == wants(1)


async def test_a_waiting_reader_gets_what_comes() -> None:
    mailbox = Mailbox(5)
    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(mailbox.get())
        await asyncio.sleep(0)
        mailbox.put(wants(4))

    assert reader.result() == wants(4)


async def test_cancelling_a_reader_loses_nothing() -> None:
    mailbox = Mailbox(5)
    reader = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    mailbox.put(wants(4))
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)

    assert reader.cancelled()
    assert mailbox.get_nowait() == wants(4)


async def test_reading_all_ends_after_the_last_event() -> None:
    mailbox = Mailbox(5)
    mailbox.put(wants(0))
    mailbox.close(wants(1))

    assert [event async for event in mailbox] == [wants(0), wants(1)]


async def test_a_reader_sleeps_through_news_that_can_wait_until_their_time_comes() -> None:
    mailbox = Mailbox(10)
    reader = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    mailbox.put(wants(0), within_s=0.05)
    mailbox.put(wants(1), within_s=60)
    await asyncio.sleep(0)
    assert not reader.done()

    assert await asyncio.wait_for(reader, 1.0) == wants(0)
    assert mailbox.get_nowait() == wants(1)


async def test_what_cannot_wait_wakes_the_reader_for_everything_in_order() -> None:
    mailbox = Mailbox(10)
    reader = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    mailbox.put(wants(0), within_s=60)
    mailbox.put(wants(1))

    assert await asyncio.wait_for(reader, 1.0) == wants(0)
    assert mailbox.get_nowait() == wants(1)


async def test_news_can_wait_only_while_the_mailbox_is_less_than_half_full() -> None:
    mailbox = Mailbox(10)
    reader = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    for upto in range(5):
        mailbox.put(wants(upto), within_s=60)

    assert await asyncio.wait_for(reader, 1.0) == wants(0)


async def test_what_was_read_for_another_reason_wakes_nobody_later() -> None:
    mailbox = Mailbox(10)
    mailbox.put(wants(0), within_s=0.01)
    assert mailbox.get_nowait() == wants(0)
    assert mailbox.get_nowait() is None
    reader = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    mailbox.put(wants(1), within_s=0.2)

    await asyncio.sleep(0.05)
    assert not reader.done()
    reader.cancel()
