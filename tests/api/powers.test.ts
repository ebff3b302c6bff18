import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type postgres from 'postgres'
import { type Answer, type Call, call, newKey } from '../support/client.ts'
import { newClient, tokenOf } from '../support/oauth.ts'
import { type AddedPerson, addLoggedIn, addPerson, connectTo, type Tokens } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'

type Json = Record<string, unknown>
type Someone = AddedPerson & Tokens
/** A request of an attacker: the route, and the body. */
type Attempt = readonly [route: string, json?: Json]

const USERS_WRITE = 'latchkey:users.write'
const ACCOUNTS_WRITE = 'latchkey:service-accounts.write'
const MANAGES = ['latchkey:keys.read', 'latchkey:keys.write']
const DAY_MS = 86_400_000
const inDays = (days: number) => new Date(Date.now() + days * DAY_MS).toISOString()

let service: TestService
let sql: postgres.Sql
let watch: postgres.Sql
let admin: Someone
beforeAll(async () => {
  service = await startService()
  sql = connectTo(service)
  watch = connectTo(service)
  admin = await addLoggedIn(service, sql, { role: 'admin' })
})
afterAll(async () => {
  await Promise.all([sql.end(), watch.end()])
  await service.stop()
})

const as = (who: { access: string }, [route, json]: Attempt) =>
  call(service, route, { bearer: who.access, json })
const asKey = (apiKey: string, [route, json]: Attempt) => call(service, route, { apiKey, json })
const done = async (answer: Promise<Answer>): Promise<Answer> => {
  const { status, text, ...rest } = await answer
  if (status >= 300) throw new Error(`It answered ${status}: ${text}`)
  return { status, text, ...rest }
}
const administer = (...attempt: Attempt) => done(as(admin, attempt))
const setRole = (who: Someone, role: string) => administer(`PATCH /users/${who.id}`, { role })
/** The number of statements of this database that wait for a lock. */
const waiting = async () =>
  (
    await watch`SELECT count(*)::int AS n FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock'`
  )[0]?.n ?? 0
/** The rows that a refused change must not touch. */
const state = async () =>
  (
    await sql`SELECT
      (SELECT json_agg(k ORDER BY id) FROM latchkey.api_keys k)::text AS keys,
      (SELECT json_agg(json_build_array(id, key_id, expires_at) ORDER BY id) FROM latchkey.api_key_secrets)::text AS secrets,
      (SELECT json_agg(c ORDER BY key_id) FROM latchkey.api_key_credits c)::text AS credits,
      (SELECT json_agg(u ORDER BY id) FROM latchkey.users u)::text AS users,
      (SELECT json_agg(a ORDER BY id) FROM latchkey.service_accounts a)::text AS accounts`
  )[0]

