import {
  and,
  asc,
  count,
  desc,
  eq,
  gt,
  inArray,
  isNotNull,
  isNull,
  lt,
  lte,
  or,
  type SQL,
  sql,
} from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { apiKeyCredits, apiKeySecrets, apiKeys, keyCreations } from '../../db/schema.ts'
import { type Owner, ownerColumn } from '../owners.ts'
import type { KeyStatus } from './model.ts'

export type KeyRow = typeof apiKeys.$inferSelect
export type SecretRow = typeof apiKeySecrets.$inferSelect
export type CreditsRow = typeof apiKeyCredits.$inferSelect
/** A key with its secrets, oldest first, and its credits. */
export type WholeKey = KeyRow & { secrets: SecretRow[]; credits: CreditsRow | null }

const belongsTo = (owner: Owner) => eq(apiKeys[ownerColumn(owner)], owner.id)

export async function insertKey(tx: Transaction, key: typeof apiKeys.$inferInsert): Promise<KeyRow> {
  const [row] = await tx.insert(apiKeys).values(key).returning()
  if (!row) throw new Error('An insert returned no row')
  return row
}

export async function insertSecret(
  tx: Transaction,
  secret: typeof apiKeySecrets.$inferInsert,
): Promise<SecretRow> {
  const [row] = await tx.insert(apiKeySecrets).values(secret).returning()
  if (!row) throw new Error('An insert returned no row')
  return row
}

/** What a list of keys is narrowed by; `owner: null` is everybody's. */
export type KeyFilter = {
  owner: Owner | null
  externalId: string | null
  status: KeyStatus | null
  /** A managing key sees what lies within its own scopes and expiry. */
  within: { scopes: readonly string[]; expiresAt: Date | null } | null
}

/** Keys newest first, after the key `after`; all of them without a limit. */
export async function listKeys(
  db: Database,
  { owner, externalId, status, within }: KeyFilter,
  now: Date,
  { limit, after }: { limit: number | null; after: string | null },
): Promise<WholeKey[]> {
  const query = db
    .select()
    .from(apiKeys)
    .where(
      and(
        owner === null ? undefined : belongsTo(owner),
        externalId === null ? undefined : eq(apiKeys.externalId, externalId),
        status === null ? undefined : hasStatus(status, now),
        within === null ? undefined : liesWithin(within),
        after === null ? undefined : lt(apiKeys.id, after),
      ),
    )
    .orderBy(desc(apiKeys.id))
  return whole(db, await (limit === null ? query : query.limit(limit)))
}

function hasStatus(status: KeyStatus, now: Date): SQL | undefined {
  const isExpired = lte(apiKeys.expiresAt, now)
  const isUnexpired = or(isNull(apiKeys.expiresAt), gt(apiKeys.expiresAt, now))
  if (status === 'revoked') return isNotNull(apiKeys.revokedAt)
  if (status === 'expired') return and(isNull(apiKeys.revokedAt), isExpired)
  return and(isNull(apiKeys.revokedAt), isUnexpired, eq(apiKeys.isActive, status === 'active'))
}

function liesWithin({ scopes, expiresAt }: NonNullable<KeyFilter['within']>): SQL | undefined {
  const held = sql`${apiKeys.scopes} <@ ${sql.param([...scopes])}::text[]`
  return and(held, expiresAt === null ? undefined : lte(apiKeys.expiresAt, expiresAt))
}

export async function findKey(db: Database | Transaction, id: string): Promise<WholeKey | null> {
  const [found] = await whole(db, await db.select().from(apiKeys).where(eq(apiKeys.id, id)))
  return found ?? null
}

/** A key, locked until the transaction ends. */
export async function lockKey(tx: Transaction, id: string): Promise<WholeKey | null> {
  const [found] = await whole(tx, await tx.select().from(apiKeys).where(eq(apiKeys.id, id)).for('update'))
  return found ?? null
}

/** Counts an owner's live keys under a lock that two creations share, so that a quota holds against both. */
export async function countLiveKeysLocked(tx: Transaction, owner: Owner, now: Date): Promise<number> {
  await tx.execute(sql`SELECT pg_advisory_xact_lock(hashtextextended(${`latchkey.keys.${owner.id}`}, 0))`)
  const isUnexpired = or(isNull(apiKeys.expiresAt), gt(apiKeys.expiresAt, now))
  const [row] = await tx
    .select({ keys: count() })
    .from(apiKeys)
    .where(and(belongsTo(owner), isNull(apiKeys.revokedAt), isUnexpired))
  return row?.keys ?? 0
}

export type KeyChange = Partial<
  Pick<
    KeyRow,
    | 'name'
    | 'description'
    | 'externalId'
    | 'metadata'
    | 'scopes'
    | 'expiresAt'
    | 'isActive'
    | 'rateLimit'
    | 'rateWindowSeconds'
    | 'allowedIps'
  >
