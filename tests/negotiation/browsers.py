"""Real browsers, driven from a test: a page fetches JavaScript from a local server, runs it, posts what came out.

Works alike in every browser, needs no driver, and leaves nothing behind: profile, process and server end with the
`with` block. `find()` says which browsers this machine has.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_PAGE = """<!doctype html><meta charset="utf-8"><title>peer</title><script>
const state = {};
(async () => {
  for (;;) {
    const reply = await fetch("/next", {cache: "no-store"});
    if (reply.status !== 200) continue;
    const {id, code} = await reply.json();
    const body = {id};
    try {
      body.value = await new (async () => {}).constructor("state", code)(state);
    } catch (error) {
      body.error = String(error) + " " + (error && error.stack || "");
    }
    await fetch("/result", {method: "POST", body: JSON.stringify(body)});
  }
})();
</script>"""

_CHROMIUM = [
    "--headless=new",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--auto-accept-this-tab-capture",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

_FIREFOX = {
    "media.navigator.streams.fake": True,
    "media.navigator.permission.disabled": True,
    "media.autoplay.default": 0,
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.aboutwelcome.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "media.gmp-manager.updateEnabled": False,
    "extensions.update.enabled": False,
    "services.settings.server": "data:,",
    "trailhead.firstrun.didSeeAboutWelcome": True,
    "browser.startup.homepage_override.mstone": "ignore",
}


def find() -> dict[str, str]:
    """The browsers of this machine: `chromium` and `firefox` to their paths."""
    known = {"chromium": shutil.which("chromium"), "firefox": shutil.which("firefox-esr") or shutil.which("firefox")}
    return {name: path for name, path in known.items() if path}


def version(name: str) -> str:
    """Such as `Chromium 156.0.8078.79`."""
    line = subprocess.run([find()[name], "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    words = line.replace("Mozilla", "").split()
    return " ".join(words[:2])


class Browser:
    """One tab."""

    def __init__(self) -> None:
        self._commands: queue.Queue[str] = queue.Queue(maxsize=16)
        self._results: queue.Queue[dict[str, Any]] = queue.Queue(maxsize=16)
        self._files: dict[str, Path] = {}
        self._count = 0
        self._closed = threading.Event()

    def run(self, code: str, timeout_s: float = 60) -> Any:
        """Run the body of an async function of `state`, which lasts as long as the tab; what it returns as JSON.

        Raises RuntimeError with the browser's own words when it throws, TimeoutError when it does not end.
        """
        self._count += 1
        self._commands.put(json.dumps({"id": self._count, "code": code}))
        try:
            result = self._results.get(timeout=timeout_s)
        except queue.Empty:
            raise TimeoutError(f"the browser did not answer within {timeout_s} s") from None
        if "error" in result:
            raise RuntimeError(result["error"])
        return result.get("value")

    def serve(self, path: str, file: Path) -> None:
        """Let the page fetch a file."""
        self._files[path] = file

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        browser = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/next":
                    self._next()
                elif self.path in browser._files:
                    self._reply(200, "text/javascript", browser._files[self.path].read_bytes())
                elif self.path == "/":
                    self._reply(200, "text/html", _PAGE.encode())
                else:
                    self._reply(404, "text/plain", b"")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                browser._results.put(json.loads(body))
                self._reply(204, "text/plain", b"")

            def _next(self) -> None:
                while not browser._closed.is_set():
                    try:
                        command = browser._commands.get(timeout=0.5)
                    except queue.Empty:
                        continue
                    self._reply(200, "application/json", command.encode())
                    return

            def _reply(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        return Handler


@contextmanager
def browser(name: str) -> Iterator[Browser]:
    """Open a browser at an empty page, with fake devices that need no permission."""
    tab = Browser()
    server = ThreadingHTTPServer(("127.0.0.1", 0), tab._handler())
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/"
    with tempfile.TemporaryDirectory(prefix="parley-browser-", ignore_cleanup_errors=True) as profile:
        process = _start(name, Path(profile), url)
        try:
            tab.run("return 1", timeout_s=90)
            yield tab
        finally:
            tab._closed.set()
            _end(process)
            server.shutdown()
            server.server_close()
            thread.join(timeout=5)


def _start(name: str, profile: Path, url: str) -> subprocess.Popen[bytes]:
    path = find()[name]
    if name == "firefox":
        lines = [f"user_pref({json.dumps(key)}, {json.dumps(value)});" for key, value in _FIREFOX.items()]
        (profile / "user.js").write_text("\n".join(lines))
        command = [path, "--headless", "--no-remote", "--profile", str(profile), url]
    else:
        command = [path, *_CHROMIUM, f"--user-data-dir={profile}", url]
    environment = os.environ | {"HOME": str(profile), "XDG_RUNTIME_DIR": str(profile)}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment, start_new_session=True)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the browser with all its children: they share the group that was made for it."""
    for what, patience_s in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, what)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            continue
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
