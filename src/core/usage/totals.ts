import type { Database } from '../../db/database.ts'
import { listMidnights } from '../../lib/days.ts'
import { fail, failField } from '../../lib/errors.ts'
import { readExternalId } from '../../lib/external-id.ts'
import { isId } from '../../lib/ids.ts'
import { USE_CODES, type UseCode } from '../../lib/outcomes.ts'
import { DAY_MS, EARLIEST_MS, HOUR_MS, readInstant } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { isSameOwner, type Owner, ownerOf } from '../owners.ts'
import { isDelegate, type Principal, readsAll } from '../principal.ts'
import { requireVisibleAccount } from '../service-accounts/service-accounts.ts'
import type { Counts, TotalsQuery, UsageTotals } from './model.ts'
import {
  listKeyIds,
  listKeyIdsByExternalId,
  listLabels,
  listTop,
  listTopRefused,
  listTotals,
  type UsageOf,
  type UsageRange,
} from './queries.ts'
import { hourOf } from './sums.ts'

/** An owner with more keys is summed up by owner. */
const MAX_KEYS = 1000
const MAX_RANGE_MS = { hour: 31 * DAY_MS, day: 366 * DAY_MS }
const DEFAULT_TOP = 10

/**
 * How often keys were used: of the caller's owner, for those who read everybody's of everybody, or of one owner or external
 * id that the caller reaches.
 * @throws Problem not_found for another's, validation_failed
 */
export async function describeTotals(
  context: Context,
  caller: Principal,
  query: TotalsQuery,
): Promise<UsageTotals> {
  const nowMs = context.clock()
  const { bucket = 'hour', group = 'outcome', limit = DEFAULT_TOP } = query
  const to = readInstant('?to', query.to) ?? new Date(nowMs)
  const asked = readInstant('?from', query.from) ?? new Date(Math.max(EARLIEST_MS, to.getTime() - DAY_MS))
  if (to.getTime() - asked.getTime() > MAX_RANGE_MS[bucket])
    failField('?from', `Must lie within ${MAX_RANGE_MS[bucket] / DAY_MS} days before to`)
  const of = await chooseUsage(context, caller, query)
  if (of === null && group === 'key' && asked.getTime() < nowMs - DAY_MS - HOUR_MS)
    failField('?from', 'Must lie within the last 24 hours with group=key and no owner')

  const from = new Date(hourOf(asked.getTime()))
  // The hour that has just ended may not be summed up yet.
  const range: UsageRange = { from, to, live: new Date(hourOf(nowMs) - HOUR_MS) }
  const starts = listStarts(bucket, query.time_zone ?? 'UTC', from.getTime(), to.getTime())
  const { buckets, totals } = await sumBuckets(context.db, of, range, starts)
  const top = group === 'outcome' ? [] : await describeTop(context, of, range, group, limit)
  return { as_of: new Date(nowMs).toISOString(), buckets, totals, top }
}

/** The uses of everybody's keys in the last 24 hours, and the keys that were used and refused most. */
export async function describeLastDay(
  { db, clock }: Pick<Context, 'db' | 'clock'>,
  limit: number,
): Promise<Pick<UsageTotals, 'buckets' | 'totals'> & Record<'topByUse' | 'topByRefusals', CountOf[]>> {
  const nowMs = clock()
  const [from, to] = [new Date(hourOf(nowMs - DAY_MS)), new Date(nowMs)]
  const range: UsageRange = { from, to, live: new Date(hourOf(nowMs) - HOUR_MS) }
  const sums = await sumBuckets(db, null, range, listStarts('hour', 'UTC', from.getTime(), nowMs))
  const used = new Map<string, number>()
  for (const { id, count } of await listTop(db, null, range, 'key', limit))
    used.set(id, (used.get(id) ?? 0) + count)
  const refused = await listTopRefused(db, from, to, limit)
  const labels = await listLabels(db, [...used.keys(), ...refused.map(({ id }) => id)])
  const label = (id: string, count: number): CountOf => ({ id, label: labels.get(id) ?? null, count })
  return {
    ...sums,
    topByUse: [...used].map(([id, count]) => label(id, count)),
    topByRefusals: refused.map(({ id, count }) => label(id, count)),
  }
}

