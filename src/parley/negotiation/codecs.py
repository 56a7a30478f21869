"""What a codec is, when two are the same, and which payload types they get.

A codec is *named* by a `CodecPref` (what a dialect or a room wants) and *numbered* by a `CodecSpec` (what a section
agreed on). Two names are the same codec when their `identity` is equal, whatever else their format parameters say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

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
