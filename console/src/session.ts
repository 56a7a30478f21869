// One call: the client library's room on one side, a plain view of it on the other.

import {
  ConnectionState,
  type DisconnectReason,
  type LocalTrack,
  type Participant,
  type RemoteTrack,
  Room,
  RoomEvent,
  ScreenSharePresets,
  Track,
  type TrackPublication,
  VideoPresets,
} from 'livekit-client'
import { canShareScreen, CAPTURE, type Opened } from './devices'
import { measure, type Tally } from './link'
import { pictureOf } from './picture'
import { Store } from './store'
import type { CallActions, CallView, Choice, Device, Message, Person, Picture, Share, Toast } from './view'
import { Voice } from './voice'
import { type Notice, type Source, whyEnded, whyNoDevice } from './words'

const CHAT = 'lk.chat' // the topic that LiveKit's own components and agents use for chat
const LONGEST_MESSAGE = 4000
const MOST_MESSAGES = 500
const MOST_TOASTS = 4
const LINK_EVERY_MS = 2000

const KINDS: MediaDeviceKind[] = ['audioinput', 'videoinput', 'audiooutput']

/** What a change of may alter the view. */
const TELLING = [
  RoomEvent.ConnectionStateChanged,
  RoomEvent.ParticipantConnected,
  RoomEvent.ParticipantDisconnected,
  RoomEvent.ParticipantNameChanged,
  RoomEvent.TrackPublished,
  RoomEvent.TrackUnpublished,
  RoomEvent.TrackSubscribed,
  RoomEvent.TrackUnsubscribed,
  RoomEvent.TrackMuted,
  RoomEvent.TrackUnmuted,
  RoomEvent.LocalTrackPublished,
  RoomEvent.LocalTrackUnpublished,
  RoomEvent.AudioPlaybackStatusChanged,
] as const

export class Session implements CallActions {
  readonly store: Store<CallView>
  private readonly room: Room
  private readonly voices = new Map<string, Voice>()
  private readonly starting = new Set<Source>()
  private tally: Tally | undefined
  private messages: Message[] = []
  private toasts: Toast[] = []
  private toastsSeen = 0
  private isDrawing = false
  private measuring: ReturnType<typeof setInterval> | undefined

  private constructor(private readonly onEnd: (why: Notice) => void) {
    this.room = new Room({
      adaptiveStream: false,
      dynacast: false,
      // The server speaks the form with two connections; asking for the other first would cost each join a refusal.
      singlePeerConnection: false,
      videoCaptureDefaults: CAPTURE,
      publishDefaults: {
        simulcast: false,
        backupCodec: false,
        videoEncoding: VideoPresets.h720.encoding,
        screenShareEncoding: ScreenSharePresets.h1080fps15.encoding,
      },
    })
    this.store = new Store(this.view())
  }

  /** Join with a token; devices are published as soon as they are open. Throws what the client library throws. */
  static async join(token: string, devices: Promise<Opened>, onEnd: (why: Notice) => void): Promise<Session> {
    const session = new Session(onEnd)
    const { room } = session
    session.listenToRoom()
    await room.connect(location.origin.replace(/^http/, 'ws'), token)
    room.on(RoomEvent.Disconnected, (reason) => session.end(reason))
    session.measuring = setInterval(() => void session.measure(), LINK_EVERY_MS)
    session.starting.add('microphone').add('camera')
    void devices.then((opened) => session.publish(opened))
    session.draw()
    return session
  }

  toggleMic = (): void => {
    const { localParticipant: me } = this.room
    void this.switch('microphone', () => me.setMicrophoneEnabled(!me.isMicrophoneEnabled))
  }

  toggleCamera = (): void => {
    const { localParticipant: me } = this.room
    void this.switch('camera', () => me.setCameraEnabled(!me.isCameraEnabled))
  }

  toggleScreen = (): void => {
    const { localParticipant: me } = this.room
    void this.switch('screen', () =>
      me.setScreenShareEnabled(!me.isScreenShareEnabled, { audio: true, selfBrowserSurface: 'exclude', surfaceSwitching: 'include' }),
    )
  }

