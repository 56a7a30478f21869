"""One client's session: it reads the conversation, asks core, and answers, until either side has had enough.

Three tasks share it. One reads the socket and answers pings at once, one writes it, and one does the
rest: a request at a time, in order, and between requests what has happened in the room. Only the
writer touches the socket's sending side.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from random import Random

import structlog
from livekit.protocol.rtc import SignalResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from parley.clock import Clock
from parley.core import events
from parley.core.core import Core
from parley.core.errors import NotFound
from parley.core.events import Event
from parley.core.model import LeaveReason, Participant, RoomInfo
from parley.core.rooms import Seat
from parley.dialects.livekit import auth, wire
from parley.dialects.livekit.connect import Admitted
from parley.dialects.livekit.dynacast import Dynacast
from parley.dialects.livekit.events import room_update, tell
from parley.dialects.livekit.frames import BadFrame, Frame
from parley.dialects.livekit.news import Bulletins, is_succession, subject
from parley.dialects.livekit.outbox import Outbox, TooSlow
from parley.dialects.livekit.requests import Requests
from parley.dialects.livekit.settings import LiveKitSettings
from parley.dialects.livekit.signal import Conversation, Intent
from parley.ids import ParticipantId

log = structlog.get_logger(__name__)

READ_AHEAD = 64
"""Requests read ahead of the one being carried out; beyond that the client waits."""
COUNTS_EVERY_S = 5.0
"""How often news of nothing but head counts is told."""

NORMAL, UNREADABLE, TOO_BIG, INTERNAL_ERROR, TRY_AGAIN = 1000, 1007, 1009, 1011, 1013
"""Close codes: RFC 6455 §7.4.1, and 1013 of its registry."""

_TELLS_TOKEN = frozenset({"name", "metadata", "attributes", "grant"})


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
        bulletins: Bulletins,
        *,
        clock: Clock,
        random: Random,
    ) -> None:
        self._core = core
        self._seat = seat
        self._id = seat.participant.id
        self._admitted = admitted
        self._settings = settings
        self._bulletins = bulletins
        self._news: dict[ParticipantId, Participant] = {}
        """Participants that the client is still to be told of, each as it is last."""
        self._clock = clock
        self._protocol = admitted.request.protocol
        self._talk = Conversation(self._protocol, random)
        self._asked: asyncio.Queue[Intent | _Hangup] = asyncio.Queue(READ_AHEAD)
        self._requests = Requests(
            core,
            seat.participant,
            admitted,
            settings,
            self._talk,
            clock=clock,
            say=self._say,
            catch_up=self._catch_up,
        )
        self._dynacast = Dynacast(settings.timeouts.dynacast_pause_s)
        self._refresh_at = clock.monotonic()
        self._room: RoomInfo | None = None
        self._room_at = clock.monotonic()
        self._is_over = False
        self._close_code = NORMAL
        self._log = log.bind(room=admitted.room, participant=admitted.identity)

    def open(self) -> bool:
        """Open what the client needs from the start, and return whether it waits for our offer. Raises Unavailable."""
        self._requests.open_peers()
        return self._requests.is_subscriber_primary

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
            limit_bytes=self._settings.limits.outgoing_bytes,
            write_s=self._settings.timeouts.write_s,
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._outbox.run())
                reading = tasks.create_task(self._read(websocket))
                self._talk.told([self._seat.participant, *self._seat.others])
                self._say(join)
                try:
                    await self._converse()
                except TooSlow:
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
                return await self._asked.put(_Hangup(0))
            frame: Frame = message["bytes"] if message.get("bytes") is not None else message["text"]
            if limit and _size(frame) > limit:
                return await self._asked.put(_Hangup(TOO_BIG, f"a message is larger than {limit} bytes"))
            try:
                heard = self._talk.read(frame, int(self._clock.wall() * 1000))
            except BadFrame as error:
                return await self._asked.put(_Hangup(UNREADABLE, str(error)))
            self._say(*heard.answers)
            if heard.intent is not None:
                await self._asked.put(heard.intent)

    # The conversing task.

    async def _converse(self) -> None:
        request = asyncio.ensure_future(self._asked.get())
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
                    request = asyncio.ensure_future(self._asked.get())
                    if isinstance(asked, _Hangup):
                        self._hang_up(asked)
                    else:
                        await self._requests.carry_out(asked)
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
        self._tell_news()

    def _happen(self, event: Event) -> None:
        participant = subject(event)
        if participant is None:
            self._happen_otherwise(event)
        elif participant.id == self._id:
            self._happen_to_me(event, participant)
        elif is_succession(event, self._protocol):
            self._news.pop(participant.id, None)
        else:
            if isinstance(event, events.TrackEnded):
                self._talk.forget_track(event.track.id)
            self._news[participant.id] = participant

    def _happen_to_me(self, event: Event, me: Participant) -> None:
        self._news[me.id] = me
        self._dynacast.follow(event, self._clock.monotonic())
        match event:
            case events.ParticipantLeft(reason=reason):
                del self._news[me.id]
                self._tell_news()
                self._say(wire.leave(reason, self._protocol))
                self._is_over = True
            case events.ParticipantUpdated(changed=changed) if changed & _TELLS_TOKEN:
                self._tell_news()
                self._refresh(me)
            case events.TrackEnded(track=track):
                self._talk.forget_track(track.id)
                self._tell_news()
                self._requests.release(track.id)

    def _happen_otherwise(self, event: Event) -> None:
        match event:
            case events.PeerWantsOffer(upto=upto):
                self._requests.want_offer(upto)
            case events.LayersWanted():
                self._dynacast.follow(event, self._clock.monotonic())
            case events.RoomUpdated(room=room, counts_only=counts_only):
                self._room = room
                if not counts_only:
                    self._room_at = self._clock.monotonic()
            case _:
                # It may name tracks that the client has yet to hear of.
                self._tell_news()
                self._say(*tell(event, self._talk, self._settings))

    def _tell_news(self) -> None:
        """Tell the client of the participants that something has happened to since it was last told."""
        if self._news:
            news, self._news = self._news, {}
            participants = self._talk.news(news.values())
            for frame in self._bulletins.write(participants, as_text=self._talk.speaks_text):
                self._outbox.put(frame)

    # Time.

    def _patience(self) -> float:
        """Seconds until something is due."""
        offer_at = self._requests.offer_due
        room_at = None if self._room is None else self._room_at
        due = min(at for at in (self._refresh_at, offer_at, room_at, self._dynacast.due) if at is not None)
        return max(0.0, due - self._clock.monotonic())

    async def _keep_time(self) -> None:
        """Do what is due."""
        now = self._clock.monotonic()
        if self._is_over:
            return
        offer_at = self._requests.offer_due
        if offer_at is not None and offer_at <= now:
            await self._requests.offer()
        self._say(*self._dynacast.take(now))
        if self._room is not None and self._room_at <= now:
            self._say(room_update(self._room, self._settings))
            self._room, self._room_at = None, now + COUNTS_EVERY_S
        if self._refresh_at <= now:
            with contextlib.suppress(NotFound):
                self._refresh(self._core.rooms.participant(self._id))

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

    # Ends.

    def _hang_up(self, hangup: _Hangup) -> None:
        if hangup.code:
            self._log.warning("client cannot be understood", why=hangup.why)
            self._close_code = hangup.code
        self._is_over = True

    def _say(self, *responses: SignalResponse) -> None:
        for response in responses:
            self._outbox.put(self._talk.write(response))


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
