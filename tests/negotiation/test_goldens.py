"""Every captured description, read, answered or completed again."""

from __future__ import annotations

import pytest

from parley.engine.specs import Flow, Kind, Setup
from parley.negotiation import Change, CodecPref, Direction, MLinePlan, Negotiator, RemoteView, SignalingState
from parley.negotiation import sdp as text
from parley.negotiation.sdp import Description
from tests.negotiation.sessions import SESSIONS, VECTORS, Golden, captured, goldens, load, negotiator, transport

EVERY = goldens()
FIRST_OFFERS = [golden for golden in goldens("offer") if golden.path.name.split(".")[-3] == "1"]


def ids(golden: Golden) -> str:
    return golden.id


def check_answer(offer: Description, answer: Description) -> None:
    """RFC 3264 §6 and RFC 8829 §5.3, as far as they can be checked from outside."""
    assert [s.media for s in answer.sections] == [s.media for s in offer.sections]
    for theirs, ours in zip(offer.sections, answer.sections, strict=True):
        assert ours.mid == theirs.mid
        assert ours.proto == theirs.proto
        if ours.is_stopped:
            continue
        assert not theirs.is_stopped
        assert ours.setup is Setup.PASSIVE
        assert ours.direction & theirs.direction.reverse is ours.direction
        offered = {codec.pt: codec for codec in theirs.codecs}
        assert all(
            codec.pt in offered and codec.name.lower() == offered[codec.pt].name.lower() for codec in ours.codecs
        )
        numbers = {str(codec.pt) for codec in ours.codecs}
        repeats = [codec.fmtp for codec in ours.codecs if codec.name == "rtx"]
        assert all(fmtp.removeprefix("apt=") in numbers for fmtp in repeats)
        offered_ids = {(extension.id, extension.uri) for extension in theirs.extensions}
        assert {(extension.id, extension.uri) for extension in ours.extensions} <= offered_ids
        if theirs.media != "application":
            assert ours.codecs
            assert ours.rtcp_mux
            assert bool(ours.ssrcs) is ours.direction.sends
        assert ours.candidates
        assert ours.end_of_candidates
    live = [s.mid for s in answer.sections if not s.is_stopped]
    if offer.session.bundle is not None:
        assert sorted(answer.session.bundle or ()) == sorted(filter(None, live))


def check_consistent(view: RemoteView) -> None:
    for section in view.sections:
        assert section.refused is None or section.change is not Change.STOPPED
        assert set(section.paused_rids) <= set(section.rids)
        assert all(set(group.ssrcs) <= set(section.ssrcs) for group in section.ssrc_groups)


@pytest.mark.parametrize("golden", EVERY, ids=ids)
def test_reading_what_was_written_gives_the_same(golden: Golden) -> None:
    once = text.parse(golden.sdp)

    again = text.parse(text.write(once))

    assert again == once


@pytest.mark.parametrize("golden", EVERY, ids=ids)
def test_every_line_of_a_real_client_is_understood(golden: Golden) -> None:
    # `sctp-init` offers to leave out SCTP's own handshake; who does not answer it, shakes hands as ever.
    ignored = ("rtcp:", "rtcp-xr:", "ice-options:", "msid-semantic:", "sctp-init:")

    description = text.parse(golden.sdp)

    left = [raw for section in description.sections for raw in section.other] + list(description.session.other)
    assert [raw for raw in left if not raw.startswith(ignored)] == []


@pytest.mark.parametrize("golden", FIRST_OFFERS, ids=ids)
def test_every_first_offer_gets_an_answer_that_accepts_all_of_it(golden: Golden) -> None:
    server = negotiator()

    view = server.on_offer(golden.sdp)
    delta = server.answer(())

    check_consistent(view)
    assert delta.sdp is not None
    answer = text.parse(delta.sdp)
    check_answer(text.parse(golden.sdp), answer)
    assert [s.refused for s in view.sections] == [None] * len(view.sections)
    assert not any(s.is_stopped for s in answer.sections)
    sending = {s.mid for s in view.sections if s.direction.sends and s.kind is not Kind.DATA}
    assert {spec.mid for spec in delta.recv} == sending
    assert delta.remote is not None
    assert delta.remote.setup is Setup.ACTIVE
    assert delta.send == ()
    assert delta.ended == ()


