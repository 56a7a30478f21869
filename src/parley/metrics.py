"""What `/metrics` shows: counters of the engine, a census of the rooms, and the health of the event loop.

The numbers are read when a scrape asks for them; only latencies are kept here. Names follow Prometheus' own advice:
base units, `_total` for what only rises. Packets, bytes and drops are the engine's, cumulative since the start.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

LAG_PERIOD_S = 0.05
"""How often the loop is looked at; a stall is measured too short by at most this."""
LAG_WINDOW_S = 60.0
"""What the worst lag is the worst of: longer than the usual time between two scrapes."""


class Metrics:
    """The instruments of one server. Each server has its own registry, so that tests can run several."""

    def __init__(
        self,
        *,
        counters: Callable[[], Mapping[str, int]] | None = None,
        census: Callable[[], Mapping[str, int]] | None = None,
    ) -> None:
        """counters: the engine's, by name; census: how many there are of each noun, by its plural.

        Both are called on every scrape and never block.
        """
        self._registry = CollectorRegistry()
        self._registry.register(_Readings(counters or dict, census or dict))
        ProcessCollector(registry=self._registry)
        self.join_s = Histogram(
            "parley_join_seconds",
            "From an accepted request to join until the client's media flows.",
            buckets=(0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10),
            registry=self._registry,
        )
        self.loop_lag_s = Histogram(
            "parley_loop_lag_seconds",
            "How late the event loop runs what is due.",
            buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5),
            registry=self._registry,
        )

        self._worst_lag = Worst(LAG_WINDOW_S)
        Gauge(
            "parley_loop_lag_max_seconds",
            f"The worst of the last {LAG_WINDOW_S:g} seconds.",
            registry=self._registry,
        ).set_function(lambda: self._worst_lag.value(time.monotonic()))

    def render(self) -> bytes:
        """Everything, in the text exposition format, version 0.0.4."""
        return generate_latest(self._registry)

    async def watch_loop(self) -> None:
        """Measure how late the loop wakes a sleeper; runs until cancelled."""
        while True:
            due = time.monotonic() + LAG_PERIOD_S
            await asyncio.sleep(LAG_PERIOD_S)
            now = time.monotonic()
            lag = max(0.0, now - due)
            self.loop_lag_s.observe(lag)
            self._worst_lag.add(now, lag)


class Worst:
    """The largest of the values that came within the last `window_s`; takes as many as come in that time at most."""

    def __init__(self, window_s: float) -> None:
        self._window_s = window_s
        self._falling: deque[tuple[float, float]] = deque()
        """Those that no later one has exceeded, oldest first, each with its time."""

    def add(self, now: float, value: float) -> None:
        """now: seconds, never less than before."""
        while self._falling and self._falling[-1][1] <= value:
            self._falling.pop()
        self._falling.append((now, value))
        self._forget(now)

    def value(self, now: float) -> float:
        """0 where nothing came."""
        self._forget(now)
        return self._falling[0][1] if self._falling else 0.0

    def _forget(self, now: float) -> None:
        while self._falling and self._falling[0][0] < now - self._window_s:
            self._falling.popleft()


class _Readings(Collector):
    """Reads the engine and the rooms anew on every scrape."""

    def __init__(self, counters: Callable[[], Mapping[str, int]], census: Callable[[], Mapping[str, int]]) -> None:
        self._counters = counters
        self._census = census

    def describe(self) -> Iterable[Metric]:
        return ()  # the names are the engine's; registering must not call it

    def collect(self) -> Iterable[Metric]:
        for name, value in self._census().items():
            yield GaugeMetricFamily(f"parley_{name}", f"{name.capitalize()} right now.", value=value)
        yield from engine_families(self._counters())


_TRAFFIC = {
    "datagrams_in": ("parley_packets_received", "Datagrams received."),
    "datagrams_out": ("parley_packets_sent", "Datagrams sent."),
    "bytes_in": ("parley_bytes_received", "Bytes of datagrams received."),
    "bytes_out": ("parley_bytes_sent", "Bytes of datagrams sent."),
}
_HELD = (
    "transports",
    "transports_pending",
    "producers",
    "consumers",
    "channels",
    "links",
    "receive_buffer_bytes",
    "send_buffer_bytes",
)
"""The engine's values that are how many there are now; all others only rise."""


def engine_families(counters: Mapping[str, int]) -> Iterable[Metric]:
    """Sort the engine's counters: traffic by its own names, drops by reason, what it holds, the rest by name."""
    drops = CounterMetricFamily("parley_drops", "Datagrams and packets dropped, by reason.", labels=["reason"])
    held = GaugeMetricFamily("parley_engine_objects", "What the engine holds right now, by kind.", labels=["kind"])
    others = CounterMetricFamily("parley_engine", "The engine's other counters, by name.", labels=["counter"])
    for name, value in sorted(counters.items()):
        if name in _TRAFFIC:
            metric, text = _TRAFFIC[name]
            yield CounterMetricFamily(metric, text, value=value)
        elif name.startswith("drop_"):
            drops.add_metric([name.removeprefix("drop_")], value)
        elif name in _HELD:
            held.add_metric([name], value)
        else:
            others.add_metric([name], value)
    yield from (drops, held, others)
