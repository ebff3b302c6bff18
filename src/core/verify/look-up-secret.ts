import type { Database } from '../../db/database.ts'
import { databaseError } from '../../db/errors.ts'
import { preparedFor } from '../../db/prepared.ts'
import { countTowardsDeadline, withDeadline } from '../../lib/deadline.ts'
import { type VerifyQueries, verifyQueriesOf } from './queries.ts'

type SecretRow = Awaited<ReturnType<VerifyQueries['findSecret']['execute']>>[number]
type Waiting = PromiseWithResolvers<SecretRow | null> & { hash: string; since: number }

/** The number of secrets that one statement looks up. */
const MAX_TOGETHER = 256
/** The number of statements at once. What comes meanwhile waits, and shares the next one. */
const MAX_STATEMENTS = 4
/** What waits beyond this number is refused at once, as by the pool. */
const MAX_WAITING = 10_000

/**
 * Finds a secret, valid or not, by its hash; null: there is no such secret. Secrets that are asked for in the same turn of the event
 * loop, or while earlier statements are under way, share a statement. It is never sent before it was asked for.
 * @throws Error for which `isUnavailable` is true
 */
export const lookUpSecret = (db: Database, hash: Uint8Array): Promise<SecretRow | null> =>
  countTowardsDeadline(() => lookUpsOf(db)(hash))

const lookUpsOf = preparedFor((db) => {
  let waiting: Waiting[] = []
  let statements = 0
  let isScheduled = false

  const schedule = () => {
    if (isScheduled || waiting.length === 0 || statements >= MAX_STATEMENTS) return
    isScheduled = true
    setImmediate(sendNext)
  }
  const sendNext = () => {
    isScheduled = false
    const batch = waiting.slice(0, MAX_TOGETHER)
    waiting = waiting.slice(MAX_TOGETHER)
    statements += 1
    void send(db, batch).finally(() => {
      statements -= 1
      schedule()
    })
    schedule()
  }
  return (hash: Uint8Array) => {
    if (waiting.length >= MAX_WAITING)
      throw databaseError('POOL_FULL', `${MAX_WAITING} look-ups already wait for the database.`)
    const each = {
      ...Promise.withResolvers<SecretRow | null>(),
      hash: hash.toHex(),
      since: performance.now(),
    }
    waiting.push(each)
    schedule()
    return each.promise
  }
})

/** The statement has the deadline of the request that has waited longest. */
async function send(db: Database, batch: readonly Waiting[]): Promise<void> {
  const waitedMs = performance.now() - (batch[0]?.since ?? 0)
  const hashes = batch.map(({ hash }) => `\\x${hash}`)
  try {
    const rows = await withDeadline(() => verifyQueriesOf(db).findSecrets.execute({ hashes }), waitedMs)
    const found = new Map(rows.map(({ hash, ...row }) => [hash.toHex(), row]))
    for (const { hash, resolve } of batch) resolve(found.get(hash) ?? null)
  } catch (error) {
    for (const { reject } of batch) reject(error)
  }
}
