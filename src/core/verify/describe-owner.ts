import { type Ceiling, ceilingOfList, ceilingOfUser } from '../../lib/scopes.ts'
import type { Context } from '../context.ts'
import { type OwnerColumns, ownerOfRow } from '../owners.ts'
import type { ServiceAccountOwner, UserOwner } from '../principal.ts'

/** The columns of an owner that decide what its keys and portal sessions may do. */
export type OwnerFacts = {
  user:
    | (Pick<UserOwner, 'email' | 'emailVerified' | 'role' | 'createdAt'> & {
        isActive: boolean
        scopes: string[] | null
      })
    | null
  serviceAccount: { name: string; isActive: boolean; scopes: string[] } | null
}

/**
 * The owner that a row names, as a principal names it, and the scopes that the owner may hold.
 * @returns null where the owner does not exist
 */
export function describeOwner(
  { config }: Pick<Context, 'config'>,
  columns: OwnerColumns,
  { user, serviceAccount }: OwnerFacts,
): { isActive: boolean; shown: UserOwner | ServiceAccountOwner; ceiling: Ceiling } | null {
  const { type, id } = ownerOfRow(columns)
  if (type === 'user') {
    if (!user) return null
    const { email, emailVerified, role, createdAt, isActive } = user
    const shown = { type, id, email, emailVerified, role, createdAt }
    return { isActive, shown, ceiling: ceilingOfUser(user, config.userScopes) }
  }
  if (!serviceAccount) return null
  const { name, isActive, scopes } = serviceAccount
  return { isActive, shown: { type, id, name }, ceiling: ceilingOfList(scopes) }
}
