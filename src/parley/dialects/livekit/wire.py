"""The rooms of core as LiveKit's messages show them, and back. Pure: values in, messages out.

Source: LiveKit protocol, `livekit_models.proto` and `livekit_rtc.proto`.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableSequence, Sequence
from dataclasses import dataclass, field
from typing import cast

from livekit.protocol.models import (
    AudioTrackFeature,
    BackupCodecPolicy,
    ClientInfo,
    Codec,
    DisconnectReason,
    ParticipantInfo,
    ParticipantPermission,
    Room,
    ServerInfo,
    SimulcastCodecInfo,
    TrackInfo,
    TrackSource,
    TrackType,
    VideoLayer,
    VideoQuality,
)
from livekit.protocol.rtc import (
    AddTrackRequest,
    ICEServer,
    JoinResponse,
    LeaveRequest,
    ParticipantUpdate,
    RequestResponse,
    SignalRequest,
    SignalResponse,
    SubscriptionPermission,
)

from parley.core.access import Access, Share
from parley.core.grants import Grant, Source
from parley.core.layers import Quality
from parley.core.model import LeaveReason, Participant, ParticipantState, RoomInfo, Track
from parley.dialects.livekit import sids
from parley.dialects.livekit.settings import LiveKitSettings
from parley.engine.specs import Kind
from parley.ids import ParticipantId, TrackId

BAGGAGE = "livekit"
"""The key under which this dialect keeps what core does not know."""

SERVER_VERSION = "1.13.5"
"""The version of LiveKit's server that we answer like. Clients compare it, as three numbers, to switch features."""
PROTOCOL = 17
AGENT_PROTOCOL = 1

UPDATE_BYTES = 128 * 1024
"""About how much one `update` holds before the rest goes into another."""

RECONNECT_PROTOCOL = 13
"""From this protocol on a `leave` states an action; before, only whether the client may come back."""


@dataclass(frozen=True, slots=True)
class ParticipantBaggage:
    """What LiveKit's clients tell each other of a participant, and core has no word for."""

    kind: ParticipantInfo.Kind = ParticipantInfo.STANDARD
    kind_details: tuple[ParticipantInfo.KindDetail, ...] = ()
    client_protocol: int = 0
    capabilities: tuple[ClientInfo.Capability, ...] = ()
    can_subscribe_metrics: bool = False
    can_manage_agent_session: bool = False


@dataclass(frozen=True, slots=True)
class TrackBaggage:
    """The same of a track: a TrackInfo as announced. It is never changed, only replaced."""

    info: TrackInfo = field(default_factory=TrackInfo)


_SOURCES = {
    Source.UNKNOWN: TrackSource.UNKNOWN,
    Source.CAMERA: TrackSource.CAMERA,
    Source.MICROPHONE: TrackSource.MICROPHONE,
    Source.SCREEN: TrackSource.SCREEN_SHARE,
    Source.SCREEN_AUDIO: TrackSource.SCREEN_SHARE_AUDIO,
}
_CORE_SOURCES = {number: source for source, number in _SOURCES.items()}
_SOURCE_LETTERS = {
    Source.UNKNOWN: "",
    Source.CAMERA: "C",
    Source.MICROPHONE: "M",
    Source.SCREEN: "S",
    Source.SCREEN_AUDIO: "s",
}
_STREAMS = {
    TrackSource.CAMERA: "camera",
    TrackSource.MICROPHONE: "camera",
    TrackSource.SCREEN_SHARE: "screen",
    TrackSource.SCREEN_SHARE_AUDIO: "screen",
}
_STATES = {
    ParticipantState.JOINING: ParticipantInfo.JOINING,
    ParticipantState.JOINED: ParticipantInfo.JOINED,
    ParticipantState.ACTIVE: ParticipantInfo.ACTIVE,
    ParticipantState.DISCONNECTED: ParticipantInfo.DISCONNECTED,
}

