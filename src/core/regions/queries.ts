import { sql } from 'drizzle-orm'
import type { Database } from '../../db/database.ts'
import { PUBLICATION } from '../../db/published.ts'
import { heartbeats } from '../../db/regions.ts'

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
 */
export async function updateHeartbeat(db: Database): Promise<void> {
  const due = db
    .select({ only: heartbeats.only })
    .from(heartbeats)
    .where(
      sql`${heartbeats.at} NOT BETWEEN clock_timestamp() - interval '900 ms' AND clock_timestamp() + interval '900 ms'`,
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
    })
    .where(sql`${heartbeats.only} IN ${due}`)
}

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
