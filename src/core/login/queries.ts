import { and, desc, eq, gt, lt, or, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { loginAttempts, passwordResets } from '../../db/schema.ts'

export type Attempt = {
  emailHmac: Uint8Array
  now: Date
  /** A window that began before this is over. */
  windowStart: Date
  /** How many a window has room for. */
  most: number
}

/**
 * Counts one attempt, in a new window where the last one is over. One statement.
 * @returns which attempt of its window it is; null where the window has no room, and then nothing is counted
 */
export async function reserveAttempt(
  db: Database,
  { emailHmac, now, windowStart, most }: Attempt,
): Promise<{ number: number; windowStartedAt: Date } | null> {
  const isOver = sql`${loginAttempts.windowStartedAt} <= ${windowStart.toISOString()}`
  const [row] = await db
    .insert(loginAttempts)
    .values({ emailHmac, attempts: 1, windowStartedAt: now })
    .onConflictDoUpdate({
      target: loginAttempts.emailHmac,
      set: {
        attempts: sql`CASE WHEN ${isOver} THEN 1 ELSE ${loginAttempts.attempts} + 1 END`,
        windowStartedAt: sql`CASE WHEN ${isOver} THEN ${now.toISOString()}::timestamptz ELSE ${loginAttempts.windowStartedAt} END`,
      },
      setWhere: sql`${isOver} OR ${loginAttempts.attempts} < ${most}`,
    })
    .returning({ number: loginAttempts.attempts, windowStartedAt: loginAttempts.windowStartedAt })
  return row ?? null
}

/** When an account's window began; null where it has none. */
export async function findWindowStart(db: Database, emailHmac: Uint8Array): Promise<Date | null> {
  const [row] = await db
    .select({ startedAt: loginAttempts.windowStartedAt })
    .from(loginAttempts)
    .where(eq(loginAttempts.emailHmac, emailHmac))
  return row?.startedAt ?? null
}

/** Gives one attempt of a window back: it was no failure. */
export async function releaseAttempt(
  db: Database,
  emailHmac: Uint8Array,
  windowStartedAt: Date,
): Promise<void> {
  await db
    .update(loginAttempts)
    .set({ attempts: sql`GREATEST(${loginAttempts.attempts} - 1, 0)` })
    .where(and(eq(loginAttempts.emailHmac, emailHmac), eq(loginAttempts.windowStartedAt, windowStartedAt)))
}

/** Ends the windows of an account: one for each key that it is counted under. */
export async function deleteAttempts(tx: Transaction, emailHmacs: Uint8Array[]): Promise<void> {
  await tx
    .delete(loginAttempts)
    .where(or(sql`false`, ...emailHmacs.map((hmac) => eq(loginAttempts.emailHmac, hmac))))
}

/** A reset that may still be used, by the hash of its token. */
export async function findReset(
  db: Database | Transaction,
  hash: Uint8Array,
  now: Date,
): Promise<{ userId: string; createdBy: string | null } | null> {
  const [reset] = await db
    .select({ userId: passwordResets.userId, createdBy: passwordResets.createdBy })
    .from(passwordResets)
    .where(and(eq(passwordResets.hash, hash), gt(passwordResets.expiresAt, now)))
  return reset ?? null
}

export async function insertReset(tx: Transaction, reset: typeof passwordResets.$inferInsert): Promise<void> {
  await tx.insert(passwordResets).values(reset)
}

export type ResetRow = Pick<
  typeof passwordResets.$inferSelect,
  'id' | 'createdBy' | 'createdAt' | 'expiresAt'
>

/** A user's resets that may still be used, newest first, after the reset `after`. */
export function listResets(
  db: Database,
  userId: string,
  now: Date,
  { limit, after }: { limit: number; after: string | null },
): Promise<ResetRow[]> {
  const { id, createdBy, createdAt, expiresAt } = passwordResets
  return db
    .select({ id, createdBy, createdAt, expiresAt })
    .from(passwordResets)
    .where(
      and(eq(passwordResets.userId, userId), gt(expiresAt, now), after === null ? undefined : lt(id, after)),
    )
    .orderBy(desc(id))
    .limit(limit)
}

/** false where it is gone already. */
export async function deleteReset(tx: Transaction, userId: string, id: string): Promise<boolean> {
  const deleted = await tx
    .delete(passwordResets)
    .where(and(eq(passwordResets.id, id), eq(passwordResets.userId, userId)))
    .returning({ id: passwordResets.id })
  return deleted.length > 0
}

export async function deleteResets(tx: Transaction, userId: string): Promise<void> {
  await tx.delete(passwordResets).where(eq(passwordResets.userId, userId))
}
