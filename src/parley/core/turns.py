"""Turns for work that takes milliseconds: one piece in each turn of the event loop."""

from __future__ import annotations

import asyncio


class Turns:
    """Whoever is about to hold the loop for long takes a turn first.

    When one thing makes work for a crowd (a track is published, and everybody is offered it), all of it would
    otherwise become ready in one turn of the loop and hold up everything else until it is done.
    """

    def __init__(self) -> None:
        self._taken = asyncio.Lock()

    async def take(self) -> None:
        """Return when it is the caller's turn, in the order of asking; at once where nobody else took this one.

        What follows belongs to the turn, up to the caller's next await.
        """
        await self._taken.acquire()
        asyncio.get_running_loop().call_soon(self._taken.release)
