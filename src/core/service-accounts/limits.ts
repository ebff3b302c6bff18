import { fail } from '../../lib/errors.ts'
import { covers, KEYS_LABEL, SERVICE_ACCOUNTS_WRITE } from '../../lib/scopes.ts'
import type { Change } from '../change/record-change.ts'
import { listOwnerCredits } from '../credits/owner-credits.ts'
import { ownerOf } from '../owners.ts'
import { isAdmin, isDelegate } from '../principal.ts'
import { lackOfScopes } from '../verify/problems.ts'
import { type AccountCaller, isManager, type WholeAccount } from './managers.ts'

/**
 * The limits of an account are set by admins, and by keys and apps with `latchkey:service-accounts.write` whose owner manages the
 * account and is not that account. A person who manages the account does not set them: the limits are what a back end gives
 * to its customer.
 * @param account with its managers as they are now; of a new account: its id and its first manager
 * @throws Problem forbidden
 */
export function requireSettingLimits(
  caller: AccountCaller,
  account: Pick<WholeAccount, 'id' | 'managers'>,
): void {
  if (caller.kind === 'operator' || isAdmin(caller)) return
  const isOfBackEnd =
    isDelegate(caller) &&
    covers(caller.grants, SERVICE_ACCOUNTS_WRITE) &&
    isManager(caller, account) &&
    ownerOf(caller).id !== account.id
  if (isOfBackEnd) return
  fail('forbidden', {
    detail: `The limits of a service account are set by admins, and by a key with ${SERVICE_ACCOUNTS_WRITE} of another owner that manages it.`,
  })
}

/**
 * A user with limits would evade them by a service account without any: its keys are not the user's. So such a user makes no
 * account, and an account that counts for the user gets a key only where it has limits of the same kinds.
 * @param account of a new account: its id, and no rate
 * @throws Problem forbidden
 */
export async function requireLimitsOfMaker(
  { tx, held }: Pick<Change<null>, 'tx' | 'held'>,
  userId: string,
  account: Pick<WholeAccount, 'id' | 'rateLimit'>,
): Promise<void> {
  const credits = await listOwnerCredits(tx, [userId, account.id])
  const lacksRate = held.users.get(userId)?.rateLimit != null && account.rateLimit === null
  if (!lacksRate && (!credits.has(userId) || credits.has(account.id))) return
  fail('forbidden', {
    detail:
      'The user has limits that this service account lacks: an admin makes it, or sets its limits first.',
  })
}

/**
 * The external id of an account is that of its keys, and those who verify trust it. Back ends and those who may label keys set
 * it. Otherwise anybody who makes an account could pose as a customer.
 * @throws Problem insufficient_scope
 */
export function requireSettingExternalId(caller: AccountCaller): void {
  if (caller.kind === 'operator') return
  if (![SERVICE_ACCOUNTS_WRITE, KEYS_LABEL].some((scope) => covers(caller.grants, scope)))
    throw lackOfScopes([KEYS_LABEL])
}
