"""Sessions of the Cloudflare Realtime API with real media, alone and together with LiveKit participants."""

from __future__ import annotations

import pytest

from .participant import Heard, joined
from .server import Server, settle, token, until
from .session import AudioStreamTrack, Session, VideoStreamTrack, calling

pytestmark = [pytest.mark.anyio, pytest.mark.native]


async def test_one_session_sees_and_hears_another(server: Server) -> None:
    async with calling(server) as app:
        ada, bob = await app.session(), await app.session()
        await ada.push(mic=AudioStreamTrack(), cam=VideoStreamTrack())

        mids = await bob.pull((ada.id, "mic"), (ada.id, "cam"))

        cam, mic = mids[ada.id, "cam"], mids[ada.id, "mic"]
        await until(lambda: frames(bob, cam) > 10, within_s=15, what="ada's picture")
        await until(lambda: frames(bob, mic) > 10, within_s=15, what="ada's sound")
        assert bob.heard[cam].size == (640, 480)
        assert await bob.statuses() == {"mic": "active", "cam": "active"}
        assert await ada.statuses() == {"mic": "active", "cam": "active"}


async def test_a_section_changes_its_source_without_an_exchange(server: Server) -> None:
    async with calling(server) as app:
        ada, bob = await app.session(), await app.session()
        await ada.push(one=VideoStreamTrack(), two=VideoStreamTrack())
        [mid] = (await bob.pull((ada.id, "one"))).values()
        await until(lambda: frames(bob, mid) > 5, within_s=15, what="the first picture")

        for name in ("two", "one", "two"):
            item = {"location": "remote", "sessionId": ada.id, "trackName": name, "mid": mid}
            done = await bob.call("PUT", "tracks/update", {"tracks": [item]})
            assert done["tracks"] == [{"mid": mid, "sessionId": ada.id, "trackName": name}]
            seen = frames(bob, mid)
            await until(lambda: frames(bob, mid) > seen + 5, within_s=15, what=f"pictures of {name}")  # noqa: B023


async def test_a_session_that_hangs_up_is_gone_and_its_tracks_inactive(server: Server) -> None:
    async with calling(server) as app:
        ada, bob = await app.session(), await app.session()
        await ada.push(cam=VideoStreamTrack())
        [mid] = (await bob.pull((ada.id, "cam"))).values()
        await until(lambda: frames(bob, mid) > 5, within_s=15, what="the picture")

        await ada.hang_up()
        await settle(bob.statuses, {"cam": "inactive"})
        assert (await app.http.get(f"/sessions/{ada.id}")).status_code == 410


async def test_messages_go_to_every_subscriber_and_one_may_reply(server: Server) -> None:
    async with calling(server) as app:
        ada, bob, cyd = await app.session_with_data(), await app.session(), await app.session()
        await bob.establish()
        await cyd.establish()
        news = await ada.channel("news")
        at_bob = await bob.channel("news", ada.id, canReply=True)
        at_cyd = await cyd.channel("news", ada.id, waitForAck=True)
        await until(lambda: news.is_open and at_bob.is_open and at_cyd.is_open, within_s=10, what="open channels")

        news.send("only for bob")
        await until(lambda: at_bob.received, within_s=10, what="a message at bob")
        at_cyd.send("ready")
        at_bob.send("hello ada")
        at_bob.send(b"\x00\xff")
        await until(lambda: len(news.received) == 2, within_s=10, what="bob's replies at ada")
        for number in range(200):
            news.send(number.to_bytes(2, "big") + bytes(1000))
        for one in (at_bob, at_cyd):
            await until(lambda: len(one.received) >= 200, within_s=20, what="two hundred messages")  # noqa: B023

        assert news.received == ["hello ada", b"\x00\xff"]
        assert at_bob.received[0] == "only for bob"
        assert [one[:2] for one in at_bob.received[1:]] == [n.to_bytes(2, "big") for n in range(200)]
        assert at_cyd.received == at_bob.received[1:]
        assert bob.opened == cyd.opened == ["server-events"]
        assert ada.opened == []


