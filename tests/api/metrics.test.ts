import { describe, expect, spyOn, test } from 'bun:test'
import postgres from 'postgres'
import { secret } from '../../src/lib/secret.ts'
import { call, newKey, newPerson } from '../support/client.ts'
import { startDatabaseProxy } from '../support/database-proxy.ts'
import { type Family, parseExposition, valueIn } from '../support/exposition.ts'
import { sendRaw } from '../support/http-socket.ts'
import { everyLimit } from '../support/limits.ts'
import { PASSWORD } from '../support/people.ts'
import { sharedServer } from '../support/postgres.ts'
import { expectProblem } from '../support/problem.ts'
import { refresh, resign } from '../support/refresh.ts'
import { beginLogIn, codeOf, newEnrolled, secondStep, wrongCodeOf } from '../support/second-factors.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { prepare, useService } from '../support/use-service.ts'

const TOKEN = 'qX7vB2mK9qT4wZ8nRdF3'

const service = useService({ metricsToken: secret(TOKEN) })
const owner = prepare(() => newPerson(service))

async function scrape(on: Pick<TestService, 'url'> = service): Promise<Map<string, Family>> {
  const answer = await call(on, 'GET /metrics', { bearer: TOKEN })
  expect(answer.status).toBe(200)
  return parseExposition(answer.text)
}

/** Expects of each series [metric, labels, growth] that it grows so much while `work` runs. */
async function growthOf(
  work: () => Promise<unknown>,
  series: readonly (readonly [name: string, labels: Record<string, string>, growth: number])[],
  on: Pick<TestService, 'url'> = service,
): Promise<void> {
  const before = await scrape(on)
  await work()
  const after = await scrape(on)
  const grown = series.map(([name, labels]) => {
    const growth = valueIn(after, name, labels) - valueIn(before, name, labels)
    return [name, labels, growth]
  })
  expect(grown).toEqual(series.map((each) => [...each]))
}

const times = async (count: number, work: () => Promise<unknown>) => {
  for (let i = 0; i < count; i++) await work()
}

describe('who may read /metrics', () => {
  test('a request with the token', async () => {
    const answer = await call(service, 'GET /metrics', { bearer: TOKEN })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    expect(answer.headers.get('cache-control')).toBe('no-store')
  })

  test('no request without a token', async () => {
    const answer = await call(service, 'GET /metrics')
    expectProblem(answer, 'missing_credential')
    expect(answer.text).not.toContain('latchkey_')
  })

  test.each([
    ['another', 'qX7vB2mK9qT4wZ8nRdF4'],
    ['the beginning of it', TOKEN.slice(0, -1)],
    ['more than it', `${TOKEN}x`],
    ['it in other letters', TOKEN.toLowerCase()],
    ['what a secret prints as', '[redacted]'],
  ])('no request with %s', async (_, bearer) => {
    const answer = await call(service, 'GET /metrics', { bearer })
    expectProblem(answer, 'invalid_token')
    expect(answer.text).not.toContain('latchkey_')
  })

  test("no request with a user's access token, or with the token in the query", async () => {
    expectProblem(await call(service, 'GET /metrics', { bearer: owner.access }), 'invalid_token')
    expectProblem(await call(service, `GET /metrics?token=${TOKEN}`), 'missing_credential')
  })

  test('without METRICS_TOKEN the path does not exist', async () => {
    const plain = await startService({}, service)
    try {
      expectProblem(await call(plain, 'GET /metrics'), 'not_found')
      expectProblem(await call(plain, 'GET /metrics', { bearer: TOKEN }), 'not_found')
    } finally {
      await plain.stop()
    }
  })
})

