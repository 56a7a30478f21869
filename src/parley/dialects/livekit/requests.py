"""What each of a client's requests does: read, ask core, answer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import structlog
from livekit.protocol.models import AudioTrackFeature, SubscriptionError, TrackInfo
from livekit.protocol.rtc import (
    AddTrackRequest,
    RequestResponse,
    SignalRequest,
    SignalResponse,
    SignalTarget,
    SubscriptionResponse,
    TrackPublishedResponse,
)

from parley.clock import Clock
from parley.core.core import Core
from parley.core.errors import (
    LimitExceeded,
    NotAllowed,
    NotFound,
    ParticipantNotFound,
    PeerClosed,
    PeerNotFound,
    Refused,
    Unavailable,
)
from parley.core.model import LeaveReason, Participant
from parley.core.style import Take
from parley.dialects.livekit import layers, signal, styles, wire
from parley.dialects.livekit.connect import Admitted
from parley.dialects.livekit.offers import OfferClock
from parley.dialects.livekit.publications import Publication, Publications, Sending, Verdict
from parley.dialects.livekit.settings import LiveKitSettings
from parley.dialects.livekit.signal import Conversation, Intent
from parley.engine.specs import Kind, Mid
from parley.errors import ParleyError, Reason
from parley.ids import ParticipantId, PeerId, TrackId
from parley.negotiation import (
    Change,
    Direction,
    NegotiationError,
    RemoteView,
    SdpSyntax,
    SdpTooLarge,
    WrongSignalingState,
)

log = structlog.get_logger(__name__)

SUBSCRIBER_PRIMARY_PROTOCOL = 3
"""From this protocol on the client waits for the server's offer first."""

Say = Callable[..., None]
"""Sends the messages it is called with, in order, after whatever was said before."""

_LIMIT_TEXTS = {
    Reason.NAME_TOO_LONG: "exceeds name length limit",
    Reason.METADATA_TOO_LARGE: "exceeds metadata size limit",
    Reason.ATTRIBUTES_TOO_LARGE: "exceeds attributes size limit",
}


