import { DEFAULT_RATE_LIMITS, type RateLimitName, type RateLimits } from '../../src/config/rate-limits.ts'
import type { Rate } from '../../src/lib/rate.ts'

/** One rate for every limit by client address. */
export function everyLimit(rate: Rate): RateLimits {
  const names = Object.keys(DEFAULT_RATE_LIMITS) as RateLimitName[]
  return Object.fromEntries(names.map((name) => [name, rate])) as RateLimits
}
