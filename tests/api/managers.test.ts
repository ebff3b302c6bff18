import { describe, expect, test } from 'bun:test'
import { type Answer, call, insist, newKey } from '../support/client.ts'
import { sendHalves } from '../support/held.ts'
import { addLoggedIn, addPerson, beginSession } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const WRITE = 'latchkey:service-accounts.write'
const READ = 'latchkey:service-accounts.read'
const KEYS = 'latchkey:keys.write'

const service = useService({ serviceAccountsPerUser: 3 })
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const stranger = prepare(() => addLoggedIn(service, sql))

const as = (bearer: string, route: string, json?: unknown): Promise<Answer> =>
  call(service, route, { bearer, json })
const addPersonWith = (scopes = ['read', 'write']) => addLoggedIn(service, sql, { scopes })
const newAccount = async (bearer: string, scopes = ['read']): Promise<string> =>
  (await as(bearer, 'POST /service-accounts', { name: 'account', scopes })).body.id
const add = (bearer: string, id: string, json: unknown) =>
  as(bearer, `PUT /service-accounts/${id}/managers`, json)
const remove = (bearer: string, id: string, manager: string) =>
  as(bearer, `DELETE /service-accounts/${id}/managers/${manager}`)
const see = (bearer: string, id: string) => as(bearer, `GET /service-accounts/${id}`)
const managersOf = async (id: string) => (await see(admin.access, id)).body.managers
const put = (bearer: string, json: unknown) => as(bearer, 'PUT /service-accounts', json)
const keyFor = (bearer: string, json: Record<string, unknown>) => newKey(service, bearer, json)
/** A back end: a service account and one key of it. */
const newBackEnd = async (scopes: string[], json: Record<string, unknown> = {}) => {
  const id = await newAccount(admin.access, scopes)
  const { key } = await keyFor(admin.access, { service_account_id: id, scopes, ...json })
  return { id, key }
}

test('the accounts of one user are listed for that user, admins and support, and for nobody else', async () => {
  const [maker, other] = [await addPersonWith(), await addPersonWith()]
  const support = await addPersonWith(['latchkey:support'])
  const [own, shared] = [await newAccount(maker.access), await newAccount(other.access)]
  await newAccount(other.access)
  await sql`UPDATE latchkey.users SET email_verified = true WHERE id = ${maker.id}`
  expect((await add(other.access, shared, { user_id: maker.id })).status).toBe(204)
  for (const caller of [maker, admin, support]) {
    const { status, body } = await as(caller.access, `GET /service-accounts?user_id=${maker.id}`)
    expect([status, body.items.map(({ id }: { id: string }) => id)]).toEqual([200, [shared, own]])
  }
  const named = await as(admin.access, `GET /service-accounts?user_id=${maker.id}&query=account`)
  expect(named.body.items).toHaveLength(2)
  expectProblem(await as(other.access, `GET /service-accounts?user_id=${maker.id}`), 'not_found')
  expectProblem(await as(admin.access, 'GET /service-accounts?user_id=nobody'), 'not_found')
})

