"""Headless Chromium with a bare RTCPeerConnection, as a peer of one transport."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from playwright.async_api import Browser, Page, Route, async_playwright

from parley.engine.engine import Applied, Engine, Transport
from parley.engine.specs import Kind
from parley.negotiation import Caps, Delta, Direction, MLinePlan, Msid, Negotiator
from tests.engine.peers import Ear

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

SCRIPT = """
const pc = new RTCPeerConnection();
const channels = {};
const messages = [];
const waiting = [];

function note(channel, data) {
  const text = typeof data === "string" ? data : String.fromCharCode(...new Uint8Array(data));
  const message = [channel.label, typeof data, text];
  const next = waiting.shift();
  if (next) next(message); else messages.push(message);
}

function keep(channel) {
  channel.binaryType = "arraybuffer";
  channel.onmessage = (event) => note(channel, event.data);
  channels[channel.label] = channel;
}

pc.ondatachannel = (event) => keep(event.channel);
pc.ontrack = (event) => {
  const element = document.createElement(event.track.kind);
  element.srcObject = new MediaStream([event.track]);
  element.muted = event.track.kind === "video";
  document.body.append(element);
  element.play();
  if (event.track.kind === "video") watch(element);
};

// When pictures are shown: the longest time between two, and how large the last one was.
const shown = { longest_ms: 0, last: null, width: 0, count: 0 };
function watch(element) {
  element.requestVideoFrameCallback((now, frame) => {
    if (shown.last !== null) shown.longest_ms = Math.max(shown.longest_ms, now - shown.last);
    Object.assign(shown, { last: now, width: frame.width, count: shown.count + 1 });
    watch(element);
  });
}

window.peer = {
  open(label, options) { keep(pc.createDataChannel(label, options)); },
  async publish(kinds) {
    const constraints = {
      audio: kinds.includes("audio"),
      video: kinds.includes("video") && { width: 640, height: 360, frameRate: 30 },
    };
    const stream = await navigator.mediaDevices.getUserMedia(constraints);
    for (const track of stream.getTracks()) pc.addTransceiver(track, { direction: "sendonly", streams: [stream] });
  },
  async publishLayers(encodings) {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360, frameRate: 30 } });
    const [track] = stream.getTracks();
    pc.addTransceiver(track, { direction: "sendonly", streams: [stream], sendEncodings: encodings });
  },
  async setActive(rid, isActive) {
    for (const sender of pc.getSenders()) {
      const parameters = sender.getParameters();
      for (const encoding of parameters.encodings) if (encoding.rid === rid) encoding.active = isActive;
      await sender.setParameters(parameters);
    }
  },
  shown() { return { ...shown }; },
  watchAnew() { Object.assign(shown, { longest_ms: 0 }); },
  async offer() { await pc.setLocalDescription(); return pc.localDescription.sdp; },
  async accept(sdp) { await pc.setRemoteDescription({ type: "answer", sdp }); },
  async answer(sdp) {
    await pc.setRemoteDescription({ type: "offer", sdp });
    await pc.setLocalDescription();
    return pc.localDescription.sdp;
  },
  send(label, data) { channels[label].send(data); },
  next() { return messages.length ? messages.shift() : new Promise((resolve) => waiting.push(resolve)); },
  isOpen(label) { return channels[label]?.readyState === "open"; },
  state() { return pc.connectionState; },
  async until(expression, limit_ms) {
    const end = performance.now() + limit_ms;
    for (;;) {
      const value = await eval(expression);
      if (value) return value;
      if (performance.now() > end) throw new Error(`never true: ${expression}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  },
  async stats(type, kind) {
    const found = [];
    (await pc.getStats()).forEach((s) => {
      if (s.type === type && (kind === null || s.kind === kind)) found.push(s);
    });
    return found;
  },
};
"""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The system's Chromium with fake devices and a fresh profile."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


class ChromiumPeer:
    """One page, one connection, one transport."""

    def __init__(self, page: Page, transport: Transport, ear: Ear, max_message_size: int) -> None:
        self.page = page
        self.transport = transport
        self.ear = ear
        self.negotiator = Negotiator(Caps(max_message_size=max_message_size), transport.params, random=Random(1))

    @classmethod
    async def open(cls, browser: Browser, engine: Engine, *, max_message_size: int = 65_535) -> ChromiumPeer:
        page = await (await browser.new_context()).new_page()
        await page.route("**/*", _empty_page)
        await page.goto("http://localhost/")  # a secure context, so that devices are allowed
        await page.add_script_tag(content=SCRIPT)
        ear = Ear()
        return cls(page, engine.create_transport(group=1, on_event=ear), ear, max_message_size)

    async def publish(self, *kinds: str) -> None:
        """Take the fake camera or microphone; sent from the next `connect` on."""
        await self.page.evaluate("kinds => peer.publish(kinds)", list(kinds))

    async def publish_layers(self, *encodings: dict[str, object]) -> None:
        """Take the fake camera, to be sent in these layers (RTCRtpEncodingParameters)."""
        await self.page.evaluate("encodings => peer.publishLayers(encodings)", list(encodings))

    async def open_channel(self, label: str, **options: object) -> None:
        await self.page.evaluate("([l, o]) => peer.open(l, o)", [label, options])

    async def connect(self) -> Applied:
        """Offer what the page has and take the server's answer."""
        self.negotiator.on_offer(await self.page.evaluate("peer.offer()"))
        delta = self.negotiator.answer([])
        applied = await self._apply(delta)
        await self.page.evaluate("sdp => peer.accept(sdp)", delta.sdp)
        return applied

    async def view(self, kinds: Sequence[Kind]) -> Applied:
        """Offer the page what the server will send, one section of each kind."""
        plan = [MLinePlan(None, kind, Direction.SENDONLY, msid=Msid("stream", f"track-{kind.value}")) for kind in kinds]
        offer = self.negotiator.offer(plan)
        answer = await self.page.evaluate("sdp => peer.answer(sdp)", offer.sdp)
        return await self._apply(self.negotiator.on_answer(answer))

    async def send(self, label: str, data: str) -> None:
        await self.page.evaluate("([l, d]) => peer.send(l, d)", [label, data])

    async def receive(self) -> tuple[str, str, str]:
        """Label, JavaScript type and characters of the next message."""
        label, kind, text = await self.page.evaluate("peer.next()")
        return label, kind, text

    async def until(self, expression: str, *, within_s: float = 10.0) -> Any:
        """Wait in the page until the expression, which may be a promise of it, is true; its value."""
        return await self.page.evaluate("([e, ms]) => peer.until(e, ms)", [expression, within_s * 1000])

    async def stats(self, type: str, kind: str | None = None) -> list[dict[str, Any]]:
        """The entries of getStats of one type and kind (https://www.w3.org/TR/webrtc-stats/)."""
        found: list[dict[str, Any]] = await self.page.evaluate("([t, k]) => peer.stats(t, k)", [type, kind])
        return found

    async def _apply(self, delta: Delta) -> Applied:
        return await self.transport.apply(
            remote=delta.remote, end=delta.ended, recv=delta.recv, send=delta.send, data=delta.data
        )


async def _empty_page(route: Route) -> None:
    await route.fulfill(content_type="text/html", body="<!doctype html><body></body>")
