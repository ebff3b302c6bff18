import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import {
  type Answer,
  type Call,
  call as callUnchecked,
  logIn,
  newKey,
  newPerson,
  type Person,
} from '../support/client.ts'
import { testConfig } from '../support/config.ts'
import { call } from '../support/described.ts'
import { type PostgresServer, startServer } from '../support/postgres.ts'
import { expectProblem } from '../support/problem.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'

/** How long the cache is used without proof of life, plus the delay of a busy machine. */
const PROOF_MS = 3000
const SLACK_MS = 500
/** The longest time of an answer: a wait for a connection, and then a silent connection. */
const PATIENCE_MS = 8000

let server: PostgresServer
let service: TestService
beforeAll(async () => {
  server = await startServer()
  service = await startService({}, { databaseUrl: server.url('postgres'), config: testConfig() })
}, 60_000)
afterAll(async () => {
  await service?.stop()
  await server?.remove()
}, 60_000)

type Caller = Person & { key: string; keyId: string }

/** A person with a session and a key, both in the cache. */
async function warmCaller(): Promise<Caller> {
  const person = await newPerson(service)
  const { id, key } = await newKey(service, person.access, { scopes: ['read', 'latchkey:keys.read'] })
  const caller = { ...person, key, keyId: id }
  await until(() => service.context.cache.isLive(), 'the cache is used', 20_000)
  expect((await me(caller, 'key')).status).toBe(200)
  expect((await me(caller, 'user')).status).toBe(200)
  return caller
}

const me = (caller: Caller, kind: 'user' | 'key') =>
  call(service, 'GET /auth/me', kind === 'user' ? { bearer: caller.access } : { apiKey: caller.key })

/** Requests that need the database. Their 503 must not depend on the rows. */
function doorsOf(caller: Caller): [route: string, options: Call][] {
  const { email, password, access: bearer, refresh, key: apiKey, keyId } = caller
  const unknownKey = `old-${'k'.repeat(40)}`
  return [
    ['POST /auth/login', { json: { email, password } }],
    ['POST /auth/login', { json: { email: 'nobody@example.com', password } }],
    ['POST /auth/signup', { json: { email: 'new@example.com', password } }],
    ['POST /auth/signup', { json: { email, password } }],
    ['POST /auth/refresh', { json: { refresh_token: refresh } }],
    ['POST /auth/logout', { json: { refresh_token: refresh } }],
    ['POST /oauth/token', { form: { grant_type: 'password', username: email, password } }],
    ['POST /oauth/token', { form: { grant_type: 'refresh_token', refresh_token: refresh } }],
    ['POST /keys/create', { bearer, json: { name: 'late' } }],
    ['GET /keys/list', { bearer }],
    ['GET /keys/list', { apiKey }],
    [`DELETE /keys/revoke/${keyId}`, { bearer }],
    [`DELETE /keys/delete/${keyId}`, { bearer }],
    [`DELETE /keys/revoke/${Bun.randomUUIDv7()}`, { bearer }],
    ['GET /protected/any', { apiKey: unknownKey }],
    ['GET /auth/me', { bearer: unknownKey }],
    ['GET /readyz', {}],
  ]
}

function expectUnavailable(route: string, answer: Answer): void {
  expect(`${route} ${answer.status}`).toBe(`${route} 503`)
  if (route.includes('/oauth/')) expect(answer.body.error).toBe('temporarily_unavailable')
  else expectProblem(answer, 'unavailable')
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
}