>

export async function updateKey(tx: Transaction, id: string, change: KeyChange): Promise<void> {
  await tx.update(apiKeys).set(change).where(eq(apiKeys.id, id))
}

/** Sets a key's credits, or takes them away. */
export async function replaceCredits(
  tx: Transaction,
  keyId: string,
  credits: CreditsRow | null,
): Promise<void> {
  if (credits === null) await tx.delete(apiKeyCredits).where(eq(apiKeyCredits.keyId, keyId))
  else {
    await tx
      .insert(apiKeyCredits)
      .values(credits)
      .onConflictDoUpdate({ target: apiKeyCredits.keyId, set: credits })
  }
}

export async function updateSecretExpiry(
  tx: Transaction,
  ids: readonly string[],
  expiresAt: Date | null,
): Promise<void> {
  await tx
    .update(apiKeySecrets)
    .set({ expiresAt })
    .where(inArray(apiKeySecrets.id, [...ids]))
}

export async function deleteSecret(tx: Transaction, id: string): Promise<void> {
  await tx.delete(apiKeySecrets).where(eq(apiKeySecrets.id, id))
}

const revocation = (now: Date, reason: string | null) => ({ revokedAt: now, revokedReason: reason })

/** Revokes what is not revoked yet, and says which. */
export async function updateRevoked(
  tx: Transaction,
  ids: readonly string[],
  now: Date,
  reason: string | null,
): Promise<{ id: string }[]> {
  return tx
    .update(apiKeys)
    .set(revocation(now, reason))
    .where(and(inArray(apiKeys.id, [...ids]), isNull(apiKeys.revokedAt)))
    .returning({ id: apiKeys.id })
}

/** Revokes a user's live keys, and says which. */
export async function updateRevokedOfUser(
  tx: Transaction,
  userId: string,
  now: Date,
  reason: string,
): Promise<{ id: string }[]> {
  return tx
    .update(apiKeys)
    .set(revocation(now, reason))
    .where(and(eq(apiKeys.userId, userId), isNull(apiKeys.revokedAt)))
    .returning({ id: apiKeys.id })
}

/** The keys that a key made, and those that these made, and so on. */
export async function listCreatedKeys(tx: Transaction, id: string): Promise<{ id: string }[]> {
  const made = sql`
    WITH RECURSIVE made (id) AS (
      SELECT child.id FROM ${apiKeys} child WHERE child.created_by = ${id}
      UNION SELECT child.id FROM ${apiKeys} child JOIN made ON child.created_by = made.id
    ) SELECT id FROM made`
  return tx.select({ id: apiKeys.id }).from(apiKeys).where(sql`${apiKeys.id} IN (${made})`)
}

/** false where it is gone already. */
export async function deleteKey(tx: Transaction, id: string): Promise<boolean> {
  return (await tx.delete(apiKeys).where(eq(apiKeys.id, id)).returning({ id: apiKeys.id })).length > 0
}

/**
 * Takes an idempotency key for a creation. One that was taken before `outdated` is free again.
 * @returns the id of the key that was made with it; null where it was free
 */
export async function takeCreation(
  tx: Transaction,
  creation: typeof keyCreations.$inferInsert,
  outdated: Date,
): Promise<string | null> {
  const taken = await tx
    .insert(keyCreations)
    .values(creation)
    .onConflictDoUpdate({
      target: keyCreations.hash,
      set: { keyId: creation.keyId, createdAt: creation.createdAt },
      setWhere: lt(keyCreations.createdAt, outdated),
    })
    .returning({ keyId: keyCreations.keyId })
  if (taken.length > 0) return null
  const [row] = await tx.select().from(keyCreations).where(eq(keyCreations.hash, creation.hash))
  return row?.keyId ?? null
}

async function whole(db: Database | Transaction, keys: KeyRow[]): Promise<WholeKey[]> {
  if (keys.length === 0) return []
  const ids = keys.map((key) => key.id)
  const secrets = await db
    .select()
    .from(apiKeySecrets)
    .where(inArray(apiKeySecrets.keyId, ids))
    .orderBy(asc(apiKeySecrets.createdAt), asc(apiKeySecrets.id))
  const credits = await db.select().from(apiKeyCredits).where(inArray(apiKeyCredits.keyId, ids))
  const secretsOf = Map.groupBy(secrets, (secret) => secret.keyId)
  const creditsOf = new Map(credits.map((row) => [row.keyId, row]))
  return keys.map((key) => ({
    ...key,
    secrets: secretsOf.get(key.id) ?? [],
    credits: creditsOf.get(key.id) ?? null,
  }))
}
