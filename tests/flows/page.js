// What the tests of the try-it page watch with: in every page before its own scripts, and silent to it.

window.watch = (() => {
  const connections = []
  const Original = window.RTCPeerConnection
  window.RTCPeerConnection = class extends Original {
    constructor(...args) {
      super(...args)
      connections.push(this)
    }
  }

  const sockets = []
  const OriginalSocket = window.WebSocket
  window.WebSocket = class extends OriginalSocket {
    constructor(...args) {
      super(...args)
      sockets.push(this)
    }
  }

  // One clock for all pages of this machine, in milliseconds.
  const now = () => performance.timeOrigin + performance.now()

  const promises = {}
  const times = {}

  // When a button was last clicked, by its accessible name, before the page hears of it.
  window.addEventListener('click', (event) => {
    const button = event.target.closest('button')
    if (button) times[button.getAttribute('aria-label') ?? button.textContent.trim()] = now()
  }, true)

  async function inbound(kind) {
    const found = []
    for (const connection of connections) {
      const report = await connection.getStats()
      report.forEach((entry) => {
        if (entry.type === 'inbound-rtp' && entry.kind === kind) found.push(entry)
      })
    }
    return found
  }

  const sum = (entries, field) => entries.reduce((total, entry) => total + (entry[field] ?? 0), 0)

  async function media() {
    const [video, audio] = [await inbound('video'), await inbound('audio')]
    return {
      framesDecoded: sum(video, 'framesDecoded'),
      freezeCount: sum(video, 'freezeCount'),
      totalFreezesDuration: sum(video, 'totalFreezesDuration'),
      packetsLost: sum(video, 'packetsLost') + sum(audio, 'packetsLost'),
      audioEnergy: sum(audio, 'totalAudioEnergy'),
      sizes: video.map((entry) => [entry.frameWidth, entry.frameHeight]),
    }
  }

  // Remember when an element first matches (or first ceases to), from this moment on.
  function expect(name, selector, there = true) {
    promises[name] = new Promise((resolve) => {
      const look = () => {
        if (!!document.querySelector(selector) !== there) return false
        observer.disconnect()
        resolve(now())
        return true
      }
      const observer = new MutationObserver(look)
      if (!look()) observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true })
    })
  }

  // Remember when a text is first to be read anywhere.
  function expectText(name, text) {
    promises[name] = new Promise((resolve) => {
      const observer = new MutationObserver(() => {
        if (!document.body.innerText.includes(text)) return
        observer.disconnect()
        resolve(now())
      })
      observer.observe(document, { subtree: true, childList: true, characterData: true })
    })
  }

  // Remember when pictures move and a tone is heard.
  function expectMedia(name, frames, energy) {
    promises[name] = new Promise((resolve) => {
      const timer = setInterval(async () => {
        const { framesDecoded, audioEnergy } = await media()
        if (framesDecoded < frames || audioEnergy < energy) return
        clearInterval(timer)
        resolve(now())
      }, 30)
    })
  }

  // End the signalling as a network would, as far as the page can tell.
  const cut = () => sockets.forEach((socket) => socket.close(4000))

  return { cut, media, expect, expectText, expectMedia, seen: (name) => promises[name], clicked: (name) => times[name] }
})()
