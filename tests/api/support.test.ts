import { beforeAll, describe, expect, test } from 'bun:test'
import { type Answer, newKey } from '../support/client.ts'
import { call, documentOf, operationsOf } from '../support/described.ts'
import { newClient } from '../support/oauth.ts'
import { type AddedPerson, addLoggedIn, addPerson, PASSWORD, type Tokens } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const SUPPORT = 'latchkey:support'
const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const person = prepare(() => addLoggedIn(service, sql, { scopes: ['read', SUPPORT] }))
let keyOfSupport = ''
let narrowed = ''
beforeAll(async () => {
  keyOfSupport = (await newKey(service, admin.access, { scopes: SUPPORT })).key
  const form = { grant_type: 'password', username: person.email, password: PASSWORD, scope: SUPPORT }
  narrowed = (await call(service, 'POST /oauth/token', { form })).body.access_token
})

/** The holders of the scope: a person, that person's token narrowed to it, and a key. */
const HOLDERS: [string, () => string][] = [
  ['a user', () => person.access],
  ['a narrowed token', () => narrowed],
  ['a key', () => keyOfSupport],
]
const ask = (bearer: string, route: string, json?: unknown): Promise<Answer> =>
  call(service, route, { bearer, json })
const asAdmin = (route: string, json?: unknown) => ask(admin.access, route, json)

type Customer = AddedPerson &
  Tokens & { key: { id: string; key: string }; account: string; accountKey: string }
/** Somebody with a key and a service account, which has a key. */
async function newCustomer(role: 'user' | 'admin' = 'user'): Promise<Customer> {
  const customer = await addLoggedIn(service, sql, { role })
  const key = await newKey(service, customer.access, { scopes: 'read' })
  const { id: account } = await newClient(service, customer.access)
  const json = { service_account_id: account }
  const accountKey = (await ask(customer.access, 'POST /keys', json)).body.id
  return { ...customer, key, account, accountKey }
}

describe.each(HOLDERS)('%s with latchkey:support', (_, bearerOf) => {
  test('reads what an admin reads of everybody', async () => {
    const { id, key, account, accountKey } = await newCustomer()
    for (const route of [
      'GET /keys?all=true&limit=5&expand=owner,usage',
      `GET /keys?user_id=${id}`,
      `GET /keys?service_account_id=${account}`,
      'GET /keys?all=true&query=example',
      `GET /keys/${key.id}`,
      `GET /keys/${accountKey}`,
      `GET /keys/${key.id}/usage`,
      'GET /service-accounts?limit=3',
      `GET /service-accounts/${account}`,
      'GET /users?limit=3',
      'GET /users?query=example',
      `GET /users/${id}`,
      `GET /users/${admin.id}`,
      `GET /users/${id}/sessions`,
      `GET /audit?target=${id}`,
    ]) {
      const [mine, admins] = [await ask(bearerOf(), route), await asAdmin(route)]
      expect([route, mine.status]).toEqual([route, 200])
      if (!route.includes('/sessions')) expect([route, mine.body]).toEqual([route, admins.body])
    }
    expect((await ask(bearerOf(), `POST /keys/${key.id}/check`, {})).body.code).toBe('VALID')
  })

  test('disables users, accounts and keys, revokes keys and ends sessions', async () => {
    const { id, access, key, account, accountKey } = await newCustomer()
    const bearer = bearerOf()
    const disabled = await ask(bearer, `PATCH /keys/${key.id}`, { is_active: false })
    expect([disabled.status, disabled.body.status]).toEqual([200, 'disabled'])
    // The owner cannot undo it: only an admin does.
    expectProblem(await ask(access, `PATCH /keys/${key.id}`, { is_active: true }), 'forbidden')
    expectProblem(await ask(bearer, `PATCH /keys/${key.id}`, { is_active: true }), 'forbidden')
    expect((await asAdmin(`PATCH /keys/${key.id}`, { is_active: true })).status).toBe(200)

    expect((await ask(bearer, `PATCH /service-accounts/${account}`, { is_active: false })).status).toBe(200)
    expectProblem(await ask(access, `PATCH /service-accounts/${account}`, { is_active: true }), 'forbidden')
    expectProblem(await ask(bearer, `PATCH /service-accounts/${account}`, { is_active: true }), 'forbidden')
    expect((await asAdmin(`PATCH /service-accounts/${account}`, { is_active: true })).status).toBe(200)

    expect((await ask(bearer, `DELETE /keys/${accountKey}?reason=leaked`)).status).toBe(200)
    expect((await ask(bearer, `DELETE /keys/revoke/${key.id}`)).status).toBe(200)
    expect((await asAdmin(`GET /keys/${accountKey}`)).body).toMatchObject({ revoked_reason: 'leaked' })

    expect((await ask(bearer, `POST /users/${id}/logout`)).status).toBe(204)
    expectProblem(await ask(access, 'GET /auth/me'), 'invalid_token')
    expect((await ask(bearer, `PATCH /users/${id}`, { is_active: false })).body.is_active).toBe(false)
    expectProblem(await ask(bearer, `PATCH /users/${id}`, { is_active: true }), 'forbidden')
    expect((await asAdmin(`PATCH /users/${id}`, { is_active: true })).body.is_active).toBe(true)
  })

  test('changes nothing else of anybody', async () => {
    const { id, key, account } = await newCustomer()
    const bearer = bearerOf()
    const before = await digest(id, key.id, account)
    for (const json of [
      { name: 'x' },
      { is_active: true },
      { is_active: false, name: 'x' },
      { scopes: [] },
      { expires_at: '2099-01-01T00:00:00Z' },
      { credits: null },
      {},
    ])
      expectProblem(await ask(bearer, `PATCH /keys/${key.id}`, json), 'forbidden')
    for (const json of [{ scopes: [] }, { is_active: false, scopes: [] }, { email_verified: true }, {}])
      expectProblem(await ask(bearer, `PATCH /users/${id}`, json), 'forbidden')
    for (const json of [{ scopes: [] }, { name: 'x' }, { is_active: false, description: 'x' }])
      expectProblem(await ask(bearer, `PATCH /service-accounts/${account}`, json), 'forbidden')
    for (const [route, json] of [
      [`POST /keys/${key.id}/rotate`, {}],
      [`DELETE /keys/${key.id}/secrets/${key.key.slice(0, 11)}`],
      [`DELETE /keys/delete/${key.id}`],
      [`DELETE /users/${id}`],
      [`DELETE /service-accounts/${account}`],
      ['POST /keys', { service_account_id: account }],
      ['POST /users', { email: 'made-by-support@example.com' }],
    ] as const) {
      const { status } = await ask(bearer, route, json)
      expect([route, [403, 404].includes(status)]).toEqual([route, true])
    }
    expect(await digest(id, key.id, account)).toEqual(before)
  })

  test("touches nothing of an admin's", async () => {
    const { id, key } = await newCustomer('admin')
    const bearer = bearerOf()
    const [session] = (await asAdmin(`GET /users/${id}/sessions`)).body.items
    const before = await digest(id, key.id)
    for (const [route, json] of [
      [`PATCH /keys/${key.id}`, { is_active: false }],
      [`DELETE /keys/${key.id}`],
      [`PATCH /users/${id}`, { is_active: false }],
      [`POST /users/${id}/logout`],
      [`DELETE /users/${id}/sessions/${session.id}`],
      ['POST /keys/revoke', { user_id: id }],
    ] as const)
      expectProblem(await ask(bearer, route, json), 'forbidden')
    expect(await digest(id, key.id)).toEqual(before)
  })
})

