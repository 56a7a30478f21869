// Which of the page's two screens is shown, and how one gets from the lobby into a call and back.

import { useEffect, useMemo, useState } from 'preact/hooks'
import { type Config, MintRefused, mintToken, readClaims, readConfig, validate } from './api'
import { Call } from './call'
import { Preview } from './devices'
import { Lobby } from './lobby'
import { putInAddress, recall, remember, takeTokenFromAddress, type Wishes } from './memory'
import { Session } from './session'
import { type Notice, notAToken, whyNoToken, whyNotJoined, whyRefused } from './words'

const tokenFromAddress = takeTokenFromAddress()

export function App() {
  const [config, setConfig] = useState<Config>()
  const [wishes, setWishes] = useState(recall)
  const [token, setToken] = useState(tokenFromAddress)
  const [notice, setNotice] = useState<Notice>()
  const [session, setSession] = useState<Session>()
  const [isJoining, setJoining] = useState(false)
  const preview = useMemo(() => new Preview({ mic: wishes.mic, camera: wishes.camera }), [])

  useEffect(() => void readConfig().then(setConfig), [])
  useEffect(() => void preview.wake(), [])
  useEffect(() => void (document.title = session ? `${session.store.get().room} · Parley` : 'Parley'), [session])

  async function join(wishes: Wishes, pasted: string) {
    setWishes(wishes)
    remember({ ...wishes, ...preview.store.get().wanted })
    setToken(pasted)
    setNotice(undefined)
    setJoining(true)
    const why = await enter(wishes, pasted)
    setJoining(false)
    setNotice(why)
    if (why) void preview.wake()
  }

  /** Join, and show the call; or give the reason why not. */
  async function enter({ name, room }: Wishes, pasted: string): Promise<Notice | undefined> {
    if (pasted && !readClaims(pasted)) return notAToken()
    let token = pasted
    try {
      token ||= await mintToken(room, name)
    } catch (error) {
      return whyNoToken(error instanceof MintRefused ? error.message : undefined)
    }
    // Asked beforehand, the server says why not; and a client library that meets 404 on joining would retry for ever.
    const verdict = await validate(token)
    if (verdict.kind !== 'fine') return whyRefused(verdict)
    const devices = preview.handOver()
    try {
      const session = await Session.join(token, devices, (why) => {
        setSession(undefined)
        setNotice(why)
      })
      putInAddress(session.store.get().room)
      setSession(session)
      return undefined
    } catch (error) {
      void devices.then(({ mic, camera }) => (mic?.stop(), camera?.stop()))
      const verdict = await validate(token)
      return verdict.kind === 'fine' ? whyNotJoined(error) : whyRefused(verdict)
    }
  }

  if (session) return <Call store={session.store} actions={session} />
  return (
    <Lobby
      config={config}
      wishes={wishes}
      token={token}
      notice={notice}
      isJoining={isJoining}
      preview={preview}
      onJoin={(wishes, token) => void join(wishes, token)}
    />
  )
}