describe('what is counted', () => {
  const heard = (families: Map<string, Family>) =>
    valueIn(families, 'latchkey_evictions_heard_total', { kind: 'key' })

  test('requests, by pattern of the route, method and status, each with its time', async () => {
    const route = (name: string, method: string, status: number) =>
      ['latchkey_requests_total', { route: name, method, status: String(status) }] as const
    await growthOf(async () => {
      await times(3, () => call(service, 'GET /health'))
      await call(service, 'HEAD /health')
      await times(2, () => call(service, 'GET /no/such/path'))
      await call(service, 'PUT /auth/me')
      await call(service, 'POST /auth/login', { json: {} })
      await call(service, 'DELETE /keys/revoke/some-id', { bearer: owner.access })
    }, [
      [...route('/health', 'GET', 200), 3],
      [...route('/health', 'HEAD', 200), 1],
      [...route('unmatched', 'GET', 404), 2],
      [...route('unmatched', 'PUT', 405), 1],
      [...route('/auth/login', 'POST', 422), 1],
      [...route('/keys/revoke/:id', 'DELETE', 404), 1],
      ['latchkey_requests_total', { route: '/auth/login' }, 1],
      ['latchkey_request_duration_seconds_count', { route: '/health', method: 'GET' }, 3],
      ['latchkey_request_duration_seconds_bucket', { route: '/health', method: 'GET', le: '+Inf' }, 3],
    ])
    const seconds = valueIn(await scrape(), 'latchkey_request_duration_seconds_sum', { route: '/health' })
    expect(seconds).toBeWithin(0.000001, 5)
  })

  test('verifications and uses of keys by outcome, and reads of the cache', async () => {
    const { key } = await newKey(service, owner.access, { scopes: 'read' })
    const revoked = await newKey(service, owner.access, { scopes: 'read' })
    const before = await scrape()
    await call(service, `DELETE /keys/revoke/${revoked.id}`, { bearer: owner.access })
    // A look-up that is under way when an eviction arrives is not cached.
    await until(async () => heard(await scrape()) > heard(before), 'the revocation is heard')
    const read = (apiKey: string) => call(service, 'GET /protected/service-only', { apiKey })
    await growthOf(async () => {
      await times(5, () => read(key))
      await read(revoked.key)
      await read('nobody-has-this-key')
      await call(service, 'GET /keys/list', { apiKey: key })
    }, [
      ['latchkey_verifications_total', { code: 'VALID' }, 6],
      ['latchkey_verifications_total', { code: 'REVOKED' }, 1],
      ['latchkey_verifications_total', { code: 'NOT_FOUND' }, 1],
      ['latchkey_key_uses_total', { code: 'VALID' }, 5],
      ['latchkey_key_uses_total', { code: 'INSUFFICIENT_SCOPE' }, 1],
      ['latchkey_key_uses_total', { code: 'REVOKED' }, 1],
      ['latchkey_cache_reads_total', { result: 'hit' }, 5],
      ['latchkey_cache_reads_total', { result: 'miss' }, 3],
      ['latchkey_cache_entries', {}, 1],
    ])
  })

  test('verifications and uses of keys at /keys/verify and at introspection', async () => {
    const { key } = await newKey(service, owner.access, {
      scopes: 'read',
      rate_limit: { limit: 1, window_seconds: 600 },
    })
    const admin = await newPerson(service)
    const sql = postgres(service.databaseUrl, { max: 1, onnotice: () => {} })
    await sql`UPDATE latchkey.users SET role = 'admin' WHERE id = ${admin.id}`
    await sql.end()
    const introspect = (token: string) =>
      call(service, 'POST /oauth/introspect', { bearer: admin.access, form: { token } })
    await growthOf(
      () => times(2, () => call(service, 'POST /keys/verify', { bearer: admin.access, json: { key } })),
      [
        ['latchkey_key_uses_total', { code: 'VALID' }, 1],
        ['latchkey_key_uses_total', { code: 'RATE_LIMITED' }, 1],
        // Two questions: each counts the key and the caller.
        ['latchkey_verifications_total', { code: 'VALID' }, 4],
      ],
    )
    await growthOf(async () => {
      expect((await introspect(key)).body.active).toBe(true)
      expect((await introspect('nobody-has-this-key')).body.active).toBe(false)
    }, [
      ['latchkey_key_uses_total', {}, 0],
      ['latchkey_verifications_total', { code: 'NOT_FOUND' }, 1],
    ])
  })

  test('passwords: right, wrong, and not checked', async () => {
    const person = await newPerson(service)
    const logIn = (password: string) =>
      call(service, 'POST /auth/login', { json: { email: person.email, password } })
    await growthOf(async () => {
      await times(2, () => logIn(person.password))
      await times(10, () => logIn('wrong-password'))
      await times(3, () => logIn(person.password))
    }, [
      ['latchkey_password_checks_total', { outcome: 'right' }, 2],
      ['latchkey_password_checks_total', { outcome: 'wrong' }, 10],
      ['latchkey_password_checks_total', { outcome: 'throttled' }, 3],
    ])
  })

  test('second factors: right, wrong, and locked', async () => {
    const person = await newEnrolled(service)
    const token = await beginLogIn(service, person)
    await growthOf(async () => {
      await times(5, () => secondStep(service, token, { code: wrongCodeOf(service, person.secret) }))
      await times(2, () => secondStep(service, token, { code: codeOf(service, person.secret) }))
    }, [
      ['latchkey_second_factors_total', { outcome: 'wrong' }, 5],
      ['latchkey_second_factors_total', { outcome: 'locked' }, 2],
      ['latchkey_second_factors_total', { outcome: 'right' }, 0],
    ])
    const other = await newEnrolled(service)
    const next = await beginLogIn(service, other)
    await growthOf(
      () => secondStep(service, next, { code: codeOf(service, other.secret) }),
      [['latchkey_second_factors_total', { outcome: 'right' }, 1]],
    )
  })

  test('refreshes: traded, repeated, from before a restore, stolen, invalid', async () => {
    const person = await newPerson(service)
    const other = await newPerson(service)
    await growthOf(async () => {
      const second = (await refresh(service, person.refresh)).body.refresh_token
      await refresh(service, person.refresh)
      await refresh(service, second)
      expect((await refresh(service, person.refresh)).status).toBe(401)
      const ahead = resign(service, other.refresh, { generation: 7 })
      expect((await refresh(service, ahead)).status).toBe(200)
      await refresh(service, 'rt_nobody')
      await refresh(service, second)
    }, [
      ['latchkey_refreshes_total', { outcome: 'rotated' }, 2],
      ['latchkey_refreshes_total', { outcome: 'repeated' }, 1],
      ['latchkey_refreshes_total', { outcome: 'restored' }, 1],
      ['latchkey_refreshes_total', { outcome: 'reused' }, 1],
      ['latchkey_refreshes_total', { outcome: 'refused' }, 2],
    ])
  })

  test('refusals by rate limits, of the plugin and of our own counters', async () => {
    const plenty = { limit: 1000, windowSeconds: 60 }
    const few = { limit: 2, windowSeconds: 60 }
    const rateLimits = { ...everyLimit(plenty), login: few, unknown_credential: few }
    const limited = await startService({ metricsToken: secret(TOKEN), rateLimits }, service)
    try {
      await growthOf(
        async () => {
          await times(5, () =>
            call(limited, 'POST /auth/login', { json: { email: 'x', password: PASSWORD } }),
          )
          await times(4, () => call(limited, 'GET /protected/any', { bearer: 'guess' }))
        },
        [
          ['latchkey_rate_limited_total', { policy: 'login' }, 3],
          ['latchkey_rate_limited_total', { policy: 'unknown_credential' }, 2],
          ['latchkey_rate_limited_total', {}, 5],
          ['latchkey_requests_total', { status: '429' }, 5],
        ],
        limited,
      )
    } finally {
      await limited.stop()
    }
  })

  test('evictions, and the delay of the heartbeat', async () => {
    const before = await scrape()
    const { id } = await newKey(service, owner.access)
    await call(service, `DELETE /keys/revoke/${id}`, { bearer: owner.access })
    await until(async () => heard(await scrape()) > heard(before), 'the eviction is heard')
    await until(
      async () => valueIn(await scrape(), 'latchkey_eviction_lag_seconds_count') > 0,
      'a heartbeat came back',
    )
    const after = await scrape()
    expect(valueIn(after, 'latchkey_eviction_lag_seconds_sum')).toBeGreaterThan(0)
    expect(valueIn(after, 'latchkey_cache_bypassed')).toBe(0)
  })

  test('passwords that wait to be hashed', async () => {
    const hold = Promise.withResolvers<void>()
    const hashing = spyOn(Bun.password, 'verify').mockImplementation(() => hold.promise.then(() => false))
    const logins = Array.from({ length: 12 }, (_, at) =>
      call(service, 'POST /auth/login', { json: { email: `nobody-${at}@example.com`, password: PASSWORD } }),
    )
    await until(async () => {
      const now = await scrape()
      const [running, waiting] = ['running', 'waiting'].map((what) =>
        valueIn(now, `latchkey_password_hashes_${what}`),
      )
      return running === service.config.passwordHashConcurrency && (waiting ?? 0) > 0
    }, 'some are hashed and others wait')
    hold.resolve()
    await Promise.all(logins)
    hashing.mockRestore()
    const after = await scrape()
    expect(valueIn(after, 'latchkey_password_hashes_running')).toBe(0)
    expect(valueIn(after, 'latchkey_password_hashes_waiting')).toBe(0)
  })

  test('waits that a full pool refuses, and the cache that is bypassed while the LISTEN connection is silent', async () => {
    const proxy = await startDatabaseProxy((await sharedServer()).port)
    const settings = {
      metricsToken: secret(TOKEN),
      databasePoolSize: 1,
      databaseStatementTimeoutMs: 4000,
      databaseDirectUrl: secret(proxy.url(service.databaseUrl)),
    }
    const small = await startService(settings, service)
    const people = [await newPerson(service), await newPerson(service), await newPerson(service)]
    const sql = postgres(service.databaseUrl, { max: 1, onnotice: () => {} })
    const blocked = await sql.reserve()
    try {
      await until(async () => valueIn(await scrape(small), 'latchkey_cache_bypassed') === 0, 'it is proven')
      await blocked`BEGIN`
      await blocked`LOCK TABLE latchkey.sessions IN ACCESS EXCLUSIVE MODE`
      // Keys would share a look-up.
      const asked = people.map(({ access }) => call(small, 'GET /protected/any', { bearer: access }))
      await until(async () => {
        const now = await scrape(small)
        return valueIn(now, 'latchkey_pool_in_use') === 1 && valueIn(now, 'latchkey_pool_waiting') >= 2
      }, 'one query runs and the others wait')
      await Promise.all(asked.slice(1))
      expect(valueIn(await scrape(small), 'latchkey_pool_refused_total', { reason: 'timeout' })).toBeWithin(
        2,
        20,
      )
      await blocked`ROLLBACK`
      await Promise.all(asked)
      proxy.freeze()
      await until(
        async () => valueIn(await scrape(small), 'latchkey_cache_bypassed') === 1,
        'the cache is bypassed',
      )
      proxy.thaw()
      await until(
        async () => valueIn(await scrape(small), 'latchkey_cache_bypassed') === 0,
        'the cache is read again',
      )
      expect(valueIn(await scrape(small), 'latchkey_pool_size')).toBe(1)
    } finally {
      blocked.release()
      await sql.end()
      proxy.thaw()
      await small.stop()
      proxy.close()
    }
  }, 240_000)
})

