import { afterAll, beforeAll, expect, test } from 'bun:test'
import type postgres from 'postgres'
import { recallCredential } from '../../src/core/verify/verify-credential.ts'
import { secret } from '../../src/lib/secret.ts'
import { call } from '../support/client.ts'
import { type DatabaseProxy, startDatabaseProxy } from '../support/database-proxy.ts'
import { addLoggedIn, connectTo } from '../support/people.ts'
import { sharedServer } from '../support/postgres.ts'
import { startService, type TestService } from '../support/service.ts'
import { makeSubjects, type Subject } from '../support/subjects.ts'
import { until } from '../support/until.ts'

/** API.md, "Revocation holds": on other servers within a second, and within five if the database connection is cut. */
const WITHIN_MS = 1000
const CUT_WITHIN_MS = 5000

/** `near` makes the changes. Each `Far` has to hear of them, and its LISTEN connection goes through its own proxy. */
let near: TestService
let sql: postgres.Sql
let admin: string
type Far = TestService & { line: DatabaseProxy }
const fars: Far[] = []
beforeAll(async () => {
  near = await startService({ logLevel: 'info' })
  sql = connectTo(near)
  admin = (await addLoggedIn(near, sql, { role: 'admin' })).access
})
afterAll(async () => {
  for (const far of fars) {
    far.line.thaw()
    await far.stop()
    far.line.close()
  }
  await sql?.end()
  await near?.stop()
})

async function startFar(): Promise<Far> {
  const line = await startDatabaseProxy((await sharedServer()).port)
  const settings = { logLevel: 'info' as const, databaseDirectUrl: secret(line.url(near.databaseUrl)) }
  const far = { ...(await startService(settings, near)), line }
  fars.push(far)
  return far
}

const isGood = async (at: TestService, { key }: Subject) => {
  const { status } = await call(at, 'GET /protected/service-only', { apiKey: key })
  expect([200, 401]).toContain(status)
  return status === 200
}
const isLive = (far: Far) => far.context.cache.isLive()

/** Makes so many keys that `far` has in its cache. */
async function knownSubjects(far: Far, count: number): Promise<Subject[]> {
  const subjects = await makeSubjects(near, sql, count)
  await until(() => isLive(far), 'the cache is used')
  const known = subjects.map((subject) =>
    until(
      async () => (await isGood(far, subject)) && recallCredential(far.context, subject.key) !== null,
      'it is in the cache',
    ),
  )
  await Promise.all(known)
  return subjects
}

type Revocation = (subject: Subject) => PromiseLike<unknown>
const overHttp: Revocation = async ({ keyId }) => {
  expect((await call(near, `DELETE /keys/revoke/${keyId}`, { bearer: admin })).status).toBe(200)
}
const inSql: Revocation = ({ keyId }) =>
  sql`UPDATE latchkey.api_keys SET revoked_at = now() WHERE id = ${keyId}`

/**
 * Revokes a key, and presents it to `far` until it is refused, and for a while longer, because a refusal has to last.
 * @returns how many milliseconds after the answer to the revocation the key was still accepted
 */
async function lagOf(far: Far, subject: Subject, revoke: Revocation, withinMs: number): Promise<number> {
  await revoke(subject)
  const revokedAt = performance.now()
  for (let askedAt = revokedAt; await isGood(far, subject); askedAt = performance.now()) {
    if (askedAt - revokedAt > withinMs) throw new Error(`Good ${askedAt - revokedAt} ms after its revocation`)
    await Bun.sleep(2)
  }
  const lagMs = performance.now() - revokedAt
  for (let i = 0; i < 3; i++) {
    await Bun.sleep(20)
    expect(await isGood(far, subject)).toBe(false)
  }
  return lagMs
}

function tell(what: string, lagsMs: number[]): void {
  lagsMs.sort((x, y) => x - y)
  const at = (share: number) => lagsMs[Math.floor((lagsMs.length - 1) * share)]?.toFixed(1)
  const figures = `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`
  process.stdout.write(`      ${what}: refused on another server after ${figures} (${lagsMs.length})\n`)
}

