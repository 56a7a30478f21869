// Calls the Cloudflare Realtime API with the browser's own RTCPeerConnection, for the flows: as vendor samples do.
globalThis.sfu = (() => {
  let base, headers;

  function at(url, secret) {
    base = url;
    headers = { Authorization: `Bearer ${secret}` };
  }

  async function call(method, path, body) {
    const answer = await fetch(`${base}/${path}`, { method, headers, body: body && JSON.stringify(body) });
    return answer.json();
  }

  // A session with a connection of its own.
  async function session() {
    const { sessionId } = await call("POST", "sessions/new");
    const pc = new RTCPeerConnection({ bundlePolicy: "max-bundle" });
    pc.ontrack = ({ track }) => {
      const element = document.createElement(track.kind);
      element.srcObject = new MediaStream([track]);
      element.play().catch(() => {});
      document.body.append(element);
    };
    const self = { id: sessionId, pc, operate: (method, operation, body) => call(method, `sessions/${sessionId}/${operation}`, body) };

    // Send an offer with these items; the answer is applied.
    self.offer = async (fields) => {
      await pc.setLocalDescription(await pc.createOffer());
      const { type, sdp } = pc.localDescription;
      const added = await self.operate("POST", "tracks/new", { sessionDescription: { type, sdp }, ...fields });
      if (added.sessionDescription) await pc.setRemoteDescription(added.sessionDescription);
      return added;
    };

    // Ask for something; where that is an offer, it is answered.
    self.ask = async (fields) => {
      const added = await self.operate("POST", "tracks/new", fields);
      if (added.requiresImmediateRenegotiation) {
        await pc.setRemoteDescription(added.sessionDescription);
        await pc.setLocalDescription(await pc.createAnswer());
        const { type, sdp } = pc.localDescription;
        const done = await self.operate("PUT", "renegotiate", { sessionDescription: { type, sdp } });
        if (done.errorCode) throw new Error(done.errorDescription);
      }
      return added;
    };

    // The inbound-rtp statistics of a section; null while there are none.
    self.inbound = async (mid) => {
      const transceiver = pc.getTransceivers().find((one) => one.mid === mid);
      for (const entry of (await transceiver.receiver.getStats()).values()) if (entry.type === "inbound-rtp") return { ...entry };
      return null;
    };

    // Wait until so many more pictures have been shown there.
    self.shows = async (mid, more = 5) => {
      const first = (await self.inbound(mid))?.framesDecoded ?? 0;
      for (let turn = 0; turn < 200; turn++) {
        const now = await self.inbound(mid);
        if ((now?.framesDecoded ?? 0) > first + more) return now;
        await new Promise((done) => setTimeout(done, 50));
      }
      throw new Error(`no pictures on section ${mid}`);
    };

    // Wait until the pictures there are this high.
    self.grows = async (mid, height) => {
      for (let turn = 0; turn < 200; turn++) {
        if ((await self.inbound(mid))?.frameHeight === height) return height;
        await new Promise((done) => setTimeout(done, 50));
      }
      throw new Error(`no pictures ${height} high on section ${mid}`);
    };

    self.hears = async (mid) => {
      for (let turn = 0; turn < 200; turn++) {
        const now = await self.inbound(mid);
        if ((now?.totalAudioEnergy ?? 0) > 0.0001) return now;
        await new Promise((done) => setTimeout(done, 50));
      }
      throw new Error(`no sound on section ${mid}`);
    };

    // Bring data up by an offer of the server's; the channel it opens is kept.
    self.establish = async () => {
      const opened = new Promise((done) => { pc.ondatachannel = ({ channel }) => done(channel); });
      const asked = await self.operate("POST", "datachannels/establish", {});
      await self.answer(asked.sessionDescription);
      self.events = await opened;
      return { asked, label: self.events.label, id: self.events.id };
    };

    self.answer = async (offer) => {
      await pc.setRemoteDescription(offer);
      await pc.setLocalDescription(await pc.createAnswer());
      const { type, sdp } = pc.localDescription;
      return self.operate("PUT", "renegotiate", { sessionDescription: { type, sdp } });
    };

    // Make a channel by its item, and our end of it; resolves when it is open.
    self.channel = async (item) => {
      const { dataChannels: [made] } = await self.operate("POST", "datachannels/new", { dataChannels: [item] });
      if (made.errorCode) throw new Error(made.errorDescription);
      const { ordered, maxRetransmits } = item;
      const dc = pc.createDataChannel(item.dataChannelName, { negotiated: true, id: made.id, ordered, maxRetransmits });
      const end = { made, dc, received: [] };
      dc.onmessage = ({ data }) => end.received.push(data);
      await until(() => dc.readyState === "open", "an open channel");
      return end;
    };

    return self;
  }

  async function until(holds, what) {
    for (let turn = 0; turn < 200; turn++) {
      if (holds()) return;
      await new Promise((done) => setTimeout(done, 50));
    }
    throw new Error(`not within 10 s: ${what}`);
  }

  const devices = (video = { width: 640, height: 360, frameRate: 15 }) => navigator.mediaDevices.getUserMedia({ audio: true, video });
  const remote = ({ id }, trackName, more = {}) => ({ location: "remote", sessionId: id, trackName, ...more });
  const local = (trackName, mid, more = {}) => ({ location: "local", trackName, mid, ...more });

  return { at, call, session, until, devices, remote, local };
})();
