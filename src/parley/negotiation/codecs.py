"""What a codec is, when two are the same, and which payload types they get.

A codec is *named* by a `CodecPref` (what a dialect or a room wants) and *numbered* by a `CodecSpec` (what a section
agreed on). Two names are the same codec when their `identity` is equal, whatever else their format parameters say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from parley.engine.specs import CodecSpec, Kind
from parley.negotiation.sdp import Codec

CodecName = str
"""Encoding name of an rtpmap line in canonical case: `opus`, `VP8`, `H264`, `VP9`, `AV1`, `red`, `rtx`."""

Identity = tuple[str, ...]
"""What makes two codecs the same: lower-case name, clock, channels, then profile, tier or packetization mode."""


@dataclass(frozen=True, slots=True)
class CodecPref:
    """Names a codec that may be negotiated.

    `fmtp` selects the profile (`profile-id=2`) and is what an offer of ours states. A preferred payload type is used in
    offers while it is free; an answer always keeps the numbers of the offer it answers.
    """

    name: CodecName
    fmtp: str = ""
    channels: int = 1
    payload_type: int | None = None

    @property
    def clock_hz(self) -> int:
        """The RTP clock that goes with the name."""
        return _CLOCKS.get(self.name.lower(), 90_000)

    @property
    def kind(self) -> Kind:
        """AUDIO or VIDEO; retransmissions are VIDEO's."""
        return Kind.AUDIO if self.name.lower() in _CLOCKS else Kind.VIDEO

    @property
    def identity(self) -> Identity:
        """What it is the same codec as."""
        return identity(self.name, self.clock_hz, self.channels, self.fmtp)


_CLOCKS: Final = {"opus": 48_000, "red": 48_000, "pcmu": 8_000, "pcma": 8_000, "g722": 8_000}
_NAMES: Final = {
    name.lower(): name for name in ("opus", "red", "rtx", "PCMU", "PCMA", "G722", "VP8", "VP9", "H264", "H265", "AV1")
}

# The numbers are those LiveKit's server prefers, so that what clients see in its place looks familiar.
OPUS: Final = CodecPref("opus", "minptime=10;useinbandfec=1", channels=2, payload_type=111)
RED: Final = CodecPref("red", payload_type=63, channels=2)
PCMU: Final = CodecPref("PCMU", payload_type=0)
PCMA: Final = CodecPref("PCMA", payload_type=8)
VP8: Final = CodecPref("VP8", payload_type=96)
VP9: Final = CodecPref("VP9", "profile-id=0", payload_type=98)
VP9_PROFILE_2: Final = CodecPref("VP9", "profile-id=2", payload_type=100)
H264: Final = CodecPref(
    "H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", payload_type=108
)
H264_MODE_0: Final = CodecPref(
    "H264", "level-asymmetry-allowed=1;packetization-mode=0;profile-level-id=42e01f", payload_type=125
)
H264_HIGH: Final = CodecPref(
    "H264", "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640032", payload_type=123
)
AV1: Final = CodecPref("AV1", payload_type=35)
H265: Final = CodecPref("H265", payload_type=116)
RTX: Final = CodecPref("rtx")
"""Retransmissions (RFC 4588) for every video codec beside it; its payload types follow those of the codecs."""

AUDIO_CODECS: Final = (OPUS,)
VIDEO_CODECS: Final = (VP8, H264, H264_MODE_0, H264_HIGH, VP9, VP9_PROFILE_2, AV1, RTX)
DEFAULT_CODECS: Final = AUDIO_CODECS + VIDEO_CODECS
"""What the engine forwards today. RED is not in it: nothing takes it apart for listeners that lack it."""


def canonical(name: str) -> CodecName:
    """The name in its usual case; names we do not know are left alone."""
    return _NAMES.get(name.lower(), name)


def parameters(fmtp: str) -> dict[str, str]:
    """Format parameters by lower-case name; those without a value have an empty one."""
    pairs = (part.partition("=") for part in fmtp.split(";") if part.strip())
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def with_parameters(fmtp: str, additions: str) -> str:
    """The format parameters with others added; an addition wins over one of the same name."""
    if not additions:
        return fmtp
    merged = parameters(fmtp) | parameters(additions)
    return ";".join(f"{name}={value}" if value else name for name, value in merged.items())


def identity(name: str, clock_hz: int, channels: int, fmtp: str) -> Identity:
    """What makes two codecs the same.

    Source: RFC 6184 §8.1 (H264: profile and packetization mode), RFC 9628 §6 (VP9: profile-id), the AV1 RTP
    specification §7.2 and RFC 7798 §7.1 (AV1, H265: profile and tier), RFC 4588 (rtx: the type it repeats).
    """
    lower = name.lower()
    return _identity(lower, clock_hz, channels, fmtp if lower in _PROFILED else "")


