"""Session descriptions (RFC 8866) as values: a tolerant parser and a strict writer.

Reading forgives what can be done without: an attribute that is unknown, or known and unreadable, is kept raw in `other`
and otherwise ignored. Writing uses CRLF and one fixed order, so that equal values give equal text, and
`parse(write(parse(text))) == parse(text)` holds for whatever can be parsed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, NamedTuple

from parley.engine.specs import Setup, SsrcGroup
from parley.negotiation.errors import SdpSyntax, SdpTooLarge

MAX_TEXT: Final = 4 * 1024 * 1024
MAX_SECTIONS: Final = 1024
MAX_LINE: Final = 8 * 1024
MAX_FEEDBACK: Final = 64
"""Kinds of feedback that are read for one payload type; `*` would otherwise multiply them by all types."""


class Direction(Enum):
    """Which way media flows on a section (RFC 8866 §6.7); the value is the attribute's name."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        """Whether the side that states it sends."""
        return self is Direction.SENDRECV or self is Direction.SENDONLY

    @property
    def receives(self) -> bool:
        """Whether the side that states it receives."""
        return self is Direction.SENDRECV or self is Direction.RECVONLY

    @classmethod
    def of(cls, *, sends: bool, receives: bool) -> Direction:
        """The direction with these two flows."""
        if sends:
            return cls.SENDRECV if receives else cls.SENDONLY
        return cls.RECVONLY if receives else cls.INACTIVE

    @property
    def reverse(self) -> Direction:
        """The same flows as the other side sees them."""
        return Direction.of(sends=self.receives, receives=self.sends)

    def __and__(self, other: Direction) -> Direction:
        """The flows both have; both as seen from one side."""
        return Direction.of(sends=self.sends and other.sends, receives=self.receives and other.receives)


@dataclass(frozen=True, slots=True)
class Msid:
    """The stream and the track that a section belongs to (RFC 8830)."""

    stream: str
    """`-` for a track without a stream."""
    track: str = ""
    """Empty where the peer states only a stream."""

    def __str__(self) -> str:
        return f"{self.stream} {self.track}" if self.track else self.stream


class Codec(NamedTuple):
    """One payload type of a section: its rtpmap, fmtp and rtcp-fb lines."""

    pt: int
    name: str
    """As written by the peer."""
    clock_hz: int
    channels: int = 1
    fmtp: str = ""
    feedback: tuple[str, ...] = ()
    """Such as `nack pli`; lines for every payload type (`*`) are counted to each."""


class Extension(NamedTuple):
    """An extmap line (RFC 8285 §5)."""

    id: int
    uri: str
    direction: str = ""
    """`sendonly` and so on, or empty."""
    attributes: str = ""


class Ssrc(NamedTuple):
    """The ssrc lines of one source (RFC 5576)."""

    ssrc: int
    attributes: tuple[str, ...] = ()
    """Such as `cname:kitchen`, in order."""

    def attribute(self, name: str) -> str | None:
        """The value of the first attribute of this name."""
        prefix = name + ":"
        return next((a[len(prefix) :] for a in self.attributes if a.startswith(prefix)), None)


class Rid(NamedTuple):
    """A rid line (RFC 8851)."""

    id: str
    direction: str
    """`send` or `recv`."""
    restrictions: str = ""


class Simulcast(NamedTuple):
    """A simulcast line (RFC 8853): each flow's streams in order, with their alternatives; `~` is paused."""

    send: tuple[tuple[str, ...], ...] = ()
    recv: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Section:
    """One m-line and what belongs to it."""

    media: str
    """`audio`, `video`, `application` or something we do not know."""
    port: int
    proto: str
    formats: tuple[str, ...]
    mid: str | None = None
    direction: Direction = Direction.SENDRECV
    bandwidth: tuple[tuple[str, int], ...] = ()
    ufrag: str | None = None
    pwd: str | None = None
    fingerprints: tuple[str, ...] = ()
    """`sha-256 AB:CD:…`: algorithm in lower case, digits in upper case."""
    setup: Setup | None = None
    extmap_allow_mixed: bool = False
    extensions: tuple[Extension, ...] = ()
    msids: tuple[Msid, ...] = ()
    rtcp_mux: bool = False
    rtcp_rsize: bool = False
    bundle_only: bool = False
    codecs: tuple[Codec, ...] = ()
    """In the order of the m-line; only those that have a name."""
    rids: tuple[Rid, ...] = ()
    simulcast: Simulcast | None = None
    ssrc_groups: tuple[SsrcGroup, ...] = ()
    ssrcs: tuple[Ssrc, ...] = ()
    sctp_port: int | None = None
    sctp_streams: int | None = None
    """Only stated by the legacy `sctpmap`."""
    max_message_size: int | None = None
    candidates: tuple[str, ...] = ()
    """Each from `candidate:` on, unread."""
    end_of_candidates: bool = False
    other: tuple[str, ...] = ()
    """Attributes that were not understood, without `a=`; unreadable ones about codecs are dropped."""

    @property
    def is_stopped(self) -> bool:
        """Port 0, unless that only says that the transport is another section's (RFC 8843 §6)."""
        return self.port == 0 and not self.bundle_only


