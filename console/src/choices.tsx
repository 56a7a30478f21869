// Which microphone, camera and speaker to use, in a dialogue over the call.

import { useEffect, useRef, useState } from 'preact/hooks'
import { CloseIcon } from './icons'
import type { CallActions, Choice } from './view'

const LABELS: Record<MediaDeviceKind, string> = { audioinput: 'Microphone', videoinput: 'Camera', audiooutput: 'Speaker' }

export function Choices({ actions, onClose }: { actions: CallActions; onClose: () => void }) {
  const [choices, setChoices] = useState<Choice[]>()
  const dialog = useRef<HTMLDialogElement>(null)

  useEffect(() => {
    const list = () => void actions.choices().then(setChoices)
    list()
    dialog.current?.showModal()
    navigator.mediaDevices.addEventListener('devicechange', list)
    return () => navigator.mediaDevices.removeEventListener('devicechange', list)
  }, [])

  // Closing it ourselves gives the focus back to the button that opened it.
  const close = () => dialog.current?.close()

  async function choose(kind: MediaDeviceKind, id: string) {
    await actions.choose(kind, id)
    setChoices(await actions.choices())
  }

  return (
    <dialog
      ref={dialog}
      class="choices"
      aria-labelledby="choices-title"
      onClose={onClose}
      onClick={(event) => event.target === dialog.current && close()}
    >
      <div class="choices-inside">
        <header>
          <h2 id="choices-title">Devices</h2>
          <button type="button" class="quiet" aria-label="Close devices" onClick={close}>
            <CloseIcon />
          </button>
        </header>
        {choices?.length === 0 && <p>The browser shows no devices yet. It does once microphone or camera are allowed.</p>}
        {choices?.map(({ kind, chosen, options }) => (
          <div key={kind} class="field">
            <label for={kind}>{LABELS[kind]}</label>
            <select id={kind} value={chosen} onChange={(event) => void choose(kind, event.currentTarget.value)}>
              {options.map(({ id, label }) => (
                <option key={id} value={id}>
                  {label}
                </option>
              ))}
            </select>
          </div>
        ))}
      </div>
    </dialog>
  )
}