describe('a manager of a service account', () => {
  test('does what its maker does, until removed', async () => {
    const [maker, other] = [await addPersonWith(), await addPersonWith()]
    const id = await newAccount(maker.access)
    expectProblem(await see(other.access, id), 'not_found')
    expectProblem(await add(other.access, id, { user_id: other.id }), 'not_found')
    const added = await add(maker.access, id, { user_id: other.id })
    expect([added.status, added.text]).toEqual([204, ''])
    expect((await add(maker.access, id, { user_id: other.id })).status).toBe(204)
    expect(await managersOf(id)).toEqual([
      { type: 'user', id: maker.id },
      { type: 'user', id: other.id },
    ])
    const key = await keyFor(other.access, { service_account_id: id, scopes: ['read'] })
    expect((await as(other.access, `PATCH /service-accounts/${id}`, { name: 'shared' })).status).toBe(200)
    expect((await as(maker.access, `DELETE /keys/${key.id}`)).status).toBe(200)

    // The maker is a manager like any other.
    expect((await remove(other.access, id, maker.id)).status).toBe(204)
    expect((await remove(other.access, id, maker.id)).status).toBe(204)
    expectProblem(await see(maker.access, id), 'not_found')
    expectProblem(await remove(maker.access, id, other.id), 'not_found')
    expect((await see(other.access, id)).body.created_by).toBe(maker.id)
    const events = await sql`SELECT action, actor_id, details FROM latchkey.audit_events
      WHERE target_id = ${id} AND action LIKE '%manager%' ORDER BY at`
    expect(events).toMatchObject([
      { action: 'service_account.manager_added', actor_id: maker.id, details: { manager: { id: other.id } } },
      {
        action: 'service_account.manager_removed',
        actor_id: other.id,
        details: { manager: { id: maker.id } },
      },
    ])
  })

  test('is added only by a caller who could grant all that the account holds', async () => {
    const maker = await addPersonWith(['read', 'deploy'])
    const id = await newAccount(maker.access, ['read', 'deploy'])
    await as(admin.access, `PATCH /users/${maker.id}`, { scopes: ['read'] })
    expectProblem(await add(maker.access, id, { user_id: stranger.id }), 'insufficient_scope')
    await as(admin.access, `PATCH /users/${maker.id}`, { scopes: ['read', 'deploy'] })
    expect((await add(maker.access, id, { user_id: stranger.id })).status).toBe(204)
  })

  test.each([
    ['an end', { expires_in_days: 1 }],
    ['a rate', { rate_limit: { limit: 1000, window_seconds: 60 } }],
    ['credits', { credits: { remaining: 10 } }],
    ['addresses', { allowed_ips: ['0.0.0.0/0', '::/0'] }],
  ])('is not added by a key with %s', async (_, bound) => {
    const account = await newAccount(admin.access, [WRITE, 'read'])
    const its = { service_account_id: account, scopes: [WRITE, 'read'] }
    const [free, bound_] = [await keyFor(admin.access, its), await keyFor(admin.access, { ...its, ...bound })]
    const made = await put(free.key, { external_id: crypto.randomUUID(), scopes: 'read' })
    expect(made.status).toBe(201)
    expectProblem(await add(bound_.key, made.body.id, { user_id: stranger.id }), 'forbidden')
    expect((await add(free.key, made.body.id, { user_id: stranger.id })).status).toBe(204)
  })

  test('is found by the verified address of an active user alone', async () => {
    const maker = await addPersonWith()
    const id = await newAccount(maker.access)
    const person = await addPerson(sql, {})
    const byAddress = () => add(maker.access, id, { email: person.email.toUpperCase() })
    await sql`UPDATE latchkey.users SET email_verified = false, is_active = true WHERE id = ${person.id}`
    expectProblem(await byAddress(), 'not_found')
    await sql`UPDATE latchkey.users SET email_verified = true, is_active = false WHERE id = ${person.id}`
    expectProblem(await byAddress(), 'not_found')
    await sql`UPDATE latchkey.users SET is_active = true WHERE id = ${person.id}`
    expect((await byAddress()).status).toBe(204)
    expectProblem(await add(maker.access, id, { email: 'unknown@example.com' }), 'not_found')
    expect(await managersOf(id)).toContainEqual({ type: 'user', id: person.id })
  })

  test.each([
    ['none', {}],
    ['two', { user_id: crypto.randomUUID(), email: 'a@example.com' }],
    ['no address', { email: 'x' }],
  ])('is named exactly once: %s', async (_, json) => {
    expectProblem(await add(admin.access, await newAccount(admin.access), json), 'validation_failed')
  })

  test('is unknown: 404; the twenty-first: 409; the last one is removed by admins alone', async () => {
    const maker = await addPersonWith()
    const id = await newAccount(maker.access)
    for (const unknown of [crypto.randomUUID(), 'x']) {
      expectProblem(await add(maker.access, id, { user_id: unknown }), 'not_found')
      expectProblem(await add(maker.access, id, { service_account_id: unknown }), 'not_found')
    }
    expectProblem(await remove(maker.access, id, 'x'), 'not_found')
    expect((await remove(maker.access, id, crypto.randomUUID())).status).toBe(204)
    expectProblem(await remove(maker.access, id, maker.id), 'conflict')
    await sql`WITH made AS (INSERT INTO latchkey.service_accounts (id, name, scopes, created_at)
      SELECT gen_random_uuid(), 'm', '{}', now() FROM generate_series(1, 19) RETURNING id)
      INSERT INTO latchkey.account_managers (id, service_account_id, manager_account_id, created_at)
      SELECT gen_random_uuid(), ${id}, id, now() FROM made`
    expectProblem(await add(maker.access, id, { user_id: stranger.id }), 'conflict')
    expect((await add(maker.access, id, { user_id: maker.id })).status).toBe(204)
    for (const manager of await managersOf(id))
      expect((await remove(admin.access, id, manager.id)).status).toBe(204)
    expect(await managersOf(id)).toEqual([])
    expectProblem(await see(maker.access, id), 'not_found')
  })

  test('who is removed while a request is held half sent changes nothing', async () => {
    const [maker, other] = [await addPersonWith(), await addPersonWith()]
    const id = await newAccount(maker.access)
    const requests = () => [
      { line: `PATCH /service-accounts/${id}`, bearer: other.access, json: { name: 'taken' } },
      { line: `PUT /service-accounts/${id}/managers`, bearer: other.access, json: { user_id: stranger.id } },
      { line: 'POST /keys', bearer: other.access, json: { service_account_id: id, scopes: ['read'] } },
    ]
    await add(maker.access, id, { user_id: other.id })
    // Control: with the power still there, each of them is done.
    const allowed = await sendHalves(service, requests())
    expect(await Promise.all(allowed.map((rest) => rest()))).toEqual([200, 204, 201])
    await remove(maker.access, id, stranger.id)
    await as(maker.access, `PATCH /service-accounts/${id}`, { name: 'kept' })

    const held = await sendHalves(service, requests())
    await remove(maker.access, id, other.id)
    expect(await Promise.all(held.map((rest) => rest()))).toEqual([404, 404, 404])
    expect((await see(maker.access, id)).body).toMatchObject({
      name: 'kept',
      managers: [{ type: 'user', id: maker.id }],
    })
  })

  test('of two who remove each other or themselves at once, one remains', async () => {
    for (const swap of [false, true]) {
      const [one, two] = [await addPersonWith(), await addPersonWith()]
      const id = await newAccount(one.access)
      await add(one.access, id, { user_id: two.id })
      const answers = await Promise.all([
        remove(one.access, id, swap ? two.id : one.id),
        remove(two.access, id, swap ? one.id : two.id),
      ])
      expect(answers.map(({ status }) => status).sort()).toEqual([204, swap ? 404 : 409])
      expect(await managersOf(id)).toHaveLength(1)
    }
  })

  test('who is deleted leaves the account to the others, and the last one to admins', async () => {
    const [maker, other] = [await addPersonWith(), await addPersonWith()]
    const [shared, own] = [await newAccount(maker.access), await newAccount(maker.access)]
    await add(maker.access, shared, { user_id: other.id })
    const ended = await as(admin.access, `DELETE /users/${maker.id}?service_accounts=disable`)
    expect(ended.body.service_accounts).toEqual([{ id: own, name: 'account' }])
    expect((await see(other.access, shared)).body).toMatchObject({
      is_active: true,
      created_by: null,
      managers: [{ type: 'user', id: other.id }],
    })
    expectProblem(await see(other.access, own), 'not_found')
    expect((await see(admin.access, own)).body).toMatchObject({ is_active: false, managers: [] })
  })

  test('who is disabled counts as none: the accounts of the other one are theirs alone', async () => {
    const [maker, other] = [await addPersonWith(), await addPersonWith()]
    const id = await newAccount(maker.access)
    await add(maker.access, id, { user_id: other.id })
    const end = (user: string) => as(admin.access, `PATCH /users/${user}`, { is_active: false })
    expect((await end(maker.id)).body.service_accounts).toEqual([])
    expect((await end(other.id)).body.service_accounts).toEqual([{ id, name: 'account' }])
  })
})

