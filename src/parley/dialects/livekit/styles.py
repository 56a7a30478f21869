"""How LiveKit's two peer connections negotiate: the client publishes on one and is sent everything on the other.

Source: LiveKit documentation, "Client protocol"; stream and track ids as its SDKs read them.
"""

from __future__ import annotations

from collections.abc import Iterable

from livekit.protocol.models import AudioTrackFeature, TrackType

from parley.core.model import Subscription, Track
from parley.core.style import PeerStyle
from parley.dialects.livekit.layers import first_wish
from parley.dialects.livekit.packets import CHANNELS
from parley.dialects.livekit.publications import Publication
from parley.dialects.livekit.settings import LiveKitSettings
from parley.dialects.livekit.wire import baggage_of_track, mime_type, participant_sid, track_sid
from parley.engine.specs import Kind
from parley.negotiation import Caps, CodecPref, Msid
from parley.negotiation.codecs import DEFAULT_CODECS

MAX_MESSAGE_BYTES = 65_535
"""What clients are told we take; they send at most 64,000 bytes whatever they are told."""

PACKED_STREAM_PROTOCOL = 1
"""From this protocol on a stream id names the track beside the participant."""

_SCREEN_STREAM = "screen"


def caps(settings: LiveKitSettings) -> Caps:
    """What either connection may carry, in the operator's order of preference."""
    order: dict[str, int] = {name: place for place, name in enumerate(settings.codecs)}
    allowed = [codec for codec in DEFAULT_CODECS if codec.name in order or codec.name == "rtx"]
    allowed.sort(key=lambda codec: order.get(codec.name, len(order)))
    return Caps(codecs=tuple(allowed), max_message_size=MAX_MESSAGE_BYTES)


def publisher(settings: LiveKitSettings, *, primary: bool) -> PeerStyle:
    """The connection the client offers on."""
    return PeerStyle(
        caps=caps(settings),
        msid=_msid,
        cname=_cname,
        primary=primary,
        offer_timeout_s=settings.timeouts.answer_s,
    )


def subscriber(settings: LiveKitSettings, *, primary: bool, protocol: int, adaptive: bool) -> PeerStyle:
    """The connection the server offers on. Data reaches the client on the primary one.

    adaptive: whether the client says what it can show of each video.
    """
    return PeerStyle(
        caps=caps(settings),
        msid=_msid if protocol >= PACKED_STREAM_PROTOCOL else _plain_msid,
        cname=_cname,
        fmtp=_sent_fmtp,
        primary=primary,
        layers=first_wish(adaptive=adaptive),
        receives=True,
        offers=True,
        channels=CHANNELS if primary else (),
        offer_timeout_s=settings.timeouts.answer_s,
    )


def preferred_codecs(publication: Publication, settings: LiveKitSettings) -> tuple[CodecPref, ...]:
    """What a published section is answered with: the announced codec first; empty where none was named."""
    request = publication.request
    if not request.simulcast_codecs:
        return ()
    named = mime_type(request.simulcast_codecs[0].codec, request.type, settings.codecs).rpartition("/")[2]
    ours = _of_kind(caps(settings).codecs, request.type)
    return tuple(sorted(ours, key=lambda codec: codec.name != named))


def publish_fmtp(publication: Publication, settings: LiveKitSettings) -> tuple[tuple[str, str], ...]:
    """What a published section's answer asks of the client's encoder, which follows what it is told here."""
    request = publication.request
    if publication.kind is Kind.VIDEO:
        start = settings.start_bitrate_kbps
        # A parameter of Google's that libwebrtc reads from the remote description. Left to itself it begins at
        # 300 kbit/s, shrinks the picture to fit that, and takes eight seconds to grow it again on any network.
        return tuple((name, f"x-google-start-bitrate={start}") for name in settings.codecs if start and name != "opus")
    wanted: list[tuple[str, str]] = []
    if not (request.disable_dtx or AudioTrackFeature.TF_NO_DTX in request.audio_features):
        wanted.append(("opus", "usedtx=1"))
    if request.stereo or AudioTrackFeature.TF_STEREO in request.audio_features:
        wanted.append(("opus", "stereo=1;maxaveragebitrate=510000"))
    return tuple(wanted)


def _of_kind(codecs: Iterable[CodecPref], type: TrackType) -> list[CodecPref]:
    return [codec for codec in codecs if (codec.name == "opus") is (type == TrackType.AUDIO)]


def _msid(subscription: Subscription, track: Track) -> Msid:
    """Clients find the participant and the track by splitting the stream id."""
    sid = track_sid(track)
    return Msid(f"{participant_sid(subscription.publisher)}|{sid}", sid)


def _plain_msid(subscription: Subscription, track: Track) -> Msid:
    return Msid(participant_sid(subscription.publisher), track_sid(track))


def _cname(subscription: Subscription, track: Track) -> str:
    """One for what is to be played in sync: a participant's camera and microphone, or its screen and sound."""
    # A stream's name is the client's own text and has no business in a description, so only its role is written.
    is_screen = baggage_of_track(track).stream == _SCREEN_STREAM
    return f"{participant_sid(subscription.publisher)}{'-screen' if is_screen else ''}"


def _sent_fmtp(track: Track) -> tuple[tuple[str, str], ...]:
    return (("opus", "sprop-stereo=1"),) if baggage_of_track(track).stereo else ()
