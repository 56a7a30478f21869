"""The conversation with a client: what its frames mean, and what can be answered without anybody's help."""

import json
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol.models import DisconnectReason
from livekit.protocol.rtc import (
    LeaveRequest,
    Ping,
    RequestResponse,
    SessionDescription,
    SignalRequest,
    SignalResponse,
    SignalTarget,
    TrickleRequest,
    UpdateSubscription,
)

from parley.core.model import LeaveReason, ParticipantState
from parley.dialects.livekit import sids, signal
from parley.dialects.livekit.frames import BadFrame
from parley.dialects.livekit.signal import Conversation, Heard
from parley.ids import ParticipantId
from tests.dialects.livekit.test_wire import ADA

NOW_MS = 1_800_000_000_123


def conversation(protocol: int = 17) -> Conversation:
    return Conversation(protocol, Random(1))


def hear(request: SignalRequest, protocol: int = 17) -> Heard:
    return conversation(protocol).read(request.SerializeToString(), NOW_MS)


def refused(heard: Heard) -> RequestResponse:
    (answer,) = heard.answers
    return answer.request_response


def test_both_pings_are_answered_with_the_time_in_milliseconds():
    assert hear(SignalRequest(ping=5)).answers == (SignalResponse(pong=NOW_MS),)

    (answer,) = hear(SignalRequest(ping_req=Ping(timestamp=77, rtt=3))).answers
    assert (answer.pong_resp.last_ping_timestamp, answer.pong_resp.timestamp) == (77, NOW_MS)


def test_a_client_that_speaks_text_is_answered_in_text_until_it_speaks_binary_again():
    talk = conversation()
    binary = talk.write(SignalResponse(pong=1))
    talk.read('{"pingReq": {"timestamp": "5"}, "unheardOf": 1}', NOW_MS)
    text = talk.write(SignalResponse(pong=NOW_MS))
    talk.read(SignalRequest(ping=5).SerializeToString(), NOW_MS)

    assert isinstance(binary, bytes)
    assert json.loads(text) == {"pong": str(NOW_MS)}, "64-bit numbers are strings in JSON"
    assert isinstance(talk.write(SignalResponse(pong=1)), bytes)


def test_original_field_names_are_understood_in_text_too():
    heard = conversation().read('{"add_track": {"cid": "c", "disable_dtx": true}}', NOW_MS)

    assert isinstance(heard.intent, signal.Announce)
    assert heard.intent.track.disable_dtx


@pytest.mark.parametrize("frame", [b"\xff\xff\xff", "nothing", "[]", '{"ping": "x"}', "[" * 5000])
def test_a_frame_that_is_no_request_ends_the_conversation(frame):
    with pytest.raises(BadFrame):
        conversation().read(frame, NOW_MS)


@given(st.binary() | st.text())
def test_no_frame_does_anything_but_be_heard_or_refused(frame):
    try:
        conversation().read(frame, NOW_MS)
    except BadFrame as error:
        assert "SignalRequest" in str(error)


def test_a_message_of_a_later_protocol_is_ignored():
    assert hear(SignalRequest()) == Heard()
    assert conversation().read(b"\xfa\x07\x02hi", NOW_MS) == Heard()


def test_an_offer_keeps_its_id():
    intent = hear(SignalRequest(offer=SessionDescription(type="offer", sdp="v=0", id=3))).intent

    assert isinstance(intent, signal.TakeOffer)
    assert (intent.sdp, intent.id) == ("v=0", 3)
    assert conversation().answer("v=0", 3).answer == SessionDescription(type="answer", sdp="v=0", id=3)


def test_our_offers_are_numbered_from_a_random_start_upward():
    talk = conversation()

    first = talk.offer("v=0", {}).offer.id
    second = talk.offer("v=0", {"0": "TR_x"}).offer

    assert 2 <= first <= 257
    assert second.id == first + 1
    assert dict(second.mid_to_track_id) == {"0": "TR_x"}


@pytest.mark.parametrize(("offset", "is_taken"), [(0, True), (None, True), (1, False)])
def test_an_answer_counts_when_it_names_the_outstanding_offer_or_none(offset, is_taken):
    talk = conversation()
    id = talk.offer("v=0", {}).offer.id
    answered = 0 if offset is None else id + offset
    answer = SignalRequest(answer=SessionDescription(type="answer", sdp="v=0", id=answered))

    assert (talk.read(answer.SerializeToString(), NOW_MS).intent is not None) is is_taken


