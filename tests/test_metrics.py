"""What /metrics shows."""

import asyncio
import re
import time

import pytest

from parley.engine.counters import GAUGES
from parley.metrics import LAG_PERIOD_S, Metrics, Worst


def test_a_scrape_reads_the_rooms_and_the_engine_anew():
    rooms = [{"rooms": 1, "participants": 2}]
    counters = {"datagrams_in": 5, "bytes_out": 900}
    metrics = Metrics(census=lambda: rooms[-1], counters=lambda: counters)
    assert "parley_participants 2.0" in metrics.render().decode()

    rooms.append({"rooms": 1, "participants": 3})
    counters["datagrams_in"] = 6

    text = metrics.render().decode()
    assert "parley_participants 3.0" in text
    assert "parley_packets_received_total 6.0" in text
    assert "parley_bytes_sent_total 900.0" in text


def test_drops_are_one_metric_with_their_reasons_and_what_is_held_another():
    text = (
        Metrics(counters=lambda: {"drop_replay": 3, "drop_garbage": 1, "nacks_in": 2, "transports": 4})
        .render()
        .decode()
    )

    assert 'parley_drops_total{reason="replay"} 3.0' in text
    assert 'parley_drops_total{reason="garbage"} 1.0' in text
    assert 'parley_engine_total{counter="nacks_in"} 2.0' in text
    assert 'parley_engine_objects{kind="transports"} 4.0' in text


def test_two_servers_in_one_process_do_not_share_instruments():
    one, other = Metrics(), Metrics()

    one.join_s.observe(0.2)

    assert "parley_join_seconds_count 1.0" in one.render().decode()
    assert "parley_join_seconds_count 0.0" in other.render().decode()


def test_what_the_engine_holds_is_told_as_such():
    text = Metrics(counters=lambda: dict.fromkeys(GAUGES, 1)).render().decode()

    for kind in GAUGES:
        assert f'parley_engine_objects{{kind="{kind}"}} 1.0' in text


def test_the_worst_is_forgotten_with_its_time():
    worst = Worst(60.0)
    assert worst.value(0.0) == 0.0

    worst.add(1.0, 0.3)
    worst.add(20.0, 0.1)
    worst.add(40.0, 0.2)

    assert worst.value(60.0) == 0.3
    assert worst.value(62.0) == 0.2
    assert worst.value(101.0) == 0.0


@pytest.mark.anyio
async def test_a_loop_that_stood_still_for_a_moment_shows_in_the_next_scrape():
    metrics = Metrics()
    watching = asyncio.create_task(metrics.watch_loop())
    await asyncio.sleep(2 * LAG_PERIOD_S)

    time.sleep(0.25)  # noqa: ASYNC251, the loop is what stalls
    await asyncio.sleep(2 * LAG_PERIOD_S)
    watching.cancel()

    [worst] = re.findall(r"(?m)^parley_loop_lag_max_seconds (\S+)", metrics.render().decode())
    assert float(worst) >= 0.25 - LAG_PERIOD_S
