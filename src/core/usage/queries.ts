import { and, asc, eq, gte, lt, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { isOneOf } from '../../db/one-of.ts'
import { apiKeySecrets, apiKeys, keyUsage } from '../../db/schema.ts'

/** Uses of one key in one hour with one outcome. */
export type UsageCount = { keyId: string; hour: Date; outcome: string; count: number }
/** When a secret was last shown and good. */
export type LastUse = { secretId: string; at: Date }

/**
 * Adds counts to what is there; those of keys that are gone are dropped. The keys are locked first, as a deletion locks
 * them: it would wait for counts that are written here, while these wait for another of its keys.
 */
export async function addUsage(tx: Transaction, counts: readonly UsageCount[]): Promise<void> {
  const ids = [...new Set(counts.map(({ keyId }) => keyId))]
  await tx
    .select({ id: apiKeys.id })
    .from(apiKeys)
    .where(isOneOf(apiKeys.id, ids))
    .orderBy(asc(apiKeys.id))
    .for('key share')
  const rows = JSON.stringify(
    counts.map(({ keyId, hour, outcome, count }) => ({
      key_id: keyId,
      hour: hour.toISOString(),
      outcome,
      count,
    })),
  )
  await tx.execute(sql`
    INSERT INTO ${keyUsage} AS known (key_id, hour, outcome, count)
    SELECT used.key_id, used.hour, used.outcome, used.count
    FROM jsonb_to_recordset(${rows}::jsonb) AS used (key_id uuid, hour timestamptz, outcome text, count bigint)
    JOIN ${apiKeys} key ON key.id = used.key_id
    ORDER BY used.key_id, used.hour, used.outcome
    ON CONFLICT (key_id, hour, outcome) DO UPDATE SET count = known.count + excluded.count`)
}

/**
 * Moves `last_used_at` forward, never back: another instance may have written a later one. Waits for no lock: a change
 * that holds one secret and is about to lock another would wait for this in turn.
 * @returns the uses of secrets that are locked now; none of secrets that are gone
 */
export async function updateLastUses(tx: Transaction, uses: readonly LastUse[]): Promise<LastUse[]> {
  const ids = sql.param(uses.map(({ secretId }) => secretId))
  const isUsed = sql`${apiKeySecrets.id} = ANY (${ids}::uuid[])`
  const { id } = apiKeySecrets
  const free = await tx
    .select({ id })
    .from(apiKeySecrets)
    .where(isUsed)
    .for('no key update', { skipLocked: true })
  const freeIds = new Set(free.map((secret) => secret.id))
  const rows = JSON.stringify(
    uses.flatMap(({ secretId, at }) =>
      freeIds.has(secretId) ? [{ id: secretId, at: at.toISOString() }] : [],
    ),
  )
  await tx.execute(sql`
    UPDATE ${apiKeySecrets} SET last_used_at = used.at
    FROM jsonb_to_recordset(${rows}::jsonb) AS used (id uuid, at timestamptz)
    WHERE ${apiKeySecrets.id} = used.id AND (last_used_at IS NULL OR last_used_at < used.at)`)
  if (freeIds.size === uses.length) return []
  const known = await tx.select({ id }).from(apiKeySecrets).where(isUsed)
  const lockedIds = new Set(known.flatMap((secret) => (freeIds.has(secret.id) ? [] : [secret.id])))
  return uses.filter(({ secretId }) => lockedIds.has(secretId))
}

/** How often keys were used on each day (UTC) since one, whatever came of it. */
export function listDailyTotals(db: Database, keyIds: readonly string[], from: Date) {
  const day = sql<Date>`date_trunc('day', ${keyUsage.hour}, 'UTC')`.mapWith(keyUsage.hour).as('day')
  return db
    .select({ keyId: keyUsage.keyId, day, count: sql`sum(${keyUsage.count})`.mapWith(Number) })
    .from(keyUsage)
    .where(and(isOneOf(keyUsage.keyId, keyIds), gte(keyUsage.hour, from)))
    .groupBy(keyUsage.keyId, sql`day`)
}

/** A key's counts by hour, oldest first. */
export function listUsage(db: Database, keyId: string, from: Date, to: Date) {
  return db
    .select({ at: keyUsage.hour, outcome: keyUsage.outcome, count: keyUsage.count })
    .from(keyUsage)
    .where(and(eq(keyUsage.keyId, keyId), gte(keyUsage.hour, from), lt(keyUsage.hour, to)))
    .orderBy(asc(keyUsage.hour), asc(keyUsage.outcome))
}
