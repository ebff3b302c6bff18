import type { Context } from '../context.ts'
import { needsCeiling, widenedCeiling } from './ceiling.ts'
import { type Outcome, refused } from './outcome.ts'
import type { ImportedKey } from './place-keys.ts'
import type { KnownKey, KnownUser } from './queries.ts'
import type { Seen } from './seen.ts'

/** What of some keys is here. */
export type KnownKeys = {
  byId: ReadonlyMap<string, KnownKey>
  /** By the hash of the secret, in hex. */
  byHash: ReadonlyMap<string, KnownKey>
  /** What the audit trail tells of their ids: `key.deleted <id>`, `key.rotated <id>`. */
  events: ReadonlySet<string>
}

/** A user's ceiling before and after. */
export type Raise = { before: string[] | null; after: string[] }

/**
 * Decides on keys in their order; what comes in stands against what follows it.
 * @param owners the users whose ceilings are asked for
 * @returns the outcomes, and the ceilings that have to rise
 */
export function decideKeys(
  context: Context,
  keys: readonly ImportedKey[],
  known: KnownKeys,
  owners: ReadonlyMap<string, KnownUser>,
  seen: Seen,
): { outcomes: Outcome[]; raised: Map<string, Raise> } {
  const raised = new Map<string, Raise>()
  const outcomes = keys.map((key) => {
    const verdict = judge(key, known, seen)
    if (verdict !== null) return verdict
    const { row, owner, secret } = key
    if (needsCeiling(context, key)) {
      const user = seen.usersById.get(owner.id) ?? owners.get(owner.id)
      if (!user) return refused('Its owner is gone')
      const widened = widenedCeiling(context, user, row.scopes)
      if (widened !== null && 'refusal' in widened) return refused(widened.refusal)
      if (widened !== null) {
        raised.set(user.id, { before: raised.get(user.id)?.before ?? user.scopes, after: widened })
        seen.usersById.set(user.id, { ...user, scopes: widened })
      }
    }
    const comes = { keyId: row.id, ownerId: owner.id }
    seen.keysByHash.set(secret.hash.toHex(), comes)
    seen.keysById.set(row.id, comes)
    return { status: 'imported' as const, id: row.id }
  })
  return { outcomes, raised }
}

/** null: nothing stands against it. */
function judge({ row, owner, secret }: ImportedKey, known: KnownKeys, seen: Seen): Outcome | null {
  const hash = secret.hash.toHex()
  const holder = seen.keysByHash.get(hash) ?? known.byHash.get(hash)
  if (holder?.ownerId === owner.id) return { status: 'already_imported', id: holder.keyId }
  if (holder) return refused('This key belongs to another owner here')
  const namesake = seen.keysById.get(row.id) ?? known.byId.get(row.id)
  if (namesake?.ownerId === owner.id && known.events.has(`key.rotated ${row.id}`)) {
    // The secret that was given up stays dead.
    return { status: 'already_imported', id: row.id }
  }
  if (namesake) return refused('Another key has this id here already')
  if (known.events.has(`key.deleted ${row.id}`)) {
    return refused('This key was imported before and has been deleted here since')
  }
  return null
}
