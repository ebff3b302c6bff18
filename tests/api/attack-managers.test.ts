import { describe, expect, test } from 'bun:test'
import { type Answer, call, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { makePortal, openPortal } from '../support/portal.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const PORTAL = 'latchkey:portal'

const service = useService({ serviceAccountsPerUser: 3, apiKeysPerOwner: 5 })
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))

const as = (bearer: string, route: string, json?: unknown): Promise<Answer> =>
  call(service, route, { bearer, json })
const newPersonWith = (scopes = ['read', 'write']) => addLoggedIn(service, sql, { scopes })
const newAccount = async (bearer: string, scopes = ['read']): Promise<string> =>
  (await as(bearer, 'POST /service-accounts', { name: 'account', scopes })).body.id
const add = async (bearer: string, id: string, json: unknown) =>
  expect((await as(bearer, `PUT /service-accounts/${id}/managers`, json)).status).toBe(204)
const remove = async (bearer: string, id: string, manager: string) =>
  expect((await as(bearer, `DELETE /service-accounts/${id}/managers/${manager}`)).status).toBe(204)
const patch = (bearer: string, id: string, json: unknown) => as(bearer, `PATCH /service-accounts/${id}`, json)
const keyFor = (bearer: string, service_account_id: string, json: Record<string, unknown> = {}) =>
  newKey(service, bearer, { service_account_id, scopes: ['read'], ...json })
const stateOfKey = async (key: string) => (await call(service, 'GET /auth/me', { apiKey: key })).status

describe('what an admin lowered, the managers do not raise', () => {
  test.each(['their own account', 'an account of which they made the admin a manager'])(
    'of %s',
    async (which) => {
      const person = await newPersonWith()
      const id = await newAccount(person.access)
      const key = await keyFor(person.access, id)
      if (which !== 'their own account') await add(person.access, id, { user_id: admin.id })
      expect((await as(admin.access, `PATCH /keys/${key.id}`, { is_active: false })).status).toBe(200)
      expect((await patch(admin.access, id, { is_active: false })).status).toBe(200)
      expectProblem(await patch(person.access, id, { is_active: true }), 'forbidden')
      expectProblem(await as(person.access, `PATCH /keys/${key.id}`, { is_active: true }), 'forbidden')
      expect((await patch(admin.access, id, { is_active: true })).status).toBe(200)
      expect((await as(admin.access, `PATCH /keys/${key.id}`, { is_active: true })).status).toBe(200)
    },
  )
})

describe('the accounts of a person who is disabled with their keys', () => {
  const disable = (id: string) =>
    as(admin.access, `PATCH /users/${id}?service_accounts=disable`, { is_active: false })

  test('end too where they manage each other, whether the person manages both or one', async () => {
    for (const managesBoth of [true, false]) {
      const person = await newPersonWith()
      const [one, other] = [await newAccount(person.access), await newAccount(person.access)]
      const key = await keyFor(person.access, one)
      await add(person.access, one, { service_account_id: other })
      await add(person.access, other, { service_account_id: one })
      await add(person.access, other, { service_account_id: other })
      if (!managesBoth) await remove(person.access, other, person.id)
      expect(await stateOfKey(key.key)).toBe(200)
      expect((await disable(person.id)).status).toBe(200)
      expect(await stateOfKey(key.key)).toBe(401)
    }
  })

  test('stay where somebody else manages them, also through another account', async () => {
    const [person, other] = [await newPersonWith(), await newPersonWith()]
    const backEnd = await newAccount(other.access)
    const between = await newAccount(other.access)
    await add(other.access, between, { service_account_id: backEnd })
    await remove(other.access, between, other.id)
    const id = await newAccount(person.access)
    await add(person.access, id, { service_account_id: between })
    const key = await keyFor(person.access, id)
    expect((await disable(person.id)).status).toBe(200)
    expect(await stateOfKey(key.key)).toBe(200)
  })

  test('stay where an account that is the admins’ manages them', async () => {
    const person = await newPersonWith()
    const backEnd = await newAccount(admin.access)
    await remove(admin.access, backEnd, admin.id)
    const id = await newAccount(person.access)
    await add(person.access, id, { service_account_id: backEnd })
    const key = await keyFor(person.access, id)
    expect((await disable(person.id)).status).toBe(200)
    expect(await stateOfKey(key.key)).toBe(200)
  })
})

