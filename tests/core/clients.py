"""A client's side of negotiation: the negotiator again, with the roles exchanged. No media, no sockets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random

from parley.core.model import Subscription, Track
from parley.core.style import ChannelStyle, Choose, PeerStyle, Take
from parley.engine.specs import Kind, Mid, TransportParams
from parley.ids import TrackId, to_hex
from parley.negotiation import Caps, CodecPref, Delta, Direction, MLinePlan, Msid, Negotiator, RemoteView
from parley.negotiation.codecs import OPUS, VP8

RELIABLE, LOSSY = ChannelStyle(label="reliable"), ChannelStyle(label="lossy", ordered=False, max_retransmits=0)


def msid(subscription: Subscription, track: Track) -> Msid:
    return Msid(to_hex(subscription.publisher), to_hex(track.id))


def cname(subscription: Subscription, track: Track) -> str:
    return to_hex(subscription.publisher)


def publishing(**given: object) -> PeerStyle:
    """A peer on which its client offers, and sends."""
    return PeerStyle(caps=Caps(), msid=msid, cname=cname, **given)  # type: ignore[arg-type]


def receiving(caps: Caps | None = None, **given: object) -> PeerStyle:
    """A peer on which the server offers, and sends; the primary one."""
    style: dict[str, object] = {"primary": True, "receives": True, "offers": True, "channels": (RELIABLE, LOSSY)}
    return PeerStyle(caps=caps or Caps(), msid=msid, cname=cname, **{**style, **given})  # type: ignore[arg-type]


def take(tracks: Mapping[str, TrackId]) -> Choose:
    """A `choose` that binds sections by the track id of their msid."""

    def choose(view: RemoteView) -> Mapping[Mid, Take]:
        return {
            section.mid: Take(tracks[section.msid.track])
            for section in view.sections
            if section.msid is not None and section.msid.track in tracks
        }

    return choose


class Client:
    """One peer connection of a client."""

    def __init__(self, seed: int = 1) -> None:
        self._transport = TransportParams(
            ufrag=f"c{seed:03}",
            pwd=f"client{seed:020}",
            fingerprint="sha-256 " + ":".join(["CD"] * 32),
            candidates=(),
            lite=False,
        )
        self.negotiator = Negotiator(Caps(), self._transport, random=Random(seed))
        self.mids: dict[str, Mid] = {}
        """By the name each track was sent under."""
        self.rids: dict[str, Sequence[str]] = {}
        """The simulcast layers of those that have any, by the same name; to be set before the first offer."""
        self.received: Delta | None = None

    def restart_ice(self) -> None:
        """Use fresh credentials from the next offer on."""
        self._transport = replace(self._transport, ufrag=self._transport.ufrag + "r")
        self.negotiator.restart_ice(self._transport)

    # On a peer where the client offers.

    def offer(self, **send: CodecPref | None) -> str:
        """Offer what is sent until now, changed by this: `offer(mic=OPUS, cam=VP8)`, and `mic=None` to stop."""
        plan = []
        names = []
        for name, codec in send.items():
            if codec is None:
                mid = self.mids.pop(name)
                kind = next(line.kind for line in self.negotiator.sections if line.mid == mid)
                plan.append(MLinePlan(mid, kind, Direction.INACTIVE))
                names.append(None)
            else:
                kind = Kind.AUDIO if codec.name == "opus" else Kind.VIDEO
                known = self.mids.get(name)
                plan.append(MLinePlan(known, kind, Direction.SENDONLY, codecs=(codec,), msid=Msid("s", name)))
                names.append(name)
        if not self.negotiator.sections:
            plan.append(MLinePlan(None, Kind.DATA))
            names.append(None)
        delta = self.negotiator.offer(plan)
        for name, mid in zip(names, delta.mids, strict=True):
            if name is not None:
                self.mids[name] = mid
        assert delta.sdp is not None
        return self._with_layers(delta.sdp)

    def _with_layers(self, sdp: str) -> str:
        head, *sections = re.split(r"(?m)^(?=m=)", sdp)
        for name, rids in self.rids.items():
            if name in self.mids:
                index = next(i for i, one in enumerate(sections) if f"a=mid:{self.mids[name]}\r\n" in one)
                sections[index] += "".join(f"a=rid:{rid} send\r\n" for rid in rids)
                sections[index] += f"a=simulcast:send {';'.join(rids)}\r\n"
        return head + "".join(sections)

    def take_answer(self, sdp: str) -> None:
        # Both sides are negotiators of a DTLS server here; between them, one has to be taken for the other.
        self.negotiator.on_answer(sdp.replace("a=setup:passive", "a=setup:active"))

    # On a peer where the server offers.

    def answer(self, sdp: str, refuse: tuple[str, ...] = ()) -> str:
        """Answer an offer of the server's, taking all but the sections named in `refuse`."""
        view = self.negotiator.on_offer(sdp)
        plan = [MLinePlan(one.mid, one.kind, Direction.RECVONLY, reject=one.mid in refuse) for one in view.sections]
        self.received = self.negotiator.answer(plan)
        assert self.received.sdp is not None
        return self.received.sdp.replace("a=setup:passive", "a=setup:active")

    @property
    def receives(self) -> dict[Mid, Direction]:
        """The direction of each media section as the client sees it."""
        return {line.mid: line.direction for line in self.negotiator.sections if line.kind is not Kind.DATA}


__all__ = ["LOSSY", "OPUS", "RELIABLE", "VP8", "Client", "publishing", "receiving", "take"]
