import type { Database } from '../../db/database.ts'
import { databaseError, isRetryable } from '../../db/errors.ts'
import { preparedFor } from '../../db/prepared.ts'
import { countTowardsDeadline, withDeadline } from '../../lib/deadline.ts'
import { SECOND_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import type { KeyPrincipal } from '../principal.ts'
import { chargeBill, listCreditsOf, type ReadCredits, updateRefilled } from './queries.ts'
import { creditsAt, findDueRefill, timeToCover } from './refills.ts'

/**
 * The result of charging a use to a key and to its owner. null: there are no credits to count. `limitedBy` is the first of the
 * two that has too few. `refill` is the amount of its next refill if that covers the cost, else 0. No time to retry can be
 * named where no refill will do.
 */
export type Charge =
  | { code: 'VALID'; remaining: number | null; ownerRemaining: number | null }
  | {
      code: 'CREDITS_EXHAUSTED'
      limitedBy: 'key' | 'owner'
      refill: number
      retryAfterSeconds: number | null
    }

/** The key that a use is charged to, and whether it and its owner have credits at all. */
type Charged = Pick<KeyPrincipal, 'keyId' | 'hasCredits' | 'hasOwnerCredits'> & { owner: { id: string } }

type ChargeContext = Pick<Context, 'db' | 'clock'>

/** A use that waits to be charged. */
type Waiting = PromiseWithResolvers<Charge> & {
  keyId: string | null
  ownerId: string | null
  cost: number
  clock: Context['clock']
  since: number
}

/** The uses that one statement charges. */
const MAX_TOGETHER = 1000
/** What waits for one owner beyond this number is refused at once, as by the pool. */
const MAX_WAITING = 10_000
/** A refill that is made again and again, by clocks that differ by more than an interval, ends here. */
const MAX_REFILLS = 10
const MAX_RETRIES = 2

/**
 * Takes the cost of a use from the key and from its owner, together or not at all. Uses of one owner that come while a charge
 * of that owner is under way share the next statement, so that a thousand of them do not wait for the same row one by one.
 * @param cost 0 takes nothing, and returns what remains
 * @throws Error for which `isUnavailable` is true
 */
export function chargeUse(context: ChargeContext, key: Charged, cost: number): Promise<Charge> {
  if (cost === 0) return previewCharge(context, key.keyId, key.owner.id, 0)
  return countTowardsDeadline(() => chargesOf(context.db)(key, cost, context.clock))
}

/** What charging a use would come to now; takes nothing. */
export async function previewCharge(
  { db, clock }: ChargeContext,
  keyId: string,
  ownerId: string,
  cost: number,
): Promise<Charge> {
  const nowMs = clock()
  const rows = (await listCreditsOf(db, keyId, ownerId)).map((row) => ({
    ...row,
    credits: creditsAt(row.credits, nowMs),
  }))
  if (rows.some((row) => isShort(row, cost))) return refuse(rows, cost, nowMs)
  const left = (of: ReadCredits['of']) => {
    const row = rows.find((each) => each.of === of)
    return row ? row.credits.remaining - cost : null
  }
  return { code: 'VALID', remaining: left('key'), ownerRemaining: left('owner') }
}

/** The charges of a database, by what they wait for: an owner with credits, else a key. */
const chargesOf = preparedFor((db) => {
  /** What waits while a charge is under way. */
  const queues = new Map<string, Waiting[]>()

  const chargeQueue = async (name: string, queue: Waiting[]) => {
    for (let group = queue.splice(0, MAX_TOGETHER); group.length > 0; group = queue.splice(0, MAX_TOGETHER))
      await chargeGroup(db, group)
    queues.delete(name)
  }

  return ({ keyId, owner, hasCredits, hasOwnerCredits }: Charged, cost: number, clock: Context['clock']) => {
    const each: Waiting = {
      ...Promise.withResolvers<Charge>(),
      keyId: hasCredits ? keyId : null,
      ownerId: hasOwnerCredits ? owner.id : null,
      cost,
      clock,
      since: performance.now(),
    }
    const name = hasOwnerCredits ? owner.id : keyId
    const queue = queues.get(name)
    if (queue && queue.length >= MAX_WAITING)
      throw databaseError('POOL_FULL', `${MAX_WAITING} uses already wait for the credits of one owner.`)
    if (queue) queue.push(each)
    else {
      const first = [each]
      queues.set(name, first)
      void chargeQueue(name, first)
    }
    return each.promise
  }
})

/**
 * Charges uses together. Where they do not all fit, each half is charged by itself, the earlier one first, down to single
 * uses: the same are charged as one after the other in the order of their arrival. Never rejects.
 */
async function chargeGroup(db: Database, group: readonly Waiting[]): Promise<void> {
  try {
    const { isCharged, rows, nowMs } = await chargeOnce(db, group)
    if (isCharged) return settle(group, rows)
    if (group.every((each) => rows.some((row) => isShortFor(row, each)))) {
      for (const each of group) each.resolve(refuse(rowsOf(rows, each), each.cost, nowMs))
      return
    }
  } catch (error) {
    for (const { reject } of group) reject(error)
    return
  }
  const half = Math.ceil(group.length / 2)
  await chargeGroup(db, group.slice(0, half))
  await chargeGroup(db, group.slice(half))
}

/** Asks for the charge of all, and makes the refills that are due first. The deadline is that of the use that waits longest. */
async function chargeOnce(db: Database, group: readonly Waiting[]) {
  const [first] = group
  if (!first) throw new Error('A charge of nothing')
  const bill = billOf(group)
  for (let refills = 0, retries = 0; refills < MAX_REFILLS; ) {
    const nowMs = first.clock()
    const charged = await inTime(first, () => chargeBill(db, bill, new Date(nowMs))).catch(
      (error: unknown) => {
        // A deadlock with a deletion of these keys. Nothing was charged.
        if (retries++ === MAX_RETRIES || !isRetryable(error)) throw error
        return null
      },
    )
    if (charged === null) continue
    const due = charged.rows.flatMap((row) => {
      const refill = findDueRefill(row.credits, nowMs)
      return refill ? [{ row, refill }] : []
    })
    for (const { row, refill } of due) await inTime(first, () => updateRefilled(db, row, refill))
    if (charged.isCharged || due.length === 0) return { ...charged, nowMs }
    refills += 1
  }
  throw databaseError('CHANGED_MEANWHILE', `Credits were due for a refill ${MAX_REFILLS} times in a row.`)
}

const inTime = <T>({ since }: Waiting, ask: () => Promise<T>): Promise<T> =>
  withDeadline(ask, performance.now() - since)

function billOf(group: readonly Waiting[]) {
  const keys = new Map<string, number>()
  let ownerId: string | null = null
  let ownerCost = 0
  for (const each of group) {
    if (each.keyId !== null) keys.set(each.keyId, (keys.get(each.keyId) ?? 0) + each.cost)
    if (each.ownerId === null) continue
    ownerId = each.ownerId
    ownerCost += each.cost
  }
  return { keys, ownerId, ownerCost }
}

/** Tells each use what remained after it, in the order of their arrival. */
function settle(group: readonly Waiting[], rows: readonly ReadCredits[]): void {
  const left = new Map(rows.map(({ id, credits }) => [id, credits.remaining]))
  const take = (id: string | null, cost: number): number | null => {
    const had = id === null ? undefined : left.get(id)
    if (id === null || had === undefined) return null
    left.set(id, had - cost)
    return had - cost
  }
  for (const { keyId, ownerId, cost, resolve } of group)
    resolve({ code: 'VALID', remaining: take(keyId, cost), ownerRemaining: take(ownerId, cost) })
}

const isShort = ({ credits }: ReadCredits, cost: number) => credits.remaining < cost
const isShortFor = (row: ReadCredits, each: Waiting) =>
  (row.id === each.keyId || row.id === each.ownerId) && isShort(row, each.cost)
const rowsOf = (rows: readonly ReadCredits[], { keyId, ownerId }: Waiting) =>
  rows.filter(({ id }) => id === keyId || id === ownerId)

/** @param rows the key's first; at least one of them has too few */
function refuse(rows: readonly ReadCredits[], cost: number, nowMs: number): Charge {
  const short = rows.filter((row) => isShort(row, cost))
  const [first] = short
  if (!first) throw new Error('A refusal without a reason')
  const waits = short.map(({ credits }) => timeToCover(credits, cost)?.getTime() ?? Infinity)
  const waitMs = Math.max(...waits) - nowMs
  return {
    code: 'CREDITS_EXHAUSTED',
    limitedBy: first.of,
    refill: waits[0] === Infinity ? 0 : (first.credits.refill?.amount ?? 0),
    retryAfterSeconds: waitMs === Infinity ? null : Math.max(1, Math.ceil(waitMs / SECOND_MS)),
  }
}
