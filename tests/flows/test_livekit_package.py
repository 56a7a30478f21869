"""Two and more `livekit` participants, with the package's default options, in one room."""

from __future__ import annotations

import pytest
from livekit import rtc

from .participant import joined
from .server import Server, token, until

pytestmark = [pytest.mark.anyio, pytest.mark.native]


async def test_two_participants_hear_and_see_each_other(server: Server, room_name: str) -> None:
    async with (
        joined(server.ws, token("ada", room_name)) as ada,
        joined(server.ws, token("bob", room_name)) as bob,
    ):
        await ada.speak()
        await bob.speak()
        await ada.show(640, 360)
        await bob.show(320, 240)

        for listener, speaker, size in ((ada, "bob", (320, 240)), (bob, "ada", (640, 360))):
            audio, video = listener.audio_from, listener.video_from
            await until(lambda: audio(speaker).loudest > 4_000, within_s=10, what=f"the tone of {speaker}")  # noqa: B023
            await until(lambda: video(speaker).size == size, within_s=10, what=f"{speaker}'s picture, {size}")  # noqa: B023


async def test_a_thousand_reliable_messages_arrive_complete_and_in_order(server: Server, room_name: str) -> None:
    async with (
        joined(server.ws, token("ada", room_name)) as ada,
        joined(server.ws, token("bob", room_name)) as bob,
    ):
        await until(lambda: "bob" in ada.others(), within_s=5, what="bob in ada's room")
        for number in range(1_000):
            payload = number.to_bytes(4, "big") + bytes(1020)
            await ada.room.local_participant.publish_data(payload, reliable=True, topic="numbers")

        await until(lambda: len(bob.data) >= 1_000, within_s=30, what="1,000 messages")

    assert [int.from_bytes(packet.data[:4], "big") for packet in bob.data] == list(range(1_000))
    assert {len(packet.data) for packet in bob.data} == {1_024}
    assert {packet.topic for packet in bob.data} == {"numbers"}


async def test_lossy_messages_arrive_where_they_are_addressed(server: Server, room_name: str) -> None:
    async with (
        joined(server.ws, token("ada", room_name)) as ada,
        joined(server.ws, token("bob", room_name)) as bob,
        joined(server.ws, token("cyd", room_name)) as cyd,
    ):
        # Lossy messages go to whoever is active; the join alone does not say so.
        active = [rtc.ParticipantState.PARTICIPANT_STATE_ACTIVE] * 2
        await until(lambda: [p.state for p in ada.others().values()] == active, within_s=5, what="both others active")
        await ada.room.local_participant.publish_data(b"to all", reliable=False)
        await ada.room.local_participant.publish_data(b"to cyd", reliable=False, destination_identities=["cyd"])

        await until(lambda: len(cyd.data) == 2, within_s=5, what="two messages at cyd")
        await until(lambda: len(bob.data) == 1, within_s=5, what="one message at bob")
        assert not ada.data
        assert bob.data[0].participant is not None
        assert bob.data[0].participant.identity == "ada"
        assert bob.data[0].kind == rtc.DataPacketKind.KIND_LOSSY


async def test_names_metadata_and_attributes_reach_the_others(server: Server, room_name: str) -> None:
    async with (
        joined(server.ws, token("ada", room_name)) as ada,
        joined(server.ws, token("bob", room_name)) as bob,
    ):
        await until(lambda: "ada" in bob.others(), within_s=5, what="ada in bob's room")
        await ada.room.local_participant.set_name("Ada Lovelace")
        await ada.room.local_participant.set_metadata("countess")
        await ada.room.local_participant.set_attributes({"hand": "raised"})

        seen = bob.others()["ada"]
        await until(lambda: seen.name == "Ada Lovelace", within_s=2, what="the name")
        await until(lambda: seen.metadata == "countess", within_s=2, what="the metadata")
        await until(lambda: seen.attributes.get("hand") == "raised", within_s=2, what="the attributes")


async def test_joining_and_leaving_twenty_times_leaves_nothing_behind(server: Server, room_name: str) -> None:
    async with joined(server.ws, token("ada", room_name)) as ada:
        await ada.speak()
        before = server.descriptors()
        for _ in range(20):
            async with joined(server.ws, token("bob", room_name)) as bob:
                await bob.speak()
                await until(lambda: bob.audio_from("ada").frames > 0, within_s=10, what="ada's tone at bob")

        await until(lambda: not ada.others(), within_s=5, what="no ghost at ada")
        metrics = await server.metrics()
        assert metrics["parley_rooms"] == 1
        assert metrics["parley_participants"] == 1
        await until(lambda: server.descriptors() <= before, within_s=5, what="no descriptor left")
        await server.has_no_more(2, 'parley_engine_objects{kind="transports"}')
