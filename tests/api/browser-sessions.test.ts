import { describe, expect, test } from 'bun:test'
import { DAY_MS, MINUTE_MS } from '../../src/lib/time.ts'
import { readCookieToken } from '../../src/lib/tokens.ts'
import { ask, cookieOf, OWN, signIn } from '../support/browser.ts'
import { type Answer, call, logIn, newPerson, type Person } from '../support/client.ts'
import { everyLimit } from '../support/limits.ts'
import { addPerson, PASSWORD } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService, type TestService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const person = prepare(() => newPerson(service))

const setCookie = ({ headers }: Answer) => headers.get('set-cookie') ?? ''
const tokenOf = (cookie: string, at: TestService = service) =>
  ask(at, 'POST /session/token', { headers: { cookie } })
const isAlive = async (cookie: string) => (await tokenOf(cookie)).status === 200
const claimsOf = (jwt: string) =>
  JSON.parse(atob((jwt.split('.')[1] ?? '').replace(/-/g, '+').replace(/_/g, '/')))
const sessionIdOf = (cookie: string) =>
  readCookieToken(service.context.keys.cookie, cookie.split('=')[1] ?? '')?.sessionId ?? ''

async function newAdmin(): Promise<{ id: string; email: string; password: string }> {
  const { id, email } = await addPerson(sql, { role: 'admin' })
  return { id, email, password: PASSWORD }
}

/** Waits out a use, minute by minute, or sits still for the whole time. */
async function pass(minutes: number): Promise<void> {
  service.advance(minutes * MINUTE_MS)
}

describe('the cookie', () => {
  test('over plain http: its own name, HttpOnly, SameSite=Lax, the whole path, and no end', async () => {
    const answer = await ask(service, 'POST /session', { json: credentialsOf(person) })
    expect([answer.status, answer.text]).toEqual([204, ''])
    expect(setCookie(answer)).toMatch(/^latchkey=st_[0-9A-Za-z]{90,120}; Path=\/; HttpOnly; SameSite=Lax$/)
  })

  test('over https: __Host- and Secure besides', async () => {
    const secure = await startService({ publicUrl: 'https://auth.example.com' }, service)
    try {
      const answer = await ask(secure, 'POST /session', { json: credentialsOf(person) })
      expect(setCookie(answer)).toMatch(
        /^__Host-latchkey=st_[0-9A-Za-z]+; Path=\/; Secure; HttpOnly; SameSite=Lax$/,
      )
      const cookie = cookieOf(answer) ?? ''
      expect((await tokenOf(cookie, secure)).status).toBe(200)
      // The name of plain http is never read there, nor the other way round.
      const plain = cookie.replace('__Host-', '')
      expectProblem(await tokenOf(plain, secure), 'missing_credential')
      expectProblem(await tokenOf(cookie), 'missing_credential')
      expect((await tokenOf(plain)).status).toBe(200)
    } finally {
      await secure.stop()
    }
  })

  test('that is tossed beside ours makes both worthless', async () => {
    const mine = await signIn(service, person)
    const other = await signIn(service, await newPerson(service))
    expect(await isAlive(mine.cookie)).toBe(true)
    expectProblem(await tokenOf(`${other.cookie}; ${mine.cookie}`), 'missing_credential')
    expectProblem(await tokenOf(`${mine.cookie}; ${other.cookie}`), 'missing_credential')
    expect(await isAlive(`a=b; ${mine.cookie}; xlatchkey=st_1`)).toBe(true)
  })

  test('that is forged, cut, or of an API session opens nothing', async () => {
    const { cookie } = await signIn(service, person)
    const { refresh, access } = await logIn(service, person.email, person.password)
    const forged = [
      `${cookie.slice(0, -1)}${cookie.endsWith('0') ? '1' : '0'}`,
      cookie.slice(0, -1),
      `${cookie}0`,
      'latchkey=',
      'latchkey=st_',
      `latchkey=${refresh}`,
      `latchkey=${access}`,
      `latchkey=${'9'.repeat(5000)}`,
    ]
    for (const value of forged) expectProblem(await tokenOf(value), 'missing_credential')
    expect(await isAlive(cookie)).toBe(true)
  })

  test('is no credential of the API', async () => {
    const { cookie } = await signIn(service, person)
    for (const route of ['GET /auth/me', 'GET /keys', 'POST /auth/logout-all', 'GET /auth/sessions'])
      expectProblem(await ask(service, route, { headers: { cookie } }), 'missing_credential')
    const value = cookie.split('=')[1] ?? ''
    expectProblem(await call(service, 'GET /auth/me', { bearer: value }), 'invalid_token')
    const json = { refresh_token: value }
    expectProblem(await call(service, 'POST /auth/refresh', { json }), 'invalid_token')
  })

  test('works on another server with the same key, and after the key was replaced', async () => {
    const { cookie } = await signIn(service, person)
    const next = await startService({}, service)
    try {
      expect((await tokenOf(cookie, next)).status).toBe(200)
      const rotated = {
        ...next.context.keys,
        cookie: [new Uint8Array(32).fill(1), ...next.context.keys.cookie],
      }
      const before = next.context.keys
      next.context.keys = rotated
      expect((await tokenOf(cookie, next)).status).toBe(200)
      next.context.keys = { ...before, cookie: [new Uint8Array(32).fill(1)] }
      expectProblem(await tokenOf(cookie, next), 'missing_credential')
    } finally {
      await next.stop()
    }
  })
})