describe.each<[string, () => unknown, () => unknown]>([
  ['is shut down', () => server.stop(), () => server.start()],
  ['crashes', () => server.kill(), () => server.start()],
  ['falls silent', () => server.pause(), () => server.resume()],
])('while PostgreSQL %s', (_, goAway, comeBack) => {
  test('requests that need it answer 503 within seconds, others succeed, and all succeed once it is back', async () => {
    const caller = await warmCaller()
    await goAway()
    try {
      const goneAt = performance.now()
      const answers = await Promise.all(
        doorsOf(caller).map(async ([route, options]) => {
          const answer = await call(service, route, options)
          return { route, answer, tookMs: performance.now() - goneAt }
        }),
      )
      for (const { route, answer, tookMs } of answers) {
        expectUnavailable(route, answer)
        expect(`${route} ${tookMs < PATIENCE_MS}`).toBe(`${route} true`)
      }
      const log = service.loggedText()
      expect(log).toContain('A request failed')
      // The error of a failed query has its parameters. The log must not have them.
      for (const secret of [
        caller.email,
        caller.password,
        caller.refresh,
        caller.key,
        '$argon2id',
        'old-kkkk',
      ])
        expect(`${secret} ${log.includes(secret)}`).toBe(`${secret} false`)
      for (const path of ['/livez', '/health', '/', '/openapi.json', '/docs'])
        expect((await callUnchecked(service, `GET ${path}`)).status).toBe(200)
      // Neither of these needs the database.
      expectProblem(await call(service, 'GET /auth/me'), 'missing_credential')
      expectProblem(await call(service, 'GET /auth/me', { apiKey: `sk_${'0'.repeat(49)}` }), 'invalid_token')
      expectProblem(await call(service, 'POST /auth/login', { json: {} }), 'validation_failed')
    } finally {
      await comeBack()
    }

    await until(async () => (await call(service, 'GET /readyz')).status === 200, 'it is ready again', 20_000)
    expect((await me(caller, 'key')).status).toBe(200)
    expect((await me(caller, 'user')).status).toBe(200)
    await logIn(service, caller.email, caller.password)
    expect((await call(service, 'POST /keys/create', { bearer: caller.access, json: {} })).status).toBe(201)
    // No change was made behind a 503: the session, the key and the account are the same.
    const refreshed = await call(service, 'POST /auth/refresh', { json: { refresh_token: caller.refresh } })
    expect(refreshed.status).toBe(200)
  }, 60_000)

  test('the cache is used for three seconds without proof of life; then every credential gets 503, and none is called invalid', async () => {
    const caller = await warmCaller()
    let lastGood = 0
    const seen = new Set<number>()
    await goAway()
    const goneAt = performance.now()
    try {
      while (performance.now() - goneAt < PROOF_MS + 2 * SLACK_MS) {
        const sentAt = performance.now()
        // Each answer is awaited separately, so that one that waits for the database does not delay the next request.
        void Promise.all([me(caller, 'key'), me(caller, 'user')]).then(
          (answers) => {
            for (const { status } of answers) {
              seen.add(status)
              if (status === 200) lastGood = Math.max(lastGood, sentAt - goneAt)
            }
          },
          () => seen.add(0),
        )
        await Bun.sleep(100)
      }
      const late = await Promise.all([me(caller, 'key'), me(caller, 'user')])
      for (const answer of late) expectUnavailable('GET /auth/me', answer)
    } finally {
      await comeBack()
    }
    expect(lastGood).toBeGreaterThan(200)
    expect(lastGood).toBeLessThan(PROOF_MS + SLACK_MS)
    expect([...seen].filter((status) => status !== 200 && status !== 503)).toEqual([])
    await until(async () => (await me(caller, 'key')).status === 200, 'the key works again', 20_000)
  }, 60_000)

  test('evictions arrive again afterwards', async () => {
    const caller = await warmCaller()
    await until(async () => service.context.cache.isLive(), 'the cache is live again', 20_000)
    expect((await me(caller, 'key')).status).toBe(200)
    const sql = postgres(server.url('postgres'), { max: 1 })
    try {
      await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${caller.id}`
    } finally {
      await sql.end()
    }
    for (const kind of ['key', 'user'] as const)
      await until(async () => (await me(caller, kind)).status === 401, `the ${kind} is refused`)
  }, 60_000)
})
