import type { Database } from '../../db/database.ts'
import { countTowardsDeadline } from '../../lib/deadline.ts'

/** The last work of each name that has not ended, by database. */
const turns = new WeakMap<Database, Map<string, Promise<unknown>>>()

/**
 * Runs work after the work of the same name that this instance began before. A hundred requests for one row then hold one
 * connection of the pool, instead of all of them while they wait for each other's lock. The wait counts towards the
 * request's deadline.
 */
export async function inTurn<R>(db: Database, name: string, work: () => Promise<R>): Promise<R> {
  const names = turns.get(db) ?? new Map<string, Promise<unknown>>()
  turns.set(db, names)
  const before = names.get(name)
  const { promise: ended, resolve: end } = Promise.withResolvers<void>()
  const mine = before ? before.then(() => ended) : ended
  names.set(name, mine)
  try {
    if (before) await countTowardsDeadline(() => before)
    return await work()
  } finally {
    end()
    if (names.get(name) === mine) names.delete(name)
  }
}