@lru_cache(maxsize=512)
def _identity(name: str, clock_hz: int, channels: int, fmtp: str) -> Identity:
    stated = parameters(fmtp)
    profile: tuple[str, ...] = ()
    match name:
        case "h264":
            profile = (_h264_profile(stated.get("profile-level-id", "")), stated.get("packetization-mode", "0"))
        case "vp9":
            profile = (stated.get("profile-id", "0"),)
        case "av1":
            profile = (stated.get("profile", "0"), stated.get("tier", "0"))
        case "h265":
            profile = (stated.get("profile-id", "1"), stated.get("tier-flag", "0"))
        case "rtx":
            profile = (stated.get("apt", ""),)
        case "red":
            profile = (fmtp,)
    return (name, str(clock_hz), str(channels), *profile)


_PROFILED: Final = frozenset(("h264", "vp9", "av1", "h265", "rtx", "red"))
# RFC 6184 table 5: profile_idc, then the bits of profile-iop that matter and their value.
_H264_PROFILES: Final = (
    (0x42, 0b0100_0000, 0b0100_0000, "constrained-baseline"),
    (0x42, 0b0100_0000, 0b0000_0000, "baseline"),
    (0x4D, 0b1000_0000, 0b1000_0000, "constrained-baseline"),
    (0x4D, 0b1000_0000, 0b0000_0000, "main"),
    (0x58, 0b1100_0000, 0b1100_0000, "constrained-baseline"),
    (0x58, 0b1100_0000, 0b1000_0000, "baseline"),
    (0x64, 0b1111_1111, 0b0000_0000, "high"),
    (0x64, 0b1111_1111, 0b0000_1100, "constrained-high"),
    (0xF4, 0b1111_1111, 0b0000_0000, "high-444"),
)


def _h264_profile(profile_level_id: str) -> str:
    if not profile_level_id:
        # RFC 6184 says baseline; whoever leaves it out today means what every stack can decode.
        return "constrained-baseline"
    try:
        number = int(profile_level_id[:4], 16)
    except ValueError:
        return profile_level_id
    idc, iop = number >> 8, number & 0xFF
    return next(
        (name for known, mask, value, name in _H264_PROFILES if known == idc and iop & mask == value), f"{idc}-{iop}"
    )


def identity_of(codec: Codec) -> Identity:
    """The identity of a payload type in a description."""
    return identity(codec.name, codec.clock_hz, codec.channels, codec.fmtp)


def specs(codecs: Iterable[Codec]) -> tuple[CodecSpec, ...]:
    """The codecs of a section with their retransmission and redundancy types tied to them, order kept."""
    main: list[Codec] = []
    rtx: dict[str, int] = {}
    red: dict[str, int] = {}
    for codec in codecs:
        name = codec.name.lower()
        if name == "rtx":
            rtx.setdefault(parameters(codec.fmtp).get("apt", ""), codec.pt)
        elif name == "red":
            red.setdefault(codec.fmtp.partition("/")[0], codec.pt)
        elif name not in _REPAIR:
            main.append(codec)
    return tuple(
        CodecSpec(
            pt=codec.pt,
            name=canonical(codec.name),
            clock_hz=codec.clock_hz,
            channels=codec.channels,
            fmtp=codec.fmtp,
            rtx_pt=rtx.get(str(codec.pt)),
            red_pt=red.get(str(codec.pt)),
        )
        for codec in main
    )


# Forward error correction is never negotiated: nothing here can make or use it.
_REPAIR: Final = frozenset(("rtx", "red", "ulpfec", "flexfec-03", "flexfec"))
# What a receiver may usefully say back; the rest of an offer's parameters are limits of the peer's own receiver.
_ANSWERED: Final[Mapping[str, tuple[str, ...]]] = {
    "opus": ("minptime", "useinbandfec", "usedtx"),
    "h264": ("level-asymmetry-allowed", "packetization-mode", "profile-level-id"),
    "vp9": ("profile-id",),
    "av1": ("level-idx", "profile", "tier"),
    "h265": ("level-id", "profile-id", "tier-flag", "tx-mode"),
}