describe('a manager who can no longer grant what an account holds', () => {
  /** A service account of an admin with a scope that only admins grant. */
  async function newAccount(who: Someone) {
    const { id } = await newClient(service, who.access, ['read', 'latchkey:verify'])
    const own = (json: Json = {}) => newKey(service, who.access, { service_account_id: id, ...json })
    return { id, own }
  }

  /** Requests that would give an account or its keys more power, give power back or prolong it, each on a separate key. */
  async function findAttempts(who: Someone): Promise<Attempt[]> {
    const { id, own } = await newAccount(who)
    const resting = await newAccount(who)
    await done(as(who, [`PATCH /service-accounts/${resting.id}`, { is_active: false }]))
    const low = await own({
      scopes: 'read',
      expires_at: inDays(2),
      rate_limit: { limit: 2, window_seconds: 60 },
      allowed_ips: ['192.0.2.1'],
      credits: { remaining: 1 },
    })
    const off = await own()
    await done(as(who, [`PATCH /keys/${off.id}`, { is_active: false }]))
    const [byId, byStart] = [await own(), await own()]
    const endings: Attempt[] = []
    for (const [key, name] of [
      [byId, 'id'],
      [byStart, 'start'],
    ] as const) {
      // Another admin's rotation: the manager holds the old secret.
      const { body } = await administer(`POST /keys/${key.id}/rotate`, { overlap_seconds: 60 })
      endings.push([`DELETE /keys/${key.id}/secrets/${body.secrets.at(-1)[name]}`])
    }
    return [
      ...endings,
      ['POST /keys', { service_account_id: id }],
      ['POST /keys/create', { service_account_id: id, scopes: 'read' }],
      [`POST /keys/${low.id}/rotate`, { overlap_seconds: 0 }],
      [`PATCH /keys/${off.id}`, { is_active: true }],
      ...[
        { scopes: 'read latchkey:verify' },
        { expires_at: inDays(3) },
        { expires_at: null },
        { rate_limit: { limit: 3, window_seconds: 60 } },
        { rate_limit: null },
        { allowed_ips: ['192.0.2.0/24'] },
        { allowed_ips: null },
        { credits: { remaining: 2 } },
        { credits: { remaining: 1, refill: { amount: 1, interval: 'monthly' } } },
        { credits: null },
      ].map((json) => [`PATCH /keys/${low.id}`, json] as const),
      [`PATCH /service-accounts/${resting.id}`, { is_active: true }],
      [`PATCH /service-accounts/${id}`, { scopes: 'read latchkey:verify write' }],
    ]
  }

  test('cannot make, rotate, enable or widen keys of the account, and cannot cancel a rotation', async () => {
    const boss = await addLoggedIn(service, sql, { role: 'admin' })
    const attempts = await findAttempts(boss)
    await setRole(boss, 'user')
    const before = await state()
    for (const attempt of attempts) {
      const answer = await as(boss, attempt)
      expect([attempt, answer.body?.code]).toEqual([attempt, 'insufficient_scope'])
    }
    expect(await state()).toEqual(before)
    // The control: an admin may do each of these.
    await setRole(boss, 'admin')
    for (const attempt of attempts) {
      const { status } = await as(boss, attempt)
      expect([attempt, status < 300]).toEqual([attempt, true])
    }
  })

  test('can still narrow and revoke keys of the account', async () => {
    const boss = await addLoggedIn(service, sql, { role: 'admin' })
    const { id, own } = await newAccount(boss)
    const key = await own({ scopes: 'read' })
    const { body } = await administer(`POST /keys/${key.id}/rotate`, { overlap_seconds: 60 })
    await setRole(boss, 'user')
    for (const attempt of [
      [`DELETE /keys/${key.id}/secrets/${body.secrets[0].id}`],
      [`PATCH /keys/${key.id}`, { name: 'lower', scopes: '', is_active: false }],
      [`DELETE /keys/${key.id}`],
      [`PATCH /service-accounts/${id}`, { is_active: false, scopes: 'read' }],
      [`DELETE /service-accounts/${id}`],
    ] as const)
      expect([attempt, (await as(boss, attempt)).status < 300]).toEqual([attempt, true])
  })

  test('cannot widen their own keys that have the scope either', async () => {
    const boss = await addLoggedIn(service, sql, { role: 'admin' })
    const key = await newKey(service, boss.access, { scopes: 'read latchkey:verify' })
    const rotated = await done(as(boss, [`POST /keys/${key.id}/rotate`, {}]))
    const off = await newKey(service, boss.access, { scopes: 'latchkey:verify', expires_in_days: 1 })
    await done(as(boss, [`PATCH /keys/${off.id}`, { is_active: false }]))
    await setRole(boss, 'user')
    const before = await state()
    for (const attempt of [
      [`DELETE /keys/${key.id}/secrets/${rotated.body.secrets.at(-1).id}`],
      [`PATCH /keys/${off.id}`, { is_active: true }],
      [`PATCH /keys/${off.id}`, { expires_at: null }],
      [`POST /keys/${off.id}/rotate`, {}],
    ] as const)
      expectProblem(await as(boss, attempt), 'insufficient_scope')
    expect(await state()).toEqual(before)
  })
})

