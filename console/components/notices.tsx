import { createStore } from '../lib/store.ts'

/** How long a notice stays: long enough to be read. */
const SHOWN_MS = 6_000
const notices = createStore<readonly { id: number; text: string }[]>([])
let last = 0

/** Says that something is done. A screen reader reads it out. */
export function notify(text: string): void {
  last += 1
  const id = last
  notices.set([...notices.get(), { id, text }])
  setTimeout(() => notices.set(notices.get().filter((notice) => notice.id !== id)), SHOWN_MS)
}

/** The place of the notices. It is always there, or screen readers would miss the first one. */
export function Notices() {
  return (
    <div className="notices" role="status" aria-live="polite">
      {notices.use().map(({ id, text }) => (
        <p key={id}>{text}</p>
      ))}
    </div>
  )
}
