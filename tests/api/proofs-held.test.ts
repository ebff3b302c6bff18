import { describe, expect, test } from 'bun:test'
import { tokenOf } from '../../src/core/one-time-tokens/one-time-tokens.ts'
import { UNSENT_MAIL } from '../support/authority.ts'
import { ask, signIn } from '../support/browser.ts'
import { type Answer, call } from '../support/client.ts'
import { sendMeanwhile } from '../support/meanwhile.ts'
import { type AddedPerson, addLoggedIn, addPerson, PASSWORD, type Tokens } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { CHEAPEST } from '../support/service.ts'
import { useService, useSql } from '../support/use-service.ts'

// A proof is good on arrival, and the change that it is for has to wait. What it proved ends before the change begins.

const service = useService({ ...UNSENT_MAIL })
const [holder, sql] = [useSql(service), useSql(service)]
const at = { holder, watcher: sql }

const NEXT = 'a-quite-different-one'
const nextHash = Bun.password.hash(NEXT, { algorithm: 'argon2id', ...CHEAPEST })

type Somebody = AddedPerson & Tokens & { cookie: string; token: string }

async function somebody(): Promise<Somebody> {
  const person = await addLoggedIn(service, sql)
  const { cookie } = await signIn(service, { email: person.email, password: PASSWORD })
  const id = Bun.randomUUIDv7()
  await sql`INSERT INTO latchkey.one_time_tokens (id, purpose, user_id, email, created_at, expires_at)
    VALUES (${id}, 'verify', ${person.id}, ${person.email}, now(), now() + interval '1 hour')`
  return { ...person, cookie, token: tokenOf(service.context, { id, purpose: 'verify' }) }
}

/** Whatever the routes below may leave behind. */
async function traceOf({ id }: Somebody) {
  const [user] = await sql`SELECT email, email_verified, password_hash FROM latchkey.users WHERE id = ${id}`
  const [counts] = await sql`SELECT
    (SELECT count(*)::int FROM latchkey.sessions WHERE user_id = ${id} AND ended_at IS NULL) AS sessions,
    (SELECT max(auth_time) FROM latchkey.sessions WHERE user_id = ${id}) AS auth_time,
    (SELECT count(*)::int FROM latchkey.pending_steps WHERE user_id = ${id}) AS steps,
    (SELECT count(*)::int FROM latchkey.totp_secrets WHERE user_id = ${id}) AS totp,
    (SELECT count(*)::int FROM latchkey.mails WHERE user_id = ${id}) AS mails,
    (SELECT count(*)::int FROM latchkey.one_time_tokens WHERE user_id = ${id} AND used_at IS NOT NULL) AS tokens`
  return { ...user, ...counts }
}

type Request = {
  send(person: Somebody): Promise<Answer>
  /** The answer where the password is another one meanwhile. */
  refused: Parameters<typeof expectProblem>[1]
  right: number
  /** Whether it is for somebody who is signed in. */
  isSignedIn: boolean
}

const form = (person: Somebody) => ({ grant_type: 'password', username: person.email, password: PASSWORD })
const credentials = ({ email }: Somebody) => ({ email, password: PASSWORD })
const proof = { current_password: PASSWORD }

