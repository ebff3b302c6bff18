import { asc, isNull, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/open.ts'
import { signingKeys } from '../../db/schema.ts'

export type SigningKeyRow = typeof signingKeys.$inferSelect

/** Every key that may still verify, oldest first. */
export function listSigningKeys(db: Database | Transaction): Promise<SigningKeyRow[]> {
  return db
    .select()
    .from(signingKeys)
    .where(isNull(signingKeys.revokedAt))
    .orderBy(asc(signingKeys.signsFrom))
}

export async function insertSigningKey(tx: Transaction, key: typeof signingKeys.$inferInsert): Promise<void> {
  await tx.insert(signingKeys).values(key)
}

/** Held until the transaction ends: of several servers, one makes the key and the others find it. */
export async function lockSigningKeys(tx: Transaction): Promise<void> {
  await tx.execute(sql`SELECT pg_advisory_xact_lock(hashtextextended('latchkey.signing_keys', 0))`)
}
