"""User data on LiveKit's data channels: one DataPacket a message.

The server vouches for who sent a packet and over which channel; the rest passes through untouched.
Source: LiveKit protocol, `livekit_models.proto`, DataPacket; LiveKit documentation, "Sending data".
"""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf.message import DecodeError
from livekit.protocol.models import DataPacket, ParticipantInfo, UserPacket

from parley.core.data import Data, DataStyle
from parley.core.model import Participant
from parley.core.style import ChannelStyle
from parley.dialects.livekit.wire import baggage_of_participant, participant_sid, read_participant_sid
from parley.ids import ParticipantId

RELIABLE = "_reliable"
LOSSY = "_lossy"
DATA_TRACK = "_data_track"

CHANNELS = (
    ChannelStyle(label=RELIABLE),
    ChannelStyle(label=LOSSY, ordered=False, max_retransmits=0),
)
"""What the server opens on a subscriber's peer connection."""

_NOT_FORWARDED = frozenset({"metrics"})


@dataclass(frozen=True, slots=True)
class Envelope:
    """A packet as it goes to other LiveKit clients, written once for all of them."""

    packet: bytes


class PacketReader:
    """Reads one participant's packets; it remembers how far the reliable ones have come."""

    def __init__(self) -> None:
        self._last_sequence = 0

    @property
    def style(self) -> DataStyle:
        return DataStyle(reliable=RELIABLE, lossy=LOSSY, read=self.read, write=write)

    def read(self, sender: Participant, label: str, message: bytes) -> Data | None:
        """What a message means, or None where there is nothing to pass on.

        label: of the channel it came by. Any channel with a name of its own carries bare bytes to everybody.
        """
        if not sender.grant.can_publish_data or label == DATA_TRACK:
            return None
        if label not in (RELIABLE, LOSSY):
            return _unlabelled(sender, message)
        try:
            packet = DataPacket.FromString(message)
        except DecodeError:
            return None
        value = packet.WhichOneof("value")
        is_agent = sender.grant.agent or baggage_of_participant(sender).kind == ParticipantInfo.AGENT
        if value in _NOT_FORWARDED or (value == "transcription" and not is_agent):
            return None
        if label == RELIABLE and not self._is_next(packet.sequence):
            return None
        _sign(packet, sender, is_reliable=label == RELIABLE, is_agent=is_agent)
        return Data(
            payload=packet.user.payload if value == "user" else b"",
            reliable=label == RELIABLE,
            topic=packet.user.topic if value == "user" else "",
            to=tuple(packet.destination_identities),
            to_ids=_older_destinations(packet),
            envelope=Envelope(packet.SerializeToString()),
            opaque=value != "user",
        )

    def _is_next(self, sequence: int) -> bool:
        """Clients repeat what they are not sure of; 0 is a packet that has no number."""
        if sequence == 0:
            return True
        if sequence <= self._last_sequence:
            return False
        self._last_sequence = sequence
        return True


def write(sender: Participant | None, data: Data) -> bytes | None:
    """The message for a LiveKit client; the server itself sends with no identity."""
    if isinstance(data.envelope, Envelope):
        return data.envelope.packet
    if data.opaque:
        return None
    user = UserPacket(payload=data.payload, topic=data.topic or None, destination_identities=data.to)
    packet = DataPacket(user=user, destination_identities=data.to)
    if sender is None:
        packet.kind = DataPacket.RELIABLE if data.reliable else DataPacket.LOSSY
    else:
        _sign(packet, sender, is_reliable=data.reliable, is_agent=False)
    return packet.SerializeToString()


def _sign(packet: DataPacket, sender: Participant, *, is_reliable: bool, is_agent: bool) -> None:
    """Say who sent a packet, whatever it said itself, and bring its two lists of recipients together."""
    identity = "" if sender.grant.hidden else sender.identity
    packet.kind = DataPacket.RELIABLE if is_reliable else DataPacket.LOSSY
    packet.participant_sid = participant_sid(sender.id)
    if packet.HasField("user"):
        user = packet.user
        user.participant_sid = "" if sender.grant.hidden else packet.participant_sid
        user.participant_identity = identity
        if packet.destination_identities:
            user.destination_identities[:] = packet.destination_identities
        else:
            packet.destination_identities[:] = user.destination_identities
    if not (is_agent and _speaks_for_another(packet, sender)):
        packet.participant_identity = identity


def _speaks_for_another(packet: DataPacket, sender: Participant) -> bool:
    """Agents send transcriptions and chat in the name of the person whose words they are."""
    if packet.participant_identity in ("", sender.identity):
        return False
    if packet.HasField("chat_message"):
        packet.chat_message.generated = True
        return True
    if packet.HasField("stream_header") and packet.stream_header.HasField("text_header"):
        packet.stream_header.text_header.generated = True
        return True
    return False


def _older_destinations(packet: DataPacket) -> tuple[ParticipantId, ...]:
    sids = packet.user.destination_sids if packet.HasField("user") else ()
    found = (read_participant_sid(sid) for sid in sids)
    return tuple(participant for participant in found if participant is not None)


def _unlabelled(sender: Participant, message: bytes) -> Data:
    identity = "" if sender.grant.hidden else sender.identity
    packet = DataPacket(participant_identity=identity, user=UserPacket(payload=message))
    return Data(payload=message, envelope=Envelope(packet.SerializeToString()))
