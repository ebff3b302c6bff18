import { failField } from '../../lib/errors.ts'
import { findZone } from '../../lib/zones.ts'
import type { Credits as CreditsBody, CreditsPatch, RefillBody } from './model.ts'
import { type Credits, creditsAt, nextRefill, type Refill } from './refills.ts'

const DAYS_OF_WEEK = 7

/**
 * Reads the credits of a request.
 * @param path of the member in the body
 * @throws Problem validation_failed for a refill that cannot be
 */
export function readCredits(path: string, { remaining, refill }: CreditsBody, nowMs: number): Credits {
  const read = refill ? readRefill(`${path}/refill`, refill) : null
  return { remaining, refill: read, refillsAt: read && nextRefill(read, nowMs) }
}

/**
 * The credits after a change: what it does not name stays. Credits that are named count without a refill that is due.
 * @param before null: there were none
 * @throws Problem validation_failed without `remaining` where there were none
 */
export function patchCredits(
  path: string,
  before: Credits | null,
  patch: CreditsPatch,
  nowMs: number,
): Credits {
  if (before === null) {
    const { remaining = failField(`${path}/remaining`, 'Must be given where there are no credits yet') } =
      patch
    return readCredits(path, { ...patch, remaining }, nowMs)
  }
  const now = creditsAt(before, nowMs)
  const remaining = patch.remaining ?? now.remaining
  if (patch.refill !== undefined) return readCredits(path, { remaining, refill: patch.refill }, nowMs)
  return { ...now, remaining }
}

function readRefill(path: string, body: RefillBody): Refill {
  const {
    amount,
    interval,
    day = null,
    hour = null,
    time_zone: timeZone = null,
    mode = null,
    max = null,
  } = body
  if (day !== null && interval === 'daily') failField(`${path}/day`, 'Must not be given with daily')
  if (day !== null && interval === 'weekly' && day > DAYS_OF_WEEK)
    failField(`${path}/day`, 'Must be 1 (Monday) to 7 with weekly')
  if (timeZone !== null && !findZone(timeZone)) failField(`${path}/time_zone`, 'Must be a time zone of IANA')
  if (max !== null && mode !== 'add') failField(`${path}/max`, 'Must not be given without the mode "add"')
  if (max !== null && max < amount) failField(`${path}/max`, 'Must be at least the amount')
  return { amount, interval, day, hour, timeZone, mode, max }
}

/** Credits in the form in which a request gives them. A due refill counts already. */
export function presentCredits(credits: Credits, nowMs: number): CreditsBody {
  return {
    remaining: creditsAt(credits, nowMs).remaining,
    refill: credits.refill && presentRefill(credits.refill),
  }
}

/** A refill as it was given. */
function presentRefill({ amount, interval, day, hour, timeZone, mode, max }: Refill): RefillBody {
  return {
    amount,
    interval,
    ...(day !== null && { day }),
    ...(hour !== null && { hour }),
    ...(timeZone !== null && { time_zone: timeZone }),
    ...(mode !== null && { mode }),
    ...(max !== null && { max }),
  }
}
