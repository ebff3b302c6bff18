import { and, eq, isNull } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/open.ts'
import { apiKeyCredits, apiKeySecrets, apiKeys, users } from '../../db/schema.ts'

/** A user as another service knows them. */
export type ImportedUserRow = Omit<typeof users.$inferSelect, 'passwordChangedAt'>

/** Whose a secret is here, living or dead; null where nobody's. */
export async function findSecretHolder(
  db: Database,
  hash: Uint8Array,
): Promise<{ keyId: string; ownerId: string | null } | null> {
  const [row] = await db
    .select({ keyId: apiKeys.id, userId: apiKeys.userId, serviceAccountId: apiKeys.serviceAccountId })
    .from(apiKeySecrets)
    .innerJoin(apiKeys, eq(apiKeys.id, apiKeySecrets.keyId))
    .where(eq(apiKeySecrets.hash, hash))
  return row ? { keyId: row.keyId, ownerId: row.userId ?? row.serviceAccountId } : null
}

/** Whose a key is here, by its id; null where there is none. */
export async function findKeyOwner(db: Database, id: string): Promise<{ ownerId: string | null } | null> {
  const [row] = await db
    .select({ userId: apiKeys.userId, serviceAccountId: apiKeys.serviceAccountId })
    .from(apiKeys)
    .where(eq(apiKeys.id, id))
  return row ? { ownerId: row.userId ?? row.serviceAccountId } : null
}

/** @throws where the id or the address is taken */
export async function insertImportedUser(tx: Transaction, user: ImportedUserRow): Promise<void> {
  await tx.insert(users).values(user)
}

export async function updateCeiling(tx: Transaction, userId: string, scopes: string[]): Promise<void> {
  await tx.update(users).set({ scopes }).where(eq(users.id, userId))
}

/** A key with its one secret. @throws where the id or the secret is taken, or the owner gone */
export async function insertImportedKey(
  tx: Transaction,
  key: typeof apiKeys.$inferInsert,
  secret: typeof apiKeySecrets.$inferInsert,
  credits: typeof apiKeyCredits.$inferInsert | null,
): Promise<void> {
  await tx.insert(apiKeys).values(key)
  await tx.insert(apiKeySecrets).values(secret)
  if (credits) await tx.insert(apiKeyCredits).values(credits)
}

/** Revokes a key, unless it is revoked already. */
export function updateRevoked(
  tx: Transaction,
  id: string,
  now: Date,
  reason: string,
): Promise<{ id: string }[]> {
  return tx
    .update(apiKeys)
    .set({ revokedAt: now, revokedReason: reason })
    .where(and(eq(apiKeys.id, id), isNull(apiKeys.revokedAt)))
    .returning({ id: apiKeys.id })
}
