import type { Origin } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { readKeyItem } from './key-item.ts'
import { chunksOf, type Outcome, placeReadable } from './outcome.ts'
import { findOwners } from './owners.ts'
import { placeKeys } from './place-keys.ts'
import type { Trial } from './seen.ts'

/** What became of one key of a request. */
export type KeyResult =
  | { status: 'imported' | 'already_imported'; id: string }
  | { status: 'refused'; error: string }

/**
 * Imports keys for an admin, each whole or not at all: what stands behind a bad one goes on.
 * @param createdBy who is said to have made them: the admin
 * @returns a result an item, in their order
 */
export async function importKeys(
  context: Context,
  origin: Origin,
  createdBy: string,
  items: readonly unknown[],
): Promise<KeyResult[]> {
  const results: KeyResult[] = []
  for (const chunk of chunksOf(items)) {
    for (const outcome of await importKeyItems(context, origin, createdBy, chunk, null)) {
      results.push(outcome.status === 'refused' ? { status: outcome.status, error: outcome.reason } : outcome)
    }
  }
  return results
}

/** Imports a chunk of keys as somebody wrote them, in a request or in a file. */
export async function importKeyItems(
  context: Context,
  origin: Origin,
  createdBy: string | null,
  items: readonly unknown[],
  trial: Trial | null,
): Promise<Outcome[]> {
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
  return placeReadable(owned, (keys) => placeKeys(context, origin, keys, trial))
}
