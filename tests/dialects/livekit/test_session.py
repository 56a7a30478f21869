"""A session from its first message to its last, over a real socket and the fake engine."""

from __future__ import annotations

import asyncio
import json
import re
import time
from urllib.parse import urlencode

import jwt
import pytest
import websockets
from livekit.protocol.models import (
    AudioTrackFeature,
    DataPacket,
    DisconnectReason,
    ParticipantInfo,
    SubscriptionError,
    TrackInfo,
    TrackSource,
    TrackType,
    UserPacket,
    VideoLayer,
    VideoQuality,
)
from livekit.protocol.rtc import (
    AddTrackRequest,
    LeaveRequest,
    MuteTrackRequest,
    Ping,
    PublishDataTrackRequest,
    RequestResponse,
    SessionDescription,
    SignalRequest,
    SignalResponse,
    SignalTarget,
    SimulateScenario,
    SubscriptionPermission,
    TrackPermission,
    TrickleRequest,
    UpdateLocalAudioTrack,
    UpdateLocalVideoTrack,
    UpdateParticipantMetadata,
    UpdateSubscription,
    UpdateTrackSettings,
)

from parley.core.model import LeaveReason, Limits
from parley.dialects.livekit import sids
from parley.engine.specs import LayerPolicy, Mid
from parley.ids import ParticipantId
from tests.dialects.livekit.client import Client, Server, answer_to, offer_of, sections_of, serving, settled
from tests.fakes import FakeEngine

pytestmark = pytest.mark.anyio


async def test_the_first_message_is_join_with_all_that_clients_depend_on(server: Server):
    client = await Client.connect(server, name="Ada", metadata="m", attributes={"a": "1"})

    join = client.join
    assert join.room.sid.startswith("RM_")
    assert join.room.name == "standup"
    assert (join.participant.identity, join.participant.name) == ("ada", "Ada")
    assert join.participant.sid.startswith("PA_")
    assert join.participant.permission.can_publish
    assert (join.ping_interval, join.ping_timeout) == (5, 15)
    assert (join.server_info.version, join.server_info.protocol) == ("1.13.5", 17)
    assert join.server_version == "1.13.5"
    assert join.subscriber_primary
    assert join.fast_publish
    assert [codec.mime for codec in join.enabled_publish_codecs] == [
        "video/VP8",
        "video/H264",
        "video/VP9",
        "video/AV1",
        "audio/opus",
    ]
    assert list(join.ice_servers) == []
    assert join.sif_trailer
    await client.leave()


async def test_a_client_is_told_of_those_who_are_there_and_those_who_come_and_go(server: Server):
    ada = await Client.connect(server, "ada")
    bob = await Client.connect(server, "bob", name="Bob")

    assert [other.identity for other in bob.join.other_participants] == ["ada"]
    seen = await ada.until_update("bob", state=ParticipantInfo.JOINED)
    assert (seen.sid, seen.name, seen.client_protocol) == (bob.sid, "Bob", 0)
    assert seen.HasField("permission")

    await bob.leave()

    gone = await ada.until_update("bob", state=ParticipantInfo.DISCONNECTED)
    assert gone.disconnect_reason == DisconnectReason.CLIENT_INITIATED
    await ada.leave()


async def test_a_hidden_participant_is_seen_by_nobody_and_sees_everybody(server: Server):
    ada = await Client.connect(server, "ada")
    ghost = await Client.connect(server, "ghost", hidden=True)
    bob = await Client.connect(server, "bob")

    assert [other.identity for other in bob.join.other_participants] == ["ada"]
    assert [other.identity for other in ghost.join.other_participants] == ["ada"]
    await ghost.until_update("bob")
    await ghost.leave()
    await bob.leave()
    await ada.until_update("bob", state=ParticipantInfo.DISCONNECTED)
    assert "ghost" not in [info.identity for message in ada.heard for info in message.update.participants]
    await ada.leave()


async def test_the_servers_first_offer_comes_at_once_and_has_a_data_section_alone(server: Server):
    client = await Client.connect(server)

    offer = (await client.next("offer")).offer

    assert offer.type == "offer"
    assert 2 <= offer.id <= 257
    assert [section.split()[0] for section in sections_of(offer.sdp)] == ["m=application"]
    assert "a=max-message-size:65535" in offer.sdp
    await client.leave()


async def test_a_connected_subscriber_makes_the_participant_active(server: Server):
    ada = await Client.connect(server, "ada")
    bob = await Client.connect(server, "bob")

    await ada.go_active()

    await bob.until_update("ada", state=ParticipantInfo.ACTIVE)
    assert {channel.label for channel in ada.subscriber.channels.values()} == {"_reliable", "_lossy"}
    await ada.leave()
    await bob.leave()


async def test_a_published_track_reaches_the_others_update_first_then_offer(server: Server):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob")
    await ada.go_active()
    await bob.go_active()

    track = await ada.publish("mic", TrackSource.MICROPHONE, name="voice")

    assert track.sid.startswith("TR_AM")
    assert (track.name, track.source, track.stream) == ("voice", TrackSource.MICROPHONE, "camera")
    seen = await bob.until_update("ada", is_publisher=True)
    assert [(one.sid, one.mime_type, one.mid) for one in seen.tracks] == [(track.sid, "audio/opus", "0")]
    offer = await bob.answer_offer()
    audio = sections_of(offer.sdp)[1]
    assert f"a=msid:{ada.sid}|{track.sid} {track.sid}" in audio
    assert dict(offer.mid_to_track_id) == {"1": track.sid}
    assert bob.order("update", "offer")[-2:] == ["update", "offer"]
    assert (await ada.next("track_subscribed")).track_subscribed.track_sid == track.sid
    assert (await ada.until_update("ada", is_publisher=True)).tracks[0].sid == track.sid
    await ada.leave()
    await bob.leave()


