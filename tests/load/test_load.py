"""`parley load` around a stand-in for the generator: what is shown, what counts as a failure, how it ends."""

import json
import signal
import subprocess
import sys

import pytest

from parley.load import LoadError, Plan, generator, run
from tests.load.conftest import GOOD, SECOND, STARTED, SUMMARY

PLAN = Plan(url="ws://127.0.0.1:7880")


def test_a_good_run_shows_every_second_and_the_sum(used, capsys):
    used.says(GOOD)

    faults = run(PLAN, "devkey", "secret", as_json=False)

    said = capsys.readouterr().out
    assert faults == []
    assert "one room at ws://127.0.0.1:7880" in said
    assert "11 of 11 clients joined in 0.4 s" in said
    assert "2,140 packets" in said
    assert "latency 0.21 / 0.64 / 1.20 ms" in said
    assert "2,140 packets/s, 19.7 Mbit/s" in said
    assert "0 (0.000%), 3 more were repaired" in said


def test_json_is_what_the_generator_said_and_nothing_else(used, capsys):
    used.says(GOOD)

    run(PLAN, "devkey", "secret", as_json=True)

    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == GOOD


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"failed": ["subscriber-0-3: no media came"]},
            "1 of 11 clients could not join; the first: subscriber-0-3: no",
        ),
        ({"lost": 700}, "1.09% of the packets were lost; 1% is the most that a good run loses"),
        ({"packets_received": 0}, "no packet arrived"),
        ({"bad_open": 2, "bad_length": 1}, "3 packets arrived broken"),
    ],
)
def test_a_run_that_went_wrong_says_what(used, change, sentence):
    used.says([*GOOD[:-1], {**SUMMARY, **change}], status=1)

    (fault,) = run(PLAN, "devkey", "secret", as_json=True)

    assert fault.startswith(sentence)


def test_a_loss_of_one_in_a_hundred_is_no_fault(used):
    used.says([*GOOD[:-1], {**SUMMARY, "lost": 642}])

    assert run(PLAN, "devkey", "secret", as_json=True) == []


def test_the_secret_is_not_among_the_arguments_that_everybody_may_read(used):
    used.says(GOOD)

    run(Plan(url="ws://127.0.0.1:7880", rooms=3, media="audio"), "devkey", "a secret", as_json=True)

    arguments, secret = used.called
    assert secret == "a secret"
    assert "a secret" not in arguments
    assert arguments[arguments.index("--rooms") + 1] == "3"
    assert arguments[arguments.index("--api-key") + 1] == "devkey"


def test_a_generator_that_fails_is_quoted(used):
    used.says([STARTED], complaint="loadgen: too many open files", status=1)

    with pytest.raises(LoadError, match="the load generator failed: loadgen: too many open files"):
        run(PLAN, "devkey", "secret", as_json=True)


def test_a_generator_that_falls_silent_is_ended(used, monkeypatch):
    used.says([STARTED], lingers_s=60)
    monkeypatch.setattr(generator, "SILENCE_S", 1)

    with pytest.raises(LoadError, match="the load generator said nothing for 1 s"):
        run(PLAN, "devkey", "secret", as_json=True)

    assert used.was_told_to_end


@pytest.mark.parametrize("line", ["what?", json.dumps({**SECOND, "packets_in": None}), '{"type": "third"}'])
def test_lines_of_another_version_are_not_guessed_at(used, line):
    used.says([line])

    with pytest.raises(LoadError, match="the load generator is of another version .*; build it anew"):
        run(PLAN, "devkey", "secret", as_json=True)


def test_a_generator_that_was_not_built_is_told_of(monkeypatch, tmp_path):
    monkeypatch.setattr("parley.__file__", str(tmp_path / "__init__.py"))

    with pytest.raises(LoadError, match=r"is not there .*; from a clone, `tools/run loadgen` builds it"):
        run(PLAN, "devkey", "secret", as_json=True)


def test_ctrl_c_ends_it_and_the_generator(stand_in):
    stand_in.says([STARTED, SECOND], lingers_s=60)
    started = subprocess.Popen(
        [sys.executable, "-c", _AS_A_PROGRAM, str(stand_in.program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    first = started.stdout.readline()

    started.send_signal(signal.SIGINT)
    _, complaint = started.communicate(timeout=20)

    assert json.loads(first) == STARTED
    assert started.returncode == 130
    assert complaint == ""
    assert stand_in.was_told_to_end


_AS_A_PROGRAM = """
import pathlib, signal, sys
# Whoever runs the tests in the background of a shell has Ctrl-C ignored, and so would this.
signal.signal(signal.SIGINT, signal.default_int_handler)
from parley.load import generator, reach
program = pathlib.Path(sys.argv.pop())
generator.find = lambda: program
reach.check = lambda url, key, secret: None
sys.argv[1:] = ["load", "--dev", "--json"]
from parley.cli import main
main()
"""