describe('cancelling a rotation, so that the old secret stays', () => {
  test('is refused to an admin for the key of another user', async () => {
    const owner = await addLoggedIn(service, sql)
    const { id, key } = await newKey(service, owner.access, { scopes: 'read' })
    const { body } = await done(as(owner, [`POST /keys/${id}/rotate`, {}]))
    const [old, fresh] = body.secrets
    expectProblem(await as(admin, [`DELETE /keys/${id}/secrets/${fresh.id}`]), 'forbidden')
    // Ending the old secret gives no power.
    expect((await as(admin, [`DELETE /keys/${id}/secrets/${old.id}`])).status).toBe(204)
    expect((await asKey(key, ['GET /auth/me'])).status).toBe(401)
  })
})

describe('a manager of users who is no admin', () => {
  const freshEmail = () => `${Bun.randomUUIDv7()}@example.com`
  /** Two such managers: a key, and a person whose ceiling has the scope. */
  const callers = async (scopes: string[]): Promise<Call[]> => [
    { apiKey: (await newKey(service, admin.access, { scopes: [USERS_WRITE, ...scopes] })).key },
    { bearer: (await addLoggedIn(service, sql, { scopes: [USERS_WRITE, ...scopes] })).access },
  ]

  test('cannot make a user with more power than their own', async () => {
    const before = await state()
    for (const caller of [...(await callers([])), ...(await callers(['read']))])
      expectProblem(
        await call(service, 'POST /users', { ...caller, json: { email: freshEmail() } }),
        'insufficient_scope',
      )
    expect((await state())?.users).not.toBe('')
    expect(JSON.parse(String((await state())?.users)).length).toBe(
      JSON.parse(String(before?.users)).length + 2,
    )
    for (const caller of await callers(['read', 'write']))
      expect((await call(service, 'POST /users', { ...caller, json: { email: freshEmail() } })).status).toBe(
        201,
      )
  })

  test('cannot make a user where USER_SCOPES is any', async () => {
    const open = await startService({ userScopes: 'any' })
    const at = connectTo(open)
    const boss = await addLoggedIn(open, at, { role: 'admin' })
    const { key } = await newKey(open, boss.access, { scopes: [USERS_WRITE, 'read', 'write'] })
    const json = { email: freshEmail() }
    expectProblem(await call(open, 'POST /users', { apiKey: key, json }), 'insufficient_scope')
    const low = await addPerson(at, { scopes: ['read'] })
    const lift = { apiKey: key, json: { scopes: null } }
    expectProblem(await call(open, `PATCH /users/${low.id}`, lift), 'insufficient_scope')
    expect((await call(open, 'POST /users', { bearer: boss.access, json })).status).toBe(201)
    await at.end()
    await open.stop()
  })

  test('cannot mark an e-mail as verified, also not that of a user whom they deleted', async () => {
    for (const caller of await callers(['read', 'write'])) {
      const victim = await addPerson(sql)
      await administer(`PATCH /users/${victim.id}`, { email_verified: true })
      expect((await call(service, `DELETE /users/${victim.id}`, caller)).status).toBe(200)
      const json = { email: victim.email, email_verified: true }
      expectProblem(await call(service, 'POST /users', { ...caller, json }), 'forbidden')
      const made = await call(service, 'POST /users', { ...caller, json: { email: victim.email } })
      expect(made.body.email_verified).toBe(false)
      const prove = { ...caller, json: { email_verified: true } }
      expectProblem(await call(service, `PATCH /users/${made.body.id}`, prove), 'forbidden')
    }
  })

  test('cannot give a role, and cannot issue a reset', async () => {
    for (const caller of await callers(['read', 'write'])) {
      const person = await addPerson(sql)
      for (const [route, json] of [
        ['POST /users', { email: freshEmail(), role: 'admin' }],
        [`PATCH /users/${person.id}`, { role: 'admin' }],
      ] as const)
        expectProblem(await call(service, route, { ...caller, json }), 'forbidden')
      for (const route of [
        `POST /users/${person.id}/password-reset`,
        `GET /users/${person.id}/password-resets`,
        `DELETE /users/${person.id}/password-resets/${Bun.randomUUIDv7()}`,
      ])
        expect((await call(service, route, caller)).status).toBe(403)
    }
  })

  test('cannot enable a user with more power, also together with a raised ceiling in one request', async () => {
    for (const caller of await callers(['read'])) {
      const [wide, low] = [await addPerson(sql), await addPerson(sql, { scopes: ['read', 'deploy'] })]
      const patch = (id: string, json: Json) => call(service, `PATCH /users/${id}`, { ...caller, json })
      for (const { id } of [wide, low]) {
        expect((await patch(id, { is_active: false })).status).toBe(200)
        expectProblem(await patch(id, { is_active: true }), 'insufficient_scope')
      }
      expectProblem(await patch(low.id, { is_active: true, scopes: 'read write' }), 'insufficient_scope')
      expectProblem(await patch(low.id, { is_active: true, scopes: null }), 'insufficient_scope')
      expect((await patch(low.id, { is_active: true, scopes: 'read' })).body.is_active).toBe(true)
    }
  })

  test('cannot raise a ceiling beyond their own scopes, nor their own ceiling', async () => {
    const [, caller] = await callers(['read'])
    const me = (await call(service, 'GET /auth/me', caller)).body
    for (const scopes of [null, 'read write', `${USERS_WRITE} read latchkey:verify`])
      expectProblem(
        await call(service, `PATCH /users/${me.id}`, { ...caller, json: { scopes } }),
        'insufficient_scope',
      )
  })

  test('cannot change an admin', async () => {
    for (const caller of await callers(['read', 'write'])) {
      const boss = await addLoggedIn(service, sql, { role: 'admin' })
      for (const [route, json] of [
        [`PATCH /users/${boss.id}`, { is_active: false }],
        [`PATCH /users/${boss.id}`, { scopes: [] }],
        [`DELETE /users/${boss.id}`],
        [`POST /users/${boss.id}/logout`],
      ] as const)
        expectProblem(await call(service, route, { ...caller, json }), 'forbidden')
      expect((await as(boss, ['GET /users'])).status).toBe(200)
      await setRole(boss, 'user')
    }
  })
})

