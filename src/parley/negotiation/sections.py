"""One section at a time: what we write of it, and what an agreed one means to the engine. Plain functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar, cast

from parley.engine.specs import (
    CodecSpec,
    DataSpec,
    Estimator,
    ExtensionSpec,
    Flow,
    Kind,
    Mid,
    RecvSpec,
    SendSpec,
    Setup,
    SsrcGroup,
    TransportParams,
)
from parley.negotiation import codecs as codec_rules
from parley.negotiation import extensions as extension_rules
from parley.negotiation.codecs import CodecPref, Identity
from parley.negotiation.errors import SectionRefused
from parley.negotiation.sdp import Codec, Direction, Extension, Msid, Rid, Section, Simulcast, Ssrc, read_msid
from parley.negotiation.values import NO_COMMON_CODEC, Caps, MLinePlan, RemoteSection

T = TypeVar("T")

RTP_PROTOS: Final = frozenset(("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP", "RTP/SAVPF"))
SCTP_PROTOS: Final = frozenset(("UDP/DTLS/SCTP", "TCP/DTLS/SCTP", "DTLS/SCTP"))
MAX_SSRCS: Final = 64
"""Sources read of one section; a peer with more has its first."""
MAX_RIDS: Final = 16

_KINDS: Final = {"audio": Kind.AUDIO, "video": Kind.VIDEO}
_ANY_SIZE: Final = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Sources:
    """What the server sends with in one section, for the life of its mid."""

    ssrc: int
    rtx_ssrc: int


@dataclass(frozen=True, slots=True)
class Dress:
    """What every section of one description carries of our transport."""

    transport: TransportParams
    setup: Setup
    cname: str
    """For sections whose plan names none."""


def kind_of(section: Section) -> Kind:
    """AUDIO or VIDEO; whatever else there is, is DATA."""
    return _KINDS.get(section.media, Kind.DATA)


def flows_of(direction: Direction) -> tuple[Flow, ...]:
    """The server's flows, direction being as it sees it."""
    flows = ((Flow.RECV, direction.receives), (Flow.SEND, direction.sends))
    return tuple(flow for flow, has in flows if has)


class Memo:
    """What the sections of one description have in common, worked out once and held once: most are alike.

    It lives no longer than the description is read or written, so that a key may hold what an object is, not only what
    it says, and a result may rest on numbers that were given out on the way.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], object] = {}

    def once(self, key: tuple[object, ...], make: Callable[[], T]) -> T:
        """What `make` gives, or gave for an equal key. The key's first part says what it is a key of."""
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = make()
        return cast(T, known)


# What the peer wrote.


@dataclass(frozen=True, slots=True)
class CodecTable:
    """What an offered list of codecs comes to. The sections of a description mostly share one or two."""

    specs: tuple[CodecSpec, ...]
    has_common: bool
    """Whether any of them may be used here."""


def codec_table(section: Section, caps: Caps) -> CodecTable:
    """Read the codecs of an audio or video section."""
    common = codec_rules.common(section.codecs, _of_kind(caps.codecs, kind_of(section)), (), {}, {})
    return CodecTable(codec_rules.specs(section.codecs), bool(common))


def unusable(section: Section, table: CodecTable, caps: Caps, has_fingerprint: bool) -> str | None:
    """Why a live offered section can only be refused, whatever was planned for it; None: it need not be."""
    if kind_of(section) is Kind.DATA:
        return _unusable_data(section, caps)
    if section.proto not in RTP_PROTOS or (section.proto == "RTP/SAVPF" and not has_fingerprint):
        return "its transport protocol is not DTLS-SRTP"
    if not section.rtcp_mux:
        return "it does not multiplex RTCP"
    if not table.has_common:
        return NO_COMMON_CODEC
    return None


def _unusable_data(section: Section, caps: Caps) -> str | None:
    if section.media != "application":
        return "its media type is unknown"
    if section.proto not in SCTP_PROTOS:
        return "its transport protocol is not SCTP over DTLS"
    if section.proto != "DTLS/SCTP" and section.formats[0] != "webrtc-datachannel":
        return "its SCTP association is not for data channels"
    if section.sctp_port == 0:
        return "its SCTP port is 0"
    if caps.max_message_size is None:
        return "data channels are not wanted here"
    return None


