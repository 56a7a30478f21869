"""The kernel's buffers: a warning when they are small, and another while they overflow."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from parley.engine.buffers import WANTED_BYTES, Overflows, warn_of_small
from tests.engine.conftest import CONFIG, HAS_NATIVE


def test_a_small_buffer_is_told_with_what_to_set():
    with capture_logs() as logs:
        warn_of_small({"receive_buffer_bytes": 425_984, "send_buffer_bytes": 2 * WANTED_BYTES})

    assert logs == [
        {
            "log_level": "warning",
            "event": "the kernel allows a small socket buffer only",
            "bytes": 212_992,
            "fix": "sysctl -w net.core.rmem_max=4194304",
        }
    ]


def test_a_kernel_that_does_not_tell_is_not_blamed():
    with capture_logs() as logs:
        warn_of_small({"receive_buffer_bytes": 0})

    assert logs == []


def test_an_overflow_is_told_at_once_and_then_once_a_minute_while_it_lasts():
    overflows = Overflows()

    with capture_logs() as logs:
        overflows.look({"drop_in_full": 0}, 0.0)
        overflows.look({"drop_in_full": 5}, 5.0)
        for second in range(10, 65, 5):
            overflows.look({"drop_in_full": second}, float(second))
        overflows.look({"drop_in_full": 60}, 65.0)
        overflows.look({"drop_in_full": 60}, 200.0)

    assert [(entry["packets"], entry["since_start"]) for entry in logs] == [(5, 5), (55, 60)]
    assert logs[0]["event"].startswith("packets were lost before they were read")


def test_either_direction_is_told_by_itself():
    overflows = Overflows()

    with capture_logs() as logs:
        overflows.look({"drop_in_full": 1, "drop_out_full": 2}, 1.0)

    assert [entry["packets"] for entry in logs] == [1, 2]


@pytest.mark.anyio
@pytest.mark.native
@pytest.mark.skipif(not HAS_NATIVE, reason="the native module is not built")
async def test_the_engine_knows_what_the_kernel_gave():
    from parley.engine.live import open_engine

    engine = open_engine(CONFIG)
    counters = engine.counters()
    await engine.close()

    assert counters["receive_buffer_bytes"] > 0
    assert counters["send_buffer_bytes"] > 0
