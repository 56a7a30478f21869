"""Whole-server scenarios: the server on one core, the load generator on the other, both as users run them.

The number that counts is the server's CPU time for each packet it forwarded; packets are counted where they arrive.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from benchmarks import generator, micro, server
from benchmarks.figures import Figure, at_most
from benchmarks.generator import Run


@dataclass(frozen=True)
class Settings:
    """How long and how often."""

    warmup_s: float
    duration_s: float
    runs: int = 1


def fan_out(settings: Settings, listeners: int) -> list[Figure]:
    """A: one 720p VP8 publisher to so many subscribers."""
    name = f"A, one video to {listeners}"
    required = {50: 8.0, 200: 4.75}.get(listeners)
    runs = _runs(settings, "--publishers", "1", "--subscribers", str(listeners), "--media", "video")
    return [_cost(name, runs, required), *_quality(name, runs)]


def efficiency(settings: Settings) -> list[Figure]:
    """E: how near A comes to what the kernel and the cipher cost by themselves, measured in the same minute."""
    limit = micro.measure_limit()
    figures = [
        Figure("T_k, sendmmsg of 64 over loopback", limit.send, "µs"),
        Figure("the same to 64 sockets, cold as subscribers' are", limit.send_apart, "µs"),
        Figure("T_rx, recvmmsg of 64", limit.receive, "µs"),
        Figure("T_gcm, AES-256-GCM of 1200 B", limit.seal(1200), "µs"),
    ]
    for listeners, least in ((50, 0.70), (200, 0.80)):
        runs = _runs(settings, "--publishers", "1", "--subscribers", str(listeners), "--media", "video")
        size = statistics.median(run.summary["bytes_received"] / run.received for run in runs)
        possible = limit.per_packet(listeners, size)
        measured = statistics.median(run.us_per_packet for run in runs)
        note = f"T_limit {possible:.2f} of {measured:.2f} µs, {size:.0f} B"
        share = possible / measured
        figures.append(Figure(f"E, one video to {listeners}", share, "", f"≥ {least:.2f}", share >= least, note))
    return figures


def speakers(settings: Settings, listeners: int) -> list[Figure]:
    """B: ten Opus speakers, who hear nobody, to so many listeners."""
    name = f"B, ten Opus speakers to {listeners}"
    flags = ("--publishers", "10", "--publishers-only-send", "--subscribers", str(listeners), "--media", "audio")
    runs = _runs(settings, *flags)
    return [_cost(name, runs), *_quality(name, runs)]


MEETINGS = (8, 16)
FLAT = 1.15
"""Most over least, of what a packet costs, however many streams a connection has."""


def meetings(settings: Settings) -> list[Figure]:
    """C: everybody sends sound and simulcast video on the one connection on which they receive everybody else's.

    Each picture is seen in the best layer by one, in the middle one by three, in the smallest by the rest.
    """
    figures, costs = [], []
    for people in MEETINGS:
        flags = ("--cloudflare", "--simulcast", "--publishers", str(people), "--subscribers", "0", "--media", "both")
        runs = _runs(settings, *flags)
        name = f"C, {people} × {people} with simulcast"
        cost = _cost(name, runs)
        costs.append(cost.value)
        figures += [replace(cost, note=f"{cost.note}; {streams_seen(people, runs)}"), *_quality(name, runs)]
    streams = " to ".join(str(2 * (people - 1)) for people in MEETINGS)
    note = "the larger meeting over the smaller"
    return [*figures, at_most(f"C, from {streams} streams received", costs[-1] / costs[0], "×", FLAT, note)]


def streams_seen(people: int, runs: list[Run]) -> str:
    """How many streams were forwarded, and how many of them as asked. Raises SystemExit when some never began."""
    expected = 2 * people * (people - 1)
    for run in runs:
        if run.summary["streams_begun"] != expected:
            raise SystemExit(f"{run.summary['streams_begun']} of {expected} streams have begun")
    asked = min(run.summary["streams_as_asked"] for run in runs)
    return f"{expected} streams, {asked} of {expected // 2} pictures in the layer asked for"


# Publishers and tracks of each; sixty-four is as many as are published, or pulled, in a call.
_PULLED = {1: (1, 1), 64: (1, 64), 200: (4, 50)}


def one_connection(settings: Settings) -> list[Figure]:
    """What a packet costs at 1, 64 and 200 streams in the subscriber's connection, pulled, everything else the same.

    1000 Opus packets a second are published in all, each to twenty subscribers: the more streams, the slower each.
    """
    return _per_streams(settings, "pulled streams", _PULLED, "--cloudflare")


def calls(settings: Settings, rooms: int) -> list[Figure]:
    """D: so many calls of two, each with sound and picture both ways."""
    name = f"D, {rooms} calls of two"
    runs = _runs(settings, "--rooms", str(rooms), "--publishers", "2", "--subscribers", "0", "--media", "both")
    return [_cost(name, runs), *_quality(name, runs)]


def data(settings: Settings, mode: str) -> list[Figure]:
    """E: messages of one publisher to fifty: 16 KiB on the reliable channel, or 1 KiB on the lossy one."""
    size, rate, text = {"reliable": (16_384, 10, "16 KiB"), "lossy": (1024, 50, "1 KiB")}[mode]
    name = f"E, {text} {mode} to 50"
    flags = ("--publishers", "1", "--subscribers", "50", "--media", "none", "--publishers-only-send")
    runs = _runs(settings, *flags, "--data-bytes", str(size), "--data-rate", str(rate), "--data-mode", mode)

    def delivered(run: Run) -> int:
        return int(run.summary["data"]["received"])

    def cost(run: Run) -> float:
        assert run.spent is not None
        return run.spent.spent * 1e6 / delivered(run)

    costs = [cost(run) for run in runs]
    median = statistics.median(costs)
    share = max(run.summary["data"]["lost"] / max(1, delivered(run) + run.summary["data"]["lost"]) for run in runs)
    p99_ms = statistics.median(run.summary["data"]["latency_us"]["p99"] for run in runs) / 1000
    return [
        Figure(f"{name}, CPU per message", median, "µs", note=f"{median / size * 1024:.1f} µs a KiB{_spread(costs)}"),
        Figure(f"{name}, latency p99", p99_ms, "ms"),
        at_most(f"{name}, lost", share * 100, "%", 0.0 if mode == "reliable" else 1.0),
    ]


# Publishers and tracks of each: twenty at most, which is what a server lets wait for its offer.
_STREAMS = {1: (1, 1), 10: (1, 10), 30: (2, 15), 100: (5, 20)}


def streams(settings: Settings) -> list[Figure]:
    """What a packet costs at 1, 10, 30 and 100 streams in the subscriber's connection, everything else the same.

    1000 Opus packets a second are published in all, each to twenty subscribers: the more streams, the slower each.
    """
    return _per_streams(settings, "streams", _STREAMS)


def _per_streams(settings: Settings, what: str, shapes: Mapping[int, tuple[int, int]], *flags: str) -> list[Figure]:
    figures = []
    for count, (publishers, tracks) in shapes.items():
        shape = ("--publishers", str(publishers), "--streams", str(tracks), "--publishers-only-send", *flags)
        runs = _runs(settings, *shape, "--subscribers", "20", "--media", "audio", "--pace", str(count / 20))
        figures.append(_cost(f"{count} {what} per connection", runs))
    costs = [figure.value for figure in figures]
    name = f"change from {min(shapes)} to {max(shapes)} {what} per connection"
    return [*figures, at_most(name, max(costs) / min(costs), "×", FLAT, "most over least")]


def connects(settings: Settings, count: int = 100) -> list[Figure]:
    """One client after another joins an empty room and leaves it: what each costs the server."""
    spent: list[float] = []
    summary: generator.Line = {}
    with server.running() as running:
        before = running.cpu_time()
        flags = ("connects", str(count), "--publishers", "0", "--subscribers", "1")
        for line in generator.lines(running, *flags, limit_s=generator.PATIENCE_S):
            now = running.cpu_time()
            match line["type"]:
                case "connected":
                    spent.append((now - before).spent * 1000)
                case "summary":
                    summary = line
            before = now
    if len(spent) != count:
        raise SystemExit(f"{len(spent)} of {count} connects came to be")
    note = f"{min(spent):.1f} to {max(spent):.1f}, of {count}"
    connect = summary["connect_ms"]
    return [
        at_most("connecting, server CPU each, median", statistics.median(spent), "ms", 15, note),
        Figure("connecting, request to connected, median", connect["p50"], "ms", note=f"p99 {connect['p99']:.0f}"),
    ]


def joins(settings: Settings, count: int = 200, over_s: float = 20) -> list[Figure]:
    """So many join one room within twenty seconds, where one publishes video."""
    with server.running() as running:
        flags = ("--publishers", "1", "--subscribers", str(count), "--media", "video", "--join-over", f"{over_s:g}")
        starting_ms = running.metrics()["parley_loop_lag_max_seconds"] * 1000
        run = generator.load(running, *flags, warmup_s=1, duration_s=2)
        lag_ms = running.metrics()["parley_loop_lag_max_seconds"] * 1000
        resident = running.resident_bytes()
    name = f"{count} joins in {over_s:g} s"
    signalling, first = run.summary["signalling_ms"], run.summary["first_media_ms"]
    return [
        Figure(f"{name}, signalling p99", signalling["p99"], "ms", note=f"p50 {signalling['p50']:.0f}"),
        Figure(f"{name}, to the first frame p99", first["p99"], "ms", note=f"p50 {first['p50']:.0f}"),
        at_most(f"{name}, longest loop lag", lag_ms, "ms", 250, f"{starting_ms:.0f} while starting"),
        Figure(f"{name}, memory of the server after", resident / 1e6, "MB"),
    ]


def storm(settings: Settings, publishers: int = 25, viewers: int = 175, over_s: float = 20) -> list[Figure]:
    """So many cameras and microphones, and so many who watch all of them, join one room within twenty seconds.

    What they send is slowed down two hundred times, but for the keyframes that joining asks for.
    """
    spent, python_s, lag_ms, packets = None, 0.0, 0.0, 0.0
    with server.running() as running:
        before, python_before = running.cpu_time(), running.python_seconds()

        def heard(line: generator.Line) -> None:
            nonlocal spent, python_s, lag_ms, packets
            if line["type"] == "started":
                spent, python_s = running.cpu_time() - before, running.python_seconds() - python_before
                metrics = running.metrics()
                lag_ms = metrics["parley_loop_lag_max_seconds"] * 1000
                packets = metrics['parley_engine_total{counter="rtp_out"}']

        shape = ("--publishers", str(publishers), "--publishers-only-send", "--subscribers", str(viewers))
        flags = (*shape, "--media", "both", "--pace", "200", "--join-over", f"{over_s:g}")
        run = generator.load(running, *flags, warmup_s=1, duration_s=1, heard=heard)
    assert spent is not None, "who has joined has been told of"
    name = f"{publishers} publishers and {viewers} viewers in {over_s:g} s"
    signalling = run.summary["signalling_ms"]
    share = f"{2 * publishers * viewers:,} subscriptions, {spent.spent / spent.at:.0%} of the core"
    return [
        Figure(f"{name}, server CPU", spent.spent, "s", note=share),
        Figure(
            f"{name}, of it Python", python_s, "s", note=f"{packets / 1e6:.1f} million packets, of keyframes, besides"
        ),
        Figure(f"{name}, signalling p99", signalling["p99"], "ms", note=f"p50 {signalling['p50']:.0f}"),
        at_most(f"{name}, longest loop lag", lag_ms, "ms", 250),
    ]


MOST_LOST = 0.001
"""Of the packets, at a rate that still counts as carried."""


def rate(settings: Settings, listeners: int = 50, most: int = 40) -> list[Figure]:
    """The largest video fan-out that loses less than 0.1 %, and the forward latency at half of it.

    Found by halving the interval of how many publish one video each, all of them to fifty subscribers.
    """

    def run(publishers: int, *more: str) -> Run:
        shape = ("--publishers", str(publishers), "--publishers-only-send", "--subscribers", str(listeners))
        with server.running() as running:
            flags = (*shape, "--media", "video", *more)
            return generator.load(running, *flags, warmup_s=settings.warmup_s, duration_s=settings.duration_s)

    def is_carried(attempt: Run) -> bool:
        return attempt.lost_share < MOST_LOST and attempt.summary["latency_us"]["p99"] < 100_000

    carried, refused = 0, most + 1
    best = None
    while refused - carried > 1:
        publishers = (carried + refused) // 2
        attempt = run(publishers)
        if is_carried(attempt):
            carried, best = publishers, attempt
        else:
            refused = publishers
    if best is None:
        raise SystemExit("not even one video stream to fifty was carried without loss")
    busy = (
        f"server {best.utilisation:.0%}, generator {best.generator_utilisation:.0%} of a core; {carried} × {listeners}"
    )
    per_s = best.received / settings.duration_s
    half = run(max(1, carried // 2), "--spin")
    latency, half_rate = half.summary["latency_us"], half.received / settings.duration_s
    return [
        Figure("largest rate with less than 0.1 % lost", per_s, "packets/s", note=busy),
        at_most("latency p50 at half of it", latency["p50"], "µs", 300, f"{half_rate:,.0f} packets/s"),
        at_most("latency p99 at half of it", latency["p99"] / 1000, "ms", 3),
    ]


HELD_S = 5


def gil(settings: Settings) -> list[Figure]:
    """Forward latency while the interpreter's lock is held for five seconds, against before and after.

    Ten Opus speakers to fifty: without the bursts of keyframes, which some seconds have and others have not.
    """
    window_s = 3 * HELD_S
    held: list[float] = []
    free: list[float] = []
    with server.running("-m", "benchmarks.stalled") as running:
        assert running.process.stdin is not None
        stdin = running.process.stdin
        elapsed = None

        def on_line(line: dict[str, object]) -> None:
            nonlocal elapsed
            if line["type"] == "measuring":
                elapsed = 0
            elif line["type"] == "second" and elapsed is not None and elapsed < window_s:
                latency = line["latency_us"]
                assert isinstance(latency, dict)
                # The seconds in which it is taken and given back belong to neither.
                if HELD_S < elapsed < 2 * HELD_S - 1:
                    held.append(latency["p99"])
                elif elapsed < HELD_S - 1 or elapsed > 2 * HELD_S:
                    free.append(latency["p99"])
                elapsed += 1
                if elapsed == HELD_S:
                    stdin.write(b"hold\n")
                    stdin.flush()

        flags = ("--publishers", "10", "--publishers-only-send", "--subscribers", "50", "--media", "audio", "--spin")
        generator.load(running, *flags, warmup_s=settings.warmup_s, duration_s=window_s, heard=on_line)
        answered = running.metrics()["parley_loop_lag_max_seconds"]
    assert answered >= HELD_S - 1, "the interpreter was not held"
    note = f"worst second {max(held) / 1000:.2f} ms held, {max(free) / 1000:.2f} ms free"
    change_ms = abs(statistics.median(held) - statistics.median(free)) / 1000
    return [at_most("latency p99, changed by the GIL held for 5 s", change_ms, "ms", 2, note)]


# ---- what they share


def _runs(settings: Settings, *flags: str) -> list[Run]:
    """As many runs as asked, each on a server of its own."""
    window = {"warmup_s": settings.warmup_s, "duration_s": settings.duration_s}
    runs = []
    for _ in range(settings.runs):
        with server.running() as running:
            # It has a core of its own, and its waking up is no part of the server's latency.
            runs.append(generator.load(running, *flags, "--spin", **window))
    return runs


def _cost(name: str, runs: list[Run], most_us: float | None = None) -> Figure:
    costs = [run.us_per_packet for run in runs]
    run = sorted(runs, key=lambda run: run.us_per_packet)[len(runs) // 2]
    assert run.spent is not None
    softirq = f"softirq by ticks {run.spent.softirq * 1e6 / run.received:.1f} µs"
    note = f"{run.received / run.spent.at:,.0f} packets/s, {run.utilisation:.0%} of the core, {softirq}{_spread(costs)}"
    median = statistics.median(costs)
    if most_us is None:
        return Figure(f"{name}, CPU per packet", median, "µs", note=note)
    return at_most(f"{name}, CPU per packet", median, "µs", most_us, note)


def _quality(name: str, runs: list[Run]) -> list[Figure]:
    def median(of: Callable[[Run], float]) -> float:
        return statistics.median(of(run) for run in runs)

    p50_ms = median(lambda run: run.summary["latency_us"]["p50"]) / 1000
    p99_ms = median(lambda run: run.summary["latency_us"]["p99"]) / 1000
    lost = max(run.lost_share for run in runs) * 100
    late_ms = max(run.summary["generator_lag_us"]["p99"] for run in runs) / 1000
    note = f"p50 {p50_ms:.2f} ms, lost {lost:.3f} %"
    if late_ms > 1:
        note += f"; the generator itself was late, p99 {late_ms:.1f} ms"
    return [Figure(f"{name}, latency p99", p99_ms, "ms", note=note)]


def _spread(values: list[float]) -> str:
    return f", {min(values):.2f} to {max(values):.2f} in {len(values)} runs" if len(values) > 1 else ""
