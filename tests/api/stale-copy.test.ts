import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { KnownCopy } from '../../src/core/verifier/freshness.ts'
import { REGION_CHANNEL } from '../../src/db/eviction.ts'
import { SECOND_MS } from '../../src/lib/time.ts'
import { type Answer, call, newKey } from '../support/client.ts'
import { sendHalves } from '../support/held.ts'
import { addLoggedIn } from '../support/people.ts'
import type { TestService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { useService, useSql } from '../support/use-service.ts'
import { startVerifier } from '../support/verifier.ts'

const home = useService()
const sql = useSql(home)
let watcher: string
let key: string
beforeAll(async () => {
  const admin = await addLoggedIn(home, sql, { role: 'admin' })
  const scopes = ['latchkey:verify', 'latchkey:introspect']
  watcher = (await newKey(home, admin.access, { scopes })).key
  key = (await newKey(home, admin.access)).key
})

/** Long enough for a busy machine: the tests move the clock. */
const MAX_SECONDS = 1000

/** What the verifier is told of its copy. */
let copy: KnownCopy
let refusing: TestService
let allowing: TestService
beforeAll(async () => {
  copy = { atMs: Date.now(), uncopied: 0, broken: null }
  const options = { verifyMaxStalenessSeconds: MAX_SECONDS, readCopy: async () => copy }
  refusing = await startVerifier(home, null, options)
  allowing = await startVerifier(home, null, { ...options, verifyWhenStale: 'allow' })
})
afterAll(async () => {
  await refusing.stop()
  await allowing.stop()
})

const isGood = (at: TestService) => at.context.region?.freshness.isGood() === true
const asOf = () => allowing.context.region?.freshness.asOf() ?? ''
/** Both have the same clock. */
const now = () => refusing.context.clock()
const advance = (seconds: number) => {
  for (const at of [refusing, allowing]) at.advance(seconds * SECOND_MS)
}
beforeEach(async () => {
  const atMs = now()
  copy = { atMs, uncopied: 0, broken: null }
  await beat(atMs)
  await until(() => asOf() === new Date(atMs).toISOString() && isGood(refusing), 'the copy is good')
})

/** A heartbeat of home arrives, as the trigger of a region tells of it. */
const beat = (atMs: number, state = 'whole', uncopied = 0) =>
  sql`SELECT pg_notify(${REGION_CHANNEL}, ${`heartbeat 1 ${Math.floor(atMs)} 1 ${uncopied} ${state}`})`

type Asked = { name: string; answer: Answer }
/** Every question about a credential. */
async function askAll(at: TestService): Promise<Asked[]> {
  const asked: [string, Parameters<typeof call>[2]][] = [
    ['POST /keys/verify', { bearer: watcher, json: { key } }],
    ['POST /keys/verify-batch', { bearer: watcher, json: { keys: [{ key }, { key: 'sk_none' }] } }],
    ['POST /verify', { bearer: watcher, json: { credential: key } }],
    ['POST /oauth/introspect', { bearer: watcher, form: { token: key } }],
    ['GET /forward-auth', { bearer: key }],
    ['GET /forward-auth/any/below', { bearer: key }],
    // Whatever the credential is: nothing is known of it.
    ['GET /forward-auth', {}],
    ['POST /keys/verify', { bearer: 'sk_unknown', json: { key } }],
    ['POST /oauth/introspect', { form: { token: key } }],
  ]
  return Promise.all(
    asked.map(async ([route, options], at_) => ({
      name: `${at_} ${route}`,
      answer: await call(at, route, options),
    })),
  )
}
const OPEN = [200, 200, 200, 200, 200, 200, 401, 401, 401]

async function expectStale(at: TestService): Promise<void> {
  for (const { name, answer } of await askAll(at)) {
    expect([name, answer.status, answer.headers.get('retry-after')]).toEqual([name, 503, '1'])
    const code = name.includes('/oauth/') ? { error: 'temporarily_unavailable' } : { code: 'stale' }
    expect([name, answer.body]).toEqual([name, expect.objectContaining(code)])
  }
  const ready = await call(at, 'GET /readyz')
  expect([ready.status, ready.body.code]).toEqual([503, 'stale'])
  for (const path of [
    '/livez',
    '/health',
    '/openapi.json',
    '/.well-known/jwks.json',
    '/.well-known/oauth-authorization-server',
  ])
    expect([path, (await call(at, `GET ${path}`)).status]).toEqual([path, 200])
}
async function expectOpen(at: TestService): Promise<Asked[]> {
  const asked = await askAll(at)
  expect(asked.map(({ answer }) => answer.status)).toEqual(OPEN)
  expect((await call(at, 'GET /readyz')).status).toBe(200)
  return asked
}

describe('a copy whose last heartbeat is too old', () => {
  test('is answered from no more, and again as soon as a heartbeat arrives', async () => {
    await expectOpen(refusing)
    advance(MAX_SECONDS - 100)
    await expectOpen(refusing)
    advance(110)
    await expectStale(refusing)
    await beat(now())
    await until(() => isGood(refusing), 'the heartbeat arrives')
    await expectOpen(refusing)
    expect(refusing.loggedText()).toContain('no heartbeat of home arrives')
  })

  test('is answered from with `allow`, and every answer says as of when', async () => {
    const proved = asOf()
    advance(MAX_SECONDS + 10)
    const asked = await expectOpen(allowing)
    const [one, batch, any, introspected, proxied] = asked.map(({ answer }) => answer)
    expect([one, any, introspected].map((answer) => answer?.body.as_of)).toEqual([proved, proved, proved])
    expect(batch?.body.results.map((result: Record<string, unknown>) => result.as_of)).toEqual([
      proved,
      proved,
    ])
    expect(proxied?.headers.get('x-auth-as-of')).toBe(proved)
    const unknown = { bearer: watcher, form: { token: 'sk_none' } }
    expect((await call(allowing, 'POST /oauth/introspect', unknown)).body).toEqual({
      active: false,
      as_of: proved,
    })
    const later = now()
    await beat(later)
    const answer = async () =>
      (await call(allowing, 'POST /keys/verify', { bearer: watcher, json: { key } })).body.as_of
    await until(async () => (await answer()) === new Date(later).toISOString(), 'the proof is newer')
    // Without `allow` no answer says it.
    await until(() => isGood(refusing), 'the other verifier has heard it too')
    expect((await expectOpen(refusing)).map(({ answer }) => answer.headers.get('x-auth-as-of'))).toEqual(
      OPEN.map(() => null),
    )
  })

  test('is not answered from where it became too old while a body was on its way', async () => {
    const send = async () => {
      const [half] = await sendHalves(refusing, [
        { line: 'POST /keys/verify', bearer: watcher, json: { key, cost: 0 } },
      ])
      return half ?? (async () => 0)
    }
    expect(await (await send())()).toBe(200)
    const finish = await send()
    advance(MAX_SECONDS + 10)
    expect(await finish()).toBe(503)
  })
})

describe('a copy that may lack changes is refused, also with `allow`', () => {
  test.each([
    ['a heartbeat was lost', 'chain', 0],
    ['home failed over', 'timeline', 0],
    ['an operator copies anew', 'resync', 0],
    ['a table is not copied', 'whole', 1],
  ])('%s', async (_, state, uncopied) => {
    await expectOpen(allowing)
    copy = { atMs: now(), uncopied, broken: state === 'whole' ? null : state }
    await beat(now(), state, uncopied)
    await until(() => !isGood(allowing) && !isGood(refusing), 'the message arrives')
    await expectStale(allowing)
    await expectStale(refusing)
    // Neither the next heartbeat nor the old time of the last one makes it good.
    await beat(now(), state, uncopied)
    copy = { ...copy, uncopied: 0, broken: null }
    await until(
      async () => (await call(allowing, 'GET /readyz')).status === 503 && !isGood(allowing),
      'it is refused on',
    )
    await beat(now())
    await until(() => isGood(allowing) && isGood(refusing), 'a whole copy is proved')
    await expectOpen(allowing)
  })

  test('home’s clock is more than two seconds ahead', async () => {
    await beat(now() + 60 * SECOND_MS)
    await until(() => !isGood(allowing), 'the heartbeat arrives')
    await expectStale(allowing)
    expect(allowing.loggedText()).toContain('more than 2 s ahead')
  })

  test('also where no message tells of it', async () => {
    await expectOpen(allowing)
    copy = { atMs: now(), uncopied: 3, broken: null }
    await until(() => !isGood(allowing), 'the database is asked')
    await expectStale(allowing)
  })

  test('and where no heartbeat has ever arrived', async () => {
    copy = { atMs: null, uncopied: null, broken: null }
    const fresh = await startVerifier(home, null, { readCopy: async () => copy, verifyWhenStale: 'allow' })
    try {
      await expectStale(fresh)
    } finally {
      await fresh.stop()
    }
  })
})

test('what was cached before a break is not used after it', async () => {
  await expectOpen(refusing)
  const { cache } = refusing.context
  await until(() => cache.size() > 0, 'the cache is filled')
  await beat(now(), 'chain')
  await until(() => !isGood(refusing), 'the break is heard')
  await sql`SELECT pg_notify(${REGION_CHANNEL}, 'state whole')`
  await beat(now())
  await until(() => isGood(refusing), 'the copy is whole')
  expect(cache.size()).toBe(0)
})

test('every refusal of a question is counted', async () => {
  advance(MAX_SECONDS + 10)
  const { staleRefusals } = refusing.context.metrics
  const before = staleRefusals.questions
  await askAll(refusing)
  expect(staleRefusals.questions).toBe(before + OPEN.length)
})
