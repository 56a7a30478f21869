"""What negotiating many sections costs the whole server: real HTTP, the real engine, the Cloudflare dialect.

Three ways that descriptions grow: a client offers so many sections, one of so many has changed, a client pulls up to 64
tracks in a call. Targets are those of an answer for fifty sections, in proportion to the sections.
"""

from __future__ import annotations

import http.client
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable

from benchmarks import generator, sdp, server
from benchmarks.figures import Figure, at_most
from benchmarks.server import Server

APP = "/v1/apps/devapp/sessions"
HEADERS = {"Authorization": "Bearer secret", "Content-Type": "application/json"}
PATIENCE_S = 20
ROUNDS = 15

ANSWER_MS = 15 / 50
"""Of CPU, for each section of an offer that is answered."""
CHANGED_MS = 3 / 50
"""The same where all of them but one are as they were."""
SMALL, SMALL_ANSWER_MS = 3, 2
"""Sections of a usual first offer, whose answer has a target of its own."""

PUBLISHERS, TRACKS, PULLERS = 4, 50, 5


def measure() -> list[Figure]:
    """Server CPU of each call, the time it took beside it."""
    with server.running() as running:
        offered = [figure for count in (SMALL, 50, 64, 200) for figure in _offers(running, count)]
    return [*offered, *_pulls()]


# ---- a client that offers


def _offers(running: Server, count: int) -> list[Figure]:
    """A new session's first offer, and the same again with one section in another direction, and back."""
    text = sdp.offer(count)
    before, after = text.rsplit("a=sendonly", 1)
    changed = before + "a=inactive" + after
    first, again = Calls(running), Calls(running)
    for _ in range(ROUNDS):
        made = first.ask("POST", "/new", "offer", text)
        for other in (changed, text):
            again.ask("PUT", f"/{made['sessionId']}/renegotiate", "offer", other)
    return [
        first.figure(f"offer of {count} sections", SMALL_ANSWER_MS if count == SMALL else count * ANSWER_MS),
        again.figure(f"offer of {count} sections, one changed", None if count == SMALL else count * CHANGED_MS),
    ]


class Calls:
    """Calls of one sort: what each cost the server, and how long it took."""

    def __init__(self, running: Server) -> None:
        self._server = running
        self._http = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE_S)
        self._cpu_ms: list[float] = []
        self._took_ms: list[float] = []

    def ask(self, method: str, path: str, kind: str, text: str) -> dict[str, str]:
        """Send a description. Raises SystemExit when it is refused."""
        body = json.dumps({"sessionDescription": {"type": kind, "sdp": text}})
        cpu, began = self._server.cpu_time(), time.perf_counter()
        self._http.request(method, APP + path, body, HEADERS)
        answer = self._http.getresponse()
        said = answer.read()
        self._took_ms.append((time.perf_counter() - began) * 1000)
        self._cpu_ms.append((self._server.cpu_time() - cpu).spent * 1000)
        if answer.status >= 300:
            raise SystemExit(f"the server refused an offer: {answer.status} {said[:200]!r}")
        found: dict[str, str] = json.loads(said)
        return found

    def figure(self, name: str, most_ms: float | None) -> Figure:
        return _figure(name, self._cpu_ms, self._took_ms, most_ms)


# ---- clients that pull


def _pulls() -> list[Figure]:
    """Clients that pull two hundred tracks each, as many in a call as may be, and answer each offer."""
    shape = ("--publishers", str(PUBLISHERS), "--streams", str(TRACKS), "--publishers-only-send")
    flags = (*shape, "--subscribers", str(PULLERS), "--cloudflare", "--media", "audio", "--pace", "20")
    # One after the other, those who publish first.
    flags = (*flags, "--join-over", str(2 * (PUBLISHERS + PULLERS)), "--warmup", "1", "--duration", "1")
    calls: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    answers: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
    with server.running() as running:
        marks = []
        for line in generator.lines(running, *flags, limit_s=generator.PATIENCE_S):
            match line["type"]:
                case "pulling" | "offered":
                    marks.append(running.cpu_time())
                case "pulled":
                    marks.append(running.cpu_time())
                    asked, offered, answered = marks
                    marks = []
                    key = line["tracks"], line["sections"]
                    calls[key].append(((offered - asked).spent * 1000, line["call_ms"]))
                    answers[key].append(((answered - offered).spent * 1000, line["answer_ms"]))
                case "summary" if line["failed"]:
                    raise SystemExit(f"a client failed: {line['failed'][0]}")
    found = []
    for (tracks, sections), spent in sorted(calls.items(), key=lambda item: item[0][1]):
        name = f"{tracks} tracks pulled, {sections} sections by then"
        found.append(_figure(f"{name}: the offer", *_columns(spent), sections * ANSWER_MS))
        found.append(_figure(f"{name}: the answer", *_columns(answers[tracks, sections]), sections * ANSWER_MS))
    return found


def _columns(pairs: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    first, second = zip(*pairs, strict=True)
    return list(first), list(second)


def _figure(name: str, cpu_ms: list[float], took_ms: list[float], most_ms: float | None) -> Figure:
    median, name = statistics.median(cpu_ms), f"{name}, server CPU"
    note = f"least {min(cpu_ms):.1f}, of {len(cpu_ms)}; took {statistics.median(took_ms):.1f} ms"
    return Figure(name, median, "ms", note=note) if most_ms is None else at_most(name, median, "ms", most_ms, note)
