"""Programs in a page of Chromium that call the Cloudflare Realtime API with the browser's own RTCPeerConnection."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page

from .browser import chromium
from .server import Server

DRIVER = Path(__file__).with_name("sfu.js")

PUBLISHER = """
    const ada = await sfu.session();
    for (const track of (await sfu.devices()).getTracks()) ada.pc.addTransceiver(track, { direction: "sendonly" });
    const [mic, cam] = ada.pc.getTransceivers();
"""


@contextlib.asynccontextmanager
async def page(server: Server) -> AsyncIterator[Page]:
    """A page of a browser of its own with `sfu` in it, for the development app."""
    async with chromium() as browser:
        yield await opened(browser, server)


async def opened(browser: Browser, server: Server) -> Page:
    page = await browser.new_page()
    await page.goto(f"{server.http}/healthz")
    await page.add_script_tag(path=DRIVER)
    await page.evaluate("url => sfu.at(url, 'secret')", f"{server.http}/v1/apps/devapp")
    return page


async def run(page: Page, program: str) -> Any:
    """What the body of an async function returns."""
    return await page.evaluate(f"async () => {{ {program} }}")
