import { useState } from 'react'
import { texts } from '../texts.ts'

const SAID_MS = 2_000

/** Copies a text. `label` says which, where the button does not stand beside it. */
export function Copy({
  text,
  label,
  button = texts.actions.copy,
}: {
  text: string
  label?: string
  button?: string
}) {
  const [said, setSaid] = useState<string | null>(null)
  const copy = async () => {
    // Browsers have no clipboard on plain http beyond loopback.
    const done = await navigator.clipboard?.writeText(text).then(
      () => true,
      () => false,
    )
    setSaid(done ? texts.actions.copied : texts.actions.copyFailed)
    setTimeout(() => setSaid(null), SAID_MS)
  }
  return (
    <button type="button" className="plain small" aria-label={said ?? label} onClick={copy}>
      {said ?? button}
    </button>
  )
}