@dataclass(frozen=True, slots=True)
class Session:
    """What stands above the first m-line."""

    username: str = "-"
    session_id: str = "0"
    version: str = "0"
    groups: tuple[tuple[str, ...], ...] = ()
    """Semantics first: `("BUNDLE", "0", "1")`."""
    ice_lite: bool = False
    ice_options: str = ""
    extmap_allow_mixed: bool = False
    msid_semantic: str = ""
    direction: Direction = Direction.SENDRECV
    """What a section without a direction of its own has."""
    ufrag: str | None = None
    pwd: str | None = None
    fingerprints: tuple[str, ...] = ()
    setup: Setup | None = None
    candidates: tuple[str, ...] = ()
    other: tuple[str, ...] = ()

    @property
    def bundle(self) -> tuple[str, ...] | None:
        """The mids of the first BUNDLE group; None: there is none."""
        return next((group[1:] for group in self.groups if group[0] == "BUNDLE"), None)


@dataclass(frozen=True, slots=True)
class Description:
    """A whole session description."""

    session: Session
    sections: tuple[Section, ...] = ()


CodecTables = dict[tuple[str, ...], tuple[Codec, ...]]
"""Codecs by the lines that state them: the sections of a description mostly repeat one table or two."""


def parse(text: str) -> Description:
    """Read a description.

    Raises SdpTooLarge beyond `MAX_TEXT` characters, `MAX_SECTIONS` sections or `MAX_LINE` characters in a line, and
    SdpSyntax where a line has no shape at all. Nothing else.
    """
    head, parts = split(text)
    session = parse_session(head)
    line = head.count("\n") + 2
    sections = []
    tables: CodecTables = {}
    for part in parts:
        sections.append(parse_section(part, session.direction, line, tables))
        line += part.count("\n") + 1
    return Description(session, tuple(sections))


def split(text: str) -> tuple[str, list[str]]:
    """Cut a description into what stands above the first m-line and one text per section, line ends as they are.

    Cheap beside parsing: a section whose text is known need not be parsed again. Raises SdpTooLarge.
    """
    if len(text) > MAX_TEXT:
        raise SdpTooLarge("characters", MAX_TEXT)
    if "\rm=" in text:
        text = "\n".join(_lines(text))
    head, *parts = text.removesuffix("\n").split("\nm=")
    if len(parts) > MAX_SECTIONS:
        raise SdpTooLarge("sections", MAX_SECTIONS)
    return head, parts


