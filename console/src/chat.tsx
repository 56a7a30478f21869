// The conversation in writing, beside the call or, on a phone, over it.

import { useEffect, useRef, useState } from 'preact/hooks'
import { CloseIcon, SendIcon } from './icons'
import type { Message } from './view'

interface ChatProps {
  messages: Message[]
  onSay: (text: string) => void
  onClose: () => void
}

export function Chat({ messages, onSay, onClose }: ChatProps) {
  const [text, setText] = useState('')
  const field = useRef<HTMLTextAreaElement>(null)
  const list = useRef<HTMLDivElement>(null)

  useEffect(() => field.current?.focus(), [])
  useEffect(() => list.current?.scrollTo({ top: list.current.scrollHeight }), [messages.length])

  function say(event: Event) {
    event.preventDefault()
    if (text.trim()) onSay(text.trim())
    setText('')
    field.current?.focus()
  }

  return (
    <aside class="chat" aria-label="Chat" onKeyDown={(event) => event.key === 'Escape' && onClose()}>
      <header>
        <h2>Chat</h2>
        <button type="button" class="quiet" aria-label="Close chat" onClick={onClose}>
          <CloseIcon />
        </button>
      </header>
      {messages.length === 0 ? (
        <div class="chat-empty">
          <p>Nothing said yet.</p>
          <p>Messages reach everyone who is in the room now, and are kept nowhere.</p>
        </div>
      ) : (
        <div ref={list} class="messages" role="log" aria-label="Messages" tabIndex={0}>
          {messages.map((message, index) => (
            <div
              key={message.id}
              class="message"
              data-mine={message.isMine}
              data-follows={follows(message, messages[index - 1])}
            >
              <p class="message-from">
                {message.isMine ? 'You' : message.from} <time dateTime={message.at.toISOString()}>{clock(message.at)}</time>
              </p>
              <p class="message-text">{linked(message.text)}</p>
              {message.failed && <p class="message-failed">Not sent: the connection refused it.</p>}
            </div>
          ))}
        </div>
      )}
      <form onSubmit={say}>
        <textarea
          ref={field}
          rows={1}
          value={text}
          maxLength={4000}
          placeholder="Write to everyone"
          aria-label="Message"
          enterkeyhint="send"
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => event.key === 'Enter' && !event.shiftKey && !event.isComposing && say(event)}
        />
        <button type="submit" class="send" aria-label="Send" disabled={!text.trim()}>
          <SendIcon />
        </button>
      </form>
    </aside>
  )
}

function follows(message: Message, before: Message | undefined): boolean {
  return before?.from === message.from && before.isMine === message.isMine && message.at.getTime() - before.at.getTime() < 120_000
}

function clock(at: Date): string {
  return at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' })
}

/** The text with its web addresses as links. */
function linked(text: string) {
  return text.split(/(https?:\/\/[^\s<>"]*[^\s<>".,;:!?)])/).map((part, index) =>
    index % 2 ? (
      <a href={part} target="_blank" rel="noreferrer noopener">
        {part}
      </a>
    ) : (
      part
    ),
  )
}
