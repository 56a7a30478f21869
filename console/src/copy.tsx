// A button that copies the room's link, for the next person to open.

import { useEffect, useState } from 'preact/hooks'
import { LinkIcon } from './icons'
import { linkTo } from './memory'

export function CopyLink({ room, isBig = false }: { room: string; isBig?: boolean }) {
  const [isCopied, setCopied] = useState(false)
  useEffect(() => {
    if (!isCopied) return
    const timer = setTimeout(() => setCopied(false), 2500)
    return () => clearTimeout(timer)
  }, [isCopied])

  async function copy() {
    const link = linkTo(room)
    try {
      await navigator.clipboard.writeText(link)
      setCopied(true)
    } catch {
      // Pages without HTTPS have no clipboard; a dialogue lets the link be copied by hand.
      window.prompt('The link to this room:', link)
    }
  }

  return (
    <button type="button" class={isBig ? 'button' : 'copy'} onClick={() => void copy()}>
      <LinkIcon />
      <span aria-live="polite">{isCopied ? 'Link copied' : 'Copy link'}</span>
    </button>
  )
}
