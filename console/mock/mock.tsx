import { render } from 'preact'
import '../src/style.css'
import { Call } from '../src/call'
import { Lobby } from '../src/lobby'
import { Store } from '../src/store'
const q = new URLSearchParams(location.search)
const n = Number(q.get('n') ?? 5)
const kind = q.get('kind') ?? 'call'
const names = ['Ada Lovelace', 'Grace Hopper', 'Émile Baudot', 'Hedy', '山田 花子', 'Katherine J. with a very very long name', 'Bo', 'Claude Shannon','Tim']
function face(i: number, wide=false): any {
  const c = document.createElement('canvas'); c.width = 1280; c.height = 720
  const x = c.getContext('2d')!; let t = i * 30
  const hue = [28, 205, 140, 330, 260, 50][i % 6]
  const draw = () => { t += 1
    const g = x.createLinearGradient(0, 0, 1280, 720); g.addColorStop(0, `hsl(${hue} 30% 62%)`); g.addColorStop(1, `hsl(${hue! + 40} 35% 38%)`)
    x.fillStyle = g; x.fillRect(0, 0, 1280, 720)
    if (wide) { x.fillStyle='#fff'; x.fillRect(90,60,1100,600); x.fillStyle='#223'; for (let l=0;l<14;l++) x.fillRect(130,100+l*38,300+((l*137)%600),14); return }
    x.fillStyle = `hsl(${hue! + 60} 30% 30%)`; x.beginPath(); x.ellipse(640 + Math.sin(t / 20) * 10, 760, 330, 330, 0, 0, 7); x.fill()
    x.fillStyle = `hsl(${22 + i * 3} 45% ${72 - i * 8}%)`; x.beginPath(); x.ellipse(640 + Math.sin(t / 20) * 12, 330, 135, 170, 0, 0, 7); x.fill()
    x.fillStyle = `hsl(25 30% ${18 + i * 4}%)`; x.beginPath(); x.ellipse(640 + Math.sin(t / 20) * 12, 240, 150, 110, 0, Math.PI, 0); x.fill() }
  draw(); setInterval(draw, 50)
  const s = c.captureStream(20)
  return { id: 'p' + i, isMirrored: i === 0 && !wide, show: (e: HTMLVideoElement) => { e.srcObject = s; void e.play(); return () => { e.srcObject = null } } }
}
const noop = () => {}
if (kind === 'call') {
  const mute = (q.get('muted') ?? '2').split(',').map(Number), dark = (q.get('nocam') ?? '2,4').split(',').map(Number)
  const people = names.slice(0, n).map((name, i) => ({ id: 'P' + i, name, isMe: i === 0, hasMic: true, isMuted: mute.includes(i), picture: dark.includes(i) ? undefined : face(i), level: () => (i === 1 ? 0.6 : 0) }))
  const at = (m: number) => new Date(Date.now() - m * 60000)
  const messages = q.get('chat') === 'full' ? [
    { id: '1', from: 'Grace Hopper', isMine: false, text: 'Good morning! Notes are at https://example.org/notes/2026-11-20.', at: at(9), failed: false },
    { id: '2', from: 'Grace Hopper', isMine: false, text: 'Start without me if I drop.', at: at(8.5), failed: false },
    { id: '3', from: 'You', isMine: true, text: 'Thanks, opening them now.', at: at(6), failed: false },
    { id: '4', from: 'Hedy', isMine: false, text: 'Sound is clear here. Shall we look at the numbers from yesterday together, then go through the open questions?', at: at(2), failed: false },
    { id: '5', from: 'You', isMine: true, text: 'Yes.', at: at(1), failed: true }] : []
  const shares = q.get('share') === 'theirs' ? [{ id: 'S', name: 'Grace Hopper', isMine: false, picture: face(3, true) }] : q.get('share') === 'mine' ? [{ id: 'S', name: 'Ada', isMine: true, picture: undefined }] : []
  const store = new Store<any>({ room: q.get('room') ?? 'standup', state: q.get('state') ?? 'connected', link: { roundTripMs: Number(q.get('rtt') ?? 18), loss: 0 }, people, shares, messages,
    toasts: q.get('toast') ? [{ id: 1, text: 'Hedy joined', tone: 'calm' }, { id: 2, text: 'The camera is blocked. Allow it in the browser’s address bar, then switch it on here.', tone: 'warning' }] : [],
    mic: q.get('mic') ?? 'on', camera: 'on', screen: shares[0]?.isMine ? 'on' : 'off', muffled: !!q.get('muffled') })
  render(<Call store={store} actions={{ toggleMic: noop, toggleCamera: noop, toggleScreen: noop, say: noop, listen: noop, dismiss: noop, leave: noop }} />, document.getElementById('page')!)
} else {
  const preview: any = { store: new Store<any>({ wanted: { mic: true, camera: true }, picture: q.get('cam') ? face(0) : undefined, hasMic: !!q.get('cam'), problems: q.get('problem') ? ['No camera was found. Connect one, then switch it on here.'] : [], isOpening: false }), want: noop, level: () => 0.7 }
  const notice: any = { expired: { tone: 'problem', title: 'This token has expired', detail: 'Ask for a new one, or make one with “parley token”, and paste it here.', said: 'invalid authorization token: token is expired (exp)' }, left: { tone: 'calm', title: 'You left standup', detail: 'The door stays open: join again whenever you like.' } }[q.get('notice') ?? '']
  const b = (o: object) => btoa(JSON.stringify(o))
  const token = q.get('token') ? `${b({ alg: 'HS256' })}.${b({ video: { room: 'standup' }, name: 'Ada', exp: 1 })}.c2lnbmF0dXJl` : ''
  render(<Lobby config={{ version: '0.1.0', mint: !q.get('nomint') }} wishes={{ name: q.get('name') ?? 'Ada', room: 'standup', mic: true, camera: true }} token={token} notice={notice} isJoining={!!q.get('joining')} preview={preview} onJoin={noop} />, document.getElementById('page')!)
}
