// Camera and microphone before the call: opened early where the browser already agreed, handed to the call on joining.

import { createLocalTracks, LocalAudioTrack, LocalVideoTrack, VideoPresets } from 'livekit-client'
import { pictureOf } from './picture'
import { Store } from './store'
import type { Picture } from './view'
import { Voice } from './voice'
import { noDevicesHere, type Source, whyNoDevice } from './words'

export interface Wanted {
  mic: boolean
  camera: boolean
}

export interface Opened {
  mic: LocalAudioTrack | undefined
  camera: LocalVideoTrack | undefined
  problems: string[]
}

export const CAPTURE = { resolution: VideoPresets.h720.resolution }

/** Phones' browsers cannot, nor can any page without HTTPS. */
export function canShareScreen(): boolean {
  return typeof (navigator.mediaDevices as MediaDevices | undefined)?.getDisplayMedia === 'function'
}

const NOTHING: Opened = { mic: undefined, camera: undefined, problems: [] }

/** Open what is wanted, with one question to the user where that is possible. Never throws: see `problems`. */
export async function open(wanted: Wanted): Promise<Opened> {
  if ((!wanted.mic && !wanted.camera) || noDevicesHere()) return NOTHING
  try {
    return sort(await createLocalTracks({ audio: wanted.mic, video: wanted.camera && CAPTURE }))
  } catch (error) {
    if (!wanted.mic || !wanted.camera) return { ...NOTHING, problems: [whyNoDevice(error, wanted.mic ? 'microphone' : 'camera')] }
  }
  // Asked for both, one of them may still work.
  const [mic, camera] = await Promise.all([open({ mic: true, camera: false }), open({ mic: false, camera: true })])
  return { mic: mic.mic, camera: camera.camera, problems: [...mic.problems, ...camera.problems] }
}

function sort(tracks: unknown[]): Opened {
  return {
    mic: tracks.find((track) => track instanceof LocalAudioTrack),
    camera: tracks.find((track) => track instanceof LocalVideoTrack),
    problems: [],
  }
}

export interface PreviewView {
  wanted: Wanted
  picture: Picture | undefined
  hasMic: boolean
  problems: string[]
  isOpening: boolean
}

/** What the lobby shows of this person's own devices. */
export class Preview {
  readonly store: Store<PreviewView>
  private mic: LocalAudioTrack | undefined
  private camera: LocalVideoTrack | undefined
  private voice: Voice | undefined
  private turn = Promise.resolve()

  constructor(wanted: Wanted) {
    this.store = new Store<PreviewView>({ wanted, picture: undefined, hasMic: false, problems: [], isOpening: false })
  }

  /** Open at once what the browser already agreed to; ask nobody. */
  async wake(): Promise<void> {
    const { wanted } = this.store.get()
    const [mic, camera] = await Promise.all([agreed('microphone'), agreed('camera')])
    await this.fulfil({ mic: wanted.mic && mic, camera: wanted.camera && camera })
  }

  /** Change what is wanted, and open it now: the browser may ask. */
  async want(change: Partial<Wanted>): Promise<void> {
    const wanted = { ...this.store.get().wanted, ...change }
    this.store.change({ wanted })
    if (!wanted.mic) this.drop('microphone')
    if (!wanted.camera) this.drop('camera')
    await this.fulfil({ mic: change.mic === true, camera: change.camera === true })
  }

  level(): number {
    return this.voice?.level() ?? 0
  }

  /** Hand over what is wanted, opening what is not open yet. The preview lets go of it. */
  async handOver(): Promise<Opened> {
    await this.turn
    const { wanted } = this.store.get()
    const late = await open({ mic: wanted.mic && !this.mic, camera: wanted.camera && !this.camera })
    const opened = { mic: this.mic ?? late.mic, camera: this.camera ?? late.camera, problems: late.problems }
    this.forget()
    return opened
  }

  /** Let go of every device, as when the lobby is left without a call. */
  close(): void {
    this.mic?.stop()
    this.camera?.stop()
    this.forget()
  }

  private fulfil(wanted: Wanted): Promise<void> {
    // One question at a time: a second click waits for the answer to the first.
    this.turn = this.turn.then(async () => {
      const missing = { mic: wanted.mic && !this.mic, camera: wanted.camera && !this.camera }
      if (!missing.mic && !missing.camera) return
      this.store.change({ isOpening: true, problems: [] })
      const opened = await open(missing)
      this.take(opened)
      this.store.change({ isOpening: false, problems: opened.problems })
    })
    return this.turn
  }

  private take(opened: Opened): void {
    const { wanted } = this.store.get()
    if (opened.mic && wanted.mic) {
      this.mic = opened.mic
      this.voice = new Voice(opened.mic.mediaStreamTrack)
    } else opened.mic?.stop()
    if (opened.camera && wanted.camera) this.camera = opened.camera
    else opened.camera?.stop()
    this.store.change({ picture: this.camera && pictureOf(this.camera), hasMic: !!this.mic })
  }

  private drop(source: Source): void {
    if (source === 'microphone') {
      this.mic?.stop()
      this.mic = undefined
      this.voice?.close()
      this.voice = undefined
    } else {
      this.camera?.stop()
      this.camera = undefined
    }
    this.store.change({ picture: this.camera && pictureOf(this.camera), hasMic: !!this.mic })
  }

  private forget(): void {
    this.voice?.close()
    this.voice = this.mic = this.camera = undefined
    this.store.change({ picture: undefined, hasMic: false })
  }
}

async function agreed(name: 'microphone' | 'camera'): Promise<boolean> {
  try {
    return (await navigator.permissions.query({ name: name as PermissionName })).state === 'granted'
  } catch {
    return false // Not every browser lets these two be asked for.
  }
}
