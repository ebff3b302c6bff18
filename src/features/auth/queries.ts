import { and, eq, gt, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/open.ts'
import { loginAttempts, passwordResets } from '../../db/schema.ts'

export type Attempts = { attempts: number; windowStartedAt: Date }

/** Counts one attempt, in a new window where the last one is over, and says how many there are now. One statement. */
export async function reserveAttempt(
  db: Database,
  emailHmac: Uint8Array,
  now: Date,
  windowStart: Date,
): Promise<Attempts> {
  const isOver = sql`${loginAttempts.windowStartedAt} <= ${windowStart.toISOString()}`
  const [row] = await db
    .insert(loginAttempts)
    .values({ emailHmac, attempts: 1, windowStartedAt: now })
    .onConflictDoUpdate({
      target: loginAttempts.emailHmac,
      set: {
        attempts: sql`CASE WHEN ${isOver} THEN 1 ELSE LEAST(${loginAttempts.attempts} + 1, 1000000) END`,
        windowStartedAt: sql`CASE WHEN ${isOver} THEN ${now.toISOString()}::timestamptz ELSE ${loginAttempts.windowStartedAt} END`,
      },
    })
    .returning({ attempts: loginAttempts.attempts, windowStartedAt: loginAttempts.windowStartedAt })
  if (!row) throw new Error('An upsert returned no row')
  return row
}

/** Gives one attempt back: it was no failure. */
export async function releaseAttempt(db: Database, emailHmac: Uint8Array): Promise<void> {
  await db
    .update(loginAttempts)
    .set({ attempts: sql`GREATEST(${loginAttempts.attempts} - 1, 0)` })
    .where(eq(loginAttempts.emailHmac, emailHmac))
}

/** A reset that may still be used, by the hash of its token. */
export async function findReset(
  db: Database,
  hash: Uint8Array,
  now: Date,
): Promise<{ userId: string } | null> {
  const [reset] = await db
    .select({ userId: passwordResets.userId })
    .from(passwordResets)
    .where(and(eq(passwordResets.hash, hash), gt(passwordResets.expiresAt, now)))
  return reset ?? null
}

export async function insertReset(tx: Transaction, reset: typeof passwordResets.$inferInsert): Promise<void> {
  await tx.insert(passwordResets).values(reset)
}

/** Uses a reset up; of two at once, one finds it. */
export async function takeReset(tx: Transaction, hash: Uint8Array, now: Date): Promise<boolean> {
  const taken = await tx
    .delete(passwordResets)
    .where(and(eq(passwordResets.hash, hash), gt(passwordResets.expiresAt, now)))
    .returning({ id: passwordResets.id })
  return taken.length > 0
}

export async function deleteResets(tx: Transaction, userId: string): Promise<void> {
  await tx.delete(passwordResets).where(eq(passwordResets.userId, userId))
}