_LEAVES: dict[LeaveReason, tuple[DisconnectReason, LeaveRequest.Action]] = {
    LeaveReason.CLIENT_LEFT: (DisconnectReason.CLIENT_INITIATED, LeaveRequest.DISCONNECT),
    LeaveReason.CLIENT_UNAVAILABLE: (DisconnectReason.USER_UNAVAILABLE, LeaveRequest.DISCONNECT),
    LeaveReason.CLIENT_REJECTED: (DisconnectReason.USER_REJECTED, LeaveRequest.DISCONNECT),
    LeaveReason.CLIENT_FAILED: (DisconnectReason.AGENT_ERROR, LeaveRequest.DISCONNECT),
    LeaveReason.DUPLICATE_IDENTITY: (DisconnectReason.DUPLICATE_IDENTITY, LeaveRequest.DISCONNECT),
    LeaveReason.REMOVED: (DisconnectReason.PARTICIPANT_REMOVED, LeaveRequest.DISCONNECT),
    LeaveReason.EXPIRED: (DisconnectReason.ROOM_CLOSED, LeaveRequest.DISCONNECT),
    LeaveReason.JOIN_TIMEOUT: (DisconnectReason.JOIN_FAILURE, LeaveRequest.DISCONNECT),
    LeaveReason.SIGNAL_LOST: (DisconnectReason.SIGNAL_CLOSE, LeaveRequest.RECONNECT),
    # Upstream offers a resume first; until there is one, the client starts over.
    LeaveReason.PEER_FAILED: (DisconnectReason.CONNECTION_TIMEOUT, LeaveRequest.RECONNECT),
    LeaveReason.NEGOTIATION_TIMEOUT: (DisconnectReason.STATE_MISMATCH, LeaveRequest.RECONNECT),
    LeaveReason.NEGOTIATION_FAILED: (DisconnectReason.STATE_MISMATCH, LeaveRequest.RECONNECT),
    LeaveReason.SLOW_READER: (DisconnectReason.STATE_MISMATCH, LeaveRequest.RECONNECT),
    LeaveReason.DATA_LOST: (DisconnectReason.STATE_MISMATCH, LeaveRequest.RECONNECT),
    LeaveReason.ROOM_DELETED: (DisconnectReason.ROOM_DELETED, LeaveRequest.DISCONNECT),
    LeaveReason.ROOM_CLOSED: (DisconnectReason.ROOM_CLOSED, LeaveRequest.DISCONNECT),
    LeaveReason.SERVER_SHUTDOWN: (DisconnectReason.SERVER_SHUTDOWN, LeaveRequest.DISCONNECT),
    LeaveReason.INTERNAL: (DisconnectReason.STATE_MISMATCH, LeaveRequest.RECONNECT),
}
_GIVEN_REASONS = {
    DisconnectReason.USER_UNAVAILABLE: LeaveReason.CLIENT_UNAVAILABLE,
    DisconnectReason.USER_REJECTED: LeaveReason.CLIENT_REJECTED,
    DisconnectReason.AGENT_ERROR: LeaveReason.CLIENT_FAILED,
}

QUALITIES = {
    Quality.LOW: VideoQuality.LOW,
    Quality.MEDIUM: VideoQuality.MEDIUM,
    Quality.HIGH: VideoQuality.HIGH,
}


# Ids.


def participant_sid(participant: ParticipantId) -> str:
    return sids.write(sids.PARTICIPANT, participant)


def track_sid(track: Track) -> str:
    """`TR_`, a letter for the kind, one for the source where it is known, and the id."""
    kind = "V" if track.kind is Kind.VIDEO else "A"
    return sids.write(f"{sids.TRACK}{kind}{_SOURCE_LETTERS[track.source]}", track.id)


def read_participant_sid(sid: str) -> ParticipantId | None:
    number = sids.read(sids.PARTICIPANT, sid)
    return None if number is None else ParticipantId(number)


def read_track_sid(sid: str) -> TrackId | None:
    number = sids.read(sids.TRACK, sid)
    return None if number is None else TrackId(number)


# Tracks.


def read_source(source: TrackSource) -> Source:
    return _CORE_SOURCES.get(source, Source.UNKNOWN)


