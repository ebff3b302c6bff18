import { DefaultContext, type Context as LimitStore } from 'elysia-rate-limit'
import type { SharedCounters } from '../db/redis.ts'

/** How many client addresses are told apart on one instance; beyond that the longest unseen is forgotten. */
const MAX_CLIENTS = 50_000

/** One more in a window that begins with the first: how many there are now, and the milliseconds that are left. */
const INCREMENT = `
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 or left > tonumber(ARGV[1]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  left = tonumber(ARGV[1])
end
return {count, left}`

/** Where elysia-rate-limit counts: on Redis for all instances together where there is one that answers, else here. */
export function createLimitStore(shared: SharedCounters | null): LimitStore {
  const local = new DefaultContext(MAX_CLIENTS)
  return {
    init: (options) => local.init(options),
    async increment(key, duration = 0, requestTime = Date.now()) {
      const [count, leftMs] = (await shared?.run(INCREMENT, `limit:${key}`, [duration])) ?? []
      if (count === undefined || leftMs === undefined) return local.increment(key, duration, requestTime)
      const endsAt = requestTime + leftMs
      return { count, nextReset: new Date(endsAt), start: endsAt - duration }
    },
    decrement: (key) => local.decrement(key),
    reset: (key) => local.reset(key),
    kill: () => local.kill(),
  }
}
