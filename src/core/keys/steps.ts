import { withDeadline } from '../../lib/deadline.ts'
import type { AuditEvent, Origin } from '../audit/audit.ts'
import { type Caller, type Change, type Lock, type LockMode, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import type { Owner } from '../owners.ts'
import { deleteKeys, listKeyIdsOf, listLiveKeyIdsOfUser, updateRevoked } from './queries.ts'

/** Keys per transaction. Ending this many takes a fraction of DATABASE_STATEMENT_TIMEOUT_MS. */
const STEP = 2000

/**
 * Repeats a step until it ends fewer keys than its limit. Each step is a transaction with a deadline of its own. Where
 * the work stops between two steps, the same request continues it.
 * @param step ends at most `limit` keys, and returns how many it ended
 */
export async function endInSteps(step: (limit: number) => Promise<number>): Promise<void> {
  let ended = STEP
  while (ended === STEP) ended = await withDeadline(() => step(STEP))
}

/** What the audit trail says of a key that is revoked with its owner's wish. */
export const keyRevoked = (id: string, reason: string | null): AuditEvent => ({
  action: 'key.revoked',
  target: { type: 'key', id },
  details: { reason },
})

/** A change that ends many keys before the change for which they must be gone. */
type ManyKeys<C extends Caller> = {
  mode: LockMode
  list(limit: number): Promise<string[]>
  /** The locks of their owner. */
  locks(): Promise<readonly Lock[]>
  /** Makes the checks of the change that follows, and ends these keys. */
  end(change: Change<C>, ids: readonly string[]): Promise<void>
}

/**
 * Ends keys in steps, until the change that follows can end the rest by itself.
 * @returns how many keys ended
 */
async function endManyKeys<C extends Caller>(
  context: Context,
  origin: Origin,
  caller: C,
  { mode, list, locks, end }: ManyKeys<C>,
): Promise<number> {
  let ended = 0
  await endInSteps(async (limit) => {
    const ids = await list(limit)
    if (ids.length < limit) return ids.length
    const all = async () => [...(await locks()), ...ids.map((id): Lock => ['keys', id, mode])]
    await recordChange(context, origin, caller, all, (change) => end(change, ids))
    ended += ids.length
    return ids.length
  })
  return ended
}

/**
 * Deletes the keys of an owner in steps, until the deletion of the owner can delete the rest. Keeps the key that calls,
 * because the deletion of the owner still needs that caller.
 * @param locks of the owner
 * @param check the checks of the deletion, made in every step
 */
export async function deleteManyKeys<C extends Caller>(
  context: Context,
  origin: Origin,
  caller: C,
  owner: Owner,
  locks: () => Promise<Lock[]>,
  check: (change: Change<C>) => Promise<void>,
): Promise<void> {
  const own = caller?.kind === 'key' ? caller.keyId : null
  await endManyKeys(context, origin, caller, {
    mode: 'update',
    list: (limit) => listKeyIdsOf(context.db, owner, own, limit),
    locks,
    async end(change, ids) {
      await check(change)
      await deleteKeys(change.tx, ids)
    },
  })
}

/**
 * Revokes in steps the live keys of a user, and of the service accounts that no other user manages, until
 * `revokeKeysOfUser` can revoke the rest within another change.
 * @param check the checks of that change, made in every step
 * @returns how many keys were revoked
 */
export function revokeManyKeysOfUser<C extends Caller>(
  context: Context,
  origin: Origin,
  caller: C,
  userId: string,
  reason: string,
  locks: readonly Lock[],
  check: (change: Change<C>) => Promise<void>,
): Promise<number> {
  return endManyKeys(context, origin, caller, {
    mode: 'no key update',
    list: (limit) => listLiveKeyIdsOfUser(context.db, userId, limit),
    locks: async () => locks,
    async end(change, ids) {
      await check(change)
      const revoked = await updateRevoked(change.tx, ids, change.now, reason)
      await change.record(revoked.map(({ id }) => keyRevoked(id, reason)))
    },
  })
}
