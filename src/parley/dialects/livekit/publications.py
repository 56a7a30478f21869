"""What one client has announced, and which section of its offer carries which of it.

A client announces a track (`add_track`) and offers a section for it in either order. Nothing here
waits or sends: `announce` judges a request, `match` compares an offer with what was announced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import chain

from livekit.protocol.models import TrackSource, TrackType
from livekit.protocol.rtc import AddTrackRequest, RequestResponse

from parley.engine.specs import Kind, Mid
from parley.ids import TrackId

MAX_PENDING = 20
"""Announced tracks without media that a client may have at once."""
MAX_QUEUED = 3
"""Announcements that may wait for an earlier track of the same device to end."""

KINDS = {TrackType.AUDIO: Kind.AUDIO, TrackType.VIDEO: Kind.VIDEO}


@dataclass(eq=False, slots=True)
class Publication:
    """One announced track, from its announcement to its end."""

    request: AddTrackRequest
    kind: Kind
    track: TrackId | None = None
    """Set once core has taken it."""
    mid: Mid | None = None
    """The section that carries it; None while it is pending."""
    sdp_cid: str = ""
    """The id it has in the description, where that is not the announced one."""
    queue: list[AddTrackRequest] = field(default_factory=list)
    """Announcements of the same device that wait for this one to end."""

    @property
    def cid(self) -> str:
        return self.request.cid

    def goes_by(self, cid: str) -> bool:
        """Whether the client means this track when it says `cid`."""
        return cid in (self.cid, self.sdp_cid) or any(codec.cid == cid for codec in self.request.simulcast_codecs)


@dataclass(frozen=True, slots=True)
class Sending:
    """A section of an offer on which the client sends, or wants to."""

    mid: Mid
    kind: Kind
    cid: str
    """The track id of `a=msid`; empty where the section names none."""


class Verdict(Enum):
    """What becomes of an announcement."""

    ACCEPTED = "accepted"
    QUEUED = "queued"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Announced:
    """The answer to an announcement: a publication, or the reason there is none yet or none at all."""

    verdict: Verdict
    publication: Publication | None = None
    reason: RequestResponse.Reason = RequestResponse.OK
    message: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """A section and the publication whose it is."""

    publication: Publication
    section: Sending


@dataclass(frozen=True, slots=True)
class Matching:
    """An offer compared with what was announced; nothing is remembered of it before `Publications.accept`."""

    bound: tuple[Match, ...]
    """Sections that carry something new."""
    carrying: Mapping[Mid, Publication]
    """What every section carries, those of earlier offers included."""
    unclaimed: tuple[Sending, ...]
    """Sections that nobody has announced yet."""


class Publications:
    """All announcements of one client."""

    def __init__(self) -> None:
        self._all: list[Publication] = []
        self._unclaimed: tuple[Sending, ...] = ()

    @property
    def pending(self) -> tuple[Publication, ...]:
        return tuple(publication for publication in self._all if publication.mid is None)

    def by_track(self, track: TrackId) -> Publication | None:
        return next((publication for publication in self._all if publication.track == track), None)

    def announce(
        self,
        request: AddTrackRequest,
        may_send: Callable[[TrackSource], bool],
        is_published: Callable[[str], bool] = lambda sid: False,
    ) -> Announced:
        """Judge an announcement, in the order of LiveKit's server, and remember what was accepted.

        may_send: whether the grant covers a source. is_published: whether a SID is a track of this client.
        """
        reasons = RequestResponse
        if not may_send(request.source):
            return _refused(reasons.NOT_ALLOWED, "does not have permission to publish this source")
        kind = KINDS.get(request.type)
        if kind is None:
            return _refused(reasons.UNSUPPORTED_TYPE, "only audio and video tracks can be published")
        if request.sid:
            if not is_published(request.sid):
                return _refused(reasons.NOT_FOUND, "there is no such track")
            return _refused(reasons.UNCLASSIFIED_ERROR, "a second codec for one track is not supported")
        if len(self.pending) >= MAX_PENDING:
            return _refused(reasons.LIMIT_EXCEEDED, f"{MAX_PENDING} tracks are pending already")
        holder = next((other for other in self._all if other.goes_by(request.cid)), None)
        if holder is not None:
            if len(holder.queue) >= MAX_QUEUED:
                return _refused(reasons.LIMIT_EXCEEDED, f"{MAX_QUEUED} tracks of this device are queued already")
            holder.queue.append(request)
            return Announced(Verdict.QUEUED, reason=reasons.QUEUED, message="the track is published once it is free")
        publication = Publication(request, kind)
        self._all.append(publication)
        return Announced(Verdict.ACCEPTED, publication)

    def withdraw(self, publication: Publication) -> tuple[AddTrackRequest, ...]:
        """Forget a publication that has ended; what comes back waited for it and is to be announced again."""
        if publication in self._all:
            self._all.remove(publication)
        return tuple(publication.queue)

    def match(self, sections: Sequence[Sending]) -> Matching:
        """Compare what an offer sends with what was announced.

        sections: every section of the offer on which the client sends, in order.
        """
        pending = list(self.pending)
        carried = {publication.mid: publication for publication in self._all if publication.mid is not None}
        carrying: dict[Mid, Publication] = {}
        bound, unclaimed = [], []
        for section in sections:
            earlier = carried.get(section.mid)
            if earlier is not None and not _is_superseded(earlier, section, pending):
                carrying[section.mid] = earlier
                continue
            publication = _claimant(section, pending)
            if publication is None:
                unclaimed.append(section)
            else:
                pending.remove(publication)
                bound.append(Match(publication, section))
                carrying[section.mid] = publication
        return Matching(tuple(bound), carrying, tuple(unclaimed))

    def accept(self, matching: Matching) -> None:
        """Remember an offer that has been answered."""
        self._unclaimed = matching.unclaimed
        for match in matching.bound:
            self.bind(match)

    def claims(self) -> Matching:
        """Compare sections that were offered before their announcement with what has been announced since."""
        return self.match(self._unclaimed)

    def bind(self, match: Match) -> None:
        """Remember that a section carries a publication."""
        match.publication.mid = match.section.mid
        if match.section.cid and match.section.cid != match.publication.cid:
            match.publication.sdp_cid = match.section.cid


def _is_superseded(earlier: Publication, section: Sending, pending: Sequence[Publication]) -> bool:
    """Whether a section that carried one publication now carries another.

    An id that nobody announced is a replaced device track, which is no business of ours.
    """
    return not earlier.goes_by(section.cid) and any(other.goes_by(section.cid) for other in pending)


def _claimant(section: Sending, pending: Sequence[Publication]) -> Publication | None:
    """The pending publication a section belongs to: by its id, else the first of its kind.

    Some browsers write another id into the description than the one they announced.
    """
    same_kind = [publication for publication in pending if publication.kind is section.kind]
    named = (publication for publication in same_kind if section.cid and publication.goes_by(section.cid))
    return next(chain(named, same_kind), None)


def _refused(reason: RequestResponse.Reason, message: str) -> Announced:
    return Announced(Verdict.REFUSED, reason=reason, message=message)
