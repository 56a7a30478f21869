// Why something did not work, in words, with what to do about it.

import { ConnectionError, ConnectionErrorReason, DisconnectReason, MediaDeviceFailure } from 'livekit-client'
import type { Verdict } from './api'

export interface Notice {
  tone: 'problem' | 'calm'
  title: string
  detail: string
  said?: string // the server's own words, when it had some
}

function problem(title: string, detail: string, said?: string): Notice {
  return { tone: 'problem', title, detail, ...(said ? { said } : {}) }
}

/** Why the server gave this page no token; `said` is its answer, if it gave one. */
export function whyNoToken(said: string | undefined): Notice {
  if (said === undefined) return noServer()
  return problem('The server gave no token', 'Check the name and the room, or paste a token that somebody made for you.', said)
}

export function notAToken(): Notice {
  return problem('This is not an access token', 'A token has three parts joined by dots, and begins with “eyJ”. Copy it again, in full.')
}

/** Why the server does not let this token in. */
export function whyRefused(verdict: Exclude<Verdict, { kind: 'fine' }>): Notice {
  return verdict.kind === 'unreachable' ? noServer() : refusal(verdict)
}

/** Why joining failed although the server lets the token in: what the client library met. */
export function whyNotJoined(error: unknown): Notice {
  if (error instanceof ConnectionError) {
    switch (error.reason) {
      case ConnectionErrorReason.Timeout:
        return problem('The server took too long', 'It answered, but joining did not finish in time. Try again in a moment.', error.message)
      case ConnectionErrorReason.LeaveRequest:
        return problem('The server ended the call while it began', 'It may be restarting. Try again in a moment.', error.message)
      case ConnectionErrorReason.InternalError:
        if (/pc connection/i.test(error.message)) return noMedia()
        break
    }
  }
  return problem(
    'Joining did not work',
    'The server accepts the token, but the connection could not be set up. A proxy that does not pass WebSockets on is a common cause.',
    error instanceof Error ? error.message : undefined,
  )
}

function noServer(): Notice {
  return problem(
    'The server does not answer',
    'It may have stopped, or this device lost its network. Check that the server is running, then try again.',
  )
}

function noMedia(): Notice {
  return problem(
    'Sound and pictures cannot get through',
    'The server answered, but its media port did not. A firewall may block UDP, or the server announces an address this device ' +
      'cannot reach: start it with --announce and the address you use in the browser.',
  )
}

function refusal({ status, said }: { status: number; said: string }): Notice {
  if (/expired/i.test(said)) {
    return problem('This token has expired', 'Ask for a new one, or make one with “parley token”, and paste it here.', said)
  }
  if (/not yet valid|not valid yet|\bnbf\b/i.test(said)) {
    return problem('This token is not valid yet', 'It starts later, or the clock of the machine that made it runs ahead.', said)
  }
  if (/invalid api key/i.test(said)) {
    return problem('The server does not know this token’s key', 'It was made for another server, or the key was replaced. Make one with this server’s key.', said)
  }
  if (/does not exist/i.test(said)) {
    return problem('There is no such room', 'This server opens rooms only when asked to beforehand. Check the name, or ask whoever runs the server.', said)
  }
  if (/room/i.test(said) && /no room name|length exceeds/i.test(said)) {
    return problem('The room’s name does not work', 'It must not be empty, nor longer than 256 bytes.', said)
  }
  if (/permission/i.test(said)) {
    return problem('This token does not open a room', 'It needs the right to join, and must be made for this room.', said)
  }
  if (status === 401 || status === 403) {
    return problem('The server refuses this token', 'It is damaged, or was signed with another secret. Copy it again in full, or make a new one.', said)
  }
  if (status === 503) {
    return problem('The server is full', 'It reached the limit it was configured with. Try again later.', said)
  }
  if (status === 404) {
    return problem('Nothing answers LiveKit clients here', 'The address is a web server, but not one with rooms.', said)
  }
  return problem('The server refuses', `It answered with status ${status}.`, said)
}

/** Why a call that was going on ended, or nothing when it ended as wished. */
export function whyEnded(reason: DisconnectReason | undefined, room: string): Notice {
  switch (reason) {
    case DisconnectReason.CLIENT_INITIATED:
      return { tone: 'calm', title: `You left ${room}`, detail: 'The door stays open: join again whenever you like.' }
    case DisconnectReason.SERVER_SHUTDOWN:
      return problem('The server was stopped', 'Whoever runs it closed it, or is starting it anew. Try again in a moment.')
    case DisconnectReason.DUPLICATE_IDENTITY:
      return problem('You joined from somewhere else', 'The same token is in use in another tab or device, and only one can be in the room.')
    case DisconnectReason.PARTICIPANT_REMOVED:
      return problem('You were removed from the room', 'Somebody who may do so ended your stay.')
    case DisconnectReason.ROOM_DELETED:
    case DisconnectReason.ROOM_CLOSED:
      return problem('The room was closed', 'Everyone in it was sent out. Joining again may open it anew.')
    default:
      return problem('The connection was lost', 'Several attempts to get it back failed. Check this device’s network and the server, then join again.')
  }
}

/** What stands between this page and the camera and microphone, before anybody tries to use them. */
export function noDevicesHere(): Notice | undefined {
  if (window.isSecureContext && navigator.mediaDevices) return undefined
  return {
    tone: 'calm',
    title: 'You can listen and watch, but not speak',
    detail:
      'Browsers give camera and microphone only to pages that come over HTTPS or from this same machine. ' +
      'Start the server with --tls-cert and --tls-key, and open the page with https.',
  }
}

export type Source = 'microphone' | 'camera' | 'screen'

/** Why a device could not be used, in one or two sentences. */
export function whyNoDevice(error: unknown, source: Source): string {
  if (source === 'screen') {
    return `The screen is not shared${error instanceof Error && error.message ? `: ${error.message}` : '.'}`
  }
  const the = source === 'camera' ? 'The camera' : 'The microphone'
  switch (MediaDeviceFailure.getFailure(error)) {
    case MediaDeviceFailure.PermissionDenied:
      return `${the} is blocked. Allow it in the browser’s address bar, then switch it on here.`
    case MediaDeviceFailure.NotFound:
      return `No ${source} was found. Connect one, then switch it on here.`
    case MediaDeviceFailure.DeviceInUse:
      return `${the} is used by another program. Close that, then switch it on here.`
  }
  if (!window.isSecureContext) return `${the} needs a page that comes over HTTPS.`
  return `${the} did not start${error instanceof Error && error.message ? `: ${error.message}` : '.'}`
}
