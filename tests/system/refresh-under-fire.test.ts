import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { randomBytes } from 'node:crypto'
import type postgres from 'postgres'
import { rewrapSecrets } from '../../src/core/second-factors/rewrap.ts'
import { recallCredential } from '../../src/core/verify/verify-credential.ts'
import { secret } from '../../src/lib/secret.ts'
import { makeRefreshToken } from '../../src/lib/tokens.ts'
import { type Answer, call } from '../support/client.ts'
import {
  type AddedPerson,
  addLoggedIn,
  addPerson,
  beginSession,
  connectTo,
  PASSWORD,
  type Tokens,
} from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { claimsOf, refresh } from '../support/refresh.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'

let a: TestService
let b: TestService
let sql: postgres.Sql
/** An admin, who also introspects. */
let admin: Tokens
let person: AddedPerson
beforeAll(async () => {
  // A connection for each of fifty requests at once, so that a full pool refuses none, and time to wait for the others' locks.
  const quiet = { logLevel: 'error', databasePoolSize: 25, databaseStatementTimeoutMs: 10_000 } as const
  a = await startService({ ...quiet, passwordHashConcurrency: 4 })
  b = await startService(quiet, a)
  sql = connectTo(a)
  admin = await addLoggedIn(a, sql, { role: 'admin' })
  person = await addPerson(sql)
})
afterAll(async () => {
  await sql.end()
  await b.stop()
  await a.stop()
})

const both = (i: number) => (i % 2 === 0 ? a : b)
const times = <T>(n: number, make: (i: number) => T): T[] => Array.from({ length: n }, (_, i) => make(i))
const tokensOf = ({ body }: Answer): Tokens => ({ access: body.access_token, refresh: body.refresh_token })
const isGood = async (at: TestService, bearer: string) =>
  (await call(at, 'GET /auth/me', { bearer })).status === 200
const isActive = async (at: TestService, token: string) =>
  (await call(at, 'POST /oauth/introspect', { form: { token }, bearer: admin.access })).body.active === true
const sessionOf = async (token: string) =>
  (await sql`SELECT * FROM latchkey.sessions WHERE id = ${claimsOf(a, token).sessionId}`)[0]
/** The audited actions on a session. That its tokens are refused afterwards has a row of its own (audit.test.ts). */
const auditOf = async (token: string) =>
  (
    await sql`SELECT action FROM latchkey.audit_events
      WHERE target_id = ${claimsOf(a, token).sessionId} AND action <> 'session.refresh_refused'`
  ).map((row) => row.action)

/** Trades a refresh token and expects success. */
async function next(at: TestService, token: string): Promise<Tokens> {
  const answer = await refresh(at, token)
  if (answer.status !== 200) throw new Error(`A refresh answered ${answer.status}: ${answer.text}`)
  return tokensOf(answer)
}

/** Presents an access token to both servers, so that each caches it. */
async function warm(...tokens: string[]): Promise<void> {
  for (const token of tokens) {
    for (const at of [a, b]) {
      expect(await isGood(at, token)).toBe(true)
      // An eviction for an earlier change may have arrived in between. Then the token is presented again.
      await until(
        async () => recallCredential(at.context, token) !== null || ((await isGood(at, token)) && false),
        'the server has cached the token',
      )
    }
  }
}

/** The number of these refresh tokens that are active. */
async function countLive(tokens: Iterable<string>): Promise<number> {
  const active = await Promise.all([...new Set(tokens)].map((token) => isActive(a, token)))
  return active.filter(Boolean).length
}

const lags: number[] = []

/** Expects that refresh tokens are refused at once, and access tokens at once on `at` and within a second elsewhere. */
async function expectOver(at: TestService, tokens: readonly Tokens[]): Promise<void> {
  const since = performance.now()
  const other = at === a ? b : a
  await Promise.all(
    tokens.map(async ({ access, refresh: token }) => {
      expectProblem(await call(at, 'GET /auth/me', { bearer: access }), 'invalid_token')
      const dies = until(
        async () => !(await isGood(other, access)),
        'the access token is refused on the other server',
        1000,
      )
      await dies.then(() => lags.push(performance.now() - since))
      expect(await isActive(at, token)).toBe(false)
      expect(await isActive(other, token)).toBe(false)
    }),
  )
  for (const { refresh: token } of tokens) {
    expectProblem(await refresh(at, token), 'invalid_token')
    expectProblem(await refresh(other, token), 'invalid_token')
  }
}

