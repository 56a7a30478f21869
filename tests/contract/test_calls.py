"""Calls between two, each by either dialect: what is published is received, and every change is told.

A story that a dialect has no words for is skipped with the reason that `members.ABSENT` gives.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.contract.members import (
    ABSENT,
    CAM,
    LAYERS,
    MIC,
    LiveKit,
    Member,
    has_no_more,
    hears,
    hears_nothing,
    member,
    sees,
    sees_nothing,
)
from tests.flows.server import Server, until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.native,
    pytest.mark.parametrize("by", ["livekit", "cloudflare"]),
    pytest.mark.parametrize("to", ["livekit", "cloudflare"]),
]


@pytest.fixture
async def ada(by: str, server: Server, room: str) -> AsyncIterator[Member]:
    """She publishes."""
    async with member(by, server, room, "ada") as publisher:
        yield publisher


@pytest.fixture
async def bob(to: str, server: Server, room: str) -> AsyncIterator[Member]:
    """He receives."""
    async with member(to, server, room, "bob") as viewer:
        yield viewer


async def test_what_one_publishes_another_sees_and_hears(ada: Member, bob: Member) -> None:
    await ada.publish()

    await bob.view(ada, MIC, CAM)

    await sees(bob, ada)
    await hears(bob, ada)


async def test_who_comes_later_finds_what_is_there(ada: Member, to: str, server: Server, room: str) -> None:
    await ada.publish()
    async with member(to, server, room, "cyd") as first:
        await first.view(ada, CAM)
        await sees(first, ada)

        async with member(to, server, room, "dan") as second:
            await second.view(ada, CAM)
            await sees(second, ada)


async def test_both_publish_and_see_each_other(ada: Member, bob: Member) -> None:
    await ada.publish()
    await bob.publish()

    await bob.view(ada, CAM)
    await ada.view(bob, CAM)

    await sees(bob, ada)
    await sees(ada, bob)


async def test_who_looks_away_receives_no_more_and_may_look_again(ada: Member, bob: Member) -> None:
    await ada.publish()
    await bob.view(ada, MIC, CAM)
    await sees(bob, ada)

    await bob.look_away(ada, CAM)
    await sees_nothing(bob, ada)
    await hears(bob, ada)

    await bob.view(ada, CAM)
    await sees(bob, ada)


async def test_who_views_chooses_which_of_the_sizes_that_are_sent(ada: Member, bob: Member) -> None:
    await ada.publish_layers()
    await bob.view(ada, CAM)

    for best in (True, False, True):
        await bob.choose(ada, best)
        size = LAYERS[best]
        await until(lambda: bob.heard(ada, CAM).size == size, within_s=15, what=f"pictures of {size}")  # noqa: B023


async def test_what_is_muted_does_not_arrive_until_it_is_sent_again(ada: Member, bob: Member) -> None:
    await ada.publish()
    await bob.view(ada, MIC, CAM)
    await sees(bob, ada)

    for name in (MIC, CAM):
        await ada.set_muted(name, True)
    await sees_nothing(bob, ada)
    await hears_nothing(bob, ada)
    assert await bob.has(ada, CAM)

    for name in (MIC, CAM):
        await ada.set_muted(name, False)
    await sees(bob, ada)
    await hears(bob, ada)


async def test_others_are_told_that_a_track_is_muted(ada: Member, bob: Member, by: str, to: str) -> None:
    skip_where_absent("mute", by, to)
    assert isinstance(bob, LiveKit)
    await ada.publish()
    await bob.view(ada, CAM)

    for muted in (True, False):
        await ada.set_muted(CAM, muted)
        await until(lambda: bob.publication(ada, CAM).muted is muted, within_s=5, what=f"muted={muted}")  # noqa: B023


async def test_a_track_that_is_unpublished_is_gone_for_others_and_the_rest_stays(ada: Member, bob: Member) -> None:
    await ada.publish()
    await bob.view(ada, MIC, CAM)
    await sees(bob, ada)

    await ada.unpublish(CAM)

    await has_no_more(bob, ada, CAM)
    await sees_nothing(bob, ada)
    assert await bob.has(ada, MIC)
    await hears(bob, ada)


async def test_what_somebody_published_is_gone_when_they_leave(ada: Member, bob: Member) -> None:
    await ada.publish()
    await bob.view(ada, MIC, CAM)
    await sees(bob, ada)

    await ada.leave()

    for name in (MIC, CAM):
        await has_no_more(bob, ada, name)
    if isinstance(bob, LiveKit):
        await until(lambda: ada.identity not in bob.room.remote_participants, within_s=5, what="ada gone")


async def test_what_one_says_under_a_topic_reaches_who_listens_for_it(ada: Member, bob: Member) -> None:
    await ada.prepare("news")
    await ada.prepare("other")
    await bob.listen(ada, "news")

    for number in range(20):
        await ada.say("other", "not this")
        await ada.say("news", f"number {number}")

    await until(lambda: len(bob.told(ada, "news")) == 20, within_s=10, what="twenty messages")
    assert bob.told(ada, "news") == [f"number {number}" for number in range(20)]


def skip_where_absent(what: str, by: str, to: str) -> None:
    with contextlib.suppress(KeyError):
        pytest.skip(ABSENT[what, by, to])
