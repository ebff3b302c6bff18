import { DefaultContext, type Context as LimitStore, rateLimit } from 'elysia-rate-limit'
import type { RateLimitName } from '../config/rate-limits.ts'
import type { Context } from '../core/context.ts'
import type { SharedCounters } from '../db/redis.ts'
import { fail, spentHeaders } from '../lib/errors.ts'
import { bucketOf } from '../lib/ip.ts'
import { SECOND_MS } from '../lib/time.ts'
import { errorAnswer } from './problem.ts'
import type { RequestState } from './request-state.ts'
import { pathOf, withoutSlash } from './route-table.ts'

/** Which limit a route falls under; every route that is limited and not named here: `other`. null: none. */
const POLICIES = new Map<string, RateLimitName | null>([
  ['POST /auth/signup', 'signup'],
  ['POST /auth/login', 'login'],
  ['POST /auth/login/mfa', 'login'],
  ['POST /auth/passkeys/login', 'login'],
  ['POST /auth/passkeys/login/options', 'login'],
  ['POST /auth/refresh', 'refresh'],
  ['POST /auth/password', 'password'],
  ['POST /auth/reauthenticate', 'password'],
  ['POST /auth/reauthenticate/options', 'password'],
  ['POST /auth/password-reset', 'mail'],
  ['POST /keys/create', 'create_key'],
  ['POST /keys', 'create_key'],
  ['POST /oauth/introspect', null],
])

/** What the plugin answers with; `answerRefused` turns it into a problem. */
const REFUSED = 'rate_limited'

type Mapped = { responseValue: unknown; set: { headers: object }; state: RequestState }

/** The limits per client address. */
export type Limits = ReturnType<typeof createLimits>

/** The policy table over elysia-rate-limit, and the same counters for what the plugin cannot see. */
export function createLimits(context: Context) {
  const policies = context.config.rateLimits
  const store = createLimitStore(context.shared)
  const policyOfKey = (key: string) => policies?.[key.slice(0, key.indexOf(' ')) as RateLimitName]

  return {
    /** The plugin, for the routes that are limited before their handler runs. */
    plugin: rateLimit({
      context: store,
      scoping: 'scoped',
      countFailedRequest: true,
      max: (key) => policyOfKey(key)?.limit ?? 1,
      duration: (key) => (policyOfKey(key)?.windowSeconds ?? 1) * SECOND_MS,
      skip: (request) => policies === null || policyOf(request) === null,
      generator: (request, _server, { state }: { state: RequestState }) => {
        state.counted = true
        return keyOf(policyOf(request) ?? 'other', state)
      },
      errorResponse: REFUSED,
    }),

    /** A `mapResponse` hook: the plugin's refusal as an error of the contract, with the headers that it has set. */
    answerRefused: ({ responseValue, set, state }: Mapped) => {
      if (responseValue !== REFUSED) return
      context.metrics.rateLimited[policyOf(state.request) ?? 'other'] += 1
      const { status, headers, body } = errorAnswer('rate_limited', {}, state)
      return new Response(body, { status, headers: { ...set.headers, ...headers } })
    },

    /**
     * Counts a request that the plugin does not: one that failed before its handler, a guess, an OAuth grant.
     * @throws Problem rate_limited
     */
    async consume(name: RateLimitName, state: RequestState): Promise<void> {
      state.counted = true
      if (policies === null) return
      const { limit, windowSeconds } = policies[name]
      const now = Date.now()
      const { count, nextReset } = await store.increment(keyOf(name, state), windowSeconds * SECOND_MS, now)
      if (count <= limit) return
      context.metrics.rateLimited[name] += 1
      const resetSeconds = Math.max(1, Math.ceil((nextReset.getTime() - now) / SECOND_MS))
      fail('rate_limited', { headers: spentHeaders(limit, resetSeconds) })
    },
  }
}

/** The limit that a route falls under; null: none, as long as it answers what was asked. */
export function policyOf(request: Request): RateLimitName | null {
  const policy = POLICIES.get(`${request.method} ${withoutSlash(pathOf(request))}`)
  return policy === undefined ? 'other' : policy
}

function keyOf(name: RateLimitName, { address, principal }: RequestState): string {
  // Of many sessions at one address, guesses in one do not keep the others from a new password.
  const session = name === 'password' && principal?.kind === 'user' ? `${principal.sessionId} ` : ''
  return `${name} ${session}${bucketOf(address)}`
}

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
function createLimitStore(shared: SharedCounters | null): LimitStore {
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
