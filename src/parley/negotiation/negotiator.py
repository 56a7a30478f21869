"""The offer/answer machine of one peer connection (RFC 3264, RFC 8829 §3.2, RFC 8843).

    STABLE ──on_offer──▶ HAVE_REMOTE_OFFER ──answer, rollback──▶ STABLE
    STABLE ──offer──▶ HAVE_LOCAL_OFFER ──on_answer, rollback──▶ STABLE

What has been agreed is one frozen `_Agreed`; what is pending stands beside it and replaces it when the exchange
completes. So a refusal leaves nothing half done, and a rollback has nothing to undo. Only what must never go back is
kept outside: the version of our descriptions, the counter of mids, the SSRCs given out, the transport's credentials.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from random import Random
from typing import Final

from parley.engine.specs import DataSpec, Flow, Kind, Mid, RecvSpec, RemoteTransport, SendSpec, Setup, TransportParams
from parley.negotiation import codecs as codec_rules
from parley.negotiation import sdp as text
from parley.negotiation import sections as rules
from parley.negotiation.codecs import Identity
from parley.negotiation.errors import BundleRefused, SectionMismatch, SectionRefused, WrongSignalingState
from parley.negotiation.sdp import Direction, Section, Session
from parley.negotiation.sections import Dress, Sources
from parley.negotiation.values import (
    CandidatesIn,
    Caps,
    Change,
    Delta,
    MidStyle,
    MLine,
    MLinePlan,
    RemoteSection,
    RemoteView,
    SignalingState,
)

MAX_CANDIDATES: Final = 64
"""Remote candidates that are handed on; a peer with more has its first."""


@dataclass(frozen=True, slots=True)
class _Slot:
    """One m-line: what was agreed in it, and both sides' last words about it, so that equal words cost nothing."""

    line: MLine
    plan: MLinePlan
    """What the server last wanted here, with the mid filled in."""
    local: Section
    local_text: str
    answered: bool
    """Whether `local` answers an offer, or is one."""
    dress: Dress
    with_candidates: bool
    remote: Section | None = None
    remote_text: str = ""
    view: RemoteSection | None = None
    """Of the last offer; None after an answer."""
    sources: Sources | None = None


@dataclass(frozen=True, slots=True)
class _Agreed:
    """Everything both sides have agreed on."""

    slots: tuple[_Slot, ...] = ()
    session: Session | None = None
    """The peer's last."""
    session_text: str = ""
    remote: RemoteTransport | None = None
    tag: Mid | None = None
    """The section whose transport the bundle uses (RFC 8843 §7.3); None: there is no live section."""
    transport: TransportParams | None = None
    """Ours, as last agreed on; None before the first exchange."""
    data: DataSpec | None = None
    numbers: Mapping[int, Identity] = field(default_factory=dict)
    """What payload types have meant in this connection, in either side's descriptions."""
    ids: Mapping[str, int] = field(default_factory=dict)
    """Header-extension ids by URI, likewise."""


@dataclass(frozen=True, slots=True)
class _RemoteOffer:
    """An offer of the peer's, read and checked, not answered yet."""

    session: Session
    session_text: str
    sections: tuple[Section, ...]
    texts: tuple[str, ...]
    views: tuple[RemoteSection, ...]
    remote: RemoteTransport | None
    ice_restart: bool


@dataclass(frozen=True, slots=True)
class _LocalOffer:
    """An offer of ours, not answered yet. Its slots hold what was offered; their lines what is agreed until then."""

    slots: tuple[_Slot, ...]
    transport: TransportParams
    numbers: Mapping[int, Identity]
    ids: Mapping[str, int]
    tag: Mid | None
    """The section that we propose to lead the bundle."""
    recv: Mapping[Mid, RecvSpec]
    """Receive specs that are live although the answer is not here yet."""


