"""RTP header extensions: their URIs, and which of them are asked for in which direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from parley.engine.specs import Flow, Kind

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
    ExtensionPref(MID, flows=_RECV),
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
