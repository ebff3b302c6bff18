import { withDeadline } from '../../lib/deadline.ts'
import type { Origin } from '../audit/audit.ts'
import { type Caller, type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import type { Owner } from '../owners.ts'
import { deleteKeys, listKeyIdsOf } from './queries.ts'

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

/**
 * Deletes the keys of an owner who is about to be deleted, until so few are left that they can go with their owner. Not the
 * key that asks: the deletion that follows needs it.
 * @param locks of the owner
 * @param check what is asked before the owner is deleted
 */
export function deleteManyKeys<C extends Caller>(
  context: Context,
  origin: Origin,
  caller: C,
  owner: Owner,
  locks: () => Promise<Lock[]>,
  check: (change: Change<C>) => Promise<void>,
): Promise<void> {
  const own = caller?.kind === 'key' ? caller.keyId : null
  return endInSteps(async (limit) => {
    const ids = await listKeyIdsOf(context.db, owner, own, limit)
    if (ids.length < limit) return ids.length
    const all = async () => [...(await locks()), ...ids.map((id): Lock => ['keys', id, 'update'])]
    await recordChange(context, origin, caller, all, async (change) => {
      await check(change)
      await deleteKeys(change.tx, ids)
    })
    return ids.length
  })
}