async def test_a_late_comer_gets_what_is_there_with_the_first_offer(server: Server):
    ada = await Client.connect(server, "ada")
    await ada.go_active()
    mic = await ada.publish("mic")
    cam = await ada.publish("cam", TrackSource.CAMERA, before=(("audio", "mic", "sendonly"),), id=2)

    bob = await Client.connect(server, "bob")

    (known,) = bob.join.other_participants
    assert [track.sid for track in known.tracks] == [mic.sid, cam.sid]
    offer = await bob.answer_offer()
    assert sorted(offer.mid_to_track_id.values()) == sorted([mic.sid, cam.sid])
    assert len(sections_of(offer.sdp)) == 3
    await ada.leave()
    await bob.leave()


async def test_a_section_may_be_offered_before_its_track_is_announced(server: Server):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob")
    await ada.answer_offer()
    answer = await ada.offer(("video", "cam", "sendonly"))
    assert "a=recvonly" in sections_of(answer.sdp)[1]

    await ada.send(add_track=AddTrackRequest(cid="cam", type=TrackType.VIDEO, source=TrackSource.CAMERA))

    track = (await ada.next("track_published")).track_published.track
    assert track.sid.startswith("TR_VC")
    seen = await bob.until_update("ada", is_publisher=True)
    assert seen.tracks[0].sid == track.sid
    await ada.leave()
    await bob.leave()


async def test_a_section_nobody_can_decode_is_refused_alone_and_its_track_waits_for_another(server: Server):
    client = await Client.connect(server)
    strange = offer_of(("video", "cam", "sendonly")).replace("VP8", "H261")
    await client.send(offer=SessionDescription(type="offer", sdp=strange, id=1))
    answer = (await client.next("answer")).answer
    assert sections_of(answer.sdp)[1].startswith("m=video 0 ")

    await client.send(add_track=AddTrackRequest(cid="cam", type=TrackType.VIDEO))
    assert (await client.next("track_published")).track_published.cid == "cam"

    await client.offer(("video", "", "inactive"), ("video", "cam", "sendonly"), id=2)
    await client.until_update("ada", is_publisher=True)
    await client.leave()


async def test_answers_carry_the_id_of_their_offer(server: Server):
    client = await Client.connect(server)

    assert (await client.offer(id=1)).id == 1
    assert (await client.offer(id=2)).id == 2
    assert (await client.offer(id=0)).id == 0
    await client.leave()


async def test_an_answer_asks_the_encoder_for_what_was_announced(server: Server):
    client = await Client.connect(server)
    await client.send(add_track=AddTrackRequest(cid="a", type=TrackType.AUDIO, stereo=True))
    await client.send(add_track=AddTrackRequest(cid="b", type=TrackType.AUDIO, disable_dtx=True))

    answer = await client.offer(("audio", "a", "sendonly"), ("audio", "b", "sendonly"))

    _, stereo, plain = sections_of(answer.sdp)
    assert "usedtx=1" in stereo
    assert "stereo=1;maxaveragebitrate=510000" in stereo
    assert "usedtx=1" not in plain
    await client.leave()


async def test_an_answer_tells_a_video_encoder_where_to_begin(server: Server):
    client = await Client.connect(server)
    await client.send(add_track=AddTrackRequest(cid="cam", type=TrackType.VIDEO))

    answer = await client.offer(("video", "cam", "sendonly"))

    assert "a=fmtp:96 x-google-start-bitrate=1000" in answer.sdp
    await client.leave()


async def test_where_a_video_encoder_begins_can_be_left_to_it():
    async with serving(FakeEngine(), settings={"start_bitrate_kbps": 0}) as server:
        client = await Client.connect(server)
        await client.send(add_track=AddTrackRequest(cid="cam", type=TrackType.VIDEO))

        assert "x-google-start-bitrate" not in (await client.offer(("video", "cam", "sendonly"))).sdp
        await client.leave()


async def test_a_section_that_stops_ends_its_track_and_the_section_is_used_again_later(server: Server):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob")
    await bob.go_active()
    first = await ada.publish("mic")
    await bob.answer_offer()

    await ada.offer(("audio", "mic", "inactive"), id=2)

    assert list((await bob.until_update("ada", tracks=[])).tracks) == []
    stopped = await bob.answer_offer()
    assert "a=inactive" in sections_of(stopped.sdp)[1]
    assert dict(stopped.mid_to_track_id) == {}

    second = await ada.publish("mic-2", before=(("audio", "mic", "inactive"),), id=3)

    again = await bob.answer_offer()
    assert second.sid != first.sid
    assert dict(again.mid_to_track_id) == {"1": second.sid}
    assert len(sections_of(again.sdp)) == 2
    await ada.leave()
    await bob.leave()


async def test_a_device_announced_twice_waits_until_its_first_track_ends(server: Server):
    client = await Client.connect(server)
    first = await client.publish("mic")
    again = AddTrackRequest(cid="mic", type=TrackType.AUDIO, name="second")

    await client.send(add_track=again)
    queued = (await client.next("request_response")).request_response
    assert (queued.reason, queued.add_track.cid) == (RequestResponse.QUEUED, "mic")

    await client.offer(("audio", "mic", "inactive"), ("audio", "mic", "sendonly"), id=2)

    published = (await client.next("track_published")).track_published
    assert (published.cid, published.track.name) == ("mic", "second")
    assert published.track.sid != first.sid
    await client.until_update("ada", is_publisher=True)
    await client.leave()