class Negotiator:
    """One connection's descriptions, past and pending. Every method either succeeds or raises with nothing changed.

    transport: what the engine said of the connection's transport. random: makes SSRCs, the session id and the CNAME,
    so that a seeded one makes every description reproducible.
    """

    def __init__(
        self, caps: Caps, transport: TransportParams, *, mids: MidStyle = MidStyle.NUMERIC, random: Random
    ) -> None:
        self._caps = caps
        self._transport = transport
        self._random = random
        self._session_id = str(random.getrandbits(62))
        self._cname = f"{random.getrandbits(96):024x}"
        self._version = 0
        self._next_mid = 0
        self._ssrcs: set[int] = set()
        self._dresses: dict[Setup, Dress] = {}
        self._agreed = _Agreed()
        self._pending: _RemoteOffer | _LocalOffer | None = None
        self._closed = False

    @property
    def state(self) -> SignalingState:
        """Where the exchange stands."""
        if self._closed:
            return SignalingState.CLOSED
        match self._pending:
            case None:
                return SignalingState.STABLE
            case _LocalOffer():
                return SignalingState.HAVE_LOCAL_OFFER
            case _:
                return SignalingState.HAVE_REMOTE_OFFER

    @property
    def sections(self) -> tuple[MLine, ...]:
        """Every section as negotiated, in order; what is pending is not shown."""
        return tuple(slot.line for slot in self._agreed.slots)

    def on_offer(self, sdp: str) -> RemoteView:
        """Take the peer's offer; STABLE becomes HAVE_REMOTE_OFFER.

        Raises WrongSignalingState (glare, when our own offer is open), SdpSyntax, SdpTooLarge, SectionMismatch where it
        does not continue what was agreed, BundleRefused where one transport cannot carry it.
        """
        self._require(SignalingState.STABLE, "take an offer")
        agreed = self._agreed
        session, head, sections, texts = _read(sdp, agreed)
        mids = _mids(sections, agreed.slots)
        _check_continues(sections, mids, agreed.slots)
        bundled = _bundled(session, sections, mids)
        views = self._views(session, sections, texts, mids, bundled)
        usable = [index for index, view in enumerate(views) if not sections[index].is_stopped and not view.refused]
        tagged = _tagged_first(session, mids, usable)
        remote = _remote_transport(session, sections, tagged, agreed.remote, lite=self._transport.lite, offers=True)
        _check_same_connection(session, remote, agreed)
        restart = (
            remote is not None and agreed.remote is not None and _credentials(remote) != _credentials(agreed.remote)
        )
        self._pending = _RemoteOffer(session, head, sections, texts, views, remote, restart)
        plan_b = any(
            rules.is_plan_b(section) for section in sections if section.direction.sends and not section.is_stopped
        )
        return RemoteView(views, restart, plan_b)

    def answer(self, plan: Sequence[MLinePlan]) -> Delta:
        """Answer the peer's offer; HAVE_REMOTE_OFFER becomes STABLE.

        A section without a plan keeps sending what it sent, as far as the offer allows, and receives what is offered.
        Raises WrongSignalingState (also when the offer restarts ICE and `restart_ice` has not been called since the
        last exchange), SectionMismatch for a plan that names no section of the offer, SectionRefused for one that
        cannot be written.
        """
        offer = self._pending
        if not isinstance(offer, _RemoteOffer) or self._closed:
            raise WrongSignalingState(self.state.value, "answer")
        agreed = self._agreed
        transport = agreed.transport or self._transport
        if offer.ice_restart:
            if self._transport is agreed.transport or self._transport == agreed.transport:
                raise WrongSignalingState(self.state.value, "answer", "an ICE restart needs fresh credentials of ours")
            transport = self._transport
        planned = _plan_by_mid(plan, offer.views)

        peer = offer.remote or agreed.remote
        opens = peer is not None and peer.setup is Setup.PASSIVE
        dress = self._dress(transport, Setup.ACTIVE if opens else Setup.PASSIVE)
        writer = _AnswerWriter(self, offer, dress, agreed.slots)
        slots = tuple(
            writer.slot(index, planned.get(view.mid), self._before(index, view))
            for index, view in enumerate(offer.views)
        )
        live = [slot.line.mid for slot in slots if not slot.line.stopped]
        had_group = offer.session.bundle is not None
        order = [Mid(mid) for mid in offer.session.bundle or () if mid in live]
        sdp = self._write(slots, transport, order if had_group else None, offer.session.extmap_allow_mixed)
        data = next((slot for slot in slots if slot.line.kind is Kind.DATA and not slot.line.stopped), None)
        spec = rules.data_spec(data.remote) if data is not None and data.remote is not None else None
        numbers, ids = _learn(agreed.numbers, agreed.ids, offer.sections, slots)
        recv, send, ended = _difference(_live_lines(agreed), slots)
        tag = next(iter(order or live), None)
        delta = Delta(
            sdp=sdp,
            mids=tuple(item.mid for item in plan if item.mid is not None),
            remote=_remote_news(offer.remote, agreed.remote, agreed.tag, tag),
            recv=recv,
            send=send,
            ended=ended,
            data=spec if spec != agreed.data else None,
        )
        self._agreed = _Agreed(
            slots=slots,
            session=offer.session,
            session_text=offer.session_text,
            remote=offer.remote or agreed.remote,
            tag=tag,
            transport=transport,
            data=spec,
            numbers=numbers,
            ids=ids,
        )
        self._pending = None
        self._version += 1
        self._note_mids(offer.views)
        return delta

    def offer(self, plan: Sequence[MLinePlan]) -> Delta:
        """Make an offer; STABLE becomes HAVE_LOCAL_OFFER. Live sections without a plan keep what they have.

        What the server would receive is handed out at once, since media may come before the answer does. Raises
        WrongSignalingState, SectionMismatch for a plan that names no live section of its kind, SectionRefused for one
        that cannot be written. A data section is planned by its mid or, since there can be only one, without.
        """
        self._require(SignalingState.STABLE, "offer")
        agreed = self._agreed
        assigned, mids, next_mid = self._assign(plan)
        dress = self._dress(self._transport, Setup.ACTPASS)
        numbers, ids = dict(agreed.numbers), dict(agreed.ids)
        slots: list[_Slot] = []
        memo = rules.Memo()
        has_candidates = False
        for index in range(max(len(agreed.slots), max(assigned, default=-1) + 1)):
            before = agreed.slots[index] if index < len(agreed.slots) else None
            slot = self._offered_slot(index, assigned.get(index), before, dress, not has_candidates, numbers, ids, memo)
            has_candidates = has_candidates or slot.local.port != 0
            slots.append(slot)
        live = [mid for slot in slots if slot.local.port != 0 and (mid := slot.plan.mid) is not None]
        sdp = self._write(slots, self._transport, live, True)
        recv = {
            slot.plan.mid: spec for slot in slots if slot.plan.mid and (spec := _early_recv(slot, memo)) is not None
        }
        tag = next(iter(live), None)
        # The peer may act upon it before its answer is here.
        remote = _remote_news(None, agreed.remote, agreed.tag, tag)
        delta = Delta(sdp=sdp, mids=mids, remote=remote, recv=tuple(recv.values()))
        self._pending = _LocalOffer(tuple(slots), self._transport, numbers, ids, tag, recv)
        self._version += 1
        self._next_mid = next_mid
        return delta

    def on_answer(self, sdp: str) -> Delta:
        """Take the peer's answer; HAVE_LOCAL_OFFER becomes STABLE, or stays with the offer open if this raises.

        Raises WrongSignalingState, SdpSyntax, SdpTooLarge, SectionMismatch, BundleRefused.
        """
        offer = self._pending
        if not isinstance(offer, _LocalOffer) or self._closed:
            raise WrongSignalingState(self.state.value, "take an answer")
        agreed = self._agreed
        session, head, sections, texts = _read(sdp, agreed)
        _check_answers(sections, offer.slots)
        live = [
            index
            for index, section in enumerate(sections)
            if not section.is_stopped and offer.slots[index].local.port != 0
        ]
        mids = tuple(slot.plan.mid or Mid("") for slot in offer.slots)
        _check_bundle_answer(session, live, mids)
        tagged = _tagged_first(session, mids, live)
        remote = _remote_transport(session, sections, tagged, agreed.remote, lite=offer.transport.lite, offers=False)
        _check_same_connection(session, remote, agreed)

        memo = rules.Memo()
        slots = tuple(
            self._answered_slot(index, slot, sections[index], texts[index], index in live, memo)
            for index, slot in enumerate(offer.slots)
        )
        data = next((slot.remote for slot in slots if slot.line.kind is Kind.DATA and not slot.line.stopped), None)
        spec = rules.data_spec(data) if data is not None else None
        numbers, ids = _learn(offer.numbers, offer.ids, sections, slots)
        before = _live_lines(agreed)
        for mid, early in offer.recv.items():
            known = before.get(mid)
            before[mid] = (
                replace(known, recv=early)
                if known is not None
                else MLine(-1, mid, early.kind, Direction.INACTIVE, recv=early)
            )
        recv, send, ended = _difference(before, slots)
        tag = next((mids[index] for index in tagged), None)
        delta = Delta(
            remote=_remote_news(remote, agreed.remote, offer.tag, tag),
            recv=recv,
            send=send,
            ended=ended,
            data=spec if spec != agreed.data else None,
        )
        self._agreed = _Agreed(
            slots=slots,
            session=session,
            session_text=head,
            remote=remote or agreed.remote,
            tag=tag,
            transport=offer.transport,
            data=spec,
            numbers=numbers,
            ids=ids,
        )
        self._pending = None
        return delta

    def rollback(self) -> Delta:
        """Drop the pending description, ours or the peer's; everything is as it was after the last exchange.

        `ended` holds the receive flows that an offer of ours had opened, `recv` those it had changed, as they were.
        Raises WrongSignalingState when nothing is pending.
        """
        pending = self._pending
        if pending is None or self._closed:
            raise WrongSignalingState(self.state.value, "roll back")
        self._pending = None
        if isinstance(pending, _RemoteOffer):
            return Delta()
        before = {slot.line.mid: slot.line.recv for slot in self._agreed.slots}
        return Delta(
            recv=tuple(spec for mid in pending.recv if (spec := before.get(mid)) is not None),
            ended=tuple((mid, Flow.RECV) for mid in pending.recv if before.get(mid) is None),
        )

    def restart_ice(self, transport: TransportParams) -> None:
        """Use these credentials from the next offer on, or in the answer to an offer that itself restarts ICE.

        An answer to any other offer keeps the old ones: an answerer cannot restart ICE (RFC 8839 §4.4.1.1.1).
        """
        if self._closed:
            raise WrongSignalingState(self.state.value, "restart ICE")
        self._transport = transport

    def close(self) -> None:
        """Refuse everything from now on. Closing twice is as good as once."""
        self._closed = True
        self._pending = None

    # What both ways of negotiating share.

    def _require(self, state: SignalingState, operation: str) -> None:
        if self.state is not state:
            raise WrongSignalingState(self.state.value, operation)

    def _dress(self, transport: TransportParams, setup: Setup) -> Dress:
        """What sections carry; the very object of the last time if nothing has changed, so that comparing is cheap."""
        dress = self._dresses.get(setup)
        if dress is None or dress.transport is not transport:
            dress = self._dresses[setup] = Dress(transport, setup, self._cname)
        return dress

    def _before(self, index: int, view: RemoteSection) -> _Slot | None:
        """The slot that an offered section continues; None for a new section, also in a slot used before."""
        if index >= len(self._agreed.slots):
            return None
        slot = self._agreed.slots[index]
        return slot if slot.line.mid == view.mid and not slot.line.stopped else None

    def _sources(self, before: _Slot | None, direction: Direction, kind: Kind) -> Sources | None:
        if before is not None and before.sources is not None:
            return before.sources
        if not direction.sends or kind is Kind.DATA:
            return None
        return Sources(self._new_ssrc(), self._new_ssrc())

    def _new_ssrc(self) -> int:
        while (ssrc := self._random.getrandbits(32)) in self._ssrcs or ssrc == 0:
            pass
        self._ssrcs.add(ssrc)
        return ssrc

    def _section_text(self, section: Section, dress: Dress, with_candidates: bool) -> str:
        if with_candidates and section.port != 0:
            candidates = tuple("candidate:" + c.removeprefix("candidate:") for c in dress.transport.candidates)
            section = replace(section, candidates=candidates, end_of_candidates=True)
        return text.write_section(section)

    def _carries_candidates(self, is_first: bool) -> bool:
        match self._caps.candidates_in:
            case CandidatesIn.EVERY_SECTION:
                return True
            case CandidatesIn.FIRST_SECTION:
                return is_first
            case CandidatesIn.NO_SECTION:
                return False

    def _write(
        self, slots: Sequence[_Slot], transport: TransportParams, bundle: Sequence[Mid] | None, allow_mixed: bool
    ) -> str:
        legacy = any(slot.plan.legacy_ids and slot.local.port != 0 for slot in slots)
        session = Session(
            session_id=self._session_id,
            version=str(self._version + 1),
            groups=(("BUNDLE", *bundle),) if bundle else (),
            ice_lite=transport.lite,
            ice_options="trickle",
            extmap_allow_mixed=allow_mixed and self._caps.extmap_allow_mixed,
            msid_semantic="WMS *" if legacy else "",
        )
        return text.write_session(session) + "".join(slot.local_text for slot in slots)

    def _note_mids(self, views: Iterable[RemoteSection]) -> None:
        """Keep the counter of mids above what the peer counts with; a mid that is no small number is only avoided."""
        for view in views:
            if view.mid.isascii() and view.mid.isdigit() and len(view.mid) <= 6:
                self._next_mid = max(self._next_mid, int(view.mid) + 1)

    # The peer offers.

    def _views(
        self,
        session: Session,
        sections: Sequence[Section],
        texts: Sequence[str],
        mids: Sequence[Mid],
        bundled: Sequence[bool],
    ) -> tuple[RemoteSection, ...]:
        views = []
        data_seen = False
        tables: dict[tuple[int, Kind], rules.CodecTable] = {}
        for index, section in enumerate(sections):
            slot = self._agreed.slots[index] if index < len(self._agreed.slots) else None
            view = self._view(index, mids[index], section, texts[index], slot, session, tables)
            if not section.is_stopped:
                if not bundled[index]:
                    view = replace(view, refused="it is outside the bundle")
                elif view.kind is Kind.DATA and view.refused is None:
                    if data_seen:
                        view = replace(view, refused="there is a data section already")
                    data_seen = True
            views.append(view)
        return tuple(views)

    def _view(
        self,
        index: int,
        mid: Mid,
        section: Section,
        part: str,
        slot: _Slot | None,
        session: Session,
        tables: dict[tuple[int, Kind], rules.CodecTable],
    ) -> RemoteSection:
        if section.is_stopped:
            return RemoteSection(index, mid, rules.kind_of(section), Direction.INACTIVE, change=Change.STOPPED)
        if slot is None:
            change = Change.NEW
        elif slot.line.stopped:
            change = Change.RECYCLED
        elif slot.remote is not None and (slot.remote is section or rules.same_media(slot.remote, section)):
            change = Change.SAME
        else:
            change = Change.CHANGED
        known = slot.view if slot is not None and slot.remote_text == part else None
        if known is not None and known.refused is None and change is Change.SAME:
            return known if known.change is change else replace(known, change=change)
        key = (id(section.codecs), rules.kind_of(section))
        table = tables.get(key)
        if table is None:
            table = tables[key] = rules.codec_table(section, self._caps)
        view = rules.remote_section(index, mid, section, table)
        refused = rules.unusable(section, table, self._caps, bool(section.fingerprints or session.fingerprints))
        return replace(view, change=change, refused=refused)

    # We offer.

    def _assign(self, plan: Sequence[MLinePlan]) -> tuple[dict[int, MLinePlan], tuple[Mid, ...], int]:
        """Give every plan item its section: by index, the item with its mid; the mids in plan order; the next mid."""
        slots = self._agreed.slots
        live = {slot.line.mid: slot.line for slot in slots if not slot.line.stopped}
        data_mid = next((line.mid for line in live.values() if line.kind is Kind.DATA), None)
        assigned: dict[int, MLinePlan] = {}
        mids: list[Mid] = []
        next_mid = self._next_mid
        end = len(slots)
        for item in plan:
            _check_writable(item)
            mid = item.mid
            if mid is None and item.kind is Kind.DATA:
                mid = data_mid
            if mid is not None:
                line = live.get(mid)
                if line is None or line.kind is not item.kind:
                    raise SectionMismatch(f"the plan names a section that is not a live {item.kind.value} section")
                index = line.index
                if index in assigned:
                    raise SectionMismatch("the plan names a section twice")
            else:
                if item.reject:
                    raise SectionMismatch("the plan stops a section that is not there")
                free = (
                    slot.line.index
                    for slot in slots
                    if slot.line.stopped and slot.line.kind is item.kind and slot.line.index not in assigned
                )
                index = next(free, end)
                if index == end:
                    end += 1
                    if end > text.MAX_SECTIONS:
                        raise SectionRefused(None, f"there are {text.MAX_SECTIONS} sections already")
                while (fresh := Mid(str(next_mid))) in live:
                    next_mid += 1
                mid, next_mid = fresh, next_mid + 1
                if item.kind is Kind.DATA:
                    if self._caps.max_message_size is None:
                        raise SectionRefused(None, "data channels are not wanted here")
                    data_mid = mid
                    live[mid] = MLine(index, mid, Kind.DATA, Direction.SENDRECV)
            assigned[index] = replace(item, mid=mid)
            mids.append(mid)
        return assigned, tuple(mids), next_mid

    def _offered_slot(
        self,
        index: int,
        item: MLinePlan | None,
        before: _Slot | None,
        dress: Dress,
        is_first: bool,
        numbers: dict[int, Identity],
        ids: dict[str, int],
        memo: rules.Memo,
    ) -> _Slot:
        """A section of our offer; its line is still what was agreed before."""
        if item is None:
            assert before is not None, "a section that is not planned was there before"
            if before.line.stopped:
                return before
            item = before.plan
            if item.direction is not before.line.direction and item.kind is not Kind.DATA:
                item = replace(item, direction=before.line.direction)
        mid = item.mid
        assert mid is not None, "every plan item has been given its section"
        if before is not None and (before.line.stopped or before.line.mid != mid):
            before = None
        with_candidates = self._carries_candidates(is_first)
        if (
            before is not None
            and not before.answered
            and before.dress is dress
            and before.with_candidates == with_candidates
            and (item is before.plan or item == before.plan)
        ):
            return before

        sources = self._sources(before, item.direction, item.kind)
        if item.reject:
            assert before is not None, "only a section that is there can be stopped"
            local = rules.refusal(before.local)
        elif item.kind is Kind.DATA:
            was = before.local if before is not None else None
            proto, formats = (was.proto, was.formats) if was else ("UDP/DTLS/SCTP", ("webrtc-datachannel",))
            local = rules.data_section(mid, proto, formats, 5000, self._caps, dress)
        else:
            local = rules.offer_rtp(
                item,
                mid,
                before.local if before is not None else None,
                self._caps,
                sources,
                dress,
                numbers,
                ids,
                keep_codecs=before is not None and before.plan.codecs == item.codecs and before.plan.fmtp == item.fmtp,
                memo=memo,
            )
        return _Slot(
            line=before.line if before is not None else MLine(index, mid, item.kind, Direction.INACTIVE),
            plan=item,
            local=local,
            local_text=self._section_text(local, dress, with_candidates),
            answered=False,
            dress=dress,
            with_candidates=with_candidates,
            remote=before.remote if before is not None else None,
            remote_text=before.remote_text if before is not None else "",
            sources=sources,
        )

    def _answered_slot(
        self, index: int, slot: _Slot, section: Section, part: str, live: bool, memo: rules.Memo
    ) -> _Slot:
        """An offered section of ours with its answer."""
        line = slot.line
        in_same_words = index < len(self._agreed.slots) and slot is self._agreed.slots[index]
        if in_same_words and (line.stopped or (live and slot.remote is section)):
            return slot
        mid, kind = slot.plan.mid or line.mid, slot.plan.kind
        direction, recv, send = Direction.INACTIVE, None, None
        if live and kind is Kind.DATA:
            direction = Direction.SENDRECV
        elif live:
            narrowed = rules.agreement(slot.local, section, memo)
            if narrowed is None:
                raise SectionMismatch(f"section {line.index} accepts none of the codecs that were offered")
            received, sent = narrowed
            direction = slot.local.direction & section.direction.reverse
            if direction.receives:
                recv = rules.recv_spec(mid, received, section, memo)
            if direction.sends and slot.sources is not None:
                send = rules.send_spec(mid, sent, slot.plan, slot.sources, self._cname, memo)
        # What is stopped stays in later offers, as the refused section it has become.
        local = slot.local if live else rules.refusal(slot.local)
        return replace(
            slot,
            line=MLine(line.index, mid, kind, direction, recv, send, stopped=not live),
            local=local,
            local_text=slot.local_text if live else text.write_section(local),
            remote=section,
            remote_text=part,
            view=None,
            sources=slot.sources if live else None,
        )


