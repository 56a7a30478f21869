"""One client's session: it reads the conversation, asks core, and answers, until either side has had enough.

Three tasks share it. One reads the socket and answers pings at once, one writes it, and one does the
rest: a request at a time, in order, and between requests what has happened in the room. Only the
writer touches the socket's sending side.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

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
    UpdateTrackSettings,
)
from starlette.websockets import WebSocket, WebSocketDisconnect

from parley.clock import Clock
from parley.core import events
from parley.core.core import Core
from parley.core.errors import LimitExceeded, NotAllowed, NotFound, PeerClosed, Refused, Unavailable
from parley.core.events import Event
from parley.core.model import LeaveReason, Participant, RoomInfo
from parley.core.rooms import Seat
from parley.core.style import Take
from parley.dialects.livekit import auth, signal, styles, wire
from parley.dialects.livekit.connect import Admitted
from parley.dialects.livekit.events import room_update, tell
from parley.dialects.livekit.frames import BadFrame, Frame
from parley.dialects.livekit.offers import OfferClock
from parley.dialects.livekit.outbox import Outbox, TooSlow
from parley.dialects.livekit.publications import Publication, Publications, Sending, Verdict
from parley.dialects.livekit.settings import LiveKitSettings
from parley.dialects.livekit.signal import Conversation, Intent
from parley.engine.specs import Kind, Mid
from parley.errors import Reason
from parley.ids import PeerId, TrackId
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

REQUESTS = 64
"""Requests read ahead of the one being carried out; beyond that the client waits."""
COUNTS_EVERY_S = 5.0
"""How often news of nothing but head counts is told."""
MAX_SHOWN = 1024
"""Tracks whose display settings are kept."""

NORMAL, UNREADABLE, TOO_BIG, INTERNAL_ERROR, TRY_AGAIN = 1000, 1007, 1009, 1011, 1013
"""Close codes: RFC 6455 §7.4.1, and 1013 of its registry."""

_TELLS_TOKEN = frozenset({"name", "metadata", "attributes", "grant"})
_LIMIT_TEXTS = {
    Reason.NAME_TOO_LONG: "exceeds name length limit",
    Reason.METADATA_TOO_LARGE: "exceeds metadata size limit",
    Reason.ATTRIBUTES_TOO_LARGE: "exceeds attributes size limit",
}


@dataclass(frozen=True, slots=True)
class _Hangup:
    """The reading side is over: the socket is gone, or holds what cannot be read."""

    code: int
    """What to close with; 0: it is closed already."""
    why: str = ""


class Session:
    """A seated participant and its client. `run` lasts as long as the session."""

    def __init__(
        self,
        core: Core,
        seat: Seat,
        admitted: Admitted,
        settings: LiveKitSettings,
        *,
        clock: Clock,
        random: Random,
    ) -> None:
        self._core = core
        self._seat = seat
        self._id = seat.participant.id
        self._admitted = admitted
        self._settings = settings
        self._clock = clock
        self._protocol = admitted.request.protocol
        self._talk = Conversation(self._protocol, random)
        self._publications = Publications()
        self._shown: dict[TrackId, UpdateTrackSettings] = {}
        self._requests: asyncio.Queue[Intent | _Hangup] = asyncio.Queue(REQUESTS)
        self._publisher: PeerId | None = None
        self._subscriber: PeerId | None = None
        self._offers = OfferClock()
        self._has_offered = False
        self._upto = 0
        self._refresh_at = clock.monotonic()
        self._room: RoomInfo | None = None
        self._room_at = clock.monotonic()
        self._is_over = False
        self._close_code = NORMAL
        self._log = log.bind(room=admitted.room, participant=admitted.identity)

    @property
    def is_subscriber_primary(self) -> bool:
        return self._protocol >= SUBSCRIBER_PRIMARY_PROTOCOL and self._seat.participant.grant.can_subscribe

    def open_peers(self) -> None:
        """Open the connection the server offers on, if the client may be sent anything. Raises Unavailable.

        The one the client offers on is opened by its first offer.
        """
        if self._seat.participant.grant.can_subscribe:
            primary = self.is_subscriber_primary
            style = styles.subscriber(self._settings, primary=primary, protocol=self._protocol)
            self._subscriber = self._core.peers.open(self._id, style).id

    def abandon(self) -> None:
        """Give up the seat of a session that never began."""
        self._core.rooms.leave(self._id, LeaveReason.SIGNAL_LOST)

    async def run(self, websocket: WebSocket, join: SignalResponse) -> None:
        """Talk with the client over an accepted socket until it is over, and leave the room then.

        join: the first message.
        """
        self._outbox = Outbox(
            lambda frame: _write(websocket, frame),
            limit=self._settings.limits.outgoing_messages,
            write_s=self._settings.timeouts.write_s,
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._outbox.run())
                reading = tasks.create_task(self._read(websocket))
                self._talk.told([join.join.participant, *join.join.other_participants])
                self._say(join)
                try:
                    await self._converse()
                except (TooSlow, asyncio.CancelledError):
                    raise
                except Exception:
                    self._apologise()
                reading.cancel()
                self._outbox.close()
        except* TooSlow as slow:
            self._log.warning("client is too slow", why=str(slow.exceptions[0]))
            self._close_code = TRY_AGAIN
            self._core.rooms.leave(self._id, LeaveReason.SLOW_READER)
        except* WebSocketDisconnect:
            pass  # It went while it was written to; that it is gone is all there is to say.
        finally:
            self._core.rooms.leave(self._id, LeaveReason.SIGNAL_LOST)
            await _close(websocket, self._close_code, self._settings.timeouts.write_s)

    def _apologise(self) -> None:
        """A mistake of ours ends this session and no other; its client is told to start over."""
        self._log.exception("session failed")
        self._close_code = INTERNAL_ERROR
        self._core.rooms.leave(self._id, LeaveReason.INTERNAL)
        self._say(wire.leave(LeaveReason.INTERNAL, self._protocol))

    # The reading task.

    async def _read(self, websocket: WebSocket) -> None:
        limit = self._settings.limits.signal_message_bytes
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return await self._requests.put(_Hangup(0))
            frame: Frame = message["bytes"] if message.get("bytes") is not None else message["text"]
            if limit and _size(frame) > limit:
                return await self._requests.put(_Hangup(TOO_BIG, f"a message is larger than {limit} bytes"))
            try:
                heard = self._talk.read(frame, int(self._clock.wall() * 1000))
            except BadFrame as error:
                return await self._requests.put(_Hangup(UNREADABLE, str(error)))
            self._say(*heard.answers)
            if heard.intent is not None:
                await self._requests.put(heard.intent)

    # The conversing task.

    async def _converse(self) -> None:
        request = asyncio.ensure_future(self._requests.get())
        self._event = asyncio.ensure_future(self._seat.events.get())
        with contextlib.suppress(NotFound):  # Whoever was replaced while it joined is told so by its events.
            self._core.rooms.arrive(self._id)
        try:
            while not self._is_over:
                await asyncio.wait(
                    {request, self._event}, timeout=self._patience(), return_when=asyncio.FIRST_COMPLETED
                )
                self._catch_up()
                if request.done() and not self._is_over:
                    asked = request.result()
                    request = asyncio.ensure_future(self._requests.get())
                    await self._act(asked)
                    self._catch_up()
                await self._keep_time()
        finally:
            request.cancel()
            self._event.cancel()

    def _catch_up(self) -> None:
        """Tell the client of everything that has happened by now."""
        if self._is_over:
            return
        if self._event.done():
            self._happen(self._event.result())
            if not self._is_over:
                self._event = asyncio.ensure_future(self._seat.events.get())
        while not self._is_over and (event := self._seat.events.get_nowait()) is not None:
            self._happen(event)

    def _happen(self, event: Event) -> None:
        match event:
            case events.ParticipantLeft(participant=participant, reason=reason) if participant.id == self._id:
                self._say(wire.leave(reason, self._protocol))
                self._is_over = True
            case events.PeerWantsOffer(upto=upto):
                self._upto = max(self._upto, upto)
                # The client can do nothing before the first; those after it may travel together.
                self._offers.want(self._clock.monotonic(), at_once=not self._has_offered)
            case events.RoomUpdated(room=room, counts_only=counts_only):
                self._room = room
                if not counts_only:
                    self._room_at = self._clock.monotonic()
            case events.ParticipantUpdated(participant=participant, changed=changed) if participant.id == self._id:
                self._say(*tell(event, self._talk, self._settings))
                if changed & _TELLS_TOKEN:
                    self._refresh(participant)
            case events.TrackEnded(participant=participant, track=track) if participant.id == self._id:
                self._say(*tell(event, self._talk, self._settings))
                publication = self._publications.by_track(track.id)
                queued = () if publication is None else self._publications.withdraw(publication)
                with contextlib.suppress(NotFound):  # It ended because its participant left, and nothing follows it.
                    for request in queued:
                        self._announce(request)
            case _:
                self._say(*tell(event, self._talk, self._settings))

    # Time.

    def _patience(self) -> float:
        """Seconds until something is due."""
        due = [self._refresh_at]
        if self._offers.due is not None:
            due.append(self._offers.due)
        if self._room is not None:
            due.append(self._room_at)
        return max(0.0, min(due) - self._clock.monotonic())

    async def _keep_time(self) -> None:
        """Do what is due."""
        now = self._clock.monotonic()
        if self._is_over:
            return
        if self._offers.due is not None and self._offers.due <= now:
            await self._offer()
        if self._room is not None and self._room_at <= now:
            self._say(room_update(self._room, self._settings))
            self._room, self._room_at = None, now + COUNTS_EVERY_S
        if self._refresh_at <= now:
            with contextlib.suppress(NotFound):
                self._refresh(self._me)

    def _refresh(self, participant: Participant) -> None:
        """Give the client a token that says what is true now."""
        self._refresh_at = self._clock.monotonic() + self._settings.timeouts.refresh_token_s
        key = self._settings.keys.get(self._admitted.claims.key)
        if key is None:
            return
        claims = self._admitted.claims.model_copy(
            update={
                "name": participant.name,
                "metadata": participant.metadata,
                "attributes": dict(participant.attributes),
            }
        )
        token = auth.refresh(claims, key.secret.get_secret_value(), now=self._clock.wall())
        self._say(SignalResponse(refresh_token=token))

    # Requests.

    async def _act(self, asked: Intent | _Hangup) -> None:
        try:
            await self._do(asked)
        except (PeerClosed, NotFound):
            pass  # The peer, or the participant, has ended meanwhile; its last event says so and is on its way.
        except (NegotiationError, Unavailable) as error:
            self._log.warning("negotiation failed", reason=error.reason, why=str(error))
            self._core.rooms.leave(self._id, LeaveReason.NEGOTIATION_FAILED)

    async def _do(self, asked: Intent | _Hangup) -> None:
        match asked:
            case _Hangup(code=code, why=why):
                self._hang_up(code, why)
            case signal.TakeOffer():
                await self._take_offer(asked)
            case signal.TakeAnswer():
                await self._take_answer(asked)
            case signal.AddCandidate(target=target, candidate=candidate):
                peer = self._publisher if target == SignalTarget.PUBLISHER else self._subscriber
                if peer is not None:
                    with contextlib.suppress(NotFound):
                        self._core.peers.add_candidate(peer, candidate)
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

    def _hang_up(self, code: int, why: str) -> None:
        if code:
            self._log.warning("client cannot be understood", why=why)
            self._close_code = code
        self._is_over = True

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
            fmtp=styles.publish_fmtp(publication),
        )

    async def _take_answer(self, asked: signal.TakeAnswer) -> None:
        if self._subscriber is None:
            return
        try:
            await self._core.peers.take_answer(self._subscriber, asked.sdp)
        except WrongSignalingState:
            return  # It was answered already.
        self._talk.offer_settled()
        self._offers.settled(self._clock.monotonic())

    async def _offer(self) -> None:
        assert self._subscriber is not None, "only the subscriber's peer asks for offers"
        try:
            offer = await self._core.peers.make_offer(self._subscriber, self._upto)
        except (PeerClosed, NotFound):
            self._offers.nothing_to_offer()
            return
        except (NegotiationError, Unavailable) as error:
            self._log.warning("no offer can be made", reason=error.reason, why=str(error))
            self._core.rooms.leave(self._id, LeaveReason.NEGOTIATION_FAILED)
            return
        if offer is None:
            self._offers.nothing_to_offer()
            return
        self._has_offered = True
        self._offers.offered(self._clock.monotonic())
        sids = {mid: self._talk.track_sid(track) for mid, track in offer.sending.items()}
        self._say(self._talk.offer(offer.sdp, {mid: sid for mid, sid in sids.items() if sid is not None}))

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
        for match in self._publications.claims().bound:
            if self._publisher is not None and match.publication.track is not None:
                self._core.peers.claim(self._publisher, match.section.mid, match.publication.track)
                self._publications.bind(match)

    def _mute(self, asked: signal.Mute) -> None:
        if asked.track is None or not self._own(asked.track):
            self._refuse(asked, RequestResponse.NOT_FOUND, "there is no such track")
            return
        self._core.rooms.mute(self._id, asked.track, asked.muted)

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
        for track in asked.tracks:
            if track not in self._shown and len(self._shown) >= MAX_SHOWN:
                return
            # Quality, size and rate are kept for when a layer can be chosen by them.
            self._shown[track] = asked.settings
            with contextlib.suppress(Refused):
                self._core.rooms.set_enabled(self._id, track, not asked.settings.disabled)

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

    def _say(self, *responses: SignalResponse) -> None:
        for response in responses:
            self._outbox.put(self._talk.write(response))


SUBSCRIBER_PRIMARY_PROTOCOL = 3
"""From this protocol on the client waits for the server's offer first."""


def _sending(view: RemoteView) -> Sequence[Sending]:
    """The sections of an offer on which the client sends."""
    sending = (Direction.SENDONLY, Direction.SENDRECV)
    return [
        Sending(section.mid, section.kind, "" if section.msid is None else section.msid.track or "")
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


def _size(frame: Frame) -> int:
    return len(frame) if isinstance(frame, bytes) else len(frame.encode())


async def _write(websocket: WebSocket, frame: Frame) -> None:
    if isinstance(frame, bytes):
        await websocket.send_bytes(frame)
    else:
        await websocket.send_text(frame)


async def _close(websocket: WebSocket, code: int, within_s: float) -> None:
    """Close the socket, if it is not closed already. Cancelling the session does not prevent it."""
    # Starlette raises RuntimeError where the closing handshake was begun by the client.
    with contextlib.suppress(RuntimeError, WebSocketDisconnect, TimeoutError):
        async with asyncio.timeout(within_s):
            await websocket.close(code)
