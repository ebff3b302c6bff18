import type { Rate } from '../lib/rate.ts'
import { listOf, type Parsed, quote } from './reader.ts'

/**
 * The default rate limits by client address. `password` counts each session of an address separately (API.md,
 * Errors); `device` counts wrong codes by person (oauth.md, section 13).
 */
export const DEFAULT_RATE_LIMITS = {
  signup: { limit: 5, windowSeconds: 3600 },
  login: { limit: 10, windowSeconds: 60 },
  refresh: { limit: 60, windowSeconds: 60 },
  password: { limit: 10, windowSeconds: 60 },
  mail: { limit: 10, windowSeconds: 3600 },
  authorize: { limit: 60, windowSeconds: 60 },
  device_authorization: { limit: 10, windowSeconds: 60 },
  device: { limit: 10, windowSeconds: 3600 },
  create_key: { limit: 60, windowSeconds: 3600 },
  register: { limit: 5, windowSeconds: 3600 },
  client_metadata: { limit: 10, windowSeconds: 3600 },
  unknown_credential: { limit: 60, windowSeconds: 60 },
  other: { limit: 600, windowSeconds: 60 },
}
export type RateLimitName = keyof typeof DEFAULT_RATE_LIMITS
export type RateLimits = Record<RateLimitName, Rate>

const NAMES = Object.keys(DEFAULT_RATE_LIMITS) as RateLimitName[]

const ENTRY = /^([a-z_]+)=(\d{1,7})\/(\d{1,6})([smhd])$/
const SECONDS = { s: 1, m: 60, h: 3600, d: 86400 }
const MAX_LIMIT = 1_000_000
const MAX_WINDOW_SECONDS = 7 * 86400

/**
 * Parses RATE_LIMITS: `off`, or entries such as `login=10/1m,signup=5/1h`, each of which replaces one
 * default.
 * @returns the limits; null where they are off
 */
export function parseRateLimits(found: string): Parsed<RateLimits | null> {
  if (found.toLowerCase() === 'off') return { value: null }
  const limits: RateLimits = { ...DEFAULT_RATE_LIMITS }
  const seen = new Set<string>()
  for (const entry of found.split(',').map((item) => item.trim())) {
    const parts = ENTRY.exec(entry)
    if (!parts)
      return { fault: `must be off, or entries such as login=10/1m,signup=5/1h, not ${quote(entry)}` }
    const [, name = '', count, length, unit] = parts
    const known = NAMES.find((each) => each === name)
    if (!known) return { fault: `knows ${listOf(NAMES)}, not ${quote(name)}` }
    if (seen.has(known)) return { fault: `names ${known} twice` }
    seen.add(known)
    const limit = Number(count)
    const windowSeconds = Number(length) * SECONDS[unit as keyof typeof SECONDS]
    if (limit < 1 || limit > MAX_LIMIT)
      return { fault: `allows 1 to ${MAX_LIMIT} requests, not ${quote(entry)}` }
    if (windowSeconds < 1 || windowSeconds > MAX_WINDOW_SECONDS) {
      return { fault: `allows a window of 1s to 7d, not ${quote(entry)}` }
    }
    limits[known] = { limit, windowSeconds }
  }
  return { value: limits }
}

/** Writes rate limits in the form that `parseRateLimits` reads. */
export function formatRateLimits(limits: RateLimits | null): string {
  if (limits === null) return 'off'
  return Object.entries(limits)
    .map(([name, { limit, windowSeconds }]) => `${name}=${limit}/${formatWindow(windowSeconds)}`)
    .join(',')
}

function formatWindow(seconds: number): string {
  const [unit, length] = Object.entries(SECONDS).findLast(([, size]) => seconds % size === 0) ?? ['s', 1]
  return `${seconds / length}${unit}`
}
