import { sql } from 'drizzle-orm'
import type { Database } from '../../db/database.ts'
import { PUBLICATION } from '../../db/published.ts'
import { GUARD } from '../../db/region-schema.ts'
import { heartbeats, regionState } from '../../db/regions.ts'
import type { HomeStatus } from './model.ts'

/** Whether regions may copy from this database: the publication is there. */
export async function hasPublication(db: Database): Promise<boolean> {
  const rows = await db
    .select({ one: sql`1` })
    .from(sql`pg_catalog.pg_publication`)
    .where(sql`pubname = ${PUBLICATION}`)
  return rows.length > 0
}

/**
 * Writes the next heartbeat, unless another instance has done so within this second. A locked row is one that another instance
 * writes now. A clock that was set back does not stop the heartbeats.
 * @param pauseMs how old the present heartbeat has to be
 */
export async function updateHeartbeat(db: Database, pauseMs = 900): Promise<void> {
  const due = db
    .select({ only: heartbeats.only })
    .from(heartbeats)
    .where(
      sql`${heartbeats.at} NOT BETWEEN clock_timestamp() - ${pauseMs} * interval '1 ms' AND clock_timestamp() + interval '900 ms'`,
    )
    .for('no key update', { skipLocked: true })
  await db
    .update(heartbeats)
    .set({
      n: sql`${heartbeats.n} + 1`,
      at: sql`clock_timestamp()`,
      previous: sql`${heartbeats.token}`,
      token: sql`gen_random_uuid()`,
      timeline: TIMELINE,
      serverVersion: SERVER_VERSION,
      slots: SLOTS,
    })
    .where(sql`${heartbeats.only} IN ${due}`)
}

/**
 * The slots of this database. The server counts the bytes of each slot from its making. A count that went down is of a slot that
 * was dropped and made again: it skipped what was committed between, although no heartbeat may be among that. The count also
 * goes down where all counting begins anew, as after a crash, or where an operator resets it: then the slot goes on.
 */
const SLOTS = sql`(
  SELECT coalesce(jsonb_object_agg(s.slot_name, jsonb_build_object(
    'generation', coalesce((known.state ->> 'generation')::int, 0) + CASE
      WHEN t.total_bytes < (known.state ->> 'bytes')::bigint AND t.stats_reset IS NULL
        AND extract(epoch FROM w.stats_reset) = (known.state ->> 'since')::numeric THEN 1 ELSE 0 END,
    'bytes', t.total_bytes, 'since', extract(epoch FROM w.stats_reset))), '{}')
  FROM pg_catalog.pg_replication_slots s
    JOIN pg_catalog.pg_stat_replication_slots t ON t.slot_name = s.slot_name
    CROSS JOIN pg_catalog.pg_stat_wal w
    CROSS JOIN LATERAL (SELECT ${heartbeats.slots} -> s.slot_name::text AS state) AS known
  WHERE s.slot_type = 'logical' AND s.database = current_database() AND NOT s.temporary)`

/** The first eight hexadecimal digits of a file of the write-ahead log. */
const TIMELINE = sql<number>`('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int`
const SERVER_VERSION = sql<number>`current_setting('server_version_num')::int`

/** The version of the server as a number, such as 150018. */
export async function findServerVersion(db: Database): Promise<number> {
  const [row] = await db.select({ version: SERVER_VERSION }).from(sql`(SELECT 1) AS one`)
  return row?.version ?? 0
}

/** A table that a subscription copies, and how far: `r` is the state of one that is copied whole. */
export type SubscribedTable = { subscription: string; isEnabled: boolean; table: string; state: string }

/** The tables of Latchkey that subscriptions of this database copy. */
export function listSubscribedTables(db: Database): Promise<SubscribedTable[]> {
  return db
    .select({
      subscription: sql<string>`s.subname`,
      isEnabled: sql<boolean>`s.subenabled`,
      table: sql<string>`c.relname`,
      state: sql<string>`r.srsubstate`,
    })
    .from(
      sql`pg_catalog.pg_subscription_rel r
        JOIN pg_catalog.pg_subscription s ON s.oid = r.srsubid
        JOIN pg_catalog.pg_class c ON c.oid = r.srrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'latchkey'`,
    )
    .orderBy(sql`s.subname`, sql`c.relname`)
}

/** The settings and the heartbeat of home's server. */
export async function findServerSettings(db: Database) {
  const [row] = await db
    .select({
      server_version: SERVER_VERSION,
      wal_level: sql<string>`current_setting('wal_level')`,
      max_slot_wal_keep_size: sql<string>`current_setting('max_slot_wal_keep_size')`,
      synchronized_standby_slots: sql<string | null>`current_setting('synchronized_standby_slots', true)`,
      has_standby_slots: sql<boolean>`EXISTS (SELECT FROM pg_catalog.pg_replication_slots WHERE slot_type = 'physical')`,
      heartbeat_at: sql<Date | null>`(SELECT ${heartbeats.at} FROM ${heartbeats})`.mapWith(heartbeats.at),
    })
    .from(sql`(SELECT 1) AS one`)
  if (!row) throw new Error('A query returned no row')
  return { ...row, heartbeat_at: row.heartbeat_at?.toISOString() ?? null }
}

