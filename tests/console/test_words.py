"""Why joining failed, in words: the page in Chromium, refused in every way a LiveKit server refuses.

The bodies are those of livekit-server's connect handlers and of Parley's own.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
import uvicorn
from playwright.async_api import Browser, Page, Route, async_playwright, expect
from starlette.applications import Starlette

from parley.console import STATIC, build

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.browser,
    pytest.mark.skipif(not (STATIC / "index.html").is_file(), reason="the page is not built"),
]

CHROMIUM = "/usr/bin/chromium"


@contextlib.asynccontextmanager
async def site(*, mints: bool = True) -> AsyncIterator[str]:
    """The page and nothing else, on a free port; gives its address."""
    routes = build(mint=(lambda room, name: "e30.e30.e30") if mints else None)
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 uvicorn has a flag, not an event
            await asyncio.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@contextlib.asynccontextmanager
async def browser(*flags: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", *flags]
        )
        try:
            yield running
        finally:
            await running.close()


async def refuse(page: Page, status: int, body: str) -> None:
    """Answer the question whether a token holds as a server would that refuses it so."""

    async def answer(route: Route) -> None:
        await route.fulfill(status=status, body=body, content_type="text/plain")

    await page.route("**/rtc/validate*", answer)


async def fail_to_join(page: Page) -> str:
    """Try to join; gives the words that say why it failed."""
    await page.get_by_label("Your name").fill("Ada")
    await page.get_by_role("button", name="Join the room").click()
    await expect(page.get_by_role("alert")).to_be_focused(timeout=20_000)
    return await page.get_by_role("alert").inner_text()


REFUSALS = [
    (401, "invalid authorization token: token is expired (exp)", "This token has expired"),
    (401, "invalid authorization token: it has expired (exp)", "This token has expired"),
    (401, "invalid authorization token: it is not valid yet (nbf)", "This token is not valid yet"),
    (401, "invalid authorization token: the signature does not match", "The server refuses this token"),
    (401, "invalid API key", "The server does not know this token’s key"),
    (401, "permissions denied", "This token does not open a room"),
    (401, "no permissions to access the room", "This token does not open a room"),
    (404, "requested room does not exist", "There is no such room"),
    (400, "no room name", "The room’s name does not work"),
    (400, "room name length exceeds limits: max length 256", "The room’s name does not work"),
    (503, "node has exceeded its configured limit", "The server is full"),
    (404, "Not Found", "Nothing answers LiveKit clients here"),
    (500, "timed out while waiting for signal response", "The server refuses"),
]


async def test_every_refusal_is_put_in_words_beside_the_servers_own() -> None:
    async with site() as address, browser() as chromium:
        for status, said, words in REFUSALS:
            page = await chromium.new_page()
            await refuse(page, status, said)
            await page.goto(address)

            notice = await fail_to_join(page)

            assert words in notice
            assert f"The server said: {said}" in notice
            await page.close()


async def test_a_socket_that_a_proxy_swallows_is_told_from_a_bad_token() -> None:
    async with site() as address, browser() as chromium:
        page = await chromium.new_page()
        await refuse(page, 200, "success")
        await page.goto(address)

        assert "A proxy that does not pass WebSockets on is a common cause." in await fail_to_join(page)


async def test_a_server_that_is_gone_is_told_from_one_that_refuses() -> None:
    async with browser() as chromium:
        page = await chromium.new_page()
        async with site() as address:
            await page.goto(address)
            await expect(page.get_by_label("Your name")).to_be_visible()

        assert "The server does not answer" in await fail_to_join(page)


async def test_a_token_that_is_not_minted_says_why() -> None:
    async with site() as address, browser() as chromium:
        page = await chromium.new_page()
        await page.goto(address)
        await page.get_by_label("Room", exact=True).evaluate("field => field.removeAttribute('maxlength')")
        await page.get_by_label("Room", exact=True).fill("x" * 300)

        notice = await fail_to_join(page)

        assert "The server gave no token" in notice
        assert "the room is 300 bytes long: 256 are allowed" in notice


async def test_a_server_that_mints_nothing_is_joined_with_a_token() -> None:
    async with site(mints=False) as address, browser() as chromium:
        page = await chromium.new_page()
        await page.goto(address)

        await expect(page.get_by_label("Access token")).to_be_visible()
        await expect(page.get_by_label("Your name")).to_have_count(0)
        await expect(page.get_by_text("parley token")).to_be_visible()


async def test_a_page_without_https_explains_why_it_cannot_speak() -> None:
    # Chromium resolves the foreign name to this machine, so the page is neither local nor secure.
    async with site() as address, browser("--host-resolver-rules=MAP phone.example 127.0.0.1") as chromium:
        page = await chromium.new_page()
        await page.goto(address.replace("127.0.0.1", "phone.example"))

        await expect(page.get_by_role("heading", name="You can listen and watch, but not speak")).to_be_visible()
        await expect(page.get_by_text("--tls-cert and --tls-key")).to_be_visible()
        await expect(page.get_by_label("Access token")).to_be_visible()


async def test_the_page_asks_nothing_of_any_other_server() -> None:
    async with site() as address, browser() as chromium:
        page = await chromium.new_page()
        asked: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        await page.goto(address)
        await expect(page.get_by_label("Your name")).to_be_visible()

        assert asked
        assert all(url.startswith(address + "/") for url in asked)
        assert complaints == []  # such as what the content security policy forbids