def remote_section(index: int, mid: Mid, section: Section, table: CodecTable) -> RemoteSection:
    """What the peer offered, without how it changed and whether it can be used."""
    kind = kind_of(section)
    if kind is Kind.DATA:
        return RemoteSection(index, mid, kind, Direction.SENDRECV)
    sent = sent_rids(section)
    return RemoteSection(
        index=index,
        mid=mid,
        kind=kind,
        direction=section.direction,
        codecs=table.specs,
        extensions=_extension_specs(section.extensions),
        rids=tuple(rid.removeprefix("~") for rid in sent),
        paused_rids=tuple(rid[1:] for rid in sent if rid[0] == "~"),
        msid=msid_of(section),
        ssrcs=_ssrcs(section),
        ssrc_groups=_ssrc_groups(section),
    )


def same_media(one: Section, other: Section) -> bool:
    """Whether two descriptions of a section differ at most in what concerns the transport."""
    return (
        one.media == other.media
        and one.mid == other.mid
        and one.direction is other.direction
        and one.is_stopped == other.is_stopped
        and one.codecs == other.codecs
        and one.extensions == other.extensions
        and one.msids == other.msids
        and one.rids == other.rids
        and one.simulcast == other.simulcast
        and one.ssrcs == other.ssrcs
        and one.ssrc_groups == other.ssrc_groups
        and one.sctp_port == other.sctp_port
        and one.max_message_size == other.max_message_size
    )


def msid_of(section: Section) -> Msid | None:
    """The first stream and track it names, the way of today before that of Plan B."""
    return section.msids[0] if section.msids else _source_msid(section)


def is_plan_b(section: Section) -> bool:
    """Whether it names its track at its sources alone, as Plan B stacks do."""
    return not section.msids and _source_msid(section) is not None


def _source_msid(section: Section) -> Msid | None:
    stated = (source.attribute("msid") for source in section.ssrcs)
    return next((msid for text in stated if text and (msid := read_msid(text))), None)


def sent_rids(section: Section) -> tuple[str, ...]:
    """The simulcast streams it sends, the first of any alternatives, `~` before a paused one (RFC 8853 §5.3)."""
    if section.simulcast is None:
        return ()
    declared = {rid.id for rid in section.rids if rid.direction == "send"}
    first = (alternatives[0] for alternatives in section.simulcast.send)
    # A dictionary drops repetitions and keeps the order.
    return tuple(dict.fromkeys(rid for rid in first if rid.removeprefix("~") in declared))[:MAX_RIDS]


def _ssrcs(section: Section) -> tuple[int, ...]:
    return tuple(source.ssrc for source in section.ssrcs[:MAX_SSRCS])


def _ssrc_groups(section: Section) -> tuple[SsrcGroup, ...]:
    known = set(_ssrcs(section))
    return tuple(
        group
        for group in section.ssrc_groups[:MAX_SSRCS]
        if group.semantics in ("FID", "SIM") and known.issuperset(group.ssrcs)
    )


def _extension_specs(extensions: Sequence[Extension]) -> tuple[ExtensionSpec, ...]:
    return tuple(ExtensionSpec(uri=e.uri, id=e.id) for e in extensions if 1 <= e.id <= 255)


# What we write.


def refusal(section: Section) -> Section:
    """The answer to a section that is refused or stopped (RFC 3264 §6)."""
    return Section(section.media, 0, section.proto, section.formats[:1], mid=section.mid, direction=Direction.INACTIVE)


