// The way in: a name, a room, a look at oneself, and, when joining failed, the reason in words.

import { useEffect, useRef, useState } from 'preact/hooks'
import { type Claims, type Config, readClaims } from './api'
import type { Preview } from './devices'
import { CameraIcon, Mark, MicIcon } from './icons'
import { roomInAddress, type Wishes } from './memory'
import { useStore } from './store'
import { Video } from './tile'
import { noDevicesHere, type Notice } from './words'

interface LobbyProps {
  config: Config | undefined
  wishes: Wishes
  token: string
  notice: Notice | undefined
  isJoining: boolean
  preview: Preview
  onJoin: (wishes: Wishes, token: string) => void
}

export function Lobby({ config, wishes, token, notice, isJoining, preview, onJoin }: LobbyProps) {
  return (
    <div class="lobby">
      <header class="lobby-top">
        <Mark />
        <span class="wordmark">Parley</span>
      </header>
      <main class="lobby-main">
        <section class="lobby-form" aria-labelledby="title">
          <h1 id="title">Pull up a chair.</h1>
          <p class="lede">Choose a name and a room. Whoever opens the same room sees and hears you.</p>
          {notice && <NoticeCard key={notice.title} notice={notice} />}
          {config && <JoinForm {...{ config, wishes, token, isJoining, onJoin }} />}
        </section>
        <Looking preview={preview} isJoining={isJoining} />
      </main>
      <footer class="lobby-foot">
        Sound, pictures and messages go through this server alone{config?.version && ` · Parley ${config.version}`} ·{' '}
        <a href="/try/licenses.txt">Licences</a>
      </footer>
    </div>
  )
}

function NoticeCard({ notice }: { notice: Notice }) {
  const card = useRef<HTMLDivElement>(null)
  useEffect(() => {
    if (notice.tone === 'problem') card.current?.focus()
  }, [notice])
  return (
    <div ref={card} class="notice" data-tone={notice.tone} role={notice.tone === 'problem' ? 'alert' : 'status'} tabIndex={-1}>
      <h2>{notice.title}</h2>
      <p>{notice.detail}</p>
      {notice.said && (
        <p class="notice-said">
          The server said: <q>{notice.said}</q>
        </p>
      )}
    </div>
  )
}

type JoinFormProps = Pick<LobbyProps, 'wishes' | 'token' | 'isJoining' | 'onJoin'> & { config: Config }

function JoinForm({ config, wishes, token, isJoining, onJoin }: JoinFormProps) {
  const [name, setName] = useState(wishes.name)
  const [room, setRoom] = useState(wishes.room)
  const [pasted, setPasted] = useState(token)
  const [usesToken, setUsesToken] = useState(!config.mint || !!token)
  const claims = usesToken && pasted ? readClaims(pasted.trim()) : undefined

  function submit(event: Event) {
    event.preventDefault()
    if (usesToken) onJoin({ ...wishes, name: wishes.name || claims?.name || '', room: claims?.room || room }, pasted.trim())
    else onJoin({ ...wishes, name: name.trim(), room: room.trim() }, '')
  }

  return (
    <form onSubmit={submit}>
      {usesToken ? (
        <div class="field">
          <label for="token">Access token</label>
          <textarea
            id="token"
            rows={4}
            value={pasted}
            required
            autocomplete="off"
            autocapitalize="off"
            spellcheck={false}
            placeholder="eyJhbGciOi…"
            aria-describedby="token-hint"
            onInput={(event) => setPasted(event.currentTarget.value)}
          />
          <p id="token-hint" class="hint" aria-live="polite">
            <TokenHint pasted={pasted} claims={claims} />
          </p>
        </div>
      ) : (
        <>
          <div class="field">
            <label for="name">Your name</label>
            <input
              id="name"
              value={name}
              required
              maxLength={60}
              pattern=".*\S.*"
              title="A name that others will see"
              autocomplete="nickname"
              autofocus={!wishes.name}
              placeholder="Ada"
              onInput={(event) => setName(event.currentTarget.value)}
            />
          </div>
          <div class="field">
            <label for="room">Room</label>
            <input
              id="room"
              value={room}
              required
              maxLength={60}
              pattern=".*\S.*"
              title="The name of a room; it opens when the first person joins"
              autocomplete="off"
              autocapitalize="off"
              spellcheck={false}
              placeholder="lounge"
              onInput={(event) => setRoom(event.currentTarget.value)}
            />
          </div>
        </>
      )}
      <button type="submit" class="button join" disabled={isJoining} aria-busy={isJoining}>
        {isJoining ? 'Joining…' : 'Join the room'}
      </button>
      {config.mint && (
        <button type="button" class="switch" onClick={() => setUsesToken(!usesToken)}>
          {usesToken ? 'Join with a name instead' : 'I have an access token'}
        </button>
      )}
    </form>
  )
}

