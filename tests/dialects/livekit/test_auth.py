"""Tokens: which are taken, and what the others are told."""

import base64
import contextlib
import json

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley.dialects.livekit import auth
from parley.dialects.livekit.auth import Claims, VideoGrant, find_token, read_token, refresh, write_token
from parley.dialects.livekit.errors import NotAuthenticated
from parley.dialects.livekit.settings import LiveKitSettings

NOW = 1_800_000_000.0
SECRET = "s" * 32
KEYS = LiveKitSettings.model_validate({"keys": {"APIkey": {"secret": SECRET, "tenant": "acme"}}}).keys


def token(secret: str = SECRET, algorithm: str = "HS256", **claims: object) -> str:
    body = {"iss": "APIkey", "sub": "ada", "exp": NOW + 600, "video": {"roomJoin": True, "room": "standup"}}
    body |= claims
    return jwt.encode({k: v for k, v in body.items() if v is not None}, secret, algorithm=algorithm)


def test_a_good_token_says_who_and_what():
    claims = read_token(
        token(name="Ada", metadata="m", attributes={"a": "1"}, kind="agent", unheard={"of": 1}), KEYS, NOW
    )

    assert (claims.key, claims.tenant, claims.identity, claims.name) == ("APIkey", "acme", "ada", "Ada")
    assert (claims.metadata, claims.attributes, claims.kind) == ("m", {"a": "1"}, "agent")
    assert claims.video is not None
    assert claims.video.room_join
    assert claims.video.room == "standup"


def test_what_a_token_does_not_say_has_the_usual_defaults():
    video = VideoGrant()

    assert video.publishes
    assert video.subscribes
    assert video.publishes_data
    assert not VideoGrant(can_publish=False).publishes_data
    assert VideoGrant(can_publish=False, can_publish_data=True).publishes_data


def test_the_identity_falls_back_to_jti():
    assert read_token(token(sub=None, jti="ada-2"), KEYS, NOW).identity == "ada-2"


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        ("no.jwt", "invalid authorization token"),
        ("", "invalid authorization token"),
        ("e30." + base64.urlsafe_b64encode(b"[" * 20_000).decode() + ".e30", "invalid authorization token"),
        (token(iss="someone"), "invalid API key"),
        (token(iss=None), "invalid API key"),
        (token(secret="x" * 32), "invalid authorization token: the signature does not match"),
        (token(algorithm="HS512", secret="s" * 64), "invalid authorization token: only HS256 is accepted"),
        (token(exp=NOW - 61), "invalid authorization token: it has expired (exp)"),
        (token(exp=None), "invalid authorization token: it has no expiry (exp)"),
        (token(exp="soon"), "invalid authorization token: exp is not a number of seconds"),
        (token(nbf=NOW + 61), "invalid authorization token: it is not valid yet (nbf)"),
    ],
)
def test_a_bad_token_is_refused_with_the_reason(bad, text):
    with pytest.raises(NotAuthenticated) as refused:
        read_token(bad, KEYS, NOW)

    assert str(refused.value) == text
    assert refused.value.status == 401


def test_a_token_without_a_signature_is_refused():
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    unsigned = f"{part({'alg': 'none', 'typ': 'JWT'})}.{part({'iss': 'APIkey', 'exp': NOW + 60})}."

    with pytest.raises(NotAuthenticated, match="only HS256 is accepted"):
        read_token(unsigned, KEYS, NOW)


def test_a_minute_of_clock_difference_is_forgiven():
    assert read_token(token(exp=NOW - 59, nbf=NOW + 59), KEYS, NOW).identity == "ada"


def test_a_claim_of_the_wrong_type_is_named():
    with pytest.raises(NotAuthenticated, match=r"invalid authorization token: video\.roomJoin"):
        read_token(token(video={"roomJoin": "perhaps"}), KEYS, NOW)


def test_a_refusal_never_repeats_the_token():
    bad = token(secret="x" * 32)

    with pytest.raises(NotAuthenticated) as refused:
        read_token(bad, KEYS, NOW)

    assert bad not in str(refused.value)


def test_the_header_wins_over_the_query():
    assert find_token({"authorization": "Bearer a"}, {"access_token": "b"}) == "a"
    assert find_token({}, {"access_token": "b"}) == "b"
    assert find_token({}, {}) is None


def test_a_header_of_another_scheme_is_refused():
    with pytest.raises(NotAuthenticated) as refused:
        find_token({"authorization": "Basic eHg="}, {"access_token": "b"})

    assert str(refused.value) == "invalid authorization header. Must start with Bearer "


def test_a_refreshed_token_says_the_same_and_lives_at_least_ten_minutes():
    claims = read_token(token(name="Ada", exp=NOW + 10), KEYS, NOW)

    again = read_token(refresh(claims, SECRET, now=NOW), KEYS, NOW)

    assert again == claims.model_copy(update={"expires_at": NOW + auth.REFRESHED_FOR_S})


def test_a_refreshed_token_keeps_a_longer_life():
    claims = read_token(token(exp=NOW + 6000), KEYS, NOW)

    assert read_token(refresh(claims, SECRET, now=NOW), KEYS, NOW).expires_at == NOW + 6000


def test_a_written_token_is_one_that_other_libraries_read():
    said = Claims(key="APIkey", identity="ada", video=VideoGrant(room_join=True, room="r", can_publish=False))

    body = jwt.decode(write_token(said, SECRET, now=NOW, ttl_s=60), options={"verify_signature": False})

    assert body["video"] == {"roomJoin": True, "room": "r", "canPublish": False}
    assert (body["iss"], body["sub"], body["exp"] - body["nbf"]) == ("APIkey", "ada", 60)


@given(st.one_of(st.text(), st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,9}")))
def test_no_text_does_anything_but_be_refused(text):
    with pytest.raises(NotAuthenticated):
        read_token(text, KEYS, NOW)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(["sub", "jti", "nbf", "exp", "name", "video", "attributes", "metadata", "roomConfig", "kind"]),
        json_values,
    )
)
def test_no_claims_do_anything_but_be_read_or_refused(claims):
    signed = jwt.encode({"iss": "APIkey", "exp": NOW + 60} | claims, SECRET, algorithm="HS256")
    with contextlib.suppress(NotAuthenticated):
        assert read_token(signed, KEYS, NOW).key == "APIkey"
