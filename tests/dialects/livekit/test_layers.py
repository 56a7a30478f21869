"""LiveKit's words for layers, read and written."""

from __future__ import annotations

import pytest
from livekit.protocol.models import SimulcastCodecInfo, TrackInfo, TrackSource, TrackType, VideoLayer, VideoQuality
from livekit.protocol.rtc import AddTrackRequest, SimulcastCodec, UpdateTrackSettings

from parley.core.layers import ByQuality, BySize, Layer, LayerWish, Quality
from parley.core.model import Track
from parley.dialects.livekit import layers, wire
from parley.engine.specs import Kind, Mid
from parley.ids import ParticipantId, TrackId

LOW, MEDIUM, HIGH, OFF = VideoQuality.LOW, VideoQuality.MEDIUM, VideoQuality.HIGH, VideoQuality.OFF


@pytest.mark.parametrize(
    ("settings", "choice"),
    [
        ({}, ByQuality(Quality.LOW)),
        ({"quality": MEDIUM}, ByQuality(Quality.MEDIUM)),
        ({"quality": HIGH}, ByQuality(Quality.HIGH)),
        ({"width": 320, "height": 200}, BySize(288, 180)),
        ({"width": 320, "height": 180, "quality": HIGH}, BySize(288, 162)),
        ({"width": 1, "height": 1, "quality": OFF}, BySize(0, 0)),
    ],
)
def test_a_size_counts_before_a_quality_and_a_little_less_will_do(settings, choice) -> None:
    assert layers.wish(UpdateTrackSettings(**settings)).choice == choice


@pytest.mark.parametrize(("fps", "max_fps"), [(0, 0), (1, 1), (15, 13)])
def test_rate_and_priority_are_kept_with_the_choice(fps: int, max_fps: int) -> None:
    wish = layers.wish(UpdateTrackSettings(quality=HIGH, fps=fps, priority=2))

    assert wish == LayerWish(ByQuality(Quality.HIGH), max_fps=max_fps, priority=2)


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({}, True),
        ({"quality": HIGH}, True),
        ({"quality": OFF}, False),
        ({"disabled": True, "quality": HIGH}, False),
        ({"width": 10, "height": 10, "quality": OFF}, True),
        ({"disabled": True, "width": 10, "height": 10}, False),
    ],
)
def test_a_track_is_shown_unless_it_is_disabled_or_off(settings, shown) -> None:
    assert layers.is_shown(UpdateTrackSettings(**settings)) is shown


def test_a_client_begins_with_the_most_unless_it_adapts() -> None:
    assert layers.first_wish(adaptive=False).choice == ByQuality(Quality.HIGH)
    assert layers.first_wish(adaptive=True).choice == ByQuality(Quality.LOW)


def test_the_layers_of_the_first_codec_are_those_that_will_come() -> None:
    request = AddTrackRequest(
        type=TrackType.VIDEO,
        layers=[VideoLayer(quality=HIGH, width=1280, height=720, bitrate=1_700_000)],
        simulcast_codecs=[
            SimulcastCodec(
                codec="vp8",
                layers=[
                    VideoLayer(quality=HIGH, width=960, height=540, bitrate=900_000),
                    VideoLayer(quality=LOW, width=240, height=135, bitrate=100_000),
                ],
            )
        ],
    )

    assert layers.announced(wire.announced(request, ("opus", "VP8"))) == (
        Layer("", Quality.LOW, 240, 135, 100_000),
        Layer("", Quality.HIGH, 960, 540, 900_000),
    )


def test_a_publisher_is_told_every_quality_up_to_the_best_that_is_wanted() -> None:
    for wanted, enabled in (
        (None, [False, False, False]),
        (Quality.LOW, [True, False, False]),
        (Quality.MEDIUM, [True, True, False]),
        (Quality.HIGH, [True, True, True]),
    ):
        update = layers.quality_update(_track(), wanted)

        [codec] = update.subscribed_codecs
        assert codec.codec == "vp8"
        assert [one.quality for one in codec.qualities] == [LOW, MEDIUM, HIGH]
        assert [one.enabled for one in codec.qualities] == enabled
        assert update.subscribed_qualities == codec.qualities
        assert wire.read_track_sid(update.track_sid) == TrackId(7)


def test_a_second_codec_that_nobody_is_sent_is_off() -> None:
    track = _track(codecs=[SimulcastCodecInfo(mime_type="video/AV1"), SimulcastCodecInfo(mime_type="video/VP8")])

    update = layers.quality_update(track, Quality.HIGH)

    enabled = {codec.codec: [one.enabled for one in codec.qualities] for codec in update.subscribed_codecs}
    assert enabled == {"vp8": [True] * 3, "av1": [False] * 3}
    assert all(one.enabled for one in update.subscribed_qualities)


def test_negotiated_layers_are_shown_beside_what_was_announced() -> None:
    announced = [VideoLayer(quality=LOW, width=320, height=180), VideoLayer(quality=HIGH, width=1280, height=720)]
    ours = _track(
        ("q", Quality.LOW), ("h", Quality.HIGH), layers=announced, codecs=[SimulcastCodecInfo(layers=announced)]
    )

    shown = wire.track_info(ours)

    assert shown.simulcast
    for found in (shown.layers, shown.codecs[0].layers):
        assert [(one.rid, one.spatial_layer, one.height) for one in found] == [("q", 0, 180), ("h", 1, 720)]


def test_the_layers_of_another_dialects_track_are_shown_too() -> None:
    shown = wire.track_info(_track(("a", Quality.HIGH), ("b", Quality.LOW)))

    assert shown.simulcast
    found = [(one.quality, one.rid, one.spatial_layer) for one in shown.layers]
    assert found == [(LOW, "b", 0), (HIGH, "a", 1)]


def _track(*of: tuple[str, Quality], **info: object) -> Track:
    return Track(
        id=TrackId(7),
        participant=ParticipantId(8),
        kind=Kind.VIDEO,
        mid=Mid("0"),
        codec="VP8",
        layers=tuple(Layer(rid, quality) for rid, quality in of),
        baggage={wire.BAGGAGE: wire.TrackBaggage(TrackInfo(source=TrackSource.CAMERA, **info))},  # type: ignore[arg-type]
    )