def test_an_answer_to_nothing_is_ignored():
    assert hear(SignalRequest(answer=SessionDescription(type="answer", sdp="v=0"))) == Heard()


def test_a_candidate_is_read_from_its_json():
    init = json.dumps({"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0", "sdpMLineIndex": 0})

    intent = hear(SignalRequest(trickle=TrickleRequest(candidateInit=init, target=SignalTarget.SUBSCRIBER))).intent

    assert isinstance(intent, signal.AddCandidate)
    assert intent.target == SignalTarget.SUBSCRIBER
    assert intent.candidate.startswith("candidate:1")


@pytest.mark.parametrize("init", ['{"candidate": ""}', "{}", ""])
def test_the_end_of_candidates_means_nothing(init):
    assert hear(SignalRequest(trickle=TrickleRequest(candidateInit=init, final=True))) == Heard()


@pytest.mark.parametrize("init", ["{", "[]", '"x"', "null", '{"candidate": 5}'])
def test_a_candidate_that_is_no_json_object_is_refused_with_a_copy(init):
    answer = refused(hear(SignalRequest(trickle=TrickleRequest(candidateInit=init))))

    assert answer.reason == RequestResponse.UNCLASSIFIED_ERROR
    assert answer.trickle.candidateInit == init


def test_a_subscription_names_tracks_in_either_of_its_lists():
    known = sids.write("TR_VC", 7)
    wish = UpdateSubscription(track_sids=["TR_no", known], subscribe=True)
    wish.participant_tracks.add(participant_sid="PA_x", track_sids=[sids.write("TR_AM", 8)])

    intent = hear(SignalRequest(subscription=wish)).intent

    assert isinstance(intent, signal.Subscribe)
    assert intent.wanted
    assert list(intent.tracks.values()) == [None, 7, 8]


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (DisconnectReason.CLIENT_INITIATED, LeaveReason.CLIENT_LEFT),
        (DisconnectReason.USER_REJECTED, LeaveReason.CLIENT_REJECTED),
        (DisconnectReason.AGENT_ERROR, LeaveReason.CLIENT_FAILED),
        (DisconnectReason.SERVER_SHUTDOWN, LeaveReason.CLIENT_LEFT),
    ],
)
def test_a_client_may_state_only_reasons_of_its_own(said, meant):
    intent = hear(SignalRequest(leave=LeaveRequest(reason=said))).intent

    assert isinstance(intent, signal.Leave)
    assert intent.reason is meant


def test_what_is_not_supported_is_refused_where_the_protocol_can_say_so():
    request = SignalRequest()
    request.publish_data_track_request.pub_handle = 9
    answer = refused(hear(request))
    assert (answer.reason, answer.publish_data_track.pub_handle) == (RequestResponse.NOT_ALLOWED, 9)

    request = SignalRequest()
    request.get_data_blob_request.request_id = 4
    answer = refused(hear(request))
    assert (answer.reason, answer.request_id) == (RequestResponse.NOT_FOUND, 4)

    request = SignalRequest()
    request.simulate.node_failure = True
    assert hear(request) == Heard()


def test_success_is_told_to_those_who_know_the_word():
    request = SignalRequest()
    request.update_metadata.request_id = 4

    (answer,) = conversation(15).confirm(request)

    assert (answer.request_response.reason, answer.request_response.request_id) == (RequestResponse.OK, 4)
    assert conversation(14).confirm(request) == ()


def test_news_that_are_no_news_are_not_told():
    talk = conversation()
    talk.told([ADA])
    bob = replace(ADA, id=ParticipantId(8), revision=0)
    newer = replace(ADA, revision=4)

    assert talk.news([ADA, replace(ADA, revision=2)]) == []
    assert talk.news([newer, bob, bob]) == [newer, bob]


def test_a_departure_is_always_told():
    talk = conversation()
    talk.told([ADA])
    gone = replace(ADA, state=ParticipantState.DISCONNECTED)

    assert talk.news([gone]) == [gone]
