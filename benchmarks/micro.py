"""What single steps cost (`cargo bench`), and from three of them the least that forwarding a packet can cost."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figure, at_most
from benchmarks.machine import SERVER_CORE

ROOT = Path(__file__).parents[1]
CRITERION = ROOT / "target" / "criterion"
GCM = "srtp_seal/SRTP_AEAD_AES_128_GCM"
AGREED = "srtp_seal/SRTP_AEAD_AES_256_GCM"
"""What the load generator's clients and the server agree on."""

DEVICE = "parleydrop"
NETWORK, SINK = "198.18.0.1/24", "198.18.0.2:9"
"""RFC 2544 §C.2.2: 198.18.0.0/15 is for benchmarks, and the discard port for what nobody reads."""

TOUCH_US = 0.08
"""One copy of a packet and the writing of its header, memory warm."""


def measure() -> list[Figure]:
    """Run every criterion bench and compare those that have a target."""
    with dropping_device() as sink:
        bench(sink=sink)
    ns = estimates()
    figures = [at_most(name, ns[bench], "ns", most) for bench, (name, most) in _TARGETS_NS.items()]
    streams = [ns[f"egress/streams per connection/{count}"] for count in (1, 10, 30, 100)]
    note = " / ".join(f"{value:.0f}" for value in streams) + " ns at 1 / 10 / 30 / 100"
    figures.append(at_most("egress, most over least of 1–100 streams", max(streams) / min(streams), "×", 1.10, note))
    figures.append(at_most("twcc_build(200)", ns["twcc_build/200"] / 1000, "µs", 6))
    figures.append(Figure("nack, sent again", ns["nack/sent again"], "ns"))
    kernel = [name for name in ns if name.startswith(("recv_batch/", "send_batch/"))]
    figures += [Figure(f"{name} a call", ns[name] / 1000, "µs") for name in sorted(kernel)]
    return figures


_TARGETS_NS = {
    f"{GCM}/160 B, 1 keys": ("srtp_seal, AES-128-GCM, 160 B", 170),
    f"{GCM}/600 B, 1 keys": ("srtp_seal, AES-128-GCM, 600 B", 320),
    f"{GCM}/1200 B, 1 keys": ("srtp_seal, AES-128-GCM, 1200 B", 440),
    f"{GCM}/1200 B, 1000 keys": ("srtp_seal, AES-128-GCM, 1200 B, 1000 keys", 440),
    "ingress": ("ingress", 650),
    "egress/subscribers/1": ("egress, 1 subscriber", 620),
    "egress/subscribers/10": ("egress, 10 subscribers", 620),
    "egress/subscribers/100": ("egress, 100 subscribers", 620),
    "egress/subscribers/1000": ("egress, 1000 subscribers", 850),
    "nack/hit, on its way already": ("nack_hit", 150),
    "nack/miss": ("nack_miss", 150),
}


@dataclass(frozen=True)
class Limit:
    """What the limit is made of, in microseconds a packet."""

    send: float
    """To one socket over and over: the least. `send_apart` is what a socket for each costs."""
    send_apart: float
    receive: float
    seal_fixed: float
    seal_per_byte: float

    def seal(self, bytes: float) -> float:
        return self.seal_fixed + self.seal_per_byte * bytes

    def per_packet(self, fan_out: int, bytes: float) -> float:
        """The least that one forwarded packet costs: the kernel, the cipher, one copy, and a share of receiving it."""
        opened = self.receive + self.seal(bytes)
        return self.send + self.seal(bytes) + TOUCH_US + opened / fan_out


def measure_limit() -> Limit:
    """Measure the T's anew: batches of 64 over loopback, where the sender pays for the receiver's queue too."""
    bench(f"^(recv_batch/64|send_batch/loopback.*/64|{AGREED}/.* 1 keys)$")
    ns = estimates()
    small, large = ns[f"{AGREED}/160 B, 1 keys"], ns[f"{AGREED}/1200 B, 1 keys"]
    per_byte = (large - small) / (1200 - 160)
    return Limit(
        send=ns["send_batch/loopback/64"] / 1000,
        send_apart=ns["send_batch/loopback, a socket each/64"] / 1000,
        receive=ns["recv_batch/64"] / 1000,
        seal_fixed=(small - per_byte * 160) / 1000,
        seal_per_byte=per_byte / 1000,
    )


def bench(only: str = "", *, sink: str | None = None) -> None:
    """`cargo bench` on the server's core. only: a regular expression of names. Raises SystemExit."""
    cargo = ["cargo", "bench", "--locked", "-p", "parley-sfu", "--features", "bench"]
    cargo += ["--bench", "packets", "--bench", "datagrams"]
    pinned = ["taskset", "--cpu-list", str(SERVER_CORE), *cargo, "--", only]
    env = {**os.environ, **({"PARLEY_DROPPING": sink} if sink else {})}
    for command in ([*cargo, "--no-run"], pinned):
        done = subprocess.run([part for part in command if part], cwd=ROOT, env=env, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"cargo bench failed\n{done.stderr}")


def estimates() -> dict[str, float]:
    """The medians of the last run of every bench, in nanoseconds, by the bench's name."""
    found = {}
    for file in CRITERION.glob("**/new/benchmark.json"):
        name = json.loads(file.read_text())["full_id"]
        found[name] = float(json.loads(file.with_name("estimates.json").read_text())["median"]["point_estimate"])
    return found


@contextlib.contextmanager
def dropping_device() -> Iterator[str | None]:
    """A device that drops what it is to transmit, and an address behind it; None where we may not make one."""
    with device(DEVICE, NETWORK) as made:
        if not made:
            print("no device that drops can be made here (that takes root): send_batch over loopback only")
        yield SINK if made else None


@contextlib.contextmanager
def device(name: str, address: str) -> Iterator[bool]:
    """A network device that leads nowhere, with an address; False where we may not make one."""
    made = any(_ip("link", "add", name, "txqueuelen", "0", "type", kind) for kind in ("dummy", "ifb"))
    try:
        yield made and _ip("addr", "add", address, "dev", name) and _ip("link", "set", name, "up")
    finally:
        if made:
            _ip("link", "del", name)


def _ip(*arguments: str) -> bool:
    try:
        return subprocess.run(["ip", *arguments], capture_output=True, check=False).returncode == 0
    except OSError:
        return False
