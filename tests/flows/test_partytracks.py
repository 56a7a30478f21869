"""partytracks, unmodified, in Chromium: what it does with a session from its beginning to its end.

The numbers are those of the sequence in the specification, S0 to S8.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from .browser import Client, chromium
from .bundle import bundled
from .participant import joined
from .server import Server, token, until
from .session import calling

pytestmark = [pytest.mark.anyio, pytest.mark.native, pytest.mark.browser]

DRIVER = Path(__file__).with_name("partytracks.js")
LAYERS = [{"rid": "a", "scaleResolutionDownBy": 1}, {"rid": "b", "scaleResolutionDownBy": 2}]
MINE = {"mic": {"kind": "audio"}, "cam": {"kind": "video", "encodings": LAYERS}}


class Party(Client):
    """One PartyTracks in a page of its own."""

    @classmethod
    async def begin(cls, browser: Browser, server: Server, extra: str = "") -> Party:
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(f"{server.http}/healthz")
        await page.add_script_tag(content=bundled(DRIVER))
        party = cls(page)
        await party.call("open", f"{server.http}/v1/apps/devapp", "secret", extra)
        return party

    async def pushed(self, *names: str) -> list[dict[str, str]]:
        """What others pull these tracks by, once they are sent."""
        return [await self.until(f"driver.metadata('{name}')", within_s=20) for name in names]

    async def sees(self, name: str, *, more_than: int = 5) -> dict[str, Any]:
        found: dict[str, Any] = await self.until(
            f"driver.inbound('{name}').then(s => s?.framesDecoded > {more_than} && s)", within_s=20
        )
        return found

    async def sees_size(self, name: str, width: int, height: int) -> None:
        size = f"s?.frameWidth === {width} && s.frameHeight === {height}"
        await self.until(f"driver.inbound('{name}').then(s => {size})", within_s=15)

    async def hears(self, name: str) -> None:
        await self.until(f"driver.inbound('{name}').then(s => s?.totalAudioEnergy > 0.0001)", within_s=20)

    async def answers(self, operation: str) -> list[dict[str, Any]]:
        """The bodies of every answer to this operation."""
        return [one["body"] for one in await self.call("answers") if one["endpoint"].endswith(operation)]


@contextlib.asynccontextmanager
async def two(server: Server) -> AsyncIterator[tuple[Party, Party]]:
    """Ada, who publishes simulcast video and audio, and Bob, who receives them."""
    async with chromium() as browser:
        ada, bob = await Party.begin(browser, server, "correlationId=x"), await Party.begin(browser, server)
        await ada.call("push", MINE)
        mic, cam = await ada.pushed("mic", "cam")
        await bob.call("pull", {"mic": {"metadata": mic}, "cam": {"metadata": cam, "preferredRid": "b"}})
        await bob.sees("cam")
        yield ada, bob


async def test_a_simulcast_publisher_is_seen_and_heard(server: Server) -> None:
    async with two(server) as (ada, bob):
        await bob.hears("mic")
        await bob.sees("cam")
        await bob.sees_size("cam", 320, 180)

        [made] = await ada.answers("sessions/new")  # S0
        assert set(made) == {"sessionId"}
        [pushed] = await ada.answers("tracks/new")  # S1
        assert [set(item) for item in pushed["tracks"]] == [{"mid", "trackName"}] * 2
        assert "a=simulcast:recv a;b" in pushed["sessionDescription"]["sdp"]
        [pulled] = await bob.answers("tracks/new")  # S2
        assert pulled["requiresImmediateRenegotiation"] is True
        assert "a=simulcast" not in pulled["sessionDescription"]["sdp"]
        assert pulled["tracks"][1]["simulcast"] == {"preferredRid": "b"}
        assert await bob.answers("renegotiate") == [{}]


async def test_a_pull_right_after_a_push_is_held_until_the_session_is_connected(server: Server) -> None:  # S3
    async with two(server) as (ada, bob), chromium() as browser:
        cyd = await Party.begin(browser, server)
        [cam] = await ada.pushed("cam")
        await cyd.page.evaluate(
            "async ([mine, cam]) => { await driver.push(mine); driver.pull({ cam: { metadata: cam } }); }", [MINE, cam]
        )

        await cyd.sees("cam")
        await cyd.pushed("mic", "cam")

        mids = [item["mid"] for answer in await cyd.answers("tracks/new") for item in answer["tracks"]]
        assert sorted(mids) == ["0", "1", "2"]
        assert await bob.call("connection") == "connected"


async def test_a_preferred_layer_may_be_named_at_any_time(server: Server) -> None:  # S4
    async with two(server) as (_, bob):
        await bob.sees_size("cam", 320, 180)
        await bob.call("prefer", "cam", "a")

        await bob.until("driver.answers().some(a => a.endpoint.endsWith('tracks/update'))", within_s=5)
        [updated] = await bob.answers("tracks/update")
        assert updated["requiresImmediateRenegotiation"] is False
        assert "errorCode" not in updated["tracks"][0]
        assert updated["tracks"][0]["simulcast"] == {"preferredRid": "a"}
        await bob.sees_size("cam", 640, 360)


async def test_pulls_are_closed_and_made_again_on_the_same_session(server: Server) -> None:  # S5, S7
    async with two(server) as (ada, bob):
        session = await bob.call("sessionId")
        # Section 0 is stopped and section 1 is not; Chromium moves what is left to a transport of section 1's.
        await bob.call("stopPulling", "mic", "cam")
        await bob.until("driver.answers().some(a => a.endpoint.endsWith('tracks/close'))", within_s=5)
        [closed] = await bob.answers("tracks/close")
        assert [item["mid"] for item in closed["tracks"]] == ["0", "1"]
        assert closed["sessionDescription"]["type"] == "answer"
        first, second = re.findall(r"m=\w+ (\d+) .*?a=(inactive)", closed["sessionDescription"]["sdp"], re.DOTALL)
        assert (first[0] == "0", second[0] == "0") == (True, False)

        mic, cam = await ada.pushed("mic", "cam")
        for _ in range(3):
            await bob.call("pull", {"cam": {"metadata": cam}, "mic": {"metadata": mic}})
            await bob.sees("cam")
            await bob.hears("mic")
            count = len(await bob.answers("tracks/close"))
            await bob.call("stopPulling", "mic", "cam")
            await bob.until(
                f"driver.answers().filter(a => a.endpoint.endsWith('tracks/close')).length > {count}", within_s=5
            )

        for answer in await bob.call("answers"):
            assert "errorCode" not in answer["body"], answer
        assert await bob.call("sessionId") == session
        assert len(await bob.answers("sessions/new")) == 1
        mids = [item["mid"] for answer in await bob.answers("tracks/new") for item in answer["tracks"]]
        assert len(set(mids)) == len(mids) == 8


async def test_a_publisher_closes_and_publishes_again(server: Server) -> None:  # S6, S7
    async with two(server) as (ada, bob), calling(server) as app:
        session = await bob.call("sessionId")
        await ada.call("stopPushing", "cam")

        async def status() -> dict[str, str]:
            state = (await app.http.get(f"/sessions/{session}")).json()
            return {one["mid"]: one["status"] for one in state["tracks"]}

        seen: dict[str, str] = {}
        for _ in range(100):
            seen = await status()
            if seen == {"0": "active", "1": "inactive"}:
                break
        assert seen == {"0": "active", "1": "inactive"}

        await ada.call("push", {"again": {"kind": "video"}})
        [again] = await ada.pushed("again")
        await bob.call("pull", {"again": {"metadata": again}})
        await bob.sees("again")


async def test_a_pull_that_fails_is_tried_again_and_does_not_hold_the_others(server: Server) -> None:  # S8
    async with two(server) as (ada, bob):
        [cam] = await ada.pushed("cam")
        bad = {"metadata": cam | {"trackName": "nobody's"}}
        await bob.call("pull", {"bad": bad, "worse": bad, "good": {"metadata": cam}})
        await bob.sees("good")
        await bob.until("driver.answers().filter(a => a.endpoint.endsWith('tracks/new')).length > 2", within_s=10)

        mixed, alone = (await bob.answers("tracks/new"))[1:3]
        assert [item.get("errorCode") for item in mixed["tracks"]] == ["not_found_track_error"] * 2 + [None]
        assert not any(item.get("mid") for item in mixed["tracks"][:2])
        assert alone["requiresImmediateRenegotiation"] is False
        assert "sessionDescription" not in alone


async def test_a_livekit_participant_sees_a_partytracks_publisher(server: Server, room_name: str) -> None:
    async with chromium() as browser, joined(server.ws, token("ada", room_name)) as ada:
        bob = await Party.begin(browser, server, f"correlationId=room:{room_name}/bob")
        await bob.call("push", MINE)

        await until(lambda: ada.video_from("bob").frames > 10, within_s=20, what="bob's picture")
        await until(lambda: ada.audio_from("bob").loudest > 500, within_s=20, what="bob's tone")
        assert ada.video_from("bob").size == (640, 360)


async def test_a_partytracks_client_sees_a_livekit_participant(server: Server, room_name: str) -> None:
    async with (
        chromium() as browser,
        joined(server.ws, token("ada", room_name)) as ada,
        joined(server.ws, token("cyd", room_name)) as cyd,
    ):
        await ada.show(640, 360)
        await until(lambda: cyd.video_from("ada").frames > 0, within_s=10, what="ada's picture at somebody")
        bob = await Party.begin(browser, server)
        metadata = {"location": "remote", "sessionId": ada.room.local_participant.sid, "trackName": "picture"}
        await bob.call("pull", {"cam": {"metadata": metadata}})

        shown = await bob.sees("cam")
        assert (shown["frameWidth"], shown["frameHeight"]) == (640, 360)