describe('keys of a managed account', () => {
  test('are reached by keys of its managers within their bounds, and nothing further', async () => {
    const backEnd = await newBackEnd([WRITE, READ, KEYS, 'latchkey:keys.read', 'read'])
    const other = await newBackEnd([WRITE, READ, KEYS, 'latchkey:keys.read', 'read'])
    const customer = (await put(backEnd.key, { external_id: 'reach', scopes: [WRITE, KEYS, 'read'] })).body.id
    const key = await keyFor(backEnd.key, { service_account_id: customer, scopes: [WRITE, KEYS, 'read'] })
    // What a managed account manages is not managed by its manager.
    const further = (await put(key.key, { external_id: 'further', scopes: 'read' })).body.id
    const deep = await keyFor(key.key, { service_account_id: further, scopes: ['read'] })
    expect((await as(backEnd.key, `GET /keys/${key.id}`)).status).toBe(200)
    expect((await as(backEnd.key, `GET /keys?service_account_id=${customer}`)).body).toHaveLength(1)
    for (const route of [
      `GET /keys/${deep.id}`,
      `DELETE /keys/${deep.id}`,
      `GET /service-accounts/${further}`,
    ])
      expectProblem(await as(backEnd.key, route), 'not_found')
    for (const route of [
      `GET /keys/${key.id}`,
      `DELETE /keys/${key.id}`,
      `GET /keys?service_account_id=${customer}`,
      `GET /service-accounts/${customer}`,
      `DELETE /service-accounts/${customer}`,
    ])
      expectProblem(await as(other.key, route), 'not_found')
    expectProblem(await as(other.key, 'POST /keys', { service_account_id: customer }), 'not_found')
    // A key with a scope that the manager lacks is out of its reach.
    await as(admin.access, `PATCH /service-accounts/${customer}`, { scopes: [WRITE, KEYS, 'read', 'deploy'] })
    const wide = await keyFor(admin.access, { service_account_id: customer, scopes: ['deploy'] })
    expectProblem(await as(backEnd.key, `DELETE /keys/${wide.id}`), 'not_found')
    const revoked = await as(backEnd.key, 'POST /keys/revoke', { service_account_id: customer })
    expect(revoked.body).toEqual({ revoked: 1, remaining: 0 })
    expect((await as(wide.key, 'GET /auth/me')).status).toBe(200)
    // An account with a scope of Latchkey's own API that the key lacks is out of reach as a whole.
    await as(admin.access, `PATCH /service-accounts/${customer}`, { scopes: ['latchkey:users.read'] })
    expectProblem(await as(backEnd.key, `GET /service-accounts/${customer}`), 'not_found')
    expectProblem(await as(backEnd.key, 'POST /keys', { service_account_id: customer }), 'not_found')
  })
})

