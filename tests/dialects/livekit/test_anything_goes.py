"""Clients that say anything at all, in any order: they may be sent away, but never by a mistake of ours."""

from __future__ import annotations

import contextlib
from random import Random

import pytest
import websockets
from livekit.protocol.models import TrackSource
from livekit.protocol.rtc import SessionDescription, SignalRequest, SignalResponse

from tests.dialects.livekit.client import Client, Server, answer_to, offer_of

pytestmark = pytest.mark.anyio

INTERNAL_ERROR = 1011
REQUESTS = 120


class Rambler:
    """Makes up requests, most of them nearly sensible."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._sections: list[tuple[str, str, str]] = []
        self._offers: list[SessionDescription] = []
        self._sids = ["", "TR_", "TR_AM" + "2" * 22, "TR_VC" + "z" * 22, "PA_x"]

    def hear(self, response: SignalResponse) -> None:
        kind = response.WhichOneof("message")
        if kind == "offer":
            self._offers.append(response.offer)
        elif kind == "track_published":
            self._sids.append(response.track_published.track.sid)
        elif kind == "update":
            self._sids += [track.sid for info in response.update.participants for track in info.tracks]

    def request(self) -> bytes:
        random = self._random
        request = SignalRequest()
        kind = random.choice(
            ["offer", "offer", "answer", "answer", "add_track", "add_track", "add_track", "mute", "subscription"]
            + [field.name for field in SignalRequest.DESCRIPTOR.fields if field.name not in ("leave", "ping")]
        )
        sid = random.choice(self._sids)
        if kind == "offer":
            request.offer.CopyFrom(SessionDescription(type="offer", sdp=self._offer(), id=random.randrange(4)))
        elif kind == "answer" and self._offers:
            offer = random.choice(self._offers)
            request.answer.CopyFrom(SessionDescription(sdp=answer_to(offer.sdp), id=random.choice((0, offer.id))))
        elif kind == "add_track":
            request.add_track.cid = random.choice("abcdef")
            request.add_track.type = random.choice((0, 0, 1, 1, 2))
            request.add_track.source = random.randrange(len(TrackSource.keys()))  # type: ignore[assignment]
            request.add_track.sid = random.choice(("", "", "", sid))
            request.add_track.muted = random.random() < 0.3
        elif kind == "mute":
            request.mute.sid, request.mute.muted = sid, random.random() < 0.5
        elif kind == "subscription":
            request.subscription.track_sids.append(sid)
            request.subscription.subscribe = random.random() < 0.5
        elif kind == "track_setting":
            request.track_setting.track_sids.append(sid)
            request.track_setting.disabled = random.random() < 0.5
        elif kind == "subscription_permission":
            request.subscription_permission.all_participants = random.random() < 0.5
        elif kind == "update_metadata":
            request.update_metadata.name = random.choice(("", "n", "n" * 300))
            request.update_metadata.attributes["k"] = random.choice(("", "v"))
        elif kind == "trickle":
            request.trickle.candidateInit = random.choice(
                ("", "{", '{"candidate": "candidate:1 1 udp 1 ::1 9 typ host"}')
            )
            request.trickle.target = random.randrange(2)  # type: ignore[assignment]
        elif kind in ("update_audio_track", "update_video_track"):
            getattr(request, kind).track_sid = sid
        elif kind != "answer":
            getattr(request, kind).SetInParent()
        return request.SerializeToString()

    def _offer(self) -> str:
        random = self._random
        if random.random() < 0.05:
            return random.choice(("", "nonsense", "v=0\r\n"))
        directions = ("sendonly", "sendonly", "sendrecv", "inactive", "recvonly")
        self._sections = [
            (kind, random.choice((cid, cid, random.choice("abcdef"))), random.choice(directions))
            for kind, cid, _ in self._sections
        ]
        if len(self._sections) < 6 and random.random() < 0.5:
            self._sections.append((random.choice(("audio", "video")), random.choice("abcdef"), "sendonly"))
        return offer_of(*self._sections)


@pytest.mark.parametrize("seed", range(6))
async def test_no_client_meets_a_mistake_of_ours(server: Server, seed: int):
    listener = await Client.connect(server, "listener")
    await listener.go_active()
    random = Random(seed)
    sent = 0
    while sent < REQUESTS:
        # Whoever is sent away for what it said comes again and goes on talking.
        client = await Client.connect(server, "rambler", canUpdateOwnMetadata=True)
        rambler = Rambler(random)
        with contextlib.suppress(websockets.ConnectionClosed, TimeoutError):
            while sent < REQUESTS:
                sent += 1
                await client.socket.send(rambler.request())
                await client.send(ping=1)  # its pong says that the request has been read
                await client.next("pong")
                for response in client.heard:
                    rambler.hear(response)
                client.heard.clear()
        if client.socket.close_code is None:
            await client.leave()
        assert client.socket.close_code != INTERNAL_ERROR
    await listener.no_more("leave", within_s=0.05)
    await listener.leave()
    assert server.core.rooms.count().participants == 0