@pytest.mark.parametrize(("client", "session"), captured(), ids="/".join)
def test_a_session_held_again_ends_as_the_client_left_it(client: str, session: str) -> None:
    server = negotiator()

    for index, step in enumerate(SESSIONS[session]):
        kind = "answer" if step.client is None else "offer"
        path = VECTORS / client / f"{session}.{index + 1}.{kind}.sdp"
        if not path.exists():
            break
        said = load(path).sdp
        if step.client is None:
            if step.restart:
                server.restart_ice(transport(index + 1))
            offer = server.offer(step.plan(server, None))
            assert offer.sdp is not None
            delta = server.on_answer(said)
            theirs = text.parse(said)
            for line, ours in zip(server.sections, text.parse(offer.sdp).sections, strict=True):
                assert line.stopped is (theirs.sections[line.index].is_stopped or ours.is_stopped)
                if line.kind is not Kind.DATA and not line.stopped:
                    assert line.direction is ours.direction & theirs.sections[line.index].direction.reverse
        else:
            view = server.on_offer(said)
            check_consistent(view)
            assert view.ice_restart is step.restart
            if step.restart:
                server.restart_ice(transport(index + 1))
            delta = server.answer(step.plan(server, view))
            assert delta.sdp is not None
            check_answer(text.parse(said), text.parse(delta.sdp))
        assert server.state is SignalingState.STABLE
        assert (delta.remote is not None) or index > 0
    for line in server.sections:
        assert (line.recv is not None) is (line.direction.receives and line.kind is not Kind.DATA)
        assert (line.send is not None) is (line.direction.sends and line.kind is not Kind.DATA)


@pytest.mark.parametrize("client", ["chromium", "firefox"])
def test_a_camera_that_stops_ends_and_another_takes_its_slot(client: str) -> None:
    server = negotiator()
    deltas, views = [], []
    for index in range(1, 5):
        views.append(server.on_offer(load(VECTORS / client / f"publish.{index}.offer.sdp").sdp))
        deltas.append(server.answer(()))

    stopped, recycled = views[2].sections[1], views[3].sections[1]
    assert stopped.change is Change.STOPPED
    assert deltas[2].ended == ((stopped.mid, Flow.RECV),)
    assert recycled.change is Change.RECYCLED
    assert recycled.mid != stopped.mid
    assert [spec.mid for spec in deltas[3].recv] == [recycled.mid]
    assert [section.change for section in views[3].sections if section.index != 1] == [Change.SAME] * 3


@pytest.mark.parametrize("client", ["chromium", "firefox"])
def test_simulcast_layers_come_in_the_order_they_were_declared_in(client: str) -> None:
    server = negotiator()

    view = server.on_offer(load(VECTORS / client / "simulcast.1.offer.sdp").sdp)
    delta = server.answer(())

    assert view.sections[1].rids == ("q", "h", "f")
    assert delta.sdp is not None
    video = text.parse(delta.sdp).sections[1]
    assert [(rid.id, rid.direction) for rid in video.rids] == [("q", "recv"), ("h", "recv"), ("f", "recv")]
    assert video.simulcast == text.Simulcast(recv=(("q",), ("h",), ("f",)))
    assert delta.recv[1].rids == ("q", "h", "f")


def test_plan_b_offers_are_known_and_answered_in_kind() -> None:
    server = negotiator()

    view = server.on_offer(load(VECTORS / "made" / "plan-b.1.offer.sdp").sdp)
    plan = [MLinePlan(section.mid, section.kind, Direction.RECVONLY, legacy_ids=True) for section in view.sections]
    delta = server.answer(plan)

    assert view.plan_b
    assert [section.mid for section in view.sections] == ["audio", "video", "data"]
    assert str(view.sections[1].msid) == "stream1 video1"
    assert delta.sdp is not None
    assert "m=application 9 DTLS/SCTP 5000\r\n" in delta.sdp
    assert "a=sctpmap:5000 webrtc-datachannel 1024\r\n" in delta.sdp
    assert "a=msid-semantic:WMS *\r\n" in delta.sdp
    assert delta.data is not None
    assert delta.data.port == 5000


