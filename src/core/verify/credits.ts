import { DAY_MS, SECOND_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { CLOCK_MARGIN_MS } from '../signing/asymmetric.ts'
import { type CreditsRow, findCredits, type RefillInterval, takeCredits } from './queries.ts'

/**
 * What charging a key came to; `remaining: null` where it has no credits to count. `refill` is what the next refill that will
 * do brings, 0 where none will: no time is the right one to come back then.
 */
export type Charge =
  | { code: 'VALID'; remaining: number | null }
  | { code: 'CREDITS_EXHAUSTED'; refill: number; retryAfterSeconds: number | null }

/** When credits are next filled up: UTC midnight, or the first of the month. */
export function nextRefill(interval: RefillInterval, nowMs: number): Date {
  const now = new Date(nowMs)
  const [year, month, day] = [now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate()]
  return interval === 'daily'
    ? new Date(Date.UTC(year, month, day) + DAY_MS)
    : new Date(Date.UTC(year, month + 1, 1))
}

/**
 * The latest times that a refill can wait for, from now on. A deadline beyond was set by a clock that was far ahead, and
 * counts as due: it could lie years away.
 */
const furthestRefills = (nowMs: number): Record<RefillInterval, Date> => ({
  daily: new Date(nowMs + DAY_MS + CLOCK_MARGIN_MS),
  monthly: new Date(nowMs + 31 * DAY_MS + CLOCK_MARGIN_MS),
})

/** What is left at a time: a refill that is due is made with the next charge, and counts already. */
export function remainingAt(credits: CreditsRow, nowMs: number): number {
  const { remaining, refillAmount, refillInterval, refillsAt } = credits
  if (refillsAt === null || refillInterval === null) return remaining
  const isDue = refillsAt.getTime() <= nowMs || refillsAt > furthestRefills(nowMs)[refillInterval]
  return isDue ? Math.max(remaining, refillAmount ?? 0) : remaining
}

/**
 * Takes credits from a key in one statement: never below zero, whatever the concurrency, and safe over a crash.
 * @param cost 0 takes none, and says what is left
 */
export async function chargeKey(
  context: Pick<Context, 'db' | 'clock'>,
  keyId: string,
  cost: number,
): Promise<Charge> {
  const nowMs = context.clock()
  const next = { daily: nextRefill('daily', nowMs), monthly: nextRefill('monthly', nowMs) }
  const times = { now: new Date(nowMs), next, furthest: furthestRefills(nowMs) }
  const taken = cost === 0 ? null : await takeCredits(context.db, keyId, cost, times)
  if (taken) return { code: 'VALID', remaining: taken.remaining }
  const credits = await findCredits(context.db, keyId)
  if (!credits) return { code: 'VALID', remaining: null }
  return cost === 0 ? { code: 'VALID', remaining: remainingAt(credits, nowMs) } : lackOf(credits, cost, nowMs)
}

/** What charging a key would come to now; takes nothing. */
export async function previewCharge(
  context: Pick<Context, 'db' | 'clock'>,
  keyId: string,
  cost: number,
): Promise<Charge> {
  const nowMs = context.clock()
  const credits = await findCredits(context.db, keyId)
  if (!credits) return { code: 'VALID', remaining: null }
  const remaining = remainingAt(credits, nowMs) - cost
  return remaining >= 0 ? { code: 'VALID', remaining } : lackOf(credits, cost, nowMs)
}

function lackOf({ refillAmount, refillsAt }: CreditsRow, cost: number, nowMs: number): Charge {
  const willSuffice = refillAmount !== null && refillAmount >= cost && refillsAt !== null
  const waitMs = willSuffice ? refillsAt.getTime() - nowMs : null
  return {
    code: 'CREDITS_EXHAUSTED',
    refill: willSuffice ? refillAmount : 0,
    retryAfterSeconds: waitMs === null ? null : Math.max(1, Math.ceil(waitMs / SECOND_MS)),
  }
}
