"""Capture the golden descriptions anew: `python -m tests.vectors.sdp.capture CLIENT…` from the repository's root.

Clients: `chromium` and `firefox` (the system's, headless), `aiortc`, `livekit` (PyPI), `livekit-client` (npm, from
`console/node_modules`, in Chromium). Without a name, all of them. Each holds the sessions of
`tests/negotiation/sessions.py` with a seeded negotiator, over local sockets only; what it said is written to
`tests/vectors/sdp/<client>/<session>.<step>.<offer|answer>.sdp`, with client and version in the first lines.

`made/` is not captured: those are written by hand after descriptions of Safari and Plan B stacks.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from tests.negotiation import browsers, peers, signalling
from tests.negotiation.sessions import SESSIONS, VECTORS, save

CONSOLE = Path(__file__).parents[3] / "console"


def from_browser(name: str) -> None:
    """Hold every session with a browser."""
    client = browsers.version(name)
    with browsers.browser(name) as tab:
        for session, steps in SESSIONS.items():
            _save_session(name, client, session, peers.browser_session(tab, steps))


async def from_aiortc() -> None:
    """Hold those sessions with aiortc that it is able to."""
    for session in peers.AIORTC_SESSIONS:
        texts = await peers.aiortc_session(SESSIONS[session])
        _save_session("aiortc", f"aiortc {version('aiortc')}", session, texts)


def _save_session(folder: str, client: str, session: str, texts: list[str]) -> None:
    for index, (step, said) in enumerate(zip(SESSIONS[session], texts, strict=False)):
        kind = "answer" if step.client is None else "offer"
        path = VECTORS / folder / f"{session}.{index + 1}.{kind}.sdp"
        save(path, client, kind, f"{session}, step {index + 1}", said)


async def from_livekit() -> None:
    """Join, publish and subscribe with the package from PyPI."""
    async with signalling.server() as where:
        await signalling.join_with_python(where)
        _save_signalled("livekit", f"livekit {version('livekit')} (PyPI)", where)


async def from_livekit_client() -> None:
    """Join, publish and subscribe with the package from npm, in Chromium."""
    script = CONSOLE / "node_modules" / "livekit-client" / "dist" / "livekit-client.umd.js"
    if not script.exists():
        sys.exit("livekit-client is not there: run `npm ci` in console/")
    package = script.parents[1] / "package.json"
    client = f"livekit-client {signalling.npm_version(package)} in {browsers.version('chromium')}"
    async with signalling.server() as where:
        await signalling.join_with_browser(where, script)
        _save_signalled("livekit-client", client, where)


def _save_signalled(folder: str, client: str, where: signalling.Capture) -> None:
    for name, kind, text in where.texts:
        save(VECTORS / folder / f"{name}.{kind}.sdp", client, kind, name, text)


def main(names: list[str]) -> None:
    runs: dict[str, Callable[[], None]] = {
        "chromium": lambda: from_browser("chromium"),
        "firefox": lambda: from_browser("firefox"),
        "aiortc": lambda: asyncio.run(from_aiortc()),
        "livekit": lambda: asyncio.run(from_livekit()),
        "livekit-client": lambda: asyncio.run(from_livekit_client()),
    }
    for name in names or list(runs):
        runs[name]()
        print(f"{name}: {len(list((VECTORS / name).glob('*.sdp')))} descriptions")


if __name__ == "__main__":
    main(sys.argv[1:])
