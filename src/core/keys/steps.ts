import { withDeadline } from '../../lib/deadline.ts'
import type { AuditEvent, Origin } from '../audit/audit.ts'
import { type Caller, type Change, type Lock, type LockMode, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import type { Owner } from '../owners.ts'
import { deleteKeys, listKeyIdsOf, listLiveKeyIdsOfUser, updateRevoked } from './queries.ts'

/** Keys that one transaction ends: it takes a fraction of DATABASE_STATEMENT_TIMEOUT_MS. */
const STEP = 5000

/**
 * Works through many keys in steps, each a transaction with a time of its own, until one has less than it could do. Where
 * it is cut off between two, the same request goes on where it ended.
 * @param step ends at most `limit` keys, and says how many
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

/** A change that ends many keys before the change that needs them gone. */
type ManyKeys<C extends Caller> = {
  mode: LockMode
  list(limit: number): Promise<string[]>
  /** Of their owner. */
  locks(): Promise<readonly Lock[]>
  /** Asks what is asked before the following change, and ends these keys. */
  end(change: Change<C>, ids: readonly string[]): Promise<void>
}

/**
 * Ends keys in steps, until so few are left that they can end with the change that follows.
 * @returns how many ended
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
 * Deletes the keys of an owner who is about to be deleted, until so few are left that they can go with their owner. Not the
 * key that asks: the deletion that follows needs it.
 * @param locks of the owner
 * @param check what is asked before the owner is deleted
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
 * Revokes the live keys of a user, and of the service accounts that nobody else manages, until so few are left that
 * `revokeKeysOfUser` can revoke them within another change.
 * @param check what is asked before that change
 * @returns how many
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
