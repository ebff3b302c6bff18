/** What many people allowed ends with its client or its resource: in steps, since it may be a hundred thousand rows. */
import type { Transaction } from '../../db/database.ts'
import { withDeadline } from '../../lib/deadline.ts'
import { fail } from '../../lib/errors.ts'
import type { AuditEvent, Origin } from '../audit/audit.ts'
import { type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import type { AdminPrincipal, Operator } from '../principal.ts'
import { grantEnded } from './ended.ts'
import {
  deleteGrants,
  detachSessions,
  type GrantsOf,
  hasGrants,
  listGrantsAfter,
  listSessionsOfGrants,
  type NamedGrant,
  updateSessionsEnded,
} from './queries.ts'

type Administrator = AdminPrincipal | Operator

/** Grants, and sessions, of a step. Ending this many takes a fraction of DATABASE_STATEMENT_TIMEOUT_MS. */
const STEP = 2000

/** Some grants, and sessions under them. `hasAll`: there are no more sessions under these grants. */
type Part = { grants: readonly NamedGrant[]; sessions: readonly string[]; hasAll: boolean }

async function findPart(
  { db }: Context,
  of: GrantsOf,
  after: string | null,
  which: 'live' | 'all',
): Promise<Part> {
  const grants = await listGrantsAfter(db, of, after, STEP)
  const ids = grants.map(({ id }) => id)
  const sessions = ids.length === 0 ? [] : await listSessionsOfGrants(db, ids, which, STEP)
  return { grants, sessions, hasAll: sessions.length < STEP }
}

const sessionsEnded = ({ table, id }: GrantsOf, reason: string, sessions: number): AuditEvent => ({
  action: 'session.ended',
  target: { type: table === 'clients' ? 'client' : 'resource', id },
  details: { reason, sessions },
})
const locksOfSessions = ({ sessions }: Part): Lock[] =>
  sessions.map((id) => ['sessions', id, 'no key update'])

/**
 * Ends, in steps, every session under a client or for a resource that is disabled. Its tokens are refused already, and no
 * session begins. Where the client or the resource is enabled between two steps, that change has ended the rest.
 */
export async function endSessionsOfDisabled(
  context: Context,
  origin: Origin,
  caller: Administrator,
  of: GrantsOf,
  reason: string,
): Promise<void> {
  let after: string | null = null
  for (;;) {
    const part: Part = await withDeadline(() => findPart(context, of, after, 'live'))
    const isDisabled =
      part.sessions.length === 0 ||
      (await withDeadline(() => endPart(context, origin, caller, of, part, reason)))
    if (!isDisabled || (part.hasAll && part.grants.length < STEP)) return
    if (part.hasAll) after = part.grants.at(-1)?.id ?? null
  }
}

/** @returns whether the client or the resource is still disabled */
function endPart(
  context: Context,
  origin: Origin,
  caller: Administrator,
  of: GrantsOf,
  part: Part,
  reason: string,
): Promise<boolean> {
  const locks: Lock[] = [[of.table, of.id, 'share'], ...locksOfSessions(part)]
  return recordChange(context, origin, caller, locks, async ({ tx, held, now, record }) => {
    if (held[of.table].get(of.id)?.isActive !== false) return false
    const sessions = await updateSessionsEnded(tx, part.sessions, now, reason)
    if (sessions > 0) await record(sessionsEnded(of, reason, sessions))
    return true
  })
}

/** How many ended in the steps of one request. */
export type Ended = { grants_ended: number; sessions_ended: number }

type Deletion = {
  of: GrantsOf
  reason: string
  /** Disables the client or the resource, in the first step of several: what stands on it is refused from then on. */
  disable(change: Change<Administrator>): Promise<void>
  /** Deletes it, in the last step. */
  remove(change: Change<Administrator>, ended: Ended): Promise<void>
}

/**
 * Deletes a client or a resource with its grants, and ends every session under them, in steps. Where the work stops between
 * two steps, the same request continues it.
 * @throws Problem not_found
 */
export async function deleteWithGrants(
  context: Context,
  origin: Origin,
  caller: Administrator,
  deletion: Deletion,
): Promise<void> {
  const total: Ended = { grants_ended: 0, sessions_ended: 0 }
  for (let isDone = false; !isDone; ) {
    const step = await withDeadline(() => deletePart(context, origin, caller, deletion, total))
    isDone = step.isDone
    total.grants_ended += step.grants_ended
    total.sessions_ended += step.sessions_ended
  }
}

async function deletePart(
  context: Context,
  origin: Origin,
  caller: Administrator,
  { of, reason, disable, remove }: Deletion,
  before: Ended,
): Promise<Ended & { isDone: boolean }> {
  let part: Part = { grants: [], sessions: [], hasAll: true }
  const locks = async (): Promise<Lock[]> => {
    part = await findPart(context, of, null, 'all')
    return [
      [of.table, of.id, 'update'],
      ...part.grants.map(({ id }): Lock => ['oauthGrants', id, 'update']),
      ...locksOfSessions(part),
    ]
  }
  return recordChange(context, origin, caller, locks, async (change) => {
    const { tx, held, now, record } = change
    const row = held[of.table].get(of.id)
    if (!row) {
      // Another request may have deleted the rest.
      if (before.grants_ended + before.sessions_ended === 0) fail('not_found')
      return { grants_ended: 0, sessions_ended: 0, isDone: true }
    }
    const grants = part.grants.filter(({ id }) => held.oauthGrants.has(id))
    const ids = grants.map(({ id }) => id)
    const sessions_ended = await endAndDetach(tx, part.sessions, now, reason)
    // An app may have opened a session, and a person may have allowed it, before the locks were held.
    const isWhole = part.hasAll && (await listSessionsOfGrants(tx, ids, 'all', 1)).length === 0
    if (isWhole && ids.length > 0) {
      await deleteGrants(tx, ids)
      await record(grants.map((grant) => grantEnded(context, grant, { reason })))
    } else if (sessions_ended > 0) await record(sessionsEnded(of, reason, sessions_ended))
    const ended = { grants_ended: isWhole ? ids.length : 0, sessions_ended }
    const isDone = isWhole && !(await hasGrants(tx, of))
    if (isDone) {
      const total = {
        grants_ended: before.grants_ended + ended.grants_ended,
        sessions_ended: before.sessions_ended + ended.sessions_ended,
      }
      await remove(change, total)
    } else if (row.isActive) await disable(change)
    return { ...ended, isDone }
  })
}

async function endAndDetach(
  tx: Transaction,
  ids: readonly string[],
  now: Date,
  reason: string,
): Promise<number> {
  if (ids.length === 0) return 0
  const ended = await updateSessionsEnded(tx, ids, now, reason)
  await detachSessions(tx, ids)
  return ended
}
