"""Offer and answer (RFC 3264, RFC 8829) as a pure, synchronous machine: descriptions in, values out.

`Negotiator` is the door; it holds one connection's state and does no I/O. Nothing here knows rooms, clocks or sockets.
"""

from parley.negotiation.codecs import CodecName, CodecPref
from parley.negotiation.errors import (
    BundleRefused,
    NegotiationError,
    SdpSyntax,
    SdpTooLarge,
    SectionMismatch,
    SectionRefused,
    WrongSignalingState,
)
from parley.negotiation.extensions import ExtensionPref
from parley.negotiation.negotiator import Negotiator
from parley.negotiation.sdp import Direction, Msid
from parley.negotiation.values import (
    NO_COMMON_CODEC,
    CandidatesIn,
    Caps,
    Change,
    Delta,
    IceMode,
    MidStyle,
    MLine,
    MLinePlan,
    RemoteSection,
    RemoteView,
    SignalingState,
)

__all__ = [
    "NO_COMMON_CODEC",
    "BundleRefused",
    "CandidatesIn",
    "Caps",
    "Change",
    "CodecName",
    "CodecPref",
    "Delta",
    "Direction",
    "ExtensionPref",
    "IceMode",
    "MLine",
    "MLinePlan",
    "MidStyle",
    "Msid",
    "NegotiationError",
    "Negotiator",
    "RemoteSection",
    "RemoteView",
    "SdpSyntax",
    "SdpTooLarge",
    "SectionMismatch",
    "SectionRefused",
    "SignalingState",
    "WrongSignalingState",
]
