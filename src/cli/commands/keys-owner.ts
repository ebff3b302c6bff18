import type { Context } from '../../core/context.ts'
import { operator } from '../../core/keys/list.ts'
import { findUserById, requireUserId } from '../../core/users/accounts.ts'
import { fail } from '../../lib/errors.ts'
import { ceilingOfUser } from '../../lib/scopes.ts'

/** The two options that say whose keys are meant. */
export const ownerOptions = {
  user: { takes: 'EMAIL|ID', summary: 'The user that owns them' },
  'service-account': { takes: 'ID', summary: 'The service account that owns them' },
} as const

export type OwnerArgs = { user: string | undefined; 'service-account': string | undefined }

/** @throws Error where both are given */
export function requireOneOwner(args: OwnerArgs): void {
  if (args.user !== undefined && args['service-account'] !== undefined) {
    throw new Error('--user and --service-account exclude each other')
  }
}

/**
 * An operator who makes a key for that user, with what the user may hold now.
 * @param who an e-mail or an id
 * @throws Problem not_found
 */
export async function operatorFor(context: Context, who: string) {
  const id = await requireUserId(context, who)
  const user = await findUserById(context.db, id)
  if (!user) fail('not_found')
  return operator({ type: 'user', id, ceiling: ceilingOfUser(user, context.config.userScopes) })
}
