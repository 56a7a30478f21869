"""The try-it page over HTTP: who gets the page, who gets a token, and what may be kept."""

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from parley.console import Mint, build

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
LOCAL = "127.0.0.1"
ELSEWHERE = "192.0.2.7"


@pytest.fixture
def static(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>the page</title>")
    (tmp_path / "icon.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "assets" / "index-3f1c.js").write_text("export {}")
    (tmp_path / "assets" / "index-3f1c.css").write_text("a{}")
    (tmp_path.parent / "secret.txt").write_text("not for the web")
    return tmp_path


def visit(static: Path, *, mint: Mint | None = None, peer: str = LOCAL, host: str = "localhost:7880") -> TestClient:
    app = Starlette(routes=build(mint=mint, static=static))
    return TestClient(app, base_url=f"http://{host}", client=(peer, 50000))


def minted(room: str, name: str) -> str:
    return f"token for {name} in {room}"


def test_the_front_door_shows_the_page_to_a_browser(static):
    answer = visit(static).get("/", headers=BROWSER)

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "the page" in answer.text


def test_the_front_door_says_ok_to_everyone_else(static):
    answer = visit(static).get("/", headers={"accept": "*/*"})

    assert (answer.status_code, answer.text) == (200, "OK")
    assert answer.headers["vary"] == "accept"


@pytest.mark.parametrize("accept", ["*/*", BROWSER["accept"]])
def test_the_front_door_answers_head_because_clients_warm_up_with_it(static, accept):
    answer = visit(static).head("/", headers={"accept": accept, "origin": "https://elsewhere.example"})

    assert (answer.status_code, answer.text) == (200, "")


def test_the_page_may_run_only_its_own_files(static):
    policy = visit(static).get("/try/").headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy


def test_the_page_is_asked_for_again_and_its_assets_are_kept(static):
    web = visit(static)

    assert web.get("/", headers=BROWSER).headers["cache-control"] == "no-cache"
    assert web.get("/try/").headers["cache-control"] == "no-cache"
    assert web.get("/try/icon.svg").headers["cache-control"] == "no-cache"
    assert "immutable" in web.get("/try/assets/index-3f1c.js").headers["cache-control"]


def test_assets_say_what_they_are(static):
    web = visit(static)

    assert web.get("/try/assets/index-3f1c.js").headers["content-type"].startswith("text/javascript")
    assert web.get("/try/assets/index-3f1c.css").headers["content-type"].startswith("text/css")
    assert web.get("/try/icon.svg").headers["content-type"].startswith("image/svg+xml")
    assert web.get("/try/icon.svg").headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/try/assets/gone-1234.js", "/try/../secret.txt", "/try/%2e%2e/secret.txt"])
def test_what_is_not_built_is_not_found_and_not_kept(static, path):
    answer = visit(static).get(path)

    assert answer.status_code == 404
    assert "immutable" not in answer.headers.get("cache-control", "")


def test_a_page_that_was_never_built_says_how_to_build_it(tmp_path):
    web = visit(tmp_path / "nowhere")

    answer = web.get("/", headers=BROWSER)

    assert answer.status_code == 503
    assert "npm run build" in answer.text
    assert web.get("/").text == "OK"
    assert web.get("/try/assets/index.js").status_code == 404


def test_a_local_page_gets_a_token(static):
    web = visit(static, mint=minted)

    answer = web.post("/try/token", json={"room": " standup ", "name": "Ada"})

    assert web.get("/try/config.json").json()["mint"] is True
    assert answer.json() == {"token": "token for Ada in standup"}
    assert answer.headers["cache-control"] == "no-store"


def test_without_a_mint_function_the_page_is_told_to_ask_for_a_token(static):
    web = visit(static)

    assert web.get("/try/config.json").json()["mint"] is False
    assert web.post("/try/token", json={"room": "standup", "name": "Ada"}).status_code in (404, 405)


@pytest.mark.parametrize("peer", [ELSEWHERE, "2001:db8::7", "::ffff:192.0.2.7", "testclient"])
def test_a_page_elsewhere_gets_no_token(static, peer):
    web = visit(static, mint=minted, peer=peer)

    answer = web.post("/try/token", json={"room": "standup", "name": "Ada"})

    assert web.get("/try/config.json").json()["mint"] is False
    assert answer.status_code == 403
    assert answer.json()["reason"] == "not_local"


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize("host", ["localhost:7880", "127.0.0.1:7880", "[::1]:7880"])
def test_every_loopback_address_is_local(static, peer, host):
    answer = visit(static, mint=minted, peer=peer, host=host).post("/try/token", json={"room": "a", "name": "b"})

    assert answer.status_code == 200


def test_a_page_may_name_its_own_origin(static):
    answer = visit(static, mint=minted).post(
        "/try/token", json={"room": "a", "name": "b"}, headers={"origin": "http://localhost:7880"}
    )

    assert answer.status_code == 200


def test_a_header_cannot_make_a_visitor_local(static):
    web = visit(static, mint=minted, peer=ELSEWHERE)

    answer = web.post("/try/token", json={"room": "a", "name": "b"}, headers={"x-forwarded-for": "127.0.0.1"})

    assert answer.status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"x-forwarded-for": ELSEWHERE},
        {"forwarded": f"for={ELSEWHERE}"},
        {"host": "rebound.example"},
        {"origin": "https://elsewhere.example"},
        {"origin": "null"},
    ],
)
def test_a_local_connection_that_speaks_for_somebody_else_gets_no_token(static, headers):
    answer = visit(static, mint=minted).post("/try/token", json={"room": "a", "name": "b"}, headers=headers)

    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"[]", "not_json"),
        (b"[" * 4000, "not_json"),
        (b"\xff", "not_json"),
        (b"{}", "room_missing"),
        (b'{"room": 7, "name": "Ada"}', "room_missing"),
        (b'{"room": "standup", "name": "  "}', "name_missing"),
        (b'{"room": "\\ud800", "name": "Ada"}', "room_unreadable"),
        (b'{"room": "' + b"x" * 257 + b'", "name": "Ada"}', "room_too_long"),
        (b'{"room": "standup", "name": "' + "ä".encode() * 129 + b'"}', "name_too_long"),
    ],
)
def test_a_request_for_a_token_that_cannot_be_read_is_refused_with_the_reason(static, body, reason):
    answer = visit(static, mint=minted).post("/try/token", content=body, headers={"content-type": "application/json"})

    assert answer.status_code == 400
    assert answer.json()["reason"] == reason
    assert answer.json()["message"]


def test_a_body_over_the_bound_is_refused(static):
    body = b'{"room": "a", "name": "b", "more": "' + b"x" * 5000 + b'"}'

    answer = visit(static, mint=minted).post("/try/token", content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["reason"]) == (413, "too_large")


def test_a_form_on_another_site_cannot_ask_for_a_token(static):
    answer = visit(static, mint=minted).post(
        "/try/token", content=b'{"room": "a", "name": "b"}', headers={"content-type": "text/plain"}
    )

    assert (answer.status_code, answer.json()["reason"]) == (415, "not_json")