function TokenHint({ pasted, claims }: { pasted: string; claims: Claims | undefined }) {
  if (!pasted.trim()) {
    return (
      <>
        Whoever runs this server makes one for you with <code>parley token</code>. It holds your name and the room.
      </>
    )
  }
  if (!claims) return <>This does not look like a token: it has three parts joined by dots, and begins with “eyJ”.</>
  const wanted = roomInAddress()
  return (
    <>
      Opens <strong>{claims.room || 'no room'}</strong> as <strong>{claims.name || 'nobody'}</strong>
      {claims.expires && `, ${until(claims.expires)}`}.{wanted && claims.room && wanted !== claims.room && ` The link was for ${wanted}.`}
    </>
  )
}

function until(when: Date): string {
  const minutes = Math.round((when.getTime() - Date.now()) / 60_000)
  if (minutes < 0) return 'but it has expired'
  if (minutes < 90) return `for ${minutes} more minutes`
  if (minutes < 48 * 60) return `for ${Math.round(minutes / 60)} more hours`
  return `until ${when.toLocaleDateString()}`
}

function Looking({ preview, isJoining }: { preview: Preview; isJoining: boolean }) {
  const view = useStore(preview.store)
  const obstacle = noDevicesHere()
  const meter = useRef<HTMLDivElement>(null)
  const { wanted } = view
  useEffect(() => {
    if (!view.hasMic) return
    const timer = setInterval(() => meter.current?.style.setProperty('--level', preview.level().toFixed(2)), 80)
    return () => clearInterval(timer)
  }, [view.hasMic])

  if (obstacle) {
    return (
      <section class="looking" aria-label="Your camera and microphone">
        <NoticeCard notice={obstacle} />
      </section>
    )
  }
  return (
    <section class="looking" aria-label="Your camera and microphone">
      <div class="tile looking-glass" data-mine="true">
        {view.picture ? (
          <Video picture={view.picture} />
        ) : (
          <div class="looking-words">
            <p>{words(view)}</p>
            {wanted.camera && !view.isOpening && !isJoining && (
              <button type="button" class="button plain" onClick={() => void preview.want(wanted)}>
                Try them now
              </button>
            )}
          </div>
        )}
        <div class="looking-controls">
          <button
            type="button"
            class="control"
            data-off={!wanted.mic}
            aria-label={wanted.mic ? 'Join muted' : 'Join with microphone'}
            disabled={isJoining}
            onClick={() => void preview.want({ mic: !wanted.mic })}
          >
            <MicIcon off={!wanted.mic} />
            {view.hasMic && <i ref={meter} class="meter" aria-hidden="true" />}
          </button>
          <button
            type="button"
            class="control"
            data-off={!wanted.camera}
            aria-label={wanted.camera ? 'Join without camera' : 'Join with camera'}
            disabled={isJoining}
            onClick={() => void preview.want({ camera: !wanted.camera })}
          >
            <CameraIcon off={!wanted.camera} />
          </button>
        </div>
      </div>
      {view.problems.map((problem) => (
        <p key={problem} class="looking-problem" role="status">
          {problem} You can join all the same.
        </p>
      ))}
    </section>
  )
}

function words({ wanted, isOpening }: { wanted: { mic: boolean; camera: boolean }; isOpening: boolean }): string {
  if (isOpening) return 'Waiting for the browser’s permission…'
  if (wanted.camera) return wanted.mic ? 'Camera and microphone open when you join' : 'The camera opens when you join'
  if (wanted.mic) return 'Joining with sound, without a picture'
  return 'Joining to watch and listen'
}