/** Four values of each setting of a key: the first one, one that an admin lowers it to, a lower one, and one above the first. */
const SETTINGS: Record<string, { made: unknown; low: unknown; lower: unknown; beyond: unknown }> = {
  scopes: { made: 'read write', low: 'read', lower: '', beyond: 'read write other' },
  expires_at: { made: inDays(9), low: inDays(5), lower: inDays(1), beyond: inDays(10) },
  rate_limit: {
    made: { limit: 50, window_seconds: 60 },
    low: { limit: 20, window_seconds: 60 },
    lower: { limit: 20, window_seconds: 120 },
    beyond: null,
  },
  allowed_ips: { made: ['127.0.0.0/8'], low: ['127.0.0.0/16'], lower: ['127.0.0.1'], beyond: null },
  credits: {
    made: { remaining: 50 },
    low: { remaining: 20 },
    lower: { remaining: 10 },
    beyond: { remaining: 51 },
  },
}

describe('a setting of a key that an admin lowered', () => {
  const make = async (who: Someone, json: Json = {}) => {
    const settings = Object.fromEntries(Object.entries(SETTINGS).map(([name, { made }]) => [name, made]))
    return newKey(service, who.access, { ...settings, ...json })
  }
  /** The lock is the same for keys of users and of service accounts. The callers that may raise them differ. */
  const owners = ['their own', 'a service account’s'] as const
  const newOwner = async (kind: (typeof owners)[number]) => {
    const owner = await addLoggedIn(service, sql, { scopes: ['read', 'write', 'other'] })
    const account =
      kind === 'their own' ? null : (await newClient(service, owner.access, ['read', 'write', 'other'])).id
    const json = account === null ? {} : { service_account_id: account }
    return { owner, json }
  }

  for (const kind of owners) {
    test.each(Object.entries(SETTINGS))(
      `cannot be raised by the owner of the key (${kind}): %s`,
      async (name, values) => {
        const { owner, json } = await newOwner(kind)
        const { id } = await make(owner, json)
        const path = `PATCH /keys/${id}`
        await administer(path, { [name]: values.low })
        const before = await state()
        expectProblem(await as(owner, [path, { [name]: values.made }]), 'forbidden')
        expectProblem(await as(owner, [path, { [name]: values.made, is_active: true }]), 'forbidden')
        expect(await state()).toEqual(before)
        expect((await as(owner, [path, { name: 'renamed' }])).status).toBe(200)
        expect((await as(owner, [path, { [name]: values.lower }])).status).toBe(200)
        // After the owner lowers the setting further, the owner cannot raise it to the admin's value either.
        expectProblem(await as(owner, [path, { [name]: values.low }]), 'forbidden')
        // An admin raises a user's key to its first value at most, and a service account's key to any value.
        const beyond = await as(admin, [path, { [name]: values.beyond }])
        expect(beyond.status).toBe(kind === 'their own' ? 403 : 200)
        await administer(path, { [name]: values.made })
        if (kind === 'their own') {
          // The lock is gone: a setting that the owner lowers now, the owner may raise.
          await done(as(owner, [path, { [name]: values.lower }]))
          expect((await as(owner, [path, { [name]: values.made }])).status).toBe(200)
        }
      },
    )

    test(`cannot be raised by the owner of the key (${kind}): is_active`, async () => {
      const { owner, json } = await newOwner(kind)
      const { id } = await make(owner, json)
      const on = [`PATCH /keys/${id}`, { is_active: true }] as const
      await administer(`PATCH /keys/${id}`, { is_active: false })
      expectProblem(await as(owner, on), 'forbidden')
      await administer(...on)
      await done(as(owner, [`PATCH /keys/${id}`, { is_active: false }]))
      expect((await as(owner, on)).status).toBe(200)
    })
  }

  test('cannot be raised by a managing key', async () => {
    const owner = await addLoggedIn(service, sql)
    const manager = await newKey(service, owner.access, { scopes: ['read', 'write', ...MANAGES] })
    const { id } = await make(owner)
    for (const [name, { low }] of Object.entries(SETTINGS))
      await administer(`PATCH /keys/${id}`, { [name]: low })
    await administer(`PATCH /keys/${id}`, { is_active: false })
    for (const [name, { made }] of Object.entries(SETTINGS))
      expectProblem(await asKey(manager.key, [`PATCH /keys/${id}`, { [name]: made }]), 'forbidden')
    expectProblem(await asKey(manager.key, [`PATCH /keys/${id}`, { is_active: true }]), 'forbidden')
    const free = await make(owner)
    await done(as(owner, [`PATCH /keys/${free.id}`, { is_active: false }]))
    expect((await asKey(manager.key, [`PATCH /keys/${free.id}`, { is_active: true }])).status).toBe(200)
  })

  test('is locked also where it is fewer uses in a shorter window', async () => {
    const owner = await addLoggedIn(service, sql)
    const rate_limit = { limit: 600, window_seconds: 60 }
    const { id } = await newKey(service, owner.access, { rate_limit })
    const path = `PATCH /keys/${id}`
    // Ten uses a second are up to 610 in a minute: more than before.
    expectProblem(await as(admin, [path, { rate_limit: { limit: 10, window_seconds: 1 } }]), 'forbidden')
    await administer(path, { rate_limit: { limit: 5, window_seconds: 1 } })
    expectProblem(await as(owner, [path, { rate_limit }]), 'forbidden')
    await administer(path, { rate_limit })
    expect((await as(owner, [path, { rate_limit }])).status).toBe(200)
  })

  test('in two steps is locked at its value before the first step', async () => {
    const owner = await addLoggedIn(service, sql)
    const { id } = await newKey(service, owner.access, { rate_limit: { limit: 50, window_seconds: 60 } })
    const limit = (limit: number) =>
      [`PATCH /keys/${id}`, { rate_limit: { limit, window_seconds: 60 } }] as const
    await administer(...limit(20))
    await administer(...limit(10))
    await administer(...limit(20))
    expectProblem(await as(owner, limit(21)), 'forbidden')
    await administer(...limit(50))
    await done(as(owner, limit(5)))
    expect((await as(owner, limit(50))).status).toBe(200)
  })

  test('stays locked when that admin is demoted', async () => {
    const [boss, owner] = [
      await addLoggedIn(service, sql, { role: 'admin' }),
      await addLoggedIn(service, sql),
    ]
    const { id } = await newKey(service, owner.access)
    await done(as(boss, [`PATCH /keys/${id}`, { is_active: false }]))
    await setRole(boss, 'user')
    expectProblem(await as(owner, [`PATCH /keys/${id}`, { is_active: true }]), 'forbidden')
  })

  test('can be raised by its owner, if the owner is an admin; an owner who lowers a setting locks nothing', async () => {
    const boss = await addLoggedIn(service, sql, { role: 'admin' })
    const account = (await newClient(service, boss.access, ['read'])).id
    const key = await newKey(service, boss.access)
    for (const path of [`PATCH /keys/${key.id}`, `PATCH /service-accounts/${account}`]) {
      await administer(path, { is_active: false })
      expect((await as(boss, [path, { is_active: true }])).status).toBe(200)
      await done(as(boss, [path, { is_active: false }]))
      await setRole(boss, 'user')
      expect((await as(boss, [path, { is_active: true }])).status).toBe(200)
      await setRole(boss, 'admin')
    }
  })

  test('of credits cannot be raised by setting them while a use is charged', async () => {
    const owner = await addLoggedIn(service, sql)
    const { id } = await newKey(service, owner.access, { credits: { remaining: 500 } })
    const set = (remaining: number) => [`PATCH /keys/${id}`, { credits: { remaining } }] as const
    await administer(...set(20))
    const setting = await sql.begin(async (tx) => {
      await tx`UPDATE latchkey.api_key_credits SET remaining = remaining - 15 WHERE key_id = ${id}`
      const answer = as(owner, set(20))
      await until(async () => (await waiting()) > 0, 'the change waits for the charge')
      return { answer }
    })
    expectProblem(await setting.answer, 'forbidden')
    expect((await as(owner, [`GET /keys/${id}`])).body.credits.remaining).toBe(5)
    // The owner may set the present number and a lower one.
    for (const remaining of [5, 4]) expect((await as(owner, set(remaining))).status).toBe(200)
  })
})