const REQUESTS: Record<string, Request> = {
  'DELETE /auth/me': {
    send: ({ access }) => call(service, 'DELETE /auth/me', { bearer: access, json: proof }),
    refused: 'conflict',
    right: 204,
    isSignedIn: true,
  },
  'POST /auth/password': {
    send: ({ access }) =>
      call(service, 'POST /auth/password', {
        bearer: access,
        json: { ...proof, new_password: 'and-a-third-password' },
      }),
    refused: 'conflict',
    right: 200,
    isSignedIn: true,
  },
  'POST /session/password': {
    send: ({ cookie }) =>
      ask(service, 'POST /session/password', {
        headers: { cookie },
        json: { ...proof, new_password: 'and-a-third-password' },
      }),
    refused: 'conflict',
    right: 200,
    isSignedIn: true,
  },
  'POST /auth/email': {
    send: ({ access, id }) =>
      call(service, 'POST /auth/email', { bearer: access, json: { ...proof, email: `${id}@example.org` } }),
    refused: 'conflict',
    right: 202,
    isSignedIn: true,
  },
  'POST /auth/reauthenticate': {
    send: ({ access }) =>
      call(service, 'POST /auth/reauthenticate', { bearer: access, json: { password: PASSWORD } }),
    refused: 'conflict',
    right: 200,
    isSignedIn: true,
  },
  'POST /auth/login': {
    send: (person) => call(service, 'POST /auth/login', { json: credentials(person) }),
    refused: 'invalid_login',
    right: 200,
    isSignedIn: false,
  },
  'POST /auth/verify-email': {
    send: (person) =>
      call(service, 'POST /auth/verify-email', { json: { token: person.token, password: PASSWORD } }),
    refused: 'invalid_login',
    right: 200,
    isSignedIn: false,
  },
  'POST /session': {
    send: (person) => ask(service, 'POST /session', { json: credentials(person) }),
    refused: 'invalid_login',
    right: 204,
    isSignedIn: false,
  },
}
const routes = Object.keys(REQUESTS)
const requestOf = (route: string): Request => {
  const request = REQUESTS[route]
  if (!request) throw new Error(route)
  return request
}

describe('a password that was right on arrival', () => {
  test.each(routes)('%s: and was changed before the change began, is refused', async (route) => {
    const { send, refused } = requestOf(route)
    const person = await somebody()
    const hash = await nextHash
    const before = await traceOf(person)
    const answer = await sendMeanwhile(at, {
      work: (tx) => tx`UPDATE latchkey.users SET password_hash = ${hash}, password_changed_at = now()
        WHERE id = ${person.id}`,
      send: () => send(person),
    })
    expectProblem(answer, refused)
    expect(await traceOf(person)).toEqual({ ...before, password_hash: hash })
  })

  test.each(routes)('%s: is taken where the change before it is rolled back', async (route) => {
    const { send, right } = requestOf(route)
    const person = await somebody()
    const answer = await sendMeanwhile(at, {
      work: (tx) => tx`SELECT FROM latchkey.users WHERE id = ${person.id} FOR UPDATE`,
      send: () => send(person),
    })
    expect([answer.status, answer.text]).toEqual([right, answer.text])
  })

  test.each(routes.filter((route) => requestOf(route).isSignedIn))(
    '%s: is not enough any more once there is a second factor',
    async (route) => {
      const person = await somebody()
      await sql`UPDATE latchkey.sessions SET auth_time = auth_time - interval '11 minutes' WHERE user_id = ${person.id}`
      const before = await traceOf(person)
      const answer = await sendMeanwhile(at, {
        work: (tx) => tx`UPDATE latchkey.users SET has_second_factor = true WHERE id = ${person.id}`,
        send: () => requestOf(route).send(person),
      })
      const isProof = route === 'POST /auth/reauthenticate'
      expectProblem(answer, isProof ? 'mfa_required' : 'reauthentication_required')
      expect(await traceOf(person)).toEqual(before)
    },
  )

  test('the password grant is refused where it was changed before the session began', async () => {
    const person = await somebody()
    const hash = await nextHash
    const before = await traceOf(person)
    const answer = await sendMeanwhile(at, {
      work: (tx) => tx`UPDATE latchkey.users SET password_hash = ${hash}, password_changed_at = now()
        WHERE id = ${person.id}`,
      send: () => call(service, 'POST /oauth/token', { form: form(person) }),
    })
    expect([answer.status, answer.body.error]).toEqual([400, 'invalid_grant'])
    expect(await traceOf(person)).toEqual({ ...before, password_hash: hash })
  })
})

test('somebody without a password deletes their account only while the proof of their session is recent', async () => {
  const person = await somebody()
  await sql`UPDATE latchkey.users SET password_hash = NULL WHERE id = ${person.id}`
  const remove = () => call(service, 'DELETE /auth/me', { bearer: person.access })
  const answer = await sendMeanwhile(at, {
    work: (tx) => tx`UPDATE latchkey.sessions SET auth_time = auth_time - interval '11 minutes'
      WHERE user_id = ${person.id}`,
    send: remove,
  })
  expectProblem(answer, 'reauthentication_required')
  await sql`UPDATE latchkey.sessions SET auth_time = now() WHERE user_id = ${person.id}`
  expect((await remove()).status).toBe(204)
})

