"""The server as users run it, on a core of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import SERVER_CORE, CpuTime, cpu_time

ROOT = Path(__file__).parents[1]
START_LIMIT_S = 15.0
STOP_LIMIT_S = 10.0
SERVE = ("-m", "parley")


@dataclass(frozen=True)
class Server:
    """One that runs."""

    process: subprocess.Popen[bytes]
    port: int

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def cpu_time(self) -> CpuTime:
        return cpu_time(self.process.pid)

    def python_seconds(self) -> float:
        """What its event loop's thread has spent so far, to a hundredth: all of Python, and none of the engine."""
        pid = self.process.pid
        fields = Path(f"/proc/{pid}/task/{pid}/stat").read_text().rpartition(")")[2].split()
        # proc(5): utime and stime are the 14th and 15th, of which the name was the 2nd.
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metrics(self) -> dict[str, float]:
        """The samples of /metrics, by name with labels."""
        samples = (line.rsplit(" ", 1) for line in self._get("/metrics").splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in samples}

    def resident_bytes(self) -> int:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            text: str = answer.read().decode()
            return text


@contextlib.contextmanager
def running(*program: str) -> Iterator[Server]:
    """Start it on free ports of loopback and stop it by its own pid. program: another than `parley` itself."""
    port = free_port(socket.SOCK_STREAM)
    command = [sys.executable, *(program or SERVE), "serve", "--dev"]
    command += ["--bind", f"127.0.0.1:{port}", "--udp-port", str(free_port(socket.SOCK_DGRAM))]
    with open(ROOT / "target" / "benchmark-server.log", "wb") as log:
        process = subprocess.Popen(
            ["taskset", "--cpu-list", str(SERVER_CORE), *command],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            server = Server(process, port)
            _await(server)
            yield server
        finally:
            stop(process)


def _await(server: Server) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            server._get("/healthz")
            return
        except OSError:
            if server.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("the server did not start; see target/benchmark-server.log") from None
            time.sleep(0.05)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it, by force if it does not listen."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port(kind: socket.SocketKind) -> int:
    """One of loopback that was free a moment ago."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