/** Methods that the server knows, and unknown methods. */
const METHODS = [
  ...[
    'ACL',
    'BIND',
    'CHECKOUT',
    'COPY',
    'LINK',
    'LOCK',
    'MERGE',
    'MKACTIVITY',
    'MKCALENDAR',
    'MKCOL',
    'MOVE',
  ],
  ...[
    'NOTIFY',
    'PROPFIND',
    'PROPPATCH',
    'PURGE',
    'REBIND',
    'REPORT',
    'SEARCH',
    'SOURCE',
    'SUBSCRIBE',
    'TRACE',
  ],
  ...[
    'UNBIND',
    'UNLINK',
    'UNLOCK',
    'UNSUBSCRIBE',
    'get',
    'Get',
    'MINE',
    `A${'A'.repeat(5000)}`,
    'X"Y',
    'X\\Y',
  ],
]

describe('metrics never contain', () => {
  test('a secret, an id, an e-mail address, an address or a path', async () => {
    const key = await newKey(service, owner.access, { name: 'a-name-of-mine', scopes: 'read' })
    for (const path of [
      '/protected/service-only',
      `/keys/${key.id}`,
      `/${key.key}`,
      '/path-of-mine?q=query-of-mine',
    ])
      await call(service, `GET ${path}`, { apiKey: key.key, headers: { 'user-agent': 'agent-of-mine' } })
    const text = (await call(service, 'GET /metrics', { bearer: TOKEN })).text
    parseExposition(text)
    const secrets = [owner.id, owner.email, owner.access, owner.refresh, key.id, key.key]
    for (const part of [...secrets, TOKEN, 'of-mine', '127.0.0.1', '@', service.databaseUrl])
      expect(text).not.toContain(part)
    expect(/[0-9a-f]{8}-[0-9a-f]{4}/.exec(text)).toBeNull()
    expect(/\b(sk|rt)_|eyJ/.exec(text)).toBeNull()
  })

  test('more series after a thousand paths and a hundred methods', async () => {
    const routes = ['GET /nowhere', 'GET /keys/x', 'DELETE /keys/revoke/x']
    for (const route of routes) await call(service, `${route}?x=x`, { bearer: owner.access })
    await sendRaw(service, 'PROPFIND /', [])
    const seriesOf = (families: Map<string, Family>) =>
      [...families.values()].flatMap(({ samples }) =>
        samples.map(({ name, labels }) => `${name}${JSON.stringify(labels)}`),
      )
    const before = new Set(seriesOf(await scrape()))
    for (let batch = 0; batch < 20; batch++) {
      const some = Array.from({ length: 50 }, (_, at) => `${batch}-${at}-${Math.random()}`)
      await Promise.all(
        some.map((part, at) => {
          const route = routes[at % routes.length] ?? ''
          return call(service, `${route.replace(/x$|nowhere$/, part)}?${part}=${part}`, {
            bearer: owner.access,
          })
        }),
      )
    }
    for (const method of METHODS) await sendRaw(service, `${method} /`, [])
    const after = await scrape()
    expect(seriesOf(after).filter((series) => !before.has(series))).toEqual([])
    expect(valueIn(after, 'latchkey_requests_total', { route: 'unmatched' })).toBeGreaterThan(300)
    expect(valueIn(after, 'latchkey_requests_total', { route: '/keys/revoke/:id' })).toBeGreaterThan(300)
    expect(valueIn(after, 'latchkey_requests_total', { method: 'other' })).toBeGreaterThan(10)
  })
})