def _lines(text: str) -> list[str]:
    """Its lines, whether LF, CR or both end them."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text.split("\n")


def parse_session(text: str) -> Session:
    """Read what stands above the first m-line. Raises SdpSyntax, SdpTooLarge."""
    draft = _Draft()
    username, session_id, version = "-", "0", "0"
    seen_version = False
    for number, line in enumerate(_lines(text), 1):
        if not line:
            continue
        kind, value = _line(line, number)
        if not seen_version:
            if kind != "v" or value.strip() != "0":
                raise SdpSyntax(number, "it does not begin with v=0")
            seen_version = True
        elif kind == "a":
            draft.attribute(value)
        elif kind == "o":
            words = value.split()
            if len(words) != 6:
                raise SdpSyntax(number, "o= has six words")
            username, session_id, version = words[:3]
    if not seen_version:
        raise SdpSyntax(1, "it is empty")
    return Session(
        username=username,
        session_id=session_id,
        version=version,
        groups=tuple(draft.groups),
        ice_lite=draft.ice_lite,
        ice_options=draft.ice_options,
        extmap_allow_mixed=draft.extmap_allow_mixed,
        msid_semantic=draft.msid_semantic,
        direction=draft.direction or Direction.SENDRECV,
        ufrag=draft.ufrag,
        pwd=draft.pwd,
        fingerprints=tuple(draft.fingerprints),
        setup=draft.setup,
        candidates=tuple(draft.candidates),
        other=tuple(draft.other),
    )


def parse_section(
    text: str,
    direction: Direction = Direction.SENDRECV,
    first_line: int = 1,
    tables: CodecTables | None = None,
) -> Section:
    """Read one section as `split` cuts it, so without the leading `m=`.

    direction: what it has if it does not say. first_line: where it stands, for errors. tables: of the sections before
    it, to be used and added to. Raises SdpSyntax, SdpTooLarge.
    """
    lines = _lines(text)
    media, port, proto, formats = _media_line(lines[0], first_line)
    draft = _Draft()
    attribute = draft.attribute
    about_codecs = [" ".join(formats)]
    for number, line in enumerate(lines[1:], first_line + 1):
        if line[:2] == "a=" and len(line) <= MAX_LINE:
            if line[2:8] in _ABOUT_CODECS:
                about_codecs.append(line)
            else:
                attribute(line[2:])
        elif line:
            kind, value = _line(line, number)
            if kind == "b":
                draft.on_bandwidth(value)
    codecs = _codec_table(formats, tuple(about_codecs), tables) if media != "application" else ()
    return Section(
        media=media,
        port=port,
        proto=proto,
        formats=formats,
        mid=draft.mid,
        # A data section has no direction to inherit.
        direction=draft.direction or (Direction.SENDRECV if media == "application" else direction),
        bandwidth=tuple(draft.bandwidth),
        ufrag=draft.ufrag,
        pwd=draft.pwd,
        fingerprints=tuple(draft.fingerprints),
        setup=draft.setup,
        extmap_allow_mixed=draft.extmap_allow_mixed,
        extensions=tuple(draft.extensions),
        msids=tuple(draft.msids),
        rtcp_mux=draft.rtcp_mux,
        rtcp_rsize=draft.rtcp_rsize,
        bundle_only=draft.bundle_only,
        codecs=codecs,
        rids=tuple(draft.rids),
        simulcast=draft.simulcast,
        ssrc_groups=tuple(draft.ssrc_groups),
        ssrcs=tuple(Ssrc(ssrc, tuple(attributes)) for ssrc, attributes in draft.ssrcs.items()),
        sctp_port=draft.sctp_port,
        sctp_streams=draft.sctp_streams if proto == "DTLS/SCTP" else None,
        max_message_size=draft.max_message_size,
        candidates=tuple(draft.candidates),
        end_of_candidates=draft.end_of_candidates,
        other=tuple(draft.other),
    )


def write(description: Description) -> str:
    """Write a description, CRLF after every line."""
    return write_session(description.session) + "".join(write_section(s) for s in description.sections)


def write_session(session: Session) -> str:
    """Write what stands above the first m-line."""
    lines = [
        "v=0",
        f"o={session.username} {session.session_id} {session.version} IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
    ]
    lines.extend(f"a=group:{' '.join(group)}" for group in session.groups)
    if session.ice_lite:
        lines.append("a=ice-lite")
    if session.ice_options:
        lines.append(f"a=ice-options:{session.ice_options}")
    if session.extmap_allow_mixed:
        lines.append("a=extmap-allow-mixed")
    if session.msid_semantic:
        lines.append(f"a=msid-semantic:{session.msid_semantic}")
    if session.direction is not Direction.SENDRECV:
        lines.append(f"a={session.direction.value}")
    lines.extend(_transport_lines(session))
    lines.extend("a=" + candidate for candidate in session.candidates)
    lines.extend("a=" + raw for raw in session.other)
    return _text(lines)


def write_section(section: Section) -> str:
    """Write one section."""
    is_data = section.media == "application"
    lines = [f"m={section.media} {section.port} {section.proto} {' '.join(section.formats)}", "c=IN IP4 0.0.0.0"]
    lines.extend(f"b={kind}:{value}" for kind, value in section.bandwidth)
    lines.extend(_transport_lines(section))
    if section.mid is not None:
        lines.append(f"a=mid:{section.mid}")
    if section.bundle_only:
        lines.append("a=bundle-only")
    if section.extmap_allow_mixed:
        lines.append("a=extmap-allow-mixed")
    for extension in section.extensions:
        number = f"{extension.id}/{extension.direction}" if extension.direction else str(extension.id)
        attributes = f" {extension.attributes}" if extension.attributes else ""
        lines.append(f"a=extmap:{number} {extension.uri}{attributes}")
    if not is_data or section.direction is not Direction.SENDRECV:
        lines.append(f"a={section.direction.value}")
    lines.extend(f"a=msid:{msid}" for msid in section.msids)
    if section.rtcp_mux:
        lines.append("a=rtcp-mux")
    if section.rtcp_rsize:
        lines.append("a=rtcp-rsize")
    for codec in section.codecs:
        _write_codec(codec, lines)
    for rid in section.rids:
        restrictions = f" {rid.restrictions}" if rid.restrictions else ""
        lines.append(f"a=rid:{rid.id} {rid.direction}{restrictions}")
    if section.simulcast is not None:
        lines.append(_simulcast_line(section.simulcast))
    lines.extend(f"a=ssrc-group:{' '.join([group.semantics, *map(str, group.ssrcs)])}" for group in section.ssrc_groups)
    for source in section.ssrcs:
        lines.extend([f"a=ssrc:{source.ssrc} {a}" for a in source.attributes] or [f"a=ssrc:{source.ssrc}"])
    lines.extend(_sctp_lines(section))
    lines.extend("a=" + candidate for candidate in section.candidates)
    if section.end_of_candidates:
        lines.append("a=end-of-candidates")
    lines.extend("a=" + raw for raw in section.other)
    return _text(lines)


# Reading.

_WORD = re.compile(r"[!-~]{1,256}")
_FINGERPRINT = re.compile(r"([A-Za-z0-9-]{1,32}) +([0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){0,127})")
_RTPMAP = re.compile(r"([0-9]{1,3})[ \t]+([!-.0-~]{1,64})/([0-9]{1,9})(?:/([0-9]{1,3}))?[ \t]*")
_EXTMAP_ID = re.compile(r"([0-9]{1,4})(?:/(sendrecv|sendonly|recvonly|inactive))?")
_RID_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
_RID = re.compile(r"([A-Za-z0-9_-]{1,255})[ \t]+(send|recv)(?:[ \t]+([!-~]{1,512}))?[ \t]*")
_STATIC_CODECS: Final = {
    0: ("PCMU", 8000, 1),
    8: ("PCMA", 8000, 1),
    9: ("G722", 8000, 1),
    13: ("CN", 8000, 1),
}
_UINT32: Final = 0xFFFF_FFFF


@dataclass(slots=True)
class _Draft:
    """What the lines read so far have said; one method for each attribute, True where it could be read."""

    mid: str | None = None
    direction: Direction | None = None
    bandwidth: list[tuple[str, int]] = field(default_factory=list)
    ufrag: str | None = None
    pwd: str | None = None
    fingerprints: list[str] = field(default_factory=list)
    setup: Setup | None = None
    extmap_allow_mixed: bool = False
    extensions: list[Extension] = field(default_factory=list)
    msids: list[Msid] = field(default_factory=list)
    rtcp_mux: bool = False
    rtcp_rsize: bool = False
    bundle_only: bool = False
    rtpmaps: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    fmtps: dict[str, str] = field(default_factory=dict)
    feedback: dict[str, list[str]] = field(default_factory=dict)
    rids: list[Rid] = field(default_factory=list)
    simulcast: Simulcast | None = None
    ssrc_groups: list[SsrcGroup] = field(default_factory=list)
    ssrcs: dict[int, list[str]] = field(default_factory=dict)
    sctp_port: int | None = None
    sctp_streams: int | None = None
    max_message_size: int | None = None
    candidates: list[str] = field(default_factory=list)
    end_of_candidates: bool = False
    groups: list[tuple[str, ...]] = field(default_factory=list)
    ice_lite: bool = False
    ice_options: str = ""
    msid_semantic: str = ""
    other: list[str] = field(default_factory=list)

    def attribute(self, text: str) -> None:
        """Take one attribute, given without `a=`."""
        name, _, value = text.partition(":")
        read = _ATTRIBUTES.get(name)
        if read is None or not read(self, value):
            self.other.append(text)

    def on_bandwidth(self, value: str) -> None:
        kind, _, number = value.partition(":")
        rate = _number(number.strip(), _UINT32)
        if rate is not None and _WORD.fullmatch(kind):
            self.bandwidth.append((kind, rate))

    def on_mid(self, value: str) -> bool:
        if not _WORD.fullmatch(value := value.strip()):
            return False
        self.mid = value
        return True

    def on_direction(self, direction: Direction) -> bool:
        self.direction = direction
        return True

    def on_ufrag(self, value: str) -> bool:
        if not _WORD.fullmatch(value := value.strip()):
            return False
        self.ufrag = value
        return True

    def on_pwd(self, value: str) -> bool:
        if not _WORD.fullmatch(value := value.strip()):
            return False
        self.pwd = value
        return True

    def on_fingerprint(self, value: str) -> bool:
        match = _FINGERPRINT.fullmatch(value.strip())
        if match is None:
            return False
        self.fingerprints.append(f"{match[1].lower()} {match[2].upper()}")
        return True

    def on_setup(self, value: str) -> bool:
        setup = _SETUPS.get(value.strip())
        if setup is None:
            return False
        self.setup = setup
        return True

    def on_extmap(self, value: str) -> bool:
        extension = _read_extension(value)
        if extension is None:
            return False
        self.extensions.append(extension)
        return True

    def on_extmap_allow_mixed(self, value: str) -> bool:
        self.extmap_allow_mixed = True
        return True

    def on_msid(self, value: str) -> bool:
        msid = read_msid(value)
        if msid is None:
            return False
        self.msids.append(msid)
        return True

    def on_rtcp_mux(self, value: str) -> bool:
        self.rtcp_mux = True
        return True

    def on_rtcp_rsize(self, value: str) -> bool:
        self.rtcp_rsize = True
        return True

    def on_bundle_only(self, value: str) -> bool:
        self.bundle_only = True
        return True

    def on_rtpmap(self, value: str) -> bool:
        match = _RTPMAP.fullmatch(value)
        if match is None:
            return False
        pt, name, clock_hz, channels = match.groups()
        self.rtpmaps[pt] = name, int(clock_hz), int(channels or 1)
        return True

    def on_fmtp(self, value: str) -> bool:
        pt, _, parameters = value.partition(" ")
        parameters = parameters.strip()
        if not parameters or not _is_plain(parameters):
            return False
        self.fmtps[pt] = parameters
        return True

    def on_feedback(self, value: str) -> bool:
        pt, _, kind = value.partition(" ")
        kind = kind.strip()
        if not kind or not _is_plain(kind):
            return False
        kinds = self.feedback.setdefault(pt, [])
        if kind not in kinds and len(kinds) < MAX_FEEDBACK:
            kinds.append(kind)
        return True

    def on_rid(self, value: str) -> bool:
        match = _RID.fullmatch(value.strip())
        if match is None:
            return False
        self.rids.append(Rid(match[1], match[2], match[3] or ""))
        return True

    def on_simulcast(self, value: str) -> bool:
        simulcast = _read_simulcast(value)
        if simulcast is None:
            return False
        self.simulcast = simulcast
        return True

    def on_ssrc_group(self, value: str) -> bool:
        semantics, *words = value.split() or [""]
        ssrcs = [_number(word, _UINT32) for word in words]
        if not _WORD.fullmatch(semantics) or not ssrcs:
            return False
        known = tuple(ssrc for ssrc in ssrcs if ssrc is not None)
        if len(known) != len(ssrcs):
            return False
        self.ssrc_groups.append(SsrcGroup(semantics, known))
        return True

    def on_ssrc(self, value: str) -> bool:
        number, _, attribute = value.partition(" ")
        ssrc = _number(number, _UINT32)
        attribute = attribute.strip()
        if ssrc is None or (attribute and not _is_plain(attribute)):
            return False
        attributes = self.ssrcs.setdefault(ssrc, [])
        if attribute:
            attributes.append(attribute)
        return True

    def on_sctp_port(self, value: str) -> bool:
        port = _number(value.strip(), 65_535)
        if port is None:
            return False
        self.sctp_port = port
        return True

    def on_sctpmap(self, value: str) -> bool:
        # draft-ietf-mmusic-sctp-sdp-05: the number is a port, as the format of the m-line is.
        words = value.split()
        port = _number(words[0], 65_535) if len(words) >= 2 else None
        if port is None or words[1] != "webrtc-datachannel":
            return False
        self.sctp_port = port
        self.sctp_streams = _number(words[2], 65_535) if len(words) > 2 else None
        return True

    def on_max_message_size(self, value: str) -> bool:
        # RFC 8841 §6 bounds it by nothing; more than 64 bits is nobody's message.
        size = _number(value.strip(), 2**64 - 1)
        if size is None:
            return False
        self.max_message_size = size
        return True

    def on_candidate(self, value: str) -> bool:
        value = value.strip()
        if not value or not _is_plain(value):
            return False
        self.candidates.append("candidate:" + value)
        return True

    def on_end_of_candidates(self, value: str) -> bool:
        self.end_of_candidates = True
        return True

    def on_group(self, value: str) -> bool:
        words = value.split()
        if not words or not all(map(_WORD.fullmatch, words)):
            return False
        self.groups.append(tuple(words))
        return True

    def on_ice_lite(self, value: str) -> bool:
        self.ice_lite = True
        return True

    def on_ice_options(self, value: str) -> bool:
        if not _is_plain(value := value.strip()):
            return False
        self.ice_options = value
        return True

    def on_msid_semantic(self, value: str) -> bool:
        if not _is_plain(value := value.strip()):
            return False
        self.msid_semantic = value
        return True


def _directed(direction: Direction) -> Callable[[_Draft, str], bool]:
    return lambda draft, _: draft.on_direction(direction)


_ATTRIBUTES: Final[dict[str, Callable[[_Draft, str], bool]]] = {
    "rtpmap": _Draft.on_rtpmap,
    "fmtp": _Draft.on_fmtp,
    "rtcp-fb": _Draft.on_feedback,
    "extmap": _Draft.on_extmap,
    "ssrc": _Draft.on_ssrc,
    "ssrc-group": _Draft.on_ssrc_group,
    "candidate": _Draft.on_candidate,
    "mid": _Draft.on_mid,
    "msid": _Draft.on_msid,
    "ice-ufrag": _Draft.on_ufrag,
    "ice-pwd": _Draft.on_pwd,
    "fingerprint": _Draft.on_fingerprint,
    "setup": _Draft.on_setup,
    "rtcp-mux": _Draft.on_rtcp_mux,
    "rtcp-rsize": _Draft.on_rtcp_rsize,
    "bundle-only": _Draft.on_bundle_only,
    "extmap-allow-mixed": _Draft.on_extmap_allow_mixed,
    "rid": _Draft.on_rid,
    "simulcast": _Draft.on_simulcast,
    "sctp-port": _Draft.on_sctp_port,
    "sctpmap": _Draft.on_sctpmap,
    "max-message-size": _Draft.on_max_message_size,
    "end-of-candidates": _Draft.on_end_of_candidates,
    "group": _Draft.on_group,
    "ice-lite": _Draft.on_ice_lite,
    "ice-options": _Draft.on_ice_options,
    "msid-semantic": _Draft.on_msid_semantic,
    **{direction.value: _directed(direction) for direction in Direction},
}
_SETUPS: Final = {setup.value: setup for setup in Setup}


@functools.lru_cache(maxsize=512)
def _read_extension(value: str) -> Extension | None:
    """The value of `a=extmap`; all peers state the same few. None: unreadable."""
    words = value.split(None, 2)
    match = _EXTMAP_ID.fullmatch(words[0]) if len(words) > 1 else None
    if match is None or not _is_plain(value.strip()):
        return None
    attributes = words[2].strip() if len(words) > 2 else ""
    return Extension(int(match[1]), words[1], match[2] or "", attributes)


def read_msid(value: str) -> Msid | None:
    """The value of `a=msid`, or of the msid attribute of a source; None: unreadable."""
    words = value.split()
    if not 1 <= len(words) <= 2 or not all(map(_WORD.fullmatch, words)):
        return None
    return Msid(*words)


def _line(line: str, number: int) -> tuple[str, str]:
    if len(line) > MAX_LINE:
        raise SdpTooLarge("characters in a line", MAX_LINE)
    if line[1:2] != "=":
        raise SdpSyntax(number, "it has no '=' after one letter")
    return line[0], line[2:]


def _media_line(line: str, number: int) -> tuple[str, int, str, tuple[str, ...]]:
    if len(line) > MAX_LINE:
        raise SdpTooLarge("characters in a line", MAX_LINE)
    words = line.split()
    if len(words) < 4 or not all(map(_WORD.fullmatch, words)):
        raise SdpSyntax(number, "m= has a media type, a port, a protocol and formats")
    port = _number(words[1].partition("/")[0], 65_535)
    if port is None:
        raise SdpSyntax(number, "m= has a port between 0 and 65535")
    return words[0], port, words[2], tuple(words[3:])


_ABOUT_CODECS: Final = frozenset(("rtpmap", "rtcp-f", *(f"fmtp:{digit}" for digit in "0123456789")))
"""How the lines about codecs begin, in six characters; a line that only looks like one is read as what it is."""


def _codec_table(formats: Iterable[str], lines: tuple[str, ...], tables: CodecTables | None) -> tuple[Codec, ...]:
    known = tables.get(lines) if tables is not None else None
    if known is None:
        draft = _Draft()
        for line in lines[1:]:
            draft.attribute(line[2:])
        known = _codecs(formats, draft)
        if tables is not None:
            tables[lines] = known
    return known


def _codecs(formats: Iterable[str], draft: _Draft) -> tuple[Codec, ...]:
    everywhere = tuple(draft.feedback.get("*", ()))
    codecs: dict[int, Codec] = {}
    for text in formats:
        pt = _number(text, 127)
        if pt is None or text != str(pt) or pt in codecs:
            continue
        named = draft.rtpmaps.get(text) or _STATIC_CODECS.get(pt)
        if named is None:
            continue
        feedback = tuple(dict.fromkeys((*draft.feedback.get(text, ()), *everywhere)))[:MAX_FEEDBACK]
        codecs[pt] = Codec(pt, *named, draft.fmtps.get(text, ""), feedback)
    return tuple(codecs.values())


def _read_simulcast(value: str) -> Simulcast | None:
    words = value.split()
    if not words or len(words) % 2:
        return None
    flows: dict[str, tuple[tuple[str, ...], ...]] = {}
    for flow, streams in zip(words[::2], words[1::2], strict=True):
        # Firefox before 78 wrote the draft's form, `send rid=q;h`.
        parts = tuple(tuple(part.split(",")) for part in streams.removeprefix("rid=").split(";"))
        if flow not in ("send", "recv") or flow in flows:
            return None
        if not all(_RID_NAME.fullmatch(name.removeprefix("~")) for part in parts for name in part):
            return None
        flows[flow] = parts
    return Simulcast(flows.get("send", ()), flows.get("recv", ()))


def _number(text: str, most: int) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        return None
    number = int(text)
    return number if number <= most else None


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()


# Writing.


def _text(lines: list[str]) -> str:
    lines.append("")
    return "\r\n".join(lines)


def _transport_lines(part: Session | Section) -> list[str]:
    lines = []
    if part.ufrag is not None:
        lines.append(f"a=ice-ufrag:{part.ufrag}")
    if part.pwd is not None:
        lines.append(f"a=ice-pwd:{part.pwd}")
    lines.extend(f"a=fingerprint:{fingerprint}" for fingerprint in part.fingerprints)
    if part.setup is not None:
        lines.append(f"a=setup:{part.setup.value}")
    return lines


def _write_codec(codec: Codec, lines: list[str]) -> None:
    channels = f"/{codec.channels}" if codec.channels != 1 else ""
    lines.append(f"a=rtpmap:{codec.pt} {codec.name}/{codec.clock_hz}{channels}")
    lines.extend([f"a=rtcp-fb:{codec.pt} {kind}" for kind in codec.feedback])
    if codec.fmtp:
        lines.append(f"a=fmtp:{codec.pt} {codec.fmtp}")


def _simulcast_line(simulcast: Simulcast) -> str:
    flows = (("send", simulcast.send), ("recv", simulcast.recv))
    return "a=simulcast:" + " ".join(
        f"{flow} {';'.join(','.join(part) for part in parts)}" for flow, parts in flows if parts
    )


def _sctp_lines(section: Section) -> list[str]:
    lines = []
    if section.sctp_port is not None:
        if section.proto == "DTLS/SCTP":
            streams = f" {section.sctp_streams}" if section.sctp_streams is not None else ""
            lines.append(f"a=sctpmap:{section.sctp_port} webrtc-datachannel{streams}")
        else:
            lines.append(f"a=sctp-port:{section.sctp_port}")
    if section.max_message_size is not None:
        lines.append(f"a=max-message-size:{section.max_message_size}")
    return lines
