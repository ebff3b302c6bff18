import { sql } from 'drizzle-orm'
import { bigint, boolean, check, index, integer, jsonb, text, uuid } from 'drizzle-orm/pg-core'
import { latchkey, time } from './columns.ts'

/**
 * What home knows of a slot: how often it was seen to begin anew, and by which numbers of the server that is seen.
 * `since`: when the server began to count, in seconds since the epoch.
 */
type SlotState = { generation: number; bytes: number; since: number }

/**
 * The heartbeat that home sends to its regions: one row, which home updates each second where it has a publication. It is
 * published, so it arrives in a region behind every change that was committed before it.
 */
export const heartbeats = latchkey.table(
  'heartbeats',
  {
    only: boolean('only').primaryKey(),
    n: bigint('n', { mode: 'number' }).notNull(),
    /** By the clock of home's database. */
    at: time('at').notNull(),
    token: uuid('token').notNull(),
    /** The token of the heartbeat before. In a region, another one means that changes were lost between them. */
    previous: uuid('previous').notNull(),
    /** The timeline of home's database: each failover makes a higher one. */
    timeline: integer('timeline').notNull(),
    /** `server_version_num` of home's database. */
    serverVersion: integer('server_version').notNull(),
    /**
     * The replication slots of home's database by name. A slot that was dropped and made again has skipped changes, and gets
     * another `generation`.
     */
    slots: jsonb('slots').$type<Record<string, SlotState>>().notNull().default({}),
    /** Never published. In a region: the timeline of the region's own database when this heartbeat arrived; at home null. */
    copyTimeline: integer('copy_timeline'),
  },
  (t) => [check('heartbeats_only_check', sql`${t.only}`)],
)

export const BREAK_REASONS = ['chain', 'timeline', 'resync'] as const

/**
 * Of a region, and never published: one row as long as its copy may lack changes of home, else none. `chain`: a heartbeat
 * was lost. `timeline`: home failed over, and its slot may have lost changes; or the region's database did, and
 * may have lost what it had confirmed. `resync`: an operator copies the tables again.
 */
export const regionState = latchkey.table(
  'region_state',
  {
    only: boolean('only').primaryKey(),
    brokenAt: time('broken_at').notNull(),
    reason: text('reason', { enum: BREAK_REASONS }).notNull(),
  },
  (t) => [
    check('region_state_only_check', sql`${t.only}`),
    check('region_state_reason_check', sql`${t.reason} IN ('chain', 'timeline', 'resync')`),
  ],
)

/** The regions that have reported usage to home. Verifiers with the same name are one region. */
export const regions = latchkey.table(
  'regions',
  {
    /** `REGION_NAME` of its verifiers. */
    name: text('name').primaryKey(),
    registeredAt: time('registered_at').notNull(),
    reportedAt: time('reported_at').notNull(),
  },
  (t) => [
    index('regions_reported_at_idx').on(t.reportedAt),
    check('regions_name_check', sql`char_length(${t.name}) BETWEEN 1 AND 100`),
  ],
)

/** The ids of the reports of usage that were applied, for a day: a report that comes again counts nothing. */
export const usageReports = latchkey.table(
  'usage_reports',
  {
    id: uuid('id').primaryKey(),
    receivedAt: time('received_at').notNull(),
  },
  (t) => [index('usage_reports_received_at_idx').on(t.receivedAt)],
)
