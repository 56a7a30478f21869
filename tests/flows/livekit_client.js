// Drives one livekit-client Room for the flows: plain calls in, plain values out.
globalThis.driver = (() => {
  const { Room, RoomEvent, Track, ParticipantEvent } = LivekitClient;
  const state = { room: null, events: [], received: { reliable: [], lossy: [] }, tracks: {} };

  function note(name, fields = {}) {
    state.events.push({ name, at: Date.now(), ...fields });
  }

  async function join(url, token, options = {}) {
    const room = new Room({ publishDefaults: { simulcast: false }, ...options.room });
    state.room = room;
    room
      .on(RoomEvent.ParticipantConnected, (p) => note("participantConnected", { identity: p.identity }))
      .on(RoomEvent.ParticipantDisconnected, (p) => note("participantDisconnected", { identity: p.identity }))
      .on(RoomEvent.Disconnected, (reason) => note("disconnected", { reason }))
      .on(RoomEvent.Reconnecting, () => note("reconnecting"))
      .on(RoomEvent.Reconnected, () => note("reconnected"))
      .on(RoomEvent.SignalReconnecting, () => note("signalReconnecting"))
      .on(RoomEvent.TrackMuted, (pub, p) => note("muted", { identity: p.identity, kind: pub.kind }))
      .on(RoomEvent.TrackUnmuted, (pub, p) => note("unmuted", { identity: p.identity, kind: pub.kind }))
      .on(RoomEvent.TrackPublished, (pub, p) => note("published", { identity: p.identity, source: pub.source }))
      .on(RoomEvent.TrackUnpublished, (pub, p) => note("unpublished", { identity: p.identity, source: pub.source }))
      .on(RoomEvent.ParticipantNameChanged, (name, p) => note("name", { identity: p.identity, name }))
      .on(RoomEvent.ParticipantMetadataChanged, (_, p) => note("metadata", { identity: p.identity, metadata: p.metadata }))
      .on(RoomEvent.ParticipantAttributesChanged, (changed, p) => note("attributes", { identity: p.identity, changed }))
      .on(RoomEvent.DataReceived, (payload, p, kind, topic) => {
        const list = kind === 0 || kind === undefined ? state.received.reliable : state.received.lossy;
        list.push({ from: p?.identity, topic, size: payload.length, first: new DataView(payload.buffer, payload.byteOffset).getUint32(0) });
      })
      .on(RoomEvent.TrackSubscribed, (track, pub, p) => {
        note("subscribed", { identity: p.identity, source: pub.source, kind: track.kind });
        const element = track.attach();
        document.body.append(element);
        state.tracks[`${p.identity}/${pub.source}`] = track;
      })
      .on(RoomEvent.TrackUnsubscribed, (track, pub, p) => {
        note("unsubscribed", { identity: p.identity, source: pub.source });
        track.detach().forEach((element) => element.remove());
        delete state.tracks[`${p.identity}/${pub.source}`];
      });
    await room.connect(url, token, options.connect);
    return { sid: await room.getSid(), identity: room.localParticipant.identity, version: room.serverInfo?.version };
  }

  // The inbound-rtp statistics of one remote track, or null while it is not subscribed.
  async function inbound(identity, source) {
    const track = state.tracks[`${identity}/${source}`];
    if (!track) return null;
    const report = await track.receiver.getStats();
    for (const entry of report.values()) if (entry.type === "inbound-rtp") return { ...entry };
    return null;
  }

  // The MIME type of what arrives on one remote track.
  async function codec(identity, source) {
    const report = await state.tracks[`${identity}/${source}`].receiver.getStats();
    const { codecId } = await inbound(identity, source);
    return report.get(codecId).mimeType;
  }

  async function outbound() {
    const found = [];
    for (const pub of state.room.localParticipant.trackPublications.values()) {
      const report = await pub.track.sender.getStats();
      for (const entry of report.values())
        if (entry.type === "outbound-rtp" || entry.type === "remote-inbound-rtp") found.push({ ...entry });
    }
    return found;
  }

  // The rids of the camera's layers that are sent now, worst first; a layer that was turned off is not among them.
  async function sentLayers() {
    const active = (await outbound()).filter((entry) => entry.type === "outbound-rtp" && entry.rid && entry.active);
    return ["q", "h", "f"].filter((rid) => active.some((entry) => entry.rid === rid));
  }

  // Call a method of the publication of a remote track: `choose("ada", "camera", "setVideoQuality", 0)`.
  function choose(identity, source, method, ...args) {
    const participant = state.room.remoteParticipants.get(identity);
    participant.getTrackPublication(source)[method](...args);
  }

  // Show a remote video in an element of this size, in CSS pixels.
  function resize(identity, source, width, height) {
    const [element] = state.tracks[`${identity}/${source}`].attachedElements;
    Object.assign(element.style, { width: `${width}px`, height: `${height}px` });
  }

  async function sendNumbered(count, size, reliable, destinationIdentities) {
    for (let i = 0; i < count; i++) {
      const payload = new Uint8Array(size);
      new DataView(payload.buffer).setUint32(0, i);
      await state.room.localParticipant.publishData(payload, { reliable, topic: "numbers", destinationIdentities });
    }
  }

  return {
    state,
    join,
    inbound,
    codec,
    outbound,
    sentLayers,
    choose,
    resize,
    sendNumbered,
    camera: async (on, options, publish) => { await state.room.localParticipant.setCameraEnabled(on, options, publish); },
    microphone: async (on) => { await state.room.localParticipant.setMicrophoneEnabled(on); },
    screen: async (on) => { await state.room.localParticipant.setScreenShareEnabled(on); },
    leave: async () => { await state.room.disconnect(); },
    setName: async (name) => { await state.room.localParticipant.setName(name); },
    setMetadata: async (text) => { await state.room.localParticipant.setMetadata(text); },
    setAttributes: async (values) => { await state.room.localParticipant.setAttributes(values); },
    others: () => [...state.room.remoteParticipants.values()].map((p) => ({
      identity: p.identity, name: p.name, metadata: p.metadata, attributes: p.attributes,
    })),
    connectionState: () => state.room.state,
    // Cuts the signalling socket under the client, as a lost network would.
    cutSocket: () => { const ws = state.room.engine.client.ws; (ws.close ?? ws.ws.close).call(ws, {closeCode: 4001}); },
    events: () => state.events,
    received: () => state.received,
  };
})();
