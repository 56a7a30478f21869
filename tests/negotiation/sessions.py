"""Conversations that are held with every client when capturing, and replayed from the captures when testing.

A session is a list of steps. In each, either the client does something and offers, and the server answers with a plan;
or the server offers a plan, and the client answers. The negotiator is seeded, so a replay meets the same mids, payload
types and SSRCs as the capture did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from parley.engine.specs import Kind, Mid, TransportParams
from parley.negotiation import Caps, Direction, MLinePlan, Msid, Negotiator, RemoteView
from parley.negotiation.codecs import VP8, VP9

Plan = Callable[[Negotiator, RemoteView | None], Sequence[MLinePlan]]

VECTORS = Path(__file__).parent.parent / "vectors" / "sdp"


def transport(generation: int = 0) -> TransportParams:
    """What an engine might say; credentials differ by generation, the certificate does not."""
    return TransportParams(
        ufrag=f"srv{generation}",
        pwd=f"serverpasswordnumber{generation:04d}",
        fingerprint="sha-256 " + ":".join(["5A"] * 32),
        candidates=("candidate:1 1 udp 2130706431 127.0.0.1 7882 typ host",),
    )


def negotiator(caps: Caps | None = None, seed: int = 1) -> Negotiator:
    return Negotiator(caps or Caps(), transport(), random=Random(seed))


def _nothing(_: Negotiator, __: RemoteView | None) -> Sequence[MLinePlan]:
    return ()


def _planned(*items: MLinePlan) -> Plan:
    return lambda _, __: items


def _msid(who: str, track: str) -> Msid:
    return Msid(f"PA_{who}|TR_{track}", f"TR_{track}")


def _send(kind: Kind, who: str, track: str, mid: str | None = None) -> MLinePlan:
    return MLinePlan(Mid(mid) if mid else None, kind, Direction.SENDONLY, msid=_msid(who, track))


def _send_on_free(_: Negotiator, view: RemoteView | None) -> Sequence[MLinePlan]:
    """Send one audio and one video where the client only wants to receive."""
    assert view is not None
    plan = []
    for kind in (Kind.AUDIO, Kind.VIDEO):
        free = next(s for s in view.sections if s.kind is kind and s.direction is Direction.RECVONLY)
        plan.append(_send(kind, "ada", f"{kind.value}1", free.mid))
    return plan


@dataclass(frozen=True)
class Step:
    """client: what the client does before it offers, in words that `capture` knows; None: the server offers."""

    client: tuple[str, ...] | None
    plan: Plan = _nothing
    restart: bool = False
    """Whether the server makes fresh ICE credentials for its description."""


SESSIONS: dict[str, tuple[Step, ...]] = {
    "publish": (
        Step(("microphone", "camera", "data")),
        Step(("camera",)),
        Step(("stop video",)),
        Step(("camera",)),
        Step(("restart ice",), restart=True),
    ),
    "simulcast": (Step(("microphone", "simulcast camera")),),
    "audio-only": (Step(("microphone",)),),
    "pause": (Step(("microphone", "camera")), Step(("pause video",)), Step(("resume video",))),
    "subscribe": (
        Step(None, _planned(MLinePlan(None, Kind.DATA))),
        Step(None, _planned(_send(Kind.AUDIO, "ada", "audio1"), _send(Kind.VIDEO, "ada", "video1"))),
        Step(None, _planned(MLinePlan(Mid("2"), Kind.VIDEO))),
        Step(
            None,
            _planned(
                MLinePlan(
                    Mid("2"),
                    Kind.VIDEO,
                    Direction.SENDONLY,
                    codecs=(VP9, VP8),
                    msid=_msid("bob", "video2"),
                    cname="bob",
                )
            ),
        ),
        Step(None, _planned(MLinePlan(Mid("2"), Kind.VIDEO, reject=True))),
        Step(None, _planned(_send(Kind.VIDEO, "bob", "video3"))),
        Step(None, restart=True),
    ),
    "single-pc": (
        Step(("receive audio", "receive audio", "receive video", "receive video", "data"), _send_on_free),
        Step(("microphone", "camera")),
        Step(()),
    ),
    "two-way": (
        Step(("microphone", "camera", "data")),
        Step(None, _planned(_send(Kind.AUDIO, "ada", "audio1"), _send(Kind.VIDEO, "ada", "video1"))),
        Step(()),
        Step(None, _planned(MLinePlan(Mid("3"), Kind.AUDIO, reject=True))),
        Step(()),
    ),
    "receive": (
        Step(
            None,
            _planned(
                MLinePlan(None, Kind.AUDIO, Direction.RECVONLY),
                MLinePlan(None, Kind.VIDEO, Direction.RECVONLY, max_bps=1_500_000),
            ),
        ),
    ),
}


@dataclass(frozen=True)
class Golden:
    """One captured description, with its origin."""

    path: Path
    client: str
    type: str
    """`offer` or `answer`."""
    sdp: str

    @property
    def id(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"


def save(path: Path, client: str, kind: str, what: str, sdp: str) -> None:
    """Keep a description: a few `#` lines with its origin, an empty line, then the text with LF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f"# client: {client}\n# type: {kind}\n# how: {what}\n\n"
    path.write_text(head + sdp.replace("\r\n", "\n"), newline="\n")


def load(path: Path) -> Golden:
    head, _, sdp = path.read_text().partition("\n\n")
    fields = dict(line.removeprefix("# ").split(": ", 1) for line in head.splitlines())
    return Golden(path, fields["client"], fields["type"], sdp.replace("\n", "\r\n"))


def goldens(kind: str | None = None) -> list[Golden]:
    """Every description in the corpus, or those of one type."""
    every = [load(path) for path in sorted(VECTORS.glob("*/*.sdp"))]
    return [golden for golden in every if kind in (None, golden.type)]


def captured() -> list[tuple[str, str]]:
    """Every (client, session) that has been captured."""
    found = {
        (path.parent.name, path.name.rsplit(".", 3)[0])
        for path in sorted(VECTORS.glob("*/*.sdp"))
        if path.parent.name != "made"
    }
    return sorted((client, session) for client, session in found if session in SESSIONS)
