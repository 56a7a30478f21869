"""How readings become figures: CPU time between two marks, and the limit it is compared with."""

import os
import time

import pytest

from benchmarks import generator, machine, scenarios
from benchmarks.generator import Run
from benchmarks.machine import CpuTime, cpu_time
from benchmarks.micro import Limit


def test_the_limit_is_the_sum_of_what_cannot_be_avoided():
    limit = Limit(send=3.3, send_apart=3.6, receive=1.07, seal_fixed=0.116, seal_per_byte=0.00026)

    # Scenario A, 200 subscribers, 1200 B over loopback: 3.3 + 0.428 + 0.08 + (1.07 + 0.428) / 200.
    assert limit.per_packet(200, 1200) == pytest.approx(3.8155, abs=1e-4)


def test_the_clock_of_a_process_counts_what_it_computes():
    before = cpu_time(os.getpid(), core=0)
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass

    spent = cpu_time(os.getpid(), core=0) - before

    assert 0.05 <= spent.process < 0.5
    assert spent.at >= 0.04


def test_softirq_is_added_only_where_the_kernel_keeps_it_apart(monkeypatch):
    time = CpuTime(at=1, process=0.5, softirq=0.2, ksoftirqd=0.1)

    monkeypatch.setattr(machine, "SOFTIRQ_IS_APART", False)
    inside = time.spent
    monkeypatch.setattr(machine, "SOFTIRQ_IS_APART", True)

    assert (inside, time.spent) == (pytest.approx(0.6), pytest.approx(0.8))


class Serves:
    """A server that spends 30 ms between every two looks at it."""

    url = "ws://127.0.0.1:7880"
    looks = 0

    def cpu_time(self):
        self.looks += 1
        return CpuTime(at=self.looks, process=self.looks * 0.03, softirq=0, ksoftirqd=0)


@pytest.fixture
def says(monkeypatch):
    """Has the generator say these lines."""
    return lambda lines: monkeypatch.setattr(generator, "lines", lambda *_, **__: iter(lines))


SUMMARY = {
    "type": "summary", "clients": 51, "failed": [], "duration_s": 1.0, "packets_received": 6000, "expected": 6060,
    "lost": 60, "generator_cpu_s": 0.4, "bad_length": 0, "bad_open": 0,
}  # fmt: skip
SECOND = {"type": "second", "t": 1.0}


def test_cpu_is_taken_between_the_marks_and_divided_by_what_arrived(says):
    says([{"type": "started"}, SECOND, {"type": "measuring"}, SECOND, {"type": "measured"}, SUMMARY])

    run = generator.load(Serves(), warmup_s=1, duration_s=1)

    assert run.us_per_packet == pytest.approx(5.0)
    assert run.lost_share == pytest.approx(60 / 6060)
    assert run.utilisation == pytest.approx(0.03)
    assert run.seconds == [SECOND]


def test_a_run_in_which_clients_could_not_join_measures_nothing(says):
    says([{"type": "measuring"}, {"type": "measured"}, {**SUMMARY, "failed": ["subscriber-0-1: no media came"]}])

    with pytest.raises(SystemExit, match="1 of 51 clients could not join; the first: subscriber-0-1: no media came"):
        generator.load(Serves(), warmup_s=1, duration_s=1)


def test_a_run_with_broken_packets_measures_nothing(says):
    says([{"type": "measuring"}, {"type": "measured"}, {**SUMMARY, "bad_length": 2, "bad_open": 1}])

    with pytest.raises(SystemExit, match="3 packets were not what was sent"):
        generator.load(Serves(), warmup_s=1, duration_s=1)


def test_a_meeting_in_which_a_stream_never_began_is_no_figure(says):
    seen = {**SUMMARY, "streams_begun": 111, "streams_as_asked": 56}

    with pytest.raises(SystemExit, match="111 of 112 streams have begun"):
        scenarios.streams_seen(8, [Run(summary=seen)])
    assert "40 of 56 pictures" in scenarios.streams_seen(
        8, [Run(summary={**seen, "streams_begun": 112, "streams_as_asked": asked}) for asked in (56, 40)]
    )
