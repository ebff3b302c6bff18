import { eq, sql } from 'drizzle-orm'
import type { Database } from '../../db/open.ts'
import { loginAttempts } from '../../db/schema.ts'

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
