"""Short answers in plain text, to a request or in place of a WebSocket."""

from starlette.responses import PlainTextResponse, Response
from starlette.websockets import WebSocket


def plain(status: int, text: str = "") -> Response:
    """A plain-text answer; the text is the whole body."""
    return PlainTextResponse(text, status_code=status)


async def refuse_upgrade(websocket: WebSocket, status: int, text: str = "") -> None:
    """Answer a request for a WebSocket with an ordinary HTTP status and body instead.

    The caller must not have accepted the socket. Where the server cannot say a status (the ASGI
    extension `websocket.http.response` is missing) the client sees 403 and no body.
    """
    if "websocket.http.response" in websocket.scope.get("extensions", {}):
        await websocket.send_denial_response(plain(status, text))
    else:
        await websocket.close()
