import { beforeAll, describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { createLog } from '../../src/lib/log.ts'
import { type Call, newKey, newPerson } from '../support/client.ts'
import { call } from '../support/described.ts'
import { sendRaw } from '../support/http-socket.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService({ logLevel: 'debug', trustedProxies: ['127.0.0.1/32'] })
const sql = useSql(service)
const owner = prepare(() => newPerson(service))
let key: { id: string; key: string }
beforeAll(async () => {
  key = await newKey(service, owner.access, { scopes: 'read' })
})

const JSON_TYPE = { 'content-type': 'application/json' }
const accessLines = (of = service) => of.logged().filter(({ message }) => message === 'request')
const lineOf = (requestId: string | null, of = service) =>
  accessLines(of).filter(({ request_id }) => request_id === requestId)

test('without LOG_PROBES, requests of /livez and /readyz are not logged, and all others are', async () => {
  const quiet = await startService({ logProbes: false })
  try {
    for (const path of ['/livez', '/readyz', '/health']) await call(quiet, `GET ${path}`)
    await call(service, 'GET /livez')
    const routes = accessLines(quiet).map(({ route }) => route)
    expect(routes).toContain('/health')
    for (const probe of ['/livez', '/readyz']) expect(routes).not.toContain(probe)
    expect(accessLines().map(({ route }) => route)).toContain('/livez')
  } finally {
    await quiet.stop()
  }
})

describe('each request writes one log entry', () => {
  const as: Record<string, () => Call> = {
    anonymous: () => ({}),
    user: () => ({ bearer: owner.access }),
    key: () => ({ apiKey: key.key }),
  }

  test.each<[string, string, string | null, number, keyof typeof as, Call?]>([
    ['an answer', 'GET /', '/', 200, 'anonymous'],
    ['one for a user', 'GET /auth/me', '/auth/me', 200, 'user'],
    ['one for a key', 'GET /protected/service-only', '/protected/service-only', 200, 'key'],
    ['a creation', 'POST /keys/create', '/keys/create', 201, 'user', { json: {} }],
    ['an answer without a body', 'POST /auth/logout', '/auth/logout', 204, 'anonymous'],
    ['a HEAD', 'HEAD /health', '/health', 200, 'anonymous'],
    ['a page', 'GET /docs', '/docs', 200, 'anonymous'],
    ['a static file', 'GET /docs/swagger-ui.css', '/docs/swagger-ui.css', 200, 'anonymous'],
    ['the document', 'GET /openapi.json', '/openapi.json', 200, 'anonymous'],
    ['malformed JSON', 'POST /auth/login', '/auth/login', 400, 'anonymous', { raw: '{', headers: JSON_TYPE }],
    ['two credentials', 'GET /auth/me', '/auth/me', 400, 'user', { apiKey: 'x' }],
    ['no credential', 'GET /auth/me', '/auth/me', 401, 'anonymous'],
    ['a dead credential', 'GET /auth/me', '/auth/me', 401, 'anonymous', { bearer: 'x' }],
    ['a missing role', 'GET /protected/admin', '/protected/admin', 403, 'user'],
    ['a missing scope', 'GET /keys/list', '/keys/list', 403, 'key'],
    ['an unknown id', 'DELETE /keys/revoke/x', '/keys/revoke/:id', 404, 'user'],
    ['an unknown path', 'GET /no/such/path', null, 404, 'anonymous'],
    ['another method', 'PUT /auth/me', null, 405, 'anonymous'],
    [
      'a body too large',
      'POST /auth/login',
      '/auth/login',
      413,
      'anonymous',
      { raw: 'x'.repeat(65_537), headers: JSON_TYPE },
    ],
    [
      'another type',
      'POST /auth/login',
      '/auth/login',
      415,
      'anonymous',
      { raw: 'x', headers: { 'content-type': 'text/plain' } },
    ],
    ['an invalid body', 'POST /auth/login', '/auth/login', 422, 'anonymous', { json: {} }],
    ['an OAuth error', 'POST /oauth/token', '/oauth/token', 400, 'anonymous', { form: { grant_type: 'x' } }],
  ])('%s', async (_, route, pattern, status, who, options = {}) => {
    const before = Date.now()
    const credentials = as[who]?.() ?? {}
    const answer = await call(service, route, { ...credentials, ...options })
    expect(answer.status).toBe(status)
    const id = answer.headers.get('x-request-id')
    await until(() => lineOf(id).length > 0, 'the line is written')
    const principal = who === 'user' ? `user:${owner.id}` : who === 'key' ? `key:${key.id}` : null
    expect(lineOf(id)).toEqual([
      {
        level: status >= 500 ? 'error' : 'info',
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
        message: 'request',
        request_id: id,
        method: route.split(' ')[0],
        route: pattern,
        status,
        duration_ms: expect.any(Number),
        client: '127.0.0.1',
        // A request with two credentials has no principal.
        principal: status === 400 ? null : principal,
      },
    ])
    const [line] = lineOf(id)
    expect(Math.abs(Date.parse(String(line?.time)) - before)).toBeLessThan(10_000)
    expect(Number(line?.duration_ms)).toBeGreaterThan(0)
  })

  test('a refusal by a rate limit, of the plugin and of our own counters', async () => {
    const limited = await startService(
      {
        logLevel: 'info',
        rateLimits: Object.fromEntries(
          ['signup', 'login', 'refresh', 'password', 'mail', 'create_key', 'unknown_credential', 'other'].map(
            (name) => [name, { limit: 1, windowSeconds: 60 }],
          ),
        ) as NonNullable<TestService['config']['rateLimits']>,
      },
      service,
    )
    try {
      for (const route of ['GET /', 'GET /protected/any', 'GET /no/such/path']) {
        await call(limited, route)
        const refused = await call(limited, route)
        expect(refused.status).toBe(429)
        const id = refused.headers.get('x-request-id')
        await until(() => lineOf(id, limited).length > 0, 'the line is written')
        expect(lineOf(id, limited)).toMatchObject([{ status: 429, level: 'info' }])
      }
    } finally {
      await limited.stop()
    }
  })

  test('a server error: the entry at level error, and a second entry with the cause and the same id', async () => {
    await sql`ALTER TABLE latchkey.sessions RENAME TO elsewhere`
    const answer = await call(service, 'POST /auth/login', {
      json: { email: owner.email, password: owner.password },
    }).finally(() => sql`ALTER TABLE latchkey.elsewhere RENAME TO sessions`)
    expect([answer.status, answer.body.code]).toEqual([500, 'internal'])
    const id = answer.headers.get('x-request-id')
    expect(answer.body.request_id).toBe(id)
    await until(() => lineOf(id).length > 0, 'the line is written')
    expect(lineOf(id)).toMatchObject([{ status: 500, level: 'error' }])
    const causes = service.logged().filter((line) => line.request_id === id && line.message !== 'request')
    expect(causes).toMatchObject([{ level: 'error', err: { type: 'database', code: '42P01' } }])
    expect(answer.text).not.toContain('sessions')
  })
})

describe('the request id', () => {
  const sent = (id: string) => call(service, 'GET /', { headers: { 'x-request-id': id } })

  test.each(['abcdefgh', 'A.b_c-9876', 'x'.repeat(64), crypto.randomUUID()])(
    'is taken from the request where it is well-formed: %p',
    async (id) => {
      const answer = await sent(id)
      expect(answer.headers.get('x-request-id')).toBe(id)
      await until(() => lineOf(id).length === 1, 'the line is written')
      const failed = await call(service, 'GET /auth/me', { headers: { 'x-request-id': id } })
      expect(failed.body.request_id).toBe(id)
    },
  )

  test.each([
    ['too short', 'seven-7'],
    ['too long', 'x'.repeat(65)],
    ['empty', ''],
    ['a quote and another member', 'abcdefgh","level":"error'],
    ['an object', '{"request_id":"forged"}'],
    ['a blank', 'abcd efgh'],
    ['a backslash', 'abcdefgh\\n'],
    ['a tab', 'abcd\tefgh'],
    ['beyond ASCII', 'abcdefgh\u00e9'],
    ['sent twice', 'abcdefgh, abcdefgi'],
    ['a token', `rt_${'a'.repeat(60)}+`],
  ])('is replaced where that of the request is malformed: %s', async (_, id) => {
    const answer = await sent(id)
    const given = answer.headers.get('x-request-id') ?? ''
    expect(given).toMatch(/^[0-9a-f]{12}-[0-9a-z]{6,}$/)
    await until(() => lineOf(given).length === 1, 'the line is written')
    const logged = JSON.stringify(id).slice(1, -1)
    if (id !== '') expect(service.loggedText().includes(logged)).toBe(false)
    for (const line of accessLines()) expect(line.request_id).toMatch(/^[A-Za-z0-9._-]{8,64}$/)
  })

  test('is unique across instances', async () => {
    const other = await startService({}, service)
    try {
      const ids = new Set<string | null>()
      for (const on of [service, other])
        for (let i = 0; i < 50; i++) ids.add((await call(on, 'GET /health')).headers.get('x-request-id'))
      expect(ids.size).toBe(100)
    } finally {
      await other.stop()
    }
  })
})

describe('no text of a client makes a log entry of its own', () => {
  const FORGED = '{"level":"error","message":"forged"}'

  // An unreadable address is warned of once.
  beforeAll(() => call(service, 'GET /', { headers: { 'x-forwarded-for': 'unknown' } }))

  test.each<[string, string, readonly string[]]>([
    ['in a header', 'GET /', [`User-Agent: ${FORGED}`, `Referer: ${FORGED}`, `Cookie: ${FORGED}`]],
    ['in the path', `GET /${encodeURIComponent(`"}\n${FORGED}\n`)}`, []],
    ['in the path, unencoded', `GET /"},${FORGED}`, []],
    ['in the query', `GET /?x=${encodeURIComponent(`\n${FORGED}\n`)}`, []],
    ['in the forwarded address', 'GET /', [`X-Forwarded-For: 1.2.3.4","message":"forged`]],
    ['in the zone of an address', 'GET /', ['X-Forwarded-For: fe80::1%","message":"forged']],
    ['in the host', 'GET /', ['X-Forwarded-Host: forged', 'Forwarded: for=forged;host=forged']],
    ['as a bare line feed', 'GET /', [`User-Agent: a\n${FORGED}`]],
    ['as the method', `FORGED /`, []],
  ])('%s', async (_, startLine, headers) => {
    const before = service.logged()
    const answer = await sendRaw(service, startLine, headers)
    const after = service.logged()
    for (const line of after) expect(Object.keys(line)).toContain('message')
    expect(after.length - before.length).toBeLessThanOrEqual(1)
    // Of the client's own text only the method is logged, as a string.
    const news = JSON.stringify(after.slice(before.length).map(({ method, ...line }) => line))
    expect(news).not.toContain('forged')
    expect(answer.status).toBeLessThan(500)
  })
})

describe('no secret is ever logged', () => {
  /** The forms in which a secret could get into the log. */
  function formsOf(secret: string): string[] {
    const hash = (encoding: 'hex' | 'base64') => createHash('sha256').update(secret).digest(encoding)
    return [
      secret,
      JSON.stringify(secret).slice(1, -1),
      encodeURIComponent(secret),
      Buffer.from(secret).toString('base64'),
      Buffer.from(secret).toString('hex'),
      hash('hex'),
      hash('base64'),
    ]
  }

  /** Calls every route in every way that can fail, with recognisable secrets in every place that a client can fill. */
  async function tour(on: TestService): Promise<{ secrets: string[]; statuses: Set<number> }> {
    const statuses = new Set<number>()
    const go = async (route: string, options: Call = {}) => {
      const answer = await call(on, route, options)
      statuses.add(answer.status)
      return answer
    }
    const password = `hunter2-${crypto.randomUUID()}`
    const wrong = `wrong-${crypto.randomUUID()}`
    const email = `mail-${crypto.randomUUID()}@example.com`
    const stray = `stray-${crypto.randomUUID()}`
    const cookie = `cookie-${crypto.randomUUID()}`
    const secrets = [password, wrong, email, stray, cookie]
    const known = { ...owner, refresh: owner.refresh }
    const tokens = [known.access, known.refresh, key.key]

    await go('POST /auth/signup', { json: { email, password, role: stray } })
    const logged = (await go('POST /auth/login', { json: { email, password } })).body ?? {}
    for (const token of [logged.access_token, logged.refresh_token]) if (token) secrets.push(token)
    const bearer = logged.access_token ?? known.access
    await go('POST /auth/login', { json: { email, password: wrong } })
    await go('POST /auth/login', { json: { email: stray, password: wrong } })
    await go('POST /oauth/token', { form: { grant_type: 'password', username: email, password } })
    await go('POST /oauth/token', {
      form: { grant_type: 'password', username: stray, password: wrong, client_secret: stray },
    })
    await go('POST /oauth/token', { form: { grant_type: stray } })
    const made =
      (await go('POST /keys/create', { bearer, json: { name: 'tour', scopes: 'read' } })).body ?? {}
    if (made.key) secrets.push(made.key)

    for (const secret of [...secrets, ...tokens]) {
      const path = encodeURIComponent(secret)
      await go(`GET /${path}`)
      await go(`GET /?token=${path}&api_key=${path}`)
      await go(`DELETE /keys/revoke/${path}?reason=${path}`, { bearer })
      await go(`DELETE /keys/revoke/${Bun.randomUUIDv7()}?reason=${path}`, { bearer })
      await go(`DELETE /auth/sessions/${path}`, { bearer })
      await go(`POST /auth/refresh?refresh_token=${path}`)
      await go('POST /auth/refresh', { raw: `{"refresh_token":"${secret}"`, headers: JSON_TYPE })
      await go('POST /auth/login', { raw: `${secret}`, headers: JSON_TYPE })
      await go('POST /auth/login', { raw: `{"password": ${secret}}`, headers: JSON_TYPE })
      await go('POST /auth/login', {
        raw: secret,
        headers: { 'content-type': `text/${secret.slice(0, 30)}` },
      })
      await go('POST /keys/create', {
        bearer,
        json: { [secret]: secret, name: [secret], scopes: secret, expires_at: secret },
      })
      await go('POST /auth/signup', { json: { email: secret, password: secret } })
      await go('GET /auth/me', {
        headers: { authorization: `Basic ${btoa(secret)}`, cookie: `session=${cookie}` },
      })
      await go('GET /auth/me', { headers: { authorization: secret } })
      await go('GET /auth/me', { headers: { authorization: `Bearer ${secret}`, 'x-api-key': secret } })
      await go('GET /protected/any', { headers: { 'x-api-key': secret } })
      await go('GET /protected/any', { bearer: secret })
      await go('GET /', { headers: { 'x-request-id': `${secret}!`, 'user-agent': secret, referer: secret } })
    }
    await go('POST /auth/password', { bearer, json: { current_password: wrong, new_password: password } })
    await go('POST /auth/password-reset', { json: { token: stray, new_password: password } })
    await go('POST /auth/refresh', { json: { refresh_token: logged.refresh_token ?? known.refresh } })
    await go('POST /auth/logout', { json: { refresh_token: stray } })
    return { secrets: [...secrets, ...tokens], statuses }
  }

  function expectNone(log: string, secrets: readonly string[]): void {
    const found = secrets.flatMap(formsOf).filter((form) => log.includes(form))
    expect(found).toEqual([])
    for (const shape of [/.{20}\$argon2id/, /.{20}\beyJ.{20}/, /.{20}\b(sk|rt)_[0-9A-Za-z]{12}/])
      expect(shape.exec(log)?.[0]).toBeUndefined()
  }

  test('without failures, at LOG_LEVEL=debug', async () => {
    const lines = service.logged().length
    const { secrets, statuses } = await tour(service)
    for (const status of [200, 201, 204, 400, 401, 404, 415, 422]) expect(statuses).toContain(status)
    expect(statuses).not.toContain(500)
    expectNone(service.loggedText(), secrets)
    expect(service.logged().length).toBeGreaterThan(lines + 100)
  })

  test.each(['users', 'sessions', 'api_keys', 'api_key_secrets', 'login_attempts', 'audit_events'])(
    'when the table %s is broken',
    async (table) => {
      await sql`ALTER TABLE latchkey.${sql(table)} RENAME TO elsewhere`
      try {
        const { secrets, statuses } = await tour(service)
        expect(statuses).toContain(500)
        expectNone(service.loggedText(), secrets)
      } finally {
        await sql`ALTER TABLE latchkey.elsewhere RENAME TO ${sql(table)}`
      }
      expect(service.loggedText()).toContain('A request failed')
    },
  )

  test('when PostgreSQL refuses a row, although its error quotes the whole row', async () => {
    await sql`ALTER TABLE latchkey.users ADD CONSTRAINT no_more CHECK (email NOT LIKE 'mail-%') NOT VALID`
    try {
      const { secrets, statuses } = await tour(service)
      expect(statuses).toContain(500)
      expectNone(service.loggedText(), secrets)
    } finally {
      await sql`ALTER TABLE latchkey.users DROP CONSTRAINT no_more`
    }
    expect(service.loggedText()).toContain('"constraint":"no_more"')
  })

  test('when a statement is cancelled', async () => {
    const blocked = await sql.reserve()
    try {
      await blocked`BEGIN`
      await blocked`LOCK TABLE latchkey.login_attempts IN ACCESS EXCLUSIVE MODE`
      const password = `hunter2-${crypto.randomUUID()}`
      const email = `slow-${crypto.randomUUID()}@example.com`
      const answer = await call(service, 'POST /auth/login', { json: { email, password } })
      expect(answer.status).toBe(503)
      expectNone(service.loggedText(), [email, password])
      expect(service.loggedText()).toContain('57014')
    } finally {
      await blocked`ROLLBACK`
      blocked.release()
    }
  }, 240_000)
})

describe('LOG_FORMAT and LOG_LEVEL', () => {
  test('pretty writes readable lines, also without secrets', async () => {
    const pretty = await startService({ logFormat: 'pretty', logLevel: 'debug' }, service)
    try {
      await call(pretty, 'GET /protected/any', { apiKey: key.key })
      await call(pretty, `GET /${key.key}`, { bearer: owner.access })
      const plain = () => Bun.stripANSI(pretty.loggedText())
      await until(() => plain().split('request').length > 2, 'the lines are written')
      const [line = ''] = plain()
        .split('\n')
        .filter((each) => each.includes('/protected/any'))
      expect(line).toMatch(/^\[?\d\d:\d\d:\d\d\]? INFO/)
      for (const part of ['GET', '200', '127.0.0.1', `key:${key.id}`]) expect(line).toContain(part)
      expect(plain()).not.toContain(key.key)
      expect(plain()).not.toContain(owner.access)
    } finally {
      await pretty.stop()
    }
  })

  test.each([
    ['debug', true, true],
    ['info', true, true],
    ['warn', false, true],
    ['error', false, true],
  ] as const)('%s: access lines %p, errors %p', async (logLevel, hasAccess, hasErrors) => {
    const quiet = await startService({ logLevel }, service)
    try {
      await call(quiet, 'GET /')
      await sql`ALTER TABLE latchkey.api_keys RENAME TO elsewhere`
      await call(quiet, 'GET /protected/any', { apiKey: 'old_key' }).finally(
        () => sql`ALTER TABLE latchkey.elsewhere RENAME TO api_keys`,
      )
      await until(() => quiet.logged().some(({ level }) => level === 'error'), 'the error is logged')
      expect(accessLines(quiet).length > 0).toBe(hasAccess)
      expect(quiet.logged().some(({ message }) => message === 'A request failed')).toBe(hasErrors)
    } finally {
      await quiet.stop()
    }
  })

  test('a line is written within 100 ms, without a flush', async () => {
    let text = ''
    const log = createLog({ logLevel: 'info', logFormat: 'json' }, (chunk) => {
      text += chunk
    })
    log.access?.('{"message":"request"}')
    log.info('an event')
    expect(text).toBe('')
    await until(() => text !== '', 'the lines are out', 300)
    expect(
      text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line).message),
    ).toEqual(['request', 'an event'])
  })
})
