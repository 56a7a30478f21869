// How loud a track is, measured here: the picture of who speaks needs nothing from the server.

let shared: AudioContext | undefined

function context(): AudioContext {
  shared ??= new AudioContext()
  if (shared.state === 'suspended') void shared.resume().catch(() => undefined)
  return shared
}

export class Voice {
  private readonly source: MediaStreamAudioSourceNode
  private readonly analyser: AnalyserNode
  private readonly samples: Float32Array<ArrayBuffer>

  constructor(readonly track: MediaStreamTrack) {
    const audio = context()
    this.analyser = audio.createAnalyser()
    this.analyser.fftSize = 1024
    this.samples = new Float32Array(this.analyser.fftSize)
    this.source = audio.createMediaStreamSource(new MediaStream([track]))
    this.source.connect(this.analyser)
  }

  /** Loudness of the last 20 ms, 0 to 1: −50 dBFS and less is silence, −10 and more is all there is. */
  level(): number {
    this.analyser.getFloatTimeDomainData(this.samples)
    let sum = 0
    for (const sample of this.samples) sum += sample * sample
    const decibels = 10 * Math.log10(sum / this.samples.length + 1e-10)
    return Math.min(1, Math.max(0, (decibels + 50) / 40))
  }

  close(): void {
    this.source.disconnect()
  }
}