class _AnswerWriter:
    """Answers one offer's sections in order, remembering what numbers have come to mean on the way."""

    def __init__(self, negotiator: Negotiator, offer: _RemoteOffer, dress: Dress, before: Sequence[_Slot]) -> None:
        self._negotiator = negotiator
        self._caps = negotiator._caps
        self._offer = offer
        self._dress = dress
        self._numbers: dict[int, Identity] = {}
        self._ids: dict[int, str] = {}
        self._tables: set[int] = set()
        self._memo = rules.Memo()
        self._is_first = True
        # What goes on as it was keeps its numbers, even if a section above it is new.
        for slot, section in zip(before, offer.sections, strict=False):
            if slot.remote is section and not slot.line.stopped:
                self._remember(slot.local)

    def slot(self, index: int, item: MLinePlan | None, before: _Slot | None) -> _Slot:
        """The answer to one section. before: the slot it continues, None for a new one."""
        view, section = self._offer.views[index], self._offer.sections[index]
        part = self._offer.texts[index]
        plan = item if item is not None else _unplanned(view, before)
        direction = Direction.SENDRECV
        if view.kind is not Kind.DATA:
            direction = plan.direction & section.direction.reverse
        with_candidates = self._negotiator._carries_candidates(self._is_first)
        if self._is_repetition(before, plan, direction, part, with_candidates):
            assert before is not None, "only what was there can be repeated"
            slot = before if before.view is view else replace(before, view=view)
        else:
            slot = self._new_slot(view, section, part, plan, direction, before, with_candidates)
        if not slot.line.stopped:
            self._is_first = False
            self._remember(slot.local)
        return slot

    def _remember(self, local: Section) -> None:
        if id(local.codecs) not in self._tables:
            self._tables.add(id(local.codecs))
            for codec in local.codecs:
                self._numbers.setdefault(codec.pt, codec_rules.identity_of(codec))
        for extension in local.extensions:
            self._ids.setdefault(extension.id, extension.uri)

    def _is_repetition(
        self, before: _Slot | None, plan: MLinePlan, direction: Direction, part: str, with_candidates: bool
    ) -> bool:
        return (
            before is not None
            and before.answered
            and before.remote_text == part
            and before.dress is self._dress
            and before.with_candidates == with_candidates
            and before.line.direction is direction
            and (plan is before.plan or plan == before.plan)
        )

    def _new_slot(
        self,
        view: RemoteSection,
        section: Section,
        part: str,
        plan: MLinePlan,
        direction: Direction,
        before: _Slot | None,
        with_candidates: bool,
    ) -> _Slot:
        local: Section | None = None
        recv: RecvSpec | None = None
        send: SendSpec | None = None
        sources: Sources | None = None
        mid, kind = view.mid, view.kind
        refuse = plan.reject or view.refused is not None or section.is_stopped
        if not refuse and kind is Kind.DATA:
            # The legacy form repeats the port where others state the protocol.
            port = (section.sctp_port or 5000) if section.proto == "DTLS/SCTP" else 5000
            local = rules.data_section(section.mid, section.proto, section.formats[:1], port, self._caps, self._dress)
        elif not refuse:
            sources = self._negotiator._sources(before, direction, kind)
            local = rules.answer_rtp(
                section, plan, direction, self._caps, sources, self._dress, self._numbers, self._ids, self._memo
            )
            if local is not None and direction.receives:
                recv = rules.recv_spec(mid, local, section, self._memo)
            if local is not None and direction.sends and sources is not None:
                send = rules.send_spec(mid, local, plan, sources, self._dress.cname, self._memo)
        stopped = local is None
        if local is None:
            local, direction, sources = rules.refusal(section), Direction.INACTIVE, None
        return _Slot(
            line=MLine(view.index, mid, kind, direction, recv, send, stopped),
            plan=plan,
            local=local,
            local_text=self._negotiator._section_text(local, self._dress, with_candidates),
            answered=True,
            dress=self._dress,
            with_candidates=with_candidates,
            remote=section,
            remote_text=part,
            view=view,
            sources=sources,
        )


