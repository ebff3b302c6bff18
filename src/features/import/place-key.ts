import type { Context } from '../../context.ts'
import type { Database, Transaction } from '../../db/open.ts'
import type { apiKeys } from '../../db/schema.ts'
import { newId } from '../../lib/ids.ts'
import { type Origin, type RecordEvent, recordChange, wasRecorded } from '../audit/service.ts'
import { type CreditsInput, readCredits } from '../keys/settings.ts'
import { findUserById, lockUser } from '../users/service.ts'
import { raiseCeiling, widenedCeiling } from './ceiling.ts'
import { decideAnew, type Outcome, refused } from './outcome.ts'
import { findKeysLike, insertImportedKey, updateRevoked } from './queries.ts'
import type { ImportedSecret } from './secret.ts'
import type { Trial } from './trial.ts'

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
 * Takes over one key, whole or not at all. A key that is here already stays as it is. Neither a quota nor
 * API_KEY_MAX_EXPIRE_DAYS is asked: keys that worked go on, and expired ones are imported as expired.
 * @param trial in a dry run: nothing is written
 */
export async function placeKey(
  context: Context,
  origin: Origin,
  key: ImportedKey,
  trial: Trial | null,
): Promise<Outcome> {
  if (trial) return pretend(context, key, trial)
  return decideAnew(async () => {
    const outcome = await judge(context.db, key, null)
    if (outcome.status !== 'imported') return outcome
    return recordChange(context, origin, async (tx, record) => {
      const refusal = needsCeiling(context, key) ? await coverScopes(context, tx, record, key) : null
      if (refusal !== null) return refused(refusal)
      await write(context, tx, record, key)
      return outcome
    })
  })
}

async function judge(
  db: Database,
  { row, owner, secret }: ImportedKey,
  trial: Trial | null,
): Promise<Outcome> {
  const [known, isDeleted] = await Promise.all([
    findKeysLike(db, { id: row.id, hash: secret.hash }),
    wasRecorded(db, 'key.deleted', row.id),
  ])
  const holder = trial?.keysByHash.get(secret.hash.toHex()) ?? known.holder
  const namesake = trial?.keysById.get(row.id) ?? known.namesake
  if (holder?.ownerId === owner.id) return { status: 'already_imported', id: holder.keyId }
  if (holder) return refused('This key belongs to another owner here')
  if (namesake?.ownerId === owner.id && (await wasRecorded(db, 'key.rotated', row.id))) {
    // The secret that was given up stays dead.
    return { status: 'already_imported', id: row.id }
  }
  if (namesake) return refused('Another key has this id here already')
  if (isDeleted) return refused('This key was imported before and has been deleted here since')
  return { status: 'imported', id: row.id }
}

/** Whether the owner must be able to hold its scopes. Only what a key can do now counts: a dead one raises nothing. */
function needsCeiling({ clock }: Context, { row, owner, raisesCeiling }: ImportedKey): boolean {
  const isLive = !row.revokedAt && (!row.expiresAt || row.expiresAt.getTime() > clock())
  return raisesCeiling && owner.type === 'user' && isLive
}

/** @returns why not, or null */
async function coverScopes(
  context: Context,
  tx: Transaction,
  record: RecordEvent,
  { row, owner }: ImportedKey,
): Promise<string | null> {
  // Locked: two keys of one user raise their ceiling one after the other.
  const user = await lockUser(tx, owner.id)
  if (!user) return 'Its owner is gone'
  const widened = widenedCeiling(context, user, row.scopes)
  if (widened !== null && 'refusal' in widened) return widened.refusal
  if (widened !== null) await raiseCeiling(tx, record, user, widened)
  return null
}

async function write(
  context: Context,
  tx: Transaction,
  record: RecordEvent,
  key: ImportedKey,
): Promise<void> {
  const { row, owner, secret, lastUsedAt } = key
  const owned = owner.type === 'user' ? { userId: owner.id } : { serviceAccountId: owner.id }
  const credits = key.credits && readCredits(row.id, key.credits, context.clock())
  const { hash, start } = secret
  const secretRow = { id: newId(), keyId: row.id, hash, start, createdAt: row.createdAt, lastUsedAt }
  await insertImportedKey(tx, { ...row, ...owned }, secretRow, credits)
  const details = {
    owner,
    scopes: row.scopes,
    expires_at: row.expiresAt?.toISOString() ?? null,
    ...(row.revokedAt ? { revoked: true } : {}),
  }
  await record({ action: 'key.imported', target: { type: 'key', id: row.id }, details })
}

/** The same without writing: what was decided is kept for what follows. */
async function pretend(context: Context, key: ImportedKey, trial: Trial): Promise<Outcome> {
  const outcome = await judge(context.db, key, trial)
  if (outcome.status !== 'imported') return outcome
  const { row, owner, secret } = key
  if (needsCeiling(context, key)) {
    const user = trial.usersById.get(owner.id) ?? (await findUserById(context.db, owner.id))
    if (!user) return refused('Its owner is gone')
    const widened = widenedCeiling(context, user, row.scopes)
    if (widened !== null && 'refusal' in widened) return refused(widened.refusal)
    if (widened !== null) trial.usersById.set(user.id, { ...user, scopes: widened })
  }
  trial.keysByHash.set(secret.hash.toHex(), { keyId: row.id, ownerId: owner.id })
  trial.keysById.set(row.id, { ownerId: owner.id })
  return outcome
}

/** A key that has been revoked at the source since it was imported is revoked here too. */
export async function followRevoked(context: Context, origin: Origin, id: string): Promise<void> {
  await recordChange(context, origin, async (tx, record) => {
    const reason = 'revoked_at_source'
    for (const revoked of await updateRevoked(tx, id, new Date(context.clock()), reason)) {
      await record({ action: 'key.revoked', target: { type: 'key', id: revoked.id }, details: { reason } })
    }
  })
}
