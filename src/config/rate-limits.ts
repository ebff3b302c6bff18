import { listOf, type Parsed, quote } from './reader.ts'

type Limit = { limit: number; windowSeconds: number }

const ENTRY = /^([a-z_]+)=(\d{1,7})\/(\d{1,6})([smhd])$/
const SECONDS = { s: 1, m: 60, h: 3600, d: 86400 }
const MAX_LIMIT = 1_000_000
const MAX_WINDOW_SECONDS = 7 * 86400

/** `off`, or entries such as `login=10/1m,signup=5/1h` that replace single defaults; null: no limits. */
export function parseRateLimits<N extends string>(
  found: string,
  defaults: Readonly<Record<N, Limit>>,
): Parsed<Record<N, Limit> | null> {
  if (found.toLowerCase() === 'off') return { value: null }
  const limits: Record<N, Limit> = { ...defaults }
  const seen = new Set<string>()
  for (const entry of found.split(',').map((item) => item.trim())) {
    const parts = ENTRY.exec(entry)
    if (!parts)
      return { fault: `must be off, or entries such as login=10/1m,signup=5/1h, not ${quote(entry)}` }
    const [, name = '', count, length, unit] = parts
    const known = keysOf(defaults).find((key) => key === name)
    if (!known) return { fault: `knows ${listOf(Object.keys(defaults))}, not ${quote(name)}` }
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

/** The same as text, for people. */
export function formatRateLimits(limits: Readonly<Record<string, Limit>> | null): string {
  if (limits === null) return 'off'
  return Object.entries(limits)
    .map(([name, { limit, windowSeconds }]) => `${name}=${limit}/${formatWindow(windowSeconds)}`)
    .join(',')
}

function formatWindow(seconds: number): string {
  const [unit, length] = Object.entries(SECONDS).findLast(([, size]) => seconds % size === 0) ?? ['s', 1]
  return `${seconds / length}${unit}`
}

function keysOf<K extends string>(record: Readonly<Record<K, unknown>>): K[] {
  return Object.keys(record) as K[]
}
