import { errorCode, violatedConstraint } from '../../db/errors.ts'
import type { Fault } from './shape.ts'

/** What became of one user or key; `reason` is a sentence that repeats no secret. */
export type Outcome =
  | { status: 'imported' | 'already_imported'; id: string }
  | { status: 'refused'; reason: string }

export const refused = (reason: string): Outcome => ({ status: 'refused', reason })

/** How many are written at once: each of them whole, since all of them are. */
export const CHUNK = 100
/** As often as others may come between, in a row. */
const ATTEMPTS = 3
/** SQLSTATE: a value that its column does not take. */
const UNFIT = /^(22...|23502|23514)$/
/** SQLSTATE: two waited for each other. */
const DEADLOCK = '40P01'

/**
 * Places items, all of them or none. Where somebody else wrote what stands against one in the same moment, all are
 * decided on anew, in their sight; where that does not help, each is placed alone, and only what cannot be is refused.
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

/** Places those that could be read; the others are refused for their fault. The outcomes come in the order of all. */
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
