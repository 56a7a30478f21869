"""What a client has announced, and which section of its offer carries which of it."""

from livekit.protocol.models import TrackSource, TrackType
from livekit.protocol.rtc import AddTrackRequest, RequestResponse, SimulcastCodec

from parley.dialects.livekit.publications import Publication, Publications, Sending, Verdict
from parley.engine.specs import Kind, Mid
from parley.ids import TrackId


def microphone(cid: str = "mic", **more: object) -> AddTrackRequest:
    return AddTrackRequest(cid=cid, type=TrackType.AUDIO, source=TrackSource.MICROPHONE, **more)  # type: ignore[arg-type]


def camera(cid: str = "cam", **more: object) -> AddTrackRequest:
    return AddTrackRequest(cid=cid, type=TrackType.VIDEO, source=TrackSource.CAMERA, **more)  # type: ignore[arg-type]


def sending(mid: str, cid: str, kind: Kind = Kind.AUDIO) -> Sending:
    return Sending(Mid(mid), kind, cid)


def anything(source: TrackSource) -> bool:
    return True


def announce(publications: Publications, request: AddTrackRequest) -> Publication:
    publication = publications.announce(request, anything).publication
    assert publication is not None
    publication.track = TrackId(len(publications.pending))
    return publication


def offer(publications: Publications, *sections: Sending) -> list[tuple[str, str]]:
    matching = publications.match(sections)
    publications.accept(matching)
    return [(match.section.mid, match.publication.cid) for match in matching.bound]


def test_a_source_outside_the_grant_is_refused_before_anything_else():
    publications = Publications()

    announced = publications.announce(AddTrackRequest(type=TrackType.DATA), lambda source: False)

    assert (announced.verdict, announced.reason) == (Verdict.REFUSED, RequestResponse.NOT_ALLOWED)


def test_only_audio_and_video_can_be_announced():
    announced = Publications().announce(AddTrackRequest(type=TrackType.DATA), anything)

    assert announced.reason == RequestResponse.UNSUPPORTED_TYPE


def test_a_second_codec_for_an_unknown_track_is_not_found():
    announced = Publications().announce(camera(sid="TR_x"), anything)

    assert announced.reason == RequestResponse.NOT_FOUND


def test_a_second_codec_for_a_known_track_is_not_supported_yet():
    announced = Publications().announce(camera(sid="TR_x"), anything, lambda sid: True)

    assert announced.reason == RequestResponse.UNCLASSIFIED_ERROR


def test_twenty_tracks_may_be_pending_and_no_more():
    publications = Publications()
    for number in range(20):
        announce(publications, microphone(f"mic-{number}"))

    assert publications.announce(microphone("one-more"), anything).reason == RequestResponse.LIMIT_EXCEEDED


def test_the_same_device_waits_for_its_earlier_track_three_deep():
    publications = Publications()
    first = announce(publications, microphone())

    reasons = [publications.announce(microphone(name=str(n)), anything).reason for n in range(4)]

    queued, full = RequestResponse.QUEUED, RequestResponse.LIMIT_EXCEEDED
    assert reasons == [queued, queued, queued, full]
    assert [request.name for request in publications.withdraw(first)] == ["0", "1", "2"]


def test_a_section_finds_its_announcement_by_the_track_id():
    publications = Publications()
    announce(publications, microphone("a"))
    second = announce(publications, microphone("b"))

    assert offer(publications, sending("0", "b")) == [("0", "b")]
    assert second.mid == "0"


def test_a_section_finds_its_announcement_by_the_id_of_one_of_its_codecs():
    publications = Publications()
    announce(publications, camera("other"))
    announce(publications, camera("cam", simulcast_codecs=[SimulcastCodec(codec="vp9", cid="cam-vp9")]))

    assert offer(publications, sending("0", "cam-vp9", Kind.VIDEO)) == [("0", "cam")]


def test_an_id_the_browser_changed_goes_to_the_first_of_its_kind_and_is_remembered():
    publications = Publications()
    announce(publications, camera())
    mic = announce(publications, microphone())

    assert offer(publications, sending("0", "{changed}")) == [("0", "mic")]
    assert mic.sdp_cid == "{changed}"


def test_a_section_may_come_before_its_announcement():
    publications = Publications()
    assert offer(publications, sending("0", "mic")) == []

    announce(publications, microphone())

    (match,) = publications.claims().bound
    publications.bind(match)
    assert (match.section.mid, match.publication.mid) == ("0", "0")


def test_an_offer_repeated_changes_nothing():
    publications = Publications()
    announce(publications, microphone())
    offer(publications, sending("0", "mic"))

    assert offer(publications, sending("0", "mic")) == []


def test_a_replaced_device_track_stays_the_same_publication():
    publications = Publications()
    announce(publications, microphone())
    offer(publications, sending("0", "mic"))
    announce(publications, camera("cam"))

    assert offer(publications, sending("0", "another-mic")) == []


def test_a_section_that_goes_over_to_an_announced_track_carries_that_one():
    publications = Publications()
    announce(publications, microphone("old"))
    offer(publications, sending("0", "old"))
    announce(publications, microphone("new"))

    assert offer(publications, sending("0", "new")) == [("0", "new")]


def test_an_offer_that_was_refused_leaves_no_trace():
    publications = Publications()
    mic = announce(publications, microphone())

    publications.match([sending("0", "mic")])

    assert mic.mid is None
    assert publications.pending == (mic,)
