import { and, asc, eq, inArray, isNull, or } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { apiKeyCredits, apiKeySecrets, apiKeys, users } from '../../db/schema.ts'

/** A user as another service knows them. */
export type ImportedUserRow = Omit<typeof users.$inferSelect, 'passwordChangedAt'>

/** A user as far as an import asks. */
export type KnownUser = Pick<ImportedUserRow, 'id' | 'email' | 'role' | 'scopes'>

/** A key that is here, or comes in, and whose. */
export type KnownKey = { keyId: string; ownerId: string | null }

const known = { id: users.id, email: users.email, role: users.role, scopes: users.scopes }

/** Who has one of the ids or of the addresses, in one moment: nobody who comes in meanwhile is seen by half. */
export function findUsersLike(
  db: Database,
  ids: readonly string[],
  emails: readonly string[],
): Promise<KnownUser[]> {
  return db
    .select(known)
    .from(users)
    .where(or(inArray(users.id, [...ids]), inArray(users.email, [...emails])))
}

export async function findUsersById(db: Database, ids: readonly string[]): Promise<KnownUser[]> {
  if (ids.length === 0) return []
  return db
    .select(known)
    .from(users)
    .where(inArray(users.id, [...ids]))
}

/** Users locked until the transaction ends; in one order, so that two imports wait for each other in turn. */
export async function lockUsers(tx: Transaction, ids: readonly string[]): Promise<KnownUser[]> {
  if (ids.length === 0) return []
  return tx
    .select(known)
    .from(users)
    .where(inArray(users.id, [...ids]))
    .orderBy(asc(users.id))
    .for('update')
}

const ownership = { keyId: apiKeys.id, userId: apiKeys.userId, serviceAccountId: apiKeys.serviceAccountId }

export async function findKeysById(db: Database, ids: readonly string[]): Promise<KnownKey[]> {
  const rows = await db
    .select(ownership)
    .from(apiKeys)
    .where(inArray(apiKeys.id, [...ids]))
  return rows.map(ownedKey)
}

/** Whose the secrets are that are here, living or dead. */
export async function findKeysByHash(
  db: Database,
  hashes: readonly Uint8Array[],
): Promise<(KnownKey & { hash: Uint8Array })[]> {
  const rows = await db
    .select({ ...ownership, hash: apiKeySecrets.hash })
    .from(apiKeySecrets)
    .innerJoin(apiKeys, eq(apiKeys.id, apiKeySecrets.keyId))
    .where(inArray(apiKeySecrets.hash, [...hashes]))
  return rows.map((row) => ({ ...ownedKey(row), hash: new Uint8Array(row.hash) }))
}

type Ownership = { keyId: string; userId: string | null; serviceAccountId: string | null }

const ownedKey = ({ keyId, userId, serviceAccountId }: Ownership): KnownKey => ({
  keyId,
  ownerId: userId ?? serviceAccountId,
})

/** @throws where an id or an address is taken; then none is inserted */
export async function insertImportedUsers(
  tx: Transaction,
  imported: readonly ImportedUserRow[],
): Promise<void> {
  await tx.insert(users).values([...imported])
}

export async function updateCeiling(tx: Transaction, userId: string, scopes: string[]): Promise<void> {
  await tx.update(users).set({ scopes }).where(eq(users.id, userId))
}

/** The rows of some keys, in the order in which they refer to each other. */
export type ImportedKeyRows = {
  keys: (typeof apiKeys.$inferInsert)[]
  secrets: (typeof apiKeySecrets.$inferInsert)[]
  credits: (typeof apiKeyCredits.$inferInsert)[]
}

/** @throws where an id or a secret is taken, or an owner gone; then none is inserted */
export async function insertImportedKeys(
  tx: Transaction,
  { keys, secrets, credits }: ImportedKeyRows,
): Promise<void> {
  await tx.insert(apiKeys).values(keys)
  await tx.insert(apiKeySecrets).values(secrets)
  if (credits.length > 0) await tx.insert(apiKeyCredits).values(credits)
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
