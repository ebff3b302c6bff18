import { fail } from '../../lib/errors.ts'
import { isId } from '../../lib/ids.ts'
import type { Origin } from '../audit/audit.ts'
import { requirePowerOverAccount } from '../change/power.ts'
import { type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import type { Operator, UserPrincipal } from '../principal.ts'
import { forgetWrongCodes } from '../second-factors/code-lock.ts'
import { forgetGuesses } from './throttle.ts'

/**
 * Forgets the wrong passwords and the wrong codes of a user, and ends the locks that they brought.
 * @throws Problem not_found, forbidden for another admin, unless ADMIN_RESETS_ADMIN
 */
export async function unlockUser(
  context: Context,
  origin: Origin,
  caller: UserPrincipal | Operator,
  userId: string,
): Promise<void> {
  if (!isId(userId)) fail('not_found')
  const locks: Lock[] = [['users', userId, 'share']]
  await recordChange(context, origin, caller, locks, async (change) => {
    const user = change.held.users.get(userId) ?? fail('not_found')
    requirePowerOverAccount(context, change.caller, user)
    await forgetGuesses(change.tx, context, user.email)
    await forgetWrongCodes(change.tx, userId)
    await change.record({ action: 'user.unlocked', target: { type: 'user', id: userId } })
  })
}
