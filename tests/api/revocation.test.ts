import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { recallCredential } from '../../src/core/verify/verify-credential.ts'
import { type Answer, call, logIn, newKey, newPerson, type Person } from '../support/client.ts'
import { partsOf } from '../support/forge.ts'
import { expectProblem } from '../support/problem.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'

let service: TestService
let second: TestService
let sql: postgres.Sql
let admin: Person
beforeAll(async () => {
  service = await startService()
  second = await startService({}, service)
  sql = postgres(service.databaseUrl, { max: 2 })
  admin = await newPerson(service)
  await sql`UPDATE latchkey.users SET role = 'admin' WHERE id = ${admin.id}`
})
afterAll(async () => {
  await sql.end()
  await second.stop()
  await service.stop()
})

const servers = () => [service, second]
const sessionIdOf = (person: Person) => String(partsOf(person.access).payload.sid)
const me = (at: TestService, bearer: string) => call(at, 'GET /auth/me', { bearer })

/** The answers to a person's access token and key, as a text. */
async function standing(at: TestService, who: Subject): Promise<string> {
  const { status, body } = await me(at, who.access)
  const adminRoute = await call(at, 'GET /protected/admin', { bearer: who.access })
  const key = await call(at, 'GET /protected/any', { apiKey: who.key })
  const token = status === 200 ? `${body.role} ${body.scopes.join(',')}` : String(status)
  return `token: ${token}, admin route: ${adminRoute.status}, key: ${key.status}`
}

const DEAD = 'token: 401, admin route: 401, key: 401'
const SESSION_OVER = 'token: 401, admin route: 401, key: 200'
const AS_BEFORE = 'token: user read,write, admin route: 403, key: 200'
const AS_ADMIN = 'token: admin read,write, admin route: 200, key: 200'

type Subject = Person & { key: string }

/** A person whose credentials both servers have cached. Only an eviction makes them ask the database again. */
async function newSubject(among = servers()): Promise<Subject> {
  const [first = service] = among
  const person = await newPerson(first)
  const { key } = await newKey(first, person.access, { scopes: 'read' })
  const subject = { ...person, key }
  for (const at of among) {
    await until(async () => {
      expect(await standing(at, subject)).toBe(AS_BEFORE)
      return [subject.access, key].every((token) => recallCredential(at.context, token) !== null)
    }, 'the credentials are remembered')
  }
  return subject
}

type Change = (at: TestService, who: Subject, admin: Person) => Promise<Answer>

const patch =
  (json: unknown): Change =>
  (at, who, by) =>
    call(at, `PATCH /users/${who.id}`, { bearer: by.access, json })

const CHANGES: [name: string, change: Change, after: string][] = [
  ['logout', (at, who) => call(at, 'POST /auth/logout', { bearer: who.access }), SESSION_OVER],
  [
    'logout by the refresh token',
    (at, who) => call(at, 'POST /auth/logout', { json: { refresh_token: who.refresh } }),
    SESSION_OVER,
  ],
  ['logout everywhere', (at, who) => call(at, 'POST /auth/logout-all', { bearer: who.access }), SESSION_OVER],
  [
    'logout by an admin',
    (at, who, by) => call(at, `POST /users/${who.id}/logout`, { bearer: by.access }),
    SESSION_OVER,
  ],
  [
    'the end of that session',
    (at, who) => call(at, `DELETE /auth/sessions/${sessionIdOf(who)}`, { bearer: who.access }),
    SESSION_OVER,
  ],
  [
    'another password',
    (at, who) => {
      const json = { current_password: who.password, new_password: 'a-new-horse-battery' }
      return call(at, 'POST /auth/password', { bearer: who.access, json })
    },
    SESSION_OVER,
  ],
  ['disabling', patch({ is_active: false }), DEAD],
  ['deletion', (at, who, by) => call(at, `DELETE /users/${who.id}`, { bearer: by.access }), DEAD],
  ['another role', patch({ role: 'admin' }), AS_ADMIN],
  ['another ceiling', patch({ scopes: ['billing'] }), 'token: user billing, admin route: 403, key: 200'],
]