def announced(request: AddTrackRequest, codecs: Sequence[str]) -> TrackInfo:
    """The TrackInfo of a fresh announcement: all but its SID and what negotiation will add.

    codecs: those this server forwards, preferred first; one it does not is replaced.
    """
    is_audio = request.type == TrackType.AUDIO
    features = list(dict.fromkeys(request.audio_features))
    if request.stereo and AudioTrackFeature.TF_STEREO not in features:
        features.append(AudioTrackFeature.TF_STEREO)
    if request.disable_dtx and AudioTrackFeature.TF_NO_DTX not in features:
        features.append(AudioTrackFeature.TF_NO_DTX)
    layers = _by_quality(request.layers)
    encodings = _encodings(request, layers, codecs)
    policy = request.backup_codec_policy
    if is_audio and policy != BackupCodecPolicy.REGRESSION:
        policy = BackupCodecPolicy.SIMULCAST
    return TrackInfo(
        type=request.type,
        name=request.name,
        muted=request.muted,
        width=request.width,
        height=request.height,
        simulcast=not is_audio and not _is_svc(encodings[0]) and len(encodings[0].layers) > 1,
        disable_dtx=request.disable_dtx,
        source=request.source,
        layers=layers,
        codecs=encodings,
        stereo=request.stereo,
        disable_red=request.disable_red,
        encryption=request.encryption,
        stream=request.stream or _STREAMS.get(request.source, "unknown"),
        audio_features=features,
        backup_codec_policy=policy,
        # Nothing here strips packet trailers for subscribers that cannot read them, so none are promised.
    )


def _encodings(
    request: AddTrackRequest, layers: Sequence[VideoLayer], codecs: Sequence[str]
) -> list[SimulcastCodecInfo]:
    encodings: dict[str, SimulcastCodecInfo] = {}
    for asked in request.simulcast_codecs:
        mime = mime_type(asked.codec, request.type, codecs)
        encodings.setdefault(
            mime,
            SimulcastCodecInfo(
                mime_type=mime,
                cid=asked.cid,
                layers=_by_quality(asked.layers) or layers,
                video_layer_mode=asked.video_layer_mode or _layer_mode(mime),
            ),
        )
    one_stream = VideoLayer.ONE_SPATIAL_LAYER_PER_STREAM
    return list(encodings.values()) or [SimulcastCodecInfo(cid=request.cid, layers=layers, video_layer_mode=one_stream)]


def _by_quality(layers: Iterable[VideoLayer]) -> list[VideoLayer]:
    return sorted(layers, key=lambda layer: layer.quality)


def mime_type(codec: str, type: TrackType, codecs: Sequence[str]) -> str:
    """`video/VP8` for `vp8`; for a codec that is not among those given, the first of its kind that is."""
    wanted = codec.rpartition("/")[2].lower()
    is_audio = type == TrackType.AUDIO
    family = [name for name in codecs if (name == "opus") is is_audio]
    name = next((name for name in family if name.lower() == wanted), family[0] if family else wanted)
    return f"{'audio' if is_audio else 'video'}/{name}"


def _layer_mode(mime: str) -> VideoLayer.Mode:
    if mime in ("video/VP9", "video/AV1"):
        return VideoLayer.MULTIPLE_SPATIAL_LAYERS_PER_STREAM
    return VideoLayer.ONE_SPATIAL_LAYER_PER_STREAM


def _is_svc(encoding: SimulcastCodecInfo) -> bool:
    return encoding.video_layer_mode == VideoLayer.MULTIPLE_SPATIAL_LAYERS_PER_STREAM


def baggage_of_track(track: Track) -> TrackInfo:
    """What was kept with a track; of another dialect's track, nothing but defaults."""
    kept = track.baggage.get(BAGGAGE)
    return kept.info if isinstance(kept, TrackBaggage) else TrackInfo(stream=_STREAMS.get(_SOURCES[track.source], ""))


def track_info(track: Track) -> TrackInfo:
    """A track, whole."""
    info = TrackInfo()
    info.CopyFrom(baggage_of_track(track))
    info.sid = track_sid(track)
    info.type = TrackType.VIDEO if track.kind is Kind.VIDEO else TrackType.AUDIO
    info.source = _SOURCES[track.source]
    info.name = track.name
    info.muted = track.muted
    if track.mid is not None:
        info.mid = track.mid
    if track.codec:
        info.mime_type = f"{track.kind.value}/{track.codec}"
        first = info.codecs[0] if info.codecs else info.codecs.add()
        first.mime_type = first.mime_type or info.mime_type
        first.mid = info.mid
        if track.is_simulcast:
            info.simulcast = len(track.layers) > 1
            _show_layers(track, info.layers)
            _show_layers(track, first.layers)
    return info


def _show_layers(track: Track, shown: MutableSequence[VideoLayer]) -> None:
    """Add what negotiation has found out to what was announced of a track's layers; all of it for other dialects'."""
    for place, layer in enumerate(sorted(track.layers, key=lambda layer: layer.quality)):
        known = next((one for one in shown if one.quality == QUALITIES[layer.quality]), None)
        if known is None:
            shown.append(VideoLayer(quality=QUALITIES[layer.quality], width=layer.width, height=layer.height))
            known = shown[-1]
        known.rid, known.spatial_layer = layer.rid, place


