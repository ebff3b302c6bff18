import { eq, sql } from 'drizzle-orm'
import { overview } from '../../db/console.ts'
import type { Database, Transaction } from '../../db/database.ts'

/** The overview as it was last computed; null: never. */
export async function findOverview(
  db: Database | Transaction,
): Promise<{ computedAt: Date; body: unknown } | null> {
  const [row] = await db.select().from(overview).where(eq(overview.only, true))
  return row ?? null
}

export async function replaceOverview(
  tx: Transaction,
  computedAt: Date,
  body: Record<string, unknown>,
): Promise<void> {
  await tx
    .insert(overview)
    .values({ only: true, computedAt, body })
    .onConflictDoUpdate({ target: overview.only, set: { computedAt, body } })
}

const LOCK = sql`hashtextextended('latchkey.overview', 0)`

/** Takes the lock of the computation, until the transaction ends; false where another transaction has it. */
export async function tryLockOverview(tx: Transaction): Promise<boolean> {
  const [row] = await tx
    .select({ isOurs: sql<boolean>`pg_try_advisory_xact_lock(${LOCK})` })
    .from(sql`(SELECT 1) AS one`)
  return row?.isOurs ?? false
}

/** The same, and waits until the other transaction ends. */
export async function lockOverview(tx: Transaction): Promise<void> {
  await tx.execute(sql`SELECT pg_advisory_xact_lock(${LOCK})`)
}

/** How long each statement of a transaction may take from now on, in milliseconds. */
export async function limitStatements(tx: Transaction, ms: number): Promise<void> {
  await tx.execute(sql.raw(`SET LOCAL statement_timeout = ${ms}`))
}