const credentialsOf = ({ email, password }: { email: string; password: string }) => ({ email, password })

describe('sign-in', () => {
  test('gives a new session each time, and ends the one of the cookie that came along', async () => {
    const first = await signIn(service, person)
    const second = await signIn(service, person, { headers: first })
    expect(sessionIdOf(second.cookie)).not.toBe(sessionIdOf(first.cookie))
    expect([await isAlive(first.cookie), await isAlive(second.cookie)]).toEqual([false, true])
    // Another browser's goes on.
    const third = await signIn(service, person)
    expect([await isAlive(second.cookie), await isAlive(third.cookie)]).toEqual([true, true])
  })

  test('ends a session that an attacker planted, also where it is the attacker’s own', async () => {
    const attacker = await signIn(service, await newPerson(service))
    const victim = await signIn(service, person, { headers: attacker })
    expect(victim.cookie).not.toBe(attacker.cookie)
    expect([await isAlive(attacker.cookie), await isAlive(victim.cookie)]).toEqual([false, true])
  })

  test('that fails sets no cookie and ends nothing', async () => {
    const { cookie } = await signIn(service, person)
    const json = { email: person.email, password: 'not-the-password' }
    const answer = await ask(service, 'POST /session', { json, headers: { cookie } })
    expectProblem(answer, 'invalid_login')
    expect(answer.headers.get('set-cookie')).toBeNull()
    expect(await isAlive(cookie)).toBe(true)
  })

  test('takes application/json alone', async () => {
    const raw = JSON.stringify(credentialsOf(person))
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data']) {
      const headers = { 'content-type': type }
      expectProblem(await ask(service, 'POST /session', { raw, headers }), 'unsupported_media_type')
    }
    const unknown = { ...credentialsOf(person), role: 'admin' }
    expectProblem(await ask(service, 'POST /session', { json: unknown }), 'validation_failed')
  })

  test('shows in the list of sessions what it is, and where it was used last', async () => {
    const someone = await newPerson(service)
    const headers = { 'user-agent': 'First' }
    const { cookie } = await signIn(service, someone, { headers })
    const list = async () =>
      (await call(service, 'GET /auth/sessions', { bearer: someone.access })).body.items.find(
        ({ kind }: { kind: string }) => kind === 'browser',
      )
    expect(await list()).toMatchObject({ kind: 'browser', amr: ['pwd'], user_agent: 'First', current: false })
    const before = await list()
    expect((await ask(service, 'POST /session/token', { headers: { cookie } })).status).toBe(200)
    expect((await list()).last_used_at).toBe(before.last_used_at)
    await pass(2)
    const later = { cookie, 'user-agent': 'Second' }
    expect((await ask(service, 'POST /session/token', { headers: later })).status).toBe(200)
    expect(await list()).toMatchObject({ user_agent: 'Second', login_user_agent: 'First' })
    expect((await list()).last_used_at > before.last_used_at).toBe(true)
  })

  test('ends the oldest of a hundred of its kind, and no API session', async () => {
    const someone = await newPerson(service)
    const { cookie } = await signIn(service, someone)
    const now = new Date(service.context.clock()).toISOString()
    await sql`
      INSERT INTO latchkey.sessions (id, kind, salt, user_id, auth_time, amr, created_at, rotated_at,
        idle_expires_at, expires_at)
      SELECT gen_random_uuid(), 'browser', decode(repeat('00', 16), 'hex'), ${someone.id}, ${now}, '{pwd}',
        ${now}, ${now}, ${now}::timestamptz + interval '1 day', ${now}::timestamptz + interval '1 day' FROM generate_series(1, 99)`
    const next = await signIn(service, someone)
    expect([await isAlive(cookie), await isAlive(next.cookie)]).toEqual([false, true])
    expect((await call(service, 'GET /auth/me', { bearer: someone.access })).status).toBe(200)
  })
})

