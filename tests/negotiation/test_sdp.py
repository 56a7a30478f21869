"""Descriptions as text: what is read, what is forgiven, what is refused, what is written."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.engine.specs import Setup
from parley.negotiation import Direction, Msid, NegotiationError, SdpSyntax, SdpTooLarge
from parley.negotiation import sdp as text
from tests.negotiation.sessions import goldens

HEAD = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
VIDEO = HEAD + "m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\n"
CORPUS = [golden.sdp for golden in goldens()]
LINES = sorted({line for sdp in CORPUS for line in sdp.splitlines()})


def section(*lines: str) -> text.Section:
    return text.parse(VIDEO + "".join(line + "\r\n" for line in lines)).sections[0]


def test_lines_may_end_in_lf_crlf_or_cr() -> None:
    crlf = VIDEO + "a=mid:0\r\n"

    assert text.parse(crlf.replace("\r\n", "\n")) == text.parse(crlf) == text.parse(crlf.replace("\r\n", "\r"))
    assert text.parse(crlf.removesuffix("\r\n")) == text.parse(crlf)


def test_a_payload_type_gathers_its_lines() -> None:
    video = section(
        "a=rtpmap:96 VP8/90000",
        "a=rtcp-fb:96 nack pli",
        "a=rtcp-fb:* ccm fir",
        "a=fmtp:97 apt=96",
        "a=rtpmap:97 rtx/90000",
    )

    vp8, rtx = video.codecs
    assert vp8 == text.Codec(96, "VP8", 90_000, 1, "", ("nack pli", "ccm fir"))
    assert rtx == text.Codec(97, "rtx", 90_000, 1, "apt=96", ("ccm fir",))


def test_static_payload_types_need_no_rtpmap() -> None:
    audio = text.parse(HEAD + "m=audio 9 UDP/TLS/RTP/SAVPF 0 8 96\r\n").sections[0]

    assert [(codec.pt, codec.name) for codec in audio.codecs] == [(0, "PCMU"), (8, "PCMA")]


def test_what_cannot_be_read_is_kept_and_changes_nothing() -> None:
    video = section("a=rid:q upward", "a=extmap:none", "a=setup:sometimes", "a=invented", "a=candidate:", "b=AS:lots")

    assert video.rids == ()
    assert video.extensions == ()
    assert video.setup is None
    assert video.bandwidth == ()
    assert video.other == ("rid:q upward", "extmap:none", "setup:sometimes", "invented", "candidate:")


def test_simulcast_is_read_in_both_spellings() -> None:
    rids = ("a=rid:q send", "a=rid:h send pt=96")

    assert section(*rids, "a=simulcast:send q;~h,q").simulcast == text.Simulcast((("q",), ("~h", "q")))
    assert section(*rids, "a=simulcast: send rid=q;h").simulcast == text.Simulcast((("q",), ("h",)))
    assert section(*rids, "a=simulcast:send").simulcast is None


def test_a_section_without_a_direction_has_that_of_the_session() -> None:
    sdp = HEAD + "a=recvonly\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=inactive\r\n"

    directions = [s.direction for s in text.parse(sdp).sections]

    assert directions == [Direction.RECVONLY, Direction.INACTIVE]


def test_transport_lines_are_read_in_one_form() -> None:
    video = section("a=fingerprint:SHA-256 ab:cd", "a=ice-ufrag:u", "a=ice-pwd:p", "a=setup:active", "a=msid:- t")

    assert video.fingerprints == ("sha-256 AB:CD",)
    assert (video.ufrag, video.pwd, video.setup) == ("u", "p", Setup.ACTIVE)
    assert video.msids == (Msid("-", "t"),)


@pytest.mark.parametrize(
    ("sdp", "line"),
    [
        ("", 1),
        ("hello", 1),
        ("o=- 1 2 IN IP4 127.0.0.1\r\n", 1),
        ("v=1\r\n", 1),
        ("v=0\r\no=too few\r\n", 2),
        (HEAD + "nonsense\r\n", 5),
        (HEAD + "m=video\r\n", 5),
        (HEAD + "m=video port UDP/TLS/RTP/SAVPF 96\r\n", 5),
        (HEAD + "m=video 65536 UDP/TLS/RTP/SAVPF 96\r\n", 5),
        (VIDEO + "a=mid:0\r\nx\r\n", 7),
        (VIDEO + "m=audio 9\r\n", 6),
    ],
)
def test_lines_without_shape_are_refused_by_number(sdp: str, line: int) -> None:
    with pytest.raises(SdpSyntax) as caught:
        text.parse(sdp)

    assert caught.value.line == line
    assert f"line {line} of the description" in str(caught.value)


@pytest.mark.parametrize(
    ("sdp", "what"),
    [
        ("v" * (text.MAX_TEXT + 1), "characters"),
        (HEAD + "m=audio 9 X 0\r\n" * (text.MAX_SECTIONS + 1), "sections"),
        (VIDEO + "a=" + "x" * text.MAX_LINE + "\r\n", "characters in a line"),
        (HEAD + "a=" + "x" * text.MAX_LINE + "\r\n", "characters in a line"),
    ],
)
def test_size_is_bounded(sdp: str, what: str) -> None:
    with pytest.raises(SdpTooLarge) as caught:
        text.parse(sdp)

    assert caught.value.what == what


@pytest.mark.parametrize(
    "line",
    [
        "a=rtcp-fb:* kind{}",
        "b=AS:{}",
        "a=ssrc:{} cname:x",
        "a=extmap:1 u" + " " * 4000 + "{}",
        "a=rid:q send {}",
        "a=x{}",
    ],
)
def test_four_megabytes_of_one_line_are_read_in_seconds(line: str) -> None:
    count = text.MAX_TEXT // (len(line) + 12)
    sdp = VIDEO + "a=rtpmap:96 VP8/90000\r\n" + "".join(line.format(n) + "\r\n" for n in range(count))

    began = time.process_time()
    text.parse(sdp)

    assert time.process_time() - began < 10


def test_messages_hold_nothing_of_the_description() -> None:
    secret = "a=ice-pwd:thisisasecret"

    with pytest.raises(NegotiationError) as caught:
        text.parse(VIDEO + secret + "\r\nthisisasecret\r\n")

    assert "secret" not in str(caught.value)


def test_writing_uses_one_order_and_crlf() -> None:
    video = section("a=rtcp-mux", "a=sendonly", "a=rtpmap:96 VP8/90000", "a=mid:v", "a=ice-ufrag:u", "a=made-up:1")

    lines = text.write_section(video).split("\r\n")

    assert lines == [
        "m=video 9 UDP/TLS/RTP/SAVPF 96 97",
        "c=IN IP4 0.0.0.0",
        "a=ice-ufrag:u",
        "a=mid:v",
        "a=sendonly",
        "a=rtcp-mux",
        "a=rtpmap:96 VP8/90000",
        "a=made-up:1",
        "",
    ]


def stable(sdp: str) -> None:
    """Either it is refused, or writing and reading it again changes nothing."""
    try:
        once = text.parse(sdp)
    except NegotiationError:
        return
    assert text.parse(text.write(once)) == once


@given(st.text())
def test_any_text_is_read_or_refused(sdp: str) -> None:
    stable(sdp)
    stable(VIDEO + sdp)


@given(st.lists(st.sampled_from(LINES), max_size=60), st.booleans())
def test_any_lines_of_real_descriptions_are_read_or_refused(lines: list[str], with_head: bool) -> None:
    stable((HEAD if with_head else "") + "\r\n".join(lines))


@given(st.sampled_from(CORPUS), st.data())
def test_real_descriptions_with_damage_are_read_or_refused(sdp: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(sdp)))
        until = data.draw(st.integers(at, min(len(sdp), at + 40)))
        sdp = sdp[:at] + data.draw(st.text(max_size=12)) + sdp[until:]

    stable(sdp)


ATTRIBUTES = sorted(text._ATTRIBUTES)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(ATTRIBUTES),
            st.text(st.sampled_from("0123456789 abcqhf*:;,=/~.-\t\x0bé"), max_size=24),
        ),
        max_size=20,
    ),
    st.sampled_from(["video 9 UDP/TLS/RTP/SAVPF 96 97 096 0", "application 0 DTLS/SCTP 5000", "text 1/2 X y"]),
)
def test_any_values_of_known_attributes_are_read_or_kept(attributes: list[tuple[str, str]], media: str) -> None:
    lines = [f"a={name}:{value}" for name, value in attributes]

    stable(HEAD + "\r\n".join([*lines, f"m={media}", *lines]))
