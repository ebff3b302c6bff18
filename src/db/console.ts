import { sql } from 'drizzle-orm'
import { bigint, boolean, check, index, jsonb, primaryKey, text, uuid } from 'drizzle-orm/pg-core'
import type { RefusedCode } from '../lib/outcomes.ts'
import { latchkey, time } from './columns.ts'
import { apiKeys, users } from './schema.ts'

/**
 * Uses of all keys of an owner by hour and outcome; the nil UUID stands for all owners together. No foreign key: what was
 * counted stays when an owner or a key is deleted.
 */
export const usageByOwner = latchkey.table(
  'usage_by_owner',
  {
    ownerId: uuid('owner_id').notNull(),
    hour: time('hour').notNull(),
    outcome: text('outcome').notNull(),
    count: bigint('count', { mode: 'number' }).notNull(),
  },
  (t) => [
    primaryKey({ name: 'usage_by_owner_pkey', columns: [t.ownerId, t.hour, t.outcome] }),
    index('usage_by_owner_hour_idx').on(t.hour),
    check('usage_by_owner_count_check', sql`${t.count} > 0`),
  ],
)

/** Refusals of keys: the newest hundred of each key, as samples. The exact numbers are in `key_usage`. */
export const keyRefusals = latchkey.table(
  'key_refusals',
  {
    keyId: uuid('key_id')
      .notNull()
      .references(() => apiKeys.id, { onDelete: 'cascade' }),
    /** When the last of them was. */
    at: time('at').notNull(),
    outcome: text('outcome').$type<RefusedCode>().notNull(),
    /** The client's address, as the asking service gave it. */
    ip: text('ip'),
    count: bigint('count', { mode: 'number' }).notNull(),
  },
  (t) => [
    index('key_refusals_key_id_idx').on(t.keyId, t.at.desc()),
    index('key_refusals_at_idx').on(t.at),
    check('key_refusals_count_check', sql`${t.count} > 0`),
  ],
)

/** The overview of the console as it was last computed: one row. */
export const overview = latchkey.table(
  'overview',
  {
    only: boolean('only').primaryKey(),
    computedAt: time('computed_at').notNull(),
    body: jsonb('body').$type<Record<string, unknown>>().notNull(),
  },
  (t) => [check('overview_only_check', sql`${t.only}`)],
)

/** The servers on this database. Each writes its row again and again while it runs. */
export const instances = latchkey.table(
  'instances',
  {
    id: uuid('id').primaryKey(),
    version: text('version').notNull(),
    startedAt: time('started_at').notNull(),
    seenAt: time('seen_at').notNull(),
  },
  (t) => [index('instances_seen_at_idx').on(t.seenAt)],
)

/** The lists that admins have written out as CSV at present: one of each admin. */
export const runningExports = latchkey.table(
  'exports',
  {
    adminId: uuid('admin_id')
      .primaryKey()
      .references(() => users.id, { onDelete: 'cascade' }),
    id: uuid('id').notNull(),
    /** When its server counts as gone. A server that writes one out moves it on with each page. */
    expiresAt: time('expires_at').notNull(),
  },
  (t) => [index('exports_expires_at_idx').on(t.expiresAt)],
)
