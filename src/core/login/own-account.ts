import { fail } from '../../lib/errors.ts'
import type { Origin } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import type { UserPrincipal } from '../principal.ts'
import { removeUser } from '../users/accounts.ts'
import { requireCurrentPassword } from './current-password.ts'

/**
 * A user deletes their own account, with its keys and sessions.
 * @throws Problem not_found with DELETE_ACCOUNT=false, invalid_login, last_admin
 */
export async function deleteOwnAccount(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  password: string | undefined,
): Promise<void> {
  if (!context.config.deleteAccount) fail('not_found')
  const { user } = await requireCurrentPassword(context, origin, caller, password, 'deletion')
  await removeUser(context, origin, caller, user.id)
}
