import { fail } from '../../lib/errors.ts'
import { covers, SERVICE_ACCOUNTS_WRITE } from '../../lib/scopes.ts'
import { ownerOf } from '../owners.ts'
import { type Holder, isAdmin } from '../principal.ts'
import { isManager, type WholeAccount } from './managers.ts'

/**
 * The limits of an account are set by admins, and by keys with `latchkey:service-accounts.write` whose owner manages the
 * account and is not that account. A person who manages the account does not set them: the limits are what a back end gives
 * to its customer.
 * @param account with its managers as they are now; of a new account: its id and its first manager
 * @throws Problem forbidden
 */
export function requireSettingLimits(caller: Holder, account: Pick<WholeAccount, 'id' | 'managers'>): void {
  if (isAdmin(caller)) return
  const isOfBackEnd =
    caller.kind === 'key' &&
    covers(caller.grants, SERVICE_ACCOUNTS_WRITE) &&
    isManager(caller, account) &&
    ownerOf(caller).id !== account.id
  if (isOfBackEnd) return
  fail('forbidden', {
    detail: `The limits of a service account are set by admins, and by a key with ${SERVICE_ACCOUNTS_WRITE} of another owner that manages it.`,
  })
}
