import type { Outcome } from './outcome.ts'

/** What was refused, by the id that it has where it comes from, and why. Never a secret. */
export type Refusal = { id: string | number | null; email: string | null; reason: string }

export type Tally = { imported: number; already_imported: number; refused: Refusal[] }

/** What an import came to. */
export type Report = { users: Tally; keys: Tally }

/** Says how far an import is, in one line for the person who waits. */
export type Tell = (line: string) => void

const TOLD_EVERY = 1000
/** Longer than any address that is one. */
const MAX_SHOWN_EMAIL = 254

export const newReport = (): Report => ({ users: newTally(), keys: newTally() })

const newTally = (): Tally => ({ imported: 0, already_imported: 0, refused: [] })

/** Counts one outcome, and tells of every thousandth. */
export function count(
  report: Report,
  kind: keyof Report,
  outcome: Outcome,
  from: { id: string | number | null; email: string | null },
  tell: Tell,
): void {
  const tally = report[kind]
  if (outcome.status === 'refused') {
    const email = from.email?.slice(0, MAX_SHOWN_EMAIL) ?? null
    tally.refused.push({ id: from.id, email, reason: outcome.reason })
  } else {
    tally[outcome.status] += 1
  }
  const done = tally.imported + tally.already_imported + tally.refused.length
  if (done % TOLD_EVERY === 0) tell(`${done} ${kind} so far`)
}
