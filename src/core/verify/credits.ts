import { DAY_MS, SECOND_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { CLOCK_MARGIN_MS } from '../signing/asymmetric.ts'
import { type CreditsRow, findCredits, type RefillInterval, takeCredits } from './queries.ts'

/**
 * The result of charging a key. `remaining: null`: the key has no credits to count. `refill` is the amount of the next
 * refill if it covers the cost, else 0: then no time to retry can be named.
 */
export type Charge =
  | { code: 'VALID'; remaining: number | null }
  | { code: 'CREDITS_EXHAUSTED'; refill: number; retryAfterSeconds: number | null }

/** The time of the next refill: the next midnight in UTC, or the first of the next month. */
export function nextRefill(interval: RefillInterval, nowMs: number): Date {
  const now = new Date(nowMs)
  const [year, month, day] = [now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate()]
  return interval === 'daily'
    ? new Date(Date.UTC(year, month, day) + DAY_MS)
    : new Date(Date.UTC(year, month + 1, 1))
}

/**
 * The latest times for which a refill can be scheduled now. A later one was stored by a server whose clock was far
 * ahead, and could lie years away; it counts as due.
 */
const furthestRefills = (nowMs: number): Record<RefillInterval, Date> => ({
  daily: new Date(nowMs + DAY_MS + CLOCK_MARGIN_MS),
  monthly: new Date(nowMs + 31 * DAY_MS + CLOCK_MARGIN_MS),
})

/**
 * The credits that remain at a time. A due refill counts already, although the row is updated only by the next charge.
 */
export function remainingAt(credits: CreditsRow, nowMs: number): number {
  const { remaining, refillAmount, refillInterval, refillsAt } = credits
  if (refillsAt === null || refillInterval === null) return remaining
  const isDue = refillsAt.getTime() <= nowMs || refillsAt > furthestRefills(nowMs)[refillInterval]
  return isDue ? Math.max(remaining, refillAmount ?? 0) : remaining
}

/**
 * Takes credits from a key, by one statement: concurrent charges never take it below zero, and a crash never leaves
 * half of a charge (docs/decisions/0006).
 * @param cost 0 takes nothing, and returns what remains
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