  say = (text: string): void => {
    const message = {
      id: crypto.getRandomValues(new Uint32Array(2)).join('-'), // randomUUID wants HTTPS, this page does not
      from: nameOf(this.room.localParticipant),
      isMine: true,
      text: text.slice(0, LONGEST_MESSAGE),
      at: new Date(),
      failed: false,
    }
    this.keep(message)
    this.room.localParticipant.sendText(message.text, { topic: CHAT }).catch(() => {
      this.messages = this.messages.map((kept) => (kept === message ? { ...kept, failed: true } : kept))
      this.draw()
    })
  }

  listen = (): void => void this.room.startAudio().catch(() => undefined)

  dismiss = (id: number): void => {
    this.toasts = this.toasts.filter((toast) => toast.id !== id)
    this.draw()
  }

  choices = async (): Promise<Choice[]> => {
    const choices = await Promise.all(
      KINDS.map(async (kind) => ({
        kind,
        chosen: this.room.getActiveDevice(kind) ?? 'default',
        // Before permission is given, a browser tells of devices without their names.
        options: (await Room.getLocalDevices(kind, false)).flatMap(({ deviceId, label }) => (label ? [{ id: deviceId, label }] : [])),
      })),
    )
    return choices.filter(({ options }) => options.length > 0)
  }

  choose = async (kind: MediaDeviceKind, id: string): Promise<void> => {
    try {
      await this.room.switchActiveDevice(kind, id)
    } catch (error) {
      this.tell(whyNoDevice(error, kind === 'videoinput' ? 'camera' : 'microphone'), 'warning')
    }
  }

  leave = (): void => void this.room.disconnect()

  private listenToRoom(): void {
    const { room } = this
    for (const event of TELLING) room.on(event, this.draw)
    room.on(RoomEvent.TrackSubscribed, (track) => {
      if (track.kind === Track.Kind.Audio) document.body.append(track.attach())
    })
    room.on(RoomEvent.TrackUnsubscribed, (track) => silence(track))
    room.on(RoomEvent.ParticipantConnected, (person) => this.tell(`${nameOf(person)} joined`))
    room.on(RoomEvent.ParticipantDisconnected, (person) => {
      this.voices.get(person.sid)?.close()
      this.voices.delete(person.sid)
      this.tell(`${nameOf(person)} left`)
    })
    room.registerTextStreamHandler(CHAT, (reader, { identity }) => {
      reader.readAll().then(
        (text) => this.hear(text, identity),
        () => undefined, // its sender left in the middle of a sentence
      )
    })
    // The form before text streams, which older clients still send.
    room.on(RoomEvent.ChatMessage, ({ message }, from) => {
      if (from && !from.isLocal) this.hear(message, from.identity)
    })
  }

  private async publish({ mic, camera, problems }: Opened): Promise<void> {
    const { localParticipant: me } = this.room
    for (const text of problems) this.tell(text, 'warning')
    const put = async (track: LocalTrack | undefined, source: Source) => {
      if (!track) this.starting.delete(source)
      else if (this.room.state === ConnectionState.Disconnected) track.stop()
      else await this.switch(source, () => me.publishTrack(track))
    }
    await Promise.all([put(mic, 'microphone'), put(camera, 'camera')])
    this.draw()
  }

  /** Do something with a device, showing that it is under way, and say why when it fails. */
  private async switch(source: Source, act: () => Promise<unknown>): Promise<void> {
    this.starting.add(source)
    this.draw()
    try {
      await act()
    } catch (error) {
      // Closing the browser's own dialogue is an answer, not a fault.
      const declined = source === 'screen' && error instanceof DOMException && error.name === 'NotAllowedError'
      if (!declined) this.tell(whyNoDevice(error, source), 'warning')
    } finally {
      this.starting.delete(source)
      this.draw()
    }
  }

  private hear(text: string, identity: string): void {
    const from = this.room.getParticipantByIdentity(identity)
    this.keep({
      id: crypto.getRandomValues(new Uint32Array(2)).join('-'),
      from: from ? nameOf(from) : identity,
      isMine: false,
      text: text.slice(0, LONGEST_MESSAGE),
      at: new Date(),
      failed: false,
    })
  }

