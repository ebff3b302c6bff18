import type { Database } from '../../db/database.ts'
import type { apiKeys } from '../../db/schema.ts'
import { type Origin, recordChange, wereRecorded } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import type { CreditsInput } from '../keys/settings.ts'
import { holdsAll, needsCeiling } from './ceiling.ts'
import type { ImportedSecret } from './credentials.ts'
import { decideKeys, type KnownKeys } from './decide-keys.ts'
import { type Outcome, placeTogether } from './outcome.ts'
import { findKeysByHash, findKeysById, findUsersById, type KnownUser, lockUsers } from './queries.ts'
import { nothingSeen, type Trial } from './seen.ts'
import { writeKeys } from './write-keys.ts'

/** A key that comes from elsewhere. */
export type ImportedKey = {
  row: Omit<typeof apiKeys.$inferInsert, 'userId' | 'serviceAccountId'>
  owner: { type: 'user' | 'service_account'; id: string }
  secret: ImportedSecret
  lastUsedAt: Date | null
  credits: CreditsInput | null
  /** Whether the ceiling of the user whose key it is rises to its scopes. */
  raisesCeiling: boolean
}

/**
 * Takes over keys, each whole or not at all. A key that is here already stays as it is. Neither a quota nor
 * API_KEY_MAX_EXPIRE_DAYS is asked: keys that worked go on, and expired ones are imported as expired.
 * @param trial in a dry run: nothing is written
 */
export function placeKeys(
  context: Context,
  origin: Origin,
  keys: readonly ImportedKey[],
  trial: Trial | null,
): Promise<Outcome[]> {
  return placeTogether(keys, async (items) => {
    const known = await lookUp(context.db, items)
    const owners = await findOwners(context, items, trial)
    if (trial) return decideKeys(context, items, known, owners, trial).outcomes
    const first = decideKeys(context, items, known, owners, nothingSeen())
    if (first.outcomes.every(({ status }) => status !== 'imported')) return first.outcomes
    return recordChange(context, origin, async (tx, record) => {
      // Who has to hold more is locked: two keys of one user raise their ceiling one after the other.
      const low = items.filter((key) => needsCeiling(context, key) && !holdsAll(context, owners, key))
      for (const user of await lockUsers(tx, [...new Set(low.map(({ owner }) => owner.id))])) {
        owners.set(user.id, user)
      }
      const { outcomes, raised } = decideKeys(context, items, known, owners, nothingSeen())
      const accepted = items.filter((_, at) => outcomes[at]?.status === 'imported')
      if (accepted.length > 0) await writeKeys(context, tx, origin, record, accepted, raised)
      return outcomes
    })
  })
}

/** What of these keys is here. By id before by hash: who comes in between is found by both, or by the hash alone. */
async function lookUp(db: Database, keys: readonly ImportedKey[]): Promise<KnownKeys> {
  const ids = keys.map(({ row }) => row.id)
  const byId = await findKeysById(db, ids)
  const byHash = await findKeysByHash(
    db,
    keys.map(({ secret }) => secret.hash),
  )
  return {
    byId: new Map(byId.map((key) => [key.keyId, key])),
    byHash: new Map(byHash.map((key) => [key.hash.toHex(), key])),
    events: await wereRecorded(db, ['key.deleted', 'key.rotated'], ids),
  }
}

/** The users whose ceilings are asked for. */
async function findOwners(
  context: Context,
  keys: readonly ImportedKey[],
  trial: Trial | null,
): Promise<Map<string, KnownUser>> {
  const asked = keys.filter((key) => needsCeiling(context, key)).map(({ owner }) => owner.id)
  const users = await findUsersById(context.db, [...new Set(asked)])
  return new Map([...users, ...(trial?.usersById.values() ?? [])].map((user) => [user.id, user]))
}
