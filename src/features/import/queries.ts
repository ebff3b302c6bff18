import { and, eq, isNull, or, sql } from 'drizzle-orm'
import { alias } from 'drizzle-orm/pg-core'
import type { Database, Transaction } from '../../db/open.ts'
import { apiKeyCredits, apiKeySecrets, apiKeys, users } from '../../db/schema.ts'

/** A user as another service knows them. */
export type ImportedUserRow = Omit<typeof users.$inferSelect, 'passwordChangedAt'>

/**
 * Who has an address, and who an id: seen in one moment, so that somebody who comes in meanwhile is not seen by half.
 */
export async function findUsersLike(
  db: Database,
  { id, email }: { id: string; email: string },
): Promise<{ holder: { id: string } | null; namesake: { id: string } | null }> {
  const rows = await db
    .select({ id: users.id, email: users.email })
    .from(users)
    .where(or(eq(users.id, id), eq(users.email, email)))
  return {
    holder: rows.find((row) => row.email === email) ?? null,
    namesake: rows.find((row) => row.id === id) ?? null,
  }
}

/** A key that is here, and whose. */
export type KnownKey = { keyId: string; ownerId: string | null }

const holding = alias(apiKeys, 'holding')
const namesakes = alias(apiKeys, 'namesakes')

/** Whose a secret is here, living or dead, and whose the key of an id: seen in one moment, each by its index. */
export async function findKeysLike(
  db: Database,
  { id, hash }: { id: string; hash: Uint8Array },
): Promise<{ holder: KnownKey | null; namesake: KnownKey | null }> {
  const [row] = await db
    .select({
      holder: { keyId: holding.id, ...ownersOf(holding) },
      namesake: { keyId: namesakes.id, ...ownersOf(namesakes) },
    })
    .from(sql`(SELECT 1) AS one`)
    .leftJoin(apiKeySecrets, eq(apiKeySecrets.hash, hash))
    .leftJoin(holding, eq(holding.id, apiKeySecrets.keyId))
    .leftJoin(namesakes, eq(namesakes.id, id))
  return { holder: knownKey(row?.holder), namesake: knownKey(row?.namesake) }
}

const ownersOf = (keys: typeof holding | typeof namesakes) => ({
  userId: keys.userId,
  serviceAccountId: keys.serviceAccountId,
})

type Found = { keyId: string | null; userId: string | null; serviceAccountId: string | null }

function knownKey(found: Found | null | undefined): KnownKey | null {
  if (!found?.keyId) return null
  return { keyId: found.keyId, ownerId: found.userId ?? found.serviceAccountId }
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