/** Revokes several keys at once, and expects that all of them stay refused. */
async function revokeAll(
  what: string,
  far: Far,
  subjects: Subject[],
  revoke: Revocation,
  withinMs: number,
  atOnce = 8,
) {
  const lagsMs: number[] = []
  const left = [...subjects]
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let subject = left.pop(); subject; subject = left.pop())
        lagsMs.push(await lagOf(far, subject, revoke, withinMs))
    }),
  )
  tell(what, lagsMs)
}
async function expectAllDead(far: Far, subjects: Subject[]): Promise<void> {
  for (const subject of subjects)
    expect([await isGood(near, subject), await isGood(far, subject)]).toEqual([false, false])
}

test.each([
  ['over HTTP', overHttp],
  ['in SQL', inSql],
])('revoked %s, a key is refused on another server within a second', async (how, revoke) => {
  const far = await startFar()
  const subjects = await knownSubjects(far, 80)
  await revokeAll(`revoked ${how}`, far, subjects, revoke, WITHIN_MS)
  expect(isLive(far)).toBe(true)
})

test('revoked while the LISTEN connection is terminated, a key is refused within five seconds', async () => {
  const far = await startFar()
  const subjects = await knownSubjects(far, 24)
  const terminating: Revocation = ({ keyId }) =>
    // One transaction terminates the connection and revokes the keys, so the connection ends before the notification.
    sql.begin(async (tx) => {
      await tx`UPDATE latchkey.api_keys SET revoked_at = now() WHERE id = ${keyId}`
      await tx`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'latchkey listener'
          AND (query LIKE 'LISTEN "latchkey_evict"%' OR query = 'SELECT 1')`
    })
  await revokeAll('its LISTEN connection terminated', far, subjects, terminating, CUT_WITHIN_MS, 3)
  await until(() => isLive(far), 'the cache is used again')
  await expectAllDead(far, subjects)
  expect(far.loggedText()).toContain('the database line that listens was cut')
  await revokeAll('and once it listens again', far, await knownSubjects(far, 20), overHttp, WITHIN_MS)
})

test.concurrent('revoked while the LISTEN connection is silent and not closed, a key is refused within five seconds', async () => {
  const far = await startFar()
  const subjects = await knownSubjects(far, 40)
  far.line.freeze()
  const staggered =
    (at: number): Revocation =>
    async (subject) => {
      await Bun.sleep((at * 3000) / subjects.length)
      await (at % 2 === 0 ? overHttp : inSql)(subject)
    }
  const lags = subjects.map((subject, at) => lagOf(far, subject, staggered(at), CUT_WITHIN_MS))
  tell('its LISTEN connection frozen', await Promise.all(lags))
  expect(isLive(far)).toBe(false)
  await until(() => far.loggedText().includes('no echo on the LISTEN line'), 'it is said')
  // The control: a key that was not revoked is accepted all the time.
  const [bystander] = await makeSubjects(near, sql, 1)
  if (bystander) expect(await isGood(far, bystander)).toBe(true)
  far.line.thaw()
  await until(() => isLive(far), 'the cache is used again')
  expect(far.loggedText()).toContain('The cache is used again')
  await expectAllDead(far, subjects)
  await revokeAll('and once it is heard again', far, await knownSubjects(far, 20), inSql, WITHIN_MS)
}, 240_000)

test.concurrent('with messages that are four seconds late the cache is not used: a revocation applies on the next request', async () => {
  const far = await startFar()
  const subjects = await knownSubjects(far, 50)
  far.line.delay(4000)
  await until(() => !isLive(far), 'the cache is bypassed')
  let wasLive = false
  for (const [at, subject] of subjects.entries()) {
    await (at % 2 === 0 ? overHttp : inSql)(subject)
    expect(await isGood(far, subject)).toBe(false)
    for (let i = 0; i < 10; i++) {
      wasLive ||= isLive(far)
      await Bun.sleep(10)
    }
  }
  expect(wasLive).toBe(false)
  far.line.delay(0)
  await until(() => isLive(far), 'the cache is used again')
  await expectAllDead(far, subjects)
}, 240_000)

test.concurrent('with messages that are two seconds late a revoked key is refused within five seconds', async () => {
  const far = await startFar()
  const subjects = await knownSubjects(far, 40)
  far.line.delay(2000)
  await revokeAll('its LISTEN connection two seconds late', far, subjects, overHttp, CUT_WITHIN_MS, 20)
  far.line.delay(0)
  await until(() => isLive(far), 'the cache is used again')
  await expectAllDead(far, subjects)
}, 240_000)
