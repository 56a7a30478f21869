"""How rooms, participants and tracks look in LiveKit's messages."""

from __future__ import annotations

from dataclasses import replace

import pytest
from livekit.protocol.models import (
    AudioTrackFeature,
    BackupCodecPolicy,
    DisconnectReason,
    ParticipantInfo,
    TrackSource,
    TrackType,
    VideoLayer,
    VideoQuality,
)
from livekit.protocol.rtc import AddTrackRequest, LeaveRequest, SimulcastCodec

from parley.core.grants import Grant, Source
from parley.core.model import LeaveReason, Participant, ParticipantState, Track, TrackState
from parley.dialects.livekit import wire
from parley.engine.specs import Kind, Mid
from parley.ids import ParticipantId, RoomId, TenantId, TrackId

GRANT = Grant(tenant=TenantId("t"), identity="ada", room="standup")
ADA = Participant(
    id=ParticipantId(7), room=RoomId(1), identity="ada", grant=GRANT, joined_at=1_800_000_000.25, revision=3
)
CODECS = ("opus", "VP8", "H264", "VP9", "AV1")


def track(**more: object) -> Track:
    facts = {"id": TrackId(9), "participant": ADA.id, "kind": Kind.VIDEO, "source": Source.CAMERA}
    return Track(**(facts | more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "source", "prefix"),
    [
        (Kind.VIDEO, Source.CAMERA, "TR_VC"),
        (Kind.AUDIO, Source.MICROPHONE, "TR_AM"),
        (Kind.VIDEO, Source.SCREEN, "TR_VS"),
        (Kind.AUDIO, Source.SCREEN_AUDIO, "TR_As"),
        (Kind.AUDIO, Source.UNKNOWN, "TR_A"),
    ],
)
def test_a_tracks_sid_tells_its_kind_and_source_and_can_be_read_back(kind, source, prefix):
    sid = wire.track_sid(track(kind=kind, source=source))

    assert sid.startswith(prefix)
    assert wire.read_track_sid(sid) == 9


def test_a_participant_is_always_shown_whole():
    published = track(state=TrackState.LIVE, mid=Mid("0"), codec="VP8", name="cam")
    info = wire.participant_info(replace(ADA, tracks=(published, track(id=TrackId(10))), name="Ada"))

    assert [(one.name, one.mime_type, one.mid) for one in info.tracks] == [("cam", "video/VP8", "0")]
    assert (info.name, info.version, info.state) == ("Ada", 3, ParticipantInfo.JOINING)
    assert (info.joined_at, info.joined_at_ms) == (1_800_000_000, 1_800_000_000_250)
    assert info.permission.can_publish
    assert not info.permission.can_update_metadata


@pytest.mark.parametrize("reason", list(LeaveReason))
def test_every_way_of_leaving_has_a_word_for_the_leaver_and_for_the_others(reason):
    gone = replace(ADA, state=ParticipantState.DISCONNECTED, left_for=reason)

    leave = wire.leave(reason, 17).leave
    assert leave.reason != DisconnectReason.UNKNOWN_REASON
    assert not leave.can_reconnect
    assert wire.participant_info(gone).disconnect_reason == leave.reason


def test_older_clients_are_told_only_whether_to_come_back():
    assert wire.leave(LeaveReason.PEER_FAILED, 12).leave == LeaveRequest(
        can_reconnect=True, reason=DisconnectReason.CONNECTION_TIMEOUT
    )


def test_an_announcement_becomes_what_others_will_see():
    layers = [VideoLayer(quality=VideoQuality.HIGH, width=1280), VideoLayer(quality=VideoQuality.LOW, width=320)]
    request = AddTrackRequest(
        cid="cam",
        type=TrackType.VIDEO,
        source=TrackSource.CAMERA,
        width=1280,
        height=720,
        layers=layers,
        simulcast_codecs=[SimulcastCodec(codec="vp8", cid="cam"), SimulcastCodec(codec="VP8", cid="again")],
    )

    info = wire.announced(request, CODECS)

    assert (info.width, info.height, info.stream, info.simulcast) == (1280, 720, "camera", True)
    assert [layer.quality for layer in info.layers] == [VideoQuality.LOW, VideoQuality.HIGH]
    (codec,) = info.codecs
    assert (codec.mime_type, codec.cid) == ("video/VP8", "cam")
    assert codec.video_layer_mode == VideoLayer.ONE_SPATIAL_LAYER_PER_STREAM
    assert len(codec.layers) == 2


def test_layers_inside_one_stream_are_not_simulcast():
    layers = [VideoLayer(quality=VideoQuality.LOW), VideoLayer(quality=VideoQuality.HIGH)]
    request = AddTrackRequest(type=TrackType.VIDEO, layers=layers, simulcast_codecs=[SimulcastCodec(codec="vp9")])

    info = wire.announced(request, CODECS)

    assert not info.simulcast
    assert info.codecs[0].video_layer_mode == VideoLayer.MULTIPLE_SPATIAL_LAYERS_PER_STREAM


def test_a_codec_this_server_does_not_forward_is_replaced():
    request = AddTrackRequest(type=TrackType.VIDEO, simulcast_codecs=[SimulcastCodec(codec="h265")])

    assert wire.announced(request, CODECS).codecs[0].mime_type == "video/VP8"


def test_an_announcement_that_names_no_codec_has_one_without_a_name():
    info = wire.announced(AddTrackRequest(cid="mic", type=TrackType.AUDIO), CODECS)

    (codec,) = info.codecs
    assert (codec.mime_type, codec.cid) == ("", "mic")
    assert (info.stream, info.backup_codec_policy) == ("unknown", BackupCodecPolicy.SIMULCAST)


def test_features_follow_from_the_older_flags_and_are_named_once():
    again = [AudioTrackFeature.TF_STEREO, AudioTrackFeature.TF_STEREO]
    request = AddTrackRequest(type=TrackType.AUDIO, stereo=True, disable_dtx=True, audio_features=again)

    features = list(wire.announced(request, CODECS).audio_features)

    assert features == [AudioTrackFeature.TF_STEREO, AudioTrackFeature.TF_NO_DTX]


def test_a_track_of_another_dialect_is_shown_with_what_core_knows():
    info = wire.track_info(track(state=TrackState.PUBLISHED, mid=Mid("3"), codec="H264", name="cam", muted=True))

    assert (info.name, info.muted, info.stream, info.type) == ("cam", True, "camera", TrackType.VIDEO)
    assert (info.mime_type, info.codecs[0].mime_type, info.mid) == ("video/H264", "video/H264", "3")