def _unplanned(view: RemoteSection, before: _Slot | None) -> MLinePlan:
    """What the server wants of a section that nobody planned: what it sent, and what it is offered."""
    sends = before is not None and before.line.direction.sends
    direction = Direction.of(sends=sends, receives=view.direction.sends)
    if before is None or before.plan.reject:
        return MLinePlan(view.mid, view.kind, direction)
    return before.plan if before.plan.direction is direction else replace(before.plan, direction=direction)


def _plan_by_mid(plan: Sequence[MLinePlan], views: Sequence[RemoteSection]) -> dict[Mid, MLinePlan]:
    """The plan for an answer, by section. Raises SectionMismatch where the offer has no such section."""
    kinds = {view.mid: view.kind for view in views}
    planned: dict[Mid, MLinePlan] = {}
    for item in plan:
        _check_writable(item)
        if item.mid is None or kinds.get(item.mid) is not item.kind:
            raise SectionMismatch(f"the plan names a section that is not an offered {item.kind.value} section")
        if item.mid in planned:
            raise SectionMismatch("the plan names a section twice")
        planned[item.mid] = item
    return planned


def _check_writable(item: MLinePlan) -> None:
    """A dialect's own words must not be able to break a line or a field."""
    words = [item.cname or "-"]
    if item.msid is not None:
        words += (item.msid.stream, item.msid.track or "-")
    if not all(word.isascii() and word.isprintable() and word and " " not in word for word in words):
        raise SectionRefused(item.mid, "its msid or cname is empty or has characters that no description may carry")
    if not all(fmtp.isascii() and fmtp.isprintable() for _, fmtp in item.fmtp):
        raise SectionRefused(item.mid, "its format parameters have characters that no description may carry")
    if item.max_bps is not None and item.max_bps < 0:
        raise SectionRefused(item.mid, "its bandwidth is negative")


