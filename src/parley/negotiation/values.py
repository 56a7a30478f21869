"""The plain values that go into a negotiator and come out of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from parley.engine.specs import (
    CodecSpec,
    DataSpec,
    ExtensionSpec,
    Flow,
    Kind,
    Mid,
    RecvSpec,
    RemoteTransport,
    SendSpec,
    SsrcGroup,
)
from parley.negotiation.codecs import DEFAULT_CODECS, CodecName, CodecPref
from parley.negotiation.extensions import DEFAULT_EXTENSIONS, ExtensionPref
from parley.negotiation.sdp import Direction, Msid


class SignalingState(Enum):
    """Where an exchange of descriptions stands (RFC 8829 §3.2). The value is the W3C name."""

    STABLE = "stable"
    HAVE_LOCAL_OFFER = "have-local-offer"
    HAVE_REMOTE_OFFER = "have-remote-offer"
    CLOSED = "closed"


class MidStyle(Enum):
    """How mids of our own offers look. A peer's mid is mirrored whatever it looks like."""

    NUMERIC = "numeric"
    """`0`, `1`, `2` …, counted over all generations of a connection."""


class IceMode(Enum):
    """The kind of ICE agent a transport is to have."""

    LITE = "lite"
    FULL = "full"


class CandidatesIn(Enum):
    """Which sections of a description carry our candidates."""

    EVERY_SECTION = "every section"
    """Each one that is not refused: the common Python stack needs the repetition."""
    FIRST_SECTION = "first section"
    """Only the one whose transport the bundle uses (RFC 8843 §7.1.3)."""
    NO_SECTION = "no section"
    """None: the dialect sends them by itself."""


class Change(Enum):
    """How an offered section compares with what it was before."""

    NEW = "new"
    SAME = "same"
    """Nothing but its transport lines may differ."""
    CHANGED = "changed"
    RECYCLED = "recycled"
    """The slot of a stopped section, with another one in it now."""
    STOPPED = "stopped"
    """Offered with port 0."""


@dataclass(frozen=True, slots=True)
class Caps:
    """What may be negotiated on a connection at all. A dialect builds it once."""

    codecs: tuple[CodecPref, ...] = DEFAULT_CODECS
    """In order of preference for offers; `RTX` among them allows retransmission streams."""
    extensions: tuple[ExtensionPref, ...] = DEFAULT_EXTENSIONS
    ice: IceMode = IceMode.LITE
    """For whoever opens the transport; a description says what `TransportParams.lite` says."""
    max_message_size: int | None = 65_535
    """The largest data-channel message we take, in bytes; None: no data channels."""
    candidates_in: CandidatesIn = CandidatesIn.EVERY_SECTION
    ssrc_lines: bool = True
    """Whether sections that send declare their SSRCs (RFC 5576)."""
    extmap_allow_mixed: bool = True


@dataclass(frozen=True, slots=True)
class MLinePlan:
    """What the server wants of one section."""

    mid: Mid | None
    """None only in an offer: take a stopped section of this kind, else append one."""
    kind: Kind
    direction: Direction = Direction.INACTIVE
    """As the server sees it. A data section has none; what is given is ignored."""
    codecs: tuple[CodecPref, ...] = ()
    """In order of preference; narrows `Caps`; empty: all of it, in the peer's order when answering. Retransmissions
    need no mention: they follow their codec where `Caps` allows them."""
    msid: Msid | None = None
    """Stream and track of what the server sends; stated only while it sends."""
    cname: str | None = None
    """None: one for the whole connection."""
    fmtp: tuple[tuple[CodecName, str], ...] = ()
    """Additions by codec, such as `("opus", "usedtx=1")`; they win over parameters of the same name."""
    max_bps: int | None = None
    """What the server will take on this section, in bits a second: `b=TIAS` and `b=AS`."""
    legacy_ids: bool = False
    """Adds `a=ssrc:… msid:…` lines for Plan B stacks."""
    reject: bool = False
    """Port 0: refuse it in an answer, stop it in an offer."""


@dataclass(frozen=True, slots=True)
class MLine:
    """One section as negotiated."""

    index: int
    mid: Mid
    kind: Kind
    direction: Direction
    """As the server sees it; of a data section SENDRECV."""
    recv: RecvSpec | None = None
    send: SendSpec | None = None
    stopped: bool = False
    """Port 0: nothing flows, and the slot may be taken by another section."""


NO_COMMON_CODEC: Final = "it has no codec in common with us"
"""The one reason of `RemoteSection.refused` that is a matter of taste; the others are mistakes of the description."""


@dataclass(frozen=True, slots=True)
class RemoteSection:
    """What the peer offered in one section."""

    index: int
    mid: Mid
    kind: Kind
    direction: Direction
    """As the peer wrote it: SENDONLY when the peer sends and the server would receive."""
    codecs: tuple[CodecSpec, ...] = ()
    """Every codec offered, in the peer's order, with the peer's numbers; whether we have it or not."""
    extensions: tuple[ExtensionSpec, ...] = ()
    rids: tuple[str, ...] = ()
    """Simulcast layers the peer wants to send, in declared order, the first of any alternatives."""
    paused_rids: tuple[str, ...] = ()
    """Those among `rids` that start paused (RFC 8853 §5.2)."""
    msid: Msid | None = None
    """From `a=msid`, else from the `a=ssrc … msid` lines of older stacks; the first where there are several."""
    ssrcs: tuple[int, ...] = ()
    ssrc_groups: tuple[SsrcGroup, ...] = ()
    change: Change = Change.NEW
    refused: str | None = None
    """Why it cannot be answered with anything but port 0, in words; None: it can."""


@dataclass(frozen=True, slots=True)
class RemoteView:
    """What the peer offered."""

    sections: tuple[RemoteSection, ...]
    ice_restart: bool = False
    """New ICE credentials: `Negotiator.restart_ice` must be called before `answer`."""
    plan_b: bool = False
    """The offer identifies tracks the way Plan B stacks do; answers to it want `legacy_ids`."""


@dataclass(frozen=True, slots=True)
class Delta:
    """What to send to the peer, and what the engine is to be told."""

    sdp: str | None = field(default=None, repr=False)
    """The description to send; None after `on_answer` and `rollback`."""
    mids: tuple[Mid, ...] = ()
    """One per plan item, in plan order: the section it went to."""
    remote: RemoteTransport | None = field(default=None, repr=False)
    """Only when new or changed."""
    recv: tuple[RecvSpec, ...] = ()
    """New or changed; a spec for a known mid replaces the earlier one."""
    send: tuple[SendSpec, ...] = ()
    """New, changed, or flowing again."""
    ended: tuple[tuple[Mid, Flow], ...] = ()
    """Every loss of a direction, by either side's wish: paused, stopped, refused or rolled back."""
    data: DataSpec | None = None
    """When both sides have accepted a data section; only when new or changed."""
