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
/** How many statements of this database wait for a lock. */
const waiting = async () =>
  (
    await watch`SELECT count(*)::int AS n FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock'`
  )[0]?.n ?? 0
/** All that a refused change leaves as it was. */
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
  /** A service account of an admin that holds a scope which admins alone grant. */
  async function newAccount(who: Someone) {
    const { id } = await newClient(service, who.access, ['read', 'latchkey:verify'])
    const own = (json: Json = {}) => newKey(service, who.access, { service_account_id: id, ...json })
    return { id, own }
  }

  /** What gives an account or its keys more, again or for longer, each on a key of its own. */
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

  test('makes, rotates, enables and raises nothing of it, and cancels no rotation', async () => {
    const boss = await addLoggedIn(service, sql, { role: 'admin' })
    const attempts = await findAttempts(boss)
    await setRole(boss, 'user')
    const before = await state()
    for (const attempt of attempts) {
      const answer = await as(boss, attempt)
      expect([attempt, answer.body?.code]).toEqual([attempt, 'insufficient_scope'])
    }
    expect(await state()).toEqual(before)
    // Each of them is what an admin may do.
    await setRole(boss, 'admin')
    for (const attempt of attempts) {
      const { status } = await as(boss, attempt)
      expect([attempt, status < 300]).toEqual([attempt, true])
    }
  })

  test('still lowers and ends what it holds', async () => {
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

  test('nor anything of their own keys that hold it', async () => {
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

describe('a rotation that goes back to the old secret', () => {
  test('is not an admin’s to order for another user', async () => {
    const owner = await addLoggedIn(service, sql)
    const { id, key } = await newKey(service, owner.access, { scopes: 'read' })
    const { body } = await done(as(owner, [`POST /keys/${id}/rotate`, {}]))
    const [old, fresh] = body.secrets
    expectProblem(await as(admin, [`DELETE /keys/${id}/secrets/${fresh.id}`]), 'forbidden')
    // Ending the old one gives nobody more.
    expect((await as(admin, [`DELETE /keys/${id}/secrets/${old.id}`])).status).toBe(204)
    expect((await asKey(key, ['GET /auth/me'])).status).toBe(401)
  })
})

describe('whoever manages users without being an admin', () => {
  const freshEmail = () => `${Bun.randomUUIDv7()}@example.com`
  /** A key, and a person in whose ceiling an admin put the scope. */
  const callers = async (scopes: string[]): Promise<Call[]> => [
    { apiKey: (await newKey(service, admin.access, { scopes: [USERS_WRITE, ...scopes] })).key },
    { bearer: (await addLoggedIn(service, sql, { scopes: [USERS_WRITE, ...scopes] })).access },
  ]

  test('makes nobody who holds more', async () => {
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

  test('makes nobody where users may hold anything', async () => {
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

  test('proves no address, of nobody: not that of a user whom they deleted', async () => {
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

  test('gives nobody a role, and makes no reset', async () => {
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

  test('enables nobody who holds more, also after a ceiling was raised in the same request', async () => {
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

  test('raises no ceiling beyond what they hold, their own neither', async () => {
    const [, caller] = await callers(['read'])
    const me = (await call(service, 'GET /auth/me', caller)).body
    for (const scopes of [null, 'read write', `${USERS_WRITE} read latchkey:verify`])
      expectProblem(
        await call(service, `PATCH /users/${me.id}`, { ...caller, json: { scopes } }),
        'insufficient_scope',
      )
  })

  test('does nothing to an admin', async () => {
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

/** Each setting of a key: as it is made, as an admin lowers it, lower still, and higher than it was made. */
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

describe('what an admin lowered of a key', () => {
  const make = async (who: Someone, json: Json = {}) => {
    const settings = Object.fromEntries(Object.entries(SETTINGS).map(([name, { made }]) => [name, made]))
    return newKey(service, who.access, { ...settings, ...json })
  }
  /** Users' keys and service accounts' are locked alike; what differs is who else may raise them. */
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
      `${kind}, is not the owner’s to put back: %s`,
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
        // Lower is what it stays: the lock is not a floor.
        expectProblem(await as(owner, [path, { [name]: values.low }]), 'forbidden')
        // An admin puts a user's key back to where it was, and no further; a service account's as far as they like.
        const beyond = await as(admin, [path, { [name]: values.beyond }])
        expect(beyond.status).toBe(kind === 'their own' ? 403 : 200)
        await administer(path, { [name]: values.made })
        if (kind === 'their own') {
          // Free again: what the owner lowers now, the owner raises.
          await done(as(owner, [path, { [name]: values.lower }]))
          expect((await as(owner, [path, { [name]: values.made }])).status).toBe(200)
        }
      },
    )

    test(`${kind}: a key that an admin switched off is not the owner’s to switch on`, async () => {
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

  test('is not another key’s to put back', async () => {
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

  test('to fewer uses in a shorter window is lowered, and locked', async () => {
    const owner = await addLoggedIn(service, sql)
    const rate_limit = { limit: 600, window_seconds: 60 }
    const { id } = await newKey(service, owner.access, { rate_limit })
    const path = `PATCH /keys/${id}`
    // Ten times sixty-one: more than before.
    expectProblem(await as(admin, [path, { rate_limit: { limit: 10, window_seconds: 1 } }]), 'forbidden')
    await administer(path, { rate_limit: { limit: 5, window_seconds: 1 } })
    expectProblem(await as(owner, [path, { rate_limit }]), 'forbidden')
    await administer(path, { rate_limit })
    expect((await as(owner, [path, { rate_limit }])).status).toBe(200)
  })

  test('in two steps, is locked at what it was before the first', async () => {
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

  test('by one who is no admin any more, stays locked', async () => {
    const [boss, owner] = [
      await addLoggedIn(service, sql, { role: 'admin' }),
      await addLoggedIn(service, sql),
    ]
    const { id } = await newKey(service, owner.access)
    await done(as(boss, [`PATCH /keys/${id}`, { is_active: false }]))
    await setRole(boss, 'user')
    expectProblem(await as(owner, [`PATCH /keys/${id}`, { is_active: true }]), 'forbidden')
  })

  test('of what another admin owns, that admin puts back; what they lower themselves locks nothing', async () => {
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

  test('credits are not raised by setting them while a use is charged', async () => {
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
    // What is left may be set, and less.
    for (const remaining of [5, 4]) expect((await as(owner, set(remaining))).status).toBe(200)
  })
})

describe('what an admin lowered of a service account', () => {
  test('is not its manager’s to put back, nor a key’s that manages it', async () => {
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

describe('a key with an end or a limit of its own', () => {
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

describe('what an admin lowered of a user', () => {
  test('is nobody’s else to put back', async () => {
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

describe('a key with a rate limit of its own', () => {
  test('makes, rotates and widens no other, by itself or by a token', async () => {
    const owner = await addLoggedIn(service, sql)
    const rate_limit = { limit: 1000, window_seconds: 60 }
    const scopes = ['read', ...MANAGES]
    const client = await newClient(service, owner.access, scopes, { rate_limit })
    const limited = { rate_limit, service_account_id: client.id }
    const free = await newKey(service, owner.access, { scopes, service_account_id: client.id })
    const sibling = await newKey(service, owner.access, { ...limited, expires_in_days: 1 })
    const attempts: Attempt[] = [
      ['POST /keys', { rate_limit }],
      ['POST /keys/create', { rate_limit: { limit: 1, window_seconds: 60 } }],
      [`POST /keys/${sibling.id}/rotate`, {}],
      [`PATCH /keys/${sibling.id}`, { expires_at: null }],
    ]
    const token = await tokenOf(service, client)
    const before = await state()
    for (const attempt of attempts)
      for (const answer of [await asKey(client.secret, attempt), await as({ access: token }, attempt)])
        expectProblem(answer, 'forbidden')
    expect(await state()).toEqual(before)
    for (const attempt of attempts) expect((await asKey(free.key, attempt)).status).toBeLessThan(300)
  })
})
