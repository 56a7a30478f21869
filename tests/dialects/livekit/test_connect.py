"""What a client says when it connects, and whether it may."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol.models import ClientInfo

from parley.dialects.livekit.auth import Claims, VideoGrant
from parley.dialects.livekit.connect import admit, check_attributes, read_connect
from parley.dialects.livekit.errors import ConnectRefused

LIMIT = 256


def claims(identity: str = "ada", **grant: object) -> Claims:
    video = VideoGrant.model_validate({"roomJoin": True, "room": "standup"} | grant)
    return Claims(key="k", identity=identity, video=video, attributes={"role": "guest", "team": "red"})


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def test_a_browsers_query_is_read():
    request = read_connect(
        {
            "protocol": "17",
            "sdk": "js",
            "version": "2.23.0",
            "auto_subscribe": "0",
            "adaptive_stream": "1",
            "client_protocol": "2",
            "capabilities": "CAP_PACKET_TRAILER,CAP_UNHEARD_OF,CAP_COMPRESSION_DEFLATE_RAW",
            "attributes": encoded({"a": "1"}),
            "sid": "PA_old",
        }
    )

    assert (request.protocol, request.auto_subscribe, request.adaptive_stream) == (17, False, True)
    assert (request.client.sdk, request.client.version, request.client.client_protocol) == (ClientInfo.JS, "2.23.0", 2)
    assert list(request.client.capabilities) == [1, 2]
    assert request.attributes == {"a": "1"}
    assert request.sid == "", "a sid means something only to a client that reconnects"


def test_what_is_not_said_has_the_defaults_of_the_older_path():
    request = read_connect({})

    assert request.auto_subscribe
    assert not request.adaptive_stream
    assert not request.reconnect
    assert request.protocol == 0


@given(st.dictionaries(st.sampled_from(["protocol", "attributes", "sdk", "capabilities", "reconnect"]), st.text()))
def test_no_query_does_anything_but_be_read(query):
    assert read_connect(query).protocol >= 0


@pytest.mark.parametrize(
    ("said", "query", "status", "text"),
    [
        (None, {}, 401, "no permissions to access the room"),
        (Claims(identity="ada"), {}, 401, "no permissions to access the room"),
        (claims(roomJoin=False), {}, 401, "permissions denied"),
        (claims(identity="", room=""), {}, 400, "identity cannot be empty"),
        (claims(identity="é" * 129), {}, 400, "participant identity length exceeds limits: max length 256"),
        (claims(room=""), {}, 400, "no room name"),
        (claims(room="r" * 257), {}, 400, "room name length exceeds limits: max length 256"),
        (claims(canPublish=False), {"publish": "cam"}, 401, "no permissions to access the room"),
    ],
)
def test_the_first_thing_that_is_wrong_is_what_the_client_hears(said, query, status, text):
    with pytest.raises(ConnectRefused) as refused:
        admit(said, read_connect(query), LIMIT)

    assert (refused.value.status, str(refused.value)) == (status, text)


def test_a_publish_only_connection_has_its_own_identity_and_does_not_subscribe():
    admitted = admit(claims(), read_connect({"publish": "cam"}), LIMIT)

    assert admitted.identity == "ada#cam"
    assert not admitted.video.subscribes


def test_attributes_of_the_request_lie_over_those_of_the_token():
    query = {"attributes": encoded({"role": "host", "team": ""})}

    admitted = admit(claims(canUpdateOwnMetadata=True), read_connect(query), LIMIT)

    check_attributes(admitted, strict=True)
    assert admitted.attributes == {"role": "host", "team": "red"}


def test_attributes_need_the_grant_to_change_oneself():
    admitted = admit(claims(), read_connect({"attributes": encoded({"role": "host"})}), LIMIT)

    with pytest.raises(ConnectRefused, match="no permissions to access the room"):
        check_attributes(admitted, strict=False)


def test_attributes_that_cannot_be_read_matter_to_the_validating_request_alone():
    admitted = admit(claims(), read_connect({"attributes": "%%%"}), LIMIT)

    check_attributes(admitted, strict=False)
    with pytest.raises(ConnectRefused, match="cannot decode attributes"):
        check_attributes(admitted, strict=True)
