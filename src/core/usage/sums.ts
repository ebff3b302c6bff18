import { DAY_MS, HOUR_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { findLastSummedHour, findUsedHour, sumUsage } from './queries.ts'

/** Counts of an ended hour may still be written for a while: this many of the last hours are summed up again. */
const AGAIN_HOURS = 3

export const hourOf = (atMs: number): number => Math.floor(atMs / HOUR_MS) * HOUR_MS

/**
 * Sums ended hours up by owner: the last three, and before them those that nobody has summed up, as after a time without a
 * server; a day in each transaction.
 */
export async function sumUsageByOwner({ db, clock }: Pick<Context, 'db' | 'clock'>): Promise<void> {
  const endMs = hourOf(clock())
  const lastMs = (await findLastSummedHour(db))?.getTime() ?? null
  let from = lastMs === null ? null : new Date(Math.min(lastMs, endMs - AGAIN_HOURS * HOUR_MS))
  for (;;) {
    const used = await findUsedHour(db, from, new Date(endMs))
    if (used === null) return
    const to = new Date(Math.min(used.getTime() + DAY_MS, endMs))
    if (!(await sumUsage(db, used, to))) return
    from = to
  }
}