describe('a browser session that is left alone', () => {
  test('ends after BROWSER_SESSION_IDLE_MINUTES, and goes on with each use', async () => {
    const { cookie } = await signIn(service, person)
    for (let hours = 0; hours < 3; hours++) {
      await pass(23 * 60)
      expect(await isAlive(cookie)).toBe(true)
    }
    await pass(24 * 60 + 1)
    expectProblem(await tokenOf(cookie), 'missing_credential')
  })

  test('ends after ADMIN_SESSION_IDLE_MINUTES for an admin, also for one who becomes one', async () => {
    const admin = await newAdmin()
    const { cookie } = await signIn(service, admin)
    const user = await newPerson(service)
    const ofUser = await signIn(service, user)
    await pass(59)
    expect([await isAlive(cookie), await isAlive(ofUser.cookie)]).toEqual([true, true])
    await pass(61)
    expect([await isAlive(cookie), await isAlive(ofUser.cookie)]).toEqual([false, true])
    await pass(61)
    await sql`UPDATE latchkey.users SET role = 'admin' WHERE id = ${user.id}`
    expect(await isAlive(ofUser.cookie)).toBe(false)
    await sql`UPDATE latchkey.users SET role = 'user' WHERE id = ${user.id}`
    expect(await isAlive(ofUser.cookie)).toBe(true)
  })

  test('with remember lasts as long as a refresh token, and the cookie until the absolute end', async () => {
    const json = { ...credentialsOf(person), remember: true }
    const answer = await ask(service, 'POST /session', { json })
    const [, seconds] = /; Max-Age=(\d+);/.exec(setCookie(answer)) ?? []
    const { sessionMaxDays, refreshTokenExpireDays } = service.config
    expect(Number(seconds)).toBeWithin(sessionMaxDays * 86400 - 5, sessionMaxDays * 86400 + 1)
    const cookie = cookieOf(answer) ?? ''
    await pass((refreshTokenExpireDays * DAY_MS) / MINUTE_MS - 5)
    expect(await isAlive(cookie)).toBe(true)
    await pass((refreshTokenExpireDays * DAY_MS) / MINUTE_MS + 5)
    expect(await isAlive(cookie)).toBe(false)
  })

  test('of an admin is not remembered', async () => {
    const admin = await newAdmin()
    const json = { ...credentialsOf(admin), remember: true }
    const answer = await ask(service, 'POST /session', { json })
    expect(setCookie(answer)).not.toContain('Max-Age')
    await pass(61)
    expect(await isAlive(cookieOf(answer) ?? '')).toBe(false)
  })

  test('ends at SESSION_MAX_DAYS however much it is used', async () => {
    const short = await startService({ sessionMaxDays: 1 }, service)
    try {
      const { cookie } = await signIn(short, person)
      short.advance(23 * 60 * MINUTE_MS)
      expect((await tokenOf(cookie, short)).status).toBe(200)
      short.advance(59 * MINUTE_MS)
      const { body } = await tokenOf(cookie, short)
      // The token does not outlive the session.
      expect(body.expires_in).toBeWithin(30, 61)
      short.advance(2 * MINUTE_MS)
      expectProblem(await tokenOf(cookie, short), 'missing_credential')
    } finally {
      await short.stop()
    }
  })

  test('is not written at each use', async () => {
    const { cookie } = await signIn(service, person)
    const written = async () => {
      const [row] =
        await sql`SELECT xmin::text, rotated_at FROM latchkey.sessions WHERE id = ${sessionIdOf(cookie)}`
      return `${row?.xmin}`
    }
    const before = await written()
    await tokenOf(cookie)
    expect(await written()).toBe(before)
    await pass(2)
    await tokenOf(cookie)
    expect(await written()).not.toBe(before)
  })
})

