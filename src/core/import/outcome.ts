import { errorCode, violatedConstraint } from '../../db/errors.ts'
import type { KnownKey, KnownUser } from './queries.ts'
import type { Fault } from './shape.ts'

/** The result for one user or key. `reason` is a sentence that repeats no secret. */
export type Outcome =
  | { status: 'imported' | 'already_imported'; id: string }
  | { status: 'refused'; reason: string }

/** @param reason a sentence that repeats no secret */
export const refused = (reason: string): Outcome => ({ status: 'refused', reason })

/** Users or keys per transaction. */
export const CHUNK = 100
/** How often a chunk is tried where other changes conflict with it. */
const ATTEMPTS = 3
/** SQLSTATE codes of a value that its column does not accept. */
const UNFIT = /^(22...|23502|23514)$/
/** SQLSTATE of a deadlock: two transactions waited for each other. */
const DEADLOCK = '40P01'

/**
 * Writes items, all of them or none. Where a transaction that ran at the same time conflicts with one of them, the
 * outcome of all is decided again, now with its rows in sight. Where that fails as well, each item is written alone,
 * and only those that cannot be written are refused.
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

/**
 * Writes the items that could be read, and refuses the others for their fault.
 * @returns the outcomes, in the order of all items
 */
export async function placeReadable<T extends object>(
  read: readonly (T | Fault)[],
  place: (items: readonly T[]) => Promise<Outcome[]>,
): Promise<Outcome[]> {
  const isReadable = (each: T | Fault): each is T => !('fault' in each)
  const placed = (await place(read.filter(isReadable))).values()
  return read.map((each) => {
    if (!isReadable(each)) return refused(each.fault)
    return placed.next().value ?? refused('The item was not imported')
  })
}

/** The items in chunks of at most `CHUNK`. */
export function* chunksOf<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += CHUNK) yield items.slice(at, at + CHUNK)
}

/** The users and keys that this import has accepted so far. Later items may conflict with them. */
export type Seen = {
  usersByEmail: Map<string, KnownUser>
  usersById: Map<string, KnownUser>
  /** By the SHA-256 of the secret, in hex. */
  keysByHash: Map<string, KnownKey>
  keysById: Map<string, KnownKey>
}

/** The state at the beginning of an import. */
export const nothingSeen = (): Seen => ({
  usersByEmail: new Map(),
  usersById: new Map(),
  keysByHash: new Map(),
  keysById: new Map(),
})

/**
 * The state of a dry run, which writes nothing. Accepted items are remembered from chunk to chunk, so that later items
 * get the same outcome as in a real run.
 */
export type Trial = Seen

/** Reports progress, one line of text for the person who waits. */
export type Tell = (line: string) => void

/** The state of a dry run; null where the import is not one. */
export function newTrial(isTrial: boolean, tell: Tell): Trial | null {
  if (!isTrial) return null
  tell('dry run: nothing is written')
  return nothingSeen()
}

/** A refused item: its id at the source, and the reason. Never holds a secret. */
type Refusal = { id: string | number | null; email: string | null; reason: string }

type Tally = { imported: number; already_imported: number; refused: Refusal[] }

/** The result of an import, for users and for keys. */
export type Report = { users: Tally; keys: Tally }

const TOLD_EVERY = 1000
/** The length of the longest valid address. A longer text in its place is cut in the report. */
const MAX_EMAIL_LENGTH = 254

/** The report at the beginning of an import. */
export const newReport = (): Report => ({ users: newTally(), keys: newTally() })

const newTally = (): Tally => ({ imported: 0, already_imported: 0, refused: [] })

/** Adds one outcome to the report, and reports progress every thousand items. */
export function count(
  report: Report,
  kind: keyof Report,
  outcome: Outcome,
  from: { id: string | number | null; email: string | null },
  tell: Tell,
): void {
  const tally = report[kind]
  if (outcome.status === 'refused') {
    const email = from.email?.slice(0, MAX_EMAIL_LENGTH) ?? null
    tally.refused.push({ id: from.id, email, reason: outcome.reason })
  } else {
    tally[outcome.status] += 1
  }
  const done = tally.imported + tally.already_imported + tally.refused.length
  if (done % TOLD_EVERY === 0) tell(`${done} ${kind} so far`)
}
