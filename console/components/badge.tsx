import { texts } from '../texts.ts'

const TONES: Record<string, 'good' | 'warn' | 'bad'> = {
  active: 'good',
  imported: 'good',
  new: 'good',
  sent: 'good',
  waiting: 'warn',
  failed: 'bad',
  suspended: 'bad',
  unused: 'warn',
  expiring: 'warn',
  exhausted: 'warn',
  disabled: 'bad',
  owner_disabled: 'bad',
  expired: 'bad',
  revoked: 'bad',
  signing: 'good',
  success: 'good',
  refused: 'bad',
}

/** A state in a word; its colour only repeats it. */
export function Badge({ state }: { state: string }) {
  return <span className={`badge ${TONES[state] ?? ''}`}>{texts.states[state] ?? state}</span>
}

/** Whether a thing is enabled, in a badge and a sentence. */
export function Activity({
  isActive,
  words,
}: {
  isActive: boolean
  words: { active: string; inactive: string }
}) {
  return (
    <>
      <Badge state={isActive ? 'active' : 'disabled'} /> {isActive ? words.active : words.inactive}
    </>
  )
}
