"""What uvicorn leaves open: bounds and deadlines, so that nobody holds a connection, or memory, for nothing.

uvicorn waits for ever for a request's head and keeps however much comes of it; it waits for ever for a client that does
not take its answer; and a socket that is closed stays open until the client has read what was written before.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

HEAD_S: Final = 10.0
"""From a connection, or the first byte of a further request, to the end of the request's head."""
HEAD_BYTES: Final = 64 * 1024
"""One request's head: its first line and its headers. What arrives in one piece may go beyond it by that piece."""
ANSWER_S: Final = 120.0
"""From the end of a request's head until the client has sent its body and taken the answer."""
CLOSE_S: Final = 5.0
"""How long a client has to read what was written before its connection was closed."""
FRAGMENTS: Final = 1024
"""Frames that one message may come in."""

_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LATE: Final = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class HttpConnection(HttpToolsProtocol):
    """One connection while it speaks HTTP."""

    _head_bytes = 0
    _is_in_head = True
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(closing_in_time(transport, self.loop))
        self._expect(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._is_in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            self._refuse(_TOO_LARGE)
        elif self._deadline is None:
            self._expect(HEAD_S)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._expect(ANSWER_S)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        self._expect(None)
        super().on_response_complete()

    def handle_websocket_upgrade(self) -> None:
        self._expect(None)
        super().handle_websocket_upgrade()

    def _expect(self, within_s: float | None) -> None:
        """Give what is to happen next a deadline in place of the last one; None: nothing need happen."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if within_s is None else self.loop.call_later(within_s, self._late)

    def _late(self) -> None:
        self._deadline = None
        if self._is_in_head:
            self._refuse(_TOO_LATE if self._head_bytes else b"")
        else:
            self.transport.abort()

    def _refuse(self, answer: bytes) -> None:
        self._expect(None)
        if answer:
            self.transport.write(answer)
        self.transport.close()


class SocketConnection(WebSocketsSansIOProtocol):
    """One connection while it is a WebSocket."""

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            # Pongs for a client that does not read would pile up; RFC 6455 §5.5.3 asks only for the last one anyway.
            self.conn.data_to_send()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= FRAGMENTS:
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG, f"a message in more than {FRAGMENTS} frames")
            self.handle_parser_exception()
        elif not self.close_sent:
            super().handle_cont(event)


def closing_in_time(transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> asyncio.Transport:
    """The same transport, but one that is closed is gone within `CLOSE_S`, whether or not its peer reads."""
    return cast(asyncio.Transport, _ClosingInTime(transport, loop))


class _ClosingInTime:
    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._is_closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        self._transport.close()
        if not self._is_closed:
            self._is_closed = True
            self._loop.call_later(CLOSE_S, self._transport.abort)
