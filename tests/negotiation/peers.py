"""Other people's peer connections, doing what a session's steps say."""

from __future__ import annotations

import json
from collections.abc import Sequence

from aiortc import RTCPeerConnection, RTCSessionDescription

from tests.negotiation.browsers import Browser
from tests.negotiation.sessions import Step, negotiator, transport

_PREPARE = """
const gathered = pc => new Promise(done => {
  if (pc.iceGatheringState === "complete") return done();
  pc.addEventListener("icegatheringstatechange", () => pc.iceGatheringState === "complete" && done());
  setTimeout(done, 3000);
});
const live = (pc, kind) => pc.getTransceivers().filter(t => t.receiver.track.kind === kind
  && t.currentDirection !== "stopped" && t.direction !== "stopped");
const media = async kind => (await navigator.mediaDevices.getUserMedia({[kind]: true})).getTracks()[0];
const doing = {
  "microphone": async pc => pc.addTransceiver(await media("audio"), {direction: "sendonly", streams: [state.stream]}),
  "camera": async pc => pc.addTransceiver(await media("video"), {direction: "sendonly", streams: [state.stream]}),
  "simulcast camera": async pc => pc.addTransceiver(await media("video"), {
    direction: "sendonly", streams: [state.stream],
    sendEncodings: [{rid: "q", scaleResolutionDownBy: 4}, {rid: "h", scaleResolutionDownBy: 2}, {rid: "f"}]}),
  "receive audio": async pc => pc.addTransceiver("audio", {direction: "recvonly"}),
  "receive video": async pc => pc.addTransceiver("video", {direction: "recvonly"}),
  "data": async pc => pc.createDataChannel("chat"),
  "stop video": async pc => live(pc, "video")[0].stop(),
  "pause video": async pc => { live(pc, "video")[0].direction = "inactive"; },
  "resume video": async pc => { live(pc, "video")[0].direction = "sendonly"; },
  "restart ice": async pc => pc.restartIce(),
};
const pc = state.pc;
"""


class BrowserPeer:
    """One peer connection in a tab."""

    def __init__(self, tab: Browser) -> None:
        self._tab = tab
        self._run("state.pc = new RTCPeerConnection({bundlePolicy: 'max-bundle'}); state.stream = new MediaStream();")

    def _run(self, code: str) -> object:
        return self._tab.run(_PREPARE + code)

    def offer(self, actions: Sequence[str]) -> str:
        """Do these things, then offer."""
        text = self._run(f"""
            for (const action of {json.dumps(list(actions))}) await doing[action](pc);
            await pc.setLocalDescription(await pc.createOffer());
            await gathered(pc);
            return pc.localDescription.sdp;""")
        assert isinstance(text, str)
        return text

    def accept(self, answer: str) -> None:
        """Take our answer; raises RuntimeError with the browser's reason when it will not."""
        self._run(f"await pc.setRemoteDescription({{type: 'answer', sdp: {json.dumps(answer)}}});")

    def answer(self, offer: str) -> str:
        """Take our offer and answer it."""
        text = self._run(f"""
            await pc.setRemoteDescription({{type: 'offer', sdp: {json.dumps(offer)}}});
            await pc.setLocalDescription(await pc.createAnswer());
            await gathered(pc);
            return pc.localDescription.sdp;""")
        assert isinstance(text, str)
        return text

    def directions(self) -> list[str]:
        """What has been negotiated, one word for each transceiver, as the browser sees it."""
        found = self._run("return pc.getTransceivers().map(t => t.currentDirection);")
        assert isinstance(found, list)
        return found

    def close(self) -> None:
        self._run("pc.close();")


def browser_session(tab: Browser, steps: Sequence[Step]) -> list[str]:
    """Hold a session with a browser; what it said, step by step. Raises RuntimeError where it refuses what we say."""
    peer = BrowserPeer(tab)
    server = negotiator()
    texts: list[str] = []
    try:
        for index, step in enumerate(steps):
            if step.client is None:
                if step.restart:
                    server.restart_ice(transport(index + 1))
                offer = server.offer(step.plan(server, None))
                assert offer.sdp is not None
                texts.append(peer.answer(offer.sdp))
                server.on_answer(texts[-1])
            else:
                texts.append(peer.offer(step.client))
                view = server.on_offer(texts[-1])
                if step.restart:
                    server.restart_ice(transport(index + 1))
                answer = server.answer(step.plan(server, view))
                assert answer.sdp is not None
                peer.accept(answer.sdp)
    finally:
        peer.close()
    return texts


AIORTC_SESSIONS = ("publish", "audio-only", "subscribe", "single-pc", "two-way", "receive")
"""It knows neither simulcast nor pausing, ICE restarts or refused sections: from there on steps are left out."""
_BEYOND_AIORTC = {"restart ice", "simulcast camera", "pause video", "resume video"}


async def aiortc_session(steps: Sequence[Step]) -> list[str]:
    """Hold a session with aiortc; what it said, one description for each step it is able to do."""
    pc = RTCPeerConnection()
    server = negotiator()
    texts = []
    try:
        for step in steps:
            if step.restart or _BEYOND_AIORTC & set(step.client or ()):
                break
            if step.client is None:
                plan = step.plan(server, None)
                if any(item.reject for item in plan):
                    break
                offer = server.offer(plan)
                assert offer.sdp is not None
                await pc.setRemoteDescription(RTCSessionDescription(offer.sdp, "offer"))
                await pc.setLocalDescription(await pc.createAnswer())
                texts.append(pc.localDescription.sdp)
                server.on_answer(texts[-1])
            else:
                for action in step.client:
                    await _do(pc, action)
                await pc.setLocalDescription(await pc.createOffer())
                texts.append(pc.localDescription.sdp)
                answer = server.answer(step.plan(server, server.on_offer(texts[-1])))
                assert answer.sdp is not None
                await pc.setRemoteDescription(RTCSessionDescription(answer.sdp, "answer"))
    finally:
        await pc.close()
    return texts


async def _do(pc: RTCPeerConnection, action: str) -> None:
    match action:
        case "microphone":
            pc.addTransceiver("audio", direction="sendonly")
        case "camera":
            pc.addTransceiver("video", direction="sendonly")
        case "receive audio":
            pc.addTransceiver("audio", direction="recvonly")
        case "receive video":
            pc.addTransceiver("video", direction="recvonly")
        case "data":
            pc.createDataChannel("chat")
        case "stop video":
            video = next(t for t in pc.getTransceivers() if t.kind == "video" and not t.stopped)
            await video.stop()
        case _:
            raise ValueError(f"aiortc cannot {action}")