def answer_rtp(
    offered: Section,
    plan: MLinePlan,
    direction: Direction,
    caps: Caps,
    sources: Sources | None,
    dress: Dress,
    numbers: Mapping[int, Identity],
    ids: Mapping[int, str],
    memo: Memo,
) -> Section | None:
    """Our side of an offered audio or video section; None: no codec that was planned is among those offered.

    direction: as the server sees it, already within what was offered. numbers, ids: what payload types and extension
    ids mean in the sections before it; neither takes a meaning back, so what is in the memo of those stays right.
    """
    kind = plan.kind
    accepted = memo.once(
        ("accepted", same_codecs := (id(offered.codecs), kind, plan.codecs, plan.fmtp)),
        lambda: codec_rules.common(offered.codecs, _of_kind(caps.codecs, kind), plan.codecs, _additions(plan), numbers),
    )
    if not accepted:
        return None
    flows = flows_of(direction) or ((Flow.SEND,) if sources is not None else (Flow.RECV,))
    wanted = extension_rules.asked_for(caps.extensions, kind, flows, accepted)
    extensions = extension_rules.agreed(offered.extensions, wanted, flows, ids)
    with_feedback = memo.once(
        ("with feedback", same_codecs, flows, extensions),
        lambda: extension_rules.with_feedback(accepted, kind, flows, extensions, caps.extensions, offered.codecs),
    )
    rids = tuple(rid.removeprefix("~") for rid in sent_rids(offered)) if direction.receives else ()
    return _rtp_section(
        offered.media,
        offered.proto,
        offered.mid,
        plan,
        direction,
        with_feedback,
        extensions,
        rids,
        sources,
        caps,
        dress,
        allow_mixed=caps.extmap_allow_mixed and offered.extmap_allow_mixed,
        rtcp_rsize=offered.rtcp_rsize,
    )


def offer_rtp(
    plan: MLinePlan,
    mid: Mid,
    before: Section | None,
    caps: Caps,
    sources: Sources | None,
    dress: Dress,
    numbers: dict[int, Identity],
    ids: dict[str, int],
    keep_codecs: bool,
    memo: Memo,
) -> Section:
    """An audio or video section of an offer. Raises SectionRefused.

    before: what we last wrote of the section; its simulcast streams are asked for again, and its codecs too where
    `keep_codecs` says that the plan has not changed them. numbers, ids: what payload types and URIs already have in
    this connection; new ones are entered.
    """
    kind = plan.kind
    direction = plan.direction
    flows = flows_of(direction) or ((Flow.SEND,) if sources is not None else (Flow.RECV,))
    kept = before.codecs if keep_codecs and before is not None else None

    def write() -> tuple[tuple[Codec, ...], tuple[Extension, ...]]:
        codecs = _offered_codecs(plan, mid, caps, numbers) if kept is None else kept
        wanted = extension_rules.asked_for(caps.extensions, kind, flows, codecs)
        extensions = extension_rules.numbered(wanted, ids, caps.extmap_allow_mixed)
        return extension_rules.with_feedback(codecs, kind, flows, extensions, caps.extensions, None), extensions

    # Numbers that were given out stay given out, so equal sections get equal ones.
    offered, extensions = memo.once(("offered", kind, plan.codecs, plan.fmtp, flows, kept), write)
    rids = tuple(rid.id for rid in before.rids) if before is not None and direction.receives else ()
    return _rtp_section(
        kind.value,
        "UDP/TLS/RTP/SAVPF",
        mid,
        plan,
        direction,
        offered,
        extensions,
        rids,
        sources,
        caps,
        dress,
        allow_mixed=caps.extmap_allow_mixed,
        rtcp_rsize=True,
    )


def _offered_codecs(plan: MLinePlan, mid: Mid, caps: Caps, numbers: dict[int, Identity]) -> tuple[Codec, ...]:
    allowed = _of_kind(caps.codecs, plan.kind)
    known = {pref.identity for pref in allowed}
    names = {pref.name for pref in allowed}
    wanted: Sequence[CodecPref] = allowed
    if plan.codecs:
        wanted = [pref for pref in plan.codecs if pref.name in names and (pref.name == "red" or pref.identity in known)]
    rtx = any(pref.name == "rtx" for pref in allowed)
    reserved = frozenset(pref.payload_type for pref in caps.codecs if pref.payload_type is not None)
    offered = codec_rules.numbered(wanted, rtx, _additions(plan), numbers, reserved)
    if not offered:
        raise SectionRefused(mid, "none of the planned codecs may be used, or no payload type is free")
    return offered