# Participants.


def baggage_of_participant(participant: Participant) -> ParticipantBaggage:
    kept = participant.baggage.get(BAGGAGE)
    return kept if isinstance(kept, ParticipantBaggage) else ParticipantBaggage()


def read_kind(name: str) -> ParticipantInfo.Kind:
    """The kind that a token names, in whatever case; an ordinary one where the name is unknown."""
    return _KINDS.get(name.upper(), ParticipantInfo.STANDARD)


def read_kind_details(names: Iterable[str]) -> tuple[ParticipantInfo.KindDetail, ...]:
    return tuple(_KIND_DETAILS[name.upper()] for name in names if name.upper() in _KIND_DETAILS)


# The stubs of protobuf say that the values of an enum are plain numbers, which at run time they are.
_KINDS = cast(dict[str, ParticipantInfo.Kind], dict(ParticipantInfo.Kind.items()))
_KIND_DETAILS = cast(dict[str, ParticipantInfo.KindDetail], dict(ParticipantInfo.KindDetail.items()))


def permission(grant: Grant, baggage: ParticipantBaggage) -> ParticipantPermission:
    """What a participant may do. It must always be sent: browsers refuse to publish without it."""
    return ParticipantPermission(
        can_subscribe=grant.can_subscribe,
        can_publish=grant.can_publish,
        can_publish_data=grant.can_publish_data,
        can_publish_sources=sorted(_SOURCES[source] for source in grant.publish_sources),
        hidden=grant.hidden,
        recorder=grant.recorder,
        can_update_metadata=grant.can_update_own_metadata,
        agent=grant.agent,
        can_subscribe_metrics=baggage.can_subscribe_metrics,
        can_manage_agent_session=baggage.can_manage_agent_session,
    )


def participant_info(participant: Participant, region: str = "") -> ParticipantInfo:
    """A participant, whole. Clients take what is missing from an update as gone, so it is never sent in part."""
    baggage = baggage_of_participant(participant)
    left_for = participant.left_for
    return ParticipantInfo(
        sid=participant_sid(participant.id),
        identity=participant.identity,
        state=_STATES[participant.state],
        tracks=[track_info(track) for track in participant.published],
        metadata=participant.metadata,
        joined_at=int(participant.joined_at),
        joined_at_ms=int(participant.joined_at * 1000),
        name=participant.name,
        version=participant.revision,
        permission=permission(participant.grant, baggage),
        region=region,
        is_publisher=participant.is_publisher,
        kind=baggage.kind,
        attributes=dict(participant.attributes),
        disconnect_reason=DisconnectReason.UNKNOWN_REASON if left_for is None else _LEAVES[left_for][0],
        kind_details=list(baggage.kind_details),
        client_protocol=baggage.client_protocol,
        capabilities=list(baggage.capabilities),
    )


def updates(infos: Iterable[ParticipantInfo]) -> list[SignalResponse]:
    """`update` messages with all of these, in order, none much larger than UPDATE_BYTES."""
    messages: list[SignalResponse] = []
    chunk = ParticipantUpdate()
    size = 0
    for info in infos:
        length = info.ByteSize()
        if chunk.participants and size + length > UPDATE_BYTES:
            messages.append(SignalResponse(update=chunk))
            chunk, size = ParticipantUpdate(), 0
        chunk.participants.append(info)
        size += length
    if chunk.participants:
        messages.append(SignalResponse(update=chunk))
    return messages


# The room and the server.


def room_sid(room: RoomInfo) -> str:
    return sids.write(sids.ROOM, room.id)


def room_info(room: RoomInfo, codecs: Sequence[str]) -> Room:
    return Room(
        sid=room_sid(room),
        name=room.name,
        empty_timeout=int(room.empty_timeout_s),
        departure_timeout=int(room.departure_timeout_s),
        max_participants=room.max_participants,
        creation_time=int(room.created_at),
        creation_time_ms=int(room.created_at * 1000),
        enabled_codecs=enabled_codecs(codecs),
        metadata=room.metadata,
        num_participants=room.num_participants,
        num_publishers=room.num_publishers,
        active_recording=room.is_recording,
    )


def enabled_codecs(codecs: Sequence[str]) -> list[Codec]:
    """What may be published, video first. An empty list makes browsers publish one track after another."""
    video = [Codec(mime=f"video/{name}") for name in codecs if name != "opus"]
    audio = [Codec(mime=f"audio/{name}") for name in codecs if name == "opus"]
    return video + audio


