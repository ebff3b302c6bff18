import { beforeAll, describe, expect, test } from 'bun:test'
import type { ErrorCode } from '../../src/lib/errors.ts'
import { type Call, call, newKey } from '../support/client.ts'
import { countDenials } from '../support/denials.ts'
import { addLoggedIn, addPerson, PASSWORD } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { refresh } from '../support/refresh.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const READ = 'latchkey:users.read'
const WRITE = 'latchkey:users.write'

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const user = prepare(() => addLoggedIn(service, sql))

type ListedUser = { id: string; email: string }
const asAdmin = (route: string, json?: unknown) => call(service, route, { bearer: admin.access, json })
const logIn = (email: string, password = PASSWORD) =>
  call(service, 'POST /auth/login', { json: { email, password } })
const isGood = async (bearer: string) => (await call(service, 'GET /auth/me', { bearer })).status === 200
const auditOf = async (id: string, since = '') =>
  (
    await sql`SELECT action, outcome, actor_type, actor_id, details FROM latchkey.audit_events
      WHERE target_id = ${id} AND action <> 'user.login' AND id::text > ${since} ORDER BY id`
  ).map((row) => ({ ...row }))
const rowOf = async (id: string) => ({ ...(await sql`SELECT * FROM latchkey.users WHERE id = ${id}`)[0] })
let made = 0
const freshEmail = () => `made-${++made}@users.example.com`

describe('making a user', () => {
  test('answers every member, and the user can log in', async () => {
    const email = freshEmail()
    const answer = await asAdmin('POST /users', {
      email: ` ${email.toUpperCase()} `,
      password: 'long-enough-one',
    })
    expect(answer.status).toBe(201)
    expect(answer.body).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      email,
      email_verified: false,
      role: 'user',
      is_active: true,
      scopes: null,
      rate_limit: null,
      credits: null,
      created_at: expect.stringMatching(/Z$/),
    })
    expect((await asAdmin(`GET /users/${answer.body.id}`)).body).toEqual({
      ...answer.body,
      last_login_at: null,
      mfa: { totp: false, passkeys: 0, recovery_codes_left: 0 },
      counts: { keys: 0, service_accounts: 0, sessions: 0 },
    })
    expect((await logIn(email, 'long-enough-one')).status).toBe(200)
    expect(await auditOf(answer.body.id)).toEqual([
      {
        action: 'user.created',
        outcome: 'success',
        actor_type: 'user',
        actor_id: admin.id,
        details: { role: 'user' },
      },
    ])
  })

  test('may make an admin with a verified e-mail; without a password the user cannot log in', async () => {
    const email = freshEmail()
    const { body } = await asAdmin('POST /users', { email, role: 'admin', email_verified: true })
    expect(body).toMatchObject({ email, role: 'admin', email_verified: true })
    expect((await rowOf(body.id)).password_hash).toBeNull()
    for (const password of ['', 'null', 'long-enough-one'])
      expectProblem(await logIn(email, password), 'invalid_login')
    expect((await asAdmin(`DELETE /users/${body.id}`)).status).toBe(200)
  })

  test.each<[string, unknown, ErrorCode]>([
    ['no e-mail', { password: 'long-enough-one' }, 'validation_failed'],
    ['a malformed e-mail', { email: 'nobody' }, 'validation_failed'],
    ['a short password', { email: 'short@users.example.com', password: 'short' }, 'validation_failed'],
    ['a common one', { email: 'common@users.example.com', password: 'password123' }, 'validation_failed'],
    ['an unknown role', { email: 'role@users.example.com', role: 'root' }, 'validation_failed'],
    ['another member', { email: 'more@users.example.com', is_admin: true }, 'validation_failed'],
    ['an id', { email: 'id@users.example.com', id: Bun.randomUUIDv7() }, 'validation_failed'],
    ['a list', [], 'validation_failed'],
  ])('is refused with %s', async (_, json, code) => {
    const before = await sql`SELECT count(*) FROM latchkey.users`
    expectProblem(await asAdmin('POST /users', json), code)
    expect([...(await sql`SELECT count(*) FROM latchkey.users`)]).toEqual([...before])
  })

  test('with a taken e-mail is a conflict; of twenty at once one succeeds', async () => {
    expectProblem(await asAdmin('POST /users', { email: user.email.toUpperCase() }), 'email_taken')
    const email = freshEmail()
    const answers = await Promise.all(Array.from({ length: 20 }, () => asAdmin('POST /users', { email })))
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    for (const answer of answers) if (answer.status !== 201) expectProblem(answer, 'email_taken')
    const created =
      await sql`SELECT 1 FROM latchkey.audit_events e JOIN latchkey.users u ON u.id::text = e.target_id
      WHERE u.email = ${email}`
    expect(created).toHaveLength(1)
  })
})

