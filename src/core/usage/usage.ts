import type { Transaction } from '../../db/database.ts'
import { failField } from '../../lib/errors.ts'
import { DAY_MS, EARLIEST_MS, HOUR_MS, readInstant } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import type { Gathered } from './counts.ts'
import type { Refusals, Usage, UsageQuery } from './model.ts'
import {
  addRefusals,
  addUsage,
  countRefusals,
  type LastUse,
  listDailyTotals,
  listRefusals,
  listUsage,
  updateLastUses,
} from './queries.ts'

const MAX_RANGE_MS = 366 * DAY_MS
const DEFAULT_RANGE_MS = 30 * DAY_MS

/** Counts per transaction. Writing this many takes a fraction of DATABASE_STATEMENT_TIMEOUT_MS. */
const STEP = 10_000

/**
 * Writes the gathered uses in steps, each a transaction. Uses that could not be written, and last uses of secrets that
 * a change has locked, are kept for the next call.
 */
export async function writeUsage(context: Pick<Context, 'db' | 'usage' | 'metrics'>): Promise<void> {
  const { counts, lastUses, refusals } = context.usage.take()
  const steps = Math.max(counts.length, lastUses.length, refusals.length)
  for (let at = 0; at < steps; at += STEP) {
    const step = {
      counts: counts.slice(at, at + STEP),
      lastUses: lastUses.slice(at, at + STEP),
      refusals: refusals.slice(at, at + STEP),
    }
    try {
      const skipped = await context.db.transaction((tx) => addGathered(tx, step))
      context.usage.putBack({ counts: [], lastUses: skipped, refusals: [] })
      context.metrics.usageRows.written += step.counts.length + step.lastUses.length - skipped.length
    } catch (error) {
      context.usage.putBack({
        counts: counts.slice(at),
        lastUses: lastUses.slice(at),
        refusals: refusals.slice(at),
      })
      throw error
    }
  }
}

/**
 * Adds gathered uses to the stored ones.
 * @returns the last uses of secrets that a change has locked: they are not written
 */
export async function addGathered(
  tx: Transaction,
  { counts, lastUses, refusals }: Gathered,
): Promise<LastUse[]> {
  if (counts.length > 0) await addUsage(tx, counts)
  if (refusals.length > 0) await addRefusals(tx, refusals)
  return lastUses.length > 0 ? updateLastUses(tx, lastUses) : []
}

/**
 * How often each key was used on each of the last days (UTC): the oldest first, today last. Keys without a use are left out.
 */
export async function describeDays(
  context: Context,
  keyIds: readonly string[],
  days: number,
): Promise<Map<string, number[]>> {
  const firstDay = Math.floor(context.clock() / DAY_MS) - days + 1
  const totals = await listDailyTotals(context.db, keyIds, new Date(firstDay * DAY_MS))
  const byKey = new Map<string, number[]>()
  for (const { keyId, day, count } of totals) {
    const counts = byKey.get(keyId) ?? Array(days).fill(0)
    const at = day.getTime() / DAY_MS - firstDay
    // Another server's clock may be a day ahead.
    if (at < days) counts[at] = count
    byKey.set(keyId, counts)
  }
  return byKey
}

/**
 * How often a key was used, by hour or day and outcome; the last thirty days unless asked otherwise. The hour that
 * `from` lies in is part of the answer.
 * @throws Problem validation_failed for an invalid time, or more than a year
 */
export async function describeUsage(context: Context, keyId: string, query: UsageQuery): Promise<Usage> {
  const now = context.clock()
  const to = readInstant('?to', query.to) ?? new Date(now + 1)
  const from =
    readInstant('?from', query.from) ?? new Date(Math.max(EARLIEST_MS, to.getTime() - DEFAULT_RANGE_MS))
  if (to.getTime() - from.getTime() > MAX_RANGE_MS) failField('?from', 'Ask for a year at most')
  const fromHour = new Date(Math.floor(from.getTime() / HOUR_MS) * HOUR_MS)
  const rows = await listUsage(context.db, keyId, fromHour, to)
  if (query.bucket !== 'day') {
    return { items: rows.map((row) => ({ ...row, at: row.at.toISOString() })) }
  }
  const days = new Map<string, Usage['items'][number]>()
  for (const { at, outcome, count } of rows) {
    const day = new Date(Math.floor(at.getTime() / DAY_MS) * DAY_MS).toISOString()
    const known = days.get(`${day} ${outcome}`)
    if (known) known.count += count
    else days.set(`${day} ${outcome}`, { at: day, outcome, count })
  }
  return { items: [...days.values()] }
}

const MAX_REFUSALS = 100

/**
 * Why a key was refused lately, the newest first. `sampled`: there were more in that time, which usage has counted.
 */
export async function describeRefusals({ db }: Context, keyId: string): Promise<Refusals> {
  const rows = await listRefusals(db, keyId, MAX_REFUSALS)
  const oldest = rows.at(-1)
  if (!oldest) return { items: [], sampled: false }
  // Of a hundred, others of the oldest one's hour may be deleted already: that hour is not compared.
  const hours = rows.map(({ at }) => Math.floor(at.getTime() / HOUR_MS) * HOUR_MS)
  const firstMs = rows.length < MAX_REFUSALS ? (hours.at(-1) ?? 0) : (hours.at(-1) ?? 0) + HOUR_MS
  const kept = rows.reduce((sum, { count }, at) => ((hours[at] ?? 0) < firstMs ? sum : sum + count), 0)
  return {
    items: rows.map(({ at, outcome, ip, count }) => ({ at: at.toISOString(), outcome, ip, count })),
    sampled: (await countRefusals(db, keyId, new Date(firstMs))) > kept,
  }
}
