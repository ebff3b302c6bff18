import { fail } from '../../lib/errors.ts'
import type { Origin } from '../audit/audit.ts'
import { type Change, type Lock, type LockMode, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { type Owner, ownerOfRow } from '../owners.ts'
import { heldAccount, type WholeAccount } from '../service-accounts/managers.ts'
import { findAccount } from '../service-accounts/service-accounts.ts'
import { findWholeKey, type WholeKey } from './queries.ts'
import { type KeyManager, type OnlyChange, requireActing, requireManagedKey } from './reach.ts'

/**
 * What the work of a change of one key is given: what every change is given, the key as of now, and the service account
 * that owns it.
 */
export type KeyChange<C extends KeyManager> = Change<C> & {
  key: WholeKey
  /** null: a user owns the key. */
  account: WholeAccount | null
}

/**
 * How a change locks the key, and its secrets where it changes them too: `update` where the row will be deleted.
 * `counts`: the change can increase the number of live keys, so the rows that carry the quota are locked too.
 * `changesRate`: the database copies the rate to the keys that share it, so these are locked too.
 */
type KeyLocks = {
  key: LockMode
  secrets?: LockMode
  counts?: boolean
  changesRate?: boolean
  only?: OnlyChange | null
}

/**
 * Changes one key that the caller manages. Locks its owner and the key, and then checks again that the caller still
 * manages it. Without the second check, a caller who lost that power meanwhile could still change the key
 * (docs/decisions/0026).
 * @throws Problem not_found, forbidden where a key would change itself, and what `recordChange` throws
 */
export async function changeManagedKey<C extends KeyManager, R>(
  context: Context,
  origin: Origin,
  caller: C,
  id: string,
  { key: mode, secrets, counts = false, changesRate = false, only = null }: KeyLocks,
  work: (change: KeyChange<C>) => Promise<R>,
): Promise<R> {
  const found = await requireManagedKey(context, caller, id)
  // A key never changes its owner, so the owner may be read before the locks are taken.
  const owner = ownerOfRow(found)
  const account = counts && owner.type === 'service_account' ? await findAccount(context, owner.id) : null
  const quota = locksOfQuota(context, account)
  const locks = async (): Promise<Lock[]> => [
    ...(await quota()),
    ...locksOfOwner(owner),
    ['keys', id, mode],
    ...(changesRate ? [['keysOfRoot', id, 'no key update'] as const] : []),
    ...(secrets ? [['secretsOfKey', id, secrets] as const] : []),
  ]
  return recordChange(context, origin, caller, locks, async (change) => {
    const row = change.held.keys.get(id) ?? fail('not_found')
    const key = await findWholeKey(change.tx, row)
    const account = accountOf(change, owner)
    const user = change.held.users.get(owner.id) ?? null
    requireActing(change.caller, key, account, user, only)
    return work({ ...change, key, account })
  })
}

/** The locks of a key's owner, and of those who manage the owner, for a change that asks whether the caller does. */
export const locksOfOwner = (owner: Owner): Lock[] => [
  lockOwner(owner, 'no key update'),
  ...(owner.type === 'user' ? [] : [['managersOfAccount', owner.id, 'share'] as const]),
]

/** The lock of a key's owner. Changes of the keys of one owner run one after the other. */
export const lockOwner = ({ type, id }: Owner, mode: LockMode): Lock => [
  type === 'user' ? 'users' : 'serviceAccounts',
  id,
  mode,
]

/**
 * The lock of the user against whose quota an account's keys count, if there is one. With it, two creations at once are
 * counted one after the other.
 * @param account as it was found before the change
 * @returns finds the locks of one attempt: of a later one with those who manage the account by then
 */
export function locksOfQuota(context: Context, account: WholeAccount | null): () => Promise<Lock[]> {
  let attempts = 0
  return async () => {
    const isFirst = attempts++ === 0
    const present = isFirst || account === null ? account : await findAccount(context, account.id)
    return countedFor(present).map(({ id }): Lock => ['users', id, 'no key update'])
  }
}

/**
 * The user for whom the keys of an account count: who made it in a session of their own, and still manages it or left it to
 * no user. `countsForUser` in db/managers.ts is the same in SQL.
 */
export function countedFor(account: WholeAccount | null): Owner[] {
  if (account === null || account.countsFor === null) return []
  const users = account.managers.filter(({ type }) => type === 'user')
  const isCounted = users.length === 0 || users.some(({ id }) => id === account.countsFor)
  return isCounted ? [{ type: 'user', id: account.countsFor }] : []
}

/**
 * The locked service account that owns a key; null where a user does.
 * @throws Problem not_found where the account was deleted
 */
export function accountOf({ held }: Pick<Change<null>, 'held'>, { type, id }: Owner): WholeAccount | null {
  if (type === 'user') return null
  return heldAccount(held, id) ?? fail('not_found')
}
