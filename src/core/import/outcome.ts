import { errorCode, violatedConstraint } from '../../db/errors.ts'
import type { KnownKey, KnownUser } from './queries.ts'
import type { Fault } from './shape.ts'

/** What became of one user or key; `reason` is a sentence that repeats no secret. */
export type Outcome =
  | { status: 'imported' | 'already_imported'; id: string }
  | { status: 'refused'; reason: string }

export const refused = (reason: string): Outcome => ({ status: 'refused', reason })

/** How many users or keys are written in one transaction. */
export const CHUNK = 100
/** How often in a row another change may come between. */
const ATTEMPTS = 3
/** SQLSTATE: a value that its column does not take. */
const UNFIT = /^(22...|23502|23514)$/
/** SQLSTATE: two transactions waited for each other. */
const DEADLOCK = '40P01'

/**
 * Places items, all of them or none. Where another transaction wrote in the same moment what conflicts with one of
 * them, all are decided on anew, and now see it; where that does not help, each is placed alone, and only those that
 * cannot be placed are refused.
 */
export async function placeTogether<T>(
  items: readonly T[],
  place: (items: readonly T[]) => Promise<Outcome[]>,
): Promise<Outcome[]> {
  if (items.length === 0) return []
  for (let attempt = 1; ; attempt++) {
    try {
      return await place(items)
    } catch (error) {
      const code = errorCode(error) ?? ''
      const isUnfit = UNFIT.test(code)
      if (!isUnfit && violatedConstraint(error) === null && code !== DEADLOCK) throw error
      if (items.length > 1 && (isUnfit || attempt === ATTEMPTS)) break
      if (isUnfit) return [refused('The database does not take one of its values')]
      if (attempt === ATTEMPTS) throw error
    }
  }
  const outcomes: Outcome[] = []
  for (const item of items) outcomes.push(...(await placeTogether([item], place)))
  return outcomes
}

/** Places the items that could be read; the others are refused for their fault. The outcomes come in the order of all. */
export async function placeReadable<T extends object>(
  read: readonly (T | Fault)[],
  place: (items: readonly T[]) => Promise<Outcome[]>,
): Promise<Outcome[]> {
  const isReadable = (each: T | Fault): each is T => !('fault' in each)
  const placed = (await place(read.filter(isReadable))).values()
  return read.map((each) => {
    if (!isReadable(each)) return refused(each.fault)
    return placed.next().value ?? refused('It was not placed')
  })
}

/** The items, a chunk at a time. */
export function* chunksOf<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += CHUNK) yield items.slice(at, at + CHUNK)
}

/** What of this import has been decided to come in. What follows may conflict with it. */
export type Seen = {
  usersByEmail: Map<string, KnownUser>
  usersById: Map<string, KnownUser>
  /** By the hash of the secret, in hex. */
  keysByHash: Map<string, KnownKey>
  keysById: Map<string, KnownKey>
}

export const nothingSeen = (): Seen => ({
  usersByEmail: new Map(),
  usersById: new Map(),
  keysByHash: new Map(),
  keysById: new Map(),
})

/**
 * A dry run: nothing is written. What would have been written is remembered from one chunk to the next, so that what
 * follows has the same outcome as in a real run.
 */
export type Trial = Seen

/** Says how far an import is, in one line for the person who waits. */
export type Tell = (line: string) => void

/** null where it is not a dry run. */
export function newTrial(isTrial: boolean, tell: Tell): Trial | null {
  if (!isTrial) return null
  tell('dry run: nothing is written')
  return nothingSeen()
}

/** What was refused, by the id that it has where it comes from, and why. Never a secret. */
type Refusal = { id: string | number | null; email: string | null; reason: string }

type Tally = { imported: number; already_imported: number; refused: Refusal[] }

/** What an import came to. */
export type Report = { users: Tally; keys: Tally }

const TOLD_EVERY = 1000
/** The longest address that is valid. */
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
