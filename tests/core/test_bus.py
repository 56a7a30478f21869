from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from parley.core.core import Core
from parley.core.events import ParticipantJoined, ParticipantLeft, RoomClosed, RoomOpened
from parley.core.grants import Grant
from parley.core.model import Limits
from parley.core.rooms import Seat
from tests.core.conftest import ACME
from tests.fakes import FakeClock, FakeEngine

pytestmark = pytest.mark.anyio


def test_a_listener_hears_a_room_from_its_first_moment_to_its_last(core: Core, join: Callable[..., Seat]) -> None:
    with core.bus.listen() as listener:
        seat = join("ada")
        core.rooms.leave(seat.id)
        core.rooms.close(seat.room.id)
    heard = []
    while (happening := listener.get_nowait()) is not None:
        heard.append(happening)

    kinds = [type(one.event) for one in heard]
    assert [kind for kind in kinds if kind in (RoomOpened, ParticipantJoined, ParticipantLeft, RoomClosed)] == [
        RoomOpened,
        ParticipantJoined,
        ParticipantLeft,
        RoomClosed,
    ]
    assert {one.room.tenant for one in heard} == {ACME}


def test_who_no_longer_listens_hears_nothing(core: Core, join: Callable[..., Seat]) -> None:
    with core.bus.listen() as listener:
        pass
    join("ada")

    assert listener.get_nowait() is None


def test_a_listener_that_is_too_slow_loses_the_oldest_and_they_are_counted() -> None:
    core = Core(FakeEngine(), clock=FakeClock(), random=Random(1), limits=Limits(listener_events=2))
    with core.bus.listen() as slow, core.bus.listen() as quick:
        for name in ("ada", "bob"):
            core.rooms.join(Grant(tenant=ACME, identity=name, room="standup", can_join=True))
            while quick.get_nowait() is not None:
                pass

    assert slow.dropped == 3
    assert quick.dropped == 1
    last = slow.get_nowait()
    assert last is not None
    assert isinstance(last.event, ParticipantJoined)
