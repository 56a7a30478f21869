"""What a codec is, when two are the same, and which numbers they get."""

from __future__ import annotations

import pytest

from parley.negotiation import codecs
from parley.negotiation.codecs import (
    AV1,
    H264,
    H264_HIGH,
    H264_MODE_0,
    OPUS,
    RED,
    RTX,
    VP8,
    VP9,
    VP9_PROFILE_2,
    CodecPref,
)
from parley.negotiation.sdp import Codec

MODE_1 = "packetization-mode=1;profile-level-id="


def h264(fmtp: str) -> codecs.Identity:
    return codecs.identity("H264", 90_000, 1, fmtp)


@pytest.mark.parametrize("level", ["42e01f", "42E01F", "42e034", "42c01f", "4d8028", "58c01f"])
def test_h264_of_one_profile_is_one_codec_whatever_its_level(level: str) -> None:
    assert h264(MODE_1 + level) == H264.identity


@pytest.mark.parametrize("fmtp", [MODE_1 + "42001f", MODE_1 + "4d001f", MODE_1 + "640032", MODE_1 + "640c1f", "", "x"])
def test_h264_of_another_profile_or_mode_is_another_codec(fmtp: str) -> None:
    assert h264(fmtp) != H264.identity


def test_h264_without_parameters_is_constrained_baseline_in_mode_0() -> None:
    assert h264("") == H264_MODE_0.identity


def test_names_are_compared_without_case_and_defaults_are_filled_in() -> None:
    assert codecs.identity("vp9", 90_000, 1, "") == VP9.identity != VP9_PROFILE_2.identity
    assert codecs.identity("av1", 90_000, 1, "level-idx=5;profile=0;tier=0") == AV1.identity
    assert codecs.identity("av1", 90_000, 1, "profile=1") != AV1.identity
    assert codecs.identity("OPUS", 48_000, 2, "stereo=1") == OPUS.identity
    assert codecs.identity("opus", 48_000, 1, "") != OPUS.identity


def test_additions_win_over_what_was_there() -> None:
    assert codecs.with_parameters("minptime=10;useinbandfec=1", "useinbandfec=0;usedtx=1") == (
        "minptime=10;useinbandfec=0;usedtx=1"
    )
    assert codecs.with_parameters("a=1", "") == "a=1"
    assert codecs.with_parameters("", "0-15") == "0-15"


OFFERED = (
    Codec(96, "VP8", 90_000, 1, "max-fs=12288"),
    Codec(97, "RTX", 90_000, 1, "apt=96"),
    Codec(98, "VP9", 90_000, 1, "profile-id=0;max-fr=30"),
    Codec(99, "rtx", 90_000, 1, "apt=98"),
    Codec(100, "rtx", 90_000, 1, "apt=55"),
    Codec(101, "ulpfec", 90_000),
)


def numbers(found: tuple[Codec, ...]) -> list[int]:
    return [codec.pt for codec in found]


def test_the_peers_order_holds_unless_one_is_wanted() -> None:
    allowed = (VP9, VP8, RTX)

    assert numbers(codecs.common(OFFERED, allowed, (), {}, {})) == [96, 97, 98, 99]
    assert numbers(codecs.common(OFFERED, allowed, (VP9, VP8), {}, {})) == [98, 99, 96, 97]
    assert numbers(codecs.common(OFFERED, allowed, (VP8,), {}, {})) == [96, 97]


def test_retransmissions_are_left_out_where_they_are_not_allowed_or_point_nowhere() -> None:
    assert numbers(codecs.common(OFFERED, (VP8, VP9), (), {}, {})) == [96, 98]
    assert numbers(codecs.common(OFFERED[4:], (VP8, RTX), (), {}, {})) == []


def test_an_answer_states_no_limits_of_the_peers_own_receiver() -> None:
    vp8, _, vp9, _ = codecs.common(OFFERED, (VP8, VP9, RTX), (), {}, {})

    assert (vp8.fmtp, vp9.fmtp) == ("", "profile-id=0")


def test_a_number_with_another_meaning_elsewhere_is_passed_over() -> None:
    taken = {96: VP9.identity}

    assert numbers(codecs.common(OFFERED, (VP8, VP9, RTX), (), {}, taken)) == [98, 99]


def test_red_is_taken_first_and_only_where_both_want_it() -> None:
    offered = (Codec(111, "opus", 48_000, 2), Codec(63, "red", 48_000, 2, "111/111"))

    assert numbers(codecs.common(offered, (OPUS,), (), {}, {})) == [111]
    assert numbers(codecs.common(offered, (OPUS, RED), (), {}, {})) == [63, 111]
    assert numbers(codecs.common(offered, (OPUS, RED), (OPUS,), {}, {})) == [111]
    (opus,) = codecs.specs(codecs.common(offered, (OPUS, RED), (), {}, {}))
    assert (opus.name, opus.red_pt) == ("opus", 63)


def test_offers_keep_numbers_then_prefer_then_find_one() -> None:
    bound = {96: H264.identity, 120: VP8.identity}
    reserved = frozenset((96, 98, 108))

    offered = codecs.numbered((VP8, VP9, H264), True, {}, bound, reserved)

    assert [(codec.name, codec.pt) for codec in offered if codec.name != "rtx"] == [
        ("VP8", 120),
        ("VP9", 98),
        ("H264", 96),
    ]
    repeats = {codec.fmtp for codec in offered if codec.name == "rtx"}
    assert repeats == {"apt=120", "apt=98", "apt=96"}
    assert len({codec.pt for codec in offered}) == 6


def test_numbers_never_look_like_rtcp_and_run_out_honestly() -> None:
    many = tuple(CodecPref(f"X{index}") for index in range(70))
    bound: dict[int, codecs.Identity] = {}

    assert codecs.numbered(many, False, {}, bound, frozenset()) == ()
    assert all(pt in range(96, 128) or pt in range(35, 64) for pt in bound)


def test_high_profile_is_told_from_baseline() -> None:
    assert H264_HIGH.identity != H264.identity != H264_MODE_0.identity
