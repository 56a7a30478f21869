// The call: everyone in tiles, the state of the connection above, the controls below.

import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { Chat } from './chat'
import { Choices } from './choices'
import { CopyLink } from './copy'
import { fit } from './grid'
import { CameraIcon, ChatIcon, CloseIcon, DevicesIcon, LeaveIcon, Mark, MicIcon, ScreenIcon } from './icons'
import { grade } from './link'
import type { Store } from './store'
import { useStore } from './store'
import { ShareTile, Tile } from './tile'
import type { CallActions, CallView, Device } from './view'

const GAP = 12

export function Call({ store, actions }: { store: Store<CallView>; actions: CallActions }) {
  const view = useStore(store)
  const [isChatOpen, setChatOpen] = useState(false)
  const [isChoosing, setChoosing] = useState(false)
  const [seen, setSeen] = useState(0)
  const heading = useRef<HTMLHeadingElement>(null)
  const chatButton = useRef<HTMLButtonElement>(null)
  const heard = view.messages.filter((message) => !message.isMine).length

  // Whoever arrives by keyboard or screen reader should find themselves in the room.
  useEffect(() => heading.current?.focus(), [])
  useEffect(() => void (isChatOpen && setSeen(heard)), [isChatOpen, heard])

  function closeChat() {
    setChatOpen(false)
    chatButton.current?.focus()
  }

  return (
    <div class="call" data-chat={isChatOpen} data-state={view.state}>
      <header class="call-top">
        <Mark />
        <h1 ref={heading} tabIndex={-1}>
          {view.room}
        </h1>
        <LinkBadge view={view} />
        {view.mic !== 'absent' && (
          <button type="button" class="quiet" aria-label="Choose devices" title="Choose devices" onClick={() => setChoosing(true)}>
            <DevicesIcon />
          </button>
        )}
        <CopyLink room={view.room} />
      </header>
      <main class="stage">
        <Stage view={view} actions={actions} />
        {view.state === 'reconnecting' && <p class="banner">The server stopped answering. Trying to get back in…</p>}
        {view.muffled && (
          <button type="button" class="button unmuffle" onClick={actions.listen}>
            The browser holds the sound back. Let it play
          </button>
        )}
        <Toasts view={view} actions={actions} />
      </main>
      {isChatOpen && <Chat messages={view.messages} onSay={actions.say} onClose={closeChat} />}
      {isChoosing && <Choices actions={actions} onClose={() => setChoosing(false)} />}
      <div class="controls" role="toolbar" aria-label="Call controls">
        <DeviceButton what="microphone" device={view.mic} on="Mute" off="Unmute" onClick={actions.toggleMic} />
        <DeviceButton what="camera" device={view.camera} on="Stop camera" off="Start camera" onClick={actions.toggleCamera} />
        {view.screen !== 'absent' && (
          <button type="button" class="control" data-active={view.screen === 'on'} onClick={actions.toggleScreen}>
            <ScreenIcon />
            <span>{view.screen === 'on' ? 'Stop sharing' : 'Share screen'}</span>
          </button>
        )}
        <button
          ref={chatButton}
          type="button"
          class="control"
          data-active={isChatOpen}
          aria-expanded={isChatOpen}
          onClick={() => setChatOpen(!isChatOpen)}
        >
          <ChatIcon />
          <span>Chat</span>
          {heard > seen && !isChatOpen && <Unread count={heard - seen} />}
        </button>
        <button type="button" class="control leave" onClick={actions.leave}>
          <LeaveIcon />
          <span>Leave</span>
        </button>
      </div>
    </div>
  )
}

