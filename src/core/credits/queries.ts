import { and, eq, gte, type SQL, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { isOneOf } from '../../db/one-of.ts'
import { preparedFor } from '../../db/prepared.ts'
import { apiKeyCredits, ownerCredits, topUps } from '../../db/schema.ts'
import type { LockMode } from '../change/record-change.ts'
import { type Owner, ownerColumns } from '../owners.ts'
import { type CreditColumns, readColumns, writeColumns } from './columns.ts'
import type { Credits, DueRefill } from './refills.ts'

/** What credits belong to. */
export type Holder = { of: 'key' | 'owner'; id: string }

/** Credits as a statement read them, with the exact time of their refill, which a `Date` rounds. */
export type ReadCredits = Holder & { credits: Credits; refillsAt: string | null }

/** Rows as JSON, by which a statement gives the rows of both tables. */
type RowJson = Record<'id', string> & Record<keyof typeof JSON_COLUMNS, string | number | null>

const JSON_COLUMNS = {
  remaining: 'remaining',
  refill_amount: 'refillAmount',
  refill_interval: 'refillInterval',
  refill_day: 'refillDay',
  refill_hour: 'refillHour',
  refill_time_zone: 'refillTimeZone',
  refill_mode: 'refillMode',
  refill_max: 'refillMax',
} as const satisfies Record<string, keyof CreditColumns>

function readJson(of: Holder['of'], text: string | null): ReadCredits[] {
  const rows: (RowJson & { refills_at: string | null })[] = text === null ? [] : JSON.parse(text)
  return rows.map((row) => {
    const columns = Object.fromEntries(
      Object.entries(JSON_COLUMNS).map(([column, name]) => [name, row[column as keyof typeof JSON_COLUMNS]]),
    )
    const refillsAt = row.refills_at === null ? null : new Date(row.refills_at)
    const credits = readColumns({ ...(columns as Omit<CreditColumns, 'refillsAt'>), refillsAt })
    return { of, id: row.id, credits, refillsAt: row.refills_at }
  })
}

/** What the uses of one owner's keys, or of one key, cost together. `ownerId: null`: the owner has no credits. */
export type Bill = { keys: ReadonlyMap<string, number>; ownerId: string | null; ownerCost: number }

/**
 * Charges a bill, all of it or nothing, by one statement: concurrent charges never take credits below zero, and a crash never
 * leaves half of a charge (docs/decisions/0006). The rows of keys are locked before that of the owner, in the order of their
 * ids, so that no two charges wait for each other. While a refill of a row is due, nothing is charged.
 * @returns the rows as they were before
 */
export async function chargeBill(
  db: Database,
  { keys, ownerId, ownerCost }: Bill,
  now: Date,
): Promise<{ isCharged: boolean; rows: ReadCredits[] }> {
  const [row] = await chargesOf(db).execute({
    keyIds: [...keys.keys()],
    costs: [...keys.values()].map(String),
    ownerId,
    ownerCost: String(ownerCost),
    now: now.toISOString(),
  })
  if (!row) throw new Error('A charge returned no row')
  return { isCharged: row.isCharged, rows: [...readJson('key', row.keys), ...readJson('owner', row.owner)] }
}

const chargesOf = preparedFor((db) => {
  const now = sql`${sql.placeholder('now')}::timestamptz`
  const ownerCost = sql`${sql.placeholder('ownerCost')}::bigint`
  const lacks = (cost: SQL) => sql`remaining < ${cost} OR refills_at <= ${now}`
  const asked = sql`unnest(${sql.placeholder('keyIds')}::text[]::uuid[], ${sql.placeholder('costs')}::text[]::bigint[]) AS asked (key_id, cost)`
  const k = db.$with('k', {}).as(sql`SELECT c.*, c.key_id AS id, asked.cost FROM ${asked}
    JOIN ${apiKeyCredits} AS c ON c.key_id = asked.key_id ORDER BY c.key_id FOR NO KEY UPDATE OF c`)
  const o = db.$with('o', {}).as(sql`SELECT c.*, c.owner_id AS id FROM ${ownerCredits} AS c
    WHERE c.owner_id = ${sql.placeholder('ownerId')}::uuid AND (SELECT count(*) FROM k) >= 0 FOR NO KEY UPDATE`)
  const fits = db.$with('fits', {}).as(sql`SELECT NOT EXISTS (SELECT FROM k WHERE ${lacks(sql`cost`)})
    AND NOT EXISTS (SELECT FROM o WHERE ${lacks(ownerCost)}) AS yes`)
  // What is subtracted from is the locked row. The row that UPDATE finds first may be older, and would be checked by the
  // constraint before PostgreSQL looks for the newest.
  const a = db.$with('a', {}).as(sql`UPDATE ${apiKeyCredits} AS c SET remaining = k.remaining - k.cost
    FROM k WHERE c.key_id = k.key_id AND (SELECT yes FROM fits)`)
  const b = db.$with('b', {}).as(sql`UPDATE ${ownerCredits} AS c SET remaining = o.remaining - ${ownerCost}
    FROM o WHERE c.owner_id = o.owner_id AND (SELECT yes FROM fits)`)
  return db
    .with(k, o, fits, a, b)
    .select({
      isCharged: sql<boolean>`fits.yes`,
      keys: sql<string | null>`(SELECT json_agg(to_jsonb(k)) FROM k)::text`,
      owner: sql<string | null>`(SELECT json_agg(to_jsonb(o)) FROM o)::text`,
    })
    .from(sql`fits`)
    .prepare('latchkey_charge')
})

/** The credits of a key and of its owner, as far as they have any; for answers only. */
export async function listCreditsOf(db: Database, keyId: string, ownerId: string): Promise<ReadCredits[]> {
  const [row] = await db
    .select({
      keys: sql<string | null>`(SELECT json_agg(to_jsonb(c) || jsonb_build_object('id', c.key_id))
        FROM ${apiKeyCredits} AS c WHERE c.key_id = ${keyId})::text`,
      owner: sql<string | null>`(SELECT json_agg(to_jsonb(c) || jsonb_build_object('id', c.owner_id))
        FROM ${ownerCredits} AS c WHERE c.owner_id = ${ownerId})::text`,
    })
    .from(sql`(SELECT 1) AS one`)
  return [...readJson('key', row?.keys ?? null), ...readJson('owner', row?.owner ?? null)]
}

const TABLES = {
  key: { table: apiKeyCredits, id: apiKeyCredits.keyId },
  owner: { table: ownerCredits, id: ownerCredits.ownerId },
} as const

/** Makes a refill, unless another charge or change has made it meanwhile. */
export async function updateRefilled(
  db: Database | Transaction,
  { of, id, refillsAt }: ReadCredits,
  { added, fillTo, next }: DueRefill,
): Promise<void> {
  const { table, id: column } = TABLES[of]
  const { remaining } = table
  await db
    // Both tables have these columns.
    .update(table as typeof apiKeyCredits)
    .set({
      remaining: sql`GREATEST(${remaining}, LEAST(${remaining} + ${added}::bigint, ${fillTo}::bigint))`,
      refillsAt: next,
    })
    .where(sql`${column} = ${id} AND ${table.refillsAt} = ${refillsAt}::timestamptz`)
}

/**
 * Reads credits and locks them, so that no use is charged until the transaction ends. The caller has locked the key or the
 * owner.
 * @param mode `update` where the row will be deleted
 */
export async function lockCredits(
  tx: Transaction,
  { of, id }: Holder,
  mode: LockMode,
): Promise<Credits | null> {
  const { table, id: column } = TABLES[of]
  const [row] = await tx
    .select()
    .from(table as typeof apiKeyCredits)
    .where(eq(column, id))
    .for(mode)
  return row ? readColumns(row) : null
}

/** Stores the credits of a key; null deletes them. */
export async function replaceKeyCredits(
  tx: Transaction,
  keyId: string,
  credits: Credits | null,
): Promise<void> {
  if (credits === null) {
    await tx.delete(apiKeyCredits).where(eq(apiKeyCredits.keyId, keyId))
    return
  }
  const columns = writeColumns(credits)
  await tx
    .insert(apiKeyCredits)
    .values({ keyId, ...columns })
    .onConflictDoUpdate({ target: apiKeyCredits.keyId, set: columns })
}

/** The same of an owner. */
export async function replaceOwnerCredits(
  tx: Transaction,
  owner: Owner,
  credits: Credits | null,
): Promise<void> {
  if (credits === null) {
    await tx.delete(ownerCredits).where(eq(ownerCredits.ownerId, owner.id))
    return
  }
  const columns = writeColumns(credits)
  await tx
    .insert(ownerCredits)
    .values({ ownerId: owner.id, ...ownerColumns(owner), ...columns })
    .onConflictDoUpdate({ target: ownerCredits.ownerId, set: columns })
}

/** The credits of owners, of those that have any. */
export async function listOwnerCredits(
  db: Database | Transaction,
  ownerIds: readonly string[],
): Promise<Map<string, Credits>> {
  if (ownerIds.length === 0) return new Map()
  const rows = await db
    .select()
    .from(ownerCredits)
    .where(isOneOf(ownerCredits.ownerId, [...new Set(ownerIds)]))
  return new Map(rows.map((row) => [row.ownerId, readColumns(row)]))
}

/** Stores the credits of new keys, by one statement. */
export async function insertKeyCredits(
  tx: Transaction,
  credits: readonly { keyId: string; credits: Credits }[],
): Promise<void> {
  if (credits.length === 0) return
  await tx
    .insert(apiKeyCredits)
    .values(credits.map(({ keyId, credits }) => ({ keyId, ...writeColumns(credits) })))
}

type TopUpRow = typeof topUps.$inferSelect

/** What was answered to a top-up since a time. */
export async function findTopUp(tx: Transaction, hash: Uint8Array, since: Date): Promise<TopUpRow | null> {
  const [row] = await tx
    .select()
    .from(topUps)
    .where(and(eq(topUps.hash, hash), gte(topUps.createdAt, since)))
  return row ?? null
}

/** Stores what is answered to a top-up, in place of an outdated one. */
export async function upsertTopUp(tx: Transaction, topUp: TopUpRow): Promise<void> {
  await tx.insert(topUps).values(topUp).onConflictDoUpdate({ target: topUps.hash, set: topUp })
}