/** The first version that publishes columns, and not whole tables alone. */
const FIRST_WITH_COLUMNS = 150_000

/** The tables of the publication with their columns; null: there is no publication. */
export async function listPublished(db: Database, serverVersion: number): Promise<HomeStatus['publication']> {
  if (!(await hasPublication(db))) return null
  if (serverVersion < FIRST_WITH_COLUMNS) return []
  return db
    .select({
      table: sql<string>`tablename::text`,
      columns: sql<string[]>`attnames::text[]`,
      is_filtered: sql<boolean>`rowfilter IS NOT NULL`,
    })
    .from(sql`pg_catalog.pg_publication_tables`)
    .where(sql`pubname = ${PUBLICATION} AND schemaname = 'latchkey'`)
    .orderBy(sql`tablename`)
}

/** The kinds of changes that the publication sends. */
export async function listOperations(db: Database): Promise<string[]> {
  const rows = await db
    .select({ name: sql<string>`o.name` })
    .from(
      sql`pg_catalog.pg_publication p CROSS JOIN LATERAL (VALUES ('insert', p.pubinsert), ('update', p.pubupdate),
        ('delete', p.pubdelete), ('truncate', p.pubtruncate)) AS o (name, is_sent)`,
    )
    .where(sql`p.pubname = ${PUBLICATION} AND o.is_sent`)
  return rows.map(({ name }) => name)
}

/** The most slots that are listed. Each region has one, and each is a series of /metrics. */
const MAX_SLOTS = 100

/** The slots of the regions of this database. */
export async function listRegionSlots(db: Database) {
  const rows = await db
    .select({
      name: sql<string>`slot_name::text`,
      active: sql<boolean>`active`,
      failover: sql<boolean | null>`(to_jsonb(s) ->> 'failover')::boolean`,
      wal_status: sql<string | null>`wal_status`,
      bytes_behind: sql<
        string | null
      >`pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint::text`,
      bytes_kept: sql<string | null>`pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint::text`,
    })
    .from(sql`pg_catalog.pg_replication_slots s`)
    .where(sql`slot_type = 'logical' AND database = current_database() AND NOT temporary`)
    .orderBy(sql`slot_name`)
    .limit(MAX_SLOTS)
  const asNumber = (text: string | null) => (text === null ? null : Number(text))
  return rows.map((row) => ({
    ...row,
    bytes_behind: asNumber(row.bytes_behind),
    bytes_kept: asNumber(row.bytes_kept),
  }))
}

/** The columns of a region's published tables, and what of its schema would stop the copy or let it be changed. */
export function listCopyColumns(db: Database) {
  return db
    .select({
      table: sql<string>`c.relname::text`,
      column: sql<string>`a.attname::text`,
      /** Whether a row needs a value that does not arrive by itself. */
      isNeeded: sql<boolean>`a.attnotnull AND NOT a.atthasdef`,
    })
    .from(
      sql`pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace`,
    )
    .where(sql`n.nspname = 'latchkey' AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped`)
}

/** Foreign keys to tables, and the tables with a guard, by name. */
export async function listKeysAndGuards(db: Database) {
  const keys = await db
    .select({ name: sql<string>`k.conname::text`, to: sql<string>`c.relname::text` })
    .from(
      sql`pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.confrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace`,
    )
    .where(sql`n.nspname = 'latchkey' AND k.contype = 'f'`)
    .orderBy(sql`k.conname`)
  const guards = await db
    .select({ table: sql<string>`c.relname::text` })
    .from(
      sql`pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace`,
    )
    .where(sql`n.nspname = 'latchkey' AND t.tgname = ${GUARD} AND t.tgenabled = 'O'`)
  return { keys, guards: new Set(guards.map(({ table }) => table)) }
}

/** The last heartbeat that arrived in a region, and why its copy may lack changes; null: nothing of it. */
export async function findArrived(db: Database) {
  const [row] = await db
    .select({
      at: sql<Date | null>`(SELECT ${heartbeats.at} FROM ${heartbeats})`.mapWith(heartbeats.at),
      age: sql`(SELECT extract(epoch FROM clock_timestamp() - ${heartbeats.at}) FROM ${heartbeats})`.mapWith(
        Number,
      ),
      broken: sql<string | null>`(SELECT ${regionState.reason} FROM ${regionState})`,
    })
    .from(sql`(SELECT 1) AS one`)
  return { at: row?.at ?? null, ageSeconds: row?.at ? row.age : null, broken: row?.broken ?? null }
}
