import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { secret } from '../src/lib/secret.ts'
import { call, newKey, newPerson } from './support/client.ts'
import { REDIS_SERVER, startRedis, type TestRedis } from './support/redis.ts'
import { startService, type TestService } from './support/service.ts'
import { until } from './support/until.ts'

const why = REDIS_SERVER ? '' : ' (skipped: apt-get install redis-server)'

const BREAK_MS = 5_000

describe.skipIf(!REDIS_SERVER)(`limits on Redis${why}`, () => {
  let redis: TestRedis
  let first: TestService
  let second: TestService
  let owner: { access: string }

  beforeAll(async () => {
    redis = await startRedis()
    const settings = { redisUrl: secret(redis.url), rateLimits: limits({ refresh: 20 }) }
    first = await startService(settings)
    second = await startService(settings, first)
    owner = await newPerson(first)
  })
  afterAll(async () => {
    await second?.stop()
    await first?.stop()
    await redis?.stop()
  })

  const keyWith = (limit: number) =>
    newKey(first, owner.access, { scopes: 'read', rate_limit: { limit, window_seconds: 600 } })
  const use = (service: TestService, key: string) =>
    call(service, 'GET /protected/service-only', { apiKey: key })
  const count = (answers: { status: number }[], status: number) =>
    answers.filter((a) => a.status === status).length
  const burst = (services: TestService[], key: string, times: number) =>
    Promise.all(Array.from({ length: times }, (_, at) => use(services[at % services.length] ?? first, key)))
  /** Both servers ask Redis again: a key of its own is counted once over the two of them. */
  const untilShared = () =>
    until(
      async () => {
        const { key } = await keyWith(1)
        return (await use(first, key)).status === 200 && (await use(second, key)).status === 429
      },
      'the two servers count together',
      2 * BREAK_MS + 2_000,
    )

  test("a key's limit is exact over two servers under concurrency", async () => {
    const { key } = await keyWith(25)
    const answers = await burst([first, second], key, 100)
    expect([count(answers, 200), count(answers, 429)]).toEqual([25, 75])
    const refused = await use(second, key)
    expect(refused.status).toBe(429)
    expect(Number(refused.headers.get('retry-after'))).toBeWithin(590, 601)
    expect(refused.headers.get('ratelimit-limit')).toBe('25')
  })

  test('a limit per address is one over two servers', async () => {
    const refresh = (service: TestService) =>
      call(service, 'POST /auth/refresh', { json: { refresh_token: 'rt_nobody' } })
    const answers = await Promise.all(Array.from({ length: 30 }, (_, at) => refresh(at % 2 ? first : second)))
    expect([count(answers, 401), count(answers, 429)]).toEqual([20, 10])
  })

  test('flushed, it counts anew, and nobody notices', async () => {
    const { key } = await keyWith(2)
    await burst([first, second], key, 2)
    expect((await use(first, key)).status).toBe(429)
    const client = new Bun.RedisClient(redis.url)
    await client.send('FLUSHALL', [])
    client.close()
    expect((await use(second, key)).status).toBe(200)
  })

  test('gone, each server applies the full limit by itself, says so once, and comes back by itself', async () => {
    const { key } = await keyWith(3)
    await redis.kill()
    const answers = [...(await burst([first], key, 5)), ...(await burst([second], key, 5))]
    expect([count(answers, 200), count(answers, 429)]).toEqual([6, 4])
    const said = first.logged().filter(({ message }) => String(message).startsWith('Redis does not answer'))
    expect(said.length).toBe(1)
    expect(JSON.stringify(said)).not.toContain(redis.url)
    await redis.start()
    await untilShared()
  }, 30_000)

  test('hung, it is waited for once, and then left alone', async () => {
    await untilShared()
    const { key } = await keyWith(1000)
    await use(first, key)
    redis.pause()
    try {
      const answers = await burst([first], key, 50)
      expect(count(answers, 200)).toBe(50)
      // Every one of these would wait for it, if the breaker did not hold.
      const later = await burst([first], key, 50)
      expect(count(later, 200)).toBe(50)
    } finally {
      redis.resume()
    }
    await untilShared()
  }, 30_000)

  test('full, each server goes on by itself', async () => {
    await untilShared()
    const client = new Bun.RedisClient(redis.url)
    await client.send('CONFIG', ['SET', 'maxmemory', '1'])
    try {
      const { key } = await keyWith(1)
      expect((await use(first, key)).status).toBe(200)
      expect((await use(first, key)).status).toBe(429)
      expect((await use(second, key)).status).toBe(200)
    } finally {
      await client.send('CONFIG', ['SET', 'maxmemory', '0'])
      client.close()
    }
  }, 30_000)
})

/** The limits of a test: what it names, and plenty of the rest. */
function limits(named: Partial<Record<'refresh', number>>) {
  const plenty = { limit: 100_000, windowSeconds: 60 }
  const refresh = { limit: named.refresh ?? plenty.limit, windowSeconds: 60 }
  return {
    signup: plenty,
    login: plenty,
    refresh,
    create_key: plenty,
    unknown_credential: plenty,
    other: plenty,
  }
}