# Reading and checking what the peer sent.


def _read(sdp: str, agreed: _Agreed) -> tuple[Session, str, tuple[Section, ...], tuple[str, ...]]:
    """Parse, but for what is word for word what was last heard."""
    head, parts = text.split(sdp)
    session = agreed.session
    if session is None or head != agreed.session_text:
        session = text.parse_session(head)
    same_default = agreed.session is not None and agreed.session.direction is session.direction
    line = head.count("\n") + 2
    sections = []
    tables: text.CodecTables = {}
    for index, part in enumerate(parts):
        slot = agreed.slots[index] if same_default and index < len(agreed.slots) else None
        if slot is not None and slot.remote is not None and slot.remote_text == part:
            sections.append(slot.remote)
        else:
            sections.append(text.parse_section(part, session.direction, line, tables))
        line += part.count("\n") + 1
    return session, head, tuple(sections), tuple(parts)


def _mids(sections: Sequence[Section], slots: Sequence[_Slot]) -> tuple[Mid, ...]:
    """The mid of every offered section; one that states none has that of its slot, or its index if that is free."""
    stated = {section.mid for section in sections}
    mids = []
    for index, section in enumerate(sections):
        mid = section.mid
        if mid is None and index < len(slots) and slots[index].line.mid not in stated:
            mid = slots[index].line.mid
        if mid is None:
            mid = next(name for n in range(len(sections) + 1) if (name := str(index + n)) not in stated)
            stated.add(mid)
        mids.append(Mid(mid))
    if len(set(mids)) != len(mids):
        raise SectionMismatch("two sections have the same mid")
    return tuple(mids)