describe('the page of enrolment', () => {
  const begin = ({ cookie }: Somebody) =>
    ask(service, 'POST /login/enrol', { form: {}, headers: { cookie, accept: 'text/html' } })
  const countSecrets = async ({ id }: Somebody) =>
    (await sql`SELECT FROM latchkey.totp_secrets WHERE user_id = ${id}`).length

  test('asks for a new sign-in where the proof of the session is taken back before the change began', async () => {
    const person = await somebody()
    const answer = await sendMeanwhile(at, {
      work: (tx) => tx`UPDATE latchkey.sessions SET auth_time = auth_time - interval '11 minutes'
        WHERE user_id = ${person.id}`,
      send: () => begin(person),
    })
    expect([answer.status, answer.headers.get('location')]).toEqual([303, expect.stringContaining('/login?')])
    expect(await countSecrets(person)).toBe(0)
  })

  test('asks for one where the cookie was replaced by a newer one before the change began', async () => {
    const person = await somebody()
    const answer = await sendMeanwhile(at, {
      work: (tx) =>
        tx`UPDATE latchkey.sessions SET salt = ${Buffer.alloc(16, 1)} WHERE user_id = ${person.id}`,
      send: () => begin(person),
    })
    expect([answer.status, answer.headers.get('location')]).toEqual([303, expect.stringContaining('/login?')])
    expect(await countSecrets(person)).toBe(0)
  })

  test('makes the secret where neither happens after all', async () => {
    const person = await somebody()
    const answer = await sendMeanwhile(at, {
      work: (tx) => tx`SELECT FROM latchkey.sessions WHERE user_id = ${person.id} FOR UPDATE`,
      send: () => begin(person),
    })
    expect(answer.status).toBe(200)
    expect(await countSecrets(person)).toBe(1)
  })
})

describe('an admin who is none any more when the change begins, but may make users', () => {
  const invite = (bearer: string, email: string) =>
    call(service, 'POST /users', { bearer, json: { email, invite: true } })
  const newAdmin = () =>
    addLoggedIn(service, sql, { role: 'admin', scopes: ['latchkey:users.write', 'read', 'write'] })

  test('invites nobody', async () => {
    const admin = await newAdmin()
    const email = `${Bun.randomUUIDv7()}@example.com`
    const answer = await sendMeanwhile(at, {
      work: (tx) => tx`UPDATE latchkey.users SET role = 'user' WHERE id = ${admin.id}`,
      send: () => invite(admin.access, email),
    })
    expectProblem(answer, 'forbidden')
    expect(await sql`SELECT FROM latchkey.users WHERE email = ${email}`).toHaveLength(0)
    expect((await invite((await newAdmin()).access, email)).status).toBe(201)
  })

  test('with support left alone lowers nobody', async () => {
    const caller = await addLoggedIn(service, sql, {
      scopes: ['latchkey:users.write', 'latchkey:support', 'read'],
    })
    const target = await addPerson(sql, { scopes: ['read'] })
    const lower = () =>
      call(service, `PATCH /users/${target.id}`, { bearer: caller.access, json: { scopes: [] } })
    const answer = await sendMeanwhile(at, {
      work: (tx) => tx`UPDATE latchkey.users SET scopes = '{latchkey:support}' WHERE id = ${caller.id}`,
      send: lower,
    })
    expectProblem(answer, 'forbidden')
    expect((await sql`SELECT scopes FROM latchkey.users WHERE id = ${target.id}`)[0]?.scopes).toEqual([
      'read',
    ])
    await sql`UPDATE latchkey.users SET scopes = '{latchkey:users.write,latchkey:support,read}' WHERE id = ${caller.id}`
    expect((await lower()).status).toBe(200)
  })
})
