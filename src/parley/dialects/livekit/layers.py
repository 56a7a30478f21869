"""Layers as LiveKit's messages have them: qualities and sizes in, core's wishes out, and back. Pure.

Source: LiveKit protocol, `UpdateTrackSettings` and `SubscribedQualityUpdate`.
"""

from __future__ import annotations

from livekit.protocol.models import TrackInfo, VideoQuality
from livekit.protocol.rtc import SubscribedCodec, SubscribedQuality, SubscribedQualityUpdate, UpdateTrackSettings

from parley.core.layers import ByQuality, BySize, Layer, LayerWish, Quality
from parley.core.model import Track
from parley.dialects.livekit.wire import QUALITIES, baggage_of_track, track_sid

TOLERANCE = 0.9
"""A layer this much smaller than what a client shows, or slower, still does: upstream's value."""


def announced(info: TrackInfo) -> tuple[Layer, ...]:
    """What a client has said of the layers of a track that it is about to publish."""
    layers = info.codecs[0].layers if info.codecs else info.layers
    return tuple(
        Layer(
            rid=layer.rid,
            quality=_quality(layer.quality),
            width=layer.width,
            height=layer.height,
            bitrate_bps=layer.bitrate,
        )
        for layer in layers
    )


def first_wish(*, adaptive: bool) -> LayerWish:
    """What a client gets of a track before it has said anything of it.

    adaptive: whether it asks for what it can show as soon as it knows; until then the least does.
    """
    return LayerWish(ByQuality(Quality.LOW if adaptive else Quality.HIGH))


def is_shown(settings: UpdateTrackSettings) -> bool:
    """Whether a client wants anything at all of a track."""
    return not settings.disabled and (settings.width > 0 or settings.quality != VideoQuality.OFF)


def wish(settings: UpdateTrackSettings) -> LayerWish:
    """Which layer a client wants of a track; a size counts before a quality."""
    choice: ByQuality | BySize = ByQuality(_quality(settings.quality))
    if settings.width:
        choice = BySize(int(settings.width * TOLERANCE), int(settings.height * TOLERANCE))
    max_fps = max(1, int(settings.fps * TOLERANCE)) if settings.fps else 0
    return LayerWish(choice, max_fps=max_fps, priority=settings.priority)


def quality_update(track: Track, wanted: Quality | None) -> SubscribedQualityUpdate:
    """What a publisher is told of the best quality that anybody wants of a track; None: nobody wants any."""
    ours = track.codec.lower()
    named = (codec.mime_type.rpartition("/")[2].lower() for codec in baggage_of_track(track).codecs)
    # A client publishes a second codec as soon as it hears that it is wanted, and nobody here is sent it.
    codecs = [
        SubscribedCodec(codec=codec, qualities=_qualities(wanted if codec == ours else None))
        for codec in dict.fromkeys((ours, *filter(None, named)))
    ]
    # Older clients read the first list alone.
    return SubscribedQualityUpdate(
        track_sid=track_sid(track), subscribed_qualities=codecs[0].qualities, subscribed_codecs=codecs
    )


def _qualities(wanted: Quality | None) -> list[SubscribedQuality]:
    return [
        SubscribedQuality(quality=number, enabled=wanted is not None and quality <= wanted)
        for quality, number in QUALITIES.items()
    ]


def _quality(number: VideoQuality) -> Quality:
    return _QUALITIES.get(number, Quality.HIGH)


_QUALITIES = {number: quality for quality, number in QUALITIES.items()}
