import type { Transaction } from '../../db/database.ts'
import { databaseError, isRetryable } from '../../db/errors.ts'
import { countTowardsDeadline } from '../../lib/deadline.ts'
import { fail } from '../../lib/errors.ts'
import { type AuditEvent, type Origin, recordEvents } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import type { Operator, Principal } from '../principal.ts'
import { findFacts, rereadCaller } from './caller.ts'
import { type Lock, locksOfCaller, planLocks } from './locks.ts'
import { type HeldRows, LOCKABLE, lockRows, queueForOwners, takeAdvisoryLock } from './queries.ts'

export type { Lock } from './locks.ts'
export type { HeldRows, LockMode } from './queries.ts'

/** Tells of changes within their transaction; what they name as a target is evicted after COMMIT. */
export type RecordEvent = (event: AuditEvent | readonly AuditEvent[], by?: Origin) => Promise<void>

/** Who makes a change; null: whoever holds what the work itself checks. Only a principal stands on rows that may end. */
export type Caller = Principal | Operator | null

/** What the work of a change is given. */
export type Change<C extends Caller> = {
  tx: Transaction
  /** The caller as of now: with the role, the scopes and the end that hold while the locks are held. */
  caller: C
  /** The rows that the change asked for, and those of the caller. */
  held: HeldRows
  /** What the change asked for. */
  locks: readonly Lock[]
  /** Read after the locks were taken. */
  now: Date
  record: RecordEvent
}

type Locks = readonly Lock[] | (() => Promise<readonly Lock[]>)

type ChangeContext = Pick<Context, 'db' | 'clock' | 'cache' | 'config'>

/** How often a change is tried again after a deadlock or a serialization failure, before the answer is 503. */
const MAX_RETRIES = 2
const RETRY_AFTER_MS = 20

/**
 * The one way to change security data: a transaction that first locks, and reads again, the rows that the caller stands
 * on and those that will change; then does the work and writes its audit rows (docs/decisions/0026).
 *
 * A revocation updates the same rows, so one of the two waits for the other: once a revocation is acknowledged, no change
 * of that caller is committed on any server, however long it was under way. After COMMIT this server's cache forgets what
 * the audit rows name; the other servers hear of it from the database.
 *
 * The work may run up to three times, so it sends nothing, and takes ids, secrets and hashes from outside.
 * @param locks the rows that the work decides by or will change, in any order; or how to find them, where that takes a
 * query, which is asked anew for each attempt. Work that finds other rows than it has locked throws `changedMeanwhile`.
 * @throws Problem invalid_token where the caller's credential is dead now, what `origin.authorize` throws where the
 * caller lacks what the entry point asks for, and what `work` throws
 * @example
 * await recordChange(context, origin, caller, [['keys', id, 'no key update']], async ({ tx, held, record }) => {
 *   const key = held.keys.get(id) ?? fail('not_found')
 *   await updateKey(tx, key.id, { isActive: false })
 *   await record({ action: 'key.updated', target: { type: 'key', id } })
 * })
 */
export async function recordChange<C extends Caller, R>(
  context: ChangeContext,
  origin: Origin,
  caller: C,
  locks: Locks,
  work: (change: Change<C>) => Promise<R>,
): Promise<R> {
  for (let retries = 0; ; retries++) {
    try {
      const named = typeof locks === 'function' ? await locks() : locks
      return await attemptChange(context, origin, caller, named, work)
    } catch (error) {
      if (retries === MAX_RETRIES || !isRetryable(error)) throw error
      await countTowardsDeadline(() => Bun.sleep(RETRY_AFTER_MS * 2 ** retries * (0.5 + Math.random())))
    }
  }
}

async function attemptChange<C extends Caller, R>(
  context: ChangeContext,
  origin: Origin,
  caller: C,
  locks: readonly Lock[],
  work: (change: Change<C>) => Promise<R>,
): Promise<R> {
  const touched: NonNullable<AuditEvent['target']>[] = []
  const principal: Principal | null = caller === null || caller.kind === 'operator' ? null : caller
  const all = principal ? [...locksOfCaller(principal), ...locks] : locks
  try {
    return await context.db.transaction(async (tx) => {
      const { held, facts } = await takeLocks(tx, all, principal)
      const reread = principal && rereadCaller(context, principal, held, facts)
      if (principal && !reread) fail('invalid_token')
      if (reread) origin.authorize?.(reread)
      const record: RecordEvent = async (told, by = origin) => {
        const events = 'action' in told ? [told] : told
        if (events.length > 0) await recordEvents(tx, context, by, events)
        for (const { target } of events) if (target) touched.push(target)
      }
      // A reread principal is of the caller's own kind.
      const now = new Date(context.clock())
      return work({ tx, caller: (reread ?? caller) as C, held, locks, now, record })
    })
  } finally {
    // Also after an error: a COMMIT whose answer was lost may have held.
    for (const target of touched) context.cache.evict(target.type, target.id)
  }
}

/** What work throws where other rows would have to be locked than were found before: the change is tried again. */
export const changedMeanwhile = (): Error =>
  databaseError('CHANGED_MEANWHILE', 'rows changed between being found and being locked')

/** One round trip: the statements are sent in the order in which they stand here (tests/api/change-locks.test.ts). */
async function takeLocks(tx: Transaction, locks: readonly Lock[], caller: Principal | null) {
  const { advisory, queues, steps } = planLocks(locks)
  const advised = Promise.all(advisory.map((name) => takeAdvisoryLock(tx, name)))
  const queueing = queues.length > 0 ? queueForOwners(tx, queues) : null
  const locking = Promise.all(steps.map((step) => lockRows(tx, step)))
  const [, , locked, facts] = await Promise.all([advised, queueing, locking, findFacts(tx, caller)])
  const held: HeldRows = {
    users: new Map(),
    serviceAccounts: new Map(),
    sessions: new Map(),
    keys: new Map(),
    secrets: new Map(),
    signingKeys: new Map(),
  }
  for (const [at, { what }] of steps.entries()) {
    const rows = held[LOCKABLE[what].table] as Map<string, { id: string }>
    for (const row of locked[at] ?? []) rows.set(row.id, row)
  }
  return { held, facts }
}
