import { LRUCache } from 'lru-cache'
import { type Clock, SECOND_MS } from '../../lib/time.ts'

/** `limit` uses in each window of so many seconds. */
export type KeyRate = { limit: number; windowSeconds: number }

/** The rate in a key's two columns, both or neither. */
export function rateOf(key: { rateLimit: number | null; rateWindowSeconds: number | null }): KeyRate | null {
  if (key.rateLimit === null || key.rateWindowSeconds === null) return null
  return { limit: key.rateLimit, windowSeconds: key.rateWindowSeconds }
}

/** Whether `inner` never allows more than `outer`; null is no limit. */
export function isRateWithin(inner: KeyRate | null, outer: KeyRate | null): boolean {
  if (outer === null) return true
  return inner !== null && inner.limit <= outer.limit && inner.windowSeconds >= outer.windowSeconds
}

/** What a use found: whether it may go on, and what is left of the window. */
export type RateState = { isExceeded: boolean; limit: number; remaining: number; resetAtMs: number }

/** Counts uses of keys, exactly, on this instance. */
export type KeyRates = {
  /** Takes one use, unless none is left. */
  take(keyId: string, rate: KeyRate): RateState
}

const MAX_KEYS = 100_000

/** Fixed windows that begin with a key's first use. */
export function createKeyRates(clock: Clock): KeyRates {
  const windows = new LRUCache<string, { used: number; endsAtMs: number }>({ max: MAX_KEYS })
  return {
    take(keyId, { limit, windowSeconds }) {
      const now = clock()
      const known = windows.get(keyId)
      const lastsMs = windowSeconds * SECOND_MS
      // A window that ends later than one could now was begun under a longer rate: the new one holds at once.
      const isOver = known === undefined || known.endsAtMs <= now || known.endsAtMs > now + lastsMs
      const window = isOver ? { used: 0, endsAtMs: now + lastsMs } : known
      if (isOver) windows.set(keyId, window)
      const isExceeded = window.used >= limit
      if (!isExceeded) window.used += 1
      return { isExceeded, limit, remaining: Math.max(0, limit - window.used), resetAtMs: window.endsAtMs }
    },
  }
}