def test_legacy_simulcast_reaches_the_engine_as_groups_in_order() -> None:
    server = negotiator()

    server.on_offer(load(VECTORS / "made" / "plan-b-simulcast.1.offer.sdp").sdp)
    delta = server.answer(())

    groups = [(group.semantics, group.ssrcs) for group in delta.recv[1].ssrc_groups]
    assert groups[0] == ("SIM", (2001, 2003, 2005))
    assert groups[1:] == [("FID", (2001, 2002)), ("FID", (2003, 2004)), ("FID", (2005, 2006))]
    assert delta.recv[1].rids == ()


def test_one_section_needs_no_group_and_no_mid() -> None:
    server = negotiator()

    view = server.on_offer(load(VECTORS / "made" / "one-section.1.offer.sdp").sdp)
    delta = server.answer(())

    assert delta.sdp is not None
    assert "a=group" not in delta.sdp
    assert "a=mid" not in delta.sdp
    assert view.sections[0].mid == "0"
    assert [codec.name for codec in delta.recv[0].codecs] == ["opus"]
    assert delta.remote is not None
    assert delta.remote.ufrag == "h4nd"
    assert delta.remote.candidates == ("candidate:1 1 UDP 2130706431 192.0.2.7 40000 typ host",)


def test_firefox_is_sent_the_numbers_it_offered() -> None:
    server = negotiator()

    server.on_offer(load(VECTORS / "firefox" / "publish.1.offer.sdp").sdp)
    delta = server.answer(())

    opus, vp8 = delta.recv[0].codecs[0], delta.recv[1].codecs[0]
    assert (opus.name, opus.pt) == ("opus", 109)
    assert (vp8.name, vp8.pt, vp8.rtx_pt) == ("VP8", 120, 124)


def of(client: str, role: str, kind: str) -> list[Golden]:
    """What a package said in one role, in order."""
    found = (VECTORS / client).glob(f"{role}.*.{kind}.sdp")
    return [load(path) for path in sorted(found, key=lambda path: int(path.name.split(".")[1]))]


@pytest.mark.parametrize("client", ["livekit", "livekit-client"])
def test_a_package_that_publishes_is_answered_offer_by_offer(client: str) -> None:
    server = negotiator()
    started: set[str] = set()
    ended: set[str] = set()

    for golden in of(client, "publisher", "offer"):
        server.on_offer(golden.sdp)
        delta = server.answer(())
        assert delta.sdp is not None
        check_answer(text.parse(golden.sdp), text.parse(delta.sdp))
        started |= {spec.mid for spec in delta.recv}
        ended |= {mid for mid, _ in delta.ended}

    assert len(started) == (3 if client == "livekit-client" else 2)
    assert ended == started, "all that was published was unpublished before the capture ended"


@pytest.mark.parametrize("client", ["livekit", "livekit-client"])
def test_a_package_that_subscribes_completes_our_offers(client: str) -> None:
    server = negotiator()
    sent: set[str] = set()

    for ours, theirs in zip(of(client, "subscriber", "server"), of(client, "subscriber", "answer"), strict=True):
        offered = text.parse(ours.sdp)
        delta = server.offer([plan_of(index, section, server) for index, section in enumerate(offered.sections)])
        assert delta.sdp is not None
        assert [s.mid for s in text.parse(delta.sdp).sections] == [s.mid for s in offered.sections]
        completed = server.on_answer(theirs.sdp)
        sent |= {spec.mid for spec in completed.send}
        for spec in completed.send:
            assert spec.codecs[0].name in ("opus", "VP8")
            assert spec.nack

    assert len(sent) == 2
    assert [line.direction for line in server.sections if line.kind is not Kind.DATA] == [Direction.INACTIVE] * 2


def plan_of(index: int, section: text.Section, server: Negotiator) -> MLinePlan:
    """What must have been planned for a section of an offer of ours."""
    mid = server.sections[index].mid if index < len(server.sections) else None
    kind = {"audio": Kind.AUDIO, "video": Kind.VIDEO}.get(section.media, Kind.DATA)
    codecs = tuple(
        CodecPref(codec.name, codec.fmtp, codec.channels, codec.pt) for codec in section.codecs if codec.name != "rtx"
    )
    return MLinePlan(mid, kind, section.direction, codecs, msid=section.msids[0] if section.msids else None)
