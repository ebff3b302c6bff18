import { and, asc, desc, eq, getTableName, gte, lt, ne, or, type SQL, sql } from 'drizzle-orm'
import { keyRefusals, usageByOwner } from '../../db/console.ts'
import type { Database, Transaction } from '../../db/database.ts'
import { hasExternalId } from '../../db/external-ids.ts'
import { isOfAccountManagedBy } from '../../db/managers.ts'
import { isOneOf } from '../../db/one-of.ts'
import { apiKeySecrets, apiKeys, keyActivity, keyUsage, serviceAccounts, users } from '../../db/schema.ts'
import type { RefusedCode } from '../../lib/outcomes.ts'
import { type Owner, ownerColumn } from '../owners.ts'

/** A table in `FOR … OF` is named without its schema. */
const [apiKeyLock, secretLock] = [apiKeys, apiKeySecrets].map((table) => sql.identifier(getTableName(table)))

/** The number of uses of one key in one hour with one outcome. */
export type UsageCount = { keyId: string; hour: Date; outcome: string; count: number }
/** Refusals of a key in one batch with one outcome and address; `at` is when the last of them was. */
export type Refusal = { keyId: string; at: Date; outcome: RefusedCode; ip: string | null; count: number }
/** When a secret was last shown and good. */
export type LastUse = { secretId: string; at: Date }

/**
 * Adds counts to the stored ones; counts of deleted keys are dropped. The keys are locked first, in the order in which
 * a deletion locks them. Otherwise the deletion could wait for the counts written here, while this transaction waits
 * for another key of the deletion: a deadlock.
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

/** Adds refusals; those of keys that are gone are dropped. */
export async function addRefusals(tx: Transaction, refusals: readonly Refusal[]): Promise<void> {
  await tx.execute(sql`
    INSERT INTO ${keyRefusals} (key_id, at, outcome, ip, count)
    SELECT refused."keyId", refused.at, refused.outcome, refused.ip, refused.count
    FROM jsonb_to_recordset(${JSON.stringify(refusals)}::jsonb)
      AS refused ("keyId" uuid, at timestamptz, outcome text, ip text, count bigint)
    JOIN ${apiKeys} key ON key.id = refused."keyId"`)
}

/** The newest refusals of a key. */
export function listRefusals(db: Database, keyId: string, limit: number): Promise<Refusal[]> {
  return db
    .select()
    .from(keyRefusals)
    .where(eq(keyRefusals.keyId, keyId))
    .orderBy(desc(keyRefusals.at))
    .limit(limit)
}

/** How often a key was refused since an hour. */
export async function countRefusals(db: Database, keyId: string, from: Date): Promise<number> {
  const [row] = await db
    .select({ count: sql`COALESCE(sum(${keyUsage.count}), 0)`.mapWith(Number) })
    .from(keyUsage)
    .where(and(eq(keyUsage.keyId, keyId), gte(keyUsage.hour, from), ne(keyUsage.outcome, 'VALID')))
  return row?.count ?? 0
}

/**
 * Moves `last_used_at` of secrets and of their keys forward, never back, because another instance may have written a later
 * time. Skips locked secrets, and secrets of keys that are about to be deleted, instead of waiting: a change that holds one
 * row and is about to lock another would wait for this transaction in turn, which is a deadlock.
 * @returns the uses of secrets that are locked now; uses of deleted secrets are dropped
 */
export async function updateLastUses(tx: Transaction, uses: readonly LastUse[]): Promise<LastUse[]> {
  const ids = sql.param(uses.map(({ secretId }) => secretId))
  const isUsed = sql`${apiKeySecrets.id} = ANY (${ids}::uuid[])`
  const { id } = apiKeySecrets
  const free = await tx.select({ id: sql<string>`free.id` }).from(sql`(
    SELECT ${id} FROM ${apiKeySecrets} JOIN ${apiKeys} ON ${apiKeys.id} = ${apiKeySecrets.keyId} WHERE ${isUsed}
    FOR KEY SHARE OF ${apiKeyLock} SKIP LOCKED FOR NO KEY UPDATE OF ${secretLock} SKIP LOCKED) AS free`)
  const freeIds = new Set(free.map((secret) => secret.id))
  const rows = JSON.stringify(
    uses.flatMap(({ secretId, at }) =>
      freeIds.has(secretId) ? [{ id: secretId, at: at.toISOString() }] : [],
    ),
  )
  await tx.execute(sql`
    WITH moved AS (
      UPDATE ${apiKeySecrets} SET last_used_at = used.at
      FROM jsonb_to_recordset(${rows}::jsonb) AS used (id uuid, at timestamptz)
      WHERE ${apiKeySecrets.id} = used.id AND (last_used_at IS NULL OR last_used_at < used.at)
      RETURNING ${apiKeySecrets.keyId} AS key_id, used.at AS at)
    INSERT INTO ${keyActivity} AS known (key_id, last_used_at, last_used_day)
    SELECT key_id, max(at), (max(at) AT TIME ZONE 'UTC')::date FROM moved GROUP BY key_id ORDER BY key_id
    ON CONFLICT (key_id) DO UPDATE SET last_used_at = excluded.last_used_at, last_used_day = excluded.last_used_day
    WHERE known.last_used_at < excluded.last_used_at`)
  if (freeIds.size === uses.length) return []
  const known = await tx.select({ id }).from(apiKeySecrets).where(isUsed)
  const lockedIds = new Set(known.flatMap((secret) => (freeIds.has(secret.id) ? [] : [secret.id])))
  return uses.filter(({ secretId }) => lockedIds.has(secretId))
}

