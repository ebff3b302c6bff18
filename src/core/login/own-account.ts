import { fail } from '../../lib/errors.ts'
import type { Origin } from '../audit/audit.ts'
import type { Change } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import type { UserPrincipal } from '../principal.ts'
import { removeUser } from '../users/accounts.ts'
import { requireCurrentPassword, requireStillProved } from './current-password.ts'

/**
 * A user deletes their own account, with its keys and sessions.
 * @throws Problem not_found with DELETE_ACCOUNT=false, invalid_login, reauthentication_required, last_admin, conflict
 * where the password was changed meanwhile
 */
export async function deleteOwnAccount(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  password: string | undefined,
): Promise<void> {
  if (!context.config.deleteAccount) fail('not_found')
  const proved = await requireCurrentPassword(context, origin, caller, password, 'deletion')
  await removeUser(context, origin, caller, caller.userId, {
    disablesAccounts: false,
    // The caller of the change is the caller of this function, read again.
    requireStill: (change) => requireStillProved(context, change as Change<UserPrincipal>, proved),
  })
}
