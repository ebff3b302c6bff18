import { boolean, customType, integer, jsonb, pgSchema, timestamp } from 'drizzle-orm/pg-core'

/**
 * The database schema of Latchkey. The `public.users` of the replaced service may be in the same database.
 */
export const latchkey = pgSchema('latchkey')

export const bytes = customType<{ data: Uint8Array; driverData: Uint8Array }>({ dataType: () => 'bytea' })
export const time = (name: string) => timestamp(name, { withTimezone: true, mode: 'date' })

/**
 * The settings that an admin lowered or switched off, each with its value before. Only an admin may raise
 * them again. The values are JSON, as `relock` in core/change/power.ts writes them.
 */
export const lockedSettings = () =>
  jsonb('locked_settings').$type<Record<string, unknown>>().notNull().default({})

/**
 * Whether there is a row of credits. Triggers on the tables of credits keep it, so that a region, which has no credits, knows
 * of whom it has to ask at home (docs/decisions/0057).
 */
export const hasCredits = () => boolean('has_credits').notNull().default(false)

/** At most `rate_limit` uses in each window, of all keys of an owner together. Both columns are set, or neither. */
export const rate = () => ({
  rateLimit: integer('rate_limit'),
  rateWindowSeconds: integer('rate_window_seconds'),
})
