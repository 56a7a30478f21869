"""The routes of the try-it page, for the one Starlette app that a server is.

`/` answers the page to a browser and `OK` to everyone else, because LiveKit's clients and load
balancers take a 200 there for health. Nothing here knows a room or a dialect: who may mint a
token is decided by whether a mint function was handed over and by who is asking.
"""

import ipaddress
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from parley import __version__
from parley.web.bodies import BodyTooLarge, read_body

from .tokens import Asked, TokenRefused, read_asked

Mint = Callable[[str, str], str]
"""(room, name) to an access token. Called once per tab, so each call must give a fresh identity."""

STATIC = Path(__file__).parent / "static"

BODY_LIMIT_BYTES = 4096

# The page runs its own files only. Blobs are what getUserMedia previews and audio worklets use; the
# schemes ws: and wss: stand beside 'self' because not every browser lets 'self' cover a WebSocket.
PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "media-src 'self' blob:; connect-src 'self' ws: wss:; worker-src 'self' blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "permissions-policy": "camera=(self), microphone=(self), display-capture=(self), autoplay=(self)",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    # A page kept from before an upgrade would ask for assets that are gone.
    "cache-control": "no-cache",
}

UNBUILT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Parley is running</title>
<h1>Parley is running</h1>
<p>The server is up, and clients can connect. Only this page has not been built yet. In the repository, run</p>
<pre>cd console &amp;&amp; npm ci &amp;&amp; npm run build</pre>
<p>and reload. <code>make serve</code> does the same before it starts the server.</p>
</html>
"""


def build(*, mint: Mint | None = None, static: Path = STATIC) -> list[BaseRoute]:
    """Routes for `/`, `/try/`, `/try/config.json` and, only when `mint` is given, `POST /try/token`.

    mint: gives a token for (room, name); handed over by a development server, and used for
    loopback clients alone. static: the directory that `npm run build` filled; it may be missing,
    in which case a browser is told how to build it.
    """

    async def front(request: Request) -> Response:
        if not _wants_a_page(request):
            return PlainTextResponse("OK", headers={"vary": "accept", "access-control-allow-origin": "*"})
        return _page(static)

    async def page(_: Request) -> Response:
        return _page(static)

    async def config(request: Request) -> Response:
        offered = mint is not None and _is_local(request)
        return JSONResponse({"version": __version__, "mint": offered}, headers={"cache-control": "no-store"})

    routes: list[BaseRoute] = [
        Route("/", front, methods=["GET"]),
        Route("/try/", page, methods=["GET"]),
        Route("/try/config.json", config, methods=["GET"]),
    ]
    if mint is not None:
        routes.append(Route("/try/token", _token_route(mint), methods=["POST"]))
    routes.append(Mount("/try", _Assets(directory=static, check_dir=False)))
    return routes


def _token_route(mint: Mint) -> Callable[[Request], Awaitable[Response]]:
    async def token(request: Request) -> Response:
        try:
            if not _is_local(request):
                raise TokenRefused(403, "not_local", "tokens are given only to the machine the server runs on")
            asked = await _read(request)
        except TokenRefused as refused:
            return _no_store({"reason": refused.code, "message": refused.message}, refused.status)
        return _no_store({"token": mint(asked.room, asked.name)})

    return token


async def _read(request: Request) -> Asked:
    # A form on another site cannot send this type.
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise TokenRefused(415, "not_json", "the body must be sent as application/json")
    try:
        return read_asked(await read_body(request, BODY_LIMIT_BYTES))
    except BodyTooLarge as large:
        raise TokenRefused(413, "too_large", str(large)) from large
    except ClientDisconnect as gone:
        raise TokenRefused(400, "incomplete", "the body ended early") from gone


def _no_store(content: dict[str, str], status: int = 200) -> Response:
    return JSONResponse(content, status, headers={"cache-control": "no-store"})


def _page(static: Path) -> Response:
    headers = {**PAGE_HEADERS, "vary": "accept"}
    index = static / "index.html"
    if not index.is_file():
        return HTMLResponse(UNBUILT, 503, headers=headers)
    return FileResponse(index, headers=headers, media_type="text/html")


def _wants_a_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _is_local(request: Request) -> bool:
    """Whether the connection comes from this machine, and was meant for it.

    The peer's address decides. Headers can only take the right away again: a proxy on this machine
    forwards for others, and a page from elsewhere, or a foreign name that resolves to 127.0.0.1
    (DNS rebinding), would let any web site speak as this machine's user.
    """
    if request.client is None or not _is_loopback(request.client.host):
        return False
    if "x-forwarded-for" in request.headers or "forwarded" in request.headers:
        return False
    if request.headers.get("origin", _origin(request)) != _origin(request):
        return False
    named = request.url.hostname or ""
    return named == "localhost" or named.endswith(".localhost") or _is_loopback(named)


def _origin(request: Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc}"


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


class _Assets(StaticFiles):
    """The built files. What carries a hash in its name never changes and may be kept for good."""

    async def check_config(self) -> None:
        """An unbuilt page is an ordinary state, answered in words by the page's own route."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        try:
            response = await super().get_response(path, scope)
        except HTTPException as refused:
            return PlainTextResponse(refused.detail, refused.status_code)
        hashed = path.startswith("assets/") and response.status_code in (200, 304)
        response.headers["cache-control"] = "public, max-age=31536000, immutable" if hashed else "no-cache"
        response.headers["x-content-type-options"] = "nosniff"
        return response