describe('a change through one server applies there on the next request, and on another within two seconds', () => {
  test.each(CHANGES)('%s', async (_, change, after) => {
    const [who, bystander] = [await newSubject(), await newSubject()]
    expect([200, 204]).toContain((await change(service, who, admin)).status)
    expect(await standing(service, who)).toBe(after)
    await until(async () => (await standing(second, who)) === after, `on the second server: ${after}`)
    for (const at of servers()) expect(await standing(at, bystander)).toBe(AS_BEFORE)
  })

  test('a demoted admin is refused as an admin on the next request', async () => {
    const who = await newSubject()
    await patch({ role: 'admin' })(service, who, admin)
    for (const at of servers()) await until(async () => (await standing(at, who)) === AS_ADMIN, 'an admin')
    await patch({ role: 'user' })(service, who, admin)
    expect(await standing(service, who)).toBe(AS_BEFORE)
    await until(async () => (await standing(second, who)) === AS_BEFORE, 'no admin any more')
  })

  test('a refresh token that is used twice ends the thief’s access token on the next request', async () => {
    const who = await newSubject()
    const json = { refresh_token: who.refresh }
    const thief = await call(service, 'POST /auth/refresh', { json })
    const owner = await call(second, 'POST /auth/refresh', {
      json: { refresh_token: thief.body.refresh_token },
    })
    for (const at of servers())
      for (const { body } of [thief, owner]) expect((await me(at, body.access_token)).status).toBe(200)
    expect((await call(service, 'POST /auth/refresh', { json })).status).toBe(401)
    for (const { body } of [thief, owner])
      expectProblem(await me(service, body.access_token), 'invalid_token')
    for (const { body } of [thief, owner])
      await until(
        async () => (await me(second, body.access_token)).status === 401,
        'over on the second server',
      )
  })
})

describe('a change applies on the next request without an eviction from the database', () => {
  let alone: TestService
  let boss: Person
  beforeAll(async () => {
    alone = await startService()
    boss = await newPerson(alone)
    const pool = postgres(alone.databaseUrl, { max: 1 })
    await pool`UPDATE latchkey.users SET role = 'admin' WHERE id = ${boss.id}`
    for (const table of ['users', 'sessions', 'api_keys', 'api_key_secrets', 'service_accounts'])
      await pool`ALTER TABLE latchkey.${pool(table)} DISABLE TRIGGER USER`
    await pool.end()
  })
  afterAll(() => alone.stop())

  test.each(CHANGES)('%s', async (_, change, after) => {
    const who = await newSubject([alone])
    expect([200, 204]).toContain((await change(alone, who, boss)).status)
    expect(await standing(alone, who)).toBe(after)
  })
})

