import type { Transaction } from '../../db/database.ts'
import { databaseError, isRetryable } from '../../db/errors.ts'
import { countTowardsDeadline } from '../../lib/deadline.ts'
import { fail } from '../../lib/errors.ts'
import { type AuditEvent, type Origin, recordEvents } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { insertIntoOutbox, type NewMail } from '../mail/queue.ts'
import type { Operator, Principal } from '../principal.ts'
import { findFacts, rereadCaller } from './caller.ts'
import { type Lock, locksOfCaller, planLocks } from './locks.ts'
import { type HeldRows, LOCKABLE, lockRows, queueForOwners, takeAdvisoryLock } from './queries.ts'
import { inTurnOfCaller } from './turns.ts'

export type { Lock } from './locks.ts'
export type { HeldRows, LockMode } from './queries.ts'

/**
 * Writes audit rows within the transaction of a change. The cache entries of their targets are evicted after COMMIT.
 */
export type RecordEvent = (event: AuditEvent | readonly AuditEvent[], by?: Origin) => Promise<void>

/**
 * Writes mails into the outbox, within the transaction of the change. They are sent after COMMIT. Without SMTP_URL it
 * writes nothing.
 */
export type QueueMail = (mail: NewMail | readonly NewMail[]) => Promise<void>

/**
 * The caller of a change. Only a principal depends on rows that may change meanwhile. null: the work itself checks what
 * the caller presented, such as a one-time token.
 */
export type Caller = Principal | Operator | null

/** What the work of a change is given. */
export type Change<C extends Caller> = {
  tx: Transaction
  /** The caller as of now: with the role, scopes and expiry that hold while the locks are held. */
  caller: C
  /** The rows that the change named, and those of the caller. */
  held: HeldRows
  /** The locks that the change named. */
  locks: readonly Lock[]
  /** The time, read after the locks were taken. */
  now: Date
  record: RecordEvent
  queueMail: QueueMail
}

type Locks = readonly Lock[] | (() => Promise<readonly Lock[]>)

type ChangeContext = Pick<Context, 'db' | 'clock' | 'cache' | 'config' | 'mail'>

/** How often a change is repeated after a deadlock or a serialization failure, before the answer is 503. */
const MAX_RETRIES = 2
const RETRY_AFTER_MS = 20

/**
 * Every change of security data goes through this function: a transaction that first locks and rereads the caller's
 * rows and those to change, then does the work and writes its audit rows (docs/decisions/0026).
 *
 * A revocation updates the same rows, so either the change or the revocation waits for the other. Once a revocation has
 * been answered, no server commits a change of that caller any more, even one that began long before. After COMMIT this
 * server's cache drops what the audit rows name; the database tells the other servers.
 *
 * The work may run up to three times. So it must send nothing, and its ids, secrets and hashes must be made outside of
 * it.
 * @param locks the rows on which the work decides or that it will change, in any order; or a function that finds them,
 * which runs anew for each attempt. Work that finds other rows than it has locked throws `changedMeanwhile`.
 * @throws Problem invalid_token where the caller's credential is no longer valid, what `origin.authorize` throws where
 * the caller may no longer use the entry point, and what `work` throws
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
      const attempt = () => attemptChange(context, origin, caller, named, work)
      return await inTurnOfCaller(context.db, context.config.databasePoolSize, caller, attempt)
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
  let hasMail = false
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
      // `reread` has the same kind as `caller`, which the compiler cannot infer.
      const now = new Date(context.clock())
      const queueMail: QueueMail = async (written) => {
        if (!context.mail.isOn) return
        await insertIntoOutbox(tx, now, 'kind' in written ? [written] : written)
        hasMail = true
      }
      return work({ tx, caller: (reread ?? caller) as C, held, locks, now, record, queueMail })
    })
  } finally {
    // Also after an error, because a COMMIT whose answer was lost may have succeeded.
    for (const target of touched) context.cache.evict(target.type, target.id)
    if (hasMail) context.mail.wake()
  }
}

/** The error for work that needs locks on other rows than were found before. The change is repeated. */
export const changedMeanwhile = (): Error =>
  databaseError('CHANGED_MEANWHILE', 'rows changed between being found and being locked')

/**
 * Takes all locks in one round trip. PostgreSQL runs the statements in the order in which they stand here
 * (tests/api/change-locks.test.ts).
 */
async function takeLocks(tx: Transaction, locks: readonly Lock[], caller: Principal | null) {
  const { advisory, queues, steps } = planLocks(locks)
  const advised = Promise.all(advisory.map((name) => takeAdvisoryLock(tx, name)))
  const queueing = queues.length > 0 ? queueForOwners(tx, queues) : null
  const locking = Promise.all(steps.map((step) => lockRows(tx, step)))
  const [, , locked, facts] = await Promise.all([advised, queueing, locking, findFacts(tx, caller)])
  const held: HeldRows = {
    users: new Map(),
    serviceAccounts: new Map(),
    clients: new Map(),
    resources: new Map(),
    oauthGrants: new Map(),
    sessions: new Map(),
    keys: new Map(),
    secrets: new Map(),
    signingKeys: new Map(),
    portalSessions: new Map(),
    managers: new Map(),
  }
  for (const [at, { what }] of steps.entries()) {
    const rows = held[LOCKABLE[what].table] as Map<string, { id: string }>
    for (const row of locked[at] ?? []) rows.set(row.id, row)
  }
  return { held, facts }
}
