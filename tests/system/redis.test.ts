import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { openSharedCounters, REDIS_TIMES, type SharedCounters } from '../../src/db/redis.ts'
import { createLog, silentLog } from '../../src/lib/log.ts'
import { secret } from '../../src/lib/secret.ts'
import { call, newKey, newPerson } from '../support/client.ts'
import { parseExposition, valueIn } from '../support/exposition.ts'
import { everyLimit } from '../support/limits.ts'
import { addLoggedIn, connectTo } from '../support/people.ts'
import { REDIS_SERVER, startRedis, type TestRedis } from '../support/redis.ts'
import { startService, type TestService } from '../support/service.ts'
import { listenOnTcp } from '../support/tcp.ts'
import { until } from '../support/until.ts'

const why = REDIS_SERVER ? '' : ' (skipped: apt-get install redis-server)'

const TOKEN = 'qX7vB2mK9qT4wZ8nRdF3'

async function timed<T>(work: Promise<T>) {
  const start = performance.now()
  return { result: await work, ms: performance.now() - start }
}

describe.skipIf(!REDIS_SERVER)(`limits on Redis${why}`, () => {
  let redis: TestRedis
  let first: TestService
  let second: TestService
  let owner: { access: string }

  beforeAll(async () => {
    redis = await startRedis()
    const settings = {
      redisUrl: secret(redis.url),
      metricsToken: secret(TOKEN),
      rateLimits: limits({ refresh: 20 }),
    }
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
  /** Waits until both servers use Redis again, by a new key that both count together. */
  const untilShared = () =>
    until(async () => {
      const { key } = await keyWith(1)
      return (await use(first, key)).status === 200 && (await use(second, key)).status === 429
    }, 'the two servers count together')

  /** The metrics of Redis. */
  const told = async (service: TestService) => {
    const families = parseExposition((await call(service, 'GET /metrics', { bearer: TOKEN })).text)
    return {
      isBroken: valueIn(families, 'latchkey_redis_broken') === 1,
      fallbacks: valueIn(families, 'latchkey_redis_fallbacks_total'),
    }
  }

  const flush = async () => {
    const client = new Bun.RedisClient(redis.url)
    await client.send('FLUSHALL', [])
    client.close()
  }
  /**
   * Works with a Redis without counts, which answers each time within its 50 ms. Where a busy machine is too slow for that,
   * it works anew.
   */
  async function onRedis<T>(work: () => Promise<T>): Promise<T> {
    const fallbacks = async () => [(await told(first)).fallbacks, (await told(second)).fallbacks]
    for (let attempt = 1; ; attempt++) {
      await untilShared()
      await flush()
      const before = await fallbacks()
      const result = await work()
      if (Bun.deepEquals(await fallbacks(), before)) return result
      expect(attempt).toBeLessThan(10)
    }
  }

  test("a key's limit is exact over two servers under concurrency", async () => {
    const { key, answers } = await onRedis(async () => {
      const { key } = await keyWith(25)
      return { key, answers: await burst([first, second], key, 100) }
    })
    expect([count(answers, 200), count(answers, 429)]).toEqual([25, 75])
    const refused = await use(second, key)
    expect(refused.status).toBe(429)
    expect(Number(refused.headers.get('retry-after'))).toBeWithin(590, 601)
    expect(refused.headers.get('ratelimit-limit')).toBe('25')
  })

  test("a key's limit is exact at /forward-auth too, which waits for Redis", async () => {
    const answers = await onRedis(async () => {
      const { key } = await keyWith(5)
      return Promise.all(
        Array.from({ length: 20 }, (_, at) =>
          call(at % 2 ? first : second, 'GET /forward-auth?scope=read', { apiKey: key }),
        ),
      )
    })
    expect([count(answers, 200), count(answers, 429)]).toEqual([5, 15])
  })

  test('a rate of an owner is exact over two servers, and a use that it refuses counts against no key', async () => {
    const sql = connectTo(first)
    const admin = await addLoggedIn(first, sql, { role: 'admin' }).finally(() => sql.end())
    const rate = (limit: number) => ({ rate_limit: { limit, window_seconds: 600 } })
    const asAdmin = (route: string, json: unknown) => call(first, route, { bearer: admin.access, json })
    const { id } = (await asAdmin('POST /service-accounts', { name: 'customer', scopes: 'read' })).body
    await asAdmin(`PATCH /service-accounts/${id}`, rate(50))
    const keys = await Promise.all(
      Array.from({ length: 10 }, () =>
        newKey(first, admin.access, { service_account_id: id, scopes: 'read', ...rate(12) }),
      ),
    )
    // In waves: Redis has 50 ms for each answer.
    const answers = await onRedis(async () => {
      const all: { status: number }[] = []
      for (let wave = 0; wave < 10; wave++) {
        const uses = Array.from({ length: 20 }, (_, at) =>
          use(at % 2 ? first : second, keys[(wave + at) % 10]?.key ?? ''),
        )
        all.push(...(await Promise.all(uses)))
      }
      return all
    })
    expect([count(answers, 200), count(answers, 429)]).toEqual([50, 150])
    const client = new Bun.RedisClient(redis.url)
    const names = (await client.send('KEYS', [`latchkey:*{${id}}*`])) as string[]
    const uses = await Promise.all(names.map(async (name) => [name, Number(await client.get(name))] as const))
    client.close()
    const of = (word: string) => uses.filter(([name]) => name.includes(`:${word}:{`)).map(([, used]) => used)
    expect(of('owner')).toEqual([50])
    expect(of('key').reduce((sum, used) => sum + used, 0)).toBe(50)
    expect(of('key').length).toBeLessThanOrEqual(10)
  }, 240_000)

  test('a limit per address is shared by two servers', async () => {
    const refresh = (service: TestService) =>
      call(service, 'POST /auth/refresh', { json: { refresh_token: 'rt_nobody' } })
    const answers = await onRedis(() =>
      Promise.all(Array.from({ length: 30 }, (_, at) => refresh(at % 2 ? first : second))),
    )
    expect([count(answers, 401), count(answers, 429)]).toEqual([20, 10])
  })

  test('a flushed Redis begins to count again, without an error', async () => {
    const statuses = await onRedis(async () => {
      const { key } = await keyWith(2)
      await burst([first, second], key, 2)
      const full = (await use(first, key)).status
      await flush()
      return [full, (await use(second, key)).status]
    })
    expect(statuses).toEqual([429, 200])
  })

  test('without Redis each server applies the full limit alone, warns once, and uses Redis again when it is back', async () => {
    const { key } = await keyWith(3)
    await redis.kill()
    const answers = [...(await burst([first], key, 5)), ...(await burst([second], key, 5))]
    expect([count(answers, 200), count(answers, 429)]).toEqual([6, 4])
    const said = first.logged().filter(({ message }) => String(message).startsWith('Redis does not answer'))
    expect(said.length).toBe(1)
    expect(JSON.stringify(said)).not.toContain(redis.url)
    expect((await told(first)).isBroken).toBe(true)
    await redis.start()
    // The return of Redis is detected without a request.
    await until(async () => !(await told(first)).isBroken, 'the metric says that it is back')
    const back = first.logged().filter(({ message }) => String(message).startsWith('Redis answers again'))
    expect(back.length).toBe(1)
    await untilShared()
  }, 240_000)

  test('a hung Redis delays one request, and is then not asked', async () => {
    await untilShared()
    const { key } = await keyWith(1000)
    const useOften = async (times: number) => {
      for (let i = 0; i < times; i++) expect((await use(first, key)).status).toBe(200)
    }
    const usual = await timed(useOften(200))
    const before = await told(first)
    expect(before.isBroken).toBe(false)
    redis.pause()
    try {
      const answers = await burst([first], key, 50)
      expect(count(answers, 200)).toBe(50)
      const hung = await told(first)
      expect(hung).toEqual({ isBroken: true, fallbacks: before.fallbacks + 50 })
      // Without the circuit breaker these requests would wait for ten seconds in all.
      const broken = await timed(useOften(200))
      expect(broken.ms).toBeLessThan(5_000 + usual.ms)
      expect((await told(first)).fallbacks).toBe(hung.fallbacks + 200)
    } finally {
      redis.resume()
    }
    await untilShared()
    expect((await told(first)).isBroken).toBe(false)
  }, 240_000)

  test('with a full Redis each server counts alone', async () => {
    await untilShared()
    const before = await told(first)
    const client = new Bun.RedisClient(redis.url)
    await client.send('CONFIG', ['SET', 'maxmemory', '1'])
    try {
      const { key } = await keyWith(1)
      expect((await use(first, key)).status).toBe(200)
      expect((await use(first, key)).status).toBe(429)
      expect((await use(second, key)).status).toBe(200)
      const full = await told(first)
      expect(full.isBroken).toBe(true)
      expect(full.fallbacks).toBeGreaterThan(before.fallbacks)
    } finally {
      await client.send('CONFIG', ['SET', 'maxmemory', '0'])
      client.close()
    }
  }, 240_000)
})

describe.skipIf(!REDIS_SERVER)(`one instance's Redis${why}`, () => {
  const COUNT = `return {redis.call('INCR', KEYS[1])}`
  let redis: TestRedis
  beforeAll(async () => {
    redis = await startRedis()
  })
  afterAll(() => redis?.stop())

  const opened = async (work: (counters: SharedCounters) => Promise<void>, limits = REDIS_TIMES) => {
    const counters = await openSharedCounters(secret(redis.url), 'test', silentLog, limits)
    await work(counters).finally(() => counters.close())
  }
  const pause = async (ms: number) => {
    const admin = new Bun.RedisClient(redis.url)
    await admin.send('CLIENT', ['PAUSE', String(ms), 'ALL'])
    admin.close()
  }

  test('is connected before the first request', () =>
    opened(async (counters) => {
      expect(counters.state()).toEqual({ isBroken: false, fallbacks: 0, errors: 0 })
      expect(await counters.run(COUNT, ['first'], [])).toEqual([1])
    }))

  test('that answers late delays the requests of one moment once, and no later request', () =>
    opened(
      async (counters) => {
        await pause(3_000)
        const together = await Promise.all(
          Array.from({ length: 20 }, () => timed(counters.run(COUNT, ['k'], []))),
        )
        expect(together.map(({ result }) => result)).toEqual(Array(20).fill(null))
        for (const { ms } of together) expect(ms).toBeLessThan(2_500)
        expect(counters.state()).toEqual({ isBroken: true, fallbacks: 20, errors: 0 })
        const later = await timed(times(1_000, () => counters.run(COUNT, ['k'], [])))
        expect(later.ms).toBeLessThan(10_000)
        const most = Math.max(...together.map(({ ms }) => ms))
        process.stdout.write(`      waited ${most.toFixed(1)} ms, then ${later.ms.toFixed(1)} ms for a thousand
`)
        // Redis is still paused at the next try, which does not delay a request.
        await until(() => !counters.state().isBroken, 'it is found to answer again')
        expect(await counters.run(COUNT, ['late'], [])).toEqual([1])
      },
      { ...REDIS_TIMES, retryMs: 300 },
    ))

  test('that is unreachable for long is logged at intervals, however often it is tried', async () => {
    const refusing = await listenOnTcp((socket) => socket.destroy())
    const tellMs = 400
    const lines: { at: number; text: string }[] = []
    const log = createLog({ logLevel: 'info', logFormat: 'json' }, (text) =>
      lines.push({ at: performance.now(), text }),
    )
    const url = secret(`redis://:hunter2@127.0.0.1:${refusing.port}`)
    const counters = await openSharedCounters(url, 'test', log, {
      answerMs: 50,
      connectMs: 100,
      retryMs: 20,
      tellMs,
    })
    try {
      await until(async () => {
        await counters.run(COUNT, ['k'], [])
        log.flush()
        return lines.length >= 3
      }, 'three lines')
      expect(refusing.accepted()).toBeGreaterThan(lines.length * 2)
      for (const [at, line] of lines.entries()) {
        expect(line.text.trim().split('\n')).toHaveLength(1)
        expect(JSON.parse(line.text)).toMatchObject({ level: 'error', err: { type: expect.any(String) } })
        expect(line.text).not.toContain('hunter2')
        const previous = lines[at - 1]
        if (previous) expect(line.at - previous.at).toBeGreaterThan(tellMs / 2)
      }
    } finally {
      counters.close()
      refusing.close()
    }
  })
})

const times = async (count: number, work: () => Promise<unknown>) => {
  for (let i = 0; i < count; i++) await work()
}

/** Rate limits: the given ones, and very high ones for the rest. */
function limits(named: Partial<Record<'refresh', number>>) {
  const plenty = { limit: 100_000, windowSeconds: 60 }
  const refresh = { limit: named.refresh ?? plenty.limit, windowSeconds: 60 }
  return { ...everyLimit(plenty), refresh }
}
