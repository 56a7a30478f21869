"""Scenario A against Debian's Janus (videoroom), with the same traces and the same load generator.

Janus takes no media on the loopback device, so it gets an address of its own on a device that leads nowhere; what is
sent there passes through loopback all the same. Making that device takes root.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import generator, micro
from benchmarks.figures import Figure
from benchmarks.machine import SERVER_CORE
from benchmarks.server import ROOT, START_LIMIT_S, Server, free_port, stop

ROOM = 1234
ADDRESS = "198.18.1.1"
"""RFC 2544 §C.2.2: for benchmarks."""
INSTALL = "janus is not installed; on Debian: sudo apt-get install --no-install-recommends janus"


def measure(warmup_s: float, duration_s: float, listeners: tuple[int, ...] = (10, 50)) -> list[Figure]:
    """What Janus spends on each packet that it forwards. Raises SystemExit where it cannot run."""
    program = shutil.which("janus")
    if program is None:
        raise SystemExit(INSTALL)
    about = _about(program)
    figures = []
    for count in listeners:
        with _running(program) as janus:
            flags = ("--janus", "--room", str(ROOM), "--publishers", "1", "--subscribers", str(count))
            run = generator.load(janus, *flags, "--media", "video", "--spin", warmup_s=warmup_s, duration_s=duration_s)
        p99_ms = run.summary["latency_us"]["p99"] / 1000
        note = f"{about}; {run.utilisation:.0%} of the core, latency p99 {p99_ms:.2f} ms, lost {run.lost_share:.3%}"
        figures.append(Figure(f"Janus, one video to {count}, CPU per packet", run.us_per_packet, "µs", note=note))
    return figures


def _about(program: str) -> str:
    """Its version, and which library its SRTP is sealed by."""
    version = _first(r"(\d+\.\d+\.\d+)", subprocess.run([program, "--version"], capture_output=True, text=True).stdout)
    libraries = _libraries(program)
    srtp = next((path for name, path in libraries.items() if name.startswith("libsrtp2")), "")
    backends = _libraries(srtp) if srtp else {}
    backend = "NSS" if any(name.startswith("libnss3") for name in backends) else "its own"
    if any(name.startswith("libcrypto") for name in backends):
        backend = "OpenSSL"
    package = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", "libsrtp2-1"], capture_output=True, text=True)
    return f"Janus {version}, libsrtp {package.stdout or 'of unknown version'} on {backend}"


def _libraries(binary: str) -> dict[str, str]:
    """What it is linked to, by name, with the file of each."""
    said = subprocess.run(["ldd", binary], capture_output=True, text=True).stdout
    return dict(re.findall(r"(\S+) => (\S+)", said))


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    return found[1] if found else "of unknown version"


@contextlib.contextmanager
def _running(program: str) -> Iterator[Server]:
    """Janus with nothing but its WebSocket transport and its videoroom, on the server's core."""
    with tempfile.TemporaryDirectory() as name, _address():
        folder, port = Path(name), free_port(socket.SOCK_STREAM)
        _configure(folder, _modules(program), port)
        with open(ROOT / "target" / "benchmark-janus.log", "wb") as log:
            process = subprocess.Popen(
                ["taskset", "--cpu-list", str(SERVER_CORE), program, "-F", folder, "-C", folder / "janus.jcfg"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            try:
                _await(process, port)
                yield Server(process, port)
            finally:
                stop(process)


def _configure(folder: Path, modules: Path, port: int) -> None:
    """Its sample configuration, as far as it matters: what is not said is as Debian ships it."""
    for kind, module in (("plugins", "libjanus_videoroom.so"), ("transports", "libjanus_websockets.so")):
        (folder / kind).mkdir()
        (folder / kind / module).symlink_to(modules / kind / module)
    files = {
        "janus.jcfg": f"""
            general: {{ plugins_folder = "{folder}/plugins"; transports_folder = "{folder}/transports"; }}
            media: {{ rtp_port_range = "20000-29999"; }}
            nat: {{ ice_enforce_list = "{ADDRESS}"; }}
        """,
        "janus.transport.websockets.jcfg": f"""
            general: {{ json = "plain"; ws = true; ws_port = {port}; ws_ip = "127.0.0.1"; }}
        """,
        # bitrate 0: it caps no publisher, as Parley does not.
        "janus.plugin.videoroom.jcfg": f"""
            room-{ROOM}: {{ publishers = 20; bitrate = 0; videocodec = "vp8"; audiocodec = "opus"; }}
        """,
    }
    for file, text in files.items():
        (folder / file).write_text(text)


def _modules(program: str) -> Path:
    prefix = Path(program).parents[1] / "lib"
    found = next((path.parents[1] for path in prefix.glob("**/janus/plugins/libjanus_videoroom.so")), None)
    if found is None:
        raise SystemExit(f"janus has no videoroom below {prefix}")
    return found


def _await(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("janus did not start; see target/benchmark-janus.log") from None
            time.sleep(0.05)


@contextlib.contextmanager
def _address() -> Iterator[None]:
    device = "parleyjanus"
    with micro.device(device, f"{ADDRESS}/32") as made:
        if not made:
            raise SystemExit("janus needs an address that is not loopback's, and giving it one takes root")
        yield