async def test_a_subscriber_that_is_stuck_delays_nobody_and_a_close_is_seen_by_all(server: Server) -> None:
    async with calling(server) as app:
        ada, *others = [await app.session() for _ in range(5)]
        for one in (ada, *others):
            await one.establish()
        news = await ada.channel("news")
        ends = [await one.channel("news", ada.id) for one in others]
        await until(lambda: all(one.is_open for one in (news, *ends)), within_s=10, what="open channels")
        stuck, readers = others[-1], ends[:-1]
        stuck.fall_silent()

        # More than waits for a subscriber before its channel is closed.
        messages = [number.to_bytes(2, "big") + bytes(2000) for number in range(1000)]
        for message in messages:
            news.send(message)
        for one in readers:
            await until(lambda: len(one.received) == 1000, within_s=60, what="a thousand messages")  # noqa: B023

        assert all(one.received == messages for one in readers)
        assert (await stuck.channel_statuses())["news"] == "inactive"
        assert [(await one.channel_statuses())["news"] for one in others[:-1]] == ["active"] * 3
        await ada.close_channel(news)
        await until(lambda: not any(one.is_open for one in (news, *readers)), within_s=10, what="closed channels")
        assert [(await one.channel_statuses())["news"] for one in others] == ["inactive"] * 4


async def test_data_and_media_share_a_connection_and_a_publisher_that_leaves_closes_its_channels(
    server: Server,
) -> None:
    async with calling(server) as app:
        ada, bob = await app.session(), await app.session()
        await ada.push(cam=VideoStreamTrack())
        await ada.establish()
        [mid] = (await bob.pull((ada.id, "cam"))).values()
        await bob.establish()
        news = await ada.channel("news", ordered=False, maxRetransmits=0)
        at_bob = await bob.channel("news", ada.id, ordered=False, maxRetransmits=0)
        await until(lambda: news.is_open and at_bob.is_open, within_s=10, what="open channels")
        news.send("hello")
        await until(lambda: at_bob.received == ["hello"], within_s=10, what="a message")
        await until(lambda: frames(bob, mid) > 5, within_s=15, what="the picture")

        await ada.hang_up()
        await until(lambda: not at_bob.is_open, within_s=10, what="the channel closed")


async def test_a_session_receives_what_a_livekit_participant_publishes(server: Server, room_name: str) -> None:
    async with (
        calling(server) as app,
        joined(server.ws, token("ada", room_name)) as ada,
        joined(server.ws, token("cyd", room_name)) as cyd,
    ):
        await ada.speak()
        cam = await ada.show(320, 240)
        bob = await app.session()
        # The publisher's own call returns before the track can be found.
        await until(lambda: len(cyd.heard) == 2, within_s=10, what="both tracks at somebody")

        # By name, and by id: both as LiveKit's clients see them.
        sid = ada.room.local_participant.sid
        sound, picture = (await bob.pull((sid, "tone"), (sid, cam.sid))).values()

        await until(lambda: frames(bob, picture) > 10, within_s=15, what="ada's picture")
        await until(lambda: heard(bob, sound).loudest > 4_000, within_s=15, what="ada's tone")
        assert heard(bob, picture).size == (320, 240)


async def test_a_livekit_participant_receives_what_a_session_of_its_room_publishes(
    server: Server, room_name: str
) -> None:
    async with calling(server) as app, joined(server.ws, token("ada", room_name)) as ada:
        bob = await app.session(f"correlationId=room:{room_name}/bob")
        await until(lambda: "bob" in ada.others(), within_s=5, what="bob in ada's room")

        await bob.push(mic=AudioStreamTrack(), cam=VideoStreamTrack())

        await until(lambda: ada.video_from("bob").frames > 10, within_s=15, what="bob's picture")
        await until(lambda: ada.audio_from("bob").frames > 10, within_s=15, what="bob's sound")
        assert ada.video_from("bob").size == (640, 480)
        names = {one.name for one in ada.others()["bob"].track_publications.values()}
        assert names == {"mic", "cam"}

        await bob.hang_up()
        await until(lambda: "bob" not in ada.others(), within_s=5, what="bob gone")


async def test_sessions_made_and_dropped_leave_nothing_behind(server: Server) -> None:
    async with calling(server) as app:
        before = server.descriptors()
        for _ in range(5):
            ada, bob = await app.session(), await app.session()
            await ada.push(cam=VideoStreamTrack())
            [mid] = (await bob.pull((ada.id, "cam"))).values()
            await until(lambda: frames(bob, mid) > 2, within_s=15, what="the picture")  # noqa: B023
            await ada.hang_up()
            await bob.hang_up()

        await settle(lambda: server.sample("parley_participants"), 0)
        metrics = await server.metrics()
        assert metrics["parley_rooms"] == 0
        await server.has_no_more(0, 'parley_engine_objects{kind="transports"}')
        await until(lambda: server.descriptors() <= before + 1, within_s=5, what="no descriptor left")


def frames(session: Session, mid: str) -> int:
    return session.heard[mid].frames if mid in session.heard else 0


def heard(session: Session, mid: str) -> Heard:
    return session.heard.get(mid, Heard())
