import { eq, or, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { EVICTION_CHANNEL, formatPasswordKind } from '../../db/eviction.ts'
import { isOneOf } from '../../db/one-of.ts'
import { apiKeySecrets, apiKeys, keyActivity, users } from '../../db/schema.ts'
import { type OwnerColumns, ownerOfRow } from '../owners.ts'

/** The part of an existing or accepted user on which the import decides. */
export type KnownUser = Pick<typeof users.$inferSelect, 'id' | 'email' | 'role' | 'scopes'>

/** An existing or accepted key, and its owner. */
export type KnownKey = { keyId: string; ownerId: string }

const known = { id: users.id, email: users.email, role: users.role, scopes: users.scopes }

/**
 * The users who have one of the ids or addresses. One statement looks both up at the same moment, so that no user is
 * missed between two.
 */
export function findUsersLike(
  db: Database,
  ids: readonly string[],
  emails: readonly string[],
): Promise<KnownUser[]> {
  return db
    .select(known)
    .from(users)
    .where(or(isOneOf(users.id, ids), isOneOf(users.email, emails)))
}

export async function findUsersById(db: Database, ids: readonly string[]): Promise<KnownUser[]> {
  if (ids.length === 0) return []
  return db.select(known).from(users).where(isOneOf(users.id, ids))
}

const ownership = { keyId: apiKeys.id, userId: apiKeys.userId, serviceAccountId: apiKeys.serviceAccountId }

export async function findKeysById(db: Database, ids: readonly string[]): Promise<KnownKey[]> {
  const rows = await db.select(ownership).from(apiKeys).where(isOneOf(apiKeys.id, ids))
  return rows.map(ownedKey)
}

/** The keys that have these secrets, valid or not. */
export async function findKeysByHash(
  db: Database,
  hashes: readonly Uint8Array[],
): Promise<(KnownKey & { hash: Uint8Array })[]> {
  const hex = sql.param(hashes.map((hash) => hash.toHex()))
  const wanted = sql`SELECT decode(hash, 'hex') FROM unnest(${hex}::text[]) AS hash`
  const rows = await db
    .select({ ...ownership, hash: apiKeySecrets.hash })
    .from(apiKeySecrets)
    .innerJoin(apiKeys, eq(apiKeys.id, apiKeySecrets.keyId))
    .where(sql`${apiKeySecrets.hash} IN (${wanted})`)
  return rows.map((row) => ({ ...ownedKey(row), hash: new Uint8Array(row.hash) }))
}

const ownedKey = (row: OwnerColumns & { keyId: string }): KnownKey => ({
  keyId: row.keyId,
  ownerId: ownerOfRow(row).id,
})

/**
 * Inserts users by one statement.
 * @throws the database's error where an id or an address exists; then none is inserted
 */
export async function insertImportedUsers(
  tx: Transaction,
  imported: readonly (typeof users.$inferInsert)[],
): Promise<void> {
  await tx.insert(users).values([...imported])
}

/**
 * Tells every instance, at COMMIT, which kinds of password hashes the transaction adds. The instances adapt the
 * duration of failed log-ins (docs/decisions/0031).
 */
export async function notifyPasswordKinds(tx: Transaction, kinds: Iterable<string>): Promise<void> {
  const messages = [...kinds].map(formatPasswordKind)
  await tx.execute(
    sql`SELECT pg_notify(${EVICTION_CHANNEL}, message) FROM unnest(${sql.param(messages)}::text[]) AS message`,
  )
}

/** Stores the scopes that a user may hold. The caller has locked the user. */
export async function updateCeiling(tx: Transaction, userId: string, scopes: string[]): Promise<void> {
  await tx.update(users).set({ scopes }).where(eq(users.id, userId))
}

/** The rows of some keys, in the order in which they refer to each other. */
export type ImportedKeyRows = {
  keys: (typeof apiKeys.$inferInsert)[]
  secrets: (typeof apiKeySecrets.$inferInsert)[]
}

/**
 * Inserts keys with their secrets.
 * @throws the database's error where an id or a secret exists, or an owner does not; then none is inserted
 */
export async function insertImportedKeys(tx: Transaction, { keys, secrets }: ImportedKeyRows): Promise<void> {
  await tx.insert(apiKeys).values(keys)
  await tx.insert(apiKeySecrets).values(secrets)
  const uses = secrets.flatMap(({ keyId, lastUsedAt }) =>
    lastUsedAt ? [{ keyId, lastUsedAt, lastUsedDay: lastUsedAt.toISOString().slice(0, 10) }] : [],
  )
  if (uses.length > 0) await tx.insert(keyActivity).values(uses)
}