describe('a setting of a service account that an admin lowered', () => {
  test('cannot be raised by its manager, nor by a managing key', async () => {
    const manager = await addLoggedIn(service, sql, { scopes: ['read', 'write', ACCOUNTS_WRITE] })
    const { key } = await newKey(service, manager.access, { scopes: ['read', 'write', ACCOUNTS_WRITE] })
    for (const [low, made] of [
      [{ is_active: false }, { is_active: true }],
      [{ scopes: 'read' }, { scopes: 'read write' }],
    ] as const) {
      const { id } = await newClient(service, manager.access, ['read', 'write'])
      const path = `PATCH /service-accounts/${id}`
      for (const answer of [await as(manager, [path, low]), await asKey(key, [path, made])])
        expect(answer.status).toBe(200)
      await administer(path, low)
      const before = await state()
      for (const answer of [await as(manager, [path, made]), await asKey(key, [path, made])])
        expectProblem(answer, 'forbidden')
      expect(await state()).toEqual(before)
      await administer(path, made)
      await done(as(manager, [path, low]))
      expect((await asKey(key, [path, made])).status).toBe(200)
    }
  })
})

describe('a key with an expiry or a rate limit', () => {
  const bounds: [string, () => Json][] = [
    ['an end', () => ({ expires_at: inDays(1) })],
    ['a rate limit', () => ({ rate_limit: { limit: 1000, window_seconds: 60 } })],
    ['credits', () => ({ credits: { remaining: 1000 } })],
    ['addresses', () => ({ allowed_ips: ['127.0.0.1'] })],
  ]

  test.each(bounds)('%s enables and widens no service account, and may lower it', async (_, bound) => {
    const scopes = ['read', 'write', ACCOUNTS_WRITE]
    const manager = await addLoggedIn(service, sql, { scopes })
    const bounded = await newKey(service, manager.access, { scopes, ...bound() })
    const free = await newKey(service, manager.access, { scopes })
    const { id } = await newClient(service, manager.access, ['read', 'write'])
    const path = `PATCH /service-accounts/${id}`
    for (const [low, made] of [
      [{ is_active: false }, { is_active: true }],
      [{ scopes: 'read' }, { scopes: 'read write' }],
    ] as const) {
      await done(asKey(bounded.key, [path, low]))
      const before = await state()
      expectProblem(await asKey(bounded.key, [path, made]), 'forbidden')
      expect(await state()).toEqual(before)
      await done(asKey(bounded.key, [path, { name: 'renamed' }]))
      await done(asKey(free.key, [path, made]))
    }
  })
})

