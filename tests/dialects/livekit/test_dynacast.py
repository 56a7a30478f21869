"""When a publisher is told which qualities are wanted: more at once, less after a while, and never to and fro."""

from __future__ import annotations

import pytest

from parley.dialects.livekit.dynacast import FIRST_S, OFF, Demand

PAUSE_S = 5.0
LOW, MEDIUM, HIGH = 0, 1, 2


def told(*steps: tuple[float, int | str], until: float = 100.0) -> list[tuple[float, int]]:
    """What a publisher is told, and when, after these (time, level) since its track was published."""
    demand = Demand(0.0, PAUSE_S)
    heard: list[tuple[float, int]] = []
    now = 0.0
    for at, level in (*steps, (until, "end")):
        while (due := demand.due) is not None and due < at:
            now = max(now, due)
            level_told = demand.take(now)
            assert level_told is not None
            heard.append((now, level_told))
        now = at
        match level:
            case "mute":
                demand.mute(True, at)
            case "unmute":
                demand.mute(False, at)
            case int():
                demand.want(level, at)
    return heard


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        # Nobody ever wants anything.
        ([], [(FIRST_S, OFF)]),
        # Everything is wanted from the start.
        ([(1, HIGH)], [(1, HIGH)]),
        # Less is wanted: who has heard nothing yet sends everything, so that is a change for less.
        ([(1, LOW)], [(6, LOW)]),
        ([(1, LOW), (3, MEDIUM)], [(6, MEDIUM)]),
        ([(1, LOW), (3, HIGH)], [(3, HIGH)]),
        ([(1, LOW), (3, OFF)], [(6, LOW), (11, OFF)]),
        ([(8, MEDIUM)], [(10, MEDIUM)]),
        # Down after a while, up at once.
        ([(1, HIGH), (20, MEDIUM)], [(1, HIGH), (25, MEDIUM)]),
        ([(1, HIGH), (20, MEDIUM), (26, HIGH)], [(1, HIGH), (25, MEDIUM), (26, HIGH)]),
        ([(1, HIGH), (20, OFF), (40, LOW)], [(1, HIGH), (25, OFF), (40, LOW)]),
        # What comes back in time was never gone.
        ([(1, HIGH), (20, LOW), (24, HIGH), (40, HIGH)], [(1, HIGH)]),
        # Step by step down: each level has been too much for a while when it goes.
        ([(1, HIGH), (20, MEDIUM), (22, LOW)], [(1, HIGH), (25, MEDIUM), (30, LOW)]),
        # To and fro below what is sent never starves the change, and tells the most that was wanted meanwhile.
        (
            [(1, HIGH), *((20 + i, (LOW, MEDIUM)[i % 2]) for i in range(12))],
            [(1, HIGH), (25, MEDIUM)],
        ),
        ([(1, HIGH), *((20 + 2 * i, (LOW, HIGH)[i % 2]) for i in range(20))], [(1, HIGH)]),
        # A muted track is left alone, and told anew when it is heard again.
        ([(1, HIGH), (20, "mute"), (21, OFF), (40, HIGH), (50, "unmute")], [(1, HIGH), (50, HIGH)]),
        ([(1, HIGH), (20, "mute"), (21, OFF), (50, "unmute")], [(1, HIGH), (50, HIGH), (55, OFF)]),
        ([(0, "mute"), (5, MEDIUM), (50, "unmute")], [(50, MEDIUM)]),
        ([(0, "mute"), (5, HIGH), (50, "unmute"), (51, LOW)], [(50, HIGH), (56, LOW)]),
    ],
)
def test_what_a_publisher_is_told_and_when(steps, expected) -> None:
    assert told(*steps) == expected


def test_nothing_is_told_twice() -> None:
    demand = Demand(0.0, PAUSE_S)
    demand.want(HIGH, 1.0)

    assert demand.take(1.0) == HIGH
    for level in (HIGH, HIGH):
        demand.want(level, 2.0)
    assert demand.take(50.0) is None
    assert demand.due is None
