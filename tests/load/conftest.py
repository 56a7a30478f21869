"""A stand-in for the load generator: a program that says what it is given, and remembers how it was called."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from parley.load import generator, reach

STARTED = {"type": "started", "clients": 11, "joined": 11, "failed": [], "join_s": 0.4}
SECOND = {
    "type": "second", "t": 4.0, "packets_out": 214, "packets_in": 2140, "bytes_in": 2_461_000, "lost": 0, "repaired": 0,
    "data_in": 0, "latency_us": {"p50": 212, "p99": 640, "p999": 1200},
}  # fmt: skip
SUMMARY = {
    "type": "summary", "clients": 11, "rooms": 1, "joined": 11, "failed": [], "duration_s": 30.0, "packets_sent": 6420,
    "packets_received": 64_200, "bytes_received": 73_830_000, "expected": 64_200, "lost": 0, "repaired": 3,
    "bad_length": 0, "bad_open": 0, "longest_media_gap_ms": 71.2,
    "latency_us": {"p50": 215, "p90": 380, "p99": 655, "p999": 1300, "max": 2600},
    "signalling_ms": {"p50": 6.1, "p99": 11.0, "max": 12.5, "count": 11},
}  # fmt: skip
GOOD = [STARTED, {"type": "measuring"}, SECOND, {"type": "measured"}, SUMMARY]

_PROGRAM = """#!{python}
import json, os, signal, sys, time
from pathlib import Path
here = Path(__file__).parent
(here / "called").write_text(json.dumps([sys.argv[1:], os.environ.get("LIVEKIT_API_SECRET")]))
signal.signal(signal.SIGTERM, lambda *_: ((here / "told to end").touch(), sys.exit(0)))
print({lines!r}, flush=True)
print({complaint!r}, file=sys.stderr, flush=True)
time.sleep({lingers_s})
sys.exit({status})
"""


@dataclass
class StandIn:
    """Where it is, and what it remembers."""

    program: Path

    def says(self, lines, *, complaint="", status=0, lingers_s=0.0):
        """Write it anew."""
        text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
        self.program.write_text(
            _PROGRAM.format(python=sys.executable, lines=text, complaint=complaint, lingers_s=lingers_s, status=status)
        )
        self.program.chmod(0o755)

    @property
    def called(self):
        """Its arguments and the secret it found in its environment."""
        return json.loads((self.program.parent / "called").read_text())

    @property
    def was_told_to_end(self):
        return (self.program.parent / "told to end").exists()


@pytest.fixture
def stand_in(tmp_path):
    return StandIn(tmp_path / "loadgen")


@pytest.fixture
def used(stand_in, monkeypatch):
    """The stand-in, where `parley load` looks for the real one, and a server that welcomes everybody."""
    monkeypatch.setattr(generator, "find", lambda: stand_in.program)
    monkeypatch.setattr(reach, "check", lambda url, key, secret: None)
    return stand_in
