import { beforeAll, describe, expect, test } from 'bun:test'
import { DEFAULT_RATE_LIMITS } from '../../src/config/rate-limits.ts'
import { nextRefill as nextOf } from '../../src/core/credits/refills.ts'
import { type Answer, call, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService, type TestService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const SLOW_MS = 240_000
const SECOND_MS = 1000

/** Texts in X-Forwarded-For that are no address. */
const UNREADABLE = [
  'unknown',
  '_hidden',
  '',
  '203.0.113.9:',
  '203.0.113.9:x',
  '203.0.113.9:123456',
  '[203.0.113.9]:80',
  '[2001:db8::1',
  '[2001:db8::1]443',
  '203.0.113.900',
  'client.example.com:80',
]

const service = useService()
const other = useService({ trustedProxies: ['127.0.0.1/32', '10.0.0.0/8'] }, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const owner = prepare(() => addLoggedIn(service, sql))
let asker: { id: string; key: string }
beforeAll(async () => {
  asker = await newKey(service, admin.access, { scopes: 'latchkey:verify' })
})

/** The next refill by the default day, hour and zone. */
const nextRefill = (interval: 'daily' | 'monthly', nowMs: number) =>
  nextOf({ amount: 1, interval, day: null, hour: null, timeZone: null, mode: null, max: null }, nowMs)

type Json = Record<string, unknown>
const make = (json: Json = {}) => newKey(service, owner.access, { scopes: 'read', ...json })
const create = (json: Json) => call(service, 'POST /keys', { bearer: owner.access, json })
const use = (apiKey: string, headers: Record<string, string> = {}, on = service) =>
  call(on, 'GET /protected/any', { apiKey, headers })
const verify = async (key: string, more: Json = {}, on: Pick<TestService, 'url'> = service) =>
  (await call(on, 'POST /keys/verify', { apiKey: asker.key, json: { key, ...more } })).body
const remainingOf = async (id: string): Promise<number> => {
  const [row] = await sql`SELECT remaining::int FROM latchkey.api_key_credits WHERE key_id = ${id}`
  return row?.remaining
}
const times = <T>(count: number, work: (at: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, at) => work(at)))
const tally = (words: readonly (string | number)[]) =>
  Object.fromEntries([...Map.groupBy(words, (word) => word)].map(([word, all]) => [word, all.length]))

describe('rate_limit', () => {
  test('is exact under concurrency, for our own routes, verify and batches together', async () => {
    const { key } = await make({ rate_limit: { limit: 100, window_seconds: 3600 } })
    const results = await times(60, async (at): Promise<string[]> => {
      if (at % 3 === 0) return [`${(await use(key)).status === 200 ? 'VALID' : 'RATE_LIMITED'}`]
      if (at % 3 === 1) return [(await verify(key)).code]
      const json = { keys: Array.from({ length: 10 }, () => ({ key })) }
      const batch = await call(service, 'POST /keys/verify-batch', { apiKey: asker.key, json })
      return batch.body.results.map(({ code }: { code: string }) => code)
    })
    expect(tally(results.flat())).toEqual({ VALID: 100, RATE_LIMITED: 140 })
  })

  test('answers 429 with Retry-After and RateLimit headers when exceeded, never 401, on every route', async () => {
    const scopes = ['read', 'latchkey:keys.read', 'latchkey:keys.write']
    const { key } = await make({ scopes, rate_limit: { limit: 1, window_seconds: 60 } })
    expect((await use(key)).status).toBe(200)
    for (const route of [
      'GET /protected/any',
      'GET /protected/service-only',
      'GET /auth/me',
      'GET /keys',
      'POST /keys',
    ]) {
      const answer = await call(service, route, { apiKey: key, ...(route === 'POST /keys' && { json: {} }) })
      expectProblem(answer, 'rate_limited')
      const [retryAfter, reset] = ['retry-after', 'ratelimit-reset'].map((name) =>
        Number(answer.headers.get(name)),
      )
      expect(retryAfter).toBeGreaterThan(50)
      expect(retryAfter).toBeLessThanOrEqual(60)
      expect(reset).toBe(retryAfter ?? 0)
      expect(answer.headers.get('ratelimit-limit')).toBe('1')
      expect(answer.headers.get('ratelimit-remaining')).toBe('0')
      expect(answer.headers.get('www-authenticate')).toBeNull()
    }
    expect(await verify(key)).toMatchObject({ valid: false, code: 'RATE_LIMITED' })
  })

  test('resets at the end of the window, and the next window begins with the next use', async () => {
    const { key } = await make({ rate_limit: { limit: 2, window_seconds: 60 } })
    const codes = async (count: number) => {
      const seen: string[] = []
      for (let i = 0; i < count; i++) seen.push((await verify(key)).code)
      return seen.join(' ')
    }
    expect(await codes(3)).toBe('VALID VALID RATE_LIMITED')
    service.advance(58 * SECOND_MS)
    const refused = await verify(key)
    expect(refused.code).toBe('RATE_LIMITED')
    expect(refused.retry_after_seconds).toBeLessThanOrEqual(2)
    service.advance(2 * SECOND_MS)
    expect(await codes(3)).toBe('VALID VALID RATE_LIMITED')
    service.advance(-60 * SECOND_MS)
  })

  test('of another key of the same owner is not affected', async () => {
    const rate_limit = { limit: 1, window_seconds: 3600 }
    const [one, two] = [await make({ rate_limit }), await make({ rate_limit })]
    expect((await verify(one.key)).code).toBe('VALID')
    expect((await verify(one.key)).code).toBe('RATE_LIMITED')
    expect((await verify(two.key)).code).toBe('VALID')
  })

  test('belongs to the key: both secrets of a rotation share it', async () => {
    const { id, key } = await make({ rate_limit: { limit: 1, window_seconds: 3600 } })
    const successor = (await call(service, `POST /keys/${id}/rotate`, { bearer: owner.access })).body.key
    expect((await verify(key)).code).toBe('VALID')
    expect((await verify(successor)).code).toBe('RATE_LIMITED')
  })

  test('is not counted by introspection, and does not stop it', async () => {
    const { key } = await make({ rate_limit: { limit: 1, window_seconds: 3600 } })
    const introspect = async () =>
      (await call(service, 'POST /oauth/introspect', { bearer: admin.access, form: { token: key } })).body
        .active
    for (let i = 0; i < 5; i++) expect(await introspect()).toBe(true)
    expect((await verify(key)).code).toBe('VALID')
    expect((await verify(key)).code).toBe('RATE_LIMITED')
    expect(await introspect()).toBe(true)
  })

  test('applies from the next use after a change, and no longer after it is cleared', async () => {
    const { id, key } = await make({ rate_limit: { limit: 10, window_seconds: 3600 } })
    const patch = (json: Json) => call(service, `PATCH /keys/${id}`, { bearer: owner.access, json })
    for (let i = 0; i < 3; i++) expect((await verify(key)).code).toBe('VALID')
    await patch({ rate_limit: { limit: 2, window_seconds: 3600 } })
    expect((await verify(key)).code).toBe('RATE_LIMITED')
    await patch({ rate_limit: null })
    for (let i = 0; i < 5; i++) expect(await verify(key)).toMatchObject({ valid: true, rate_limit: null })
  })

  test.each([
    ['zero a window', { limit: 0, window_seconds: 60 }],
    ['a negative number', { limit: -1, window_seconds: 60 }],
    ['half a use', { limit: 1.5, window_seconds: 60 }],
    ['no window', { limit: 1 }],
    ['a window of zero seconds', { limit: 1, window_seconds: 0 }],
    ['a window of more than thirty days', { limit: 1, window_seconds: 2_592_001 }],
    ['more than a billion', { limit: 1_000_000_001, window_seconds: 60 }],
    ['text', '10/60'],
    ['a number as text', { limit: '5', window_seconds: 60 }],
    ['an unknown member', { limit: 1, window_seconds: 60, burst: 5 }],
  ])('of %s is refused', async (_, rate_limit) => {
    expectProblem(await create({ rate_limit }), 'validation_failed')
  })

  test('accepts its lowest and highest values', async () => {
    const { key } = await make({ rate_limit: { limit: 1_000_000_000, window_seconds: 2_592_000 } })
    expect(await verify(key)).toMatchObject({ valid: true, rate_limit: { remaining: 999_999_999 } })
  })
})

describe('credits', () => {
  test(
    'never go below zero under hundreds of requests at once on two servers, and no use is lost',
    async () => {
      const { id, key } = await make({ credits: { remaining: 500 } })
      const costs = await times(300, async (at) => {
        const cost = (at % 5) + 1
        const answer = await verify(key, { cost }, at % 2 ? service : other)
        expect(['VALID', 'CREDITS_EXHAUSTED']).toContain(answer.code)
        return answer.valid ? cost : 0
      })
      const granted = costs.reduce((sum, cost) => sum + cost, 0)
      const left = await remainingOf(id)
      expect(granted + left).toBe(500)
      expect(left).toBe(0)
      expect(await verify(key)).toEqual({
        valid: false,
        code: 'CREDITS_EXHAUSTED',
        key_id: id,
        limited_by: 'key',
      })
    },
    SLOW_MS,
  )

  test('are refilled once, by any number of requests at the same time', async () => {
    const { id, key } = await make({ credits: { remaining: 0, refill: { amount: 50, interval: 'daily' } } })
    await sql`UPDATE latchkey.api_key_credits SET refills_at = now() - interval '1 second' WHERE key_id = ${id}`
    const codes = await times(100, async (at) => (await verify(key, {}, at % 2 ? service : other)).code)
    expect(tally(codes)).toEqual({ VALID: 50, CREDITS_EXHAUSTED: 50 })
  })

  test.each([
    ['daily', '25 hours'],
    ['daily', '10 years'],
    ['monthly', '32 days'],
    ['monthly', '10 years'],
  ] as const)(
    'whose %s refill is due in %s, because a clock far ahead set it, are refilled once',
    async (interval, wait) => {
      const { id, key } = await make({ credits: { remaining: 0, refill: { amount: 5, interval } } })
      const setFor = (text: string) =>
        sql`UPDATE latchkey.api_key_credits SET refills_at = now() + ${text}::interval WHERE key_id = ${id}`
      await setFor(interval === 'daily' ? '1 day' : '28 days')
      expect((await verify(key)).code).toBe('CREDITS_EXHAUSTED')
      await setFor(wait)
      expect((await verify(key, { cost: 0 })).credits).toEqual({ remaining: 5 })
      const codes = await times(10, async (at) => (await verify(key, {}, at % 2 ? service : other)).code)
      expect(tally(codes)).toEqual({ VALID: 5, CREDITS_EXHAUSTED: 5 })
      const [row] = await sql`SELECT refills_at FROM latchkey.api_key_credits WHERE key_id = ${id}`
      expect(row?.refills_at).toEqual(nextRefill(interval, Date.now()))
    },
  )

  test('that are set again keep their refill, unless the refill is changed or cleared', async () => {
    const refill = { amount: 9, interval: 'daily' }
    const { id } = await make({ credits: { remaining: 5, refill } })
    const patch = async (credits: unknown) =>
      (await call(service, `PATCH /keys/${id}`, { bearer: owner.access, json: { credits } })).body.credits
    expect(await patch({ remaining: 50 })).toEqual({ remaining: 50, refill })
    // The refill is due. The new number of credits counts, without the refill.
    await sql`UPDATE latchkey.api_key_credits SET refills_at = now() - interval '1 day' WHERE key_id = ${id}`
    expect(await patch({ remaining: 2 })).toEqual({ remaining: 2, refill })
    const monthly = { amount: 1, interval: 'monthly' }
    expect(await patch({ remaining: 2, refill: monthly })).toEqual({ remaining: 2, refill: monthly })
    expect(await patch({ remaining: 3, refill: null })).toEqual({ remaining: 3, refill: null })
    expect(await patch({ remaining: 4 })).toEqual({ remaining: 4, refill: null })
  })

  test('are charged by the cost of the question: zero, one by default, up to a million', async () => {
    const { id, key } = await make({ credits: { remaining: 1_000_002 } })
    const left = async (more: Json) => (await verify(key, more)).credits?.remaining
    expect(await left({ cost: 0 })).toBe(1_000_002)
    expect(await left({})).toBe(1_000_001)
    expect(await left({ cost: 1_000_000 })).toBe(1)
    expect(await verify(key, { cost: 2 })).toMatchObject({ code: 'CREDITS_EXHAUSTED' })
    expect(await left({ cost: 0 })).toBe(1)
    expect(await left({ cost: 1 })).toBe(0)
    expect(await left({ cost: 0 })).toBe(0)
    for (const cost of [-1, 1.5, 1_000_001, '1', true]) {
      const json = { key, cost }
      expectProblem(
        await call(service, 'POST /keys/verify', { apiKey: asker.key, json }),
        'validation_failed',
      )
    }
    expect(await remainingOf(id)).toBe(0)
  })

  test('are not charged by our own routes, nor by introspection', async () => {
    const { id, key } = await make({ credits: { remaining: 1 } })
    expect((await use(key)).status).toBe(200)
    await call(service, 'POST /oauth/introspect', { bearer: admin.access, form: { token: key } })
    expect(await remainingOf(id)).toBe(1)
    expect((await verify(key)).valid).toBe(true)
    expect((await use(key)).status).toBe(200)
  })

  test('that are set, changed or cleared apply from the next question', async () => {
    const { id, key } = await make()
    expect(await verify(key)).toMatchObject({ valid: true, credits: null })
    const patch = (credits: unknown) =>
      call(service, `PATCH /keys/${id}`, { bearer: owner.access, json: { credits } })
    await patch({ remaining: 1 })
    expect(await verify(key)).toMatchObject({ valid: true, credits: { remaining: 0 } })
    expect((await verify(key)).code).toBe('CREDITS_EXHAUSTED')
    await patch({ remaining: 5, refill: { amount: 9, interval: 'monthly' } })
    expect(await verify(key)).toMatchObject({ valid: true, credits: { remaining: 4 } })
    await patch(null)
    expect(await verify(key)).toMatchObject({ valid: true, credits: null })
  })

  test.each([
    ['a negative number', { remaining: -1 }],
    ['half a credit', { remaining: 1.5 }],
    ['a number that JavaScript cannot represent exactly', { remaining: 2 ** 53 }],
    ['a refill alone', { refill: { amount: 1, interval: 'daily' } }],
    ['a refill of zero', { remaining: 1, refill: { amount: 0, interval: 'daily' } }],
    ['a refill by the hour', { remaining: 1, refill: { amount: 1, interval: 'hourly' } }],
    ['a refill without an interval', { remaining: 1, refill: { amount: 1 } }],
    ['a number', 5],
    ['an unknown member', { remaining: 1, max: 5 }],
  ])('of %s are refused', async (_, credits) => {
    expectProblem(await create({ credits }), 'validation_failed')
  })
})

describe('the next refill', () => {
  test.each([
    ['daily', '2026-11-23T00:00:00.000Z', '2026-11-24T00:00:00.000Z'],
    ['daily', '2026-11-23T23:59:59.999Z', '2026-11-24T00:00:00.000Z'],
    ['daily', '2028-02-28T12:00:00.000Z', '2028-02-29T00:00:00.000Z'],
    ['daily', '2028-02-29T12:00:00.000Z', '2028-03-01T00:00:00.000Z'],
    ['daily', '2027-02-28T12:00:00.000Z', '2027-03-01T00:00:00.000Z'],
    ['daily', '2100-02-28T12:00:00.000Z', '2100-03-01T00:00:00.000Z'],
    ['daily', '2026-12-31T23:59:59.999Z', '2027-01-01T00:00:00.000Z'],
    ['daily', '2027-03-28T00:30:00.000Z', '2027-03-29T00:00:00.000Z'],
    ['monthly', '2026-11-01T00:00:00.000Z', '2026-12-01T00:00:00.000Z'],
    ['monthly', '2027-01-31T23:59:59.999Z', '2027-02-01T00:00:00.000Z'],
    ['monthly', '2028-02-29T23:59:59.999Z', '2028-03-01T00:00:00.000Z'],
    ['monthly', '2026-12-31T23:59:59.999Z', '2027-01-01T00:00:00.000Z'],
  ] as const)('%s after %s is at %s', (interval, now, next) => {
    expect(nextRefill(interval, Date.parse(now)).toISOString()).toBe(next)
  })

  /** A server with an injected clock. A key makes the keys, because an access token would expire. */
  async function startTraveller() {
    const traveller = await startService({}, service)
    const manager = await make({ scopes: ['read', 'latchkey:keys.read', 'latchkey:keys.write'] })
    return {
      at: (instant: string) => traveller.advance(Date.parse(instant) - traveller.context.clock()),
      async makeKey(credits: Json): Promise<string> {
        const answer = await call(traveller, 'POST /keys', { apiKey: manager.key, json: { credits } })
        expect(answer.status).toBe(201)
        return answer.body.key
      },
      /** The remaining credits of some keys, as their owner sees them. */
      async remaining(...keys: string[]): Promise<number[]> {
        const { body } = await call(traveller, 'GET /keys', { apiKey: manager.key })
        const listed: { start: string; credits: { remaining: number } }[] = body
        return keys.map((key) => listed.find(({ start }) => key.startsWith(start))?.credits.remaining ?? -1)
      },
      /** Uses credits one by one, and gives how many there were and the seconds until the refill. */
      async spend(key: string) {
        let spent = 0
        let answer = await verify(key, {}, traveller)
        for (; answer.valid; answer = await verify(key, {}, traveller)) spent++
        return { spent, wait: answer.retry_after_seconds }
      },
      [Symbol.asyncDispose]: () => traveller.stop(),
    }
  }

  test.each([
    [
      'daily',
      '2028-02-28T10:00:00Z',
      '2028-02-28T23:59:58Z',
      '2028-02-29T00:00:00Z',
      '2028-02-29T23:59:58Z',
      '2028-03-01T00:00:00Z',
    ],
    [
      'monthly',
      '2027-01-31T10:00:00Z',
      '2027-01-31T23:59:58Z',
      '2027-02-01T00:00:00Z',
      '2027-02-28T23:59:58Z',
      '2027-03-01T00:00:00Z',
    ],
    [
      'monthly',
      '2027-12-31T10:00:00Z',
      '2027-12-31T23:59:58Z',
      '2028-01-01T00:00:00Z',
      '2028-01-31T23:59:58Z',
      '2028-02-01T00:00:00Z',
    ],
  ])(
    '%s: made at %s, empty at %s, full at %s, empty at %s, full at %s',
    async (interval, made, before, first, later, second) => {
      await using on = await startTraveller()
      on.at(made)
      const key = await on.makeKey({ remaining: 1, refill: { amount: 3, interval } })
      const wait = (Date.parse(first) - Date.parse(made)) / SECOND_MS
      const { spent, wait: waits } = await on.spend(key)
      expect(spent).toBe(1)
      expect(Math.abs(waits - wait)).toBeLessThanOrEqual(2)
      for (const [instant, amount] of [
        [before, 0],
        [first, 3],
        [later, 0],
        [second, 3],
      ] as const) {
        on.at(instant)
        expect([instant, (await on.spend(key)).spent]).toEqual([instant, amount])
      }
    },
  )

  test('fills up to the amount, never reduces the credits, and does not add up over days without a use', async () => {
    await using on = await startTraveller()
    on.at('2027-05-01T10:00:00Z')
    const little = await on.makeKey({ remaining: 2, refill: { amount: 5, interval: 'daily' } })
    const much = await on.makeKey({ remaining: 9, refill: { amount: 5, interval: 'daily' } })
    on.at('2027-05-11T10:00:00Z')
    expect((await on.spend(little)).spent).toBe(5)
    expect((await on.spend(much)).spent).toBe(9)
    on.at('2027-05-12T00:00:00Z')
    // The owner sees the refill before the first use after it.
    expect(await on.remaining(little, much)).toEqual([5, 5])
    for (const key of [little, much]) expect((await on.spend(key)).spent).toBe(5)
    expect(await on.remaining(little, much)).toEqual([0, 0])
  })

  test('a cost above the refill has no Retry-After', async () => {
    const { key } = await make({ credits: { remaining: 0, refill: { amount: 5, interval: 'daily' } } })
    expect(await verify(key, { cost: 6 })).toEqual({
      valid: false,
      code: 'CREDITS_EXHAUSTED',
      key_id: expect.any(String),
      limited_by: 'key',
    })
    expect((await verify(key, { cost: 5 })).retry_after_seconds).toBeLessThanOrEqual(86_400)
  })
})

describe('allowed_ips', () => {
  test.each([
    [
      ['192.0.2.0/24'],
      ['192.0.2.0', '192.0.2.255', '::ffff:192.0.2.7', '::ffff:c000:207'],
      ['192.0.3.0', '::1', '2001:db8::1'],
    ],
    [['192.0.2.7'], ['192.0.2.7', '::ffff:192.0.2.7'], ['192.0.2.6', '192.0.2.70']],
    [['192.0.2.77/24'], ['192.0.2.1'], ['192.0.3.77']],
    [['::ffff:192.0.2.0/120'], ['192.0.2.200', '::ffff:192.0.2.1'], ['192.0.3.0']],
    [['2001:db8::/32'], ['2001:db8::1', '2001:DB8:ffff::', '2001:db8::1%eth0'], ['2001:db9::1', '192.0.2.1']],
    [['2001:db8::1'], ['2001:db8:0:0::1'], ['2001:db8::2']],
    [['0.0.0.0/0'], ['255.255.255.255', '::ffff:1.2.3.4'], ['::1']],
    [['::/0'], ['::1', '2001:db8::1'], ['192.0.2.1']],
    [
      ['10.0.0.0/8', '2001:db8::/32'],
      ['10.9.9.9', '2001:db8::1'],
      ['11.0.0.0', '::1'],
    ],
  ])('%p allows %p and refuses %p', async (allowed_ips, good, bad) => {
    const { key } = await make({ allowed_ips })
    for (const ip of good) expect([ip, (await verify(key, { ip })).code]).toEqual([ip, 'VALID'])
    for (const ip of bad) expect([ip, (await verify(key, { ip })).code]).toEqual([ip, 'IP_NOT_ALLOWED'])
    // A question without an address is refused.
    for (const more of [{}, { ip: null }]) expect((await verify(key, more)).code).toBe('IP_NOT_ALLOWED')
  })

  test.each([
    ['192.0.2.0/33'],
    ['192.0.2.0/-1'],
    ['192.0.2.0/24/24'],
    ['192.0.2.0/'],
    ['192.0.2'],
    ['192.0.2.256'],
    ['3221225985'],
    ['0x7f.1'],
    ['0177.0.0.1'],
    ['2001:db8::/129'],
    ['2001:db8:::'],
    ['::ffff:192.0.2.0/95'],
    ['localhost'],
    ['*'],
    [''],
    [' 192.0.2.1'],
    ['192.0.2.1\u0000'],
    ['192.0.2.0-192.0.2.9'],
  ])('%p is refused as a network', async (network) => {
    const answer = await create({ allowed_ips: ['192.0.2.1', network] })
    expectProblem(answer, 'validation_failed')
    expect(answer.body.errors).toMatchObject([{ path: '/allowed_ips/1' }])
  })

  test('accepts fifty networks and refuses fifty-one; an empty list and null allow every address', async () => {
    const networks = (n: number) => Array.from({ length: n }, (_, at) => `10.0.${at}.0/24`)
    expectProblem(await create({ allowed_ips: networks(51) }), 'validation_failed')
    const fifty = await create({ allowed_ips: networks(50) })
    expect(fifty.body.allowed_ips).toHaveLength(50)
    expect((await verify(fifty.body.key, { ip: '10.0.49.9' })).code).toBe('VALID')
    for (const allowed_ips of [[], null]) {
      const answer = await create({ allowed_ips })
      expect([answer.status, answer.body.allowed_ips]).toEqual([201, null])
    }
    const { body } = await create({ allowed_ips: ['10.1.2.3/8', '10.0.0.0/8', '::ffff:192.0.2.1'] })
    expect(body.allowed_ips).toEqual(['10.0.0.0/8', '192.0.2.1/32'])
  })

  test('applies to our own routes, by the address that a trusted proxy names', async () => {
    const near = await make({ allowed_ips: ['127.0.0.1'] })
    const far = await make({ allowed_ips: ['192.0.2.0/24'] })
    const from = (forwarded: string) => ({ 'x-forwarded-for': forwarded })
    const cases: [TestService, string, Record<string, string>, number][] = [
      [service, near.key, {}, 200],
      [service, far.key, {}, 403],
      // Without trusted proxies the header is ignored.
      [service, near.key, from('192.0.2.9'), 200],
      [service, far.key, from('192.0.2.9'), 403],
      [other, near.key, {}, 200],
      [other, far.key, from('192.0.2.9'), 200],
      [other, near.key, from('192.0.2.9'), 403],
      [other, far.key, from('192.0.2.9, 10.1.1.1'), 200],
      // The client's own entries are on the left, and do not count.
      [other, far.key, from('192.0.2.9, 203.0.113.5'), 403],
      [other, far.key, from('192.0.2.9, nonsense'), 403],
      // Some load balancers write the port too.
      [other, far.key, from('192.0.2.9:4711'), 200],
      [other, near.key, from('192.0.2.9:4711'), 403],
      [other, far.key, from('192.0.2.9:4711, 10.1.1.1:80'), 200],
      // An unreadable entry means no address: not the entry before it, and not the proxy.
      ...UNREADABLE.flatMap((hop): [TestService, string, Record<string, string>, number][] => [
        [other, near.key, from(hop), 403],
        [other, near.key, from(`127.0.0.1, ${hop}`), 403],
        [other, far.key, from(`192.0.2.9, ${hop}, 10.1.1.1`), 403],
      ]),
    ]
    for (const [on, key, headers, status] of cases) {
      const answer = await use(key, headers, on)
      expect([headers, answer.status]).toEqual([headers, status])
      if (status === 403) expectProblem(answer, 'ip_not_allowed')
    }
  })

  test('a client with an unreadable address has no address, is warned of once, and does not use up the limit of others', async () => {
    const behind = await startService(
      {
        trustedProxies: ['127.0.0.1/32'],
        rateLimits: { ...DEFAULT_RATE_LIMITS, unknown_credential: { limit: 2, windowSeconds: 600 } },
      },
      service,
    )
    try {
      const guess = (forwarded?: string) =>
        call(behind, 'GET /auth/me', {
          apiKey: 'guess',
          headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded },
        })
      for (const hop of UNREADABLE.slice(0, 2)) expectProblem(await guess(hop), 'invalid_token')
      for (const hop of UNREADABLE) expectProblem(await guess(hop), 'rate_limited')
      // The proxy itself, and a client that it names, each with a port.
      for (const port of [1024, 1025]) {
        expectProblem(await guess(), 'invalid_token')
        expectProblem(await guess(`203.0.113.9:${port}`), 'invalid_token')
        expectProblem(await guess(`[2001:db8::1]:${port}`), 'invalid_token')
      }
      expectProblem(await guess('203.0.113.9:1026'), 'rate_limited')
      expectProblem(await guess('2001:db8::2'), 'rate_limited')
      const lines = behind.logged()
      const warnings = lines.filter(({ level }) => level === 'warn')
      expect(warnings).toEqual([
        expect.objectContaining({ message: expect.stringContaining('X-Forwarded-For'), peer: '127.0.0.1' }),
      ])
      const clients = lines.filter(({ message }) => message === 'request').map(({ client }) => client)
      expect(new Set(clients)).toEqual(
        new Set([null, '127.0.0.1', '203.0.113.9', '2001:db8::1', '2001:db8::2']),
      )
    } finally {
      await behind.stop()
    }
  })

  test('is checked before scopes and rate limit, and a refusal does not count for the rate limit', async () => {
    const { key } = await make({
      scopes: '',
      allowed_ips: ['192.0.2.1'],
      rate_limit: { limit: 1, window_seconds: 60 },
    })
    const answers: Answer[] = []
    for (let i = 0; i < 3; i++)
      answers.push(await call(service, 'GET /protected/service-only', { apiKey: key }))
    for (const answer of answers) expectProblem(answer, 'ip_not_allowed')
    expect(await verify(key, { ip: '192.0.2.1' })).toMatchObject({
      valid: true,
      rate_limit: { remaining: 0 },
    })
  })
})
