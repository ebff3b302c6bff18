import { sql } from 'drizzle-orm'
import { bigint, check, index, primaryKey, text, uuid } from 'drizzle-orm/pg-core'
import { latchkey, time } from './schema.ts'

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
