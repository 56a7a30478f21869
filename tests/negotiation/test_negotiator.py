"""The rules of offering and answering, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from parley.engine.specs import Estimator, Flow, Kind, Mid, Setup
from parley.negotiation import (
    BundleRefused,
    CandidatesIn,
    Caps,
    Change,
    Delta,
    Direction,
    ExtensionPref,
    MLine,
    MLinePlan,
    Msid,
    NegotiationError,
    Negotiator,
    SectionMismatch,
    SectionRefused,
    SignalingState,
    WrongSignalingState,
)
from parley.negotiation import sdp as text
from parley.negotiation.codecs import AV1, H264, OPUS, RED, RTX, VP8, VP9, CodecPref
from parley.negotiation.extensions import DEFAULT_EXTENSIONS, DEPENDENCY_DESCRIPTOR, MID, TRANSPORT_CC
from parley.negotiation.sdp import Description, Section
from tests.negotiation.sessions import VECTORS, load, negotiator, transport

CHROMIUM = text.parse(load(VECTORS / "chromium" / "publish.1.offer.sdp").sdp)
AUDIO, VIDEO, DATA = CHROMIUM.sections
SIMULCAST = text.parse(load(VECTORS / "chromium" / "simulcast.1.offer.sdp").sdp).sections[1]
PEER = "sha-256 " + ":".join(["C3"] * 32)


def offer_of(*sections: Section, ufrag: str = "peer", fingerprint: str = PEER, session_id: str = "7") -> str:
    """An offer with these sections, mids counted up where they are those of the template."""
    return describe(sections, Setup.ACTPASS, ufrag, fingerprint, session_id)


def answer_to(offer: Delta, *, setup: Setup = Setup.ACTIVE, ufrag: str = "peer", **changes: Section | None) -> str:
    """The answer of a peer that accepts all of our offer; `m1=None` refuses section 1, `m1=section` says it so."""
    sections = []
    for index, section in enumerate(sections_of(offer)):
        changed = changes.get(
            f"m{index}", replace(section, direction=section.direction.reverse, ssrcs=(), ssrc_groups=())
        )
        sections.append(changed if changed is not None else replace(section, port=0))
    return describe(sections, setup, ufrag, PEER, "7")


def describe(sections: Sequence[Section], setup: Setup, ufrag: str, fingerprint: str, session_id: str) -> str:
    dressed = [replace(s, ufrag=ufrag, pwd=ufrag * 6, fingerprints=(fingerprint,), setup=setup) for s in sections]
    live = [s.mid for s in sections if s.mid is not None and not s.is_stopped]
    session = replace(CHROMIUM.session, session_id=session_id, groups=(("BUNDLE", *live),))
    return text.write(Description(session, tuple(dressed)))


def named(section: Section, mid: str, direction: Direction = Direction.SENDONLY) -> Section:
    return replace(section, mid=mid, direction=direction)


def sections_of(delta: Delta) -> tuple[Section, ...]:
    assert delta.sdp is not None
    return text.parse(delta.sdp).sections


def lines_of(delta: Delta) -> list[str]:
    assert delta.sdp is not None
    return delta.sdp.split("\r\n")


def send(kind: Kind, mid: str | None = None, **more: object) -> MLinePlan:
    plan = MLinePlan(Mid(mid) if mid else None, kind, Direction.SENDONLY, msid=Msid("PA_ada|TR_one", "TR_one"))
    return replace(plan, **more)  # type: ignore[arg-type]


def receive(kind: Kind, mid: str | None = None) -> MLinePlan:
    return MLinePlan(Mid(mid) if mid else None, kind, Direction.RECVONLY)


def connected(server: Negotiator, *plan: MLinePlan) -> Delta:
    """Offer this and have it accepted."""
    return server.on_answer(answer_to(server.offer(plan)))


# Answering.


def test_what_nobody_planned_is_received_and_nothing_is_sent() -> None:
    server = negotiator()

    server.on_offer(
        offer_of(named(AUDIO, "a"), named(VIDEO, "v", Direction.SENDRECV), named(VIDEO, "r", Direction.RECVONLY))
    )
    delta = server.answer(())

    assert [s.direction.value for s in sections_of(delta)] == ["recvonly", "recvonly", "inactive"]
    assert [spec.mid for spec in delta.recv] == ["a", "v"]
    assert delta.send == ()
    assert server.sections[2] == MLine(2, Mid("r"), Kind.VIDEO, Direction.INACTIVE)


def test_the_direction_is_what_both_want() -> None:
    server = negotiator()
    both = replace(send(Kind.VIDEO, "v"), direction=Direction.SENDRECV)

    server.on_offer(offer_of(named(VIDEO, "v", Direction.RECVONLY)))
    delta = server.answer([both])

    assert sections_of(delta)[0].direction is Direction.SENDONLY
    assert [spec.mid for spec in delta.send] == ["v"]
    assert delta.recv == ()
    assert delta.mids == ("v",)


def test_a_new_offer_never_silences_what_is_being_sent() -> None:
    server = negotiator()
    pulled = named(VIDEO, "v", Direction.RECVONLY)
    server.on_offer(offer_of(pulled))
    first = server.answer([send(Kind.VIDEO, "v")])

    server.on_offer(offer_of(pulled, named(AUDIO, "a")))
    second = server.answer(())

    assert sections_of(second)[0] == sections_of(first)[0]
    assert second.send == ()
    assert second.ended == ()
    assert [spec.mid for spec in second.recv] == ["a"]


def test_a_peer_that_pauses_ends_the_flow_and_resuming_opens_a_new_one() -> None:
    server = negotiator()
    server.on_offer(offer_of(named(VIDEO, "v")))
    first = server.answer(())

    server.on_offer(offer_of(named(VIDEO, "v", Direction.INACTIVE)))
    paused = server.answer(())
    server.on_offer(offer_of(named(VIDEO, "v")))
    resumed = server.answer(())

    assert paused.ended == (("v", Flow.RECV),)
    assert resumed.recv == first.recv
    assert resumed.remote is None


def test_a_sender_that_falls_silent_goes_on_declaring_its_numbers() -> None:
    server = negotiator()
    first = connected(server, send(Kind.VIDEO))
    (mid,) = (spec.mid for spec in first.send)

    silent = server.offer([MLinePlan(mid, Kind.VIDEO)])

    assert silent.sdp is not None
    assert "a=inactive" in silent.sdp
    assert f"a=ssrc:{first.send[0].ssrc} cname:" in silent.sdp
    assert f"a=ssrc-group:FID {first.send[0].ssrc} {first.send[0].rtx_ssrc}" in silent.sdp
    assert "a=msid:" not in silent.sdp


def test_a_sender_keeps_its_numbers_while_its_mid_lives() -> None:
    server = negotiator()
    first = connected(server, send(Kind.VIDEO))
    (mid,) = (spec.mid for spec in first.send)

    idle = connected(server, MLinePlan(mid, Kind.VIDEO))
    again = connected(server, replace(send(Kind.VIDEO, mid), codecs=(VP9,), msid=Msid("PA_bob|TR_two", "TR_two")))

    assert idle.ended == ((mid, Flow.SEND),)
    assert (again.send[0].ssrc, again.send[0].rtx_ssrc) == (first.send[0].ssrc, first.send[0].rtx_ssrc)
    assert {codec.name for codec in again.send[0].codecs} == {"VP9"}
    assert {codec.pt for codec in again.send[0].codecs} <= {codec.pt for codec in first.send[0].codecs}


def test_a_section_without_a_common_codec_is_refused_alone() -> None:
    server = negotiator(Caps(codecs=(OPUS,)))

    view = server.on_offer(offer_of(named(VIDEO, "v"), named(AUDIO, "a")))
    delta = server.answer([receive(Kind.VIDEO, "v"), receive(Kind.AUDIO, "a")])

    assert view.sections[0].refused == "it has no codec in common with us"
    assert view.sections[1].refused is None
    video, audio = sections_of(delta)
    assert (video.port, video.mid, video.ufrag) == (0, "v", None)
    assert audio.port == 9
    assert "a=group:BUNDLE a" in lines_of(delta)
    assert [spec.mid for spec in delta.recv] == ["a"]
    assert server.sections[0].stopped


def test_a_plan_may_refuse_a_section() -> None:
    server = negotiator()

    server.on_offer(offer_of(named(AUDIO, "a"), named(VIDEO, "v")))
    delta = server.answer([replace(receive(Kind.VIDEO, "v"), reject=True)])

    assert [s.port for s in sections_of(delta)] == [9, 0]


@pytest.mark.parametrize(
    ("section", "why"),
    [
        (replace(AUDIO, rtcp_mux=False), "it does not multiplex RTCP"),
        (replace(AUDIO, proto="RTP/AVP"), "its transport protocol is not DTLS-SRTP"),
        (replace(AUDIO, media="text"), "its media type is unknown"),
        (replace(DATA, proto="TCP/RTP"), "its transport protocol is not SCTP over DTLS"),
        (replace(DATA, formats=("bfcp",)), "its SCTP association is not for data channels"),
        (replace(DATA, sctp_port=0), "its SCTP port is 0"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_reason(section: Section, why: str) -> None:
    server = negotiator()

    view = server.on_offer(offer_of(named(VIDEO, "v"), replace(section, mid="x")))
    delta = server.answer(())

    assert view.sections[1].refused == why
    assert [s.port for s in sections_of(delta)] == [9, 0]


def test_there_is_one_data_section_or_none() -> None:
    twice = offer_of(replace(DATA, mid="d"), replace(DATA, mid="e"))

    first = negotiator().on_offer(twice)
    unwanted = negotiator(Caps(max_message_size=None)).on_offer(twice)

    assert [s.refused for s in first.sections] == [None, "there is a data section already"]
    assert unwanted.sections[0].refused == "data channels are not wanted here"


def test_data_is_told_once_and_again_only_when_it_changes() -> None:
    server = negotiator(Caps(max_message_size=262_144))
    server.on_offer(offer_of(replace(DATA, mid="d", sctp_port=6000, max_message_size=None)))
    first = server.answer(())
    server.on_offer(offer_of(replace(DATA, mid="d", sctp_port=6000, max_message_size=None), named(AUDIO, "a")))
    second = server.answer(())

    assert first.data is not None
    assert (first.data.port, first.data.max_message_size) == (6000, 65_536)
    assert second.data is None
    assert "a=sctp-port:5000" in lines_of(first)
    assert "a=max-message-size:262144" in lines_of(first)


def test_what_was_said_before_is_recognised() -> None:
    server = negotiator()
    server.on_offer(offer_of(named(AUDIO, "a"), named(VIDEO, "v")))
    server.answer(())

    view = server.on_offer(
        offer_of(
            named(AUDIO, "a"), replace(named(VIDEO, "v"), msids=(Msid("s", "other"),)), named(VIDEO, "w"), ufrag="new!"
        )
    )

    assert [s.change for s in view.sections] == [Change.SAME, Change.CHANGED, Change.NEW]
    assert view.ice_restart


def test_the_same_offer_gets_the_same_answer_with_a_higher_version() -> None:
    server = negotiator()
    offer = load(VECTORS / "chromium" / "publish.1.offer.sdp").sdp
    server.on_offer(offer)
    first = server.answer(())
    server.on_offer(offer)
    second = server.answer(())

    differing = [(a, b) for a, b in zip(lines_of(first), lines_of(second), strict=True) if a != b]
    assert [(a.split()[2], b.split()[2]) for a, b in differing] == [("1", "2")]
    assert second == Delta(sdp=second.sdp)


# Refusing whole descriptions.


@pytest.mark.parametrize(
    ("second", "error", "words"),
    [
        (offer_of(named(AUDIO, "a")), SectionMismatch, "1 sections where 2 were negotiated"),
        (offer_of(named(AUDIO, "a"), named(VIDEO, "x")), SectionMismatch, "live section 1 has another mid"),
        (offer_of(named(AUDIO, "a"), named(AUDIO, "v")), SectionMismatch, "live section 1 has another media type"),
        (offer_of(named(VIDEO, "v"), named(AUDIO, "a")), SectionMismatch, "live section 0 has another mid"),
        (
            offer_of(*[named(AUDIO, "a"), named(VIDEO, "v")], named(VIDEO, "v")),
            SectionMismatch,
            "two sections have the same mid",
        ),
        (
            offer_of(named(AUDIO, "a"), named(VIDEO, "v"), fingerprint="sha-256 AA", session_id="8"),
            BundleRefused,
            "the description is of another peer connection",
        ),
    ],
)
def test_an_offer_that_does_not_continue_what_was_agreed_changes_nothing(
    second: str, error: type[NegotiationError], words: str
) -> None:
    server = negotiator()
    server.on_offer(offer_of(named(AUDIO, "a"), named(VIDEO, "v")))
    server.answer(())
    before = server.sections

    with pytest.raises(error, match=words):
        server.on_offer(second)

    assert server.state is SignalingState.STABLE
    assert server.sections == before


def test_several_sections_need_a_bundle() -> None:
    loose = offer_of(named(AUDIO, "a"), named(VIDEO, "v")).replace("a=group:BUNDLE a v\r\n", "")
    partly = offer_of(named(AUDIO, "a"), named(VIDEO, "v")).replace("a=group:BUNDLE a v\r\n", "a=group:BUNDLE a\r\n")

    with pytest.raises(BundleRefused, match="several sections and no BUNDLE group"):
        negotiator().on_offer(loose)
    view = negotiator().on_offer(partly)
    assert [s.refused for s in view.sections] == [None, "it is outside the bundle"]


@pytest.mark.parametrize(
    ("line", "instead", "words"),
    [
        ("a=ice-ufrag:peer\r\n", "", "no ICE credentials"),
        (f"a=fingerprint:{PEER}\r\n", "", "no DTLS fingerprint"),
        ("a=setup:actpass", "a=setup:passive", "insists on being the DTLS server"),
    ],
)
def test_a_transport_must_be_whole_and_open_the_handshake(line: str, instead: str, words: str) -> None:
    with pytest.raises(BundleRefused, match=words):
        negotiator().on_offer(offer_of(named(AUDIO, "a")).replace(line, instead))


def test_candidates_that_cannot_be_used_are_passed_over() -> None:
    candidates = (
        "candidate:1 1 udp 100 192.0.2.1 5000 typ host generation 0",
        "candidate:2 1 udp 100 abc.local 5000 typ host",
        "candidate:3 2 udp 100 192.0.2.1 5001 typ host",
        "candidate:4 1 tcp 100 192.0.2.1 9 typ host tcptype active",
        "candidate:5 1 UDP 100 2001:db8::1 5000 typ srflx raddr 0.0.0.0 rport 0",
        "candidate:6 nonsense",
    )
    server = negotiator()
    server.on_offer(offer_of(replace(named(AUDIO, "a"), candidates=candidates)))

    remote = server.answer(()).remote

    assert remote is not None
    assert remote.candidates == (candidates[0], candidates[4])


@pytest.mark.parametrize(
    "plan",
    [
        [receive(Kind.AUDIO, "x")],
        [receive(Kind.VIDEO, "a")],
        [receive(Kind.AUDIO)],
        [receive(Kind.AUDIO, "a"), receive(Kind.AUDIO, "a")],
        [send(Kind.AUDIO, "a", msid=Msid("two words", "t"))],
        [send(Kind.AUDIO, "a", cname="line\r\nbreak")],
        [send(Kind.AUDIO, "a", fmtp=(("opus", "stereo=1\r\na=x"),))],
    ],
)
def test_a_plan_that_fits_no_section_leaves_the_offer_open(plan: list[MLinePlan]) -> None:
    server = negotiator()
    server.on_offer(offer_of(named(AUDIO, "a", Direction.SENDRECV)))

    with pytest.raises((SectionMismatch, SectionRefused)):
        server.answer(plan)

    assert server.state is SignalingState.HAVE_REMOTE_OFFER
    assert server.answer([receive(Kind.AUDIO, "a")]).recv


# States.


def test_every_operation_out_of_turn_says_so_and_changes_nothing() -> None:
    server = negotiator()
    offer = offer_of(named(AUDIO, "a"))
    for operation in (lambda: server.answer(()), lambda: server.on_answer(offer), server.rollback):
        with pytest.raises(WrongSignalingState, match="while stable"):
            operation()

    server.offer([send(Kind.AUDIO)])
    for operation in (lambda: server.on_offer(offer), lambda: server.offer(()), lambda: server.answer(())):
        with pytest.raises(WrongSignalingState, match="while have-local-offer"):
            operation()

    server.rollback()
    server.on_offer(offer)
    for operation in (lambda: server.on_offer(offer), lambda: server.offer(()), lambda: server.on_answer(offer)):
        with pytest.raises(WrongSignalingState, match="while have-remote-offer"):
            operation()

    server.close()
    server.close()
    assert server.state is SignalingState.CLOSED
    for operation in (lambda: server.on_offer(offer), server.rollback, lambda: server.restart_ice(transport(1))):
        with pytest.raises(WrongSignalingState, match="while closed"):
            operation()


def test_after_glare_the_server_may_roll_back_and_take_the_peers_offer() -> None:
    server = negotiator()
    ours = server.offer([send(Kind.AUDIO)])
    theirs = offer_of(named(VIDEO, "v"))
    with pytest.raises(WrongSignalingState) as glare:
        server.on_offer(theirs)

    server.rollback()
    server.on_offer(theirs)
    server.answer(())
    again = server.offer([send(Kind.AUDIO)])

    assert (glare.value.state, glare.value.operation) == ("have-local-offer", "take an offer")
    assert [line.mid for line in server.sections] == ["v"]
    assert ours.mids != again.mids, "a mid that was shown once is not shown again"


def test_a_rolled_back_offer_of_the_peers_leaves_nothing() -> None:
    server = negotiator()
    server.on_offer(offer_of(named(VIDEO, "v")))

    delta = server.rollback()

    assert delta == Delta()
    assert server.sections == ()
    assert server.state is SignalingState.STABLE


def test_what_we_would_receive_is_live_with_the_offer_and_ends_with_its_rollback() -> None:
    server = negotiator()

    offer = server.offer([receive(Kind.VIDEO), send(Kind.AUDIO)])
    back = server.rollback()

    assert [spec.mid for spec in offer.recv] == [offer.mids[0]]
    assert offer.send == ()
    assert back.ended == ((offer.mids[0], Flow.RECV),)
    assert server.sections == ()


def test_what_we_would_receive_is_narrowed_by_the_answer_or_ends_with_its_refusal() -> None:
    server = negotiator()
    offer = server.offer([receive(Kind.VIDEO), receive(Kind.AUDIO)])
    video = sections_of(offer)[0]
    only_vp8 = replace(
        video, direction=Direction.SENDONLY, codecs=video.codecs[:2], formats=video.formats[:2], ssrcs=(text.Ssrc(9),)
    )

    delta = server.on_answer(answer_to(offer, m0=only_vp8, m1=None))

    assert [codec.name for codec in delta.recv[0].codecs] == ["VP8"]
    assert delta.recv[0].ssrcs == (9,)
    assert delta.ended == ((offer.mids[1], Flow.RECV),)
    assert server.sections[1].stopped


def test_a_malformed_answer_leaves_the_offer_open_for_a_corrected_one() -> None:
    server = negotiator()
    offer = server.offer([send(Kind.AUDIO), send(Kind.VIDEO)])
    audio = sections_of(offer)[0]
    good = answer_to(offer)
    bad = [
        "nonsense",
        answer_to(offer, setup=Setup.PASSIVE),
        answer_to(offer, m0=replace(audio, mid="x")),
        answer_to(offer, m0=replace(audio, media="video")),
        answer_to(offer, m0=replace(audio, codecs=(text.Codec(77, "L16", 44_100),), formats=("77",))),
        good.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 1"),
        good[: good.rindex("m=")],
    ]

    for answer in bad:
        with pytest.raises(NegotiationError):
            server.on_answer(answer)
        assert server.state is SignalingState.HAVE_LOCAL_OFFER
        assert server.sections == ()

    assert len(server.on_answer(good).send) == 2


# Offering.


def test_mids_are_counted_past_the_peers_and_slots_of_one_kind_are_recycled() -> None:
    server = negotiator()
    server.on_offer(offer_of(named(AUDIO, "0"), named(VIDEO, "7"), named(VIDEO, "camera")))
    server.answer([MLinePlan(Mid("7"), Kind.VIDEO, reject=True)])

    offer = server.offer([send(Kind.AUDIO), send(Kind.VIDEO), send(Kind.VIDEO)])

    assert offer.mids == ("8", "9", "10")
    assert [s.mid for s in sections_of(offer)] == ["0", "9", "camera", "8", "10"]


def test_a_stopped_section_stays_refused_until_it_is_recycled_with_new_numbers() -> None:
    server = negotiator()
    first = connected(server, send(Kind.VIDEO), send(Kind.AUDIO))
    stop = server.offer([MLinePlan(Mid("0"), Kind.VIDEO, reject=True)])
    stopped = server.on_answer(answer_to(stop))
    idle = server.offer(())
    server.on_answer(answer_to(idle))
    again = connected(server, send(Kind.VIDEO))

    assert stopped.ended == (("0", Flow.SEND),)
    assert [s.port for s in sections_of(stop)] == [0, 9]
    assert [s.port for s in sections_of(idle)] == [0, 9]
    assert [line.mid for line in server.sections] == ["2", "1"]
    assert again.send[0].ssrc != first.send[0].ssrc
    assert again.send[0].mid == "2"


def test_a_section_the_peer_refused_is_stopped_for_us_too() -> None:
    server = negotiator()
    offer = server.offer([send(Kind.AUDIO), send(Kind.VIDEO)])
    server.on_answer(answer_to(offer, m1=None))

    with pytest.raises(SectionMismatch, match="not a live video section"):
        server.offer([send(Kind.VIDEO, "1")])
    assert [s.port for s in sections_of(server.offer(()))] == [9, 0]


def test_an_unchanged_section_is_offered_in_the_same_words() -> None:
    server = negotiator()
    first = server.offer([send(Kind.AUDIO), send(Kind.VIDEO)])
    server.on_answer(answer_to(first))

    second = server.offer([send(Kind.VIDEO)])
    delta = server.on_answer(answer_to(second))

    assert sections_of(second)[:2] == sections_of(first)
    assert [spec.mid for spec in delta.send] == ["2"]


def test_offers_use_the_numbers_the_peer_has_used() -> None:
    server = negotiator()
    server.on_offer(load(VECTORS / "firefox" / "publish.1.offer.sdp").sdp)
    server.answer(())

    audio, video = sections_of(server.offer([send(Kind.AUDIO), send(Kind.VIDEO)]))[-2:]

    assert [(codec.name, codec.pt) for codec in audio.codecs] == [("opus", 109)]
    numbers = {codec.name: codec.pt for codec in video.codecs if codec.name not in ("rtx", "H264")}
    assert (numbers["VP8"], numbers["AV1"]) == (120, 99)
    meanings: dict[int, set[str]] = {}
    for section in (audio, video):
        for codec in section.codecs:
            meanings.setdefault(codec.pt, set()).add(codec.name)
    assert all(len(names) == 1 for names in meanings.values())
    assert {e.uri: e.id for e in video.extensions}.get(MID, 3) == 3


def test_a_fresh_offer_has_the_numbers_clients_know() -> None:
    audio, video = sections_of(negotiator().offer([send(Kind.AUDIO), send(Kind.VIDEO)]))

    assert {codec.pt: codec.name for codec in audio.codecs} == {111: "opus"}
    numbers = {codec.pt: codec.name for codec in video.codecs if codec.name != "rtx"}
    assert numbers == {96: "VP8", 108: "H264", 125: "H264", 123: "H264", 98: "VP9", 100: "VP9", 35: "AV1"}


def test_data_is_offered_once_and_may_be_planned_again() -> None:
    server = negotiator()
    data = MLinePlan(None, Kind.DATA)
    first = server.offer([data])
    delta = server.on_answer(answer_to(first))

    second = server.offer([data, send(Kind.AUDIO)])

    assert first.mids == ("0",)
    assert delta.data is not None
    assert second.mids == ("0", "1")
    with pytest.raises(SectionRefused, match="data channels are not wanted here"):
        negotiator(Caps(max_message_size=None)).offer([data])


def test_a_codec_that_may_not_be_used_cannot_be_offered() -> None:
    server = negotiator(Caps(codecs=(OPUS, VP8)))

    with pytest.raises(SectionRefused, match="none of the planned codecs may be used"):
        server.offer([send(Kind.VIDEO, codecs=(H264,))])

    assert server.state is SignalingState.STABLE


def test_an_offer_keeps_a_simulcast_publisher_sending_all_layers() -> None:
    server = negotiator()
    server.on_offer(offer_of(named(SIMULCAST, "v")))
    server.answer(())

    offer = server.offer([send(Kind.AUDIO)])
    answer = answer_to(offer, m0=named(SIMULCAST, "v"))
    delta = server.on_answer(answer)

    video = sections_of(offer)[0]
    assert video.simulcast == text.Simulcast(recv=(("q",), ("h",), ("f",)))
    assert offer.recv == ()
    assert delta.ended == ()
    assert server.sections[0].recv is not None
    assert server.sections[0].recv.rids == ("q", "h", "f")


def test_an_offer_never_asks_for_simulcast_by_accident() -> None:
    offer = negotiator().offer([receive(Kind.VIDEO)])

    assert sections_of(offer)[0].simulcast is None


# ICE.


def test_an_offer_that_restarts_ice_is_answered_with_fresh_credentials_and_all_else_kept() -> None:
    server = negotiator()
    server.on_offer(offer_of(named(AUDIO, "a")))
    first = server.answer(())

    view = server.on_offer(offer_of(named(AUDIO, "a"), ufrag="anew"))
    with pytest.raises(WrongSignalingState, match="fresh credentials"):
        server.answer(())
    server.restart_ice(transport(1))
    second = server.answer(())

    assert view.ice_restart
    assert [s.change for s in view.sections] == [Change.SAME]
    assert sections_of(second)[0] == replace(sections_of(first)[0], ufrag="srv1", pwd=transport(1).pwd)
    assert second.remote is not None
    assert second.remote.ufrag == "anew"
    assert second.recv == second.send == ()


def test_the_engine_hears_when_another_section_comes_to_lead_the_bundle() -> None:
    server = negotiator()
    first, second, stopped = named(AUDIO, "a"), named(VIDEO, "v"), replace(named(AUDIO, "a"), port=0)
    server.on_offer(offer_of(first, second))
    begun = server.answer(())
    server.on_offer(offer_of(first, second))
    same = server.answer(())

    server.on_offer(offer_of(stopped, second))
    led = server.answer(())
    server.on_offer(offer_of(stopped, second, named(AUDIO, "b")))
    more = server.answer(())
    server.on_offer(offer_of(named(AUDIO, "c"), second, named(AUDIO, "b")))
    recycled = server.answer(())

    assert begun.remote is not None
    assert not begun.remote.begins_anew
    assert same.remote is None
    assert led.remote == replace(begun.remote, begins_anew=True)
    assert more.remote is None
    assert recycled.remote == led.remote


def test_the_engine_hears_it_with_an_offer_of_ours_before_the_answer() -> None:
    server = negotiator()
    connected(server, send(Kind.AUDIO), send(Kind.VIDEO))
    audio, _ = (line.mid for line in server.sections)
    stopped = server.offer([MLinePlan(audio, Kind.AUDIO, reject=True)])
    after = server.on_answer(answer_to(stopped))
    again = server.offer([send(Kind.AUDIO)])
    unanswered = server.rollback()
    taken = connected(server, send(Kind.VIDEO))

    assert stopped.remote is not None
    assert stopped.remote.begins_anew
    assert after.remote is None
    assert again.remote == stopped.remote
    assert unanswered.remote is None
    assert taken.remote is None


def test_a_peer_that_stops_its_first_section_in_an_answer_is_told_of_too() -> None:
    server = negotiator()
    connected(server, send(Kind.AUDIO), send(Kind.VIDEO))

    offer = server.offer([send(Kind.VIDEO)])
    answered = server.on_answer(answer_to(offer, m0=None))

    assert offer.remote is None
    assert answered.remote is not None
    assert answered.remote.begins_anew


def test_a_full_agent_takes_the_part_that_its_peer_leaves() -> None:
    full, lite = Negotiator(Caps(), replace(transport(), lite=False), random=Random(1)), negotiator(seed=2)

    offered = full.offer([send(Kind.AUDIO)])
    lite.on_offer(offered.sdp or "")
    answered = lite.answer(())
    called = full.on_answer(answered.sdp or "")
    again = lite.offer([MLinePlan(Mid("0"), Kind.AUDIO, Direction.RECVONLY)])
    full.on_offer(again.sdp or "")
    repeated = full.answer(())

    assert "a=ice-lite" not in lines_of(offered)
    assert {"a=ice-lite", "a=setup:passive"} <= set(lines_of(answered))
    assert called.remote is not None
    assert (called.remote.setup, called.remote.controls) == (Setup.PASSIVE, False)
    assert called.remote.candidates == transport().candidates
    assert "a=setup:active" in lines_of(repeated)
    assert repeated.remote is None


def test_a_full_agent_opens_the_handshake_with_whoever_offers_and_is_no_client_yet() -> None:
    for is_lite, setup, opens in (
        (True, Setup.ACTPASS, True),
        (False, Setup.ACTPASS, True),
        (False, Setup.ACTIVE, False),
        (False, Setup.PASSIVE, True),
    ):
        server = Negotiator(Caps(), replace(transport(), lite=False), random=Random(1))
        offer = describe([named(AUDIO, "a")], setup, "peer", PEER, "7")
        server.on_offer(offer.replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n") if is_lite else offer)
        delta = server.answer(())

        assert delta.remote is not None
        assert delta.remote.setup is (Setup.PASSIVE if opens else Setup.ACTIVE)
        assert f"a=setup:{'active' if opens else 'passive'}" in lines_of(delta)
        assert delta.remote.controls is not is_lite


def test_of_two_full_agents_the_one_that_offers_first_controls() -> None:
    server = Negotiator(Caps(), replace(transport(), lite=False), random=Random(1))

    first = connected(server, send(Kind.AUDIO))

    assert first.remote is not None
    assert (first.remote.setup, first.remote.controls) == (Setup.ACTIVE, False)


def test_our_restart_waits_for_an_offer_of_ours() -> None:
    server = negotiator()
    server.on_offer(offer_of(named(AUDIO, "a")))
    server.answer(())
    server.restart_ice(transport(1))

    server.on_offer(offer_of(named(AUDIO, "a"), named(VIDEO, "v")))
    answered = server.answer(())
    offered = server.offer(())
    delta = server.on_answer(answer_to(offered, ufrag="anew"))

    assert {s.ufrag for s in sections_of(answered)} == {"srv0"}
    assert {s.ufrag for s in sections_of(offered)} == {"srv1"}
    assert delta.remote is not None
    assert delta.remote.ufrag == "anew"


# What is written.


def test_every_section_carries_the_whole_transport() -> None:
    server = negotiator()
    server.on_offer(load(VECTORS / "chromium" / "publish.1.offer.sdp").sdp)
    delta = server.answer(())

    for section in sections_of(delta):
        assert (section.ufrag, section.pwd) == ("srv0", transport().pwd)
        assert section.fingerprints == (transport().fingerprint,)
        assert section.setup is Setup.PASSIVE
        assert section.candidates == transport().candidates
        assert section.end_of_candidates
    assert "a=ice-lite" in lines_of(delta)


@pytest.mark.parametrize(
    ("where", "counts"),
    [(CandidatesIn.EVERY_SECTION, [1, 1]), (CandidatesIn.FIRST_SECTION, [1, 0]), (CandidatesIn.NO_SECTION, [0, 0])],
)
def test_candidates_stand_where_the_caps_say(where: CandidatesIn, counts: list[int]) -> None:
    offer = negotiator(Caps(candidates_in=where)).offer([send(Kind.AUDIO), send(Kind.VIDEO)])

    assert [len(s.candidates) for s in sections_of(offer)] == counts


def test_sending_names_stream_track_and_sources() -> None:
    server = negotiator()
    server.on_offer(offer_of(named(VIDEO, "v", Direction.RECVONLY), named(AUDIO, "a", Direction.RECVONLY)))
    delta = server.answer([send(Kind.VIDEO, "v", cname="ada"), send(Kind.AUDIO, "a")])

    ssrc, rtx_ssrc = delta.send[0].ssrc, delta.send[0].rtx_ssrc
    lines = lines_of(delta)
    assert "a=msid:PA_ada|TR_one TR_one" in lines
    assert f"a=ssrc-group:FID {ssrc} {rtx_ssrc}" in lines
    assert f"a=ssrc:{ssrc} cname:ada" in lines
    assert f"a=ssrc:{rtx_ssrc} cname:ada" in lines
    assert delta.send[0].cname == "ada"
    assert delta.send[1].rtx_ssrc is None
    assert not any("a=ssrc" in line and "msid" in line for line in lines)


def test_old_stacks_are_told_in_their_own_words() -> None:
    offer = negotiator().offer([send(Kind.AUDIO, legacy_ids=True)])

    ssrc = sections_of(offer)[0].ssrcs[0].ssrc
    assert f"a=ssrc:{ssrc} msid:PA_ada|TR_one TR_one" in lines_of(offer)
    assert "a=msid-semantic:WMS *" in lines_of(offer)


def test_source_lines_can_be_left_out() -> None:
    offer = negotiator(Caps(ssrc_lines=False)).offer([send(Kind.AUDIO), send(Kind.VIDEO)])

    assert not any(line.startswith("a=ssrc") for line in lines_of(offer))


def test_opus_gets_what_was_offered_and_what_was_planned() -> None:
    server = negotiator()
    server.on_offer(offer_of(named(AUDIO, "a")))
    delta = server.answer(
        [replace(receive(Kind.AUDIO, "a"), fmtp=(("opus", "usedtx=1"), ("opus", "stereo=1;maxaveragebitrate=510000")))]
    )

    assert "a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1;stereo=1;maxaveragebitrate=510000" in lines_of(delta)


def test_bandwidth_is_stated_both_ways() -> None:
    server = negotiator()
    server.on_offer(offer_of(named(VIDEO, "v")))
    delta = server.answer([replace(receive(Kind.VIDEO, "v"), max_bps=1_500_001)])

    assert sections_of(delta)[0].bandwidth == (("AS", 1501), ("TIAS", 1_500_001))


def test_a_fixed_seed_gives_the_same_description() -> None:
    first, second = negotiator(seed=5), negotiator(seed=5)
    plan = [send(Kind.AUDIO), send(Kind.VIDEO)]

    assert first.offer(plan).sdp == second.offer(plan).sdp
    assert negotiator(seed=6).offer(plan).sdp != first.rollback().sdp


# Feedback and extensions.


def feedback(delta: Delta, index: int = 0) -> dict[str, tuple[str, ...]]:
    return {codec.name: codec.feedback for codec in sections_of(delta)[index].codecs}


def test_feedback_follows_the_direction() -> None:
    plan = [MLinePlan(Mid("v"), Kind.VIDEO, Direction.SENDRECV, codecs=(VP8,), msid=Msid("s", "t"))]
    common = ("ccm fir", "nack", "nack pli")
    found = {}
    for direction in (Direction.SENDONLY, Direction.RECVONLY, Direction.SENDRECV):
        server = negotiator()
        server.on_offer(offer_of(named(VIDEO, "v", direction)))
        found[direction] = server.answer(plan)

    assert feedback(found[Direction.SENDONLY])["VP8"] == ("transport-cc", *common)
    assert feedback(found[Direction.RECVONLY])["VP8"] == ("goog-remb", *common)
    assert feedback(found[Direction.SENDRECV])["VP8"] == ("goog-remb", "transport-cc", *common)
    both = found[Direction.SENDRECV]
    assert (both.recv[0].nack, both.recv[0].twcc, both.send[0].estimator) == (True, True, Estimator.REMB)


def test_a_publisher_without_transport_wide_feedback_is_sent_remb() -> None:
    server = negotiator()

    server.on_offer(load(VECTORS / "aiortc" / "publish.1.offer.sdp").sdp)
    delta = server.answer(())

    assert (delta.recv[1].twcc, delta.recv[1].remb) == (False, True)


def test_opus_asks_for_nack_though_nobody_offers_it_but_not_beside_red() -> None:
    plain, redundant = negotiator(), negotiator(Caps(codecs=(OPUS, RED)))
    for server in (plain, redundant):
        server.on_offer(offer_of(named(AUDIO, "a")))
    without, beside = plain.answer(()), redundant.answer(())

    assert feedback(without) == {"opus": ("nack",)}
    assert without.recv[0].nack
    assert feedback(beside) == {"red": (), "opus": ()}
    assert not beside.recv[0].nack
    assert beside.recv[0].codecs[0].red_pt == 63


def test_the_dependency_descriptor_comes_only_with_the_codecs_that_need_it() -> None:
    extension = text.Extension(9, DEPENDENCY_DESCRIPTOR)
    offered = replace(named(VIDEO, "v"), extensions=(*VIDEO.extensions, extension))
    found = []
    for codecs in ((VP8, AV1), (AV1, VP8), (VP9,), (H264,)):
        server = negotiator()
        server.on_offer(offer_of(offered))
        delta = server.answer([replace(receive(Kind.VIDEO, "v"), codecs=codecs)])
        found.append(extension in sections_of(delta)[0].extensions)

    assert found == [False, True, True, False]


def test_ids_above_fourteen_are_kept_and_one_id_means_one_thing() -> None:
    high = replace(named(VIDEO, "v"), extensions=(text.Extension(42, TRANSPORT_CC), text.Extension(4, MID)))
    clash = replace(named(VIDEO, "w"), extensions=(text.Extension(4, TRANSPORT_CC), text.Extension(42, MID)))
    server = negotiator()
    server.on_offer(offer_of(high, clash))
    delta = server.answer(())

    assert sections_of(delta)[0].extensions == high.extensions
    assert sections_of(delta)[1].extensions == ()
    assert [spec.twcc for spec in delta.recv] == [True, False]


@pytest.mark.parametrize("kind", [Kind.AUDIO, Kind.VIDEO])
def test_a_section_that_the_server_sends_on_is_named_in_its_packets(kind: Kind) -> None:
    delta = connected(negotiator(), send(kind))

    assert MID in [extension.uri for extension in delta.send[0].extensions]


def test_offered_extensions_get_free_ids_in_the_order_of_the_caps() -> None:
    caps = Caps(extensions=tuple(ExtensionPref(f"urn:x:{n}") for n in range(16)))

    ids = [e.id for e in sections_of(negotiator(caps).offer([send(Kind.VIDEO)]))[0].extensions]
    narrow = sections_of(negotiator(replace(caps, extmap_allow_mixed=False)).offer([send(Kind.VIDEO)]))[0].extensions

    assert ids == [*range(1, 15), 16, 17]
    assert len(narrow) == 14


def test_transport_wide_feedback_toward_subscribers_is_a_matter_of_caps() -> None:
    both_ways = tuple(
        replace(pref, flows=(Flow.RECV, Flow.SEND)) if pref.uri == TRANSPORT_CC else pref
        for pref in DEFAULT_EXTENSIONS
        if "abs-send-time" not in pref.uri
    )
    delta = connected(negotiator(Caps(extensions=both_ways)), send(Kind.VIDEO))

    assert delta.send[0].estimator is Estimator.TWCC


# Size and secrecy.


def test_five_hundred_and_twelve_sections_are_answered_and_offered() -> None:
    caps = Caps(codecs=(OPUS, VP8, CodecPref("H264", H264.fmtp, payload_type=108), RTX))
    server = negotiator(caps)
    sections = [named(VIDEO if n % 2 else AUDIO, str(n), Direction.RECVONLY) for n in range(512)]
    server.on_offer(offer_of(*sections))
    delta = server.answer([send(Kind.VIDEO if n % 2 else Kind.AUDIO, str(n)) for n in range(512)])

    assert len(delta.send) == 512
    assert len({spec.ssrc for spec in delta.send}) == 512
    assert len(sections_of(server.offer([send(Kind.AUDIO)]))) == 513


def test_sections_are_bounded_in_our_own_offers_too() -> None:
    server = negotiator(Caps(codecs=(OPUS,)))

    with pytest.raises(SectionRefused, match="there are 1024 sections already"):
        server.offer([send(Kind.AUDIO)] * 1025)

    assert len(sections_of(server.offer([send(Kind.AUDIO)] * 1024))) == 1024


def test_what_could_reach_a_log_holds_no_description_and_no_password() -> None:
    server = negotiator()
    server.on_offer(offer_of(named(AUDIO, "a")))

    delta = server.answer(())

    assert "pwd" not in repr(delta)
    assert "peerpeer" not in repr(delta)
    assert "m=audio" not in repr(delta)
