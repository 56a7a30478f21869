"""Every step of docs/move-from-cloudflare.md, as it stands there, and the examples it names."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .browser import chromium
from .bundle import MODULES, node
from .server import REPOSITORY, Server, running_server

pytestmark = [pytest.mark.anyio, pytest.mark.native]

PAGE = (REPOSITORY / "docs/move-from-cloudflare.md").read_text()
STEPS = dict(re.findall(r"^## (\d)\..*?\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def block(step: int, language: str) -> str:
    """The one piece of code in this language under a step."""
    [found] = re.findall(rf"```{language}\n(.*?)```", STEPS[str(step)], re.DOTALL)
    return str(found)


[(APP, SECRET)] = tomllib.loads(block(1, "toml"))["cloudflare"]["apps"].items()


@pytest.fixture
async def moved(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Server]:
    """The server of step 2, with the file of step 1, on ports that are free."""
    file = tmp_path / "parley.toml"
    file.write_text(block(1, "toml"))
    [serve] = [line for line in block(2, "sh").splitlines() if "serve" in line]
    assert serve == ".venv/bin/parley serve --config parley.toml --bind 127.0.0.1:7880"
    async with running_server("--config", str(file), dev=False) as server:
        assert any(line.strip().startswith("app ") and APP in line for line in server.log)
        yield server


async def run(server: Server, *command: str, text: str = "") -> str:
    """What a command says that must succeed."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=REPOSITORY, stdin=-1, stdout=-1, stderr=-1, env={"PATH": "/usr/bin:/bin"}
    )
    said, complained = await asyncio.wait_for(process.communicate(text.encode()), 60)
    assert process.returncode == 0, complained.decode()
    return said.decode()


def here(server: Server, code: str) -> str:
    """Code of the page for this server and this interpreter."""
    return code.replace("127.0.0.1:7880", f"127.0.0.1:{server.port}").replace(".venv/bin/python", sys.executable)


async def test_a_session_is_made_with_the_apps_own_secret(moved: Server) -> None:
    said = await run(moved, "sh", "-c", here(moved, block(3, "sh")))

    assert re.fullmatch(r'\{"sessionId":"[0-9a-f]{32}"\}', said)


async def test_the_example_hears_and_sees_itself(moved: Server) -> None:
    install, _, echo = block(4, "sh").partition("\n")
    assert install.endswith("pip install aiortc")

    said = json.loads(await run(moved, "sh", "-c", here(moved, echo)))

    assert said["loudest"] > 3000
    assert said["picture"] == [640, 360]


async def test_the_example_says_why_it_got_nothing(moved: Server) -> None:
    echo = here(moved, block(4, "sh").partition("\n")[2]).replace(SECRET, "another")

    done = await asyncio.to_thread(
        subprocess.run, ["sh", "-c", echo], capture_output=True, text=True, cwd=REPOSITORY, timeout=60
    )

    assert done.returncode == 1
    assert "401" in done.stderr
    assert "unauthorized" in done.stderr


async def test_a_program_with_another_base_url_makes_its_session(moved: Server) -> None:
    assert re.fullmatch(r"[0-9a-f]{32}\n", await run(moved, sys.executable, "-c", here(moved, block(5, "python"))))


async def test_the_route_of_partytracks_takes_the_other_base_url(moved: Server) -> None:
    route = here(moved, block(5, "js")).replace("partytracks/server", f"{MODULES}/partytracks/dist/server/index.js")
    asked = 'handle(new Request("http://page/partytracks/sessions/new", { method: "POST" }))'
    program = f"{route}\nconst answer = await {asked};\nconsole.log(answer.status, await answer.text());"

    said = await run(moved, node(), "--input-type=module", "-", text=program)

    assert re.fullmatch(r'201 \{"sessionId":"[0-9a-f]{32}"\}\n', said)


async def test_the_calls_are_described_where_the_page_says(moved: Server) -> None:
    described = json.loads(await run(moved, "sh", "-c", here(moved, block(6, "sh"))))

    assert "/apps/{appId}/sessions/new" in described["paths"]


@pytest.mark.browser
async def test_the_page_publishes_and_its_link_plays_every_layer(moved: Server) -> None:
    async with chromium() as browser:
        context = await browser.new_context()
        publisher = await context.new_page()
        await publisher.goto((REPOSITORY / "examples/cloudflare_call.html").as_uri())
        for field, value in {"base": f"{moved.http}/v1", "app": APP, "secret": SECRET}.items():
            await publisher.fill(f"#{field}", value)
        await publisher.click("#publish")
        link = await publisher.locator("#status a").get_attribute("href", timeout=10_000)
        await publisher.wait_for_function("connection.connectionState === 'connected'")

        viewer = await context.new_page()
        await viewer.goto(str(link))
        for field, value in {"base": f"{moved.http}/v1", "app": APP, "secret": SECRET}.items():
            await viewer.fill(f"#{field}", value)
        await viewer.click("#publish")

        for layer, width in {"a": 1280, "b": 640, "c": 320}.items():
            await viewer.click(f"text=Layer {layer}")
            await viewer.wait_for_function(f"document.querySelector('video').videoWidth === {width}", timeout=15_000)


def test_the_examples_stay_short() -> None:
    assert len((REPOSITORY / "examples/cloudflare_call.html").read_text().splitlines()) < 150
