import { Value } from '@sinclair/typebox/value'
import type { Transaction } from '../../db/database.ts'
import { withPatience } from '../../lib/deadline.ts'
import { DAY_MS, MINUTE_MS, SECOND_MS } from '../../lib/time.ts'
import { countLogins, listEvents, presentEvent } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { countActiveKeys, describeExpiring } from '../keys/counts.ts'
import { describeLastDay } from '../usage/totals.ts'
import { type Overview, StoredOverview } from './model.ts'
import { findOverview, limitStatements, lockOverview, replaceOverview, tryLockOverview } from './queries.ts'
import { findWarnings } from './warnings.ts'

/** Each list of the overview has at most so many items. */
const MAX_ITEMS = 10
const OVERVIEW_LASTS_MS = MINUTE_MS
/** Counting the keys reads an index of all of them. */
const KEY_COUNT_LASTS_MS = 5 * MINUTE_MS
/** A million keys take longer than a request's statement may. */
const STATEMENT_LASTS_MS = 10 * SECOND_MS

/**
 * What happened lately, for those who look after everybody. It is computed once for all servers, at most every minute, by
 * the request that finds it too old; requests beside it are answered with the older one. Warnings are of now.
 */
export async function describeOverview(context: Context): Promise<Overview> {
  const { active_keys_at: _, ...found } = (await findFresh(context)) ?? (await computeOrWait(context))
  return { ...found, warnings: await findWarnings(context) }
}

/** A time further ahead is one of a clock that was wrong. */
const isYounger = (atMs: number, nowMs: number, thanMs: number) => Math.abs(nowMs - atMs) < thanMs

/** The stored overview, if it is fresh. */
async function findFresh({ db, clock }: Pick<Context, 'db' | 'clock'>): Promise<StoredOverview | null> {
  const stored = await readStored(db)
  return stored && isYounger(stored.computedAt.getTime(), clock(), OVERVIEW_LASTS_MS) ? stored.body : null
}

/** The stored overview; null: it was never computed, or another release stored it in another shape. */
async function readStored(db: Context['db']): Promise<{ computedAt: Date; body: StoredOverview } | null> {
  const stored = await findOverview(db)
  if (!stored || !Value.Check(StoredOverview, stored.body)) return null
  return { computedAt: stored.computedAt, body: stored.body }
}

function computeOrWait(context: Context): Promise<StoredOverview> {
  return withPatience(STATEMENT_LASTS_MS, () =>
    context.db.transaction(async (tx) => {
      await limitStatements(tx, STATEMENT_LASTS_MS)
      if (!(await tryLockOverview(tx))) {
        const old = await readStored(tx)
        if (old) return old.body
        await lockOverview(tx)
      }
      const within = { ...context, db: tx }
      // Another request may have computed it just before the lock was taken.
      return (await findFresh(within)) ?? compute(within, tx)
    }),
  )
}

async function compute(context: Context, tx: Transaction): Promise<StoredOverview> {
  const now = new Date(context.clock())
  const before = await readStored(tx)
  const { buckets, totals, topByUse, topByRefusals } = await describeLastDay(context, MAX_ITEMS)
  const events = await listEvents(context, { limit: MAX_ITEMS })
  const body = {
    as_of: now.toISOString(),
    last_24_hours: { buckets, totals },
    ...(await countKeys(context, before?.body ?? null)),
    logins: await countLogins(context, new Date(now.getTime() - DAY_MS)),
    top_by_use: topByUse,
    top_by_refusals: topByRefusals,
    expiring: await describeExpiring(context, MAX_ITEMS),
    audit: events.rows.map(presentEvent),
  }
  await replaceOverview(tx, now, body)
  return body
}

async function countKeys(
  context: Context,
  before: StoredOverview | null,
): Promise<Pick<StoredOverview, 'active_keys' | 'active_keys_at'>> {
  const nowMs = context.clock()
  if (before && isYounger(Date.parse(before.active_keys_at), nowMs, KEY_COUNT_LASTS_MS))
    return { active_keys: before.active_keys, active_keys_at: before.active_keys_at }
  return { active_keys: await countActiveKeys(context), active_keys_at: new Date(nowMs).toISOString() }
}