def common(
    offered: Sequence[Codec],
    allowed: Sequence[CodecPref],
    wanted: Sequence[CodecPref],
    additions: Mapping[CodecName, str],
    taken: Mapping[int, Identity],
) -> tuple[Codec, ...]:
    """What an answer accepts of the offered payload types, with their numbers and no feedback lines yet.

    allowed: all of them; wanted: narrows and orders those, or empty for the peer's own order. additions: format
    parameters by canonical name. taken: what numbers mean elsewhere in the bundle; another meaning is passed over
    (RFC 8843 §9.1). Retransmissions follow their codec; redundancy is accepted with what it wraps.
    """
    may = {pref.identity for pref in allowed}
    order = {pref.identity: index for index, pref in enumerate(wanted)} if wanted else None
    rtx_allowed = any(pref.name == "rtx" for pref in allowed)
    red_allowed = _names_red(allowed) and (not wanted or _names_red(wanted))

    main: list[tuple[int, Codec]] = []
    rtx: dict[str, Codec] = {}
    reds: list[Codec] = []
    for codec in offered:
        name = codec.name.lower()
        if name == "rtx":
            rtx.setdefault(parameters(codec.fmtp).get("apt", ""), codec)
            continue
        if name == "red":
            reds.append(codec)
            continue
        what = identity_of(codec)
        if what not in may or (order is not None and what not in order) or taken.get(codec.pt, what) != what:
            continue
        main.append((0 if order is None else order[what], codec))
    main.sort(key=lambda ranked: ranked[0])

    accepted: list[Codec] = []
    for _, codec in main:
        name = canonical(codec.name)
        accepted.append(codec._replace(name=name, fmtp=_answered_fmtp(codec, additions.get(name, "")), feedback=()))
        repeat = rtx.get(str(codec.pt)) if rtx_allowed else None
        if repeat is not None and taken.get(repeat.pt, what := identity_of(repeat)) == what:
            accepted.append(repeat._replace(name="rtx", fmtp=f"apt={codec.pt}", feedback=()))
    numbers = {str(codec.pt) for codec in accepted}
    if red_allowed:
        for codec in reds:
            wrapped = codec.fmtp.split("/")
            if numbers.issuperset(wrapped) and taken.get(codec.pt, what := identity_of(codec)) == what:
                # Where it is wanted it is wanted first: that is what makes a peer send it.
                accepted.insert(0, codec._replace(name="red", feedback=()))
                break
    return tuple(accepted)


def _names_red(prefs: Sequence[CodecPref]) -> bool:
    return any(pref.name == "red" for pref in prefs)


def _answered_fmtp(codec: Codec, additions: str) -> str:
    stated = parameters(codec.fmtp)
    kept = (name for name in _ANSWERED.get(codec.name.lower(), ()) if name in stated)
    return with_parameters(";".join(f"{name}={stated[name]}" for name in kept), additions)


def numbered(
    wanted: Sequence[CodecPref],
    rtx: bool,
    additions: Mapping[CodecName, str],
    bound: dict[int, Identity],
    reserved: frozenset[int],
) -> tuple[Codec, ...]:
    """What an offer states for these codecs, without feedback lines; empty where numbers have run out.

    bound: what numbers already mean in this connection; new ones are entered. A codec keeps the number it has, else it
    gets the one it prefers if that is free, else any free one that no other codec prefers (`reserved`) if possible.
    """
    by_identity = {what: pt for pt, what in reversed(bound.items())}

    def number(what: Identity, preferred: int | None) -> int | None:
        pt = by_identity.get(what)
        if pt is None:
            pt = preferred if preferred is not None and preferred not in bound else _free(bound, reserved)
            if pt is not None:
                bound[pt] = what
                by_identity[what] = pt
        return pt

    offered: list[Codec] = []
    for pref in wanted:
        if pref.name in ("rtx", "red"):
            continue
        pt = number(pref.identity, pref.payload_type)
        if pt is None:
            return ()
        fmtp = with_parameters(pref.fmtp, additions.get(pref.name, ""))
        offered.append(Codec(pt, pref.name, pref.clock_hz, pref.channels, fmtp))
        if rtx and pref.kind is Kind.VIDEO:
            fmtp = f"apt={pt}"
            repeat = number(
                identity("rtx", pref.clock_hz, 1, fmtp), pt + 1 if pt < 127 and pt + 1 not in reserved else None
            )
            if repeat is None:
                return ()
            offered.append(Codec(repeat, "rtx", pref.clock_hz, 1, fmtp))
    opus = next((codec for codec in offered if codec.name == "opus"), None)
    red = next((pref for pref in wanted if pref.name == "red"), None)
    if red is not None and opus is not None:
        fmtp = f"{opus.pt}/{opus.pt}"
        pt = number(identity("red", red.clock_hz, red.channels, fmtp), red.payload_type)
        if pt is None:
            return ()
        codec = Codec(pt, "red", red.clock_hz, red.channels, fmtp)
        offered.insert(0 if wanted[0].name == "red" else offered.index(opus) + 1, codec)
    return tuple(offered)


def _free(bound: Mapping[int, Identity], reserved: frozenset[int]) -> int | None:
    # 64 to 95 would look like RTCP (RFC 5761 §4); below 35 are the static types of RFC 3551.
    dynamic = [pt for pt in (*range(96, 128), *range(35, 64)) if pt not in bound]
    return next((pt for pt in dynamic if pt not in reserved), dynamic[0] if dynamic else None)