describe('the list of users', () => {
  const marked = [
    'under_score',
    'under-score',
    'per%cent',
    'percent',
    'back\\slash',
    "quo'te",
    'dot.dot',
    'ÅNGSTRÖM',
  ]
  const found = async (query: string): Promise<string[]> => {
    const { body } = await asAdmin(`GET /users?limit=100&query=${encodeURIComponent(query)}`)
    return body.items.map(({ email }: ListedUser) => email.replace('@wild.example.com', '')).sort()
  }
  beforeAll(async () => {
    for (const name of marked)
      await addPerson(sql, { email: `${name}@wild.example.com`.normalize('NFC').toLowerCase() })
  })

  test.each([
    ['under_score', ['under-score', 'under_score']],
    ['r_s', []],
    ['per%cent', ['per%cent']],
    ['per%t', []],
    ['back\\slash', ['back\\slash']],
    ['ack\\slash', []],
    ["quo'te", ["quo'te"]],
    ["' OR true --", []],
    ['dot.dot', ['dot.dot']],
    ['ot.dot', []],
    ['PERCENT', ['percent']],
    ['A\u030angstro\u0308m', ['ångström']],
    ['ångström', ['ångström']],
    ['@wild.example.com', marked.map((name) => name.toLowerCase()).sort()],
    ['nobody-has-this', []],
  ])('finds %p by its words: there are no wildcards', async (query, expected) => {
    expect(await found(query)).toEqual(expected)
  })

  test('comes in pages that have each user once, newest first', async () => {
    const all: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const more: string = cursor === '' ? '' : `&cursor=${cursor}`
      const { body } = await asAdmin(`GET /users?limit=3${more}`)
      expect(body.items.length).toBeLessThanOrEqual(3)
      all.push(...body.items.map(({ id }: ListedUser) => id))
      cursor = body.next_cursor
    }
    const rows = await sql`SELECT id FROM latchkey.users ORDER BY id DESC`
    expect(all).toEqual(rows.map(({ id }) => id))
    expect(all.length).toBeGreaterThan(10)
  })

  test('a cursor is not altered, and a search takes none', async () => {
    const { body } = await asAdmin('GET /users?limit=2')
    const cursor: string = body.next_cursor
    expect((await asAdmin(`GET /users?limit=2&cursor=${cursor}`)).status).toBe(200)
    for (const path of [
      `/users?query=wild&cursor=${cursor}`,
      `/users?cursor=${cursor.slice(1)}`,
      `/users?cursor=${cursor.replace(/.$/, (last) => (last === '0' ? '1' : '0'))}`,
    ]) {
      expectProblem(await asAdmin(`GET ${path}`), 'validation_failed')
    }
    expectProblem(await asAdmin('GET /users?limit=101'), 'validation_failed')
    expectProblem(await asAdmin(`GET /users?query=${'x'.repeat(255)}`), 'validation_failed')
  })

  test('has no password and no hash of one', async () => {
    const { text } = await asAdmin('GET /users?limit=100')
    expect(text).toContain(admin.email)
    for (const hidden of ['argon2', 'password', 'hash']) expect(text).not.toContain(hidden)
  })
})

