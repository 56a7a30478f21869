"""RTP header extensions and RTCP feedback: their names, and which of them are asked for in which direction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from parley.engine.specs import Flow, Kind
from parley.negotiation.sdp import Codec, Extension

MID: Final = "urn:ietf:params:rtp-hdrext:sdes:mid"
RID: Final = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
REPAIRED_RID: Final = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
AUDIO_LEVEL: Final = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
TRANSPORT_CC: Final = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
ABS_SEND_TIME: Final = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"
ABS_CAPTURE_TIME: Final = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
PLAYOUT_DELAY: Final = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
DEPENDENCY_DESCRIPTOR: Final = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"


@dataclass(frozen=True, slots=True)
class ExtensionPref:
    """An extension that may be negotiated: for which kinds, and with which flows of the server's.

    `only_for` names codecs; the extension is then agreed on only while one of them stands first in the section.
    """

    uri: str
    kinds: tuple[Kind, ...] = (Kind.AUDIO, Kind.VIDEO)
    flows: tuple[Flow, ...] = (Flow.RECV, Flow.SEND)
    only_for: tuple[str, ...] = ()


_RECV = (Flow.RECV,)
_SEND = (Flow.SEND,)
_AUDIO = (Kind.AUDIO,)
_VIDEO = (Kind.VIDEO,)

DEFAULT_EXTENSIONS: Final = (
    # Both ways: of a bundle's many sections, a receiver is told which one a packet is for until it has reported on it.
    ExtensionPref(MID),
    ExtensionPref(RID, flows=_RECV),
    ExtensionPref(REPAIRED_RID, kinds=_VIDEO, flows=_RECV),
    ExtensionPref(AUDIO_LEVEL, kinds=_AUDIO, flows=_RECV),
    ExtensionPref(TRANSPORT_CC, kinds=_VIDEO, flows=_RECV),
    ExtensionPref(ABS_SEND_TIME, kinds=_VIDEO, flows=_SEND),
    ExtensionPref(ABS_CAPTURE_TIME),
    # With it Chromium's VP8 no longer sends the temporal id in its own descriptor.
    ExtensionPref(DEPENDENCY_DESCRIPTOR, kinds=_VIDEO, only_for=("AV1", "VP9")),
)
"""What a forwarding server asks publishers for, and offers subscribers, while estimation toward them rests on REMB."""


def asked_for(
    prefs: Iterable[ExtensionPref], kind: Kind, flows: Sequence[Flow], codecs: Sequence[Codec]
) -> list[ExtensionPref]:
    """Those that suit a section of this kind, with these flows of the server's and these codecs, in order."""
    first = codecs[0].name if codecs else ""
    return [
        pref
        for pref in prefs
        if kind in pref.kinds
        and any(flow in pref.flows for flow in flows)
        and (not pref.only_for or first in pref.only_for)
    ]


def agreed(
    offered: Iterable[Extension], wanted: Iterable[ExtensionPref], flows: Sequence[Flow], taken: Mapping[int, str]
) -> tuple[Extension, ...]:
    """What an answer accepts of the offered extensions, with the peer's ids.

    flows: the server's; an extension that the peer wants only the other way is passed over. taken: what ids mean
    elsewhere in the bundle; another meaning is passed over as well (RFC 8285 §6, RFC 8843 §9.2).
    """
    passed_over = {"inactive"}
    if Flow.RECV not in flows:
        passed_over.add("sendonly")
    if Flow.SEND not in flows:
        passed_over.add("recvonly")
    uris = {pref.uri for pref in wanted}
    accepted: dict[str, Extension] = {}
    for extension in offered:
        number, uri = extension.id, extension.uri
        if uri not in uris or uri in accepted or extension.direction in passed_over:
            continue
        if 1 <= number <= 255 and taken.get(number, uri) == uri:
            accepted[uri] = Extension(number, uri)
    return tuple(accepted.values())


def numbered(wanted: Iterable[ExtensionPref], ids: dict[str, int], allow_mixed: bool) -> tuple[Extension, ...]:
    """What an offer states for these extensions. One without an id gets a free one, which is entered in `ids`.

    allow_mixed: whether ids above 14, which need the two-byte form, may be given out; what finds no id is left out.
    """
    offered = []
    for pref in wanted:
        if pref.uri not in ids:
            used = set(ids.values())
            # RFC 8285 §4.2: 15 is reserved in the one-byte form.
            most = 255 if allow_mixed else 14
            free = next((number for number in range(1, most + 1) if number != 15 and number not in used), None)
            if free is None:
                continue
            ids[pref.uri] = free
        offered.append(Extension(ids[pref.uri], pref.uri))
    return tuple(offered)


NACK: Final = "nack"
PLI: Final = "nack pli"
FIR: Final = "ccm fir"
REMB: Final = "goog-remb"
TWCC: Final = "transport-cc"


def with_feedback(
    codecs: Sequence[Codec],
    kind: Kind,
    flows: Sequence[Flow],
    extensions: Iterable[Extension],
    prefs: Iterable[ExtensionPref],
    offered: Sequence[Codec] | None,
) -> tuple[Codec, ...]:
    """The codecs with their rtcp-fb lines.

    offered: the peer's, whose feedback an answer may only narrow (RFC 4585 §4.2); None in an offer. Opus carries `nack`
    whether it was offered or not, except beside RED: Chromium never offers it and honours it.
    """
    estimators = _estimators(kind, flows, extensions, prefs)
    by_pt = {codec.pt: codec.feedback for codec in offered} if offered is not None else None
    beside_red = any(codec.name == "red" for codec in codecs)
    result = []
    for codec in codecs:
        if codec.name in ("rtx", "red"):
            result.append(codec)
            continue
        wanted = list(estimators)
        if kind is Kind.VIDEO:
            wanted += (FIR, NACK, PLI)
        if by_pt is not None:
            theirs = by_pt.get(codec.pt, ())
            if Flow.RECV in flows and REMB in theirs and not (TWCC in wanted and TWCC in theirs):
                # A publisher without transport-wide feedback still needs to hear what may be sent.
                wanted.insert(0, REMB)
            wanted = [line for line in wanted if line in theirs]
        if codec.name == "opus" and not beside_red:
            wanted.append(NACK)
        result.append(codec._replace(feedback=tuple(dict.fromkeys(wanted))))
    return tuple(result)


def _estimators(
    kind: Kind, flows: Sequence[Flow], extensions: Iterable[Extension], prefs: Iterable[ExtensionPref]
) -> list[str]:
    """Feedback for bandwidth estimation: each needs its extension, in a direction where it is asked for."""
    here = {extension.uri for extension in extensions}
    asked = {(pref.uri, flow) for pref in prefs if kind in pref.kinds for flow in pref.flows if flow in flows}
    lines = []
    if (ABS_SEND_TIME, Flow.SEND) in asked:
        # Also without the extension: an older receiver then estimates from RTP timestamps.
        lines.append(REMB)
    if TRANSPORT_CC in here and any((TRANSPORT_CC, flow) in asked for flow in flows):
        lines.append(TWCC)
    return lines