class Requests:
    """Carries out one client's requests, one after the other, on its two peer connections."""

    def __init__(
        self,
        core: Core,
        participant: Participant,
        admitted: Admitted,
        settings: LiveKitSettings,
        talk: Conversation,
        *,
        clock: Clock,
        say: Say,
        catch_up: Callable[[], None],
    ) -> None:
        """say: sends messages. catch_up: tells the client of everything that has happened in the room by now."""
        self._core = core
        self._id: ParticipantId = participant.id
        self._settings = settings
        self._talk = talk
        self._clock = clock
        self._say = say
        self._catch_up = catch_up
        self._protocol = admitted.request.protocol
        self._is_adaptive = admitted.request.adaptive_stream
        self._may_subscribe = participant.grant.can_subscribe
        self._publications = Publications()
        self._publisher: PeerId | None = None
        self._subscriber: PeerId | None = None
        self._offers = OfferClock()
        self._has_offered = False
        self._upto = 0
        self._log = log.bind(room=admitted.room, participant=admitted.identity)

    @property
    def is_subscriber_primary(self) -> bool:
        """Whether the connection the server offers on is the one that makes the participant active."""
        return self._protocol >= SUBSCRIBER_PRIMARY_PROTOCOL and self._may_subscribe

    def open_peers(self) -> None:
        """Open the connection the server offers on, if the client may be sent anything. Raises Unavailable.

        The one the client offers on is opened by its first offer.
        """
        if self._may_subscribe:
            primary = self.is_subscriber_primary
            style = styles.subscriber(
                self._settings, primary=primary, protocol=self._protocol, adaptive=self._is_adaptive
            )
            self._subscriber = self._core.peers.open(self._id, style).id

    async def carry_out(self, asked: Intent) -> None:
        """Do what the client asks and answer it. What ends its participant is told by the participant's last event."""
        try:
            await self._do(asked)
        except (PeerClosed, PeerNotFound, ParticipantNotFound):
            pass  # It has ended meanwhile; its last event says so and is on its way.
        except (NegotiationError, Refused, Unavailable) as error:
            self._give_up(error)

    async def _do(self, asked: Intent) -> None:
        match asked:
            case signal.TakeOffer():
                await self._take_offer(asked)
            case signal.TakeAnswer():
                await self._take_answer(asked)
            case signal.AddCandidate():
                self._add_candidate(asked)
            case signal.Announce(track=track):
                self._announce(track)
            case signal.Mute():
                self._mute(asked)
            case signal.Subscribe():
                self._subscribe(asked)
            case signal.Show():
                self._show(asked)
            case signal.Leave(reason=reason):
                self._core.rooms.leave(self._id, reason)
            case signal.Permit(permission=permission):
                self._core.rooms.restrict(self._id, wire.read_access(permission))
            case signal.UpdateSelf():
                self._update_self(asked)
            case signal.UpdateAudio():
                self._update_audio(asked)
            case signal.UpdateVideo():
                self._update_video(asked)

    def _give_up(self, error: ParleyError) -> None:
        """Client and server no longer agree on what is sent; starting over is the only way on."""
        self._log.warning("negotiation failed", reason=error.reason, why=str(error))
        self._core.rooms.leave(self._id, LeaveReason.NEGOTIATION_FAILED)

    # Offers of ours.

    @property
    def offer_due(self) -> float | None:
        """When `offer` is to be called; None: not now."""
        return self._offers.due

    def want_offer(self, upto: int) -> None:
        """Core has more to offer. upto: from its event."""
        self._upto = max(self._upto, upto)
        # The client can do nothing before the first; those after it may travel together.
        self._offers.want(self._clock.monotonic(), at_once=not self._has_offered)

    async def offer(self) -> None:
        """Make the offer that is due."""
        assert self._subscriber is not None, "only the subscriber's peer asks for offers"
        try:
            offer = await self._core.peers.make_offer(self._subscriber, self._upto)
        except (PeerClosed, NotFound):
            self._offers.nothing_to_offer()
            return
        except (NegotiationError, Unavailable) as error:
            self._give_up(error)
            return
        if offer is None:
            self._offers.nothing_to_offer()
            return
        self._has_offered = True
        self._offers.offered(self._clock.monotonic(), len(offer.sending))
        sids = {mid: self._talk.track_sid(track) for mid, track in offer.sending.items()}
        self._say(self._talk.offer(offer.sdp, {mid: sid for mid, sid in sids.items() if sid is not None}))

    async def _take_answer(self, asked: signal.TakeAnswer) -> None:
        if self._subscriber is None:
            return
        try:
            await self._core.peers.take_answer(self._subscriber, asked.sdp)
        except WrongSignalingState:
            return  # It was answered already.
        self._talk.offer_settled()
        self._offers.settled(self._clock.monotonic())

    # What the client publishes.

    async def _take_offer(self, asked: signal.TakeOffer) -> None:
        if self._publisher is None:
            style = styles.publisher(self._settings, primary=not self.is_subscriber_primary)
            self._publisher = self._core.peers.open(self._id, style).id
        matching = self._publications.match(())

        def choose(view: RemoteView) -> dict[Mid, Take]:
            nonlocal matching
            matching = self._publications.match(_sending(view))
            return {mid: self._take(publication) for mid, publication in matching.carrying.items()}

        try:
            answer = await self._core.peers.take_offer(self._publisher, asked.sdp, choose)
        except (SdpSyntax, SdpTooLarge) as error:
            # The client gives up on its own offer by and by; what we have agreed on so far stays good.
            self._log.warning("an offer cannot be read", reason=error.reason, why=str(error))
            return
        self._publications.accept(matching)
        self._say(self._talk.answer(answer.sdp, asked.id))

    def _take(self, publication: Publication) -> Take:
        assert publication.track is not None, "what core did not take is withdrawn at once"
        return Take(
            publication.track,
            codecs=styles.preferred_codecs(publication, self._settings),
            fmtp=styles.publish_fmtp(publication, self._settings),
        )

    def release(self, track: TrackId) -> None:
        """A track of the client's has ended: announce what waited for it."""
        publication = self._publications.by_track(track)
        queued = () if publication is None else self._publications.withdraw(publication)
        with contextlib.suppress(ParticipantNotFound):  # It ended because its participant left.
            for request in queued:
                self._announce(request)

    def _announce(self, request: AddTrackRequest) -> None:
        copy = SignalRequest(add_track=request)
        me = self._me
        announced = self._publications.announce(
            request, lambda source: me.grant.may_publish(wire.read_source(source)), self._is_mine
        )
        publication = announced.publication
        if announced.verdict is not Verdict.ACCEPTED or publication is None:
            self._say(*self._talk.refuse(copy, announced.reason, announced.message).answers)
            return
        info = wire.announced(request, self._settings.codecs)
        try:
            track = self._core.rooms.announce(
                self._id,
                kind=publication.kind,
                source=wire.read_source(request.source),
                name=request.name,
                muted=request.muted,
                layers=layers.announced(info),
                baggage={wire.BAGGAGE: wire.TrackBaggage(info)},
            )
        except Refused as error:
            self._publications.withdraw(publication)
            self._say(*self._talk.refuse(copy, _reason(error), str(error)).answers)
            return
        publication.track = track.id
        shown = wire.track_info(track)
        self._talk.named(shown.sid)
        self._say(SignalResponse(track_published=TrackPublishedResponse(cid=request.cid, track=shown)))
        self._claim_sections()

    def _claim_sections(self) -> None:
        """Give what has been announced the sections that were offered before it."""
        for match in self._publications.claims().bound:
            if self._publisher is None or match.publication.track is None:
                continue
            try:
                self._core.peers.claim(self._publisher, match.section.mid, match.publication.track)
            except Refused as error:
                # The section was refused in its answer, or is gone: the track waits for another.
                self._log.warning("a section cannot carry its track", reason=error.reason, why=str(error))
            else:
                self._publications.bind(match)

    def _mute(self, asked: signal.Mute) -> None:
        if asked.track is None or not self._own(asked.track):
            self._refuse(asked, RequestResponse.NOT_FOUND, "there is no such track")
            return
        self._core.rooms.mute(self._id, asked.track, asked.muted)

    def _update_audio(self, asked: signal.UpdateAudio) -> None:
        info = self._own_info(asked.track)
        if info is None or asked.track is None:
            self._refuse(asked, RequestResponse.NOT_FOUND, "there is no such track")
            return
        info.audio_features[:] = dict.fromkeys(asked.update.features)
        info.stereo = AudioTrackFeature.TF_STEREO in info.audio_features
        info.disable_dtx = AudioTrackFeature.TF_NO_DTX in info.audio_features
        self._core.rooms.revise(self._id, asked.track, {wire.BAGGAGE: wire.TrackBaggage(info)})

    def _update_video(self, asked: signal.UpdateVideo) -> None:
        info = self._own_info(asked.track)
        if info is None or asked.track is None:
            self._refuse(asked, RequestResponse.NOT_FOUND, "there is no such track")
            return
        info.width, info.height = asked.update.width, asked.update.height
        self._core.rooms.revise(self._id, asked.track, {wire.BAGGAGE: wire.TrackBaggage(info)})

    # What it receives.

    def _subscribe(self, asked: signal.Subscribe) -> None:
        rooms = self._core.rooms
        change = rooms.subscribe if asked.wanted else rooms.unsubscribe
        for sid, track in asked.tracks.items():
            error = SubscriptionError.SE_TRACK_NOTFOUND
            if track is not None:
                try:
                    change(self._id, track)
                    continue
                except Refused:
                    error = SubscriptionError.SE_UNKNOWN
            if asked.wanted:
                response = SubscriptionResponse(track_sid=sid, err=error)
                self._say(SignalResponse(subscription_response=response))

    def _show(self, asked: signal.Show) -> None:
        rooms, wish, is_shown = self._core.rooms, layers.wish(asked.settings), layers.is_shown(asked.settings)
        for track in asked.tracks:
            with contextlib.suppress(Refused):
                # What begins again begins with the right layer, and what ends asks for none before.
                if not is_shown:
                    rooms.set_enabled(self._id, track, False)
                rooms.prefer(self._id, track, wish)
                if is_shown:
                    rooms.set_enabled(self._id, track, True)

    def _add_candidate(self, asked: signal.AddCandidate) -> None:
        peer = self._publisher if asked.target == SignalTarget.PUBLISHER else self._subscriber
        if peer is not None:
            self._core.peers.add_candidate(peer, asked.candidate)

    # What it says of itself.

    def _update_self(self, asked: signal.UpdateSelf) -> None:
        update = asked.update
        if not self._me.grant.can_update_own_metadata:
            self._refuse(asked, RequestResponse.NOT_ALLOWED, "does not have permission to update own metadata")
            return
        try:
            self._core.rooms.update(
                self._id,
                name=update.name or None,
                metadata=update.metadata or None,
                attributes=dict(update.attributes) or None,
            )
        except LimitExceeded as error:
            text = _LIMIT_TEXTS.get(error.reason, str(error))
            self._refuse(asked, RequestResponse.LIMIT_EXCEEDED, text)
            return
        # The client resolves when it has seen its own update, and some want the confirmation after it.
        self._catch_up()
        self._say(*self._talk.confirm(asked.request))

    # Small things.

    @property
    def _me(self) -> Participant:
        return self._core.rooms.participant(self._id)

    def _own(self, track: TrackId | None) -> bool:
        return track is not None and self._me.track(track) is not None

    def _is_mine(self, sid: str) -> bool:
        return self._own(wire.read_track_sid(sid))

    def _own_info(self, track: TrackId | None) -> TrackInfo | None:
        """A copy of what was announced of a track of this participant's."""
        found = None if track is None else self._me.track(track)
        if found is None:
            return None
        info = TrackInfo()
        info.CopyFrom(wire.baggage_of_track(found))
        return info

    def _refuse(self, asked: Intent, reason: RequestResponse.Reason, message: str) -> None:
        self._say(*self._talk.refuse(asked.request, reason, message).answers)


def _sending(view: RemoteView) -> Sequence[Sending]:
    """The sections of an offer on which the client sends."""
    sending = (Direction.SENDONLY, Direction.SENDRECV)
    return [
        Sending(section.mid, section.kind, "" if section.msid is None else section.msid.track or section.msid.stream)
        for section in view.sections
        if section.kind is not Kind.DATA
        and section.direction in sending
        and section.change is not Change.STOPPED
        and section.refused is None
    ]


def _reason(error: Refused) -> RequestResponse.Reason:
    if isinstance(error, LimitExceeded):
        return RequestResponse.LIMIT_EXCEEDED
    if isinstance(error, NotAllowed):
        return RequestResponse.NOT_ALLOWED
    return RequestResponse.UNCLASSIFIED_ERROR