describe('fifty refreshes at once of one token over two servers', () => {
  test('leave one valid successor: twelve generations in a row', async () => {
    let token = (await beginSession(a, person)).refresh
    for (let round = 1; round <= 12; round++) {
      const answers = await Promise.all(times(50, (i) => refresh(both(i), token)))
      expect(answers.map(({ status }) => status)).toEqual(Array(50).fill(200))
      const successors = new Set(answers.map((answer) => tokensOf(answer).refresh))
      expect(successors.size).toBe(1)
      const [successor = ''] = successors
      expect(claimsOf(a, successor).generation).toBe(round)
      expect(await countLive([token, successor])).toBe(1)
      token = successor
    }
    expect(await sessionOf(token)).toMatchObject({ generation: '12', ended_at: null })
    expect(await auditOf(token)).toEqual([])
    // Each successor can be traded.
    await next(a, token)
  })

  test('leave at most one valid successor without a grace period: ten sessions', async () => {
    const strict = [
      await startService({ refreshGraceSeconds: 0, logLevel: 'error' }, a),
      await startService({ refreshGraceSeconds: 0, logLevel: 'error' }, a),
    ] as const
    let ended = 0
    for (let round = 0; round < 10; round++) {
      const first = await beginSession(a, person)
      const answers = await Promise.all(times(50, (i) => refresh(strict[i % 2 ? 1 : 0], first.refresh)))
      const good = answers.filter(({ status }) => status === 200).map(tokensOf)
      // On a busy machine a request may wait too long for its turn.
      const refused = answers.filter(({ status }) => status !== 200 && status !== 503)
      for (const answer of refused) expectProblem(answer, 'invalid_token')
      expect(new Set(good.map((tokens) => tokens.refresh)).size).toBe(1)
      const session = await sessionOf(first.refresh)
      expect(session?.generation).toBe('1')
      const isOver = session?.ended_at !== null
      expect(await countLive([first.refresh, ...good.map((tokens) => tokens.refresh)])).toBe(isOver ? 0 : 1)
      expect(await auditOf(first.refresh)).toEqual(isOver ? ['session.reused'] : [])
      if (isOver) ended++
    }
    // Without the grace period a repetition ends the session. So the requests did race.
    expect(ended).toBeGreaterThan(0)
    for (const each of strict) await each.stop()
  })

  test('and clients that continue at different speeds never have two valid tokens: fifteen sessions', async () => {
    for (let round = 0; round < 15; round++) {
      const first = await beginSession(a, person)
      const seen = new Set([first.refresh])
      await Promise.all(
        times(6, async (i) => {
          let token = first.refresh
          for (let step = 0; step < 4; step++) {
            const answer = await refresh(both(i + step), token)
            if (answer.status !== 200) return expectProblem(answer, 'invalid_token')
            token = tokensOf(answer).refresh
            seen.add(token)
          }
        }),
      )
      const isOver = (await sessionOf(first.refresh))?.ended_at !== null
      expect(await countLive(seen)).toBe(isOver ? 0 : 1)
    }
  })
})

