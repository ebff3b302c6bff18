import { Problem } from '../../lib/errors.ts'
import { isId } from '../../lib/ids.ts'
import type { Origin } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import type { Owner } from '../owners.ts'
import { findAccount } from '../service-accounts/service-accounts.ts'
import { normaliseEmail } from '../users/email.ts'
import { type ReadKeyItem, readKeyItem } from './key-item.ts'
import type { KeyImportResults } from './model.ts'
import { chunksOf, nothingSeen, type Outcome, placeReadable, type Trial } from './outcome.ts'
import { type Importer, placeKeys } from './place-keys.ts'
import { findUsersLike } from './queries.ts'

/**
 * Imports keys for an admin. Each key is imported whole or refused; a refused key does not stop the others.
 * @returns one result per item, in the order of the items
 */
export async function importKeys(
  context: Context,
  origin: Origin,
  caller: Importer,
  { keys, isDryRun }: { keys: readonly unknown[]; isDryRun: boolean },
): Promise<KeyImportResults['results']> {
  const trial = isDryRun ? nothingSeen() : null
  const results: KeyImportResults['results'] = []
  for (const chunk of chunksOf(keys)) {
    for (const outcome of await importKeyItems(context, origin, caller, chunk, trial)) {
      results.push(outcome.status === 'refused' ? { status: outcome.status, error: outcome.reason } : outcome)
    }
  }
  return results
}

/** Imports a chunk of keys, as a request or a file gives them. */
export async function importKeyItems(
  context: Context,
  origin: Origin,
  caller: Importer,
  items: readonly unknown[],
  trial: Trial | null,
): Promise<Outcome[]> {
  const createdBy = caller.kind === 'operator' ? null : caller.userId
  const read = items.map((item) => readKeyItem(context, item, createdBy))
  const owners = await findOwners(
    context,
    read.map((each) => ('fault' in each ? {} : each.owner)),
  )
  const owned = read.map((each, at) => {
    const owner = owners[at]
    if ('fault' in each) return each
    return owner ? { ...each.key, owner } : { fault: 'owner: There is no such owner' }
  })
  return placeReadable(owned, (keys) => placeKeys(context, origin, caller, keys, trial))
}

type OwnerName = ReadKeyItem['owner']

/** The owners that keys name, in the same order; null where an owner does not exist. */
async function findOwners(context: Context, names: readonly OwnerName[]): Promise<(Owner | null)[]> {
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
