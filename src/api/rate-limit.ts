import { DefaultContext, type Context as LimitStore, rateLimit } from 'elysia-rate-limit'
import type { RateLimitName } from '../config/rate-limits.ts'
import type { Context } from '../core/context.ts'
import type { SharedCounters } from '../db/redis.ts'
import { fail, spentHeaders } from '../lib/errors.ts'
import { bucketOf } from '../lib/ip.ts'
import { SECOND_MS } from '../lib/time.ts'
import { callerOf, type RequestState } from './request-state.ts'
import { limitOf } from './route-table.ts'

/** The limits per client address. */
export type Limits = ReturnType<typeof createLimits>

/**
 * The limits per client address, over elysia-rate-limit. Everything is counted by the one `store`: by the plugin for the
 * routes that use it, and by `consume` for requests that never reach the plugin's hook (docs/decisions/0005).
 */
export function createLimits(context: Context) {
  const limits = context.config.rateLimits
  const counters = createCounters(context.shared)
  /** Says that a request is counted, and under which key. */
  const claim = (name: RateLimitName, state: RequestState): string => {
    state.counted = true
    return keyOf(name, state)
  }
  const nameOf = (key: string) => key.slice(0, key.indexOf(' ')) as RateLimitName

  const store: LimitStore = {
    ...counters,
    /** @throws Problem rate_limited, which the plugin lets through to `errors.ts` */
    async increment(key, duration = 0, now = Date.now()) {
      const counted = await counters.increment(key, duration, now)
      const name = nameOf(key)
      const limit = limits?.[name].limit ?? Infinity
      if (counted.count <= limit) return counted
      context.metrics.rateLimited[name] += 1
      const resetSeconds = Math.max(1, Math.ceil((counted.nextReset.getTime() - now) / SECOND_MS))
      return fail('rate_limited', { headers: spentHeaders(limit, resetSeconds) })
    },
  }

  return {
    /** For routes that are limited before their handler runs. Only refusals tell of these limits (keys.md, section 3.1). */
    plugin: rateLimit({
      context: store,
      scoping: 'scoped',
      // Otherwise the plugin takes back what a thrown 401 counted, and guessing passwords would have no limit.
      countFailedRequest: true,
      headers: false,
      max: (key) => limits?.[nameOf(key)].limit ?? 1,
      duration: (key) => (limits?.[nameOf(key)].windowSeconds ?? 1) * SECOND_MS,
      skip: (request) => limits === null || limitOf(request) === null,
      generator: (request, _server, { state }: { state: RequestState }) =>
        claim(limitOf(request) ?? 'other', state),
    }),

    /**
     * Counts a request that the plugin does not: one that failed before its handler, a guess, an OAuth grant.
     * @throws Problem rate_limited
     */
    async consume(name: RateLimitName, state: RequestState): Promise<void> {
      const key = claim(name, state)
      if (limits !== null) await store.increment(key, limits[name].windowSeconds * SECOND_MS)
    },

    /**
     * Does work that a right guess lets through, and counts wrong ones alone. It is counted before it is known whether the
     * guess is right: after too many wrong ones a right one is refused too, or else guessing would have no limit.
     * @param work gives null where the guess is wrong
     * @throws Problem rate_limited
     */
    async countWrong<T>(
      name: RateLimitName,
      state: RequestState,
      work: () => Promise<T | null>,
    ): Promise<T | null> {
      await this.consume(name, state)
      let isWrong = false
      try {
        const result = await work()
        isWrong = result === null
        return result
      } finally {
        if (!isWrong && limits !== null) await store.decrement(keyOf(name, state))
      }
    },
  }
}

/** A counter's key: the limit's name, a space, and who is counted. */
function keyOf(name: RateLimitName, state: RequestState): string {
  const caller = callerOf(state)
  if (caller?.kind === 'user') {
    // A person may guess from several addresses.
    if (name === 'device') return `${name} ${caller.userId}`
    // Tokens of a browser session are counted for each session: people behind one address do not share the limit.
    if (name === 'refresh') return `${name} ${caller.sessionId}`
    // Guesses in one session do not keep the others at that address from a new password.
    if (name === 'password') return `${name} ${caller.sessionId} ${bucketOf(state.address)}`
  }
  return `${name} ${bucketOf(state.address)}`
}

/** Client addresses that one instance remembers. Beyond that it forgets the one that it has not seen for longest. */
const MAX_CLIENTS = 50_000

/** Adds one to a window that begins with the first; gives the count, and the milliseconds until the window ends. */
const INCREMENT = `
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 or left > tonumber(ARGV[1]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  left = tonumber(ARGV[1])
end
return {count, left}`

/** Takes one back, in a window that still runs. */
const DECREMENT = `
if redis.call('EXISTS', KEYS[1]) == 0 then return {0} end
return {redis.call('DECR', KEYS[1])}`

/** Counts on Redis for all instances together; without Redis, or while Redis does not answer, in this process. */
function createCounters(shared: SharedCounters | null): LimitStore {
  const local = new DefaultContext(MAX_CLIENTS)
  return {
    init: (options) => local.init(options),
    async increment(key, duration = 0, requestTime = Date.now()) {
      const [count, leftMs] = (await shared?.run(INCREMENT, [`limit:${key}`], [duration])) ?? []
      if (count === undefined || leftMs === undefined) return local.increment(key, duration, requestTime)
      const endsAt = requestTime + leftMs
      return { count, nextReset: new Date(endsAt), start: endsAt - duration }
    },
    async decrement(key) {
      if (!(await shared?.run(DECREMENT, [`limit:${key}`], []))) await local.decrement(key)
    },
    reset: (key) => local.reset(key),
    kill: () => local.kill(),
  }
}
