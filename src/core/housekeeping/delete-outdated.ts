import { DAY_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { IDEMPOTENCY_LASTS_MS } from '../keys/create.ts'
import { CLOCK_MARGIN_MS } from '../signing/asymmetric.ts'
import { deleteOutdatedRows, type Horizons, vacuum } from './queries.ts'

/** An ended session is kept this long, so that a replay of its tokens is still recognised as one. */
const ENDED_SESSIONS_STAY_MS = 30 * DAY_MS

/**
 * A secret that a rotation ended is kept this long after its overlap, so that an operator still sees the time of its
 * last use.
 */
const ENDED_SECRETS_STAY_MS = DAY_MS

/**
 * Deletes rows that are no longer needed, so that no table grows without bound.
 * @param vacuums true for the embedded database, which does not vacuum by itself
 * @returns how many rows were deleted
 */
export async function deleteOutdated(context: Context, { vacuums }: { vacuums: boolean }): Promise<number> {
  const now = context.clock()
  const before: Horizons = {
    sessions: new Date(now - ENDED_SESSIONS_STAY_MS),
    attempts: new Date(now - DAY_MS),
    resets: new Date(now - DAY_MS),
    audit: new Date(now - context.config.auditRetentionDays * DAY_MS),
    creations: new Date(now - IDEMPOTENCY_LASTS_MS),
    secrets: new Date(now - ENDED_SECRETS_STAY_MS),
    // The row refuses the token until it has expired by the clock of every server.
    tokens: new Date(now - CLOCK_MARGIN_MS),
    usage: new Date(now - context.config.usageRetentionDays * DAY_MS),
  }
  const deleted = await deleteOutdatedRows(context.db, before)
  if (vacuums && deleted > 0) await vacuum(context.db)
  return deleted
}
