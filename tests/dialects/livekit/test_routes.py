"""How a connection is refused: real statuses and bodies, on the upgrade itself and on the validating request."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
from collections.abc import Iterator
from urllib.parse import urlencode

import httpx2 as httpx
import jwt
import pytest
import structlog
import websockets

from parley import log
from parley.core.model import Limits
from tests.dialects.livekit.client import SECRET, Client, Server, serving
from tests.fakes import FakeEngine

pytestmark = pytest.mark.anyio


async def upgrade(server: Server, path: str = "/rtc", headers: dict[str, str] | None = None, **query: str):
    """Ask for a WebSocket that is refused; the status, the body and the headers of the answer."""
    url = f"ws://{server.host}{path}?{urlencode(query)}"
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(url, additional_headers=headers or {})
    response = refused.value.response
    return response.status_code, response.body.decode(), response.headers


async def get(server: Server, path: str, headers: dict[str, str] | None = None, **query: str) -> httpx.Response:
    async with httpx.AsyncClient() as http:
        return await http.get(f"http://{server.host}{path}", params=query, headers=headers)


def signed(secret: str = SECRET, algorithm: str = "HS256", **claims: object) -> str:
    body = {"iss": "APIkey", "sub": "ada", "exp": 4e9, "video": {"roomJoin": True, "room": "standup"}}
    body |= claims
    return jwt.encode({k: v for k, v in body.items() if v is not None}, secret, algorithm=algorithm)


def unsigned() -> str:
    parts = ({"alg": "none"}, {"iss": "APIkey", "exp": 4e9, "video": {"roomJoin": True, "room": "standup"}})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


REFUSALS = [
    ("", 401, "no permissions to access the room"),
    ("garbage", 401, "invalid authorization token"),
    (signed(iss="another"), 401, "invalid API key"),
    (
        signed(secret="another secret of thirty-two byte"),
        401,
        "invalid authorization token: the signature does not match",
    ),
    (unsigned(), 401, "invalid authorization token: only HS256 is accepted"),
    (signed(exp=1.0), 401, "invalid authorization token: it has expired (exp)"),
    (signed(nbf=3.9e9), 401, "invalid authorization token: it is not valid yet (nbf)"),
    (signed(exp=None), 401, "invalid authorization token: it has no expiry (exp)"),
    (signed(video=None), 401, "no permissions to access the room"),
    (signed(video={"room": "standup"}), 401, "permissions denied"),
    (signed(sub=""), 400, "identity cannot be empty"),
    (signed(sub="x" * 257), 400, "participant identity length exceeds limits: max length 256"),
    (signed(video={"roomJoin": True}), 400, "no room name"),
    (signed(video={"roomJoin": True, "room": "r" * 257}), 400, "room name length exceeds limits: max length 256"),
]


@pytest.mark.parametrize(("token", "status", "body"), REFUSALS)
async def test_a_connection_is_refused_with_a_status_and_the_reason(server: Server, token, status, body):
    query = {"access_token": token} if token else {}

    assert (await upgrade(server, **query))[:2] == (status, body)
    validated = await get(server, "/rtc/validate", **query)
    assert (validated.status_code, validated.text) == (status, body)


async def test_a_good_request_validates(server: Server):
    answer = await get(server, "/rtc/validate", access_token=server.token())

    assert (answer.status_code, answer.text) == (200, "success")


async def test_the_authorization_header_counts_before_the_query(server: Server):
    good, bad = {"Authorization": f"Bearer {server.token()}"}, {"Authorization": "Basic eA=="}

    assert (await get(server, "/rtc/validate", good, access_token="garbage")).status_code == 200
    answer = await get(server, "/rtc/validate", bad, access_token=server.token())
    assert (answer.status_code, answer.text) == (401, "invalid authorization header. Must start with Bearer ")


async def test_a_request_for_rtc_that_is_no_upgrade_is_not_found_once_the_token_is_good(server: Server):
    answer = await get(server, "/rtc", access_token=server.token())
    assert (answer.status_code, answer.text) == (404, "")

    assert (await get(server, "/rtc", access_token="garbage")).status_code == 401


async def test_the_newer_paths_are_not_found_so_that_clients_fall_back(server: Server):
    status, body, _ = await upgrade(server, "/rtc/v1", access_token=server.token(), join_request="x")
    assert status == 404
    assert "requested room does not exist" not in body, "clients would take that for an answer"
    assert (await get(server, "/rtc/v1/validate", access_token=server.token())).status_code == 404
    assert (await upgrade(server, access_token=server.token(), join_request="x"))[0] == 404


async def test_a_bad_token_is_said_to_be_bad_on_the_newer_paths_too(server: Server):
    assert (await upgrade(server, "/rtc/v1", access_token="garbage"))[:2] == (401, "invalid authorization token")
    assert (await get(server, "/rtc/v1/validate", access_token="garbage")).status_code == 401


@pytest.mark.parametrize("path", ["/rtc", "/rtc/validate", "/rtc/v1", "/rtc/v1/validate"])
async def test_scripts_of_any_origin_may_read_every_answer(server: Server, path):
    answer = await get(server, path, {"Origin": "https://app.example"}, access_token="garbage")

    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == "https://app.example"


async def test_a_refused_upgrade_can_be_read_too(server: Server):
    _, _, headers = await upgrade(server, headers={"Origin": "https://app.example"}, access_token="garbage")

    assert headers["access-control-allow-origin"] == "https://app.example"


async def test_a_validating_request_can_be_read_without_an_origin_too(server: Server):
    assert (await get(server, "/rtc/validate")).headers["access-control-allow-origin"] == "*"


async def test_a_preflight_allows_the_authorization_header(server: Server):
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    asked["Access-Control-Request-Headers"] = "authorization"
    async with httpx.AsyncClient() as http:
        answer = await http.options(f"http://{server.host}/rtc/validate", headers=asked)

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-headers"] == "authorization"


async def test_attributes_need_the_grant_and_must_be_readable_to_validate(server: Server):
    attributes = base64.urlsafe_b64encode(b'{"role": "host"}').decode()
    allowed = server.token(canUpdateOwnMetadata=True)

    refused = (401, "no permissions to access the room")
    assert (await upgrade(server, access_token=server.token(), attributes=attributes))[:2] == refused
    assert (await get(server, "/rtc/validate", access_token=allowed, attributes=attributes)).status_code == 200
    unreadable = await get(server, "/rtc/validate", access_token=allowed, attributes="%%")
    assert (unreadable.status_code, unreadable.text) == (400, "cannot decode attributes")
    client = await Client.connect(server, token=allowed, query={"attributes": attributes})
    assert dict(client.join.participant.attributes) == {"role": "host"}
    await client.leave()


async def test_a_publish_only_connection_stands_beside_the_main_one(server: Server):
    main = await Client.connect(server, "ada")
    second = await Client.connect(server, "ada", query={"publish": "cam"})

    assert second.join.participant.identity == "ada#cam"
    assert not second.join.participant.permission.can_subscribe
    await main.no_more("leave", within_s=0.1)
    await second.leave()
    await main.leave()


async def test_a_room_that_nobody_created_is_not_found_where_joining_creates_none():
    async with serving(FakeEngine(), settings={"rooms": {"auto_create": False}}) as server:
        missing = (404, "requested room does not exist")
        assert (await upgrade(server, access_token=server.token()))[:2] == missing
        answer = await get(server, "/rtc/validate", access_token=server.token())
        assert (answer.status_code, answer.text) == missing

        creator = await Client.connect(server, "ada", roomCreate=True)
        guest = await Client.connect(server, "bob")
        await guest.leave()
        await creator.leave()


async def test_a_full_room_is_refused_with_the_reason_and_still_validates():
    async with serving(FakeEngine(), settings={"rooms": {"max_participants": 1}}) as server:
        first = await Client.connect(server, "ada")

        status, body, _ = await upgrade(server, access_token=server.token("bob"))

        assert (status, body) == (500, "room 'standup' is full: 1 of 1 seats taken: the limit is 1")
        assert (await get(server, "/rtc/validate", access_token=server.token("bob"))).status_code == 200
        await first.leave()


async def test_a_server_at_its_limit_says_so():
    async with serving(FakeEngine(), limits=Limits(max_rooms=1)) as server:
        first = await Client.connect(server, "ada")

        assert (await upgrade(server, access_token=server.token("bob", room="other")))[:2] == (
            503,
            "node has exceeded its configured limit",
        )
        await first.leave()


async def test_a_busy_engine_is_a_status_and_leaves_no_ghost(server: Server):
    server.fake.is_busy = True

    status, _, _ = await upgrade(server, access_token=server.token())

    assert status == 503
    server.fake.is_busy = False
    assert server.core.rooms.count().participants == 0


async def test_a_stopping_server_takes_nobody_in(server: Server):
    server.core.stop()

    assert (await upgrade(server, access_token=server.token()))[0] == 503


async def test_many_clients_that_give_up_at_once_leave_nothing_behind(server: Server):
    for number in range(20):
        client = await Client.connect(server, f"c{number}")
        if number % 2:
            client.socket.transport.abort()
        else:
            await client.leave()

    async with asyncio.timeout(3):
        while server.core.rooms.count().participants or server.fake.transports:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    """What the server writes at its most talkative, set up as it sets itself up."""
    root, before = logging.getLogger(), logging.getLogger().level
    handlers = list(root.handlers)
    stream = io.StringIO()
    log.setup(format="json", level="debug", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(before)
    structlog.reset_defaults()


async def test_no_token_is_ever_logged(server: Server, log_lines: io.StringIO):
    token, expired = server.token(), signed(exp=1.0)
    client = await Client.connect(server, token=token)
    fresh = (await client.next("refresh_token")).refresh_token
    await client.leave()
    await upgrade(server, access_token=expired)

    written = log_lines.getvalue()
    assert "participant joined" in written
    for secret in (token, fresh, expired, SECRET):
        assert not any(part in written for part in secret.split("."))
