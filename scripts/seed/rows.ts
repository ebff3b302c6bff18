import { type SQL, sql } from 'drizzle-orm'
import { keyRefusals } from '../../src/db/console.ts'
import type { Database } from '../../src/db/database.ts'
import { apiKeySecrets, apiKeys, keyActivity, keyUsage, serviceAccounts, users } from '../../src/db/schema.ts'

export const USAGE_DAYS = 30

/** A number from 0 to below 1 that a text always has: the content is the same each time. */
const chance = (text: SQL) => sql`((('x' || substr(md5(${text}), 1, 7))::bit(28)::int)::float8 / 268435456)`
const ofKey = chance(sql`k.name`)
/** What happens to a key in one hour. */
const ofHour = chance(sql`k.name || h.hour::text`)
const at = (now: Date) => sql`${now.toISOString()}::timestamptz`

/** Spreads the creation of everything over the last months, and lets some keys be disabled or over. */
export async function moveIntoPast(db: Database, now: Date): Promise<void> {
  await db.execute(
    sql`UPDATE ${users} SET created_at = ${at(now)} - interval '200 days' * ${chance(sql`email`)}`,
  )
  await db.execute(
    sql`UPDATE ${serviceAccounts} SET created_at = ${at(now)} - interval '180 days' * ${chance(sql`name`)}`,
  )
  await db.execute(sql`UPDATE ${apiKeys} AS k SET created_at = ${at(now)} - interval '150 days' * ${chance(sql`k.name || 'age'`)},
    is_active = ${ofKey} NOT BETWEEN 0.5 AND 0.52,
    expires_at = CASE WHEN ${ofKey} BETWEEN 0.1 AND 0.13 THEN ${at(now)} - interval '2 days' ELSE expires_at END,
    revoked_at = revoked_at - interval '20 days' * ${ofKey}`)
  await db.execute(
    sql`UPDATE ${apiKeySecrets} AS s SET created_at = k.created_at FROM ${apiKeys} AS k WHERE k.id = s.key_id`,
  )
}

/** The uses of one day: most keys by day, few by night and at weekends; some are refused now and then. One statement. */
export async function addUsage(db: Database, now: Date, daysAgo: number): Promise<void> {
  const day = sql`date_trunc('day', ${at(now)}, 'UTC') - make_interval(days => ${daysAgo})`
  await db.execute(sql`
    INSERT INTO ${keyUsage} (key_id, hour, outcome, count)
    SELECT key_id, hour, outcome, count FROM (
      SELECT k.id AS key_id, h.hour AS hour, o.outcome AS outcome, floor(
        (${ofKey} - 0.25) ^ 2 * 300 * (0.2 + sin(pi() * extract(hour FROM h.hour AT TIME ZONE 'UTC')::float8 / 24) ^ 2)
        * CASE WHEN extract(isodow FROM h.hour AT TIME ZONE 'UTC') > 5 THEN 0.3 ELSE 1 END
        * (0.5 + ${ofHour}) * o.share)::bigint AS count
      FROM ${apiKeys} AS k
      CROSS JOIN generate_series(${day}, ${day} + interval '23 hours', interval '1 hour') AS h (hour)
      CROSS JOIN (VALUES ('VALID', 1.0), ('RATE_LIMITED', 0.05), ('INSUFFICIENT_SCOPE', 0.04)) AS o (outcome, share)
      WHERE ${ofKey} > 0.25 AND h.hour >= k.created_at AND h.hour <= ${at(now)}
        AND (k.revoked_at IS NULL OR h.hour < k.revoked_at) AND (k.expires_at IS NULL OR h.hour < k.expires_at)
        AND (o.outcome = 'VALID' OR ${ofHour} < 0.1)
    ) AS uses WHERE count > 0`)
}

/** The last use of each key follows from its usage. */
export async function touchKeys(db: Database): Promise<void> {
  await db.execute(sql`
    INSERT INTO ${keyActivity} (key_id, last_used_at, last_used_day)
    SELECT key_id, max(hour), (max(hour) AT TIME ZONE 'UTC')::date FROM ${keyUsage} GROUP BY key_id`)
  await db.execute(sql`UPDATE ${apiKeySecrets} AS s SET last_used_at = u.last_used_at
    FROM ${keyActivity} AS u WHERE u.key_id = s.key_id`)
}

/** Samples of the refusals of the last days. */
export async function addRefusals(db: Database, now: Date): Promise<void> {
  await db.execute(sql`
    INSERT INTO ${keyRefusals} (key_id, at, outcome, ip, count)
    SELECT key_id, LEAST(hour + interval '17 minutes', ${at(now)}), outcome, '192.0.2.' || (count % 200 + 1), count
    FROM ${keyUsage} WHERE outcome <> 'VALID' AND hour > ${at(now)} - interval '7 days'`)
}