describe('a replay of the token from two generations ago', () => {
  test('ends the newest token on its next request, on either server: twenty sessions', async () => {
    for (let round = 0; round < 20; round++) {
      const first = await beginSession(a, person)
      const one = await next(both(round), first.refresh)
      const two = await next(both(round + 1), one.refresh)
      await warm(two.access)
      const at = both(round >> 1)
      expectProblem(await refresh(at, first.refresh), 'invalid_token')
      await expectOver(at, [two])
      await expectOver(at, [first, one])
      expect(await auditOf(first.refresh)).toEqual(['session.reused'])
    }
    lags.sort((x, y) => x - y)
    const [p50 = 0, max = 0] = [lags[lags.length >> 1], lags.at(-1)]
    process.stdout.write(
      `      dead on the other server after p50 ${p50.toFixed(1)} ms, max ${max.toFixed(1)} ms\n`,
    )
  })

  test('ends the token of a refresh that races it: fifteen sessions', async () => {
    let first200 = 0
    for (let round = 0; round < 15; round++) {
      const first = await beginSession(a, person)
      const one = await next(a, first.refresh)
      const two = await next(b, one.refresh)
      const answers = await Promise.all([
        refresh(both(round), first.refresh),
        ...times(4, (i) => refresh(both(round + i), two.refresh)),
      ])
      const [replay, ...races] = answers
      if (replay) expectProblem(replay, 'invalid_token')
      const won = races.filter(({ status }) => status === 200).map(tokensOf)
      if (won.length > 0) first200++
      await expectOver(both(round), [two, ...won])
    }
    expect(first200).toBeGreaterThan(0)
  })
})

describe('a lost answer', () => {
  test('retried on any server within the grace period gives the same valid successor: ten sessions', async () => {
    for (let round = 0; round < 10; round++) {
      const first = await beginSession(a, person)
      const lost = await next(both(round), first.refresh)
      const retries = await Promise.all(times(6, (i) => next(both(i), first.refresh)))
      for (const retry of retries) expect(retry.refresh).toBe(lost.refresh)
      await warm(lost.access, ...retries.map((retry) => retry.access))
      expect(await countLive([first.refresh, lost.refresh])).toBe(1)
      await next(both(round + 1), lost.refresh)
    }
  })

  test('retried while its successor is in use leaves at most one valid token: fifteen sessions', async () => {
    for (let round = 0; round < 15; round++) {
      const first = await beginSession(a, person)
      const one = await next(a, first.refresh)
      const answers = await Promise.all([
        ...times(3, (i) => refresh(both(round + i), first.refresh)),
        ...times(3, (i) => refresh(both(round + i), one.refresh)),
      ])
      const good = answers.filter(({ status }) => status === 200).map((answer) => tokensOf(answer).refresh)
      const isOver = (await sessionOf(first.refresh))?.ended_at !== null
      expect(await countLive([first.refresh, one.refresh, ...good])).toBe(isOver ? 0 : 1)
    }
  })
})

describe('a token with a wrong MAC', () => {
  test('changes nothing, also among genuine requests: ten sessions', async () => {
    const foreign = new Uint8Array(randomBytes(32))
    for (let round = 0; round < 10; round++) {
      const first = await beginSession(a, person)
      const one = await next(a, first.refresh)
      const two = await next(b, one.refresh)
      const claims = claimsOf(a, two.refresh)
      const before = await sessionOf(two.refresh)
      const forged = times(12, (i) => makeRefreshToken(foreign, { ...claims, generation: i % 6 }))
      const requests = times(12, (i) =>
        i % 3 === 0
          ? call(both(i), 'POST /auth/logout', { json: { refresh_token: forged[i] } })
          : refresh(both(i), forged[i] ?? ''),
      )
      for (const [i, answer] of (await Promise.all(requests)).entries()) {
        if (i % 3 === 0) expect(answer.status).toBe(204)
        else expectProblem(answer, 'invalid_token')
      }
      expect(await sessionOf(two.refresh)).toEqual(before ?? {})
      expect(await auditOf(two.refresh)).toEqual([])
      await warm(two.access)
      // The same forgeries at the time of a genuine refresh do not harm it.
      const [genuine] = await Promise.all([
        next(both(round), two.refresh),
        ...times(6, (i) => refresh(both(i), forged[i] ?? '')),
      ])
      expect(genuine && (await countLive([genuine.refresh, two.refresh]))).toBe(1)
    }
  })
})

/** Each function ends the session of the given tokens. */
const endings: [string, (at: TestService, tokens: Tokens, person: AddedPerson) => Promise<Answer>][] = [
  ['logout', (at, t) => call(at, 'POST /auth/logout', { json: { refresh_token: t.refresh } })],
  ['logout by the access token', (at, t) => call(at, 'POST /auth/logout', { bearer: t.access })],
  ['logout everywhere', (at, t) => call(at, 'POST /auth/logout-all', { bearer: t.access })],
  [
    'the end of that session',
    (at, t) => call(at, `DELETE /auth/sessions/${claimsOf(a, t.refresh).sessionId}`, { bearer: t.access }),
  ],
  ['revocation', (at, t) => call(at, 'POST /oauth/revoke', { form: { token: t.refresh } })],
  ['an admin’s logout', (at, _, p) => call(at, `POST /users/${p.id}/logout`, { bearer: admin.access })],
]