def _check_continues(sections: Sequence[Section], mids: Sequence[Mid], slots: Sequence[_Slot]) -> None:
    """RFC 3264 §8: sections are neither dropped nor moved, and a live one stays what it is."""
    if len(sections) < len(slots):
        raise SectionMismatch(f"{len(sections)} sections where {len(slots)} were negotiated")
    for slot, section, mid in zip(slots, sections, mids, strict=False):
        if slot.line.stopped or section.is_stopped:
            continue
        if slot.line.mid != mid:
            raise SectionMismatch(f"live section {slot.line.index} has another mid")
        if rules.kind_of(section) is not slot.line.kind:
            raise SectionMismatch(f"live section {slot.line.index} has another media type")


def _bundled(session: Session, sections: Sequence[Section], mids: Sequence[Mid]) -> list[bool]:
    """Which sections share the one transport. Raises BundleRefused where several do not say so."""
    live = [index for index, section in enumerate(sections) if not section.is_stopped]
    group = session.bundle
    if group is None:
        if len(live) > 1:
            raise BundleRefused("several sections and no BUNDLE group")
        return [True] * len(sections)
    return [len(live) == 1 or mid in group for mid in mids]


def _check_bundle_answer(session: Session, live: Sequence[int], mids: Sequence[Mid]) -> None:
    group = session.bundle
    if len(live) > 1 and (group is None or any(mids[index] not in group for index in live)):
        raise BundleRefused("the answer takes sections out of the bundle")


