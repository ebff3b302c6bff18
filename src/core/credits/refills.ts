import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../lib/time.ts'
import { findZone } from '../../lib/zones.ts'

/** The highest number of credits. */
export const MAX_CREDITS = 1_000_000_000_000

/** How credits are refilled. null: not named, so the default holds. */
export type Refill = {
  amount: number
  interval: 'daily' | 'weekly' | 'monthly'
  /** Of the week, Monday first, or of the month; 1 unless named. */
  day: number | null
  /** 0 unless named. */
  hour: number | null
  /** UTC unless named. */
  timeZone: string | null
  /** `set` unless named: fills up to the amount; `add`: adds the amount for each interval. */
  mode: 'set' | 'add' | null
  /** What `add` fills up to at most; ten times the amount unless named. */
  max: number | null
}

/** Credits with their next refill; null: they are not refilled. */
export type Credits = { remaining: number; refill: Refill | null; refillsAt: Date | null }

/** How a refill changes credits: `remaining` becomes at least `added` more, or `fillTo`, whichever is less, and never less. */
export type DueRefill = { added: number; fillTo: number; next: Date }

const MAX_ADDED = 10

/**
 * How far the clocks of two instances may be apart. Beyond, the one that is ahead makes a refill whose next one is too far
 * away for the other, and both make it again and again until midnight has come for both.
 */
const CLOCK_MARGIN_MS = 30 * MINUTE_MS

/** Days in the longest interval. */
const DAYS: Record<Refill['interval'], number> = { daily: 1, weekly: 7, monthly: 31 }

/** 1970-01-05, in days. */
const FIRST_MONDAY = 4

/** No day is shorter by more. */
const LONGEST_CHANGE_MS = 3 * HOUR_MS

const zoneOf = ({ timeZone }: Refill) => {
  const zone = findZone(timeZone ?? 'UTC')
  if (!zone) throw new Error(`A refill in an unknown time zone: ${timeZone}`)
  return zone
}

/** The local time of the refill in an interval. Intervals are counted from 1970. */
function localTimeIn(refill: Refill, interval: number): number {
  const { day, hour } = refill
  const hourMs = (hour ?? 0) * HOUR_MS
  switch (refill.interval) {
    case 'daily':
      return interval * DAY_MS + hourMs
    case 'weekly':
      return (FIRST_MONDAY + interval * 7 + (day ?? 1) - 1) * DAY_MS + hourMs
    case 'monthly': {
      const lastDay = new Date(Date.UTC(1970, interval + 1, 0)).getUTCDate()
      return Date.UTC(1970, interval, Math.min(day ?? 1, lastDay)) + hourMs
    }
  }
}

/** The interval that a local time lies in, or one beside it. */
function intervalNear({ interval, day }: Refill, localMs: number): number {
  const local = new Date(localMs)
  if (interval === 'monthly') return (local.getUTCFullYear() - 1970) * 12 + local.getUTCMonth()
  const days = Math.floor(localMs / DAY_MS)
  return interval === 'daily' ? days : Math.floor((days - FIRST_MONDAY - (day ?? 1) + 1) / 7)
}

/** The interval of the last refill until an instant. */
function lastInterval(refill: Refill, atMs: number): number {
  const zone = zoneOf(refill)
  const instantOf = (interval: number) => zone.instantOf(localTimeIn(refill, interval))
  let last = intervalNear(refill, zone.localAt(atMs))
  while (instantOf(last + 1) <= atMs) last += 1
  while (instantOf(last) > atMs) last -= 1
  return last
}

/** When the next refill after an instant is. */
export function nextRefill(refill: Refill, afterMs: number): Date {
  return new Date(zoneOf(refill).instantOf(localTimeIn(refill, lastInterval(refill, afterMs) + 1)))
}

/**
 * Whether a refill is further away than one interval. It was stored by a server whose clock was far ahead, and could lie
 * years away.
 */
function isTooFar(refill: Refill, refillsAtMs: number, nowMs: number): boolean {
  const spanMs = DAYS[refill.interval] * DAY_MS
  // Most are nearer, and not worth a look at the zone.
  if (refillsAtMs <= nowMs + spanMs - LONGEST_CHANGE_MS) return false
  const zone = zoneOf(refill)
  return refillsAtMs > zone.instantOf(zone.localAt(nowMs) + spanMs) + CLOCK_MARGIN_MS
}

/** The refill that is due at a time; null: none is. */
export function findDueRefill({ refill, refillsAt }: Credits, nowMs: number): DueRefill | null {
  if (refill === null || refillsAt === null) return null
  const atMs = refillsAt.getTime()
  const isPast = atMs <= nowMs
  if (!isPast && !isTooFar(refill, atMs, nowMs)) return null
  const { amount, mode } = refill
  const next = nextRefill(refill, nowMs)
  if (mode !== 'add') return { added: amount, fillTo: amount, next }
  const passed = isPast ? 1 + lastInterval(refill, nowMs) - lastInterval(refill, atMs) : 1
  const fillTo = fillToOf(refill)
  return { added: Math.min(passed * amount, fillTo), fillTo, next }
}

/** What remains after a refill. */
const refilled = (remaining: number, { added, fillTo }: Pick<DueRefill, 'added' | 'fillTo'>): number =>
  Math.max(remaining, Math.min(remaining + added, fillTo))

/** Credits as they are at a time. A due refill counts already, although the row is written only by the next charge. */
export function creditsAt(credits: Credits, nowMs: number): Credits {
  const due = findDueRefill(credits, nowMs)
  return due ? { ...credits, remaining: refilled(credits.remaining, due), refillsAt: due.next } : credits
}

/**
 * When refills will have brought enough for a cost; null: they never will.
 * @param credits as they are now, and too few
 */
export function timeToCover({ remaining, refill, refillsAt }: Credits, cost: number): Date | null {
  if (refill === null || refillsAt === null) return null
  if (refill.mode !== 'add') return refill.amount >= cost ? refillsAt : null
  if (fillToOf(refill) < cost) return null
  const refills = Math.ceil((cost - remaining) / refill.amount)
  const first = lastInterval(refill, refillsAt.getTime())
  return new Date(zoneOf(refill).instantOf(localTimeIn(refill, first + refills - 1)))
}

/** How many credits a refill by adding leaves at most. */
export const fillToOf = ({ amount, max }: Pick<Refill, 'amount' | 'max'>): number =>
  max ?? Math.min(MAX_ADDED * amount, MAX_CREDITS)
