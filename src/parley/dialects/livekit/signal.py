"""The signalling conversation with one client, as a machine without I/O.

Frames go in, and what the client wants comes out as an intent, or an answer that needs nobody's help.
What the conversation remembers: whether the client speaks text or binary, how its offers and ours are
numbered, and which version of every participant it was last told.

Source: LiveKit protocol, `livekit_rtc.proto`; LiveKit documentation, "Client protocol".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from random import Random

from livekit.protocol.rtc import (
    AddTrackRequest,
    Pong,
    RequestResponse,
    SessionDescription,
    SignalRequest,
    SignalResponse,
    SignalTarget,
    SubscriptionPermission,
    UpdateLocalAudioTrack,
    UpdateLocalVideoTrack,
    UpdateParticipantMetadata,
    UpdateTrackSettings,
)

from parley.core.model import LeaveReason, Participant
from parley.dialects.livekit import wire
from parley.dialects.livekit.frames import Frame, read_request, write_response
from parley.ids import ParticipantId, TrackId

OK_PROTOCOL = 15
"""From this protocol on a client is told that a request succeeded."""
MAX_NAMED_TRACKS = 16_384
"""SIDs remembered for one client, whether they came from us or were made up by it."""


# What a client may want. Each intent keeps the request it came from, for an answer that repeats it.


@dataclass(frozen=True, slots=True)
class Intent:
    request: SignalRequest = field(repr=False)


@dataclass(frozen=True, slots=True)
class TakeOffer(Intent):
    """Answer the offer of the client's own peer connection; the answer carries its id."""

    sdp: str = field(repr=False)
    id: int


@dataclass(frozen=True, slots=True)
class TakeAnswer(Intent):
    """The answer to the outstanding offer."""

    sdp: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class AddCandidate(Intent):
    target: SignalTarget
    candidate: str
    """From `candidate:` on; never empty."""


@dataclass(frozen=True, slots=True)
class Announce(Intent):
    track: AddTrackRequest


@dataclass(frozen=True, slots=True)
class Mute(Intent):
    sid: str
    track: TrackId | None
    """None: the SID is no track's, whoever's."""
    muted: bool


@dataclass(frozen=True, slots=True)
class Subscribe(Intent):
    tracks: Mapping[str, TrackId | None]
    """By SID; None where the SID is no track's."""
    wanted: bool


@dataclass(frozen=True, slots=True)
class Show(Intent):
    tracks: tuple[TrackId, ...]
    settings: UpdateTrackSettings


@dataclass(frozen=True, slots=True)
class Leave(Intent):
    reason: LeaveReason


@dataclass(frozen=True, slots=True)
class Permit(Intent):
    permission: SubscriptionPermission


@dataclass(frozen=True, slots=True)
class UpdateSelf(Intent):
    update: UpdateParticipantMetadata


@dataclass(frozen=True, slots=True)
class UpdateAudio(Intent):
    track: TrackId | None
    update: UpdateLocalAudioTrack


@dataclass(frozen=True, slots=True)
class UpdateVideo(Intent):
    track: TrackId | None
    update: UpdateLocalVideoTrack


@dataclass(frozen=True, slots=True)
class Heard:
    """What a frame means: answers that can go out at once, and at most one intent."""

    answers: tuple[SignalResponse, ...] = ()
    intent: Intent | None = None


_UNSUPPORTED: Mapping[str, tuple[RequestResponse.Reason, str]] = {
    "publish_data_track_request": (RequestResponse.NOT_ALLOWED, "data tracks are not supported"),
    "unpublish_data_track_request": (RequestResponse.NOT_FOUND, "there is no such data track"),
    "store_data_blob_request": (RequestResponse.NOT_ALLOWED, "data blob not enabled"),
    "get_data_blob_request": (RequestResponse.NOT_FOUND, "there is no such data blob"),
}
"""Requests that are refused whatever they say. Those in neither list nor `_read` are ignored."""


