import { fail } from '../../lib/errors.ts'
import type { Origin } from '../audit/audit.ts'
import { type Change, type Lock, type LockMode, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import { type Owner, ownerOfRow } from '../owners.ts'
import { findAccount, type ServiceAccountRow } from '../service-accounts/service-accounts.ts'
import { findWholeKey, type WholeKey } from './queries.ts'
import { type KeyManager, requireActing, requireManagedKey } from './reach.ts'

/** What the work on one key is given, besides what every change is: the key as it is now, and the account that owns it. */
export type KeyChange<C extends KeyManager> = Change<C> & {
  key: WholeKey
  /** null: the key is a user's. */
  account: ServiceAccountRow | null
}

/**
 * How a change locks the key, and its secrets where it changes them too: `update` for what will be deleted. `counts`:
 * there may be one more live key after it. `isEnding`: the change does nothing but disable the key.
 */
type KeyLocks = { key: LockMode; secrets?: LockMode; counts?: boolean; isEnding?: boolean }

/**
 * A change of one key that the caller may act on: its owner and the key are locked, and whether the caller may still act
 * on it is decided again.
 * @throws Problem not_found, forbidden where a key would manage itself, and what `recordChange` throws
 */
export async function changeManagedKey<C extends KeyManager, R>(
  context: Context,
  origin: Origin,
  caller: C,
  id: string,
  { key: mode, secrets, counts = false, isEnding = false }: KeyLocks,
  work: (change: KeyChange<C>) => Promise<R>,
): Promise<R> {
  const found = await requireManagedKey(context, caller, id)
  // The owner of a key never changes.
  const owner = ownerOfRow(found)
  const account = counts && owner.type === 'service_account' ? await findAccount(context, owner.id) : null
  const locks: Lock[] = [
    ...locksOfQuota(account),
    lockOwner(owner, 'no key update'),
    ['keys', id, mode],
    ...(secrets ? [['secretsOfKey', id, secrets] as const] : []),
  ]
  return recordChange(context, origin, caller, locks, async (change) => {
    const row = change.held.keys.get(id) ?? fail('not_found')
    const key = await findWholeKey(change.tx, row)
    const account = accountOf(change, owner)
    const user = change.held.users.get(owner.id) ?? null
    requireActing(change.caller, key, account, user, isEnding)
    return work({ ...change, key, account })
  })
}

/** The lock of a key's owner: whoever changes keys of one owner does so one after the other. */
export const lockOwner = ({ type, id }: Owner, mode: LockMode): Lock => [
  type === 'user' ? 'users' : 'serviceAccounts',
  id,
  mode,
]

/** Where one more live key of an account counts for a user, of two at once the second counts the first. */
export const locksOfQuota = (account: ServiceAccountRow | null): Lock[] =>
  account?.countsFor ? [['users', account.countsFor, 'no key update']] : []

/** The locked service account that owns a key; null where a user does. */
export function accountOf(
  { held }: Pick<Change<null>, 'held'>,
  { type, id }: Owner,
): ServiceAccountRow | null {
  if (type === 'user') return null
  return held.serviceAccounts.get(id) ?? fail('not_found')
}
