"""A session's life through the API: made, published on, pulled from, closed."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from parley.core.core import Core
from parley.engine.specs import Kind, LayerPolicy, Mid, Setup
from parley.negotiation import Direction
from tests.dialects.cloudflare.client import OPUS, SECRET, VP8, App, line, local
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio


async def test_a_session_is_made_without_a_word(app: App) -> None:
    session = await app.session("?correlationId=a%20label&thirdparty=false")

    assert set(session.made) == {"sessionId"}
    assert len(session.id) == 32
    assert await session.call("GET", "") == {"tracks": [], "dataChannels": []}


async def test_a_track_goes_from_one_session_to_another(app: App) -> None:
    ada, bob = await app.session(), await app.session()

    pushed = await ada.push(cam=VP8, mic=OPUS)
    pulled = await bob.pull(ada.remote("cam"), ada.remote("mic"))

    assert pushed["requiresImmediateRenegotiation"] is False
    assert pushed["tracks"] == [{"mid": "0", "trackName": "cam"}, {"mid": "1", "trackName": "mic"}]
    assert pulled["requiresImmediateRenegotiation"] is True
    assert pulled["tracks"] == [
        {"sessionId": ada.id, "trackName": "cam", "mid": "0"},
        {"sessionId": ada.id, "trackName": "mic", "mid": "1"},
    ]
    assert bob.source("0") is ada.transport.producers[Mid("0")]
    assert bob.source("1") is ada.transport.producers[Mid("1")]
    assert await bob.state() == [
        {"location": "remote", "mid": "0", "trackName": "cam", "sessionId": ada.id, "status": "active"},
        {"location": "remote", "mid": "1", "trackName": "mic", "sessionId": ada.id, "status": "active"},
    ]


async def test_both_streams_of_a_publisher_share_its_stream_id(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8, mic=OPUS)

    offer = (await bob.ask(ada.remote("cam"), ada.remote("mic")))["sessionDescription"]["sdp"]

    assert offer.count(f"a=msid:{ada.id} ") == 2
    assert f"cname:{ada.id}" in offer
    assert offer.count("a=end-of-candidates") == 2
    assert "a=ice-lite" in offer


async def test_a_track_waits_for_the_answer_that_brings_it(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8)
    asked = await bob.ask(ada.remote("cam"))
    assert await bob.statuses() == {"remote cam": "waiting"}

    await bob.renegotiate(asked["sessionDescription"])

    assert await bob.statuses() == {"remote cam": "active"}


async def test_some_items_of_a_pull_fail_and_the_others_do_not(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8)

    added = await bob.pull(ada.remote("none"), ada.remote("cam"))

    bad, good = added["tracks"]
    assert bad["errorCode"] == "not_found_track_error"
    assert "mid" not in bad
    assert good["mid"] == "0"
    nothing = await bob.ask(ada.remote("none"), ada.remote("neither"))
    assert nothing["requiresImmediateRenegotiation"] is False
    assert "sessionDescription" not in nothing


async def test_failed_items_have_an_empty_mid_where_that_is_wanted(core: Core, app: App) -> None:
    app = App(core, app.engine, compat={"empty_mid_on_error": True})
    ada, bob = await app.session(), await app.session()

    [bad] = (await bob.ask(ada.remote("none")))["tracks"]

    assert bad["mid"] == ""


async def test_a_pull_waits_for_media_and_is_answered_when_it_comes(app: App, core: Core) -> None:
    app = App(core, app.engine, timeouts={"media_s": 5})
    ada, bob = await app.session(), await app.session()
    described = ada.offer(cam=VP8)
    await ada.call("POST", "tracks/new", {"sessionDescription": described, "tracks": [local("cam", "0")]})
    pulling = asyncio.create_task(bob.ask(ada.remote("cam")))
    await asyncio.sleep(0.05)
    assert not pulling.done()

    ada.transport.connect()
    ada.transport.receive_media("0")

    assert (await pulling)["requiresImmediateRenegotiation"] is True


async def test_everything_a_client_sends_is_found_and_named(app: App) -> None:
    ada = await app.session()
    described = ada.offer(cam=VP8, mic=OPUS)

    added = await ada.call("POST", "tracks/new", {"sessionDescription": described, "autoDiscover": True})

    kinds = [(one["location"], one["mid"], one["kind"]) for one in added["tracks"]]
    assert kinds == [("local", "0", "video"), ("local", "1", "audio")]
    assert len({one["trackName"] for one in added["tracks"]}) == 2
    ada.take(added["sessionDescription"])
    assert set(await ada.statuses()) == {f"local {one['trackName']}" for one in added["tracks"]}


async def test_an_offer_with_nothing_new_is_answered(app: App) -> None:
    ada = await app.session()
    await ada.push(cam=VP8)

    added = await ada.call("POST", "tracks/new", {"sessionDescription": ada.offer(), "autoDiscover": True})

    assert added["tracks"] == []
    assert added["sessionDescription"]["type"] == "answer"


async def test_what_a_first_offer_sent_can_be_named_later(app: App) -> None:
    ada = await app.session()
    described = ada.offer(cam=VP8)
    made = await app.call("POST", "sessions/new", {"sessionDescription": described, "tracks": "ignored"}, expect=201)
    ada.id = made["sessionId"]
    ada.take(made["sessionDescription"])
    ada.connect()
    assert await ada.state() == []

    added = await ada.ask(local("cam", "0"))

    assert added == {"requiresImmediateRenegotiation": False, "tracks": [{"mid": "0", "trackName": "cam"}]}
    assert await ada.statuses() == {"local cam": "active"}
    renamed = await ada.ask(local("camera", "0"))
    assert renamed["tracks"] == [{"mid": "0", "trackName": "camera"}]
    assert await ada.statuses() == {"local camera": "active"}
    refused = await ada.ask(local("other", "7"), expect=406)
    assert refused["errorCode"] == "invalid_params"


async def test_the_server_asks_for_a_track(app: App) -> None:
    ada, bob = await app.session(), await app.session()

    asked = await ada.ask(local("mic", kind="audio"))
    assert asked["tracks"] == [{"mid": "0", "trackName": "mic"}]
    assert "a=recvonly" in asked["sessionDescription"]["sdp"]
    assert await ada.statuses() == {"local mic": "waiting"}
    await ada.renegotiate(asked["sessionDescription"], line(Kind.AUDIO, Direction.SENDONLY, "0"))
    ada.connect()
    ada.transport.receive_media("0")

    assert await ada.statuses() == {"local mic": "active"}
    assert (await bob.pull(ada.remote("mic")))["tracks"][0]["mid"] == "0"


async def test_a_track_that_is_asked_for_and_not_sent_is_gone(app: App) -> None:
    ada = await app.session()
    asked = await ada.ask(local("mic", kind="audio"))

    await ada.renegotiate(asked["sessionDescription"], line(Kind.AUDIO, Direction.INACTIVE, "0"))

    assert await ada.statuses() == {"local mic": "inactive"}


async def test_a_transceiver_is_opened_both_ways_and_filled_by_its_name(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8, mic=OPUS, other=OPUS)

    described = bob.offer_lines(line(Kind.AUDIO, Direction.SENDRECV))
    item = local("user-mic", "0", bidirectionalMediaStream=True, kind="audio")
    pushed = await bob.call("POST", "tracks/new", {"sessionDescription": described, "tracks": [item]})
    assert "a=sendrecv" in pushed["sessionDescription"]["sdp"]
    assert f"a=msid:{bob.id} " in pushed["sessionDescription"]["sdp"]
    bob.take(pushed["sessionDescription"])
    bob.connect()

    for name in ("mic", "other"):
        filled = await bob.ask(ada.remote(name, mid="#user-mic"))
        assert filled == {
            "requiresImmediateRenegotiation": False,
            "tracks": [{"sessionId": ada.id, "trackName": name, "mid": "0"}],
        }
        assert bob.source("0") is ada.transport.producers[ada.side.mids[name]]
    assert await bob.statuses() == {"local user-mic": "active", "remote other": "active"}


async def test_a_transceiver_that_the_server_asks_for_may_go_both_ways(app: App) -> None:
    ada = await app.session()
    await ada.push(mic=OPUS)
    bob = await app.session()
    asked = await bob.ask(local("service", kind="audio", bidirectionalMediaStream=True))
    assert "a=sendrecv" in asked["sessionDescription"]["sdp"]
    await bob.renegotiate(asked["sessionDescription"], line(Kind.AUDIO, Direction.SENDRECV, "0"))
    bob.connect()

    filled = await bob.ask(ada.remote("mic", mid="#service"))

    assert filled["requiresImmediateRenegotiation"] is False
    assert bob.source("0") is ada.transport.producers[Mid("0")]


async def test_a_section_the_server_only_received_on_is_turned_by_an_offer(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(mic=OPUS)
    asked = await bob.ask(local("mic", kind="audio"))
    await bob.renegotiate(asked["sessionDescription"], line(Kind.AUDIO, Direction.SENDONLY, "0"))
    bob.connect()

    filled = await bob.ask(ada.remote("mic", mid="0"))
    assert filled["requiresImmediateRenegotiation"] is True
    await bob.renegotiate(filled["sessionDescription"], line(Kind.AUDIO, Direction.SENDRECV, "0"))

    assert bob.source("0") is ada.transport.producers[Mid("0")]
    assert await bob.statuses() == {"local mic": "active", "remote mic": "active"}


async def test_a_player_brings_its_own_offer(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8, mic=OPUS)
    described = bob.offer_lines(
        line(Kind.AUDIO, Direction.RECVONLY), line(Kind.VIDEO, Direction.RECVONLY), line(Kind.VIDEO, Direction.RECVONLY)
    )

    added = await bob.call(
        "POST",
        "tracks/new",
        {
            "sessionDescription": described,
            "tracks": [ada.remote("cam", kind="video"), ada.remote("mic"), ada.remote("none"), ada.remote("mic")],
        },
    )

    assert added["requiresImmediateRenegotiation"] is False
    cam, mic, none, surplus = added["tracks"]
    assert (cam["mid"], mic["mid"]) == ("1", "0")
    assert none["errorCode"] == "not_found_track_error"
    assert surplus["errorCode"] == "invalid_params"
    answer = added["sessionDescription"]["sdp"]
    assert answer.count("a=sendonly") == 2
    assert answer.count("a=inactive") == 1
    assert bob.source("1") is ada.transport.producers[Mid("0")]
    assert len(await bob.state()) == 2


async def test_a_source_is_switched_while_an_offer_is_open(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8, screen=VP8)
    await bob.pull(ada.remote("cam"))
    consumer = bob.transport.consumers[Mid("0")]
    await bob.ask(ada.remote("cam"))

    updated = await bob.call("PUT", "tracks/update", {"tracks": [ada.remote("screen", mid="0")]})

    assert updated == {
        "requiresImmediateRenegotiation": False,
        "tracks": [{"mid": "0", "sessionId": ada.id, "trackName": "screen"}],
    }
    assert bob.transport.consumers[Mid("0")] is consumer
    assert bob.source("0") is ada.transport.producers[Mid("1")]


async def test_what_cannot_be_updated_says_why(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8, mic=OPUS)
    await bob.push(cam=VP8)
    await bob.pull(ada.remote("cam"))
    mid = (await bob.state())[1]["mid"]

    async def update(**item: object) -> str:
        done = await bob.call("PUT", "tracks/update", {"tracks": [{"location": "remote", **item}]})
        code: str = done["tracks"][0].get("errorCode", "")
        return code

    assert await update(mid="77") == "not_found_track_error"
    assert await update(mid="#none") == "not_found_track_error"
    assert await update(mid="0") == "update_track_error"
    assert await update(mid=mid, location="local") == "update_track_error"
    assert await update(mid=mid, sessionId=ada.id, trackName="none") == "not_found_track_error"
    assert await update(mid=mid, sessionId=ada.id, trackName="mic") == "update_track_error"
    assert await update(mid=mid, simulcast={"preferredRid": "h"}) == "update_track_error"
    assert await update(mid=mid, sessionId=ada.id, trackName="cam") == ""
    refused = await bob.call("PUT", "tracks/update", {"tracks": [{"location": "remote"}]}, expect=406)
    assert refused["errorCode"] == "invalid_params"


async def test_a_layer_is_chosen_and_changed_without_a_description(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push("a", "b", cam=VP8)
    [pulled] = (await bob.pull(ada.remote("cam", simulcast={"preferredRid": "b"})))["tracks"]
    assert (pulled["simulcast"], bob.policy("0")) == ({"preferredRid": "b"}, LayerPolicy(1))
    ssrc = bob.transport.consumers[Mid("0")].spec.ssrc

    [updated] = await bob.update(ada.remote("cam", mid="0", simulcast={"preferredRid": "a"}))
    assert updated == {"mid": "0", "sessionId": ada.id, "trackName": "cam", "simulcast": {"preferredRid": "a"}}
    assert bob.policy("0") == LayerPolicy(0)

    # What is said is put over what was said; nothing but the section need be named.
    more = {"ridNotAvailable": "asciibetical", "priorityOrdering": "asciibetical"}
    [updated] = await bob.update({"mid": "0", "simulcast": more})
    assert updated["simulcast"] == {"preferredRid": "a", **more}
    assert bob.policy("0") == LayerPolicy(0, (1,))

    # An empty name takes the preference back.
    [updated] = await bob.update({"mid": "#cam", "simulcast": {"preferredRid": "", "ridNotAvailable": "none"}})
    assert updated["simulcast"] == {"ridNotAvailable": "none", "priorityOrdering": "asciibetical"}
    assert bob.policy("0") == LayerPolicy(0, (1,))
    assert bob.transport.consumers[Mid("0")].spec.ssrc == ssrc


async def test_a_pull_that_prefers_nothing_is_sent_the_first_layer_that_comes(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push("b", "a", "c", cam=VP8)

    pulled = await bob.pull(ada.remote("cam"), ada.remote("cam", simulcast={"preferredRid": ""}))

    # No text that is said is empty.
    assert [one.get("simulcast") for one in pulled["tracks"]] == [None, {}]
    assert bob.policy("0") == bob.policy("1") == LayerPolicy(0, (1, 2))


async def test_a_layer_is_changed_while_an_offer_is_open(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push("a", "b", cam=VP8)
    await bob.pull(ada.remote("cam", simulcast={"preferredRid": "a"}))
    offer = (await bob.ask(ada.remote("cam")))["sessionDescription"]

    await bob.update(*({"mid": mid, "simulcast": {"preferredRid": "b"}} for mid in ("0", "1")))

    assert bob.policy("0") == LayerPolicy(1)
    assert [one["status"] for one in await bob.state()] == ["active", "waiting"]
    await bob.renegotiate(offer)
    assert bob.policy("1") == LayerPolicy(1)


async def test_another_source_keeps_what_was_preferred(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push("a", "b", cam=VP8)
    await ada.push(plain=VP8)
    await ada.push("x", "b", "a", screen=VP8)
    await bob.pull(ada.remote("cam", simulcast={"preferredRid": "b"}))

    [updated] = await bob.update(ada.remote("screen", mid="0"))
    assert (updated["simulcast"], bob.policy("0")) == ({"preferredRid": "b"}, LayerPolicy(1))

    [updated] = await bob.update(ada.remote("screen", mid="0", simulcast={"preferredRid": "a"}))
    assert bob.policy("0") == LayerPolicy(2)

    # What has no layers is switched to, and what was said of layers waits for one that has.
    [updated] = await bob.update(ada.remote("plain", mid="0", simulcast={"preferredRid": "x"}))
    assert "errorCode" not in updated
    assert bob.policy("0") == LayerPolicy()
    [updated] = await bob.update(ada.remote("cam", mid="0"))
    assert (updated["simulcast"], bob.policy("0")) == ({"preferredRid": "a"}, LayerPolicy(0))


async def test_a_transceiver_filled_by_its_name_takes_a_preference_too(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push("a", "b", cam=VP8)
    await bob.pull(ada.remote("cam"))

    [item] = (await bob.ask(ada.remote("cam", mid="#cam", simulcast={"preferredRid": "b"})))["tracks"]

    assert item == {"sessionId": ada.id, "trackName": "cam", "mid": "0", "simulcast": {"preferredRid": "b"}}
    assert bob.policy("0") == LayerPolicy(1)


async def test_two_pulls_are_closed_by_one_offer_that_stops_only_the_first(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8, mic=OPUS)
    await bob.pull(ada.remote("cam"), ada.remote("mic"))

    described = bob.offer_lines(line(Kind.VIDEO, Direction.INACTIVE, "0", reject=True))
    closed = await bob.call(
        "PUT",
        "tracks/close",
        {"tracks": [{"mid": "0"}, {"mid": "1"}], "sessionDescription": described, "force": False},
    )

    assert closed["tracks"] == [{"mid": "0"}, {"mid": "1"}]
    assert closed["requiresImmediateRenegotiation"] is False
    bob.take(closed["sessionDescription"])
    assert "a=inactive" in closed["sessionDescription"]["sdp"]
    assert await bob.statuses() == {"remote cam": "inactive", "remote mic": "inactive"}
    again = await bob.pull(ada.remote("cam"))
    assert again["tracks"][0]["mid"] == "2"  # The stopped section is used again, under a fresh mid.
    assert again["sessionDescription"]["sdp"].count("m=") == 2


async def test_the_subscribers_of_a_closed_track_go_quiet(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8)
    await bob.pull(ada.remote("cam"))

    closed = await ada.call("PUT", "tracks/close", {"tracks": [{"mid": "0"}], "force": True})

    assert closed == {"requiresImmediateRenegotiation": False, "tracks": [{"mid": "0"}]}
    assert bob.source("0") is None
    assert await bob.statuses() == {"remote cam": "inactive"}
    assert await ada.statuses() == {"local cam": "inactive"}


async def test_a_session_bound_to_a_room_is_a_participant_of_it(app: App, core: Core) -> None:
    bound = await app.session("?correlationId=room%3Astandup%2Fada")

    [room] = core.rooms.all()
    [one] = core.rooms.participants(room.id)
    assert (room.name, one.identity, f"{one.id:032x}") == ("standup", "ada", bound.id)
    nameless = await app.session("?correlationId=room%3Astandup")
    assert core.rooms.participants(room.id)[1].identity not in ("", nameless.id[:4])


async def test_an_app_sees_its_own_sessions_and_the_rooms_of_its_tenant(app: App) -> None:
    ada, shared = await app.session(), await app.session("?correlationId=room:standup")
    await ada.push(cam=VP8)
    await shared.push(cam=VP8)
    sister, stranger = await app.session(app="sister"), await app.session(app="stranger")

    for other in (sister, stranger):
        [hidden] = (await other.ask(ada.remote("cam")))["tracks"]
        assert hidden["errorCode"] == "not_found_track_error"
        gone = await app.call("GET", f"sessions/{ada.id}", expect=410, app=other.name)
        assert gone["errorCode"] == "session_error"
    assert (await sister.pull(shared.remote("cam")))["tracks"][0]["mid"] == "0"
    [hidden] = (await stranger.ask(shared.remote("cam")))["tracks"]
    assert hidden["errorCode"] == "not_found_track_error"


async def test_a_session_that_goes_leaves_nothing_behind(app: App, core: Core, clock: FakeClock) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8)
    await bob.pull(ada.remote("cam"))

    ada.transport.fail()
    bob.transport.fail()
    clock.advance(20.1)
    core.sweep()

    assert core.rooms.count().participants == 0
    assert core.rooms.count().subscriptions == 0
    assert app.dialect._sessions == {}
    assert app.engine.transports == {}


async def test_adapters_are_not_there_and_say_so(app: App) -> None:
    item = {"location": "local", "trackName": "tts", "endpoint": "wss://example.com/x?token=1", "inputCodec": "pcm"}

    made = await app.call("POST", "adapters/websocket/new", {"tracks": [item]}, expect=503)
    closed = await app.call("POST", "adapters/websocket/close", {"tracks": [{"adapterId": "4e66"}]}, expect=503)

    assert made["tracks"] == [
        {"trackName": "tts", "errorCode": "adapter_unavailable", "errorDescription": "Failed to create adapter"}
    ]
    assert closed["tracks"][0]["errorCode"] == "adapter_not_found"
    for bad in ({"location": "local"}, item | {"endpoint": "http://x"}, item | {"inputCodec": None}):
        refused = await app.call("POST", "adapters/websocket/new", {"tracks": [bad]}, expect=406)
        assert refused["errorCode"] == "invalid_params"


async def test_a_session_for_a_third_party_calls_it(app: App) -> None:
    session = await app.session("?thirdparty=TRUE")
    item = {"location": "local", "trackName": "service", "kind": "audio", "bidirectionalMediaStream": True}
    offered = await session.call("POST", "tracks/new", {"tracks": [item]})
    [transport] = app.engine.transports.values()

    # An ordinary session is the ICE-lite server that it is for.
    called = await app.session(body={"sessionDescription": offered["sessionDescription"]})
    answer = called.made["sessionDescription"]["sdp"]
    mute = "".join(line for line in answer.splitlines(keepends=True) if not line.startswith("a=candidate:"))
    body = {"sessionDescription": {"type": "answer", "sdp": mute}}
    refused = await session.call("PUT", "renegotiate", body, expect=406)
    body["sessionDescription"]["sdp"] = answer
    await session.call("PUT", "renegotiate", body)

    assert not transport.is_lite
    assert "a=ice-lite" not in offered["sessionDescription"]["sdp"]
    assert "a=setup:actpass" in offered["sessionDescription"]["sdp"]
    assert refused["errorCode"] == "invalid_session_description"
    assert refused["errorDescription"].endswith("a third party's answer has no candidates")
    assert transport.remote is not None
    assert (transport.remote.setup, transport.remote.controls) == (Setup.PASSIVE, False)
    assert (await app.call("POST", "sessions/new?thirdparty=maybe", expect=406))["errorCode"] == "invalid_params"


async def test_what_is_beside_the_apps_is_refused_in_the_same_way(app: App) -> None:
    for path in ("/v1", "/v1/", "/v1/turn/keys/k/credentials/generate-ice-servers", "/v1/appsand", "/v1/a%0Ab"):
        answer = await app.http.post(path, headers={"origin": "https://x.test"})
        assert (answer.status_code, answer.json()["errorCode"]) == (404, "not_found")
        assert answer.headers["access-control-allow-origin"] == "https://x.test"
    preflight = await app.http.request("OPTIONS", "/v1/turn", headers={"origin": "https://x.test"})
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, "https://x.test")


async def test_what_is_too_large_or_too_often_is_refused(app: App, core: Core, clock: FakeClock) -> None:
    app = App(core, app.engine, limits={"body_bytes": 2048, "burst_calls": 4, "calls_per_s": 1})
    session = await app.session()

    refused = await session.call("POST", "tracks/new", b"{" + b" " * 4096, expect=413)
    assert refused["errorCode"] == "payload_too_large"
    for _ in range(3):
        await session.call("GET", "")
    answer = await app.request("GET", f"sessions/{session.id}")
    assert (answer.status_code, answer.json()["errorCode"]) == (429, "retryable_transient_error")
    assert answer.headers["retry-after"] == "1"
    assert answer.headers["access-control-expose-headers"] == "Retry-After"
    clock.advance(1)
    await session.call("GET", "")


async def test_a_call_that_is_wrong_counts_as_one(app: App, core: Core, clock: FakeClock) -> None:
    app = App(core, app.engine, limits={"burst_calls": 2, "calls_per_s": 1})
    session = await app.session()

    await session.call("POST", "tracks/new", b"{", expect=400)
    await session.call("POST", "tracks/new", {"tracks": []}, expect=406)

    await session.call("POST", "tracks/new", b"{", expect=429)
    # Whoever has no right to the session takes nothing from it.
    clock.advance(1)
    await session.call("POST", "tracks/new", b"{", app="sister", expect=400)
    await session.call("GET", "")


async def test_the_label_of_a_session_is_on_its_log_lines_and_in_no_answer(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(id: object) -> object:
        raise RuntimeError

    with structlog.testing.capture_logs() as lines:
        session = await app.session("?correlationId=" + "visit%207" + "!" * 300)
        state = await session.call("GET", "")
        monkeypatch.setattr(app.core.peers, "get", fail)
        await session.call("GET", "", expect=500)

    label = "visit 7" + "!" * 249
    told = [(line["event"], line["participant"]) for line in lines if line.get("correlation") == label]
    assert told == [("session opened", session.id), ("a call failed", session.id)]
    assert "visit" not in str((session.made, state))


async def test_a_call_waits_for_its_session_to_connect_and_says_when_it_does_not(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8)
    asked = await bob.ask(ada.remote("cam"))
    await bob.renegotiate(asked["sessionDescription"])

    early = await bob.ask(ada.remote("cam"), expect=425)
    assert early["errorCode"] == "session_error"
    assert "not ready" in early["errorDescription"]
    bob.connect()
    assert (await bob.ask(ada.remote("cam")))["requiresImmediateRenegotiation"] is True


async def test_a_call_does_not_wait_for_ever_for_those_before_it(app: App) -> None:
    session = await app.session()
    known = next(iter(app.dialect._sessions.values()))
    async with known.turn():
        refused = await session.ask(local("mic", kind="audio"), expect=406)

    assert refused["errorSubcode"] == "invalid_modification_have_remote_offer"


async def test_what_the_engine_does_not_do_is_told_as_its_mistake(app: App) -> None:
    ada = await app.session()
    ada.transport.refuse_next("no")
    described = ada.offer(cam=VP8)
    body = {"sessionDescription": described, "tracks": [local("cam", "0")]}

    failed = await ada.call("POST", "tracks/new", body, expect=502)
    assert failed == {"errorCode": "backend_error", "errorDescription": "Backend error"}
    app.engine.is_busy = True
    busy = await app.call("POST", "sessions/new", expect=503)
    assert busy["errorCode"] == "temporarily_unavailable_error"
    assert app.core.rooms.count().participants <= 1


async def test_an_offer_that_is_not_answered_is_withdrawn(app: App, core: Core, clock: FakeClock) -> None:
    ada, bob = await app.session(), await app.session()
    await ada.push(cam=VP8)
    await bob.ask(ada.remote("cam"))

    clock.advance(31)
    core.sweep()
    await core.peers.withdraw()

    assert await bob.statuses() == {"remote cam": "inactive"}
    assert (await bob.pull(ada.remote("cam")))["tracks"][0]["mid"] == "1"


async def test_sixty_four_tracks_are_pulled_in_one_call(app: App) -> None:
    ada, bob = await app.session(), await app.session()
    names = [f"cam{number}" for number in range(64)]
    await ada.push(**dict.fromkeys(names, VP8))

    added = await bob.pull(*(ada.remote(name) for name in names))

    assert [one["mid"] for one in added["tracks"]] == [str(number) for number in range(64)]
    assert all(bob.source(str(number)) is not None for number in range(64))


@pytest.mark.parametrize("path", ["app%0A/sessions/new", "app/sessions/%0A/x", "%0Aapp", "app/sessions/%ff", "", "/"])
async def test_whatever_a_path_holds_is_answered_as_json(app: App, path: str) -> None:
    answer = await app.http.get(f"/v1/apps/{path}", headers={"authorization": f"Bearer {SECRET}"})

    assert answer.status_code in (404, 410)
    assert "errorCode" in answer.json()
