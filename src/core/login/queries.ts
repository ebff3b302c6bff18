import { and, eq, or, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { loginAttempts } from '../../db/schema.ts'

export type Attempt = {
  emailHmac: Uint8Array
  now: Date
  /** A window that began before this time has ended. */
  windowStart: Date
  /** The attempts that a window allows. */
  most: number
}

/**
 * Counts one attempt by one statement, in a new window where the last one has ended.
 * @returns the number of the attempt in its window; null where the window is full, in which case nothing is counted
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

/** The start of an account's window; null where it has none. */
export async function findWindowStart(db: Database, emailHmac: Uint8Array): Promise<Date | null> {
  const [row] = await db
    .select({ startedAt: loginAttempts.windowStartedAt })
    .from(loginAttempts)
    .where(eq(loginAttempts.emailHmac, emailHmac))
  return row?.startedAt ?? null
}

/** Takes one attempt of a window back, because it was not a failure. */
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

/** Deletes the windows of an account: one for each key under which it is counted. */
export async function deleteAttempts(tx: Transaction, emailHmacs: Uint8Array[]): Promise<void> {
  await tx
    .delete(loginAttempts)
    .where(or(sql`false`, ...emailHmacs.map((hmac) => eq(loginAttempts.emailHmac, hmac))))
}
