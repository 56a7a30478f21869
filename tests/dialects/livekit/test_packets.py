"""User data: what the server vouches for, what it drops, and what it leaves alone."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol.metrics import MetricsBatch
from livekit.protocol.models import ChatMessage, DataPacket, DataStream, ParticipantInfo, Transcription, UserPacket

from parley.core.data import Data
from parley.core.grants import Grant
from parley.core.model import Participant
from parley.dialects.livekit import wire
from parley.dialects.livekit.packets import LOSSY, RELIABLE, PacketReader, write
from parley.ids import ParticipantId, RoomId, TenantId

GRANT = Grant(tenant=TenantId("t"), identity="ada", room="standup")
ADA = Participant(id=ParticipantId(7), room=RoomId(1), identity="ada", grant=GRANT, joined_at=1.8e9)
AGENT = replace(ADA, baggage={wire.BAGGAGE: wire.ParticipantBaggage(kind=ParticipantInfo.AGENT)})
HIDDEN = replace(ADA, grant=replace(GRANT, hidden=True))
PA_7 = wire.participant_sid(ADA.id)


def read(packet: DataPacket, label: str = RELIABLE, sender: Participant = ADA) -> Data | None:
    return PacketReader().read(sender, label, packet.SerializeToString())


def passed_on(packet: DataPacket, label: str = RELIABLE, sender: Participant = ADA) -> DataPacket:
    data = read(packet, label, sender)
    assert data is not None
    message = write(sender, data)
    assert message is not None
    return DataPacket.FromString(message)


def test_whoever_a_packet_says_it_is_from_the_server_says_the_truth():
    forged = DataPacket(
        kind=DataPacket.LOSSY,
        participant_sid="PA_x",
        participant_identity="bob",
        user=UserPacket(payload=b"hi", participant_identity="bob", participant_sid="PA_x", topic="chat"),
    )

    packet = passed_on(forged)

    assert (packet.kind, packet.participant_sid, packet.participant_identity) == (DataPacket.RELIABLE, PA_7, "ada")
    assert (packet.user.participant_sid, packet.user.participant_identity) == (PA_7, "ada")
    assert (packet.user.payload, packet.user.topic) == (b"hi", "chat")


def test_other_dialects_get_the_payload_the_topic_and_the_channel():
    data = read(DataPacket(user=UserPacket(payload=b"hi", topic="chat")), LOSSY)

    assert data is not None
    assert (data.payload, data.topic, data.reliable, data.opaque) == (b"hi", "chat", False, False)


def test_a_hidden_sender_stays_hidden():
    packet = passed_on(DataPacket(user=UserPacket(payload=b"hi")), sender=HIDDEN)

    assert (packet.participant_identity, packet.user.participant_identity, packet.user.participant_sid) == ("", "", "")


def test_recipients_stand_in_both_places_whichever_the_client_used():
    outer = passed_on(DataPacket(destination_identities=["bob"], user=UserPacket(destination_identities=["eve"])))
    inner = passed_on(DataPacket(user=UserPacket(destination_identities=["bob"])))

    for packet in (outer, inner):
        assert list(packet.destination_identities) == list(packet.user.destination_identities) == ["bob"]


def test_older_clients_name_recipients_by_sid():
    data = read(DataPacket(user=UserPacket(destination_sids=[PA_7, "PA_nonsense"])))

    assert data is not None
    assert data.to_ids == (ADA.id,)


def test_a_reliable_packet_is_passed_on_once_and_its_number_is_kept():
    reader = PacketReader()

    def accepted(sequence: int) -> bool:
        packet = DataPacket(user=UserPacket(payload=b"x"), sequence=sequence)
        return reader.read(ADA, RELIABLE, packet.SerializeToString()) is not None

    assert [accepted(n) for n in (1, 2, 2, 1, 5, 0, 0, 4)] == [True, True, False, False, True, True, True, False]
    assert passed_on(DataPacket(user=UserPacket(payload=b"x"), sequence=9)).sequence == 9


def test_lossy_packets_are_not_held_against_each_other():
    reader = PacketReader()
    packet = DataPacket(user=UserPacket(payload=b"x"), sequence=3).SerializeToString()

    assert reader.read(ADA, LOSSY, packet) is not None
    assert reader.read(ADA, LOSSY, packet) is not None


def test_who_may_not_send_data_is_not_heard():
    muted = replace(ADA, grant=replace(GRANT, can_publish_data=False))

    assert read(DataPacket(user=UserPacket(payload=b"x")), sender=muted) is None


def test_streams_and_the_like_pass_through_for_clients_of_this_dialect_alone():
    packet = DataPacket(stream_chunk=DataStream.Chunk(stream_id="s", content=b"abc"), destination_identities=["bob"])

    data = read(packet)

    assert data is not None
    assert data.opaque
    assert data.to == ("bob",)
    assert passed_on(packet).stream_chunk.content == b"abc"


def test_metrics_stop_here_and_transcriptions_come_from_agents_alone():
    said = DataPacket(transcription=Transcription(transcribed_participant_identity="bob"))

    assert read(DataPacket(metrics=MetricsBatch())) is None
    assert read(said) is None
    assert read(said, sender=AGENT) is not None


def test_an_agent_may_chat_in_the_name_of_another_and_the_words_are_marked():
    chat = DataPacket(participant_identity="bob", chat_message=ChatMessage(message="hi"))

    by_agent, by_person = passed_on(chat, sender=AGENT), passed_on(chat)

    assert (by_agent.participant_identity, by_agent.chat_message.generated) == ("bob", True)
    assert (by_person.participant_identity, by_person.chat_message.generated) == ("ada", False)
    text = DataPacket(participant_identity="bob", stream_header=DataStream.Header(text_header=DataStream.TextHeader()))
    assert passed_on(text, sender=AGENT).stream_header.text_header.generated


def test_a_channel_with_a_name_of_its_own_carries_bare_bytes():
    data = PacketReader().read(ADA, "game", b"\x01\x02")

    assert data is not None
    packet = DataPacket.FromString(write(ADA, data) or b"")
    assert (packet.participant_identity, packet.participant_sid, packet.user.payload) == ("ada", "", b"\x01\x02")


@given(st.binary(), st.sampled_from([RELIABLE, LOSSY, "_data_track", "other"]))
def test_no_bytes_do_anything_but_be_read_or_dropped(message, label):
    PacketReader().read(ADA, label, message)


def test_data_of_another_dialect_becomes_a_user_packet():
    message = write(ADA, Data(payload=b"hi", topic="chat", to=("bob",)))

    assert message is not None
    packet = DataPacket.FromString(message)
    assert (packet.participant_identity, packet.user.payload, packet.user.topic) == ("ada", b"hi", "chat")
    assert list(packet.user.destination_identities) == ["bob"]


@pytest.mark.parametrize(("reliable", "kind"), [(True, DataPacket.RELIABLE), (False, DataPacket.LOSSY)])
def test_data_of_the_server_itself_has_no_identity(reliable, kind):
    packet = DataPacket.FromString(write(None, Data(payload=b"hi", reliable=reliable)) or b"")

    assert (packet.participant_identity, packet.kind, packet.user.payload) == ("", kind, b"hi")


def test_what_another_dialect_alone_understands_is_left_out():
    assert write(ADA, Data(payload=b"", envelope=object(), opaque=True)) is None
