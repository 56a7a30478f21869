"""Answers that scripts of any origin may read.

Clients of these APIs run on pages of other origins and send their credential themselves, in a
header or the query; no cookie is ever used, so there is nothing an origin check would protect.
Source: WHATWG Fetch, "CORS protocol".
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = "OPTIONS, HEAD, GET, POST, PATCH, DELETE"
PREFLIGHT_MAX_AGE_S = 86400

_STARTS = frozenset({"http.response.start", "websocket.http.response.start"})


class AnyOrigin:
    """Echo the origin on every answer of the application inside, and answer preflights for it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is None:
            await self._app(scope, receive, send)
            return

        async def send_readable(message: Message) -> None:
            if message["type"] in _STARTS:
                answer = MutableHeaders(scope=message)
                answer["Access-Control-Allow-Origin"] = origin
                answer["Access-Control-Expose-Headers"] = "*"
                answer.add_vary_header("Origin")
            await send(message)

        if scope["type"] == "http" and _is_preflight(scope, headers):
            await _preflight(headers)(scope, receive, send_readable)
        else:
            await self._app(scope, receive, send_readable)


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    return scope["method"] == "OPTIONS" and "access-control-request-method" in headers


def _preflight(headers: Headers) -> Response:
    answer = Response(status_code=204)
    answer.headers["Access-Control-Allow-Methods"] = METHODS
    answer.headers["Access-Control-Max-Age"] = str(PREFLIGHT_MAX_AGE_S)
    asked = headers.get("access-control-request-headers")
    if asked:
        answer.headers["Access-Control-Allow-Headers"] = asked
    return answer