describe('a session that ends during its own refresh leaves no valid token, by', () => {
  test.each(endings)('%s: eight sessions', async (_, end) => {
    let refreshed = 0
    for (let round = 0; round < 8; round++) {
      const someone = await addPerson(sql)
      const first = await beginSession(a, someone)
      await warm(first.access)
      const at = both(round)
      const [ended, ...answers] = await Promise.all([
        end(at, first, someone),
        ...times(5, (i) => refresh(both(i + 1), first.refresh)),
      ])
      expect(ended?.status).toBeOneOf([200, 204])
      const won = answers.filter(({ status }) => status === 200).map(tokensOf)
      if (won.length > 0) refreshed++
      await expectOver(at, [first, ...won])
    }
    expect(refreshed).toBeGreaterThan(0)
  })
})

/** Logs in and refreshes on both servers without a pause until it is stopped, and gives the tokens that it got. */
function storm(email: string, first: Tokens) {
  const given: Tokens[] = []
  let isOn = true
  const refreshing = times(2, async (i) => {
    let token = first.refresh
    while (isOn) {
      const answer = await refresh(both(i), token)
      if (answer.status !== 200) return expectProblem(answer, 'invalid_token')
      given.push(tokensOf(answer))
      // In sequence. Within the grace period both servers give the same successor.
      if (i === 0) token = tokensOf(answer).refresh
    }
  })
  const loggingIn = times(3, async (i) => {
    while (isOn) {
      const answer = await call(both(i), 'POST /auth/login', { json: { email, password: PASSWORD } })
      if (answer.status !== 200) return expectProblem(answer, 'invalid_login')
      given.push(tokensOf(answer))
    }
  })
  const stop = async () => {
    isOn = false
    await Promise.all([...refreshing, ...loggingIn])
    return given
  }
  return { stop, given }
}

describe('among racing refreshes and log-ins, no earlier token is valid after', () => {
  const countSessions = async (id: string) =>
    (
      await sql`SELECT count(*)::int AS n FROM latchkey.sessions WHERE user_id = ${id} AND ended_at IS NULL`
    )[0]?.n

  test('a change of the password: three rounds', async () => {
    let given = 0
    for (let round = 0; round < 3; round++) {
      const someone = await addPerson(sql)
      const first = await beginSession(a, someone)
      const at = both(round)
      const storms = storm(someone.email, await beginSession(b, someone))
      await until(() => storms.given.length > 2, 'logins and refreshes are under way')
      const json = { current_password: PASSWORD, new_password: 'another-long-one' }
      const changed = await call(at, 'POST /auth/password', { bearer: first.access, json })
      expect(changed.status).toBe(200)
      const before = await storms.stop()
      given += before.length
      await expectOver(at, [first, ...before.slice(-8)])
      expect(await countSessions(someone.id)).toBe(1)
      expect(await isGood(b, changed.body.access_token)).toBe(true)
      await next(b, changed.body.refresh_token)
    }
    expect(given).toBeGreaterThan(9)
  })

  test('a reset of the password: three rounds', async () => {
    for (let round = 0; round < 3; round++) {
      const someone = await addPerson(sql)
      const storms = storm(someone.email, await beginSession(b, someone))
      const issued = await call(a, `POST /users/${someone.id}/password-reset`, { bearer: admin.access })
      await until(() => storms.given.length > 2, 'logins and refreshes are under way')
      const json = { token: issued.body.token, new_password: 'another-long-one' }
      const at = both(round)
      expect((await call(at, 'POST /auth/password-reset', { json })).status).toBe(204)
      const before = await storms.stop()
      await expectOver(at, before.slice(-8))
      expect(await countSessions(someone.id)).toBe(0)
    }
  })

  test('a user is disabled, also when the user is enabled again: four rounds', async () => {
    for (let round = 0; round < 4; round++) {
      const someone = await addPerson(sql)
      const storms = storm(someone.email, await beginSession(b, someone))
      await until(() => storms.given.length > 2, 'logins and refreshes are under way')
      const at = both(round)
      const route = `PATCH /users/${someone.id}`
      const disabled = await call(at, route, { bearer: admin.access, json: { is_active: false } })
      expect(disabled.status).toBe(200)
      const before = await storms.stop()
      await expectOver(at, before.slice(-8))
      expect(await countSessions(someone.id)).toBe(0)
      await call(at, route, { bearer: admin.access, json: { is_active: true } })
      await expectOver(at, before.slice(-8))
    }
  })

  test('a user is deleted: four rounds', async () => {
    for (let round = 0; round < 4; round++) {
      const someone = await addPerson(sql)
      const storms = storm(someone.email, await beginSession(b, someone))
      await until(() => storms.given.length > 2, 'logins and refreshes are under way')
      const at = both(round)
      expect((await call(at, `DELETE /users/${someone.id}`, { bearer: admin.access })).status).toBe(200)
      const before = await storms.stop()
      await expectOver(at, before.slice(-8))
    }
  })
})