def server_info(settings: LiveKitSettings, node: int, product: str) -> ServerInfo:
    """node: this process, as a random number; product: who we really are."""
    return ServerInfo(
        edition=ServerInfo.Standard,
        version=SERVER_VERSION,
        protocol=PROTOCOL,
        region=settings.region,
        node_id=sids.write(sids.NODE, node),
        debug_info=product,
        agent_protocol=AGENT_PROTOCOL,
    )


def join(
    *,
    room: RoomInfo,
    participant: Participant,
    others: Sequence[Participant],
    settings: LiveKitSettings,
    server: ServerInfo,
    subscriber_primary: bool,
    sif_trailer: bytes,
) -> SignalResponse:
    """The first message of a session. others: those the participant may know of, itself left out."""
    return SignalResponse(
        join=JoinResponse(
            room=room_info(room, settings.codecs),
            participant=participant_info(participant, settings.region),
            other_participants=[participant_info(other, settings.region) for other in others],
            server_version=server.version,
            ice_servers=[
                ICEServer(urls=ice.urls, username=ice.username, credential=ice.credential.get_secret_value())
                for ice in settings.ice_servers
            ],
            subscriber_primary=subscriber_primary,
            server_region=settings.region,
            ping_timeout=settings.timeouts.ping_timeout_s,
            ping_interval=settings.timeouts.ping_interval_s,
            server_info=server,
            sif_trailer=sif_trailer,
            enabled_publish_codecs=enabled_codecs(settings.codecs),
            fast_publish=participant.grant.can_publish,
        )
    )


def read_access(permission: SubscriptionPermission) -> Access:
    """Who may receive a participant's tracks. An entry counts by its identity, where it has one."""
    by_identity: dict[str, Share] = {}
    by_id: dict[ParticipantId, Share] = {}
    for entry in permission.track_permissions:
        named = (read_track_sid(sid) for sid in entry.track_sids)
        share = None if entry.all_tracks else frozenset(track for track in named if track is not None)
        participant = read_participant_sid(entry.participant_sid)
        if entry.participant_identity:
            by_identity[entry.participant_identity] = share
        elif participant is not None:
            by_id[participant] = share
    return Access(permission.all_participants, by_identity, by_id)


# Endings and refusals.


def leave(reason: LeaveReason, protocol: int) -> SignalResponse:
    """The farewell to a client, with what it should do next."""
    why, action = _LEAVES[reason]
    return leave_with(why, action, protocol)


def leave_with(why: DisconnectReason, action: LeaveRequest.Action, protocol: int) -> SignalResponse:
    if protocol < RECONNECT_PROTOCOL:
        return SignalResponse(leave=LeaveRequest(can_reconnect=action != LeaveRequest.DISCONNECT, reason=why))
    return SignalResponse(leave=LeaveRequest(reason=why, action=action))


def read_leave(request: LeaveRequest) -> LeaveReason:
    """Why a client says it leaves; what is not its to say counts as an ordinary good-bye."""
    return _GIVEN_REASONS.get(request.reason, LeaveReason.CLIENT_LEFT)


def request_response(
    request: SignalRequest, reason: RequestResponse.Reason, message: str = ""
) -> SignalResponse | None:
    """The answer to a request that has no answer of its own; None where the protocol has none for its kind either.

    It holds a copy of the request, by which clients find what it answers.
    """
    variant = request.WhichOneof("message")
    response = RequestResponse(reason=reason, message=message)
    if variant in _BLOB_REQUESTS:
        response.request_id = getattr(request, variant).request_id
        return SignalResponse(request_response=response)
    member = _COPIES.get(variant or "")
    if member is None:
        return None
    getattr(response, member).CopyFrom(getattr(request, variant or ""))
    if variant == "update_metadata":
        response.request_id = request.update_metadata.request_id
    return SignalResponse(request_response=response)


_BLOB_REQUESTS = ("store_data_blob_request", "get_data_blob_request")
_COPIES = {
    "trickle": "trickle",
    "add_track": "add_track",
    "mute": "mute",
    "update_metadata": "update_metadata",
    "update_audio_track": "update_audio_track",
    "update_video_track": "update_video_track",
    "publish_data_track_request": "publish_data_track",
    "unpublish_data_track_request": "unpublish_data_track",
}
