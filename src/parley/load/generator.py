"""The load generator as a child process: started, read line by line, ended whatever happens."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

import parley

SILENCE_S = 60.0
"""It speaks every second once everybody has joined, and gives each client thirty to do so."""
GOODBYE_S = 8.0
"""Its clients leave one and all before it ends."""
SECRET = "LIVEKIT_API_SECRET"
LONGEST_LINE = 1 << 20


class LoadError(RuntimeError):
    """The test could not be carried out; the message says why."""


def find() -> Path:
    """Raises LoadError when it has not been built."""
    binary = Path(parley.__file__).with_name("_loadgen")
    if not os.access(binary, os.X_OK):
        raise LoadError(f"the load generator is not there ({binary}); from a clone, `tools/run loadgen` builds it")
    return binary


async def run(
    binary: Path, arguments: list[str], *, secret: str, heard: Callable[[str], None], silence_s: float = SILENCE_S
) -> str:
    """Run it to its end, handing over each line that it writes; the last it complained of, usually nothing.

    secret: that of the API key, told by the environment, since everybody on the machine can read arguments.
    Raises LoadError when it falls silent. When cancelled, it is told to end first.
    """
    process = await asyncio.create_subprocess_exec(
        binary,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
        env={**os.environ, SECRET: secret},
        process_group=0,  # Ctrl-C is ours to pass on, so that it ends once and not twice
    )
    assert process.stdout is not None
    assert process.stderr is not None
    complaint = asyncio.create_task(_last_line(process.stderr))
    try:
        while True:
            async with asyncio.timeout(silence_s):
                line = await process.stdout.readline()
            if not line:
                return await asyncio.wait_for(complaint, GOODBYE_S)
            heard(line.decode(errors="replace").strip())
    except TimeoutError:
        raise LoadError(f"the load generator said nothing for {silence_s:.0f} s") from None
    finally:
        complaint.cancel()
        await _end(process)


async def _last_line(stream: asyncio.StreamReader) -> str:
    """Read to the end and keep the last line that says something."""
    last = ""
    while line := await stream.readline():
        last = line.decode(errors="replace").strip() or last
    return last


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        async with asyncio.timeout(GOODBYE_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
