"""One client as a process of its own, to be killed: `python -m tests.flows.victim DIALECT PORT ROOM`.

It joins the room as "victim", publishes a tone and a picture, and says what sessions find it by; then it goes on until
something ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator

from .media import Picture, Tone
from .participant import joined
from .server import REPOSITORY, Server, token
from .session import calling


@contextlib.asynccontextmanager
async def victim(dialect: str, server: Server, room: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The process, once it publishes, and its id."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.flows.victim", dialect, str(server.port), room,
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src")},
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        id = (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()
        assert id, "it did not say who it is"
        yield process, id
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def main(dialect: str, port: str, room: str) -> None:
    at = f"127.0.0.1:{port}"
    if dialect == "livekit":
        async with joined(f"ws://{at}", token("victim", room)) as participant:
            await participant.speak(name="mic")
            await participant.show(320, 240, name="cam")
            await last_words(str(participant.room.local_participant.sid))
    else:
        async with calling(f"http://{at}") as app:
            session = await app.session(f"correlationId=room:{room}/victim")
            await session.push(mic=Tone(), cam=Picture())
            await last_words(session.id)


async def last_words(id: str) -> None:
    print(id, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