/** The rows that the tests look at, as text. */
const digest = (...ids: string[]) => sql`
  SELECT x::text FROM latchkey.users x WHERE id = ANY (${ids}::uuid[])
  UNION ALL SELECT x::text FROM latchkey.api_keys x WHERE id = ANY (${ids}::uuid[])
  UNION ALL SELECT x::text FROM latchkey.api_key_secrets x WHERE key_id = ANY (${ids}::uuid[])
  UNION ALL SELECT x::text FROM latchkey.service_accounts x WHERE id = ANY (${ids}::uuid[])
  UNION ALL SELECT x::text FROM latchkey.sessions x WHERE user_id = ANY (${ids}::uuid[])`

test('is granted by admins alone, and ends with the ceiling', async () => {
  const someone = await addLoggedIn(service, sql)
  expectProblem(await ask(someone.access, 'POST /keys', { scopes: SUPPORT }), 'insufficient_scope')
  expectProblem(await ask(someone.access, 'GET /users'), 'insufficient_scope')
  expect((await asAdmin(`PATCH /users/${someone.id}`, { scopes: ['read', SUPPORT] })).status).toBe(200)
  expect((await ask(someone.access, 'GET /users')).status).toBe(200)
  expect((await ask(someone.access, 'GET /auth/me')).body.scopes).toContain(SUPPORT)
  await asAdmin(`PATCH /users/${someone.id}`, { scopes: ['read'] })
  expectProblem(await ask(someone.access, 'GET /users'), 'insufficient_scope')
})

test('a person keeps all power over what is their own', async () => {
  const own = await newKey(service, person.access, { name: 'own' })
  expect((await ask(person.access, `PATCH /keys/${own.id}`, { name: 'renamed' })).body.name).toBe('renamed')
  await ask(person.access, `PATCH /keys/${own.id}`, { is_active: false })
  expect((await ask(person.access, `PATCH /keys/${own.id}`, { is_active: true })).status).toBe(200)
  expect((await ask(person.access, `POST /keys/${own.id}/rotate`, {})).status).toBe(201)
})

test('every other route of an admin refuses them', async () => {
  const target = await addPerson(sql)
  const plain = await addLoggedIn(service, sql)
  const OPENED = [
    'POST /keys/lookup',
    'GET /users',
    'GET /users/{id}',
    'PATCH /users/{id}',
    'POST /users/{id}/logout',
    'GET /users/{id}/sessions',
    'DELETE /users/{id}/sessions/{sid}',
    'GET /audit',
    'GET /overview',
  ]
  const isRefused = ({ status, body }: Answer) => status === 403 && body.code !== 'wrong_credential_kind'
  const opened: string[] = []
  for (const { method, path } of operationsOf(await documentOf(service))) {
    const route = path.replace(/(.)\/$/, '$1')
    if (route.startsWith('/auth') || route.startsWith('/oauth') || route === '/forward-auth') continue
    const asked = `${method} ${route.replace(/\{\w+\}/g, target.id)}`
    const json = ['POST', 'PATCH', 'PUT'].includes(method) ? {} : undefined
    if (!isRefused(await ask(plain.access, asked, json))) continue
    if (!isRefused(await ask(person.access, asked, json))) opened.push(`${method} ${route}`)
  }
  // A PATCH of nothing is refused for what it says, which the tests above hold.
  expect(opened.toSorted()).toEqual(OPENED.filter((route) => route !== 'PATCH /users/{id}').toSorted())
})
