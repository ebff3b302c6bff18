import { afterAll, beforeAll, describe, expect, spyOn, test } from 'bun:test'
import postgres from 'postgres'
import { recallAgain } from '../../src/core/verify/verify-credential.ts'
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

/** How long the cache is used without proof of life. */
const PROOF_MS = 3000
/** By how much the wall clock, which counts in whole milliseconds, may be ahead of the monotonic one. */
const CLOCKS_MS = 50
/** The longest time of an answer: a wait for a connection, and then a silent connection. */
const PATIENCE_MS = 8000

let server: PostgresServer
let service: TestService
beforeAll(async () => {
  server = await startServer()
  service = await startService({}, { databaseUrl: server.url('postgres'), config: testConfig() })
}, 240_000)
afterAll(async () => {
  await service?.stop()
  await server?.remove()
}, 240_000)

type Caller = Person & { key: string; keyId: string }

/** A person with a session and a key, both in the cache. */
async function warmCaller(): Promise<Caller> {
  const person = await newPerson(service)
  const { id, key } = await newKey(service, person.access, { scopes: ['read', 'latchkey:keys.read'] })
  const caller = { ...person, key, keyId: id }
  for (const [kind, token] of [
    ['key', key],
    ['user', person.access],
  ] as const) {
    const isCached = async () =>
      (await me(caller, kind)).status === 200 && recallAgain(service.context, token) !== null
    await until(isCached, 'it is in the cache')
  }
  return caller
}

const me = (caller: Caller, kind: 'user' | 'key') =>
  call(service, 'GET /auth/me', kind === 'user' ? { bearer: caller.access } : { apiKey: caller.key })

/** Requests that need the database. Their 503 must not depend on the rows. */
function requestsOf(caller: Caller): [route: string, options: Call][] {
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
        requestsOf(caller).map(async ([route, options]) => {
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

    await until(async () => (await call(service, 'GET /readyz')).status === 200, 'it is ready again')
    expect((await me(caller, 'key')).status).toBe(200)
    expect((await me(caller, 'user')).status).toBe(200)
    await logIn(service, caller.email, caller.password)
    expect((await call(service, 'POST /keys/create', { bearer: caller.access, json: {} })).status).toBe(201)
    // No change was made behind a 503: the session, the key and the account are the same.
    const refreshed = await call(service, 'POST /auth/refresh', { json: { refresh_token: caller.refresh } })
    expect(refreshed.status).toBe(200)
  }, 240_000)

  test('the cache is used for three seconds without proof of life; then every credential gets 503, and none is called invalid', async () => {
    const proofs = spyOn(service.context.cache, 'prove')
    /** Until when the cache may be used: three seconds after the last heartbeat that came back was sent. */
    const endMs = () => Math.max(...proofs.mock.calls.map(([{ monotonicMs }]) => monotonicMs)) + PROOF_MS
    try {
      // On a busy machine the three seconds may be over before the database is away: then nothing was seen, and once more.
      for (let attempt = 1; ; attempt++) {
        const caller = await warmCaller()
        await until(() => proofs.mock.calls.length > 0, 'the database is heard')
        await goAway()
        let end = Infinity
        const seen: { status: number; sentMs: number; answeredMs: number }[] = []
        const isCached = [caller.key, caller.access].every((token) => recallAgain(service.context, token))
        try {
          const asked: Promise<unknown>[] = []
          const askBoth = () => {
            const sentMs = performance.now()
            // Each answer is awaited separately, so that one that waits for the database does not delay the next request.
            for (const kind of ['key', 'user'] as const) {
              const answered = me(caller, kind).then(({ status }) =>
                seen.push({ status, sentMs, answeredMs: performance.now() }),
              )
              asked.push(answered)
            }
          }
          while (isCached && performance.now() < endMs()) {
            askBoth()
            await Bun.sleep(100)
          }
          askBoth()
          await Promise.all(asked)
          const late = await Promise.all([me(caller, 'key'), me(caller, 'user')])
          for (const answer of late) expectUnavailable('GET /auth/me', answer)
          end = endMs()
        } finally {
          await comeBack()
        }
        await until(async () => (await me(caller, 'key')).status === 200, 'the key works again')
        const used = seen.filter(({ status }) => status === 200)
        if (!isCached || used.length === 0) {
          expect(attempt).toBeLessThan(5)
          continue
        }
        const refused = seen.filter(({ status }) => status === 503)
        expect(seen.length - used.length - refused.length).toBe(0)
        expect(refused.length).toBeGreaterThan(0)
        // A request is decided between the two moments that were measured.
        expect(used.filter(({ sentMs }) => sentMs >= end)).toEqual([])
        expect(refused.filter(({ answeredMs }) => answeredMs < end - CLOCKS_MS)).toEqual([])
        return
      }
    } finally {
      proofs.mockRestore()
    }
  }, 240_000)

  test('evictions arrive again afterwards', async () => {
    const caller = await warmCaller()
    await until(async () => service.context.cache.isLive(), 'the cache is live again')
    expect((await me(caller, 'key')).status).toBe(200)
    const sql = postgres(server.url('postgres'), { max: 1 })
    try {
      await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${caller.id}`
    } finally {
      await sql.end()
    }
    for (const kind of ['key', 'user'] as const)
      await until(async () => (await me(caller, kind)).status === 401, `the ${kind} is refused`, 2000)
  }, 240_000)
})
