"""livekit-client, unmodified, in headless Chromium: a driver for the flows."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

from .server import CHROMIUM, CHROMIUM_FLAGS, REPOSITORY

LIVEKIT_CLIENT = REPOSITORY / "console/node_modules/livekit-client/dist/livekit-client.umd.js"
DRIVER = Path(__file__).with_name("livekit_client.js")


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A fresh headless Chromium with fake devices."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


class Client:
    """One livekit-client Room in a page of its own."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @classmethod
    async def open(cls, browser: Browser, http: str) -> Client:
        """A page of the server's own origin, so that no other server is needed, with livekit-client in it."""
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(f"{http}/healthz")
        await page.add_script_tag(path=LIVEKIT_CLIENT)
        await page.add_script_tag(path=DRIVER)
        return cls(page)

    async def call(self, method: str, *arguments: object) -> Any:
        """Call one function of livekit_client.js; its promise is awaited."""
        return await self.page.evaluate("([method, args]) => driver[method](...args)", [method, list(arguments)])

    async def until(self, expression: str, *, within_s: float) -> Any:
        """Wait in the page until the expression, a promise or not, has a true value; returns it."""
        # Not wait_for_function: it takes a promise for a true value without awaiting it.
        script = """async ([expression, withinMs]) => {
            const holds = eval(`async () => (${expression})`);
            const deadline = performance.now() + withinMs;
            while (performance.now() < deadline) {
                const value = await holds();
                if (value) return value;
                await new Promise((done) => setTimeout(done, 50));
            }
            return null;
        }"""
        value = await self.page.evaluate(script, [expression, within_s * 1000])
        assert value is not None, f"not within {within_s} s: {expression}"
        return value
