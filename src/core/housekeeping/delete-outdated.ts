import { DAY_MS, HOUR_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { IDEMPOTENCY_LASTS_MS } from '../keys/list.ts'
import { rotateIfDue } from '../signing/signing-keys.ts'
import { deleteOutdated, type Horizons, vacuum } from './queries.ts'

/** A session that is over stays this long: a replay of its tokens is then still known for what it is. */
const ENDED_SESSIONS_STAY_MS = 30 * DAY_MS

/** What a rotation ended stays visible this long after its overlap: whoever looks sees when it was last used. */
const ENDED_SECRETS_STAY_MS = DAY_MS

/** One round of housekeeping: keeps every table bounded, and rotates the signing key when it is old. */
export async function sweep(context: Context, { vacuums }: { vacuums: boolean }): Promise<number> {
  const now = context.clock()
  const before: Horizons = {
    sessions: new Date(now - ENDED_SESSIONS_STAY_MS),
    attempts: new Date(now - DAY_MS),
    resets: new Date(now - DAY_MS),
    audit: new Date(now - context.config.auditRetentionDays * DAY_MS),
    creations: new Date(now - IDEMPOTENCY_LASTS_MS),
    secrets: new Date(now - ENDED_SECRETS_STAY_MS),
    usage: new Date(now - context.config.usageRetentionDays * DAY_MS),
  }
  const deleted = await deleteOutdated(context.db, before)
  await rotateIfDue(context)
  if (vacuums && deleted > 0) await vacuum(context.db)
  return deleted
}

/**
 * Sweeps each hour until the returned function is called. A round that fails is logged, and the next one tries again.
 * @param vacuums whether the database does not vacuum by itself
 */
export function startSweeping(context: Context, options: { vacuums: boolean }): () => void {
  const round = () => {
    sweep(context, options).catch((error) =>
      context.log.warn({ err: error }, 'Housekeeping failed; it is tried again in an hour'),
    )
  }
  const first = setTimeout(round, Math.random() * HOUR_MS)
  const timer = setInterval(round, HOUR_MS)
  return () => {
    clearTimeout(first)
    clearInterval(timer)
  }
}