/** How often keys were used on each day (UTC) since one, whatever came of it. */
export function listDailyTotals(db: Database, keyIds: readonly string[], from: Date) {
  // A third of the time of `date_trunc`, which looks the time zone up for each row.
  const day = sql<Date>`date_bin('1 day', ${keyUsage.hour}, '1970-01-01Z')`.mapWith(keyUsage.hour).as('day')
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

/** The id that stands for all owners together in `usage_by_owner`. */
const EVERYBODY = '00000000-0000-0000-0000-000000000000'

/** Whose uses are counted: those of some keys, of an owner with too many keys to name, or of everybody (null). */
export type UsageOf = { keyIds: readonly string[] } | { owner: Owner } | null

/** The hours from `from` to before `to`; those since `live` are not summed up by owner yet. */
export type UsageRange = { from: Date; to: Date; live: Date }

const timestamp = (at: Date) => sql`${at.toISOString()}::timestamptz`

/** The rows of keys in some hours, with their owners. */
function usesOfKeys(of: UsageOf, from: Date, to: Date): SQL {
  const isOf =
    of === null
      ? sql`true`
      : 'keyIds' in of
        ? isOneOf(keyUsage.keyId, of.keyIds)
        : sql`${apiKeys[ownerColumn(of.owner)]} = ${of.owner.id}`
  return sql`
    SELECT ${keyUsage.keyId} AS key_id, COALESCE(${apiKeys.userId}, ${apiKeys.serviceAccountId}) AS owner_id,
      ${keyUsage.hour} AS hour, ${keyUsage.outcome} AS outcome, ${keyUsage.count} AS count
    FROM ${keyUsage} JOIN ${apiKeys} ON ${apiKeys.id} = ${keyUsage.keyId}
    WHERE ${keyUsage.hour} >= ${timestamp(from)} AND ${keyUsage.hour} < ${timestamp(to)} AND ${isOf}`
}

/** The rows that are summed up: of keys where they are few, else of owners, and of keys for the last hours. */
function usesOf(of: UsageOf, { from, to, live }: UsageRange, isByOwner: boolean): SQL {
  if (of !== null && 'keyIds' in of) return usesOfKeys(of, from, to)
  const ended = to < live ? to : live
  const running = from > live ? from : live
  const isOf =
    of === null && isByOwner ? sql`owner_id <> ${EVERYBODY}` : sql`owner_id = ${of?.owner.id ?? EVERYBODY}`
  return sql`
    SELECT NULL::uuid AS key_id, owner_id, hour, outcome, count FROM ${usageByOwner}
    WHERE hour >= ${timestamp(from)} AND hour < ${timestamp(ended)} AND ${isOf}
    UNION ALL ${usesOfKeys(of, running, to)}`
}

/** Uses by bucket and outcome; `bucket` counts the beginnings of buckets from 1. */
export function listTotals(db: Database, of: UsageOf, range: UsageRange, starts: readonly Date[]) {
  // In a SELECT of its own, which is done once: read from their text for each row, the times cost more than all else.
  const times = sql`(SELECT ${sql.param(starts.map((at) => at.toISOString()))}::text[]::timestamptz[])`
  return db
    .select({
      bucket: sql`bucket`.mapWith(Number),
      outcome: sql<string>`outcome`,
      count: sql`count`.mapWith(Number),
    })
    .from(
      sql`(SELECT width_bucket(hour, ${times}) AS bucket, outcome, sum(count) AS count
        FROM (${usesOf(of, range, false)}) AS used GROUP BY 1, 2) AS totals`,
    )
}

/** The keys or owners with the most uses, by outcome. */
export function listTop(db: Database, of: UsageOf, range: UsageRange, by: 'key' | 'owner', limit: number) {
  const id = sql.raw(by === 'key' ? 'key_id' : 'owner_id')
  const used = by === 'key' ? usesOfKeys(of, range.from, range.to) : usesOf(of, range, true)
  return db
    .select({ id: sql<string>`id`, outcome: sql<string>`outcome`, count: sql`count`.mapWith(Number) })
    .from(
      sql`(WITH used AS (${used}),
        top AS (SELECT ${id} AS id, sum(count) AS uses FROM used GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ${limit})
        SELECT top.id, outcome, sum(count) AS count FROM used JOIN top ON top.id = ${id}
        GROUP BY top.id, top.uses, outcome ORDER BY top.uses DESC, top.id) AS used`,
    )
}

/** The keys of everybody that were refused most between two times. */
export function listTopRefused(db: Database, from: Date, to: Date, limit: number) {
  return db
    .select({ id: keyUsage.keyId, count: sql`sum(${keyUsage.count})`.mapWith(Number) })
    .from(keyUsage)
    .where(and(gte(keyUsage.hour, from), lt(keyUsage.hour, to), ne(keyUsage.outcome, 'VALID')))
    .groupBy(keyUsage.keyId)
    .orderBy(sql`2 DESC, 1`)
    .limit(limit)
}

/** Names of keys, addresses of users, names of service accounts, by their ids. */
export async function listLabels(db: Database, ids: readonly string[]): Promise<Map<string, string>> {
  const start = sql`(SELECT secret.start FROM ${apiKeySecrets} AS secret
    WHERE secret.key_id = ${apiKeys.id} AND secret.ended_at IS NULL LIMIT 1)`
  const rows = await db
    .select({ id: apiKeys.id, label: sql<string | null>`COALESCE(${apiKeys.name}, ${start})`.as('label') })
    .from(apiKeys)
    .where(isOneOf(apiKeys.id, ids))
    .unionAll(
      db
        .select({ id: users.id, label: sql<string | null>`${users.email}`.as('label') })
        .from(users)
        .where(isOneOf(users.id, ids)),
    )
    .unionAll(
      db
        .select({ id: serviceAccounts.id, label: sql<string | null>`${serviceAccounts.name}`.as('label') })
        .from(serviceAccounts)
        .where(isOneOf(serviceAccounts.id, ids)),
    )
  return new Map(rows.flatMap(({ id, label }) => (label === null ? [] : [[id, label] as const])))
}

/** The ids of an owner's keys, at most `limit`. */
export async function listKeyIds(db: Database, owner: Owner, limit: number): Promise<string[]> {
  const rows = await db
    .select({ id: apiKeys.id })
    .from(apiKeys)
    .where(eq(apiKeys[ownerColumn(owner)], owner.id))
    .limit(limit)
  return rows.map(({ id }) => id)
}

/**
 * The ids of keys with an external id; of everybody, or of an owner and the accounts that the owner manages.
 * @param of `within`: the scopes of the key that asks; null: a person does; `isAlone`: without those accounts
 */
export async function listKeyIdsByExternalId(
  db: Database,
  externalId: string,
  of: { owner: Owner; within: readonly string[] | null; isAlone: boolean } | null,
  limit: number,
): Promise<string[]> {
  const isTheirs =
    of === null
      ? undefined
      : or(
          eq(apiKeys[ownerColumn(of.owner)], of.owner.id),
          of.isAlone ? undefined : isOfAccountManagedBy(of.owner, of.within),
        )
  const rows = await db
    .select({ id: apiKeys.id })
    .from(apiKeys)
    .where(and(hasExternalId(externalId), isTheirs))
    .limit(limit)
  return rows.map(({ id }) => id)
}

/** The last hour that is summed up; null: none is. */
export async function findLastSummedHour(db: Database): Promise<Date | null> {
  const [row] = await db
    .select({ hour: usageByOwner.hour })
    .from(usageByOwner)
    .where(eq(usageByOwner.ownerId, EVERYBODY))
    .orderBy(desc(usageByOwner.hour))
    .limit(1)
  return row?.hour ?? null
}

/** The first hour with a use, from one on. */
export async function findUsedHour(db: Database, from: Date | null, to: Date): Promise<Date | null> {
  const [row] = await db
    .select({ hour: keyUsage.hour })
    .from(keyUsage)
    .where(and(from === null ? undefined : gte(keyUsage.hour, from), lt(keyUsage.hour, to)))
    .orderBy(asc(keyUsage.hour))
    .limit(1)
  return row?.hour ?? null
}

/**
 * Sums the hours from `from` to before `to` up by owner, and for all of them. What is counted of a key that is deleted
 * meanwhile stays. One server does it at a time.
 * @returns false where another server does it now
 */
export function sumUsage(db: Database, from: Date, to: Date): Promise<boolean> {
  return db.transaction(async (tx) => {
    const [lock] = await tx
      .select({
        isOurs: sql<boolean>`pg_try_advisory_xact_lock(hashtextextended('latchkey.usage_by_owner', 0))`,
      })
      .from(sql`(SELECT 1) AS one`)
    if (!lock?.isOurs) return false
    await tx.execute(sql`
      INSERT INTO ${usageByOwner} AS known (owner_id, hour, outcome, count)
      SELECT COALESCE(owner_id, ${EVERYBODY}), hour, outcome, sum(count)
      FROM (${usesOfKeys(null, from, to)}) AS used
      GROUP BY GROUPING SETS ((owner_id, hour, outcome), (hour, outcome))
      ON CONFLICT (owner_id, hour, outcome) DO UPDATE SET count = GREATEST(known.count, excluded.count)`)
    return true
  })
}