async def test_changes_that_come_together_travel_in_one_offer(server: Server):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob")
    await bob.go_active()
    await ada.send(add_track=AddTrackRequest(cid="mic", type=TrackType.AUDIO))
    await ada.send(add_track=AddTrackRequest(cid="cam", type=TrackType.VIDEO))

    await ada.offer(("audio", "mic", "sendonly"), ("video", "cam", "sendonly"))

    offer = await bob.answer_offer()
    assert len(offer.mid_to_track_id) == 2
    await bob.no_more("offer")
    await ada.leave()
    await bob.leave()


async def test_one_offer_at_a_time_and_the_next_once_it_is_answered(server: Server):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob")
    await bob.go_active()
    await ada.publish("mic")
    first = (await bob.next("offer")).offer

    await ada.publish("cam", TrackSource.CAMERA, before=(("audio", "mic", "sendonly"),), id=2)

    await bob.no_more("offer")
    await bob.send(answer=SessionDescription(type="answer", sdp=answer_to(first.sdp), id=first.id))
    second = (await bob.next("offer")).offer
    assert second.id == first.id + 1
    assert len(second.mid_to_track_id) == 2
    await ada.leave()
    await bob.leave()


async def test_an_answer_to_another_offer_is_ignored_and_one_without_a_number_counts(server: Server):
    client = await Client.connect(server)
    offer = (await client.next("offer")).offer

    await client.send(answer=SessionDescription(type="answer", sdp="nonsense", id=offer.id + 9))
    await client.send(answer=SessionDescription(type="answer", sdp=answer_to(offer.sdp), id=0))
    await client.send(answer=SessionDescription(type="answer", sdp=answer_to(offer.sdp), id=offer.id))

    await settled(lambda: client.subscriber.remote is not None)
    await client.no_more("leave", within_s=0.1)
    await client.leave()


async def test_an_answer_that_cannot_be_used_makes_the_client_start_over(server: Server):
    client = await Client.connect(server)
    offer = (await client.next("offer")).offer

    await client.send(answer=SessionDescription(type="answer", sdp="nonsense", id=offer.id))

    leave = (await client.next("leave")).leave
    assert (leave.reason, leave.action) == (DisconnectReason.STATE_MISMATCH, LeaveRequest.RECONNECT)
    assert await client.closed() == 1000


async def test_an_answer_that_crosses_the_end_of_its_connection_does_no_harm(server: Server):
    client = await Client.connect(server)
    offer = (await client.next("offer")).offer

    client.subscriber.hang_up()
    await client.send(answer=SessionDescription(type="answer", sdp=answer_to(offer.sdp), id=offer.id))

    await client.send(leave=LeaveRequest())
    assert (await client.next("leave")).leave.reason == DisconnectReason.CLIENT_INITIATED


async def test_an_offer_that_cannot_be_read_gets_no_answer_and_ends_nothing(server: Server):
    client = await Client.connect(server)

    await client.send(offer=SessionDescription(type="offer", sdp="nonsense", id=1))

    assert (await client.offer(("audio", "mic", "sendonly"), id=2)).id == 2
    await client.leave()


async def test_a_client_that_does_not_answer_an_offer_in_time_starts_over():
    async with serving(FakeEngine(), settings={"timeouts": {"answer_s": 0.2}}) as server:
        ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob")
        await bob.go_active()
        await ada.publish("mic")

        leave = (await bob.next("leave")).leave

        assert (leave.reason, leave.action) == (DisconnectReason.STATE_MISMATCH, LeaveRequest.RECONNECT)
        await ada.leave()


