from __future__ import annotations

from collections.abc import Callable

from structlog.testing import capture_logs

from parley.core.core import Core
from parley.core.model import LeaveReason
from parley.core.rooms import Seat


def test_the_log_tells_a_rooms_story_with_its_reasons(core: Core, join: Callable[..., Seat]) -> None:
    with capture_logs() as lines:
        ada = join("ada")
        core.rooms.leave(ada.id, LeaveReason.REMOVED)
        core.rooms.close(ada.room.id)

    assert [(line["event"], line.get("reason")) for line in lines] == [
        ("room opened", None),
        ("participant joined", None),
        ("participant left", "removed"),
        ("room closed", "room_deleted"),
    ]
    assert {line["room"] for line in lines} == {"standup"}
    assert lines[1]["identity"] == "ada"
