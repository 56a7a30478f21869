"""What a person sees of a load test: how far it is, each second's numbers, and the sum."""

from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from parley.load.plan import Plan
from parley.load.readings import Second, Started, Summary

SECONDS_SHOWN = 10


class Display:
    """A context: on a terminal a picture that changes in place, elsewhere one line a second."""

    def __init__(self, plan: Plan, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._plan = plan
        self._recent: deque[Second] = deque(maxlen=SECONDS_SHOWN)
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f} of {task.total} s")
        )
        self._task = self._progress.add_task("joining", total=plan.warmup_s + plan.duration_s)
        self._live = Live(console=self._console, refresh_per_second=4) if self._console.is_terminal else None

    def __enter__(self) -> Self:
        self._say(_headline(self._plan))
        if self._live is not None:
            self._live.update(self._progress)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def started(self, started: Started) -> None:
        """Show that everybody is in."""
        self._say(f"{started.joined} of {started.clients} clients joined in {started.join_s:.1f} s")

    def second(self, second: Second) -> None:
        """Show one more."""
        if self._live is None:
            self._say(_sentence(second))
            return
        self._recent.append(second)
        stage = "warming up" if second.t <= self._plan.warmup_s else "measuring"
        self._progress.update(self._task, completed=second.t, description=stage)
        self._live.update(Group(self._progress, _recent(self._recent)))

    def summary(self, summary: Summary) -> None:
        """Show the sum, once everything else has been shown."""
        self._say()
        self._say(_table(summary))

    def _say(self, what: RenderableType = "") -> None:
        # A narrow pipe is no reason to break lines, nor is a bracket in an address markup.
        self._console.print(what, markup=False, soft_wrap=isinstance(what, str))


def _headline(plan: Plan) -> str:
    rooms = "one room" if plan.rooms == 1 else f"{plan.rooms} rooms"
    return (
        f"{rooms} at {plan.url}, each with {plan.publishers} publishing {plan.media} and {plan.subscribers} receiving"
    )


def _sentence(second: Second) -> str:
    latency = second.latency_us
    return (
        f"{second.t:4.0f} s  {second.packets_in:>9,} packets  {_mbit(second.bytes_in, 1):8.1f} Mbit/s  "
        f"{second.lost:>6,} lost  latency {_ms(latency.p50)} / {_ms(latency.p99)} / {_ms(latency.p999)} ms"
    )


def _recent(seconds: deque[Second]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("second", "packets/s", "Mbit/s", "lost", "p50 ms", "p99 ms", "p99.9 ms"):
        table.add_column(heading, justify="right", min_width=9)
    for second in seconds:
        latency = second.latency_us
        table.add_row(
            f"{second.t:.0f}",
            f"{second.packets_in:,}",
            f"{_mbit(second.bytes_in, 1):.1f}",
            f"{second.lost:,}",
            *(_ms(value) for value in (latency.p50, latency.p99, latency.p999)),
        )
    return table


def _table(summary: Summary) -> Table:
    latency, signalling = summary.latency_us, summary.signalling_ms
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right", style="bold")
    table.add_column()
    table.add_row("clients", f"{summary.joined} of {summary.clients} joined, in {summary.rooms} rooms")
    table.add_row("packets", f"{summary.packets_received:,} received in {summary.duration_s:.1f} s")
    rate = _mbit(summary.bytes_received, summary.duration_s)
    per_s = summary.packets_received / summary.duration_s if summary.duration_s else 0.0
    table.add_row("rate", f"{per_s:,.0f} packets/s, {rate:,.1f} Mbit/s")
    table.add_row("lost", f"{summary.lost:,} ({summary.lost_share:.3%}), {summary.repaired:,} more were repaired")
    table.add_row("latency", f"p50 {_ms(latency.p50)} ms, p99 {_ms(latency.p99)} ms, p99.9 {_ms(latency.p999)} ms")
    table.add_row("longest gap", f"{summary.longest_media_gap_ms:.0f} ms without media")
    table.add_row(
        "joining", f"p50 {signalling.p50:.0f} ms, p99 {signalling.p99:.0f} ms, slowest {signalling.max:.0f} ms"
    )
    return table


def _ms(us: float) -> str:
    return f"{us / 1000:.2f}"


def _mbit(octets: int, seconds: float) -> float:
    return octets * 8 / 1e6 / seconds if seconds else 0.0
