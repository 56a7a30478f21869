"""No sequence of operations leaves the state and the pending copy out of step.

Two machines: a negotiator against a peer that says whatever it likes, and two negotiators against each other. Beside
each runs a model engine that knows nothing but the deltas; after every step it must hold what `sections` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from parley.engine.specs import DataSpec, Flow, Kind, Mid, RecvSpec, RemoteTransport, SendSpec, Setup
from parley.negotiation import (
    Caps,
    Delta,
    Direction,
    MLine,
    MLinePlan,
    Msid,
    NegotiationError,
    Negotiator,
    SignalingState,
)
from parley.negotiation import sdp as text
from parley.negotiation.codecs import H264, OPUS, RED, VP8, VP9, CodecPref
from parley.negotiation.sdp import Description, Section
from tests.negotiation.sessions import VECTORS, load, transport

AUDIO, VIDEO, DATA = text.parse(load(VECTORS / "chromium" / "publish.1.offer.sdp").sdp).sections
SIMULCAST = text.parse(load(VECTORS / "chromium" / "simulcast.1.offer.sdp").sdp).sections[1]
FIREFOX = text.parse(load(VECTORS / "firefox" / "publish.1.offer.sdp").sdp)
TEMPLATES = [AUDIO, VIDEO, DATA, SIMULCAST, *FIREFOX.sections]
SESSION = text.parse(load(VECTORS / "chromium" / "publish.1.offer.sdp").sdp).session

directions = st.sampled_from(list(Direction))
kinds = st.sampled_from(list(Kind))


class ModelEngine:
    """What an engine holds that does as the deltas say."""

    def __init__(self) -> None:
        self.recv: dict[Mid, RecvSpec] = {}
        self.send: dict[Mid, SendSpec] = {}
        self.remote: RemoteTransport | None = None
        self.data: DataSpec | None = None

    def apply(self, delta: Delta) -> None:
        # The order is that in which the engine carries a delta out.
        self.remote = delta.remote or self.remote
        for mid, flow in delta.ended:
            # Nothing ends that was not there.
            (self.recv if flow is Flow.RECV else self.send).pop(mid)  # type: ignore[attr-defined]
        self.recv |= {spec.mid: spec for spec in delta.recv}
        self.send |= {spec.mid: spec for spec in delta.send}
        self.data = delta.data or self.data

    def agrees(self, sections: tuple[MLine, ...]) -> None:
        live = [line for line in sections if not line.stopped]
        assert self.recv == {line.mid: line.recv for line in live if line.recv is not None}
        assert self.send == {line.mid: line.send for line in live if line.send is not None}


class Watched:
    """A negotiator whose every call is checked: it succeeds, or it raises NegotiationError and nothing has changed."""

    def __init__(self, seed: int, caps: Caps | None = None) -> None:
        self.it = Negotiator(caps or Caps(), transport(), random=Random(seed))
        self.engine = ModelEngine()
        self.version = 0
        self.minted: set[Mid] = set()
        self.ssrcs: dict[int, Mid] = {}
        self.generation = 0

    def call(self, operation: Callable[[], Delta | object]) -> Delta | None:
        """Do it, keep the engine in step. Returns the delta, None if it was refused."""
        before = (self.it.state, self.it.sections)
        try:
            result = operation()
        except NegotiationError as error:
            assert (self.it.state, self.it.sections) == before
            assert "a=" not in str(error)
            return None
        if isinstance(result, Delta):
            self.engine.apply(result)
            if result.sdp is not None:
                self.check_text(result.sdp)
        return result if isinstance(result, Delta) else Delta()

    def check_text(self, sdp: str) -> None:
        description = text.parse(sdp)
        assert text.write(description) == sdp
        assert int(description.session.version) > self.version
        self.version = int(description.session.version)
        assert all(not s.other for s in description.sections)
        mids = [s.mid for s in description.sections if not s.is_stopped]
        assert len(set(mids)) == len(mids)
        meanings: dict[int, str] = {}
        for part in description.sections:
            for codec in part.codecs:
                assert meanings.setdefault(codec.pt, codec.name) == codec.name

    def restart(self) -> None:
        self.generation += 1
        self.it.restart_ice(transport(self.generation))

    def check(self) -> None:
        if self.it.state in (SignalingState.STABLE, SignalingState.HAVE_REMOTE_OFFER):
            self.engine.agrees(self.it.sections)
        for line in self.it.sections:
            assert not (line.stopped and (line.recv or line.send))
            if line.send is not None:
                assert line.direction.sends
                assert line.send.codecs
                assert self.ssrcs.setdefault(line.send.ssrc, line.mid) == line.mid
            if line.recv is not None:
                assert line.direction.receives
                assert line.recv.codecs
        assert [line.index for line in self.it.sections] == list(range(len(self.it.sections)))


@st.composite
def plans(draw: st.DrawFn, mids: tuple[tuple[Mid, Kind], ...], may_append: bool) -> list[MLinePlan]:
    """Mostly sensible plans for these sections, now and then a wrong one."""
    items = []
    for mid, kind in draw(st.lists(st.sampled_from(mids), max_size=4, unique=True)) if mids else []:
        items.append(draw(items_for(mid, kind if draw(st.integers(0, 19)) else draw(kinds))))
    if may_append or not draw(st.integers(0, 9)):
        items.extend(draw(st.lists(kinds.flatmap(lambda kind: items_for(None, kind)), max_size=3)))
    return items


def items_for(mid: Mid | None, kind: Kind) -> st.SearchStrategy[MLinePlan]:
    prefs: list[CodecPref] = [OPUS, RED] if kind is Kind.AUDIO else [VP8, VP9, H264]
    return st.builds(
        MLinePlan,
        mid=st.just(mid),
        kind=st.just(kind),
        direction=directions,
        codecs=st.lists(st.sampled_from(prefs), max_size=2, unique=True).map(tuple),
        msid=st.sampled_from([None, *[Msid("PA_a|TR_b", "TR_b")] * 20, Msid("-", "t"), Msid("PA c", "x")]),
        cname=st.sampled_from([None, "kitchen"]),
        max_bps=st.sampled_from([None, 500_000]),
        reject=st.integers(0, 9).map(lambda n: n == 0),
    )


class AgainstAnyPeer(RuleBasedStateMachine):
    """The peer keeps a list of sections and does to it what peers do, and what they must not."""

    @initialize(
        seed=st.integers(0, 5),
        rich=st.booleans(),
        begin_with=st.lists(st.tuples(st.sampled_from(TEMPLATES), directions), max_size=5),
    )
    def begin(self, seed: int, rich: bool, begin_with: list[tuple[Section, Direction]]) -> None:
        caps = Caps() if rich else Caps(codecs=(OPUS, RED, VP8), max_message_size=None, ssrc_lines=False)
        self.watched = Watched(seed, caps)
        self.sections: list[Section] = []
        self.count = 0
        self.ufrag = "peer"
        self.fingerprint = "sha-256 " + ":".join(["C3"] * 32)
        self.local: Description | None = None
        for template, direction in begin_with:
            self.add(template, direction, recycle=False)

    def known(self) -> tuple[tuple[Mid, Kind], ...]:
        return tuple((line.mid, line.kind) for line in self.watched.it.sections if not line.stopped)

    def describe(self, sections: list[Section], setup: Setup) -> str:
        dressed = [
            replace(s, ufrag=self.ufrag, pwd=self.ufrag * 6, fingerprints=(self.fingerprint,), setup=setup)
            for s in sections
        ]
        live = [s.mid for s in sections if s.mid is not None and not s.is_stopped]
        return text.write(Description(replace(SESSION, groups=(("BUNDLE", *live),)), tuple(dressed)))

    # What the peer does to its own sections.

    @rule(template=st.sampled_from(TEMPLATES), direction=directions, recycle=st.booleans())
    def add_section(self, template: Section, direction: Direction, recycle: bool) -> None:
        self.add(template, direction, recycle)

    def add(self, template: Section, direction: Direction, recycle: bool) -> None:
        self.count += 1
        new = replace(template, mid=f"p{self.count}", port=9, bundle_only=False, direction=direction)
        free = next((i for i, s in enumerate(self.sections) if s.is_stopped and s.media == new.media), None)
        if recycle and free is not None:
            self.sections[free] = new
        elif len(self.sections) < 12:
            self.sections.append(new)

    @precondition(lambda self: self.sections)
    @rule(data=st.data(), direction=directions)
    def turn(self, data: st.DataObject, direction: Direction) -> None:
        at = data.draw(st.integers(0, len(self.sections) - 1))
        if self.sections[at].media != "application":
            self.sections[at] = replace(self.sections[at], direction=direction)

    @precondition(lambda self: self.sections)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        at = data.draw(st.integers(0, len(self.sections) - 1))
        self.sections[at] = replace(self.sections[at], port=0, bundle_only=False)

    @rule()
    def restart_peer(self) -> None:
        self.ufrag = f"peer{self.count}"
        self.count += 1

    @precondition(lambda self: self.sections and self.state() is SignalingState.STABLE)
    @rule(data=st.data(), how=st.sampled_from(["lose", "rename", "twice", "swap", "no codecs", "no mux"]))
    def break_rules(self, data: st.DataObject, how: str) -> None:
        at = data.draw(st.integers(0, len(self.sections) - 1))
        broken = list(self.sections)
        match how:
            case "lose":
                broken.pop(at)
            case "rename":
                broken[at] = replace(broken[at], mid="other")
            case "twice":
                broken.append(broken[at])
            case "swap":
                broken.reverse()
            case "no codecs":
                broken[at] = replace(broken[at], codecs=())
            case "no mux":
                broken[at] = replace(broken[at], rtcp_mux=False)
        sdp = self.describe(broken, Setup.ACTPASS)
        if self.watched.call(lambda: self.watched.it.on_offer(sdp)) is not None:
            self.watched.call(self.watched.it.rollback)

    # What passes between the two.

    def state(self) -> SignalingState:
        return self.watched.it.state

    @precondition(lambda self: self.state() is SignalingState.STABLE)
    @rule(data=st.data(), restart=st.booleans())
    def peer_offers_and_we_answer(self, data: st.DataObject, restart: bool) -> None:
        if self.peer_offers():
            self.we_answer(data, restart)

    @precondition(lambda self: self.state() is SignalingState.STABLE)
    @rule(data=st.data(), restart=st.booleans())
    def we_offer_and_peer_answers(self, data: st.DataObject, restart: bool) -> None:
        if self.we_offer(data, restart):
            self.peer_answers(data)

    @precondition(lambda self: self.state() is SignalingState.STABLE)
    @rule()
    def only_the_peer_offers(self) -> None:
        self.peer_offers()

    @precondition(lambda self: self.state() is SignalingState.STABLE)
    @rule(data=st.data())
    def only_we_offer(self, data: st.DataObject) -> None:
        self.we_offer(data, restart=False)

    @precondition(lambda self: self.state() is not SignalingState.STABLE)
    @rule(data=st.data(), how=st.sampled_from(["complete", "complete", "roll back"]))
    def come_to_an_end(self, data: st.DataObject, how: str) -> None:
        if how == "roll back":
            self.watched.call(self.watched.it.rollback)
        elif self.state() is SignalingState.HAVE_REMOTE_OFFER:
            self.we_answer(data, restart=True)
        else:
            self.peer_answers(data)

    @rule(data=st.data(), what=st.sampled_from(["offer", "answer", "take an offer", "take an answer", "roll back"]))
    def do_anything_at_any_time(self, data: st.DataObject, what: str) -> None:
        if self.state() is SignalingState.STABLE and what in ("offer", "take an offer"):
            return
        match what:
            case "offer":
                assert not self.we_offer(data, restart=False)
            case "answer":
                self.we_answer(data, restart=False)
            case "take an offer":
                assert not self.peer_offers()
            case "take an answer":
                nonsense = self.describe(self.sections[:1], Setup.ACTIVE)
                if self.watched.call(lambda: self.watched.it.on_answer(nonsense)) is not None:
                    self.sections = self.sections[:1]
            case "roll back":
                self.watched.call(self.watched.it.rollback)

    def peer_offers(self) -> bool:
        sdp = self.describe(self.sections, Setup.ACTPASS)
        return self.watched.call(lambda: self.watched.it.on_offer(sdp)) is not None

    def we_answer(self, data: st.DataObject, restart: bool) -> None:
        pending = tuple(
            (Mid(s.mid), Kind.DATA if s.media == "application" else Kind(s.media)) for s in self.sections if s.mid
        )
        plan = data.draw(plans(pending, may_append=False))
        if restart:
            self.watched.restart()
        delta = self.watched.call(lambda: self.watched.it.answer(plan))
        if delta is None or delta.sdp is None:
            return
        assert delta.mids == tuple(item.mid for item in plan)
        for index, answered in enumerate(text.parse(delta.sdp).sections):
            if answered.is_stopped:
                self.sections[index] = replace(self.sections[index], port=0, bundle_only=False)

    def we_offer(self, data: st.DataObject, restart: bool) -> bool:
        plan = data.draw(plans(self.known(), may_append=True))
        if restart:
            self.watched.restart()
        old = {mid for mid, _ in self.known()}
        delta = self.watched.call(lambda: self.watched.it.offer(plan))
        if delta is None or delta.sdp is None:
            return False
        self.local = text.parse(delta.sdp)
        assert len(delta.mids) == len(plan)
        for item, mid in zip(plan, delta.mids, strict=True):
            if item.mid is None and not (item.kind is Kind.DATA and mid in old):
                assert mid not in self.watched.minted
                self.watched.minted.add(mid)
        return True

    def peer_answers(self, data: st.DataObject) -> None:
        assert self.local is not None
        answer = []
        for offered in self.local.sections:
            how = data.draw(st.integers(0, 9))
            direction = data.draw(directions) & offered.direction.reverse
            codecs = offered.codecs[: data.draw(st.integers(1, 6))] if how > 1 else offered.codecs
            answer.append(
                replace(
                    offered,
                    port=0 if offered.is_stopped or how == 0 else 9,
                    direction=direction if offered.media != "application" else Direction.SENDRECV,
                    codecs=codecs,
                    formats=tuple(str(c.pt) for c in codecs) or offered.formats,
                    ssrcs=(),
                    ssrc_groups=(),
                    msids=(),
                )
            )
        setup = Setup.PASSIVE if data.draw(st.integers(0, 9)) == 0 else Setup.ACTIVE
        sdp = self.describe(answer, setup)
        if self.watched.call(lambda: self.watched.it.on_answer(sdp)) is not None:
            self.sections = answer

    @invariant()
    def in_step(self) -> None:
        self.watched.check()


class AgainstEachOther(RuleBasedStateMachine):
    """Two negotiators; the second plays the client, so its answers say that it opens the handshake."""

    @initialize(seed=st.integers(0, 5))
    def begin(self, seed: int) -> None:
        self.sides = (Watched(seed), Watched(seed + 100))

    def known(self, side: Watched) -> tuple[tuple[Mid, Kind], ...]:
        return tuple((line.mid, line.kind) for line in side.it.sections if not line.stopped)

    @rule(data=st.data(), who=st.integers(0, 1), restart=st.booleans(), ending=st.sampled_from(["answer", "rollback"]))
    def exchange(self, data: st.DataObject, who: int, restart: bool, ending: str) -> None:
        offerer, answerer = self.sides[who], self.sides[1 - who]
        if restart:
            offerer.restart()
        plan = data.draw(plans(self.known(offerer), may_append=True))
        made = offerer.call(lambda: offerer.it.offer(plan))
        if made is None or made.sdp is None:
            return
        offer = made.sdp
        assert answerer.call(lambda: answerer.it.on_offer(offer)) is not None
        if ending == "rollback":
            assert offerer.call(offerer.it.rollback) is not None
            assert answerer.call(answerer.it.rollback) is not None
            return
        answerer.restart()
        counter = data.draw(plans(self.known(answerer), may_append=False))
        answered = answerer.call(lambda: answerer.it.answer(counter))
        if answered is None or answered.sdp is None:
            answered = answerer.call(lambda: answerer.it.answer(()))
        assert answered is not None
        assert answered.sdp is not None
        answer = answered.sdp.replace("a=setup:passive", "a=setup:active")
        assert offerer.call(lambda: offerer.it.on_answer(answer)) is not None

    @invariant()
    def both_sides_agree(self) -> None:
        here, there = self.sides
        here.check()
        there.check()
        assert len(here.it.sections) == len(there.it.sections)
        for one, other in zip(here.it.sections, there.it.sections, strict=True):
            assert one.stopped is other.stopped
            if one.stopped:
                continue
            assert (one.mid, one.kind) == (other.mid, other.kind)
            if one.kind is Kind.DATA:
                continue
            assert one.direction is other.direction.reverse
            for send, recv in ((one.send, other.recv), (other.send, one.recv)):
                assert (send is None) is (recv is None)
                if send is not None and recv is not None:
                    assert {c.pt: c.name for c in send.codecs} == {c.pt: c.name for c in recv.codecs}
                    assert send.ssrc in recv.ssrcs


TestAgainstAnyPeer = AgainstAnyPeer.TestCase
TestAgainstAnyPeer.settings = settings(max_examples=50, stateful_step_count=30, deadline=None)
TestAgainstEachOther = AgainstEachOther.TestCase
TestAgainstEachOther.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