def _tagged_first(session: Session, mids: Sequence[Mid], live: Sequence[int]) -> list[int]:
    """Live sections, the one whose transport the bundle uses first (RFC 8843 §7.3)."""
    order = {mid: position for position, mid in enumerate(session.bundle or ())}
    return sorted(live, key=lambda index: order.get(mids[index], len(order)))


def _remote_transport(
    session: Session,
    sections: Sequence[Section],
    live: Sequence[int],
    known: RemoteTransport | None,
    *,
    lite: bool,
    offers: bool,
) -> RemoteTransport | None:
    """The peer's transport, from the tagged section or, where that says nothing, the next that does.

    lite: whether our agent is. offers: whether this is an offer of the peer's.
    None when there is no live section. Raises BundleRefused where something is missing, or the peer would be the DTLS
    server of a lite transport: that is this server's part there.
    """
    if not live:
        return None
    candidates = [sections[index] for index in live]
    section = next((s for s in candidates if s.ufrag or session.ufrag), candidates[0])
    ufrag, pwd = section.ufrag or session.ufrag, section.pwd or session.pwd
    fingerprints = section.fingerprints or session.fingerprints
    if ufrag is None or pwd is None:
        raise BundleRefused("the description has no ICE credentials")
    if not fingerprints:
        raise BundleRefused("the description has no DTLS fingerprint")
    setup = section.setup or session.setup
    if lite and setup is Setup.PASSIVE:
        raise BundleRefused("the peer insists on being the DTLS server")
    fingerprint = next((f for f in fingerprints if f.startswith("sha-256 ")), fingerprints[0])
    usable = tuple(dict.fromkeys(filter(_is_usable, (section.candidates or session.candidates)[:MAX_CANDIDATES])))
    if known is not None and (known.ufrag, known.pwd, known.fingerprint) == (ufrag, pwd, fingerprint):
        # Candidates only ever add up within one generation; an offer without them takes none away.
        if set(usable) <= set(known.candidates):
            return known
        usable = tuple(dict.fromkeys((*known.candidates, *usable)))[:MAX_CANDIDATES]
    if lite:
        return RemoteTransport(ufrag, pwd, fingerprint, Setup.ACTIVE, usable)
    if setup is None or setup is Setup.ACTPASS:
        # RFC 8842 §5.3: whoever answers opens the handshake, and keeps the part it has.
        setup = known.setup if known is not None else Setup.PASSIVE if offers else Setup.ACTIVE
    # RFC 8445 §6.1.1: a full agent controls a lite one; of two full ones whoever offers first does.
    controls = known.controls if known is not None else offers and not session.ice_lite
    return RemoteTransport(ufrag, pwd, fingerprint, setup, usable, controls=controls)


def _is_usable(candidate: str) -> bool:
    """Whether a candidate is UDP for RTP at an address; mDNS names and what cannot be read are passed over."""
    words = candidate.split()
    if len(words) < 8 or words[1] != "1" or words[2].lower() != "udp" or not words[5].isdigit() or words[6] != "typ":
        return False
    try:
        ip_address(words[4])
    except ValueError:
        return False
    return True