describe('a setting of a user that an admin lowered', () => {
  test('can be raised only by an admin', async () => {
    const { key } = await newKey(service, admin.access, { scopes: [USERS_WRITE, 'read', 'write'] })
    const helper = await addLoggedIn(service, sql, { scopes: [USERS_WRITE, 'read', 'write'] })
    for (const [low, made] of [
      [{ is_active: false }, { is_active: true }],
      [{ scopes: 'read' }, { scopes: 'read write' }],
      [{ scopes: 'read' }, { scopes: null }],
    ] as const) {
      const { id } = await addPerson(sql)
      const path = `PATCH /users/${id}`
      expect((await asKey(key, [path, low])).status).toBe(200)
      expect((await as(helper, [path, made])).status).toBe(200)
      await administer(path, low)
      const before = await state()
      for (const answer of [await as(helper, [path, made]), await asKey(key, [path, made])])
        expectProblem(answer, 'forbidden')
      expect(await state()).toEqual(before)
      await administer(path, made)
      expect((await asKey(key, [path, low])).status).toBe(200)
      expect((await asKey(key, [path, made])).status).toBe(200)
    }
  })
})

describe('a key with a rate limit', () => {
  test('cannot rotate or widen a key that does not share its limit, by itself or by a token', async () => {
    const owner = await addLoggedIn(service, sql)
    const rate_limit = { limit: 1000, window_seconds: 60 }
    const scopes = ['read', ...MANAGES]
    const client = await newClient(service, owner.access, scopes, { rate_limit })
    const limited = { rate_limit, service_account_id: client.id }
    const free = await newKey(service, owner.access, { scopes, service_account_id: client.id })
    const sibling = await newKey(service, owner.access, { ...limited, expires_in_days: 1 })
    const attemptsOn = (id: string): Attempt[] => [
      [`PATCH /keys/${id}`, { expires_at: null }],
      [`POST /keys/${id}/rotate`, {}],
    ]
    const attempts = attemptsOn(sibling.id)
    const token = await tokenOf(service, client)
    const before = await state()
    for (const attempt of attempts)
      for (const answer of [await asKey(client.secret, attempt), await as({ access: token }, attempt)])
        expectProblem(answer, 'forbidden')
    expect(await state()).toEqual(before)
    const made = await newKey(service, client.secret, { rate_limit, expires_in_days: 1 })
    for (const attempt of attemptsOn(made.id))
      expect((await asKey(client.secret, attempt)).status).toBeLessThan(300)
    for (const attempt of attempts) expect((await asKey(free.key, attempt)).status).toBeLessThan(300)
  })
})
