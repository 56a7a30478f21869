"""A core on the fake engine and the fake clock, and the few words its tests are written in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from random import Random
from typing import TypeVar

import pytest
import structlog

from parley.core.core import Core
from parley.core.events import Event
from parley.core.grants import Grant
from parley.core.mailbox import MailboxClosed
from parley.core.model import Limits
from parley.core.rooms import Seat
from parley.ids import TenantId
from tests.fakes import FakeClock, FakeEngine

ACME = TenantId("acme")
E = TypeVar("E", bound=Event)


def _nowhere(*_: object) -> MutableMapping[str, object]:
    raise structlog.DropEvent


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log lines go nowhere: sequences of a thousand steps would spend their time on writing them."""
    before = structlog.get_config()["processors"]
    structlog.configure(processors=[_nowhere])
    yield
    structlog.configure(processors=before)


@pytest.fixture
def limits() -> Limits:
    """Override in a test's module, or build a core of its own, to try others."""
    return Limits()


@pytest.fixture
def core(fake_engine: FakeEngine, clock: FakeClock, limits: Limits) -> Core:
    return Core(fake_engine, clock=clock, random=Random(1), limits=limits)


@pytest.fixture
def join(core: Core) -> Callable[..., Seat]:
    """Seat somebody: `join("ada", room="standup", hidden=True, options=…)`; what a Grant has goes into the grant."""

    def join(identity: str, room: str = "standup", tenant: TenantId = ACME, **given: object) -> Seat:
        fields = {name: given.pop(name) for name in list(given) if name in Grant.__dataclass_fields__}
        grant = Grant(tenant=tenant, identity=identity, room=room, **{"can_join": True, **fields})  # type: ignore[arg-type]
        return core.rooms.join(grant, **given)  # type: ignore[arg-type]

    return join


def read(seat: Seat) -> list[Event]:
    """Everything that waits in a participant's queue, taken out."""
    events: list[Event] = []
    try:
        while (event := seat.events.get_nowait()) is not None:
            events.append(event)
    except MailboxClosed:
        pass
    return events


def of_type(events: list[Event], kind: type[E]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def names(events: list[Event]) -> list[str]:
    return [type(event).__name__ for event in events]
