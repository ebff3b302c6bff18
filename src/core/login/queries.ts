import { and, eq, or, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import {
  codeFailures,
  passkeyChallenges,
  passkeys,
  pendingSteps,
  recoveryCodes,
  totpSecrets,
} from '../../db/people.ts'
import { loginAttempts, users } from '../../db/schema.ts'

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

/**
 * Removes a user's second factors: their TOTP, passkeys and recovery codes, and what is under way with them.
 */
export async function deleteSecondFactors(tx: Transaction, userId: string): Promise<void> {
  for (const table of [totpSecrets, passkeys, recoveryCodes, pendingSteps, passkeyChallenges, codeFailures])
    await tx.delete(table).where(eq(table.userId, userId))
  await tx.update(users).set({ hasSecondFactor: false }).where(eq(users.id, userId))
}
