"""What every HTTP face shares."""

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from parley.web.answers import plain, refuse_upgrade
from parley.web.bodies import BodyTooLarge, read_body
from parley.web.cors import AnyOrigin
from parley.web.paths import OneLeadingSlash


async def hello(request: Request) -> Response:
    return plain(401, "not you")


async def upload(request: Request) -> Response:
    try:
        body = await read_body(request, 10)
    except BodyTooLarge as error:
        return plain(413, str(error))
    return plain(200, str(len(body)))


async def socket(websocket: WebSocket) -> None:
    await refuse_upgrade(websocket, 404, "no socket here")


@pytest.fixture
def client() -> TestClient:
    routes = [
        Route("/hello", hello),
        Route("/upload", upload, methods=["POST"]),
        WebSocketRoute("/socket", socket),
    ]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(AnyOrigin), Middleware(OneLeadingSlash)]))


def test_every_answer_can_be_read_from_any_origin(client):
    answer = client.get("/hello", headers={"Origin": "https://app.example"})

    assert (answer.status_code, answer.text) == (401, "not you")
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.headers["vary"] == "Origin"


def test_a_preflight_is_allowed_what_it_asks_for(client):
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, x-own",
    }
    answer = client.options("/upload", headers=asked)

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-headers"] == "authorization, x-own"
    assert answer.headers["access-control-allow-methods"] == "OPTIONS, HEAD, GET, POST, PATCH, DELETE"
    assert answer.headers["access-control-max-age"] == "86400"


def test_nothing_is_added_for_a_request_without_origin(client):
    assert "access-control-allow-origin" not in client.get("/hello").headers


def test_a_refused_upgrade_has_a_status_a_body_and_cors(client):
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect("/socket", headers={"Origin": "https://app.example"}),
    ):
        pass

    assert (refused.value.status_code, refused.value.text) == (404, "no socket here")
    assert refused.value.headers["access-control-allow-origin"] == "https://app.example"


def test_a_second_leading_slash_is_forgiven(client):
    # TestClient reads `//hello` as a host, so the whole address is written out.
    assert client.get("http://testserver//hello").status_code == 401


def test_a_body_within_the_limit_is_read_whole(client):
    assert client.post("/upload", content=b"x" * 10).text == "10"


def test_a_body_over_the_limit_is_refused(client):
    answer = client.post("/upload", content=b"x" * 11)

    assert (answer.status_code, answer.text) == (413, "the request body is larger than 10 bytes")


def test_a_body_of_unknown_length_is_cut_off_at_the_limit(client):
    assert client.post("/upload", content=iter([b"x" * 8, b"x" * 8])).status_code == 413
