"""Sessions for a third party: the server calls another of its kind, which is ICE-lite, or a full peer."""

from __future__ import annotations

import pytest

from .server import Server, running_server, until
from .session import App, AudioStreamTrack, Session, VideoStreamTrack, calling

pytestmark = [pytest.mark.anyio, pytest.mark.native]


async def published(app: App) -> Session:
    ada = await app.session()
    await ada.push(mic=AudioStreamTrack(), cam=VideoStreamTrack())
    return ada


async def asked(bridge: Session, ada: Session) -> dict[str, str]:
    """An offer of the server's with what the session publishes."""
    items = [{"location": "remote", "sessionId": ada.id, "trackName": name} for name in ("mic", "cam")]
    pulled = await bridge.call("POST", "tracks/new", {"tracks": items})
    offer: dict[str, str] = pulled["sessionDescription"]
    assert "a=ice-lite" not in offer["sdp"]
    return offer


async def test_what_one_server_has_is_bridged_to_another(server: Server) -> None:
    async with running_server() as elsewhere, calling(server) as near, calling(elsewhere) as far:
        ada = await published(near)
        bridge, entry, bob = await near.session("thirdparty=true"), await far.session(), await far.session()

        offer = await asked(bridge, ada)
        taken = await entry.call("POST", "tracks/new", {"sessionDescription": offer, "autoDiscover": True})
        assert "a=ice-lite" in taken["sessionDescription"]["sdp"]
        assert await bridge.call("PUT", "renegotiate", {"sessionDescription": taken["sessionDescription"]}) == {}
        names = [one["trackName"] for one in taken["tracks"]]
        mids = list((await bob.pull(*((entry.id, name) for name in names))).values())

        await until(lambda: bob.heard[mids[1]].frames > 20, within_s=20, what="ada's picture on the other server")
        await until(lambda: bob.heard[mids[0]].frames > 20, within_s=20, what="ada's silence on the other server")


async def test_a_lite_server_may_also_offer(server: Server) -> None:
    async with running_server() as elsewhere, calling(server) as near, calling(elsewhere) as far:
        ada = await published(far)
        entry, bridge, bob = await far.session(), await near.session("thirdparty=1"), await near.session()

        items = [{"location": "remote", "sessionId": ada.id, "trackName": "cam"}]
        offered = await entry.call("POST", "tracks/new", {"tracks": items})
        body = {"sessionDescription": offered["sessionDescription"], "autoDiscover": True}
        taken = await bridge.call("POST", "tracks/new", body)
        assert "a=setup:active" in taken["sessionDescription"]["sdp"]
        assert await entry.call("PUT", "renegotiate", {"sessionDescription": taken["sessionDescription"]}) == {}
        [mid] = (await bob.pull((bridge.id, taken["tracks"][0]["trackName"]))).values()

        await until(lambda: bob.heard[mid].frames > 20, within_s=20, what="ada's picture from the other server")


async def test_a_peer_with_full_ice_may_answer_too(server: Server) -> None:
    async with calling(server) as app:
        ada = await published(app)
        bridge = await app.session("thirdparty=true")

        mids = await bridge.pull((ada.id, "mic"), (ada.id, "cam"))

        cam = mids[ada.id, "cam"]
        await until(lambda: bridge.heard[cam].frames > 20, within_s=20, what="ada's picture at the third party")


async def test_a_second_call_to_one_address_is_refused_and_the_first_goes_on(server: Server) -> None:
    async with running_server() as elsewhere, calling(server) as near, calling(elsewhere) as far:
        ada = await published(near)

        async def call() -> tuple[Session, dict[str, object]]:
            bridge, entry = await near.session("thirdparty=true"), await far.session()
            offer = await asked(bridge, ada)
            taken = await entry.call("POST", "tracks/new", {"sessionDescription": offer, "autoDiscover": True})
            answer = {"sessionDescription": taken["sessionDescription"]}
            done = await near.http.request("PUT", f"/sessions/{bridge.id}/renegotiate", json=answer)
            return bridge, done.json()

        first, connected = await call()
        _, refused = await call()

        assert connected == {}
        assert refused["errorCode"]
        assert (await first.statuses()) == {"mic": "active", "cam": "active"}
