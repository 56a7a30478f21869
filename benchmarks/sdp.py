"""How long an answer takes, in CPU milliseconds.

The offers are Chromium's, captured in tests/vectors/sdp, with their sections repeated to the size wanted. One run reads
the offer, answers it and writes the answer; "re-offer" is the same offer again on a live connection.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from random import Random

from benchmarks.figures import Figure, at_most
from parley.engine.specs import Kind
from parley.negotiation import Caps, Direction, MLinePlan, Msid, Negotiator
from tests.negotiation.sessions import VECTORS, load, transport

GOLDEN = VECTORS / "chromium" / "publish.1.offer.sdp"


def offer(count: int) -> str:
    """An offer of this many sections: audio, video, data, then video and audio in turn."""
    head, *parts = load(GOLDEN).sdp.removesuffix("\r\n").split("\r\nm=")
    audio, video, data = parts
    chosen = [audio, video, data] + [video if index % 2 else audio for index in range(3, count)]
    texts = []
    for index, part in enumerate(chosen[:count]):
        lines = part.split("\r\n")
        for at, line in enumerate(lines):
            if line.startswith("a=mid:"):
                lines[at] = f"a=mid:{index}"
            elif line.startswith("a=ssrc"):
                lines[at] = " ".join(str(int(word) + index) if word.isdigit() else word for word in line.split(" "))
        texts.append("\r\n".join(lines))
    group = "a=group:BUNDLE " + " ".join(map(str, range(len(texts))))
    head = "\r\n".join(group if line.startswith("a=group") else line for line in head.split("\r\n"))
    return "\r\nm=".join([head, *texts]) + "\r\n"


def negotiator() -> Negotiator:
    return Negotiator(Caps(), transport(), random=Random(1))


def first_answer(count: int) -> Callable[[], object]:
    text = offer(count)

    def run() -> object:
        server = negotiator()
        server.on_offer(text)
        return server.answer(())

    return run


def changed_answer(count: int) -> Callable[[], object]:
    """Every run offers the other of two directions in one section, so that exactly one has changed."""
    texts = [offer(count)]
    before, after = texts[0].rsplit("a=sendonly", 1)
    texts.append(before + "a=inactive" + after)
    server = negotiator()
    turn = 0

    def run() -> object:
        nonlocal turn
        turn += 1
        server.on_offer(texts[turn % 2])
        return server.answer(())

    run()
    return run


def subscriber_offer(count: int) -> Callable[[], object]:
    """An offer with one section more than the last one had, rolled back each time."""
    server = negotiator()
    items = [
        MLinePlan(
            None, Kind.VIDEO if index % 2 else Kind.AUDIO, Direction.SENDONLY, msid=Msid(f"PA_{index}", f"TR_{index}")
        )
        for index in range(count)
    ]
    delta = server.offer(items[:-1])
    assert delta.sdp is not None
    answer = delta.sdp.replace("a=sendonly", "a=recvonly").replace("a=setup:actpass", "a=setup:active")
    server.on_answer(answer)

    def run() -> object:
        server.offer(items[-1:])
        return server.rollback()

    return run


def measure() -> list[Figure]:
    """The median of sixty runs of each."""
    return [
        _timed("sdp_answer, 3 sections", first_answer(3), 2),
        _timed("sdp_answer, 20 sections", first_answer(20), 6),
        _timed("sdp_answer, 50 sections", first_answer(50), 15),
        _timed("sdp_answer, 50 sections, one changed", changed_answer(50), 3),
        _timed("sdp_answer, 512 sections", first_answer(512), None),
        _timed("sdp_offer, 50 sections, one new", subscriber_offer(50), None),
    ]


def _timed(name: str, run: Callable[[], object], target_ms: float | None) -> Figure:
    run()
    times = []
    for _ in range(60):
        gc.collect(0)
        began = time.process_time_ns()
        run()
        times.append((time.process_time_ns() - began) / 1e6)
    median, note = statistics.median(times), f"least {min(times):.2f}"
    return Figure(name, median, "ms", note=note) if target_ms is None else at_most(name, median, "ms", target_ms, note)
