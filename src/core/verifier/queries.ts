import { sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { PUBLISHED } from '../../db/published.ts'
import { heartbeats, regionState, regions, usageReports } from '../../db/regions.ts'
import { signingKeys } from '../../db/schema.ts'
import type { KnownCopy } from './freshness.ts'

/** Notes the id of a report. @returns false where it was noted before */
export async function insertReport(tx: Transaction, id: string, at: Date): Promise<boolean> {
  const noted = await tx
    .insert(usageReports)
    .values({ id, receivedAt: at })
    .onConflictDoNothing()
    .returning({ id: usageReports.id })
  return noted.length > 0
}

/** Notes that a region has reported. @returns whether it did so for the first time */
export async function upsertRegion(tx: Transaction, name: string, at: Date): Promise<boolean> {
  const [row] = await tx
    .insert(regions)
    .values({ name, registeredAt: at, reportedAt: at })
    .onConflictDoUpdate({ target: regions.name, set: { reportedAt: at } })
    .returning({ isNew: sql<boolean>`xmax = 0` })
  return row?.isNew ?? false
}

/** How many regions have reported, as far as home remembers them. */
export const countRegions = (tx: Transaction): Promise<number> => tx.$count(regions)

/** The subscriptions of a region's database that have the heartbeats, which prove what comes by the same one. */
const PROVED = sql`(SELECT h.srsubid FROM pg_catalog.pg_subscription_rel h
  WHERE h.srrelid = 'latchkey.heartbeats'::regclass)`

/**
 * What a region's database says of its copy. `uncopied` is null where no subscription has the heartbeats; else it counts the
 * tables that are not copied whole, or not by that subscription. `absent` are those of them that no subscription has.
 */
export async function findCopyState(db: Database): Promise<KnownCopy & { absent: number }> {
  const names = sql.param(PUBLISHED.map(({ name }) => name))
  const [row] = await db
    .select({
      at: sql`(SELECT ${heartbeats.at} FROM ${heartbeats})`.mapWith(heartbeats.at),
      uncopied: sql<number | null>`(
        SELECT CASE WHEN EXISTS ${PROVED}
          THEN count(*) FILTER (WHERE r.srsubstate <> 'r' OR r.srsubid NOT IN ${PROVED}) END::int
        FROM pg_catalog.pg_subscription_rel r JOIN pg_catalog.pg_class c ON c.oid = r.srrelid
          JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE r.srsubid IN ${PROVED} OR n.nspname = 'latchkey')`,
      absent: sql<number>`(
        SELECT count(*)::int FROM unnest(${names}::text[]) AS published (name)
        WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_subscription_rel r
          WHERE r.srrelid = to_regclass('latchkey.' || quote_ident(published.name))))`,
      broken: sql<string | null>`(SELECT ${regionState.reason} FROM ${regionState})`,
    })
    .from(sql`(SELECT 1) AS one`)
  const { uncopied = null, absent = 0 } = row ?? {}
  return {
    atMs: row?.at instanceof Date ? row.at.getTime() : null,
    uncopied: uncopied === null ? null : uncopied + absent,
    absent,
    broken: row?.broken ?? null,
  }
}

/** What a verifier asks of its database before it starts. */
export type Survey = { version: number; subscribed: string[]; writable: string[]; readable: string[] }

/**
 * The version of the server; the published tables that a subscription has; all tables of Latchkey to which the role may write,
 * among them the one that marks a copy as broken; and the published columns that are there and that the role may read, as
 * `table.column`.
 */
export async function surveyCopy(db: Database): Promise<Survey> {
  const names = sql.param(PUBLISHED.map(({ name }) => name))
  const all = sql`pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'latchkey' AND c.relkind = 'r'`
  const tables = sql`${all} AND c.relname = ANY (${names}::text[])`
  const writes = sql`has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
    OR has_any_column_privilege(c.oid, 'INSERT, UPDATE')`
  const [row] = await db
    .select({
      version: sql<number>`current_setting('server_version_num')::int`,
      subscribed: sql<string[]>`ARRAY(SELECT c.relname::text FROM ${tables} AND c.oid IN (
        SELECT r.srrelid FROM pg_catalog.pg_subscription_rel r))`,
      writable: sql<string[]>`ARRAY(SELECT c.relname::text FROM ${all} AND (${writes}) ORDER BY 1)`,
      readable: sql<string[]>`ARRAY(SELECT c.relname || '.' || a.attname
        FROM pg_catalog.pg_attribute a, ${tables} AND a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        AND has_column_privilege(c.oid, a.attnum, 'SELECT'))`,
    })
    .from(sql`(SELECT 1) AS one`)
  if (!row) throw new Error('A survey without an answer')
  return row
}

/** The id of a public signing key; null: the copy has none. */
export async function findPublicKey(db: Database): Promise<string | null> {
  const [row] = await db.select({ id: signingKeys.id }).from(signingKeys).limit(1)
  return row?.id ?? null
}
