import { asc, eq, isNull, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { signingKeys } from '../../db/schema.ts'

export type SigningKeyRow = typeof signingKeys.$inferSelect

/** Every key that is not revoked, in the order in which they sign. */
export function listSigningKeys(db: Database | Transaction): Promise<SigningKeyRow[]> {
  return db
    .select()
    .from(signingKeys)
    .where(isNull(signingKeys.revokedAt))
    .orderBy(asc(signingKeys.signsFrom), asc(signingKeys.id))
}

/** The columns of every key that regions have too: none of them is secret. */
const publicPart = {
  id: signingKeys.id,
  algorithm: signingKeys.algorithm,
  publicJwk: signingKeys.publicJwk,
  createdAt: signingKeys.createdAt,
  signsFrom: signingKeys.signsFrom,
  revokedAt: signingKeys.revokedAt,
}
export type PublicSigningKey = Omit<SigningKeyRow, 'privateKey'>

/** The public part of every key, including revoked ones, in the order in which they sign. */
export function listPublicSigningKeys(db: Database): Promise<PublicSigningKey[]> {
  return db.select(publicPart).from(signingKeys).orderBy(asc(signingKeys.signsFrom), asc(signingKeys.id))
}

/** Every key, including revoked ones, in the order in which they sign. */
export function listAllSigningKeys(db: Database | Transaction): Promise<SigningKeyRow[]> {
  return db.select().from(signingKeys).orderBy(asc(signingKeys.signsFrom), asc(signingKeys.id))
}

export async function insertSigningKey(
  tx: Transaction,
  key: typeof signingKeys.$inferInsert,
): Promise<SigningKeyRow> {
  const [row] = await tx.insert(signingKeys).values(key).returning()
  if (!row) throw new Error('An insert returned no row')
  return row
}

export async function updateSigningKey(
  tx: Transaction,
  id: string,
  change: Partial<Pick<SigningKeyRow, 'revokedAt' | 'signsFrom' | 'privateKey'>>,
): Promise<void> {
  await tx.update(signingKeys).set(change).where(eq(signingKeys.id, id))
}

/**
 * Takes the lock of all changes of signing keys until the transaction ends. So of several servers that start at once,
 * one makes the first key and the others find it.
 */
export async function lockSigningKeys(tx: Transaction): Promise<void> {
  await tx.execute(sql`SELECT pg_advisory_xact_lock(hashtextextended('latchkey.signing_keys', 0))`)
}