describe('changing a user', () => {
  test('has one audit row for each changed member, with its old value, and none without a change', async () => {
    const person = await addPerson(sql)
    const steps: [Record<string, unknown>, string, unknown, unknown][] = [
      [{ role: 'admin' }, 'user.role_changed', 'user', 'admin'],
      [{ role: 'user' }, 'user.role_changed', 'admin', 'user'],
      [{ scopes: 'deploy read' }, 'user.scopes_changed', null, ['deploy', 'read']],
      [{ scopes: [] }, 'user.scopes_changed', ['deploy', 'read'], []],
      [{ scopes: null }, 'user.scopes_changed', [], null],
      [{ email_verified: true }, 'user.email_verified', false, true],
      [{ is_active: false }, 'user.disabled', true, false],
      [{ is_active: true }, 'user.enabled', false, true],
    ]
    for (const [json, action, before, after] of steps) {
      const [member = ''] = Object.keys(json)
      const count = (await auditOf(person.id)).length
      const answer = await asAdmin(`PATCH /users/${person.id}`, json)
      expect([answer.status, answer.body[member]]).toEqual([200, after])
      for (let i = 0; i < 2; i++) {
        expect((await auditOf(person.id)).slice(count)).toEqual([
          { action, outcome: 'success', actor_type: 'user', actor_id: admin.id, details: { before, after } },
        ])
        expect((await asAdmin(`PATCH /users/${person.id}`, json)).body).toEqual(answer.body)
      }
    }
    const all = { role: 'admin', scopes: ['x'], email_verified: false, is_active: false }
    const count = (await auditOf(person.id)).length
    expect((await asAdmin(`PATCH /users/${person.id}`, all)).body).toMatchObject(all)
    expect(
      (await auditOf(person.id))
        .slice(count)
        .map(({ action }) => action)
        .sort(),
    ).toEqual(['user.disabled', 'user.email_verified', 'user.role_changed', 'user.scopes_changed'])
    expect((await asAdmin(`PATCH /users/${person.id}`, {})).body).toMatchObject(all)
  })

  test.each<[string, unknown]>([
    ['an unknown role', { role: 'owner' }],
    ['a role of null', { role: null }],
    ['text for a state', { is_active: 'false' }],
    ['a malformed scope', { scopes: ['Read'] }],
    ['too many scopes', { scopes: Array.from({ length: 51 }, (_, i) => `s${i}`) }],
    ['a password', { password: 'long-enough-one' }],
    ['what is no e-mail', { email: 'other.example.com' }],
    ['an id', { id: Bun.randomUUIDv7() }],
    ['nothing at all', undefined],
  ])('answers 422 to %s, and changes nothing', async (_, json) => {
    const person = await addPerson(sql)
    const before = await rowOf(person.id)
    const beside = json === undefined ? json : { email_verified: true, ...(json as object) }
    expectProblem(await asAdmin(`PATCH /users/${person.id}`, beside), 'validation_failed')
    expect(await rowOf(person.id)).toEqual(before)
    expect(await auditOf(person.id)).toEqual([])
  })

  test('who does not exist answers 404', async () => {
    for (const id of [Bun.randomUUIDv7(), 'x', user.id.toUpperCase(), `${user.id}x`, '%00']) {
      expectProblem(await asAdmin(`GET /users/${id}`), 'not_found')
      expectProblem(await asAdmin(`PATCH /users/${id}`, { is_active: false }), 'not_found')
      expectProblem(await asAdmin(`DELETE /users/${id}`), 'not_found')
      expectProblem(await asAdmin(`POST /users/${id}/logout`), 'not_found')
    }
    expect(await isGood(user.access)).toBe(true)
  })

  test('a ceiling limits the user’s tokens and keys from the next request', async () => {
    const person = await addLoggedIn(service, sql)
    const { key } = await newKey(service, person.access, { scopes: ['read'] })
    const serviceOnly = () => call(service, 'GET /protected/service-only', { apiKey: key })
    expect((await serviceOnly()).status).toBe(200)
    await asAdmin(`PATCH /users/${person.id}`, { scopes: ['deploy'] })
    expectProblem(await serviceOnly(), 'insufficient_scope')
    expect((await call(service, 'GET /auth/me', { bearer: person.access })).body.scopes).toEqual(['deploy'])
    const json = { scopes: ['deploy'] }
    expect((await call(service, 'POST /keys/create', { bearer: person.access, json })).status).toBe(201)
    const beyond = { bearer: person.access, json: { scopes: ['write'] } }
    expectProblem(await call(service, 'POST /keys/create', beyond), 'insufficient_scope')
    await asAdmin(`PATCH /users/${person.id}`, { scopes: null })
    expect((await serviceOnly()).status).toBe(200)
  })

  test('a role applies from the next request, also to existing tokens', async () => {
    const person = await addLoggedIn(service, sql)
    const asPerson = (route: string) => call(service, route, { bearer: person.access })
    expectProblem(await asPerson('GET /protected/admin'), 'forbidden')
    await asAdmin(`PATCH /users/${person.id}`, { role: 'admin' })
    expect((await asPerson('GET /protected/admin')).status).toBe(200)
    await asAdmin(`PATCH /users/${person.id}`, { role: 'user' })
    expectProblem(await asPerson('GET /protected/admin'), 'forbidden')
    expectProblem(await asPerson('GET /users'), 'insufficient_scope')
  })

  test('a disabled user has sessions, keys and log-ins refused; enabled, keys and log-ins are accepted again', async () => {
    const person = await addLoggedIn(service, sql)
    const { key } = await newKey(service, person.access, { scopes: ['read'] })
    expect((await asAdmin(`PATCH /users/${person.id}`, { is_active: false })).body.is_active).toBe(false)
    for (const bearer of [person.access, key]) expect(await isGood(bearer)).toBe(false)
    expectProblem(await refresh(service, person.refresh), 'invalid_token')
    expectProblem(await logIn(person.email), 'invalid_login')
    await asAdmin(`PATCH /users/${person.id}`, { is_active: true })
    expect([await isGood(person.access), await isGood(key)]).toEqual([false, true])
    expect((await logIn(person.email)).status).toBe(200)
  })

  test('a logged-out user loses every session, and keys and log-ins are still accepted', async () => {
    const person = await addLoggedIn(service, sql)
    const { key } = await newKey(service, person.access, { scopes: ['read'] })
    const answer = await asAdmin(`POST /users/${person.id}/logout`)
    expect([answer.status, answer.text]).toEqual([204, ''])
    expect([await isGood(person.access), await isGood(key)]).toEqual([false, true])
    expectProblem(await refresh(service, person.refresh), 'invalid_token')
    expect((await logIn(person.email)).status).toBe(200)
    expect((await auditOf(person.id)).at(-1)).toEqual({
      action: 'session.ended',
      outcome: 'success',
      actor_type: 'user',
      actor_id: admin.id,
      details: { reason: 'admin_logout', sessions: 1 },
    })
  })

  test('a deleted user is gone with sessions and keys; the audit rows stay, and the e-mail is free', async () => {
    const person = await addLoggedIn(service, sql)
    const { key } = await newKey(service, person.access, { scopes: ['read'] })
    const answer = await asAdmin(`DELETE /users/${person.id}`)
    expect([answer.status, answer.body]).toEqual([200, { service_accounts: [] }])
    for (const bearer of [person.access, key]) expect(await isGood(bearer)).toBe(false)
    for (const table of ['sessions', 'api_keys'] as const)
      expect(await sql`SELECT 1 FROM latchkey.${sql(table)} WHERE user_id = ${person.id}`).toHaveLength(0)
    expectProblem(await asAdmin(`GET /users/${person.id}`), 'not_found')
    expectProblem(await asAdmin(`DELETE /users/${person.id}`), 'not_found')
    expect(await auditOf(person.id)).toEqual([
      {
        action: 'user.deleted',
        outcome: 'success',
        actor_type: 'user',
        actor_id: admin.id,
        details: { email: person.email, role: 'user' },
      },
    ])
    expect((await asAdmin('POST /users', { email: person.email })).status).toBe(201)
  })
})