describe('PUT /service-accounts', () => {
  test('makes the account of an external id, and changes it afterwards in what is named', async () => {
    const { id, key } = await newBackEnd([WRITE, 'read'])
    for (const external_id of ['..', 'a/b', '%2F', 'x'.repeat(255)]) {
      const made = await put(key, { external_id })
      expect(made.status).toBe(201)
      expect(made.body).toMatchObject({
        name: external_id.slice(0, 100),
        external_id,
        scopes: [],
        managers: [{ type: 'service_account', id }],
      })
      expect((await put(key, { external_id, description: 'd' })).body).toEqual({
        ...made.body,
        description: 'd',
      })
    }
    expect((await put(key, { external_id: 'a/b', scopes: 'read' })).body.scopes).toEqual(['read'])
    expectProblem(await put(key, { external_id: 'a/b', scopes: 'deploy' }), 'insufficient_scope')
    expectProblem(await put(key, { external_id: 'a/b', is_active: true }), 'validation_failed')
    expectProblem(await put(key, { name: 'no external id' }), 'validation_failed')
    const { rows } = {
      rows: await sql`SELECT counts_for FROM latchkey.service_accounts WHERE external_id = 'a/b'`,
    }
    expect(rows).toMatchObject([{ counts_for: null }])
  })

  test('is for admins and for keys with the scope, and what is not theirs to manage answers 409', async () => {
    const [one, two] = [await newBackEnd([WRITE, 'read']), await newBackEnd([WRITE, 'read'])]
    const plain = await newBackEnd(['read'])
    const holder = await addPersonWith([WRITE, 'read'])
    expectProblem(await put(plain.key, { external_id: 'owned' }), 'insufficient_scope')
    expectProblem(await put(stranger.access, { external_id: 'owned' }), 'insufficient_scope')
    expectProblem(await put(holder.access, { external_id: 'owned' }), 'forbidden')
    expect((await put(one.key, { external_id: 'owned' })).status).toBe(201)
    expectProblem(await put(two.key, { external_id: 'owned', name: 'mine' }), 'conflict')
    expect((await put(admin.access, { external_id: 'owned', name: 'seen' })).body.name).toBe('seen')
    expect((await put(one.key, { external_id: 'owned' })).status).toBe(200)
  })

  test('of a hundred at once, one makes the account and the others change it', async () => {
    const { key } = await newBackEnd([WRITE, 'read'])
    const putOnce = (description: string) => insist(() => put(key, { external_id: 'at once', description }))
    const answers = await Promise.all(Array.from({ length: 100 }, (_, at) => putOnce(`${at}`)))
    expect(answers.map(({ status }) => status).sort()).toEqual([...Array(99).fill(200), 201])
    expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1)
    expect(await sql`SELECT id FROM latchkey.service_accounts WHERE external_id = 'at once'`).toHaveLength(1)
  })
})