describe('a token of the session', () => {
  test('is a user’s access token for five minutes, with the session’s own facts, and no refresh token', async () => {
    const { cookie } = await signIn(service, person)
    const { status, body } = await tokenOf(cookie)
    expect([status, Object.keys(body).sort()]).toEqual([200, ['access_token', 'expires_in', 'token_type']])
    expect([body.token_type, body.expires_in]).toEqual(['bearer', 300])
    const claims = claimsOf(body.access_token)
    expect(claims).toMatchObject({ sub: person.id, sid: sessionIdOf(cookie), amr: ['pwd'] })
    expect(claims.exp - claims.iat).toBe(300)
    expect((await call(service, 'GET /auth/me', { bearer: body.access_token })).body.id).toBe(person.id)
    await pass(6)
    expectProblem(await call(service, 'GET /auth/me', { bearer: body.access_token }), 'invalid_token')
  })

  test('without a cookie is 401 without a challenge, so that no browser asks for a password', async () => {
    for (const route of ['POST /session/token', 'POST /session/password']) {
      const answer = await ask(service, route, { json: {} })
      expectProblem(answer, 'missing_credential')
      expect(answer.headers.get('www-authenticate')).toBeNull()
    }
    // The control: the API challenges.
    expect((await call(service, 'GET /auth/me')).headers.get('www-authenticate')).toStartWith('Bearer')
  })

  test('does not change the password of an API session: /auth/password names the route that does', async () => {
    const { cookie } = await signIn(service, person)
    const bearer = (await tokenOf(cookie)).body.access_token
    const json = { current_password: person.password, new_password: 'a-quite-different-one' }
    const answer = await call(service, 'POST /auth/password', { json, bearer })
    expectProblem(answer, 'wrong_credential_kind')
    expect(answer.body.detail).toContain('/session/password')
  })

  test('dies with the session', async () => {
    const { cookie } = await signIn(service, person)
    const bearer = (await tokenOf(cookie)).body.access_token
    expect((await call(service, 'GET /auth/me', { bearer })).status).toBe(200)
    expect((await ask(service, 'DELETE /session', { headers: { cookie } })).status).toBe(204)
    expectProblem(await call(service, 'GET /auth/me', { bearer }), 'invalid_token')
  })
})

describe('sign-out', () => {
  test('ends the session, clears the cookie with the same attributes, and is 204 again', async () => {
    const { cookie } = await signIn(service, person)
    for (const headers of [{ cookie }, { cookie }, { cookie: 'latchkey=nonsense' }, undefined]) {
      const answer = await ask(service, 'DELETE /session', headers ? { headers } : {})
      expect([answer.status, setCookie(answer)]).toEqual([
        204,
        'latchkey=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax',
      ])
    }
    expect(await isAlive(cookie)).toBe(false)
    const [event] = await sql`SELECT actor_id, details FROM latchkey.audit_events
      WHERE action = 'session.ended' AND target_id = ${sessionIdOf(cookie)}`
    expect(event).toMatchObject({ actor_id: person.id, details: { reason: 'logout' } })
  })
})

describe('a password change in the browser', () => {
  const NEXT = 'a-quite-different-one'
  const change = (cookie: string, json: object, at: TestService = service) =>
    ask(at, 'POST /session/password', { json, headers: { cookie } })

  test('ends every other session, and the cookie from before; this session goes on by the new one', async () => {
    const someone = await newPerson(service)
    const [here, elsewhere] = [await signIn(service, someone), await signIn(service, someone)]
    const answer = await change(here.cookie, { current_password: someone.password, new_password: NEXT })
    expect([answer.status, Object.keys(answer.body).sort()]).toEqual([
      200,
      ['access_token', 'expires_in', 'token_type'],
    ])
    const next = cookieOf(answer) ?? ''
    expect(sessionIdOf(next)).toBe(sessionIdOf(here.cookie))
    expect(next).not.toBe(here.cookie)
    expect([await isAlive(here.cookie), await isAlive(elsewhere.cookie), await isAlive(next)]).toEqual([
      false,
      false,
      true,
    ])
    expectProblem(await call(service, 'GET /auth/me', { bearer: someone.access }), 'invalid_token')
    expect((await call(service, 'GET /auth/me', { bearer: answer.body.access_token })).status).toBe(200)
    expect((await logIn(service, someone.email, NEXT)).access).toBeString()
  })

  test('needs the current password, and keeps the cookie where it is wrong or missing', async () => {
    const someone = await newPerson(service)
    const { cookie } = await signIn(service, someone)
    const wrong = await change(cookie, { current_password: 'wrong', new_password: NEXT })
    expectProblem(wrong, 'invalid_login')
    expect(wrong.headers.get('set-cookie')).toBeNull()
    expect(await isAlive(cookie)).toBe(true)
    const weak = await change(cookie, { current_password: someone.password, new_password: 'short' })
    expectProblem(weak, 'validation_failed')
    expect((await logIn(service, someone.email, someone.password)).access).toBeString()
  })

  test('leaves the keys, unless revoke_keys asks for their end', async () => {
    const someone = await newPerson(service)
    const key = (await call(service, 'POST /keys', { bearer: someone.access, json: {} })).body.key
    const { cookie } = await signIn(service, someone)
    const first = await change(cookie, { current_password: someone.password, new_password: NEXT })
    expect((await call(service, 'GET /auth/me', { apiKey: key })).status).toBe(200)
    const json = { current_password: NEXT, new_password: `${NEXT}-again`, revoke_keys: true }
    expect((await change(cookieOf(first) ?? '', json)).status).toBe(200)
    expectProblem(await call(service, 'GET /auth/me', { apiKey: key }), 'invalid_token')
  })

  test('of two at once is made once', async () => {
    const someone = await newPerson(service)
    const { cookie } = await signIn(service, someone)
    const other = await startService({}, service)
    try {
      const answers = await Promise.all(
        [service, other].map((at, n) =>
          change(cookie, { current_password: someone.password, new_password: `${NEXT}-${n}` }, at),
        ),
      )
      const statuses = answers.map(({ status }) => status).sort()
      expect(statuses[0]).toBe(200)
      expect(statuses[1]).toBeOneOf([401, 409])
      const winner = answers.find(({ status }) => status === 200)
      expect(await isAlive((winner && cookieOf(winner)) ?? '')).toBe(true)
    } finally {
      await other.stop()
    }
  })
})

