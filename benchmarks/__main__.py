"""`python -m benchmarks [name…]`: measures, prints, keeps. With --markdown it writes docs/benchmarks.md anew."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable

from benchmarks import figures, machine, scenarios
from benchmarks.figures import Figure
from benchmarks.scenarios import Settings


def _micro(_: Settings) -> list[Figure]:
    from benchmarks import micro

    return micro.measure()


def _sdp(_: Settings) -> list[Figure]:
    from benchmarks import sdp

    return sdp.measure()


def _drain(_: Settings) -> list[Figure]:
    from benchmarks import drain

    return drain.measure()


def _sections(_: Settings) -> list[Figure]:
    from benchmarks import sections

    return sections.measure()


def _janus(settings: Settings) -> list[Figure]:
    from benchmarks import janus

    return janus.measure(settings.warmup_s, settings.duration_s)


BENCHMARKS: dict[str, Callable[[Settings], list[Figure]]] = {
    "micro": _micro,
    "sdp": _sdp,
    "drain": _drain,
    "sections": _sections,
    **{f"A-{n}": (lambda settings, n=n: scenarios.fan_out(settings, n)) for n in (1, 10, 50, 200)},
    "limit": scenarios.efficiency,
    **{f"B-{n}": (lambda settings, n=n: scenarios.speakers(settings, n)) for n in (10, 50, 100)},
    "C": scenarios.meetings,
    "C-streams": scenarios.one_connection,
    **{f"D-{n}": (lambda settings, n=n: scenarios.calls(settings, n)) for n in (10, 50, 100)},
    **{f"E-{mode}": (lambda settings, mode=mode: scenarios.data(settings, mode)) for mode in ("reliable", "lossy")},
    "streams": scenarios.streams,
    "connects": scenarios.connects,
    "joins": scenarios.joins,
    "storm": scenarios.storm,
    "gil": scenarios.gil,
    "rate": scenarios.rate,
    "janus": _janus,
}

QUICK, USUAL, FULL = Settings(2, 5), Settings(5, 15), Settings(10, 30, runs=5)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/run bench", description=__doc__)
    names = ", ".join(BENCHMARKS)
    parser.add_argument("names", nargs="*", help=f"which of {names}; A stands for every A-…; all when none is named")
    parser.add_argument("--quick", action="store_true", help="short runs, for a look while developing")
    parser.add_argument("--full", action="store_true", help="10 s of warm-up, 30 s measured, five runs each")
    parser.add_argument("--markdown", action="store_true", help="write what is kept into docs/benchmarks.md")
    asked = parser.parse_args()
    chosen = [
        name for name in BENCHMARKS if not asked.names or name in asked.names or name.split("-")[0] in asked.names
    ]
    if unknown := [name for name in asked.names if not any(name in (one, one.split("-")[0]) for one in BENCHMARKS)]:
        parser.error(f"there is no benchmark '{unknown[0]}'; there are {names}")

    os.sched_setaffinity(0, {machine.GENERATOR_CORE})  # this process must not disturb the server's core
    about = machine.about()
    print(about, flush=True)
    settings = QUICK if asked.quick else FULL if asked.full else USUAL
    failed = []
    for name in chosen:
        print(f"\n-- {name}", flush=True)
        try:
            found = BENCHMARKS[name](settings)
        except SystemExit as refused:
            print(f"{name}: {refused}", file=sys.stderr, flush=True)
            failed.append(name)
            continue
        for figure in found:
            print(figure, flush=True)
        figures.keep(name, found, about)
    if asked.markdown:
        figures.write_page(BENCHMARKS)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