describe('a rotation of SECRET_KEY', () => {
  test('works through both steps on mixed servers: each server accepts the tokens of every other', async () => {
    const fresh = secret(randomBytes(48).toString('base64'))
    const old = a.config.secretKey ?? fresh
    const started: TestService[] = []
    const serve = async (secretKey: typeof fresh, secretKeyPrevious: typeof fresh | null) => {
      const server = await startService({ logLevel: 'error', secretKey, secretKeyPrevious }, a)
      started.push(server)
      return server
    }
    /** Refreshes a session on one server after the other. Each server also accepts the token of the one before. */
    const relay = async (servers: readonly TestService[], begun: Tokens) => {
      let tokens = begun
      for (let step = 0; step < 12; step++) {
        const at = servers[step % servers.length]
        if (!at) throw new Error('No server')
        const answers = await Promise.all(servers.map((server) => refresh(server, tokens.refresh)))
        expect(answers.map(({ status }) => status)).toEqual(servers.map(() => 200))
        // Tokens of different keys differ as text, and stand for the same generation of the same session.
        const generations = answers.map((answer) => claimsOf(at, tokensOf(answer).refresh).generation)
        expect(new Set(generations).size).toBe(1)
        for (const answer of answers) tokens = tokensOf(answer)
        for (const server of servers) expect(await isGood(server, tokens.access)).toBe(true)
      }
      return tokens
    }

    const early = await beginSession(a, person)
    const idle = await beginSession(a, person)
    // Halfway through step 1: some servers accept the new key too, and all sign with the old key.
    const one = await serve(old, fresh)
    let tokens = await relay([a, one], early)
    expect(() => claimsOf(a, tokens.refresh)).not.toThrow()
    // Halfway through step 2: some servers sign with the new key, and the others accept it.
    const two = await serve(fresh, old)
    tokens = await relay([one, two], tokens)
    const theft = await beginSession(two, person)
    const stolen = await next(one, theft.refresh)
    const newest = await next(two, stolen.refresh)
    expectProblem(await refresh(one, theft.refresh), 'invalid_token')
    expectProblem(await refresh(two, newest.refresh), 'invalid_token')
    // A server that missed step 1 does not have the new key. Its refusals end no session.
    const ahead = await next(two, (await beginSession(two, person)).refresh)
    expectProblem(await refresh(a, ahead.refresh), 'invalid_token')
    await next(one, ahead.refresh)
    // An unused token of the old key is valid until the old key is removed.
    const woken = await next(two, idle.refresh)
    const asleep = await beginSession(a, person)
    // Step 3: the old key is removed.
    await rewrapSecrets(two.context)
    const three = await serve(fresh, null)
    await relay([two, three], woken)
    expectProblem(await refresh(three, asleep.refresh), 'invalid_token')
    expect(await isActive(two, asleep.refresh)).toBe(true)
    for (const server of started) await server.stop()
  })
})
