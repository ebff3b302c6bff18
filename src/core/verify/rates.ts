import { LRUCache } from 'lru-cache'
import type { SharedCounters } from '../../db/redis.ts'
import type { Rate } from '../../lib/rate.ts'
import { type Clock, SECOND_MS } from '../../lib/time.ts'

/** The rate in a key's two columns, both or neither. */
export function rateOf(key: { rateLimit: number | null; rateWindowSeconds: number | null }): Rate | null {
  if (key.rateLimit === null || key.rateWindowSeconds === null) return null
  return { limit: key.rateLimit, windowSeconds: key.rateWindowSeconds }
}

/** What a use found: whether it may go on, and what is left of the window. */
export type RateState = { isExceeded: boolean; limit: number; remaining: number; resetAtMs: number }

/** Counts uses of keys: exactly on one instance, and over all of them where they share a Redis. */
export type KeyRates = {
  /** Takes one use, unless none is left. */
  take(keyId: string, rate: Rate): RateState | Promise<RateState>
  /** What taking one would find now; takes none. */
  preview(keyId: string, rate: Rate): RateState | Promise<RateState>
}

const MAX_KEYS = 100_000

/**
 * Takes a use, unless none is left, in a window that begins with the first one. A window that ends later than one could
 * now was begun under a longer rate, and begins anew; so does one in its last millisecond, of which PTTL says 0 and which
 * no SET may ask for. The third argument is 0 where nothing is to be taken. Gives whether it was refused, the uses, the milliseconds left.
 */
const TAKE = `
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local used, left = tonumber(redis.call('GET', KEYS[1]) or '0'), redis.call('PTTL', KEYS[1])
if left <= 0 or left > window then used = 0 left = window end
if used >= limit then return {1, used, left} end
if ARGV[3] == '1' then redis.call('SET', KEYS[1], used + 1, 'PX', left) end
return {0, used + 1, left}`

/** Fixed windows that begin with a key's first use. */
export function createKeyRates(clock: Clock, shared: SharedCounters | null): KeyRates {
  const windows = new LRUCache<string, { used: number; endsAtMs: number }>({ max: MAX_KEYS })
  const takeHere = (keyId: string, { limit, windowSeconds }: Rate, counts: boolean): RateState => {
    const now = clock()
    const known = windows.get(keyId)
    const lastsMs = windowSeconds * SECOND_MS
    const isOver = known === undefined || known.endsAtMs <= now || known.endsAtMs > now + lastsMs
    const window = isOver ? { used: 0, endsAtMs: now + lastsMs } : known
    const isExceeded = window.used >= limit
    const used = isExceeded ? window.used : window.used + 1
    if (counts) {
      if (isOver) windows.set(keyId, window)
      window.used = used
    }
    return { isExceeded, limit, remaining: Math.max(0, limit - used), resetAtMs: window.endsAtMs }
  }
  if (!shared) {
    return {
      take: (keyId, rate) => takeHere(keyId, rate, true),
      preview: (keyId, rate) => takeHere(keyId, rate, false),
    }
  }
  const takeThere = async (keyId: string, rate: Rate, counts: boolean): Promise<RateState> => {
    const args = [rate.limit, rate.windowSeconds * SECOND_MS, counts ? 1 : 0]
    const [refused, used, leftMs] = (await shared.run(TAKE, `key:${keyId}`, args)) ?? []
    if (refused === undefined || used === undefined || leftMs === undefined)
      return takeHere(keyId, rate, counts)
    const remaining = Math.max(0, rate.limit - used)
    return { isExceeded: refused === 1, limit: rate.limit, remaining, resetAtMs: clock() + leftMs }
  }
  return {
    take: (keyId, rate) => takeThere(keyId, rate, true),
    preview: (keyId, rate) => takeThere(keyId, rate, false),
  }
}