class Conversation:
    """One client's signalling, from its `join` to its end."""

    def __init__(self, protocol: int, random: Random) -> None:
        """protocol: the version the client speaks."""
        self.protocol = protocol
        self._speaks_text = False
        # Clients only ever compare ids; a random first one shows where one relies on counting from 1.
        self._offer_id = random.randint(1, 256)
        self._outstanding: int | None = None
        self._versions: dict[ParticipantId, int] = {}
        self._track_sids: dict[TrackId, str] = {}

    @property
    def speaks_text(self) -> bool:
        """Whether the client last used a text frame itself, and so is sent them."""
        return self._speaks_text

    def write(self, response: SignalResponse) -> Frame:
        """The frame for a message, of the kind the client last used itself."""
        return write_response(response, as_text=self._speaks_text)

    def read(self, frame: Frame, now_ms: int) -> Heard:
        """Understand a frame. Raises BadFrame, after which the conversation is over.

        now_ms: wall clock in milliseconds, for pings.
        """
        request = read_request(frame)
        self._speaks_text = isinstance(frame, str)
        variant = request.WhichOneof("message")
        if variant is None:
            return Heard()
        if variant == "ping":
            return Heard((SignalResponse(pong=now_ms),))
        if variant == "ping_req":
            pong = Pong(last_ping_timestamp=request.ping_req.timestamp, timestamp=now_ms)
            return Heard((SignalResponse(pong_resp=pong),))
        if variant in _UNSUPPORTED:
            reason, message = _UNSUPPORTED[variant]
            return self.refuse(request, reason, message)
        return self._read(variant, request)

    def _read(self, variant: str, request: SignalRequest) -> Heard:
        match variant:
            case "offer":
                return Heard(intent=TakeOffer(request, request.offer.sdp, request.offer.id))
            case "answer":
                return self._read_answer(request)
            case "trickle":
                return self._read_candidate(request)
            case "add_track":
                return Heard(intent=Announce(request, request.add_track))
            case "mute":
                mute = request.mute
                return Heard(intent=Mute(request, mute.sid, wire.read_track_sid(mute.sid), mute.muted))
            case "subscription":
                wish = request.subscription
                sids = [*wish.track_sids, *(sid for per in wish.participant_tracks for sid in per.track_sids)]
                tracks = {sid: wire.read_track_sid(sid) for sid in sids}
                self.named(*sids)
                return Heard(intent=Subscribe(request, tracks, wish.subscribe))
            case "track_setting":
                found = (wire.read_track_sid(sid) for sid in request.track_setting.track_sids)
                tracks_shown = tuple(track for track in found if track is not None)
                return Heard(intent=Show(request, tracks_shown, request.track_setting))
            case "leave":
                return Heard(intent=Leave(request, wire.read_leave(request.leave)))
            case "subscription_permission":
                return Heard(intent=Permit(request, request.subscription_permission))
            case "update_metadata":
                return Heard(intent=UpdateSelf(request, request.update_metadata))
            case "update_audio_track":
                audio = request.update_audio_track
                return Heard(intent=UpdateAudio(request, wire.read_track_sid(audio.track_sid), audio))
            case "update_video_track":
                video = request.update_video_track
                return Heard(intent=UpdateVideo(request, wire.read_track_sid(video.track_sid), video))
            case _:
                return Heard()

    def _read_answer(self, request: SignalRequest) -> Heard:
        answered = request.answer.id
        # Rust and Go clients answer with id 0 whatever the offer's was.
        if self._outstanding is None or answered not in (0, self._outstanding):
            return Heard()
        return Heard(intent=TakeAnswer(request, request.answer.sdp))

    def _read_candidate(self, request: SignalRequest) -> Heard:
        trickle = request.trickle
        try:
            init = json.loads(trickle.candidateInit) if trickle.candidateInit else {}
            candidate = init.get("candidate", "")
            if not isinstance(candidate, str):
                raise TypeError
        except (ValueError, AttributeError, TypeError, RecursionError):
            return self.refuse(request, RequestResponse.UNCLASSIFIED_ERROR, "candidateInit is not a candidate in JSON")
        candidate = candidate.removeprefix("a=")
        if not candidate:  # the end of candidates, which means nothing to us
            return Heard()
        return Heard(intent=AddCandidate(request, trickle.target, candidate))

    # Answers to requests.

    def refuse(self, request: SignalRequest, reason: RequestResponse.Reason, message: str) -> Heard:
        """The refusal of a request, where the protocol can say one."""
        response = wire.request_response(request, reason, message)
        return Heard(() if response is None else (response,))

    def confirm(self, request: SignalRequest) -> tuple[SignalResponse, ...]:
        """The good news, for clients that know it."""
        if self.protocol < OK_PROTOCOL:
            return ()
        response = wire.request_response(request, RequestResponse.OK)
        return () if response is None else (response,)

    def answer(self, sdp: str, id: int) -> SignalResponse:
        """The answer to the client's offer of that id."""
        return SignalResponse(answer=SessionDescription(type="answer", sdp=sdp, id=id))

    # What the server says of itself.

    def offer(self, sdp: str, tracks: Mapping[str, str]) -> SignalResponse:
        """Our next offer. tracks: the SID of what is sent, for the mid of every section that sends."""
        self._offer_id += 1
        self._outstanding = self._offer_id
        return SignalResponse(
            offer=SessionDescription(type="offer", sdp=sdp, id=self._offer_id, mid_to_track_id=dict(tracks))
        )

    def offer_settled(self) -> None:
        """Our offer was answered or withdrawn; a late answer to it means nothing any more."""
        self._outstanding = None

    def told(self, participants: Iterable[Participant]) -> None:
        """Remember what the client already knows, from its `join` or an `update`."""
        for participant in participants:
            self._versions[participant.id] = participant.revision
            for track in participant.published:
                self._name(track.id, wire.track_sid(track))

    def named(self, *sids: str) -> None:
        """Remember tracks by the SIDs that the client knows them by."""
        for sid in sids:
            track = wire.read_track_sid(sid)
            if track is not None:
                self._name(track, sid)

    def forget_track(self, track: TrackId) -> None:
        """A track has ended; its SID is never used again."""
        self._track_sids.pop(track, None)

    def track_sid(self, track: TrackId) -> str | None:
        """The SID that the client knows a track by; None where it was never told of it, nor spoke of it."""
        return self._track_sids.get(track)

    def news(self, participants: Iterable[Participant]) -> list[Participant]:
        """Those of these that are news to the client, in order. They count as told; a departure is always news."""
        news = []
        for participant in participants:
            if participant.is_gone:
                self._versions.pop(participant.id, None)
            elif self._versions.get(participant.id, -1) >= participant.revision:
                continue
            else:
                self.told([participant])
            news.append(participant)
        return news

    def _name(self, track: TrackId, sid: str) -> None:
        if len(self._track_sids) < MAX_NAMED_TRACKS:
            self._track_sids[track] = sid