  private keep(message: Message): void {
    this.messages = [...this.messages, message].slice(-MOST_MESSAGES)
    this.draw()
  }

  private tell(text: string, tone: Toast['tone'] = 'calm'): void {
    const toast = { id: ++this.toastsSeen, text, tone }
    this.toasts = [...this.toasts, toast].slice(-MOST_TOASTS)
    this.draw()
    setTimeout(() => this.dismiss(toast.id), tone === 'calm' ? 4000 : 12000)
  }

  private async measure(): Promise<void> {
    this.tally = await measure(this.room, this.tally)
    this.draw()
  }

  private end(reason: DisconnectReason | undefined): void {
    clearInterval(this.measuring)
    for (const voice of this.voices.values()) voice.close()
    this.voices.clear()
    this.onEnd(whyEnded(reason, this.room.name))
  }

  /** Show the room as it is, once for all that happens in one turn of the loop. */
  private readonly draw = (): void => {
    if (this.isDrawing) return
    this.isDrawing = true
    queueMicrotask(() => {
      this.isDrawing = false
      this.store.set(this.view())
    })
  }

  private view(): CallView {
    const { room } = this
    const me = room.localParticipant
    const everyone: Participant[] = [me, ...[...room.remoteParticipants.values()].sort(byArrival)]
    const isAway = room.state === ConnectionState.Reconnecting || room.state === ConnectionState.SignalReconnecting
    return {
      room: room.name,
      state: isAway ? 'reconnecting' : 'connected',
      link: this.tally?.link,
      people: everyone.map((person) => this.person(person)),
      shares: everyone.flatMap((person) => this.share(person)).reverse(),
      messages: this.messages,
      toasts: this.toasts,
      mic: this.device('microphone', me.isMicrophoneEnabled),
      camera: this.device('camera', me.isCameraEnabled),
      screen: canShareScreen() ? this.device('screen', me.isScreenShareEnabled) : 'absent',
      muffled: !room.canPlaybackAudio,
    }
  }

  private device(source: Source, isOn: boolean): Device {
    if (!navigator.mediaDevices) return 'absent'
    return this.starting.has(source) ? 'starting' : isOn ? 'on' : 'off'
  }

  private person(person: Participant): Person {
    // Clients that are not browsers often name no source: what is not a screen is a camera or a microphone.
    const mic = find(person.audioTrackPublications, (source) => source !== Track.Source.ScreenShareAudio)
    const camera = find(person.videoTrackPublications, (source) => source !== Track.Source.ScreenShare)
    return {
      id: person.sid || person.identity,
      name: nameOf(person),
      isMe: person.isLocal,
      hasMic: !!mic,
      isMuted: !mic || mic.isMuted,
      picture: shown(camera),
      level: () => this.level(person.sid, mic),
    }
  }

  private share(person: Participant): Share[] {
    const screen = find(person.videoTrackPublications, (source) => source === Track.Source.ScreenShare)
    if (!screen) return []
    return [{ id: screen.trackSid, name: nameOf(person), isMine: person.isLocal, picture: shown(screen) }]
  }

  private level(sid: string, mic: TrackPublication | undefined): number {
    const track = mic?.track?.mediaStreamTrack
    if (!track || mic.isMuted) return 0
    let voice = this.voices.get(sid)
    if (voice?.track !== track) {
      voice?.close()
      voice = new Voice(track)
      this.voices.set(sid, voice)
    }
    return voice.level()
  }
}

function find(
  publications: Map<string, TrackPublication>,
  wanted: (source: Track.Source) => boolean,
): TrackPublication | undefined {
  return [...publications.values()].find((publication) => wanted(publication.source))
}

function shown(publication: TrackPublication | undefined): Picture | undefined {
  return publication?.track && !publication.isMuted ? pictureOf(publication.track) : undefined
}

function byArrival(one: Participant, other: Participant): number {
  return (one.joinedAt?.getTime() ?? 0) - (other.joinedAt?.getTime() ?? 0) || one.sid.localeCompare(other.sid)
}

function nameOf(person: Participant): string {
  return person.name || person.identity || 'Somebody'
}

function silence(track: RemoteTrack): void {
  for (const element of track.detach()) if (track.kind === Track.Kind.Audio) element.remove()
}
