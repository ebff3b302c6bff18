import { and, count, desc, eq, gt, inArray, isNull, or, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/open.ts'
import { apiKeySecrets, apiKeys } from '../../db/schema.ts'

export type KeyRow = typeof apiKeys.$inferSelect
export type SecretRow = typeof apiKeySecrets.$inferSelect
export type KeyWithSecrets = KeyRow & { secrets: SecretRow[] }

/** Who keys belong to: a user or a service account. */
export type KeyOwner = { type: 'user' | 'service_account'; id: string }

const belongsTo = (owner: KeyOwner) =>
  eq(owner.type === 'user' ? apiKeys.userId : apiKeys.serviceAccountId, owner.id)

export async function insertKey(
  tx: Transaction,
  key: typeof apiKeys.$inferInsert,
  secret: typeof apiKeySecrets.$inferInsert,
): Promise<KeyWithSecrets> {
  const [row] = await tx.insert(apiKeys).values(key).returning()
  const secrets = await tx.insert(apiKeySecrets).values(secret).returning()
  if (!row) throw new Error('An insert returned no row')
  return { ...row, secrets }
}

/** An owner's keys, newest first. */
export async function listKeys(db: Database, owner: KeyOwner): Promise<KeyWithSecrets[]> {
  const keys = await db
    .select()
    .from(apiKeys)
    .where(belongsTo(owner))
    .orderBy(desc(apiKeys.createdAt), desc(apiKeys.id))
  return withSecrets(db, keys)
}

export async function findKey(db: Database | Transaction, id: string): Promise<KeyWithSecrets | null> {
  const [found] = await withSecrets(db, await db.select().from(apiKeys).where(eq(apiKeys.id, id)))
  return found ?? null
}

/** Counts an owner's live keys under a lock that two creations share, so that a quota holds against both. */
export async function countLiveKeysLocked(tx: Transaction, owner: KeyOwner, now: Date): Promise<number> {
  await tx.execute(sql`SELECT pg_advisory_xact_lock(hashtextextended(${`latchkey.keys.${owner.id}`}, 0))`)
  const isUnexpired = or(isNull(apiKeys.expiresAt), gt(apiKeys.expiresAt, now))
  const [row] = await tx
    .select({ keys: count() })
    .from(apiKeys)
    .where(and(belongsTo(owner), isNull(apiKeys.revokedAt), isUnexpired))
  return row?.keys ?? 0
}

/** Revokes what is not revoked yet, and says which. */
export async function updateRevoked(
  tx: Transaction,
  ids: readonly string[],
  now: Date,
  reason: string | null,
): Promise<{ id: string }[]> {
  return tx
    .update(apiKeys)
    .set({ revokedAt: now, revokedReason: reason })
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
    .set({ revokedAt: now, revokedReason: reason })
    .where(and(eq(apiKeys.userId, userId), isNull(apiKeys.revokedAt)))
    .returning({ id: apiKeys.id })
}

/** The keys that a key made, and those that these made, and so on. */
export async function listCreatedKeys(tx: Transaction, id: string): Promise<{ id: string }[]> {
  const made = await tx.execute<{ id: string }>(sql`
    WITH RECURSIVE made (id) AS (
      SELECT ${apiKeys.id} FROM ${apiKeys} WHERE ${apiKeys.createdBy} = ${id}
      UNION SELECT child.id FROM ${apiKeys} child JOIN made ON child.created_by = made.id
    ) SELECT id FROM made`)
  return rowsOf<{ id: string }>(made)
}

export async function deleteKey(tx: Transaction, id: string): Promise<void> {
  await tx.delete(apiKeys).where(eq(apiKeys.id, id))
}

async function withSecrets(db: Database | Transaction, keys: KeyRow[]): Promise<KeyWithSecrets[]> {
  if (keys.length === 0) return []
  const ids = keys.map((key) => key.id)
  const secrets = await db
    .select()
    .from(apiKeySecrets)
    .where(inArray(apiKeySecrets.keyId, ids))
    .orderBy(apiKeySecrets.createdAt)
  const byKey = Map.groupBy(secrets, (secret) => secret.keyId)
  return keys.map((key) => ({ ...key, secrets: byKey.get(key.id) ?? [] }))
}

/** The rows of a raw statement: postgres.js answers a list, PGlite an object that holds one. */
function rowsOf<Row>(result: unknown): Row[] {
  return Array.isArray(result) ? result : (result as { rows: Row[] }).rows
}