describe('limits', () => {
  const limited = useService({ rateLimits: tight() })
  let someone: Person
  const fill = async (count: number, ask: () => Promise<Answer>) => {
    const statuses: number[] = []
    for (let n = 0; n < count; n++) statuses.push((await ask()).status)
    return statuses
  }

  test('refresh counts tokens by session, and password new passwords by session and address', async () => {
    someone = await newPerson(limited)
    const [one, two] = [await signIn(limited, someone), await signIn(limited, someone)]
    const ofOne = () => ask(limited, 'POST /session/token', { headers: one })
    expect(await fill(4, ofOne)).toEqual([200, 200, 200, 429])
    // Another session at the same address, and the refresh tokens of the address, have their own.
    expect((await ask(limited, 'POST /session/token', { headers: two })).status).toBe(200)
    const guess = (headers: { cookie: string }) => () =>
      ask(limited, 'POST /session/password', {
        json: { current_password: 'wrong', new_password: 'a-quite-different-one' },
        headers,
      })
    expect(await fill(3, guess(one))).toEqual([401, 401, 429])
    expect(await fill(1, guess(two))).toEqual([401])
  })

  test('login counts /session and the form of /login together', async () => {
    const json = { email: 'nobody@example.com', password: 'x' }
    limited.advance(61_000)
    const statuses = [
      ...(await fill(3, () => ask(limited, 'POST /session', { json }))),
      ...(await fill(3, () => ask(limited, 'POST /login', { form: json }))),
    ]
    expect(statuses.filter((status) => status === 401).length).toBeLessThanOrEqual(5)
    expect(statuses.at(-1)).toBe(429)
  })

  test('signup counts the form of /signup', async () => {
    const form = { email: 'no-address', password: 'x' }
    expect(await fill(4, () => ask(limited, 'POST /signup', { form }))).toEqual([422, 422, 422, 429])
  })
})

function tight() {
  return {
    ...everyLimit({ limit: 1000, windowSeconds: 60 }),
    signup: { limit: 4, windowSeconds: 3600 },
    login: { limit: 5, windowSeconds: 60 },
    refresh: { limit: 3, windowSeconds: 60 },
    password: { limit: 2, windowSeconds: 60 },
  }
}

test('no answer has CORS headers below /session or of a page, and none that has them sets a cookie', async () => {
  const origin = 'https://app.example.com'
  const open = await startService({ corsOrigins: [origin] }, service)
  const allowed = ({ headers }: Answer) =>
    [...headers.keys()].filter((name) => name.startsWith('access-control'))
  try {
    const html = { accept: 'text/html' }
    const asked: [string, Record<string, string>?][] = [
      ['POST /session', OWN],
      ['POST /session'],
      ['OPTIONS /session', { 'access-control-request-method': 'POST' }],
      ['POST /session/token', OWN],
      ['GET /session/nothing'],
      ['GET /login'],
      ['GET /login/'],
      ['OPTIONS /login', { 'access-control-request-method': 'POST' }],
      ['GET /', html],
      ['GET /pages/style.css'],
    ]
    for (const [route, headers] of asked) {
      const answer = await call(open, route, { headers: { origin, ...headers } })
      expect([route, allowed(answer)]).toEqual([route, []])
    }
    // The control: the API has them.
    for (const route of ['GET /', 'POST /auth/login', 'OPTIONS /auth/login']) {
      const answer = await call(open, route, { headers: { origin } })
      expect(answer.headers.get('access-control-allow-origin')).toBe(origin)
      expect(answer.headers.get('set-cookie')).toBeNull()
    }
  } finally {
    await open.stop()
  }
})