describe('a change in the database itself applies on every server within two seconds', () => {
  test.each<[string, (who: Subject) => postgres.PendingQuery<postgres.Row[]>, string]>([
    ['a disabled user', (who) => sql`UPDATE latchkey.users SET is_active = false WHERE id = ${who.id}`, DEAD],
    ['a deleted user', (who) => sql`DELETE FROM latchkey.users WHERE id = ${who.id}`, DEAD],
    ['a new admin', (who) => sql`UPDATE latchkey.users SET role = 'admin' WHERE id = ${who.id}`, AS_ADMIN],
    [
      'a ceiling',
      (who) => sql`UPDATE latchkey.users SET scopes = '{read}' WHERE id = ${who.id}`,
      'token: user read, admin route: 403, key: 200',
    ],
    [
      'an ended session',
      (who) => sql`UPDATE latchkey.sessions SET ended_at = now() WHERE id = ${sessionIdOf(who)}`,
      SESSION_OVER,
    ],
    [
      'a session that is cut short',
      (who) => sql`UPDATE latchkey.sessions SET expires_at = now() WHERE id = ${sessionIdOf(who)}`,
      SESSION_OVER,
    ],
    [
      'a removed session',
      (who) => sql`DELETE FROM latchkey.sessions WHERE id = ${sessionIdOf(who)}`,
      SESSION_OVER,
    ],
    [
      'every session at once',
      (who) => sql`UPDATE latchkey.sessions SET ended_at = now() WHERE user_id = ${who.id}`,
      SESSION_OVER,
    ],
  ])('%s', async (_, change, after) => {
    const who = await newSubject()
    await change(who)
    for (const at of servers())
      await until(async () => (await standing(at, who)) === after, `${after} at ${at.url}`)
  })

  test('also as a replication role, which skips ordinary triggers', async () => {
    const who = await newSubject()
    await sql.begin(async (tx) => {
      await tx`SET LOCAL session_replication_role = replica`
      await tx`UPDATE latchkey.users SET is_active = false WHERE id = ${who.id}`
    })
    for (const at of servers()) await until(async () => (await standing(at, who)) === DEAD, 'dead', 2000)
  })

  test('of more rows than an eviction names one by one', async () => {
    const who = await newSubject()
    await sql`
      INSERT INTO latchkey.sessions (id, user_id, salt, created_at, rotated_at, idle_expires_at, expires_at)
      SELECT gen_random_uuid(), user_id, salt, created_at, rotated_at, idle_expires_at, expires_at
      FROM latchkey.sessions, generate_series(1, 1500) WHERE id = ${sessionIdOf(who)}`
    await sql`UPDATE latchkey.sessions SET ended_at = now() WHERE user_id = ${who.id}`
    for (const at of servers()) await until(async () => (await standing(at, who)) === SESSION_OVER, 'over')
  })

  test('when it is committed, and not when it is rolled back', async () => {
    const who = await newSubject()
    const isRemembered = () => servers().every((at) => recallCredential(at.context, who.access) !== null)
    await sql
      .begin(async (tx) => {
        await tx`UPDATE latchkey.users SET is_active = false WHERE id = ${who.id}`
        for (const at of servers()) expect(await standing(at, who)).toBe(AS_BEFORE)
        throw new Error('rolled back')
      })
      .catch((error: Error) => expect(error.message).toBe('rolled back'))
    for (const at of servers()) expect(await standing(at, who)).toBe(AS_BEFORE)
    expect(isRemembered()).toBe(true)
    await sql.begin(async (tx) => {
      await tx`UPDATE latchkey.users SET is_active = false WHERE id = ${who.id}`
      for (const at of servers()) expect(await standing(at, who)).toBe(AS_BEFORE)
    })
    for (const at of servers()) await until(async () => (await standing(at, who)) === DEAD, 'dead', 2000)
  })

  test('of a signing key: every token that it signed is refused', async () => {
    const [one, two] = [await startService(), await newSubject()]
    const other = await startService({}, one)
    const person = await newPerson(one)
    const pool = postgres(one.databaseUrl, { max: 1 })
    for (const at of [one, other]) expect((await me(at, person.access)).status).toBe(200)
    await pool`UPDATE latchkey.signing_keys SET revoked_at = now()`
    for (const at of [one, other])
      await until(async () => (await me(at, person.access)).status === 401, 'the token is dead', 2000)
    // A service on another database is not affected.
    expect(await standing(service, two)).toBe(AS_BEFORE)
    await pool.end()
    await other.stop()
    await one.stop()
  })
})

test('an enabled user’s tokens of live sessions are accepted again', async () => {
  const who = await newSubject()
  await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${who.id}`
  for (const at of servers()) await until(async () => (await standing(at, who)) === DEAD, 'dead', 2000)
  await sql`UPDATE latchkey.users SET is_active = true WHERE id = ${who.id}`
  // Refusals are not cached, so the test need not wait.
  for (const at of servers()) expect(await standing(at, who)).toBe(AS_BEFORE)
  expect((await logIn(service, who.email, who.password)).access).toStartWith('eyJ')
})

test('an e-mail that is changed in the database is answered at once', async () => {
  const who = await newSubject()
  await sql`UPDATE latchkey.users SET email = ${`renamed-${who.email}`} WHERE id = ${who.id}`
  for (const at of servers())
    await until(
      async () => (await me(at, who.access)).body.email === `renamed-${who.email}`,
      'the new address',
    )
})
