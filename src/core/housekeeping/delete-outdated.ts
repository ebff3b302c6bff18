import { DAY_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { IDEMPOTENCY_LASTS_MS } from '../keys/create.ts'
import { CLOCK_MARGIN_MS } from '../signing/asymmetric.ts'
import { deleteOutdatedRows, type Horizons, vacuum } from './queries.ts'

/** An ended session stays this long: a replay of its tokens is still recognised as one. */
const ENDED_SESSIONS_STAY_MS = 30 * DAY_MS

/** A secret that a rotation ended stays visible this long after its overlap, with the time of its last use. */
const ENDED_SECRETS_STAY_MS = DAY_MS

/** Wrong codes count in a row for this long after the last one; the longest lock is a day. */
const WRONG_CODES_STAY_MS = 30 * DAY_MS

/**
 * Keeps every table bounded: deletes the rows that are of no more use.
 * @param vacuums whether the database does not vacuum by itself
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
    // Such a token is refused by its row until it has ended by every server's clock.
    tokens: new Date(now - CLOCK_MARGIN_MS),
    steps: new Date(now - DAY_MS),
    pendingTotp: new Date(now - DAY_MS),
    wrongCodes: new Date(now - WRONG_CODES_STAY_MS),
    refusals: new Date(now - context.config.refusalsRetentionDays * DAY_MS),
    usage: new Date(now - context.config.usageRetentionDays * DAY_MS),
  }
  const deleted = await deleteOutdatedRows(context.db, before)
  if (vacuums && deleted > 0) await vacuum(context.db)
  return deleted
}