/** How often one key was used or refused. */
type CountOf = { id: string; label: string | null; count: number }

async function sumBuckets(
  db: Database,
  of: UsageOf,
  range: UsageRange,
  starts: readonly Date[],
): Promise<Pick<UsageTotals, 'buckets' | 'totals'>> {
  const rows = starts.length === 0 ? [] : await listTotals(db, of, range, starts)
  const buckets = starts.map((at) => ({ at: at.toISOString(), counts: noCounts() }))
  const totals = noCounts()
  for (const { bucket, outcome, count } of rows) {
    add(totals, outcome, count)
    const counts = buckets[bucket - 1]?.counts
    if (counts) add(counts, outcome, count)
  }
  return { buckets, totals }
}

async function describeTop(
  { db }: Context,
  of: UsageOf,
  range: UsageRange,
  by: 'key' | 'owner',
  limit: number,
): Promise<UsageTotals['top']> {
  const countsOf = new Map<string, Counts>()
  for (const { id, outcome, count } of await listTop(db, of, range, by, limit)) {
    const counts = countsOf.get(id) ?? noCounts()
    add(counts, outcome, count)
    countsOf.set(id, counts)
  }
  const labels = await listLabels(db, [...countsOf.keys()])
  return [...countsOf].map(([id, counts]) => ({ id, label: labels.get(id) ?? null, counts }))
}

/** The beginnings of hours, or of local days, that lie between two times. An hour belongs to the day in which it begins. */
function listStarts(bucket: 'hour' | 'day', zone: string, fromMs: number, toMs: number): Date[] {
  const midnights =
    listMidnights(zone, fromMs, toMs) ?? failField('?time_zone', 'Must be a time zone of IANA')
  if (bucket === 'day') return midnights.map((at) => new Date(at))
  const hours = Math.max(0, Math.ceil((toMs - fromMs) / HOUR_MS))
  return Array.from({ length: hours }, (_, at) => new Date(fromMs + at * HOUR_MS))
}

async function chooseUsage(context: Context, caller: Principal, query: TotalsQuery): Promise<UsageOf> {
  const { user_id: userId, service_account_id: accountId, external_id: externalId } = query
  if ([userId, accountId, externalId].filter((value) => value !== undefined).length > 1)
    failField('?user_id', 'Give at most one of user_id, service_account_id and external_id')
  const { db } = context
  const own = ownerOf(caller)
  if (externalId !== undefined) {
    const within = isDelegate(caller) ? caller.scopes : null
    const of = readsAll(caller) ? null : { owner: own, within, isAlone: caller.kind === 'portal' }
    const id = readExternalId('?external_id', externalId)
    return { keyIds: await listKeyIdsByExternalId(db, id, of, MAX_KEYS) }
  }
  if (accountId !== undefined) {
    const account = { type: 'service_account', id: accountId } as const
    if (caller.kind !== 'user' && isSameOwner(own, account)) return usageOfOwner(context, account)
    // A customer in the portal manages nothing.
    if (caller.kind === 'portal') return fail('not_found')
    const { id } = await requireVisibleAccount(context, caller, accountId)
    return usageOfOwner(context, { ...account, id })
  }
  if (userId !== undefined) {
    if (userId !== own.id && !(readsAll(caller) && isId(userId))) fail('not_found')
    return usageOfOwner(context, { type: 'user', id: userId })
  }
  return readsAll(caller) ? null : usageOfOwner(context, own)
}

async function usageOfOwner({ db }: Context, owner: Owner): Promise<UsageOf> {
  const keyIds = await listKeyIds(db, owner, MAX_KEYS + 1)
  return keyIds.length > MAX_KEYS ? { owner } : { keyIds }
}

const noCounts = () => Object.fromEntries(USE_CODES.map((code) => [code, 0])) as Counts

function add(counts: Counts, outcome: string, count: number): void {
  if (outcome in counts) counts[outcome as UseCode] += count
}