def _rtp_section(
    media: str,
    proto: str,
    mid: str | None,
    plan: MLinePlan,
    direction: Direction,
    codecs: tuple[Codec, ...],
    extensions: tuple[Extension, ...],
    rids: tuple[str, ...],
    sources: Sources | None,
    caps: Caps,
    dress: Dress,
    *,
    allow_mixed: bool,
    rtcp_rsize: bool,
) -> Section:
    # Declared as long as the section has them, silent or not: where the lines go missing and come back with the same
    # numbers, Chromium decodes the stream and shows nothing of it.
    ssrcs, groups = _source_lines(plan, sources, codecs, dress.cname) if sources and caps.ssrc_lines else ((), ())
    bandwidth: tuple[tuple[str, int], ...] = ()
    if plan.max_bps is not None:
        bandwidth = (("AS", -(-plan.max_bps // 1000)), ("TIAS", plan.max_bps))
    return Section(
        media=media,
        port=9,
        proto=proto,
        formats=tuple(str(codec.pt) for codec in codecs),
        mid=mid,
        direction=direction,
        bandwidth=bandwidth,
        ufrag=dress.transport.ufrag,
        pwd=dress.transport.pwd,
        fingerprints=(dress.transport.fingerprint,),
        setup=dress.setup,
        extmap_allow_mixed=allow_mixed,
        extensions=extensions,
        msids=(plan.msid,) if direction.sends and plan.msid is not None else (),
        rtcp_mux=True,
        rtcp_rsize=rtcp_rsize,
        codecs=codecs,
        rids=tuple(Rid(rid, "recv") for rid in rids),
        simulcast=Simulcast(recv=tuple((rid,) for rid in rids)) if rids else None,
        ssrc_groups=groups,
        ssrcs=ssrcs,
    )


def data_section(
    mid: str | None, proto: str, formats: tuple[str, ...], sctp_port: int, caps: Caps, dress: Dress
) -> Section:
    """Our side of a data section (RFC 8841)."""
    return Section(
        media="application",
        port=9,
        proto=proto,
        formats=formats,
        mid=mid,
        ufrag=dress.transport.ufrag,
        pwd=dress.transport.pwd,
        fingerprints=(dress.transport.fingerprint,),
        setup=dress.setup,
        sctp_port=sctp_port,
        sctp_streams=1024 if proto == "DTLS/SCTP" else None,
        max_message_size=caps.max_message_size,
    )


def _source_lines(
    plan: MLinePlan, sources: Sources, codecs: Sequence[Codec], cname: str
) -> tuple[tuple[Ssrc, ...], tuple[SsrcGroup, ...]]:
    attributes = [f"cname:{plan.cname or cname}"]
    if plan.legacy_ids and plan.msid is not None:
        attributes.append(f"msid:{plan.msid}")
    ssrcs = [Ssrc(sources.ssrc, tuple(attributes))]
    if not any(codec.name == "rtx" for codec in codecs):
        return tuple(ssrcs), ()
    ssrcs.append(Ssrc(sources.rtx_ssrc, tuple(attributes)))
    return tuple(ssrcs), (SsrcGroup("FID", (sources.ssrc, sources.rtx_ssrc)),)


def _of_kind(prefs: Sequence[CodecPref], kind: Kind) -> list[CodecPref]:
    return [pref for pref in prefs if pref.kind is kind]


def _additions(plan: MLinePlan) -> dict[str, str]:
    additions: dict[str, str] = {}
    for name, fmtp in plan.fmtp:
        name = codec_rules.canonical(name)
        additions[name] = f"{additions[name]};{fmtp}" if name in additions else fmtp
    return additions


# What it means to the engine.


def _meant_codecs(codecs: tuple[Codec, ...], memo: Memo) -> tuple[CodecSpec, ...]:
    return memo.once(("codecs", codecs), lambda: codec_rules.specs(codecs))


def _meant_extensions(extensions: tuple[Extension, ...], memo: Memo) -> tuple[ExtensionSpec, ...]:
    return memo.once(("extensions", extensions), lambda: _extension_specs(extensions))


def recv_spec(mid: Mid, local: Section, remote: Section | None, memo: Memo) -> RecvSpec:
    """What the server receives on an agreed section, or on one it has offered (`remote` is then what was before)."""
    main = _meant_codecs(local.codecs, memo)
    lines = {line for codec in local.codecs for line in codec.feedback}
    return RecvSpec(
        mid=mid,
        kind=kind_of(local),
        codecs=main,
        extensions=_meant_extensions(local.extensions, memo),
        ssrcs=_ssrcs(remote) if remote is not None else (),
        ssrc_groups=_ssrc_groups(remote) if remote is not None else (),
        rids=tuple(rid.id for rid in local.rids),
        nack=extension_rules.NACK in lines,
        twcc=extension_rules.TWCC in lines,
        remb=extension_rules.REMB in lines,
    )


def send_spec(mid: Mid, agreed: Section, plan: MLinePlan, sources: Sources, cname: str, memo: Memo) -> SendSpec:
    """What the server sends on an agreed section."""
    main = _meant_codecs(agreed.codecs, memo)
    lines = {line for codec in agreed.codecs for line in codec.feedback}
    estimator = Estimator.NONE
    if extension_rules.REMB in lines:
        estimator = Estimator.REMB
    elif extension_rules.TWCC in lines:
        estimator = Estimator.TWCC
    return SendSpec(
        mid=mid,
        kind=kind_of(agreed),
        ssrc=sources.ssrc,
        codecs=main,
        rtx_ssrc=sources.rtx_ssrc if any(codec.rtx_pt is not None for codec in main) else None,
        extensions=_meant_extensions(agreed.extensions, memo),
        cname=plan.cname or cname,
        nack=extension_rules.NACK in lines,
        estimator=estimator,
    )


def data_spec(remote: Section) -> DataSpec:
    """What the peer said of its SCTP endpoint; RFC 8841 §6 has the default of the message size."""
    size = 65_536 if remote.max_message_size is None else min(remote.max_message_size, _ANY_SIZE)
    return DataSpec(port=remote.sctp_port or 5000, max_message_size=size, streams=remote.sctp_streams or 1024)


def agreement(local: Section, remote: Section, memo: Memo) -> tuple[Section, Section] | None:
    """Our offered section narrowed to what its answer accepted: as the peer sends, and as it wants to be sent to.

    The first has our payload types and the second the answer's, which RFC 3264 §6.1 lets differ. None: the answer
    accepts no codec.
    """
    with_ours, with_theirs = memo.once(
        ("accepted", local.codecs, remote.codecs), lambda: _accepted(local.codecs, remote.codecs)
    )
    if not _meant_codecs(with_ours, memo):
        return None
    extensions = memo.once(
        ("accepted extensions", local.extensions, remote.extensions),
        lambda: _accepted_extensions(local.extensions, remote.extensions),
    )
    sent = {rid.removeprefix("~") for rid in sent_rids(remote)}
    rids = tuple(rid for rid in local.rids if rid.id in sent)
    received = replace(local, codecs=with_ours, extensions=extensions, rids=rids)
    return received, replace(local, codecs=with_theirs, extensions=extensions)


def _accepted(offered: Sequence[Codec], answered: Sequence[Codec]) -> tuple[tuple[Codec, ...], tuple[Codec, ...]]:
    """The codecs of our offer that an answer accepts, in the answer's order: with our numbers, and with the answer's.

    Feedback is what both state, but for the `nack` of Opus, which counts as accepted when offered.
    """
    ours = {_agreed_identity(codec): codec for codec in reversed(offered)}
    with_ours, with_theirs = [], []
    for codec in answered:
        meant = _find(ours, codec, offered)
        if meant is None:
            continue
        feedback = tuple(line for line in meant.feedback if line in codec.feedback or meant.name == "opus")
        with_ours.append(meant._replace(feedback=feedback))
        with_theirs.append(codec._replace(name=meant.name, feedback=feedback))
    return tuple(with_ours), tuple(with_theirs)


def _accepted_extensions(offered: Sequence[Extension], answered: Sequence[Extension]) -> tuple[Extension, ...]:
    theirs = {(extension.uri, extension.id) for extension in answered}
    return tuple(e for e in offered if (e.uri, e.id) in theirs)


def _agreed_identity(codec: Codec) -> Identity:
    # The number a repetition or a redundancy points at is the other side's business.
    return (codec.name.lower(),) if codec.name.lower() == "red" else codec_rules.identity_of(codec)


def _find(ours: Mapping[Identity, Codec], codec: Codec, offered: Sequence[Codec]) -> Codec | None:
    same_number = next((one for one in offered if one.pt == codec.pt), None)
    what = _agreed_identity(codec)
    if same_number is not None and _agreed_identity(same_number) == what:
        return same_number
    return ours.get(what)