describe('quotas', () => {
  test('count accounts that a person handed over to an account of their own, and their keys', async () => {
    const person = await newPersonWith(['read', 'write'])
    const hub = await newAccount(person.access)
    const handed = [await newAccount(person.access), await newAccount(person.access)]
    for (const id of handed) {
      await add(person.access, id, { service_account_id: hub })
      await remove(person.access, id, person.id)
    }
    const again = () => as(person.access, 'POST /service-accounts', { name: 'more', scopes: [] })
    expectProblem(await again(), 'quota_exceeded')
    const scopes = ['read', 'latchkey:keys.write']
    await patch(admin.access, hub, { scopes })
    for (const id of handed) await patch(admin.access, id, { scopes: ['read'] })
    const { key } = await keyFor(admin.access, hub, { scopes })
    const make = (service_account_id: string) =>
      call(service, 'POST /keys', { apiKey: key, json: { service_account_id, scopes: ['read'] } })
    // One of five is the hub's own.
    for (let i = 0; i < 4; i++) expect((await make(handed[i % 2] ?? '')).status).toBe(201)
    expectProblem(await make(handed[0] ?? ''), 'quota_exceeded')
    // What another user took over counts no more, and may be taken back while there is room.
    const other = await newPersonWith()
    await add(admin.access, handed[0] ?? '', { user_id: other.id })
    expect((await again()).status).toBe(201)
    expectProblem(
      await as(other.access, `PUT /service-accounts/${handed[0]}/managers`, { user_id: person.id }),
      'quota_exceeded',
    )
    // What counts already is taken back at any time.
    await add(admin.access, handed[1] ?? '', { user_id: person.id })
  })
})

describe('a portal session', () => {
  const openFor = (key: string, id: string, may: string[]) =>
    openPortal(service, { apiKey: key }, { service_account_id: id, scopes: ['read'], may })

  test('ends where the owner of its maker manages the account no more', async () => {
    const person = await newPersonWith(['read', PORTAL])
    const id = await newAccount(person.access)
    await add(person.access, id, { user_id: admin.id })
    const { key } = await newKey(service, person.access, { scopes: ['read', PORTAL] })
    const theirs = await openFor(key, id, ['create'])
    const link = await makePortal(service, { apiKey: key }, { service_account_id: id })
    const admins = await openPortal(service, { bearer: admin.access }, { service_account_id: id })
    const kept = await newAccount(person.access)
    const elsewhere = await openFor(key, kept, ['create'])
    expect((await as(theirs.bearer, 'POST /keys', {})).status).toBe(201)
    await remove(admin.access, id, person.id)
    expectProblem(await as(theirs.bearer, 'POST /keys', {}), 'invalid_token')
    expectProblem(
      await call(service, 'POST /portal/exchange', { json: { token: link.token } }),
      'invalid_token',
    )
    expect((await as(admins.bearer, 'GET /keys')).status).toBe(200)
    expect((await as(elsewhere.bearer, 'POST /keys', {})).status).toBe(201)
    const events = await sql`SELECT details FROM latchkey.audit_events
      WHERE target_id = ${theirs.id} AND action = 'portal.session_ended'`
    expect(events).toMatchObject([
      { details: { maker: { type: 'key' }, owner: { type: 'service_account', id } } },
    ])
  })

  test.each([
    ['a rate', { rate_limit: { limit: 1000, window_seconds: 60 } }],
    ['credits', { credits: { remaining: 10 } }],
  ])('in which keys are made or rotated is not made by a key with %s, which makes none', async (_, bound) => {
    const person = await newPersonWith(['read', PORTAL])
    const id = await newAccount(person.access)
    const { key } = await newKey(service, person.access, { scopes: ['read', PORTAL], ...bound })
    const make = (may: string[]) =>
      call(service, 'POST /portal/sessions', { apiKey: key, json: { service_account_id: id, may } })
    expectProblem(await make(['create']), 'forbidden')
    expectProblem(await make(['rotate']), 'forbidden')
    expect((await make(['read', 'revoke'])).status).toBe(201)
    const free = await newKey(service, person.access, { scopes: ['read', PORTAL] })
    expect((await openFor(free.key, id, ['create', 'rotate'])).access.may).toContain('create')
  })

  test('has a return_url that is short enough as a URL writes it', async () => {
    const id = await newAccount(admin.access)
    const make = (path: string) =>
      as(admin.access, 'POST /portal/sessions', {
        service_account_id: id,
        return_url: `${new URL(service.config.publicUrl).origin}/${path}`,
      })
    expectProblem(await make('\u00e9'.repeat(1000)), 'validation_failed')
    expect((await make('\u00e9'.repeat(300))).status).toBe(201)
  })
})