async def test_candidates_trickle_to_the_connection_they_are_for(server: Server):
    client = await Client.connect(server)
    candidate = "candidate:1 1 udp 2130706431 127.0.0.1 5000 typ host"
    init = json.dumps({"candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0})

    await client.send(trickle=TrickleRequest(candidateInit=init, target=SignalTarget.SUBSCRIBER))
    await client.answer_offer()
    await client.offer()
    await client.send(trickle=TrickleRequest(candidateInit=init, target=SignalTarget.PUBLISHER))

    await settled(lambda: client.subscriber.remote_candidates == [candidate])
    await settled(lambda: client.publisher.remote_candidates == [candidate])
    await client.leave()


async def test_muting_is_told_to_everybody_and_stops_the_media(server: Server):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob")
    track = await ada.publish("mic")
    await bob.until_update("ada", is_publisher=True)

    await ada.send(mute=MuteTrackRequest(sid=track.sid, muted=True))

    for client in (ada, bob):
        while not (seen := await client.until_update("ada")).tracks or not seen.tracks[0].muted:
            pass
    assert ada.publisher.producers[Mid("0")].is_paused

    await ada.send(mute=MuteTrackRequest(sid=track.sid, muted=False))
    assert not (await bob.until_update("ada")).tracks[0].muted
    assert not ada.publisher.producers[Mid("0")].is_paused
    await ada.leave()
    await bob.leave()


async def test_a_track_may_be_published_muted(server: Server):
    client = await Client.connect(server)

    track = await client.publish("mic", muted=True)

    assert track.muted
    assert client.publisher.producers[Mid("0")].is_paused
    await client.leave()


async def test_requests_about_unknown_tracks_are_answered_with_a_copy(server: Server):
    client = await Client.connect(server)

    await client.send(mute=MuteTrackRequest(sid="TR_nobody", muted=True))
    answer = (await client.next("request_response")).request_response
    assert (answer.reason, answer.mute.sid) == (RequestResponse.NOT_FOUND, "TR_nobody")

    await client.send(update_video_track=UpdateLocalVideoTrack(track_sid="TR_nobody", width=1, height=1))
    answer = (await client.next("request_response")).request_response
    assert (answer.reason, answer.update_video_track.track_sid) == (RequestResponse.NOT_FOUND, "TR_nobody")

    await client.send(update_audio_track=UpdateLocalAudioTrack(track_sid="TR_nobody"))
    answer = (await client.next("request_response")).request_response
    assert (answer.reason, answer.update_audio_track.track_sid) == (RequestResponse.NOT_FOUND, "TR_nobody")
    await client.leave()


async def test_a_track_of_somebody_else_cannot_be_muted(server: Server):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob")
    track = await ada.publish("mic")

    await bob.send(mute=MuteTrackRequest(sid=track.sid, muted=True))

    assert (await bob.next("request_response")).request_response.reason == RequestResponse.NOT_FOUND
    assert not ada.publisher.producers[Mid("0")].is_paused
    await ada.leave()
    await bob.leave()


async def test_features_and_sizes_of_a_track_can_change(server: Server):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob")
    mic = await ada.publish("mic", stereo=True)
    cam = await ada.publish("cam", TrackSource.CAMERA, before=(("audio", "mic", "sendonly"),), id=2)
    assert mic.audio_features == [AudioTrackFeature.TF_STEREO]

    features = [AudioTrackFeature.TF_NO_DTX, AudioTrackFeature.TF_ECHO_CANCELLATION]
    await ada.send(update_audio_track=UpdateLocalAudioTrack(track_sid=mic.sid, features=features))
    await ada.send(update_video_track=UpdateLocalVideoTrack(track_sid=cam.sid, width=640, height=360))

    while len((seen := await bob.until_update("ada")).tracks) < 2 or not seen.tracks[1].width:
        pass
    voice, picture = seen.tracks
    assert (list(voice.audio_features), voice.stereo, voice.disable_dtx) == (features, False, True)
    assert (picture.width, picture.height) == (640, 360)
    await ada.leave()
    await bob.leave()


async def test_what_may_not_be_published_is_refused_with_a_copy(server: Server):
    client = await Client.connect(server, canPublishSources=["microphone"])

    await client.send(add_track=AddTrackRequest(cid="c", type=TrackType.VIDEO, source=TrackSource.CAMERA))

    answer = (await client.next("request_response")).request_response
    assert (answer.reason, answer.add_track.cid) == (RequestResponse.NOT_ALLOWED, "c")
    assert list(client.join.participant.permission.can_publish_sources) == [TrackSource.MICROPHONE]
    assert (await client.publish("mic")).sid
    await client.leave()


async def test_a_client_that_subscribes_by_hand_gets_what_it_asks_for(server: Server):
    ada = await Client.connect(server, "ada")
    bob = await Client.connect(server, "bob", query={"auto_subscribe": "0"})
    await bob.go_active()
    track = await ada.publish("mic")
    await bob.until_update("ada", is_publisher=True)
    await bob.no_more("offer")

    await bob.send(subscription=UpdateSubscription(track_sids=[track.sid], subscribe=True))
    assert list((await bob.answer_offer()).mid_to_track_id.values()) == [track.sid]

    await bob.send(subscription=UpdateSubscription(track_sids=[track.sid], subscribe=False))
    assert dict((await bob.answer_offer()).mid_to_track_id) == {}
    await ada.leave()
    await bob.leave()


async def test_a_track_that_never_comes_is_reported_after_a_while():
    async with serving(FakeEngine(), limits=Limits(wish_timeout_s=0.1, sweep_interval_s=0.05)) as server:
        client = await Client.connect(server)
        sid = wire_track_sid(77)

        await client.send(subscription=UpdateSubscription(track_sids=[sid, "TR_x"], subscribe=True))

        first = (await client.next("subscription_response")).subscription_response
        second = (await client.next("subscription_response")).subscription_response
        not_found = SubscriptionError.SE_TRACK_NOTFOUND
        assert [(one.track_sid, one.err) for one in (first, second)] == [("TR_x", not_found), (sid, not_found)]
        await client.leave()


async def test_a_codec_the_subscriber_refuses_is_reported(server: Server):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob")
    await bob.go_active()
    track = await ada.publish("cam", TrackSource.CAMERA)
    offer = (await bob.next("offer")).offer

    refusing = re.sub(r"m=video 9", "m=video 0", answer_to(offer.sdp))
    refusing = refusing.replace("BUNDLE 0 1", "BUNDLE 0")
    await bob.send(answer=SessionDescription(type="answer", sdp=refusing, id=offer.id))

    answer = (await bob.next("subscription_response")).subscription_response
    assert (answer.track_sid, answer.err) == (track.sid, SubscriptionError.SE_CODEC_UNSUPPORTED)
    await ada.leave()
    await bob.leave()


async def test_a_track_that_is_not_shown_is_held_back(server: Server):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob")
    await bob.go_active()
    track = await ada.publish("cam", TrackSource.CAMERA)
    await bob.answer_offer()
    consumer = await settled(lambda: bob.subscriber.consumers.get(Mid("1")))

    await bob.send(track_setting=UpdateTrackSettings(track_sids=[track.sid], disabled=True))
    await settled(lambda: consumer.is_paused)

    await bob.send(track_setting=UpdateTrackSettings(track_sids=[track.sid], quality=VideoQuality.HIGH))
    await settled(lambda: not consumer.is_paused)
    await ada.leave()
    await bob.leave()


async def test_a_client_is_sent_the_layer_it_asks_for(server: Server):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob")
    await bob.go_active()
    track = await publish_layers(ada)
    await bob.answer_offer()
    consumer = await settled(lambda: bob.subscriber.consumers.get(Mid("1")))
    assert consumer.policy == LayerPolicy(2, (1, 0))

    for setting, policy in (
        ({"quality": VideoQuality.LOW}, LayerPolicy(0, (1, 2))),
        ({"quality": VideoQuality.MEDIUM, "fps": 10}, LayerPolicy(1, (0, 2), max_temporal=1)),
        ({"width": 1280, "height": 720}, LayerPolicy(2, (1, 0))),
        ({"width": 400, "height": 200}, LayerPolicy(0, (1, 2))),  # 90 % of it is no more than 180
        ({"width": 400, "height": 202, "quality": VideoQuality.HIGH}, LayerPolicy(1, (0, 2))),
    ):
        await bob.send(track_setting=UpdateTrackSettings(track_sids=[track.sid], **setting))
        await settled(lambda: consumer.policy == policy)  # noqa: B023
    await bob.send(track_setting=UpdateTrackSettings(track_sids=[track.sid], quality=VideoQuality.OFF))
    await settled(lambda: consumer.is_paused)
    await ada.leave()
    await bob.leave()


async def test_an_adaptive_client_begins_with_the_lowest_layer(server: Server):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob", query={"adaptive_stream": "1"})
    await bob.go_active()
    await publish_layers(ada)
    await bob.answer_offer()

    consumer = await settled(lambda: bob.subscriber.consumers.get(Mid("1")))

    assert consumer.policy == LayerPolicy(0, (1, 2))
    await ada.leave()
    await bob.leave()


async def test_a_track_setting_may_come_before_the_track_is_subscribed(server: Server):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob", query={"auto_subscribe": "0"})
    await bob.go_active()
    track = await publish_layers(ada)
    await bob.until_update("ada", is_publisher=True)

    await bob.send(track_setting=UpdateTrackSettings(track_sids=[track.sid], quality=VideoQuality.MEDIUM))
    await bob.send(subscription=UpdateSubscription(track_sids=[track.sid], subscribe=True))
    await bob.answer_offer()

    consumer = await settled(lambda: bob.subscriber.consumers.get(Mid("1")))
    assert consumer.policy == LayerPolicy(1, (0, 2))
    await ada.leave()
    await bob.leave()


async def test_a_publisher_hears_at_once_of_more_and_later_of_less_that_is_wanted():
    async with serving(FakeEngine(), settings={"timeouts": {"dynacast_pause_s": 0.3}}) as server:
        ada = await Client.connect(server, "ada")
        track = await publish_layers(ada)

        ada.publisher.want_layers("0", 2)
        update = (await ada.next("subscribed_quality_update")).subscribed_quality_update
        assert (update.track_sid, [one.enabled for one in update.subscribed_qualities]) == (track.sid, [True] * 3)

        began = time.monotonic()
        ada.publisher.want_layers("0", 0, 1)
        update = (await ada.next("subscribed_quality_update")).subscribed_quality_update
        assert [one.enabled for one in update.subscribed_qualities] == [True, True, False]
        assert [codec.codec for codec in update.subscribed_codecs] == ["vp8"]
        assert time.monotonic() - began > 0.25

        ada.publisher.want_layers("0")
        ada.publisher.want_layers("0", 1)
        await ada.no_more("subscribed_quality_update", within_s=0.5)
        await ada.leave()


async def test_a_publisher_hears_nothing_of_its_sound_and_its_muted_pictures(server: Server):
    ada = await Client.connect(server, "ada")
    await ada.publish("mic")
    track = await publish_layers(ada, before=(("audio", "mic", "sendonly"),))
    await ada.send(mute=MuteTrackRequest(sid=track.sid, muted=True))
    await ada.until_update("ada")
    await settled(lambda: ada.publisher.producers[Mid("1")].is_paused)

    ada.publisher.want_layers("0", 0)
    ada.publisher.want_layers("1", 2)
    await ada.no_more("subscribed_quality_update")

    await ada.send(mute=MuteTrackRequest(sid=track.sid, muted=False))
    update = (await ada.next("subscribed_quality_update")).subscribed_quality_update
    assert (update.track_sid, [one.enabled for one in update.subscribed_qualities]) == (track.sid, [True] * 3)
    await ada.leave()


async def publish_layers(client: Client, before: tuple[tuple[str, str, str], ...] = ()) -> TrackInfo:
    """Publish a camera in three layers."""
    client.rids["cam"] = "q h f"
    sizes = ((VideoQuality.LOW, 320, 180), (VideoQuality.MEDIUM, 640, 360), (VideoQuality.HIGH, 1280, 720))
    layers = [VideoLayer(quality=quality, width=width, height=height) for quality, width, height in sizes]
    return await client.publish("cam", TrackSource.CAMERA, before=before, layers=layers)


async def test_a_participant_that_may_not_subscribe_gets_no_offer(server: Server):
    ada = await Client.connect(server, "ada")
    await ada.publish("mic")

    client = await Client.connect(server, "mute-witness", canSubscribe=False)

    assert not client.join.subscriber_primary
    assert client.join.other_participants[0].tracks
    await client.no_more("offer")
    await ada.leave()
    await client.leave()


async def test_changing_oneself_is_seen_by_oneself_then_confirmed(server: Server):
    ada = await Client.connect(server, "ada", canUpdateOwnMetadata=True, attributes={"keep": "1", "drop": "2"})
    bob = await Client.connect(server, "bob")
    before = (await ada.next("refresh_token")).refresh_token

    update = UpdateParticipantMetadata(name="Ada L.", attributes={"drop": "", "new": "3"}, request_id=8)
    await ada.send(update_metadata=update)

    confirmed = (await ada.next("request_response")).request_response
    assert (confirmed.request_id, confirmed.reason) == (8, RequestResponse.OK)
    kinds = ada.order("update", "refresh_token", "request_response")
    assert kinds[-3:] == ["update", "refresh_token", "request_response"]
    after = (await ada.next("refresh_token")).refresh_token
    said = [jwt.decode(token, options={"verify_signature": False}) for token in (before, after)]
    assert (said[0].get("name"), said[1]["name"], said[1]["attributes"]) == (None, "Ada L.", {"keep": "1", "new": "3"})
    seen = await bob.until_update("ada", name="Ada L.")
    assert dict(seen.attributes) == {"keep": "1", "new": "3"}
    await ada.leave()
    await bob.leave()


async def test_changing_oneself_needs_the_grant(server: Server):
    client = await Client.connect(server)

    await client.send(update_metadata=UpdateParticipantMetadata(name="x", request_id=5))

    answer = (await client.next("request_response")).request_response
    assert (answer.request_id, answer.reason) == (5, RequestResponse.NOT_ALLOWED)
    assert answer.message == "does not have permission to update own metadata"
    await client.leave()


@pytest.mark.parametrize(
    ("update", "text"),
    [
        ({"name": "n" * 257}, "exceeds name length limit"),
        ({"metadata": "m" * (512 * 1024 + 1)}, "exceeds metadata size limit"),
        ({"attributes": {"k": "v" * 64 * 1024}}, "exceeds attributes size limit"),
    ],
)
async def test_changes_beyond_a_limit_say_which(server: Server, update, text):
    client = await Client.connect(server, canUpdateOwnMetadata=True)

    await client.send(update_metadata=UpdateParticipantMetadata(**update, request_id=5))

    answer = (await client.next("request_response")).request_response
    assert (answer.reason, answer.message) == (RequestResponse.LIMIT_EXCEEDED, text)
    await client.leave()


async def test_a_fresh_token_comes_right_after_joining_and_then_again_and_again():
    async with serving(FakeEngine(), settings={"timeouts": {"refresh_token_s": 0.1}}) as server:
        client = await Client.connect(server, name="Ada")

        tokens = [(await client.next("refresh_token")).refresh_token for _ in range(3)]

        again = await Client.connect(server, token=tokens[-1])
        assert again.join.participant.name == "Ada"
        assert (await client.next("leave")).leave.reason == DisconnectReason.DUPLICATE_IDENTITY
        await again.leave()


async def test_the_room_is_told_when_its_head_count_changes(server: Server):
    ada = await Client.connect(server, "ada")
    assert (await ada.next("room_update")).room_update.room.num_participants == 1
    await ada.leave()


async def test_the_same_identity_joining_again_replaces_the_older_session(server: Server):
    bob = await Client.connect(server, "bob")
    older = await Client.connect(server, "ada")
    await bob.until_update("ada", sid=older.sid)

    newer = await Client.connect(server, "ada")

    leave = (await older.next("leave")).leave
    assert (leave.reason, leave.action) == (DisconnectReason.DUPLICATE_IDENTITY, LeaveRequest.DISCONNECT)
    assert await older.closed() == 1000
    await bob.until_update("ada", sid=newer.sid)
    states = [info.state for message in bob.heard for info in message.update.participants if info.sid == older.sid]
    assert ParticipantInfo.DISCONNECTED not in states
    assert [other.identity for other in newer.join.other_participants] == ["bob"]
    await newer.leave()
    await bob.leave()


async def test_of_many_sessions_of_one_identity_at_once_the_last_one_stays(server: Server):
    clients = await asyncio.gather(*(Client.connect(server, "ada") for _ in range(8)))

    await settled(lambda: server.core.rooms.count().participants == 1)
    (left,) = server.core.rooms.participants(server.core.rooms.all()[0].id)
    for client in clients:
        if client.sid != sids.write("PA_", left.id):
            assert (await client.next("leave")).leave.reason == DisconnectReason.DUPLICATE_IDENTITY
        else:
            await client.no_more("leave", within_s=0.1)
            await client.leave()


async def test_a_participant_that_is_removed_with_a_queue_hears_the_right_reason(server: Server):
    client = await Client.connect(server)
    await client.publish("mic")
    await client.send(add_track=AddTrackRequest(cid="mic", type=TrackType.AUDIO))
    await client.next("request_response")

    server.core.rooms.leave(read_participant(client), LeaveReason.REMOVED)

    assert (await client.next("leave")).leave.reason == DisconnectReason.PARTICIPANT_REMOVED
    assert await client.closed() == 1000


async def test_a_client_that_says_good_bye_hears_it_too(server: Server):
    client = await Client.connect(server)

    await client.send(leave=LeaveRequest(reason=DisconnectReason.USER_REJECTED))

    leave = (await client.next("leave")).leave
    assert (leave.reason, leave.action) == (DisconnectReason.USER_REJECTED, LeaveRequest.DISCONNECT)
    assert await client.closed() == 1000
    await settled(lambda: not server.fake.transports)


async def test_a_client_whose_socket_breaks_is_gone(server: Server):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob")

    ada.socket.transport.abort()

    gone = await bob.until_update("ada", state=ParticipantInfo.DISCONNECTED)
    assert gone.disconnect_reason == DisconnectReason.SIGNAL_CLOSE
    await bob.leave()


async def test_a_client_that_comes_back_for_its_session_is_told_to_begin_a_new_one(server: Server):
    query = {"access_token": server.token(), "protocol": "17", "reconnect": "1", "sid": "PA_old"}
    async with websockets.connect(f"ws://{server.host}/rtc?{urlencode(query)}") as socket:
        leave = SignalResponse.FromString(await socket.recv()).leave
        assert (leave.reason, leave.action) == (DisconnectReason.STATE_MISMATCH, LeaveRequest.RECONNECT)
        with pytest.raises(websockets.ConnectionClosed):
            await socket.recv()
    assert server.core.rooms.all() == ()


async def test_a_failed_media_connection_makes_the_client_start_over(server: Server):
    client = await Client.connect(server)
    await client.go_active()

    client.subscriber.fail()

    leave = (await client.next("leave")).leave
    assert (leave.reason, leave.action) == (DisconnectReason.CONNECTION_TIMEOUT, LeaveRequest.RECONNECT)


async def test_a_mistake_of_ours_ends_one_session_and_makes_its_client_start_over(server: Server, monkeypatch):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob")

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(server.core.rooms, "mute", broken)
    track = await ada.publish("mic")
    await ada.send(mute=MuteTrackRequest(sid=track.sid, muted=True))

    leave = (await ada.next("leave")).leave
    assert leave.action == LeaveRequest.RECONNECT
    assert await ada.closed() == 1011
    await bob.until_update("ada", state=ParticipantInfo.DISCONNECTED)
    await bob.leave()


async def test_older_clients_are_told_by_a_flag_whether_to_come_back(server: Server):
    client = await Client.connect(server, query={"protocol": "12"})
    await client.go_active()

    client.subscriber.fail()

    leave = (await client.next("leave")).leave
    assert (leave.can_reconnect, leave.action) == (True, LeaveRequest.DISCONNECT)


async def test_a_client_that_never_gets_media_through_is_removed():
    async with serving(FakeEngine(), limits=Limits(join_timeout_s=0.2, sweep_interval_s=0.05)) as server:
        client = await Client.connect(server)

        leave = (await client.next("leave")).leave

        assert (leave.reason, leave.action) == (DisconnectReason.JOIN_FAILURE, LeaveRequest.DISCONNECT)


async def test_a_server_that_stops_says_so_before_it_closes(server: Server):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob")

    server.core.stop()
    late = await server.livekit.drain(3.0)

    assert late == 0
    for client in (ada, bob):
        leave = (await client.next("leave")).leave
        assert (leave.reason, leave.action) == (DisconnectReason.SERVER_SHUTDOWN, LeaveRequest.DISCONNECT)
        assert await client.closed() == 1000


async def test_an_empty_room_closes_and_the_next_one_of_its_name_is_new():
    limits = Limits(sweep_interval_s=0.05)
    async with serving(FakeEngine(), settings={"rooms": {"departure_timeout_s": 1}}, limits=limits) as server:
        first = await Client.connect(server)
        await first.leave()
        second = await Client.connect(server)
        assert second.join.room.sid == first.join.room.sid
        await second.leave()
        await settled(lambda: server.core.rooms.all() == ())

        third = await Client.connect(server)
        assert third.join.room.sid != first.join.room.sid
        await third.leave()


async def test_the_token_says_how_a_new_room_behaves(server: Server):
    config = {"emptyTimeout": 60, "departureTimeout": 7, "maxParticipants": 2, "metadata": "m", "unheardOf": 1}

    client = await Client.connect(server, room_config=config)

    room = client.join.room
    assert (room.empty_timeout, room.departure_timeout, room.max_participants, room.metadata) == (60, 7, 2, "m")
    await client.leave()


# The socket.


async def test_both_pings_are_answered_whatever_else_goes_on(server: Server):
    client = await Client.connect(server)

    await client.send(ping=1)
    await client.send(ping_req=Ping(timestamp=42))

    assert abs((await client.next("pong")).pong - server.clock.wall() * 1000) < 10_000
    assert (await client.next("pong_resp")).pong_resp.last_ping_timestamp == 42
    await client.leave()


async def test_a_client_that_speaks_json_is_answered_in_json(server: Server):
    client = await Client.connect(server)

    await client.socket.send(json.dumps({"pingReq": {"timestamp": "42"}}))

    while isinstance(frame := await client.socket.recv(), bytes):
        pass
    assert json.loads(frame)["pongResp"]["lastPingTimestamp"] == "42"
    await client.socket.send(SignalRequest(ping=1).SerializeToString())
    assert isinstance(await client.socket.recv(), bytes)
    await client.leave()


async def test_a_message_of_more_than_two_mebibytes_closes_with_1009(server: Server):
    client = await Client.connect(server)

    await client.socket.send(b"\x00" * (2 * 1024 * 1024 + 1))

    assert await client.closed() == 1009


async def test_a_frame_that_is_no_message_ends_the_session(server: Server):
    client = await Client.connect(server)

    await client.socket.send(b"\xff\xff\xff")

    assert await client.closed() == 1007
    await settled(lambda: not server.fake.transports)


async def test_what_is_not_supported_is_refused_and_what_cannot_be_refused_is_ignored(server: Server):
    client = await Client.connect(server)
    await client.send(simulate=SimulateScenario(node_failure=True))
    await client.send(publish_data_track_request=PublishDataTrackRequest(pub_handle=3, name="x"))

    answer = (await client.next("request_response")).request_response

    assert (answer.reason, answer.publish_data_track.pub_handle) == (RequestResponse.NOT_ALLOWED, 3)
    await client.leave()


async def test_a_client_that_does_not_read_is_cut_off():
    settings = {"limits": {"outgoing_messages": 16}, "timeouts": {"write_s": 0.3}}
    async with serving(FakeEngine(), settings=settings) as server:
        bob = await Client.connect(server, "bob")
        deaf = await Client.connect(server, "deaf", canUpdateOwnMetadata=True)
        await deaf.send(update_metadata=UpdateParticipantMetadata(metadata="m" * 200_000))
        deaf.socket.transport.pause_reading()

        for number in range(200):
            await deaf.send(update_metadata=UpdateParticipantMetadata(attributes={"n": str(number)}))

        gone = await bob.until_update("deaf", state=ParticipantInfo.DISCONNECTED)
        assert gone.disconnect_reason == DisconnectReason.STATE_MISMATCH
        deaf.socket.transport.abort()
        await bob.leave()


async def test_a_client_that_does_not_read_delays_nobody_and_takes_little():
    settings = {"limits": {"outgoing_bytes": 4_000_000}, "timeouts": {"write_s": 30}}
    async with serving(FakeEngine(), settings=settings) as server:
        bob = await Client.connect(server, "bob")
        deaf = await Client.connect(server, "deaf")
        ada = await Client.connect(server, "ada", canUpdateOwnMetadata=True)
        deaf.socket.transport.pause_reading()
        slowest_s = 0.0

        for number in range(40):  # twice what the kernel holds for a socket
            metadata = f"{number}" + "m" * 500_000
            began = time.monotonic()
            await ada.send(update_metadata=UpdateParticipantMetadata(metadata=metadata))
            await bob.until_update("ada", metadata=metadata)
            slowest_s = max(slowest_s, time.monotonic() - began)
            await ada.until_update("ada", metadata=metadata)

        await settled(lambda: len(server.core.rooms.participants(server.core.rooms.all()[0].id)) == 2)
        assert slowest_s < 0.5
        deaf.socket.transport.abort()
        await bob.leave()


# Data.


async def test_data_reaches_everybody_else_with_the_senders_name_on_it(server: Server):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob")
    await ada.go_active()
    await bob.go_active()
    await ada.offer()
    up = ada.publisher.receive_channel("_reliable")

    up.receive(DataPacket(user=UserPacket(payload=b"hello", topic="chat"), sequence=1).SerializeToString())

    (packet,) = received(bob, "_reliable")
    assert (packet.participant_identity, packet.participant_sid, packet.sequence) == ("ada", ada.sid, 1)
    assert (packet.user.payload, packet.user.topic) == (b"hello", "chat")
    assert received(ada, "_reliable") == []
    await ada.leave()
    await bob.leave()


async def test_data_for_somebody_reaches_nobody_else(server: Server):
    ada, bob, eve = [await Client.connect(server, name) for name in ("ada", "bob", "eve")]
    for client in (ada, bob, eve):
        await client.go_active()
    await ada.offer()
    up = ada.publisher.receive_channel("_lossy", ordered=False, max_retransmits=0)

    up.receive(DataPacket(destination_identities=["eve"], user=UserPacket(payload=b"psst")).SerializeToString())

    assert [packet.user.payload for packet in received(eve, "_lossy")] == [b"psst"]
    assert received(bob, "_lossy") == []
    for client in (ada, bob, eve):
        await client.leave()


async def test_reliable_data_waits_for_who_is_still_joining_and_lossy_does_not(server: Server):
    ada, bob = await Client.connect(server, "ada"), await Client.connect(server, "bob")
    await ada.go_active()
    await ada.offer()
    reliable = ada.publisher.receive_channel("_reliable")
    lossy = ada.publisher.receive_channel("_lossy", ordered=False, max_retransmits=0)

    for number in (1, 2):
        reliable.receive(DataPacket(user=UserPacket(payload=b"%d" % number), sequence=number).SerializeToString())
        lossy.receive(DataPacket(user=UserPacket(payload=b"gone")).SerializeToString())
    await bob.go_active()

    assert [packet.user.payload for packet in received(bob, "_reliable")] == [b"1", b"2"]
    assert received(bob, "_lossy") == []
    await ada.leave()
    await bob.leave()


async def test_who_may_not_send_data_is_not_heard(server: Server):
    ada = await Client.connect(server, "ada", canPublishData=False)
    bob = await Client.connect(server, "bob")
    await ada.go_active()
    await bob.go_active()
    await ada.offer()

    ada.publisher.receive_channel("_reliable").receive(
        DataPacket(user=UserPacket(payload=b"x"), sequence=1).SerializeToString()
    )

    assert received(bob, "_reliable") == []
    await ada.leave()
    await bob.leave()


def received(client: Client, label: str) -> list[DataPacket]:
    """What the server has sent on this client's channel."""
    (channel,) = [one for one in client.subscriber.channels.values() if one.label == label]
    return [DataPacket.FromString(message.data) for message in channel.sent]


def read_participant(client: Client) -> ParticipantId:
    return ParticipantId(sids.read("PA_", client.sid) or 0)


def wire_track_sid(number: int) -> str:
    return sids.write("TR_AM", number)


# Who may subscribe.


async def test_a_publisher_may_say_who_receives_its_tracks(server: Server):
    ada, bob, eve = [await Client.connect(server, name) for name in ("ada", "bob", "eve")]
    for client in (bob, eve):
        await client.go_active()
    track = await ada.publish("mic")
    for client in (bob, eve):
        await client.answer_offer()

    only_bob = [TrackPermission(participant_identity="bob", all_tracks=True)]
    await ada.send(subscription_permission=SubscriptionPermission(track_permissions=only_bob))

    told = (await eve.next("subscription_permission_update")).subscription_permission_update
    assert (told.participant_sid, told.track_sid, told.allowed) == (ada.sid, track.sid, False)
    assert dict((await eve.answer_offer()).mid_to_track_id) == {}
    await bob.no_more("offer", within_s=0.1)

    await ada.send(subscription_permission=SubscriptionPermission(all_participants=True))

    assert (await eve.next("subscription_permission_update")).subscription_permission_update.allowed
    assert list((await eve.answer_offer()).mid_to_track_id.values()) == [track.sid]
    for client in (ada, bob, eve):
        await client.leave()


async def test_a_rule_counts_for_tracks_and_participants_to_come(server: Server):
    ada = await Client.connect(server, "ada")
    await ada.send(subscription_permission=SubscriptionPermission())
    track = await ada.publish("mic")

    bob = await Client.connect(server, "bob")

    told = (await bob.next("subscription_permission_update")).subscription_permission_update
    assert (told.track_sid, told.allowed) == (track.sid, False)
    assert dict((await bob.next("offer")).offer.mid_to_track_id) == {}
    await ada.leave()
    await bob.leave()
