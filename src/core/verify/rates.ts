import type { SharedCounters } from '../../db/redis.ts'
import { type Rate, type RateColumns, type RootRateColumns, rateOf, rootRateOf } from '../../lib/rate.ts'
import { type Clock, SECOND_MS } from '../../lib/time.ts'

/** The uses in the present window of one rate. */
type Window = { used: number; endsAtMs: number }

/** A rate against which the uses of a key count: that of its root (docs/decisions/0051), its own, or that of its owner. */
export type CountedRate = {
  of: 'root' | 'key' | 'owner'
  /** The id of the key or owner. Whatever counts against the same id shares a window. */
  id: string
  rate: Rate
  /** The window on this instance; null: the key was not used yet. A use of a cached key then looks nothing up. */
  window: Window | null
}

/** What remains of one rate after a use, or that none remained. */
export type RateState = {
  of: CountedRate['of']
  isExceeded: boolean
  limit: number
  remaining: number
  resetAtMs: number
  /** By a verifier that counts for its region alone. */
  scope?: 'region'
}

/** A key whose uses count against rates; these are in the order in which they are named as the cause of a refusal. */
type RatedKey = { owner: { id: string }; rates: readonly CountedRate[] }

/** Counts the uses of keys: on one instance exactly, and across instances where they share a Redis. */
export type KeyRates = {
  /** Counts one use against each rate of a key, unless one of them is used up; then it counts against none. */
  take(key: RatedKey): RateState[] | Promise<RateState[]>
  /** What taking one would find now; takes none. */
  preview(key: RatedKey): RateState[] | Promise<RateState[]>
}

/** The rates against which a key's uses count; null: none. */
export function ratesOf(
  key: RateColumns & RootRateColumns & { id: string },
  owner: { id: string; columns: RateColumns },
): CountedRate[] | null {
  const rates: CountedRate[] = []
  const add = (of: CountedRate['of'], id: string | null, rate: Rate | null) => {
    if (id !== null && rate !== null) rates.push({ of, id, rate, window: null })
  }
  add('root', key.rateRoot, rootRateOf(key))
  add('key', key.id, rateOf(key))
  add('owner', owner.id, rateOf(owner.columns))
  return rates.length > 0 ? rates : null
}

/** The one that ends first: with the fewest uses left, then with the later reset, then the key's. */
export const tighterOf = (a: RateState, b: RateState): RateState => {
  if (a.remaining !== b.remaining) return a.remaining < b.remaining ? a : b
  if (a.resetAtMs !== b.resetAtMs) return a.resetAtMs > b.resetAtMs ? a : b
  return b.of === 'key' ? b : a
}

/**
 * The fewest windows that one instance remembers. Beyond its maximum it forgets the one that no cached key began to use for
 * longest.
 */
const MIN_WINDOWS = 200_000

/** The state of a window that no use began. */
const UNUSED: Window = { used: 0, endsAtMs: 0 }

/**
 * Counts a use against all of these counters, unless one of them is used up. Two kinds of windows are begun anew. A
 * window that ends later than a new one would was begun under a longer rate. A window in its last millisecond has a
 * PTTL of 0, which SET does not accept. Returns for each whether it was used up, the number of uses, and the
 * milliseconds that remain.
 */
const TAKE = `
local states, refused = {}, 0
for i, key in ipairs(KEYS) do
  local limit, window = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local used, left = tonumber(redis.call('GET', key) or '0'), redis.call('PTTL', key)
  if left <= 0 or left > window then used = 0 left = window end
  local full = used >= limit and 1 or 0
  if full == 1 then refused = 1 end
  states[3 * i - 2], states[3 * i - 1], states[3 * i] = full, used, left
end
if refused == 1 then return states end
for i, key in ipairs(KEYS) do
  states[3 * i - 1] = states[3 * i - 1] + 1
  if ARGV[1] == '1' then redis.call('SET', key, states[3 * i - 1], 'PX', states[3 * i]) end
end
return states`

/**
 * Creates the counters. Windows have a fixed length, and begin with the first use that counts.
 * @param maxCredentials CACHE_MAX_CREDENTIALS: a cached key has two windows, its own and that of its owner
 */
export function createKeyRates(
  clock: Clock,
  shared: SharedCounters | null,
  maxCredentials: number,
): KeyRates {
  const maxWindows = Math.max(MIN_WINDOWS, 2 * maxCredentials)
  const windows = new Map<string, Window>()
  const windowOf = (id: string): Window => {
    const window = windows.get(id) ?? { ...UNUSED }
    if (!windows.delete(id) && windows.size >= maxWindows) forgetOldest()
    windows.set(id, window)
    return window
  }
  const forgetOldest = () => {
    const [oldest] = windows.keys()
    if (oldest !== undefined) windows.delete(oldest)
  }
  const takeHere = ({ rates }: RatedKey, counts: boolean): RateState[] => {
    const now = clock()
    let isRefused = false
    const states: RateState[] = []
    for (const each of rates) {
      each.window ??= counts ? windowOf(each.id) : (windows.get(each.id) ?? null)
      const { used, endsAtMs } = each.window ?? UNUSED
      const { limit, windowSeconds } = each.rate
      const nextEndsAtMs = now + windowSeconds * SECOND_MS
      const isOver = endsAtMs <= now || endsAtMs > nextEndsAtMs
      const remaining = Math.max(0, limit - (isOver ? 0 : used))
      if (remaining === 0) isRefused = true
      const resetAtMs = isOver ? nextEndsAtMs : endsAtMs
      states.push({ of: each.of, isExceeded: remaining === 0, limit, remaining, resetAtMs })
    }
    if (isRefused) return states
    let at = 0
    for (const state of states) {
      state.remaining -= 1
      const window = rates[at++]?.window
      if (!counts || !window) continue
      window.used = state.limit - state.remaining
      window.endsAtMs = state.resetAtMs
    }
    return states
  }
  if (!shared) {
    return { take: (key) => takeHere(key, true), preview: (key) => takeHere(key, false) }
  }
  const takeThere = async (key: RatedKey, counts: boolean): Promise<RateState[]> => {
    const limits = key.rates.flatMap(({ rate }) => [rate.limit, rate.windowSeconds * SECOND_MS])
    const counters = key.rates.map((each) => counterOf(key, each))
    const found = await shared.run(TAKE, counters, [counts ? 1 : 0, ...limits])
    if (found === null || found.length !== 3 * counters.length) return takeHere(key, counts)
    const now = clock()
    return key.rates.map(({ of, rate: { limit } }, at) => {
      const [full = 0, used = 0, leftMs = 0] = found.slice(3 * at)
      const remaining = Math.max(0, limit - used)
      return { of, isExceeded: full === 1, limit, remaining, resetAtMs: now + leftMs }
    })
  }
  return { take: (key) => takeThere(key, true), preview: (key) => takeThere(key, false) }
}

/** The name of a counter on Redis. What is in braces puts all counters of one owner into one slot of a cluster. */
const counterOf = ({ owner }: RatedKey, { of, id }: CountedRate): string =>
  of === 'owner' ? `owner:{${owner.id}}` : `key:{${owner.id}}:${id}`
