import { Problem } from '../../lib/errors.ts'
import { isId } from '../../lib/ids.ts'
import type { Context } from '../context.ts'
import { findAccount } from '../service-accounts/service-accounts.ts'
import { normaliseEmail } from '../users/email.ts'
import type { ReadKeyItem } from './key-item.ts'
import type { ImportedKey } from './place-keys.ts'
import { findUsersLike } from './queries.ts'

type Owner = ImportedKey['owner']
type OwnerName = ReadKeyItem['owner']

/** Who the owners are that keys name, in their order; null for nobody. */
export async function findOwners(context: Context, names: readonly OwnerName[]): Promise<(Owner | null)[]> {
  const ids = names.flatMap(({ user_id: id }) => (id !== undefined && isId(id) ? [id] : []))
  const emails = names.flatMap(({ email }) => normaliseEmail(email ?? '') ?? [])
  const users = await findUsersLike(context.db, [...new Set(ids)], [...new Set(emails)])
  const byId = new Map(users.map((user) => [user.id, user]))
  const byEmail = new Map(users.map((user) => [user.email, user]))
  const accounts = new Map<string, Owner | null>()
  for (const { service_account_id: id } of names) {
    if (id !== undefined && !accounts.has(id)) accounts.set(id, await findAccountOwner(context, id))
  }
  return names.map(({ user_id, service_account_id, email }) => {
    if (service_account_id !== undefined) return accounts.get(service_account_id) ?? null
    const user = user_id === undefined ? byEmail.get(normaliseEmail(email ?? '') ?? '') : byId.get(user_id)
    return user ? { type: 'user', id: user.id } : null
  })
}

async function findAccountOwner(context: Context, id: string): Promise<Owner | null> {
  try {
    return { type: 'service_account', id: (await findAccount(context, id)).id }
  } catch (error) {
    if (error instanceof Problem && error.problem === 'not_found') return null
    throw error
  }
}
