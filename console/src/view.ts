// What a call looks like, as plain values: the components know nothing of the client library.

export interface CallView {
  room: string
  state: LinkState
  link: Link | undefined
  people: Person[] // this tab's own person first
  shares: Share[] // latest first
  messages: Message[]
  toasts: Toast[]
  mic: Device
  camera: Device
  screen: Device
  muffled: boolean // the browser holds sound back until somebody clicks
}

export type LinkState = 'connected' | 'reconnecting'

/** How well packets travel: round trip in milliseconds, loss as a share of one. */
export interface Link {
  roundTripMs: number | undefined
  loss: number
}

export type Device = 'on' | 'off' | 'starting' | 'absent'

export interface Person {
  id: string
  name: string
  isMe: boolean
  hasMic: boolean // a microphone is published, muted or not
  isMuted: boolean
  picture: Picture | undefined
  level: () => number // loudness now, 0 to 1
}

export interface Share {
  id: string
  name: string
  isMine: boolean
  picture: Picture | undefined
}

/** A moving picture that can be shown in any number of video elements. */
export interface Picture {
  id: string
  isMirrored: boolean
  show: (element: HTMLVideoElement) => () => void
}

export interface Message {
  id: string
  from: string
  isMine: boolean
  text: string
  at: Date
  failed: boolean
}

export interface Toast {
  id: number
  text: string
  tone: 'calm' | 'warning'
}

/** The devices of a kind that the browser tells of, and the one in use. */
export interface Choice {
  kind: MediaDeviceKind
  chosen: string
  options: { id: string; label: string }[]
}

export interface CallActions {
  toggleMic: () => void
  toggleCamera: () => void
  toggleScreen: () => void
  say: (text: string) => void
  listen: () => void
  dismiss: (toast: number) => void
  choices: () => Promise<Choice[]>
  choose: (kind: MediaDeviceKind, id: string) => Promise<void>
  leave: () => void
}
