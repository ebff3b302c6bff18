import { and, asc, eq, gte, lt, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { apiKeySecrets, apiKeys, keyUsage } from '../../db/schema.ts'

/** Uses of one key in one hour with one outcome. */
export type UsageCount = { keyId: string; hour: Date; outcome: string; count: number }
/** When a secret was last shown and good. */
export type LastUse = { secretId: string; at: Date }

/** Adds counts to what is there, in one statement; those of keys that are gone are dropped. */
export async function addUsage(tx: Transaction, counts: readonly UsageCount[]): Promise<void> {
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

/** Moves `last_used_at` forward, never back: another instance may have written a later one. */
export async function updateLastUses(tx: Transaction, uses: readonly LastUse[]): Promise<void> {
  const rows = JSON.stringify(uses.map(({ secretId, at }) => ({ id: secretId, at: at.toISOString() })))
  await tx.execute(sql`
    WITH used AS (
      SELECT secret.id, shown.at FROM ${apiKeySecrets} secret
      JOIN jsonb_to_recordset(${rows}::jsonb) AS shown (id uuid, at timestamptz) ON shown.id = secret.id
      WHERE secret.last_used_at IS NULL OR secret.last_used_at < shown.at
      ORDER BY secret.id FOR UPDATE OF secret
    )
    UPDATE ${apiKeySecrets} SET last_used_at = used.at FROM used WHERE ${apiKeySecrets.id} = used.id`)
}

/** A key's counts by hour, oldest first. */
export function listUsage(db: Database, keyId: string, from: Date, to: Date) {
  return db
    .select({ at: keyUsage.hour, outcome: keyUsage.outcome, count: keyUsage.count })
    .from(keyUsage)
    .where(and(eq(keyUsage.keyId, keyId), gte(keyUsage.hour, from), lt(keyUsage.hour, to)))
    .orderBy(asc(keyUsage.hour), asc(keyUsage.outcome))
}