function LinkBadge({ view: { state, link } }: { view: CallView }) {
  const quality = state === 'reconnecting' ? 'poor' : link ? grade(link) : 'good'
  const words =
    state === 'reconnecting' ? 'Reconnecting…' : quality === 'good' ? 'Connected' : quality === 'fair' ? 'Unsteady connection' : 'Poor connection'
  const detail = state === 'connected' && link?.roundTripMs !== undefined ? `${Math.max(1, Math.round(link.roundTripMs))} ms` : ''
  const loss = link && link.loss > 0.005 ? `, ${Math.round(link.loss * 100)} % lost` : ''
  return (
    <p class="badge" data-quality={quality} title={detail && `Round trip ${detail}${loss}`}>
      <span class="badge-bars" aria-hidden="true">
        <i />
        <i />
        <i />
      </span>
      <span role="status">{words}</span>
      {detail && <span class="badge-detail">{detail}</span>}
    </p>
  )
}

function Stage({ view, actions }: { view: CallView; actions: CallActions }) {
  const { people, shares } = view
  const spotlight = shares.find((share) => !share.isMine)
  const others = shares.filter((share) => share !== spotlight)
  const isAlone = people.length === 1 && shares.length === 0
  const tiles = [
    ...others.map((share) => <ShareTile key={share.id} share={share} onStop={actions.toggleScreen} />),
    ...people.map((person) => <Tile key={person.id} person={person} />),
    ...(isAlone ? [<Alone key="alone" room={view.room} />] : []),
  ]
  if (!spotlight) return <Grid>{tiles}</Grid>
  return (
    <div class="spotlight">
      <ShareTile key={spotlight.id} share={spotlight} onStop={actions.toggleScreen} />
      <div class="strip">{tiles}</div>
    </div>
  )
}

function Grid({ children }: { children: preact.JSX.Element[] }) {
  const box = useRef<HTMLDivElement>(null)
  const [size, setSize] = useState({ width: 0, height: 0 })
  useLayoutEffect(() => {
    const element = box.current
    if (!element) return
    const measure = () => {
      const { width, height } = element.getBoundingClientRect()
      setSize({ width: Math.floor(width), height: Math.floor(height) })
    }
    measure()
    const watch = new ResizeObserver(measure)
    watch.observe(element)
    return () => watch.disconnect()
  }, [])
  const { width, height, overflows } = fit(children.length, size.width, size.height, GAP)
  return (
    <div
      ref={box}
      class="grid"
      data-overflows={overflows}
      style={{ '--tile-width': `${width}px`, '--tile-height': `${height}px`, '--gap': `${GAP}px` }}
    >
      {children}
    </div>
  )
}

function Alone({ room }: { room: string }) {
  return (
    <div class="tile alone">
      <p class="alone-title">You are the first one here</p>
      <p>Open this page in a second tab, or send somebody the link.</p>
      <CopyLink room={room} isBig />
    </div>
  )
}

interface DeviceButtonProps {
  what: string
  device: Device
  on: string
  off: string
  onClick: () => void
}

function DeviceButton({ what, device, on, off, onClick }: DeviceButtonProps) {
  const isOn = device === 'on'
  const Icon = what === 'camera' ? CameraIcon : MicIcon
  const words = isOn ? on : off
  return (
    <button
      type="button"
      class="control"
      data-off={device === 'off' || device === 'absent'}
      aria-label={device === 'absent' ? `No ${what} on this page` : words.includes(what) ? words : `${words} ${what}`}
      aria-busy={device === 'starting'}
      disabled={device === 'absent' || device === 'starting'}
      onClick={onClick}
    >
      <Icon off={!isOn && device !== 'starting'} />
      <span>{device === 'starting' ? 'Starting…' : words}</span>
    </button>
  )
}

function Unread({ count }: { count: number }) {
  return (
    <b class="unread">
      {count > 9 ? '9+' : count}
      <span class="unseen"> unread</span>
    </b>
  )
}

function Toasts({ view: { toasts }, actions }: { view: CallView; actions: CallActions }) {
  return (
    <ul class="toasts" aria-live="polite">
      {toasts.map((toast) => (
        <li key={toast.id} class="toast" data-tone={toast.tone}>
          {toast.text}
          {toast.tone === 'warning' && (
            <button type="button" class="quiet" aria-label="Dismiss" onClick={() => actions.dismiss(toast.id)}>
              <CloseIcon />
            </button>
          )}
        </li>
      ))}
    </ul>
  )
}
