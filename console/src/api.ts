// What the page asks its own server over HTTP.

export interface Config {
  version: string
  mint: boolean // the server gives this page a token
}

/** What the server says of a token when asked: fine, refused with a text, or nothing at all. */
export type Verdict = { kind: 'fine' } | { kind: 'refused'; status: number; said: string } | { kind: 'unreachable' }

/** What is written in a token, unchecked: only the server can tell whether it holds. */
export interface Claims {
  room: string
  name: string
  expires: Date | undefined
}

const PATIENCE_MS = 5000

export async function readConfig(): Promise<Config> {
  try {
    const answer = await fetch('/try/config.json', { signal: AbortSignal.timeout(PATIENCE_MS) })
    if (answer.ok) return (await answer.json()) as Config
  } catch {
    // A page without its server can still say so when somebody tries to join.
  }
  return { version: '', mint: false }
}

/** A token for this room and name. Throws an Error with the server's words. */
export async function mintToken(room: string, name: string): Promise<string> {
  const answer = await fetch('/try/token', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ room, name }),
    signal: AbortSignal.timeout(PATIENCE_MS),
  })
  const body = (await answer.json()) as { token?: string; message?: string }
  if (!answer.ok || !body.token) throw new MintRefused(body.message ?? `the server answered ${answer.status}`)
  return body.token
}

export class MintRefused extends Error {}

/** Ask whether a token would be let in, for the reason when it is not. */
export async function validate(token: string): Promise<Verdict> {
  try {
    const answer = await fetch('/rtc/validate', {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(PATIENCE_MS),
    })
    if (answer.ok) return { kind: 'fine' }
    return { kind: 'refused', status: answer.status, said: (await answer.text()).trim().slice(0, 300) }
  } catch {
    return { kind: 'unreachable' }
  }
}

/** Read a token's claims without checking them, or nothing when it is not a token at all. */
export function readClaims(token: string): Claims | undefined {
  const payload = /^[\w-]+\.([\w-]+)\.[\w-]*$/.exec(token)?.[1]
  if (!payload) return undefined
  try {
    const bytes = Uint8Array.from(atob(payload.replace(/-/g, '+').replace(/_/g, '/')), (c) => c.charCodeAt(0))
    const claims = JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>
    const video = (claims.video ?? {}) as Record<string, unknown>
    return {
      room: text(video.room),
      name: text(claims.name) || text(claims.sub),
      expires: typeof claims.exp === 'number' ? new Date(claims.exp * 1000) : undefined,
    }
  } catch {
    return undefined
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
