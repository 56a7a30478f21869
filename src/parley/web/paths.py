"""Paths as clients really write them."""

from starlette.types import ASGIApp, Receive, Scope, Send


class OneLeadingSlash:
    """Take one slash off a path that begins with two.

    People configure `wss://host/` and clients append `/rtc`. A redirect would not do: WebSocket
    clients do not follow one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket") and scope["path"].startswith("//"):
            scope = dict(scope) | {"path": scope["path"][1:]}
            raw = scope.get("raw_path")
            if raw and raw.startswith(b"//"):
                scope["raw_path"] = raw[1:]
        await self._app(scope, receive, send)
