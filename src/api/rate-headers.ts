import type { RateState } from '../core/verify/rates.ts'
import { SECOND_MS } from '../lib/time.ts'

/** The headers that tell a client what is left of the tighter rate of its key (keys.md, section 3.1). */
export function setRateHeaders(headers: Headers, rate: RateState, nowMs: number): void {
  headers.set('RateLimit-Limit', String(rate.limit))
  headers.set('RateLimit-Remaining', String(rate.remaining))
  headers.set('RateLimit-Reset', String(Math.max(1, Math.ceil((rate.resetAtMs - nowMs) / SECOND_MS))))
}
