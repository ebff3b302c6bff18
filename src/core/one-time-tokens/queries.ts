import { and, desc, eq, gt, isNull, lt } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { oneTimeTokens } from '../../db/people.ts'
import type { OneTimePurpose } from '../../lib/tokens.ts'

export type OneTimeTokenRow = typeof oneTimeTokens.$inferSelect

const isUnused = and(isNull(oneTimeTokens.usedAt), isNull(oneTimeTokens.voidedAt))
const isLive = (now: Date) => and(isUnused, gt(oneTimeTokens.expiresAt, now))

export async function insertToken(tx: Transaction, token: typeof oneTimeTokens.$inferInsert): Promise<void> {
  await tx.insert(oneTimeTokens).values(token)
}

/** A token that may still be used. */
export async function findToken(
  db: Database | Transaction,
  id: string,
  now: Date,
): Promise<OneTimeTokenRow | null> {
  const [token] = await db
    .select()
    .from(oneTimeTokens)
    .where(and(eq(oneTimeTokens.id, id), isLive(now)))
  return token ?? null
}

/** Uses a token up: of two at once, one gets the row. */
export async function updateTokenUsed(
  tx: Transaction,
  id: string,
  now: Date,
): Promise<OneTimeTokenRow | null> {
  const [token] = await tx
    .update(oneTimeTokens)
    .set({ usedAt: now })
    .where(and(eq(oneTimeTokens.id, id), isLive(now)))
    .returning()
  return token ?? null
}

/** Whether a token that is stored hashed may still be used. */
export async function isHashLive(db: Database, hash: Uint8Array, now: Date): Promise<boolean> {
  const [token] = await db
    .select({ id: oneTimeTokens.id })
    .from(oneTimeTokens)
    .where(and(eq(oneTimeTokens.hash, hash), isLive(now)))
  return token !== undefined
}

/** Uses up a token that is stored hashed: a set-up token. */
export async function updateSetupTokenUsed(tx: Transaction, hash: Uint8Array, now: Date): Promise<boolean> {
  const used = await tx
    .update(oneTimeTokens)
    .set({ usedAt: now })
    .where(and(eq(oneTimeTokens.hash, hash), isLive(now)))
    .returning({ id: oneTimeTokens.id })
  return used.length > 0
}

/**
 * Voids unused tokens of a user: all of them, those of one purpose, or one.
 * @returns their ids
 */
export async function updateTokensVoided(
  tx: Transaction,
  userId: string,
  now: Date,
  { purpose, id }: { purpose?: OneTimePurpose; id?: string } = {},
): Promise<string[]> {
  const voided = await tx
    .update(oneTimeTokens)
    .set({ voidedAt: now })
    .where(
      and(
        eq(oneTimeTokens.userId, userId),
        purpose === undefined ? undefined : eq(oneTimeTokens.purpose, purpose),
        id === undefined ? undefined : eq(oneTimeTokens.id, id),
        isUnused,
      ),
    )
    .returning({ id: oneTimeTokens.id })
  return voided.map(({ id }) => id)
}

/** Changes the expiry of a token that still has the expiry `from`. Of two calls at once, one has an effect. */
export async function updateTokenEnd(db: Database, id: string, from: Date, to: Date): Promise<void> {
  await db
    .update(oneTimeTokens)
    .set({ expiresAt: to })
    .where(and(eq(oneTimeTokens.id, id), eq(oneTimeTokens.expiresAt, from)))
}

/** A user's tokens of one purpose that may still be used, newest first, after the token `after`. */
export function listTokens(
  db: Database,
  userId: string,
  purpose: OneTimePurpose,
  now: Date,
  { limit, after }: { limit: number; after: string | null },
): Promise<OneTimeTokenRow[]> {
  return db
    .select()
    .from(oneTimeTokens)
    .where(
      and(
        eq(oneTimeTokens.userId, userId),
        eq(oneTimeTokens.purpose, purpose),
        isLive(now),
        after === null ? undefined : lt(oneTimeTokens.id, after),
      ),
    )
    .orderBy(desc(oneTimeTokens.id))
    .limit(limit)
}
