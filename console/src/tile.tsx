// A person, or a shared screen, in a tile: the picture if there is one, otherwise a bubble with their initials.

import { useEffect, useRef, useState } from 'preact/hooks'
import { MicIcon } from './icons'
import type { Person, Picture, Share } from './view'

const HEARD = 0.12 // of the scale of voice.ts: louder than this is speech
const LISTEN_EVERY_MS = 80
const LINGER_MS = 500 // between words, people still speak

export function Tile({ person }: { person: Person }) {
  const tile = useRef<HTMLDivElement>(null)
  const isSpeaking = useSpeech(tile, person)
  const says = [person.isMe ? `${person.name} (you)` : person.name, person.isMuted ? 'muted' : '', person.picture ? '' : 'no picture']
  return (
    <div
      ref={tile}
      class="tile"
      role="group"
      aria-label={says.filter(Boolean).join(', ')}
      data-person={person.name}
      data-mine={person.isMe}
      data-muted={person.isMuted}
      data-speaking={isSpeaking}
      style={{ '--hue': hueOf(person.name) }}
    >
      <div class="bubble" aria-hidden="true">
        <span>{initials(person.name)}</span>
      </div>
      {person.picture && <Video picture={person.picture} />}
      <p class="label" aria-hidden="true">
        <span class="label-name">{person.isMe ? 'You' : person.name}</span>
        {person.isMuted && <MicIcon off />}
      </p>
    </div>
  )
}

export function ShareTile({ share, onStop }: { share: Share; onStop: () => void }) {
  return (
    <div class="tile share" role="group" aria-label={share.isMine ? 'Your shared screen' : `The screen of ${share.name}`} data-share={share.name}>
      {share.isMine ? (
        <div class="share-mine">
          <p>You are sharing your screen.</p>
          <button type="button" class="button" onClick={onStop}>
            Stop sharing
          </button>
        </div>
      ) : (
        <>
          {share.picture && <Video picture={share.picture} />}
          <p class="label" aria-hidden="true">
            <span class="label-name">{share.name}’s screen</span>
          </p>
        </>
      )}
    </div>
  )
}

/** A picture, shown once its first frame is there: no black boxes. */
export function Video({ picture }: { picture: Picture }) {
  const element = useRef<HTMLVideoElement>(null)
  const [isMoving, setMoving] = useState(false)
  useEffect(() => {
    setMoving(false)
    return element.current ? picture.show(element.current) : undefined
  }, [picture])
  return (
    <video
      ref={element}
      autoplay
      playsInline
      muted
      aria-hidden="true"
      data-mirrored={picture.isMirrored}
      data-moving={isMoving}
      onPlaying={() => setMoving(true)}
    />
  )
}

/** Whether somebody speaks. The loudness itself goes straight into the tile's style, sparing a redraw per syllable. */
function useSpeech(tile: { current: HTMLElement | null }, person: Person): boolean {
  const [isSpeaking, setSpeaking] = useState(false)
  const latest = useRef(person)
  latest.current = person
  useEffect(() => {
    let lastHeard = -Infinity
    const timer = setInterval(() => {
      const level = latest.current.level()
      if (level > HEARD) lastHeard = performance.now()
      tile.current?.style.setProperty('--level', level.toFixed(2))
      setSpeaking(performance.now() - lastHeard < LINGER_MS)
    }, LISTEN_EVERY_MS)
    return () => clearInterval(timer)
  }, [person.id])
  return isSpeaking
}

function initials(name: string): string {
  const words = name.split(/\s+/).filter(Boolean)
  const letters = words.length > 1 ? [words[0], words[words.length - 1]] : [words[0]]
  return letters.map((word) => [...(word ?? '?')][0]?.toUpperCase()).join('')
}

/** A colour of one's own, the same on every screen: a hue in degrees. */
function hueOf(name: string): number {
  let hash = 7
  for (const letter of name) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) % 9973
  return (hash * 47) % 360
}
