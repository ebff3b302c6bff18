import { beforeAll, describe, expect, spyOn, test } from 'bun:test'
import { decodeJwt } from 'jose'
import { OWASP_COST } from '../../src/core/passwords/hasher.ts'
import { type Call, call, newPerson } from '../support/client.ts'
import { comparable, expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService({ passwordCost: OWASP_COST })
const sql = useSql(service)
const person = prepare(() => newPerson(service))
const disabled = prepare(() => newPerson(service))
const passwordless = prepare(() => newPerson(service))
beforeAll(async () => {
  await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${disabled.id}`
  await sql`UPDATE latchkey.users SET password_hash = NULL WHERE id = ${passwordless.id}`
})

const logIn = (email: string, password: string, more: Call = {}) =>
  call(service, 'POST /auth/login', { json: { email, password }, ...more })

describe('a login', () => {
  test('answers exactly a pair of tokens', async () => {
    const answer = await logIn(person.email, person.password)
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({
      access_token: expect.stringMatching(/^eyJ[\w-]+\.[\w-]+\.[\w-]+$/),
      refresh_token: expect.stringMatching(/^rt_[0-9A-Za-z]{78}$/),
      token_type: 'bearer',
      expires_in: 1800,
    })
    expect(answer.headers.get('cache-control')).toBe('no-store')
  })

  test('accepts any spelling of the e-mail', async () => {
    for (const email of [person.email.toUpperCase(), `  ${person.email}\n`, `\u00a0${person.email}`])
      expect((await logIn(email, person.password)).status).toBe(200)
  })

  test('ignores other members, for example a role', async () => {
    const json = { email: person.email, password: person.password, role: 'admin', remember: true }
    const answer = await call(service, 'POST /auth/login', { json })
    expect(answer.status).toBe(200)
    expect(decodeJwt(answer.body.access_token).role).toBe('user')
  })

  test.each<[scopes: unknown]>([[5], ['read'], [{}], [['latchkey:users.read']]])(
    'ignores the member scopes: %p has no effect',
    async (scopes) => {
      const json = { email: person.email, password: person.password, scopes }
      const answer = await call(service, 'POST /auth/login', { json })
      expect(answer.status).toBe(200)
      expect(decodeJwt(answer.body.access_token).scope).toBe('read write')
    },
  )

  test('gives an access token of the user who logged in', async () => {
    const answer = await call(service, 'GET /auth/me', { bearer: person.access })
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({
      type: 'user',
      id: person.id,
      email: person.email,
      email_verified: false,
      role: 'user',
      is_active: true,
      created_at: expect.stringMatching(/Z$/),
      auth_type: 'jwt',
      scopes: ['read', 'write'],
    })
  })

  test('starts a session with the address and the User-Agent of the client', async () => {
    const userAgent = `Browser/1.0 ${'é'.repeat(300)}`
    const answer = await logIn(person.email, person.password, {
      headers: { 'user-agent': encodeURIComponent(userAgent) },
    })
    const id = String(decodeJwt(answer.body.access_token).sid)
    const [session] = await sql`SELECT * FROM latchkey.sessions WHERE id = ${id}`
    expect(session).toMatchObject({ user_id: person.id, ip: '127.0.0.1', ended_at: null, generation: '0' })
    expect(session?.user_agent).toBe(encodeURIComponent(userAgent).slice(0, 255))
    expect(session?.salt).toHaveLength(16)
  })

  test('is audited, also when it fails, without the typed e-mail and password', async () => {
    const before = new Date()
    await logIn(person.email, person.password)
    await logIn(person.email, 'wrong-password-typed')
    await logIn('nobody-whom-we-know@example.com', 'wrong-password-typed')
    const rows = await sql`SELECT * FROM latchkey.audit_events WHERE at >= ${before} ORDER BY id`
    expect(rows.map((row) => [row.action, row.outcome, row.actor_type, row.target_id])).toEqual([
      ['user.login', 'success', 'user', person.id],
      ['user.login_failed', 'refused', 'anonymous', person.id],
      ['user.login_failed', 'refused', 'anonymous', null],
    ])
    const text = JSON.stringify(rows) + service.loggedText()
    for (const typed of ['wrong-password-typed', 'nobody-whom-we-know', person.password])
      expect(text).not.toContain(typed)
  })
})

describe('a login that fails', () => {
  const cases = (): [string, string, string][] => [
    ['unknown', 'nobody@example.com', person.password],
    ['wrong', person.email, 'not-the-password'],
    ['disabled, with the right password', disabled.email, disabled.password],
    ['disabled, with a wrong password', disabled.email, 'not-the-password'],
    ['without a password, with anything', passwordless.email, passwordless.password],
    ['wrong by case', person.email, person.password.toUpperCase()],
    ['empty', person.email, ''],
    ['too long', person.email, 'a'.repeat(1025)],
    ['no address', 'not an address', person.password],
    ['address too long', `${'a'.repeat(300)}@example.com`, person.password],
  ]

  test('has the same answer for every reason', async () => {
    const [first, ...others] = await Promise.all(cases().map(([, email, password]) => logIn(email, password)))
    if (!first) throw new Error('No answer')
    expectProblem(first, 'invalid_login')
    expect(first.body.detail).toBe('Incorrect email or password')
    expect(first.headers.has('www-authenticate')).toBe(false)
    for (const other of others) expect(comparable(other)).toEqual(comparable(first))
    expect((await logIn(person.email, person.password)).status).toBe(200)
  })

  test('has the same answer for every reason at /oauth/token too', async () => {
    const attempts = cases().filter(([, , password]) => password !== '')
    const [first, ...others] = await Promise.all(
      attempts.map(([, username, password]) =>
        call(service, 'POST /oauth/token', { form: { grant_type: 'password', username, password } }),
      ),
    )
    if (!first) throw new Error('No answer')
    expect([first.status, first.body.error]).toEqual([400, 'invalid_grant'])
    for (const other of others) expect(comparable(other)).toEqual(comparable(first))
  })

  test('does the same work for every reason: one hash of the present kind, one counted attempt', async () => {
    await sql`DELETE FROM latchkey.login_attempts`
    const hashing = spyOn(Bun.password, 'verify')
    const work: unknown[] = []
    for (const email of ['nobody-else@example.com', person.email, disabled.email, passwordless.email]) {
      hashing.mockClear()
      expectProblem(await logIn(email, 'not-the-password'), 'invalid_login')
      const kinds = hashing.mock.calls.map(([, hash]) => String(hash).split('$').slice(0, 4).join('$'))
      const attempts = await sql`DELETE FROM latchkey.login_attempts RETURNING attempts`
      work.push({ kinds, attempts: attempts.map((row) => row.attempts) })
    }
    hashing.mockRestore()
    expect(work).toEqual(
      Array.from({ length: 4 }, () => ({ kinds: ['$argon2id$v=19$m=19456,t=2,p=1'], attempts: [1] })),
    )
  })

  test('starts no session', async () => {
    const count = async () => (await sql`SELECT count(*)::int AS n FROM latchkey.sessions`)[0]?.n
    const before = await count()
    for (const [, email, password] of cases()) await logIn(email, password)
    expect(await count()).toBe(before)
    await sql`DELETE FROM latchkey.login_attempts`
    await logIn(person.email, person.password)
    expect(await count()).toBe(before + 1)
  })
})

describe('the account of a disabled user', () => {
  test('is accepted again when it is enabled', async () => {
    const other = await newPerson(service)
    await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${other.id}`
    expectProblem(await logIn(other.email, other.password), 'invalid_login')
    await sql`UPDATE latchkey.users SET is_active = true WHERE id = ${other.id}`
    expect((await logIn(other.email, other.password)).status).toBe(200)
  })
})