def _credentials(remote: RemoteTransport) -> tuple[str, str]:
    return remote.ufrag, remote.pwd


def _remote_news(
    remote: RemoteTransport | None, known: RemoteTransport | None, led: Mid | None, leads: Mid | None
) -> RemoteTransport | None:
    """What the engine is to be told of the peer's transport. led, leads: the section that lent the bundle its transport
    until now, and the one that does from now on.

    Chromium's transports belong to sections: when another section comes to lead the bundle, because the first was
    stopped or its slot taken again, the whole bundle moves to that one's, which begins with a handshake.
    """
    if known is not None and led != leads:
        return replace(remote or known, begins_anew=True)
    return remote if remote != known else None


def _check_same_connection(session: Session, remote: RemoteTransport | None, agreed: _Agreed) -> None:
    """A new certificate together with a new session is another peer connection on the same signalling channel."""
    if remote is None or agreed.remote is None or agreed.session is None:
        return
    before = (agreed.session.username, agreed.session.session_id)
    if remote.fingerprint != agreed.remote.fingerprint and (session.username, session.session_id) != before:
        raise BundleRefused("the description is of another peer connection")


def _check_answers(sections: Sequence[Section], slots: Sequence[_Slot]) -> None:
    """RFC 3264 §6: an answer has the offer's sections, in the offer's order."""
    if len(sections) != len(slots):
        raise SectionMismatch(f"the answer has {len(sections)} sections, the offer {len(slots)}")
    for section, slot in zip(sections, slots, strict=True):
        if section.media != slot.local.media:
            raise SectionMismatch(f"section {slot.line.index} of the answer has another media type")
        if section.mid is not None and section.mid != slot.plan.mid and not section.is_stopped:
            raise SectionMismatch(f"section {slot.line.index} of the answer has another mid")


# What has changed.


def _early_recv(slot: _Slot, memo: rules.Memo) -> RecvSpec | None:
    """What the server receives on an offered section, where that differs from what is agreed; None: no news."""
    mid = slot.plan.mid
    if mid is None or slot.plan.kind is Kind.DATA or slot.local.port == 0 or not slot.local.direction.receives:
        return None
    agreed = slot.line.recv
    spec = rules.recv_spec(mid, slot.local, slot.remote, memo)
    if agreed is not None:
        # Until the answer narrows it anew, what the answer before last had narrowed is no news.
        offered = {codec.pt for codec in agreed.codecs}
        if {codec.pt for codec in spec.codecs} <= offered:
            return None
    return spec


def _learn(
    numbers: Mapping[int, Identity], ids: Mapping[str, int], sections: Iterable[Section], slots: Iterable[_Slot]
) -> tuple[Mapping[int, Identity], Mapping[str, int]]:
    """What payload types and extension ids mean, now that the peer has said these sections and these slots are agreed.

    A peer that gives one number two meanings does not get us to repeat it: what is agreed wins.
    """
    live = [slot.local for slot in slots if not slot.line.stopped]
    heard = [section for section in sections if not section.is_stopped]
    meanings = dict(numbers)
    tables: set[int] = set()
    for section in (*heard, *live):
        # Sections that state the same table share it.
        if id(section.codecs) not in tables:
            tables.add(id(section.codecs))
            meanings.update((codec.pt, codec_rules.identity_of(codec)) for codec in section.codecs)
    known: dict[str, int] = {}
    used: set[int] = set()
    stated = {(e.uri, e.id): None for section in live for e in section.extensions}
    stated |= dict.fromkeys(ids.items()) | {(e.uri, e.id): None for section in heard for e in section.extensions}
    for uri, number in stated:
        if uri not in known and number not in used and 1 <= number <= 255:
            known[uri] = number
            used.add(number)
    return meanings, known


def _live_lines(agreed: _Agreed) -> dict[Mid, MLine]:
    return {slot.line.mid: slot.line for slot in agreed.slots if not slot.line.stopped}


def _difference(
    before: Mapping[Mid, MLine], slots: Iterable[_Slot]
) -> tuple[tuple[RecvSpec, ...], tuple[SendSpec, ...], tuple[tuple[Mid, Flow], ...]]:
    """What the engine is to be told: receive specs and send specs that are new or changed, flows that have ended."""
    recv: list[RecvSpec] = []
    send: list[SendSpec] = []
    ended: list[tuple[Mid, Flow]] = []
    left = dict(before)
    for slot in slots:
        line = slot.line
        was = left.pop(line.mid, None)
        if was is line:
            continue
        if line.recv is not None and (was is None or was.recv != line.recv):
            recv.append(line.recv)
        if line.send is not None and (was is None or was.send != line.send):
            send.append(line.send)
        if was is not None:
            ended.extend(_lost(was, line))
    for gone in left.values():
        ended.extend(_lost(gone, None))
    return tuple(recv), tuple(send), tuple(ended)


def _lost(was: MLine, now: MLine | None) -> list[tuple[Mid, Flow]]:
    flows = []
    if was.recv is not None and (now is None or now.recv is None):
        flows.append((was.mid, Flow.RECV))
    if was.send is not None and (now is None or now.send is None):
        flows.append((was.mid, Flow.SEND))
    return flows