describe('a user who is no admin', () => {
  const routes = (id: string): [string, unknown][] => [
    ['GET /users', undefined],
    ['POST /users', { email: 'x@users.example.com' }],
    [`GET /users/${id}`, undefined],
    [`PATCH /users/${id}`, { role: 'admin' }],
    [`DELETE /users/${id}`, undefined],
    [`POST /users/${id}/logout`, undefined],
    [`POST /users/${id}/password-reset`, undefined],
    ['GET /audit', undefined],
  ]

  test('is refused on each route, also for their own account, with an audit row each', async () => {
    for (const other of [null, admin.id, Bun.randomUUIDv7()]) {
      const person = await addLoggedIn(service, sql)
      for (const [route, json] of routes(other ?? person.id)) {
        const answer = await call(service, route, { bearer: person.access, json })
        expectProblem(answer, route.includes('password-reset') ? 'forbidden' : 'insufficient_scope')
        const [event, ...more] =
          await sql`SELECT action, outcome, actor_type, actor_id FROM latchkey.audit_events
          WHERE request_id = ${answer.headers.get('x-request-id')}`
        expect({ ...event }).toEqual({
          action: 'access.denied',
          outcome: 'refused',
          actor_type: 'user',
          actor_id: person.id,
        })
        expect(more).toEqual([])
      }
      expect(await rowOf(person.id)).toMatchObject({ role: 'user', is_active: true })
    }
    expect(await isGood(admin.access)).toBe(true)
  })

  test('is refused like an admin’s key without the scope', async () => {
    const { key } = await newKey(service, admin.access, {
      scopes: ['read', 'latchkey:verify', 'latchkey:keys.write'],
    })
    for (const [route, json] of routes(user.id)) {
      const answer = await call(service, route, { apiKey: key, json })
      expectProblem(answer, route.includes('password-reset') ? 'wrong_credential_kind' : 'insufficient_scope')
    }
    const reader = await newKey(service, admin.access, { scopes: [READ] })
    for (const [route, json] of routes(user.id)) {
      const { status } = await call(service, route, { apiKey: reader.key, json })
      expect([route, status]).toEqual([route, route.startsWith('GET /users') ? 200 : 403])
    }
  })
})

