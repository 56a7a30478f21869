"""What a client is told of participants, and that it is written once for all."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from livekit.protocol.rtc import SignalResponse

from parley.core.events import (
    Event,
    ParticipantJoined,
    ParticipantLeft,
    RoomUpdated,
    TrackAnnounced,
    TrackLive,
    TrackPublished,
)
from parley.core.model import LeaveReason, Participant, RoomInfo
from parley.dialects.livekit.frames import Frame
from parley.dialects.livekit.news import KEPT, Bulletins, is_succession, subject
from parley.ids import ParticipantId, RoomId, TenantId
from tests.dialects.livekit.test_wire import ADA, track

BOB = replace(ADA, id=ParticipantId(8), identity="bob")
ROOM = RoomInfo(id=RoomId(1), tenant=TenantId("t"), name="standup", created_at=0.0)


def shown(frame: Frame) -> list[str]:
    assert isinstance(frame, bytes)
    return [info.identity for info in SignalResponse.FromString(frame).update.participants]


def named(number: int) -> Participant:
    return replace(ADA, id=ParticipantId(number))


@pytest.mark.parametrize(
    ("event", "about"),
    [
        (ParticipantJoined(ADA), ADA),
        (ParticipantLeft(ADA, LeaveReason.CLIENT_LEFT), ADA),
        (TrackPublished(ADA, track()), ADA),
        (TrackAnnounced(ADA, track()), None),
        (TrackLive(ADA, track()), None),
        (RoomUpdated(ROOM), None),
    ],
)
def test_clients_need_not_know_of_announcements_and_packets(event: Event, about: Participant | None) -> None:
    assert subject(event) is about


@pytest.mark.parametrize(("protocol", "goes_without_saying"), [(11, False), (12, True)])
def test_a_newer_session_says_that_the_older_one_is_gone(protocol: int, goes_without_saying: bool) -> None:
    replaced = ParticipantLeft(ADA, LeaveReason.DUPLICATE_IDENTITY)

    assert is_succession(replaced, protocol) is goes_without_saying
    assert not is_succession(ParticipantLeft(ADA, LeaveReason.CLIENT_LEFT), protocol)


def test_several_participants_travel_in_one_message_that_is_written_once() -> None:
    bulletins = Bulletins("")

    [frame] = bulletins.write([ADA, BOB], as_text=False)
    [again] = bulletins.write([ADA, BOB], as_text=False)

    assert shown(frame) == ["ada", "bob"]
    assert again is frame


def test_a_newer_revision_is_written_anew() -> None:
    bulletins = Bulletins("")
    bulletins.write([ADA], as_text=False)

    [frame] = bulletins.write([replace(ADA, revision=ADA.revision + 1, identity="countess")], as_text=False)

    assert shown(frame) == ["countess"]


def test_who_speaks_text_is_told_in_text() -> None:
    bulletins = Bulletins("hq")
    bulletins.write([ADA], as_text=False)

    [frame] = bulletins.write([ADA], as_text=True)

    assert isinstance(frame, str)
    [info] = json.loads(frame)["update"]["participants"]
    assert (info["identity"], info["region"]) == ("ada", "hq")


def test_many_participants_are_told_in_several_messages() -> None:
    many = [replace(named(number), metadata="m" * 50_000) for number in range(5)]

    frames = Bulletins("").write(many, as_text=False)

    assert [len(shown(frame)) for frame in frames] == [2, 2, 1]


def test_only_the_last_few_are_remembered() -> None:
    bulletins = Bulletins("")
    [first] = bulletins.write([ADA], as_text=False)
    for number in range(KEPT):
        bulletins.write([named(number + 100)], as_text=False)

    [again] = bulletins.write([ADA], as_text=False)

    assert again == first
    assert again is not first
