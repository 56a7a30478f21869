// What this browser remembers between visits, and what the address says.

export interface Wishes {
  name: string
  room: string
  mic: boolean
  camera: boolean
}

const KEY = 'parley'
const DEFAULT_ROOM = 'lounge'

/** The room in the address wins over the last one, so that a link leads where it says. */
export function recall(): Wishes {
  let kept: Partial<Wishes> = {}
  try {
    kept = JSON.parse(localStorage.getItem(KEY) ?? '{}') as Partial<Wishes>
  } catch {
    // Storage may be forbidden; then nothing is remembered.
  }
  return {
    name: typeof kept.name === 'string' ? kept.name : '',
    room: roomInAddress() || (typeof kept.room === 'string' && kept.room) || DEFAULT_ROOM,
    mic: kept.mic !== false,
    camera: kept.camera !== false,
  }
}

export function remember(wishes: Wishes): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(wishes))
  } catch {
    // As above.
  }
}

export function roomInAddress(): string {
  return new URLSearchParams(location.search).get('room')?.trim() ?? ''
}

/** The link that leads others into this room. */
export function linkTo(room: string): string {
  return `${location.origin}/?room=${encodeURIComponent(room)}`
}

export function putInAddress(room: string): void {
  history.replaceState(null, '', linkTo(room))
}

/** Take a token out of the address, where it stands behind # so that no server ever saw it. */
export function takeTokenFromAddress(): string {
  const token = new URLSearchParams(location.hash.slice(1)).get('token') ?? ''
  if (token) history.replaceState(null, '', location.pathname + location.search)
  return token.trim()
}