describe('a key that manages users', () => {
  let key: string
  const asKey = (route: string, json?: unknown): Promise<Awaited<ReturnType<typeof call>>> =>
    call(service, route, { apiKey: key, json } as Call)
  beforeAll(async () => {
    key = (await newKey(service, admin.access, { scopes: [READ, WRITE, 'read', 'deploy'] })).key
  })

  test('makes, changes, logs out and deletes users, and is the actor of the audit rows', async () => {
    const email = freshEmail()
    const scopes = [WRITE, 'read', 'write', 'deploy']
    const { id: keyId, key } = await newKey(service, admin.access, { scopes })
    const asKey = (route: string, json?: unknown) => call(service, route, { apiKey: key, json })
    const created = await asKey('POST /users', { email, password: 'long-enough-one' })
    expect(created.status).toBe(201)
    const { id } = created.body
    expect((await asKey(`PATCH /users/${id}`, { scopes: 'deploy' })).body.scopes).toEqual(['deploy'])
    expect((await asKey(`PATCH /users/${id}`, { is_active: false })).status).toBe(200)
    expect((await asKey(`PATCH /users/${id}`, { is_active: true })).status).toBe(200)
    expect((await asKey(`POST /users/${id}/logout`)).status).toBe(204)
    expect((await asKey(`DELETE /users/${id}`)).status).toBe(200)
    const events = await auditOf(id)
    expect(events.map(({ action }) => action)).toEqual([
      'user.created',
      'user.scopes_changed',
      'user.disabled',
      'user.enabled',
      'session.ended',
      'user.deleted',
    ])
    for (const event of events) expect(event).toMatchObject({ actor_type: 'key', actor_id: keyId })
  })

  test('cannot make or enable a user with more power than the key', async () => {
    const countUsers = async () => (await sql`SELECT count(*)::int AS n FROM latchkey.users`)[0]?.n
    const before = await countUsers()
    // A new user has USER_SCOPES with "write", and the key lacks "write".
    expectProblem(await asKey('POST /users', { email: freshEmail() }), 'insufficient_scope')
    expect(await countUsers()).toBe(before)
    const wider = await addPerson(sql, { scopes: ['read', 'write'] })
    const within = await addPerson(sql, { scopes: ['read', 'latchkey:keys.write'] })
    for (const { id } of [wider, within])
      expect((await asKey(`PATCH /users/${id}`, { is_active: false })).status).toBe(200)
    expectProblem(await asKey(`PATCH /users/${wider.id}`, { is_active: true }), 'insufficient_scope')
    expect((await rowOf(wider.id)).is_active).toBe(false)
    expect((await asKey(`PATCH /users/${within.id}`, { is_active: true })).status).toBe(200)
  })

  test('cannot change a role, make an admin, verify an e-mail, or reset a password', async () => {
    const person = await addLoggedIn(service, sql)
    const refused: [string, unknown, ErrorCode][] = [
      [`PATCH /users/${person.id}`, { role: 'admin' }, 'forbidden'],
      [`PATCH /users/${person.id}`, { role: 'admin', email_verified: true }, 'forbidden'],
      [`PATCH /users/${person.id}`, { role: 'user' }, 'forbidden'],
      [`PATCH /users/${person.id}`, { email_verified: true }, 'forbidden'],
      ['POST /users', { email: freshEmail(), role: 'admin' }, 'forbidden'],
      ['POST /users', { email: freshEmail(), email_verified: true }, 'forbidden'],
      [`POST /users/${person.id}/password-reset`, undefined, 'wrong_credential_kind'],
    ]
    const before = await rowOf(person.id)
    const countAdmins = async () =>
      (await sql`SELECT count(*)::int AS n FROM latchkey.users WHERE role = 'admin'`)[0]?.n
    const admins = await countAdmins()
    for (const [route, json, code] of refused) expectProblem(await asKey(route, json), code)
    expect(await rowOf(person.id)).toEqual(before)
    expect(await auditOf(person.id)).toEqual([])
    expect(await countAdmins()).toBe(admins)
  })

  test('cannot change an admin', async () => {
    const other = await addLoggedIn(service, sql, { role: 'admin' })
    for (const [route, json] of [
      [`PATCH /users/${other.id}`, { is_active: false }],
      [`PATCH /users/${other.id}`, { email_verified: true }],
      [`PATCH /users/${other.id}`, { scopes: [] }],
      [`PATCH /users/${other.id}`, {}],
      [`DELETE /users/${other.id}`, undefined],
      [`POST /users/${other.id}/logout`, undefined],
    ] as const) {
      expectProblem(await asKey(route, json), 'forbidden')
    }
    expect((await asKey(`GET /users/${other.id}`)).status).toBe(200)
    expect(await isGood(other.access)).toBe(true)
    expect(await auditOf(other.id)).toEqual([])
    await sql`DELETE FROM latchkey.users WHERE id = ${other.id}`
  })

  test('cannot raise a ceiling beyond its own scopes', async () => {
    const person = await addPerson(sql, { scopes: ['read'] })
    for (const scopes of [['write'], ['read', 'write'], 'latchkey:verify', ['latchkey:audit.read'], null])
      expectProblem(await asKey(`PATCH /users/${person.id}`, { scopes }), 'insufficient_scope')
    expect((await rowOf(person.id)).scopes).toEqual(['read'])
    for (const scopes of [['read', 'deploy'], [], [WRITE]])
      expect((await asKey(`PATCH /users/${person.id}`, { scopes })).body.scopes).toEqual(scopes)
  })

  test('has its refusals in the audit trail', async () => {
    const person = await addPerson(sql, { scopes: ['read'] })
    for (const [route, json] of [
      [`PATCH /users/${person.id}`, { role: 'admin' }],
      [`PATCH /users/${person.id}`, { scopes: 'write' }],
      [`DELETE /users/${admin.id}`, undefined],
      ['POST /users', { email: freshEmail(), role: 'admin' }],
      [`POST /users/${person.id}/password-reset`, undefined],
    ] as const) {
      const before = await countDenials(service, sql)
      expect((await asKey(route, json)).status).toBe(403)
      expect([route, await countDenials(service, sql)]).toEqual([route, before + 1])
    }
  })

  test('loses its power with its owner’s role', async () => {
    const owner = await addLoggedIn(service, sql, { role: 'admin' })
    const mine = await newKey(service, owner.access, { scopes: [READ] })
    expect((await call(service, 'GET /users', { apiKey: mine.key })).status).toBe(200)
    await asAdmin(`PATCH /users/${owner.id}`, { role: 'user' })
    expectProblem(await call(service, 'GET /users', { apiKey: mine.key }), 'insufficient_scope')
  })
})
