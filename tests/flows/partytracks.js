// Drives partytracks, unmodified, for the flows: plain calls in, plain values out. Bundled by tests/flows/bundle.py.
import { PartyTracks } from "partytracks/client";
import { BehaviorSubject, of } from "rxjs";

globalThis.driver = (() => {
  const state = { party: null, pushed: {}, pulled: {} };

  function open(prefix, secret, extra) {
    const headers = new Headers({ Authorization: `Bearer ${secret}` });
    state.party = new PartyTracks({ prefix, headers, iceServers: [], apiExtraParams: extra, maxApiHistory: 1000 });
    // Somebody has to listen, or the session ends with the first track that does.
    state.party.session$.subscribe(({ peerConnection, sessionId }) => {
      state.pc = peerConnection;
      state.sessionId = sessionId;
    });
  }

  // The fake device's track, moving or beeping.
  async function device(kind) {
    const wanted = kind === "audio" ? { audio: true } : { video: { width: 640, height: 360, frameRate: 15 } };
    return (await navigator.mediaDevices.getUserMedia(wanted)).getTracks()[0];
  }

  // Begin to publish several at once: { name: { kind, encodings } }.
  async function push(tracks) {
    const devices = await Promise.all(Object.values(tracks).map(({ kind }) => device(kind)));
    Object.entries(tracks).forEach(([name, { encodings }], index) => {
      const options = encodings ? { sendEncodings$: of(encodings) } : {};
      const pushed = (state.pushed[name] = { metadata: null });
      pushed.subscription = state.party.push(of(devices[index]), options).subscribe((metadata) => {
        pushed.metadata = metadata;
      });
    });
  }

  // What others pull a pushed track by; null until it sends.
  const metadata = (name) => state.pushed[name]?.metadata ?? null;

  // Begin to receive several at once: { name: { metadata, preferredRid } }.
  function pull(tracks) {
    for (const [name, { metadata, preferredRid }] of Object.entries(tracks)) {
      const pulled = (state.pulled[name] = { track: null, rid: new BehaviorSubject(preferredRid) });
      const options = preferredRid ? { simulcast: { preferredRid$: pulled.rid } } : {};
      pulled.subscription = state.party.pull(of(metadata), options).subscribe((track) => {
        pulled.track = track;
        const element = document.createElement(track.kind);
        element.srcObject = new MediaStream([track]);
        element.play().catch(() => {});
        document.body.append(element);
      });
    }
  }

  const prefer = (name, rid) => state.pulled[name].rid.next(rid);

  // Stop publishing or receiving several at once.
  const stopPushing = (...names) => names.forEach((name) => state.pushed[name].subscription.unsubscribe());
  const stopPulling = (...names) => names.forEach((name) => state.pulled[name].subscription.unsubscribe());

  // The inbound-rtp statistics of a received track; null while there are none.
  async function inbound(name) {
    const track = state.pulled[name]?.track;
    const receiver = track && state.pc.getReceivers().find((one) => one.track === track);
    if (!receiver) return null;
    for (const entry of (await receiver.getStats()).values()) if (entry.type === "inbound-rtp") return { ...entry };
    return null;
  }

  // Everything that was answered, oldest first; paths without their prefix.
  const answers = () => state.party.history.entries.filter((entry) => entry.type === "response").map(({ endpoint, body }) => ({
    endpoint: new URL(endpoint, location).pathname.split("/").slice(4).join("/"),
    body,
  }));

  const sessionId = () => state.sessionId ?? null;
  const connection = () => state.pc?.connectionState ?? null;
  const close = () => state.pc.close();

  return { open, push, metadata, pull, prefer, stopPushing, stopPulling, inbound, answers, sessionId, connection, close };
})();
