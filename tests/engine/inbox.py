"""A data channel's listener that can be waited for."""

from __future__ import annotations

import asyncio

from parley.engine.engine import Message
from tests.engine.peers import PATIENCE_S


class Inbox:
    """Keeps what a channel delivers, oldest first."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()

    def __call__(self, message: Message) -> None:
        self._messages.put_nowait(message)

    @property
    def is_empty(self) -> bool:
        return self._messages.empty()

    async def next(self) -> Message:
        async with asyncio.timeout(PATIENCE_S):
            return await self._messages.get()