describe('quotas', () => {
  test('hold where a hundred accounts are made at once: exactly as many are made as the setting says', async () => {
    const small = await startService({ serviceAccountsPerUser: 5 }, service)
    try {
      const maker = await addPersonWith()
      const make = (bearer = maker.access) =>
        call(small, 'POST /service-accounts', { bearer, json: { name: 'at once', scopes: [] } })
      const answers = await Promise.all(Array.from({ length: 100 }, () => insist(make)))
      const made = answers.filter(({ status }) => status === 201)
      expect(made).toHaveLength(5)
      for (const answer of answers.filter(({ status }) => status !== 201))
        expectProblem(answer, 'quota_exceeded')
      const [row] =
        await sql`SELECT count(*)::int AS count FROM latchkey.service_accounts WHERE counts_for = ${maker.id}`
      expect(row?.count).toBe(5)
      // Rule 1: those that an admin or a key makes have no quota.
      const json = { scopes: ['latchkey:service-accounts.write'] }
      const { key } = await newKey(small, admin.access, json)
      for (const bearer of [admin.access, key])
        for (let i = 0; i < 6; i++) expect((await make(bearer)).status).toBe(201)
    } finally {
      await small.stop()
    }
  })

  test('count accounts that a person made in their own session and still manages', async () => {
    const [maker, other] = [await addPersonWith(), await addPersonWith()]
    const ids = [
      await newAccount(maker.access),
      await newAccount(maker.access),
      await newAccount(maker.access),
    ]
    const create = () => as(maker.access, 'POST /service-accounts', { name: 'x', scopes: [] })
    const full = await create()
    expectProblem(full, 'quota_exceeded')
    expect(full.body.detail).toContain('SERVICE_ACCOUNTS_PER_USER allows 3 ')
    const given = ids[0] ?? ''
    await add(maker.access, given, { user_id: other.id })
    await remove(maker.access, given, maker.id)
    expect((await create()).status).toBe(201)
    // The account counts again with its maker among the managers.
    expectProblem(await add(other.access, given, { user_id: maker.id }), 'quota_exceeded')
    // An account that another person made does not count for a manager who is added.
    const theirs = await newAccount(admin.access)
    expect((await add(admin.access, theirs, { user_id: maker.id })).status).toBe(204)
    const { access } = await beginSession(service, maker)
    expectProblem(await as(access, 'POST /service-accounts', { name: 'x', scopes: [] }), 'quota_exceeded')
  })
})
