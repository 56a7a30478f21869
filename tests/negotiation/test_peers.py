"""Other people's stacks take what we write. They refuse by raising, so a session that ends is the proof."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from parley.negotiation import sdp as text
from parley.negotiation.sdp import Description
from tests.negotiation import browsers, peers
from tests.negotiation.sessions import SESSIONS, VECTORS, load


def shape(sdp: str) -> Description:
    """A description without what differs from one run to the next."""
    description = text.parse(sdp)
    sections = tuple(
        replace(
            section,
            port=min(section.port, 1),
            ufrag=None,
            pwd=None,
            fingerprints=(),
            candidates=(),
            msids=tuple(text.Msid("stream", "track") for _ in section.msids),
            ssrcs=tuple(text.Ssrc(index) for index, _ in enumerate(section.ssrcs)),
            ssrc_groups=tuple(replace(group, ssrcs=()) for group in section.ssrc_groups),
            other=(),
        )
        for section in description.sections
    )
    session = replace(description.session, session_id="", version="", msid_semantic="", ufrag=None, pwd=None)
    return Description(replace(session, fingerprints=(), other=()), sections)


@pytest.mark.anyio
@pytest.mark.parametrize("session", peers.AIORTC_SESSIONS)
async def test_aiortc_takes_part_in_a_session_and_says_what_was_captured(session: str) -> None:
    steps = SESSIONS[session]

    said = await peers.aiortc_session(steps)

    for index, (step, sdp) in enumerate(zip(steps, said, strict=False)):
        kind = "answer" if step.client is None else "offer"
        golden = load(VECTORS / "aiortc" / f"{session}.{index + 1}.{kind}.sdp")
        assert shape(sdp) == shape(golden.sdp)


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def tab(request: pytest.FixtureRequest) -> Iterator[browsers.Browser]:
    if request.param not in browsers.find():
        pytest.skip(f"{request.param} is not installed")
    with browsers.browser(request.param) as tab:
        yield tab


@pytest.mark.browser
@pytest.mark.parametrize("session", SESSIONS)
def test_a_browser_takes_part_in_every_session(tab: browsers.Browser, session: str) -> None:
    said = peers.browser_session(tab, SESSIONS[session])

    assert len(said) == len(SESSIONS[session])
