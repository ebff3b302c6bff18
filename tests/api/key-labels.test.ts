import { describe, expect, test } from 'bun:test'
import { type Answer, call, newKey } from '../support/client.ts'
import { addLoggedIn, PASSWORD } from '../support/people.ts'
import { openPortal } from '../support/portal.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const LABEL = 'latchkey:keys.label'
const WRITE = 'latchkey:keys.write'
const UNKNOWN_ID = '01890a5d-ac96-774b-bcce-b302099a8057'

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const owner = prepare(() => addLoggedIn(service, sql))
/** A user to whose ceiling the scope was added. */
const labeller = prepare(() => addLoggedIn(service, sql, { scopes: ['read', LABEL] }))

const as = (bearer: string, route: string, json?: unknown): Promise<Answer> =>
  call(service, route, { bearer, json })
const labels = { external_id: 'cust-1', metadata: { plan: 'gold' } }
const shownOf = async (id: string) => {
  const { external_id, metadata } = (await as(admin.access, `GET /keys/${id}`)).body
  return { external_id, metadata }
}
/** A key of the owner that an admin has labelled. */
const labelled = async (bearer = owner.access, json: object = {}) => {
  const key = await newKey(service, bearer, { scopes: 'read', ...json })
  expect((await as(admin.access, `PATCH /keys/${key.id}`, labels)).status).toBe(200)
  return key
}
/** A refusal that names the scope which is missing. */
const expectLacks = (answer: Answer, scope: string) => {
  expectProblem(answer, 'insufficient_scope')
  expect(answer.headers.get('www-authenticate')).toContain(`scope="${scope}"`)
}
/** A service account with the scopes, its key, and a key of a customer account that it manages. */
const newBackEnd = async (scopes: string[]) => {
  const json = { name: 'back end', scopes: [...scopes, 'read'] }
  const { id } = (await as(admin.access, 'POST /service-accounts', json)).body
  const { key } = await newKey(service, admin.access, { service_account_id: id, scopes: json.scopes })
  const customer = (await as(admin.access, 'POST /service-accounts', { name: 'customer', scopes: ['read'] }))
    .body
  const added = await as(admin.access, `PUT /service-accounts/${customer.id}/managers`, {
    service_account_id: id,
  })
  expect(added.status).toBe(204)
  const own = await newKey(service, admin.access, { service_account_id: id, scopes: 'read' })
  const theirs = await newKey(service, admin.access, { service_account_id: customer.id, scopes: 'read' })
  return { key, own: own.id, theirs: theirs.id, customer: customer.id as string }
}

describe('without the scope', () => {
  test.each([
    ['an external id', { external_id: 'cust-1' }],
    ['metadata', { metadata: { plan: 'gold' } }],
    ['empty metadata', { metadata: {} }],
    ['an external id that is null', { external_id: null }],
    ['metadata that is null', { metadata: null }],
  ])('a new key that names %s is refused, and made without', async (_, named) => {
    const { key: manager } = await newKey(service, owner.access, { scopes: ['read', WRITE] })
    const before = (await as(owner.access, 'GET /keys')).body.length
    for (const route of ['POST /keys', 'POST /keys/create'])
      for (const bearer of [owner.access, manager]) expectLacks(await as(bearer, route, named), LABEL)
    expect((await as(owner.access, 'GET /keys')).body).toHaveLength(before)
    // The control: without the labels, and for those who may.
    expect((await as(owner.access, 'POST /keys', { name: 'n', description: 'd' })).status).toBe(201)
    for (const bearer of [admin.access, labeller.access]) {
      const made = await as(bearer, 'POST /keys', named)
      expect([made.status, made.body]).toMatchObject([201, { external_id: null, metadata: null, ...named }])
    }
  })

  test('a new key that names one is refused before its owner is looked up', async () => {
    const json = { ...labels, service_account_id: UNKNOWN_ID }
    expectLacks(await as(owner.access, 'POST /keys', json), LABEL)
    // The control: the look-up is what answers a holder of the scope.
    expectProblem(await as(labeller.access, 'POST /keys', json), 'not_found')
  })

  test.each([
    ['another external id', { external_id: 'cust-2' }],
    ['another capital', { external_id: 'Cust-1' }],
    ['no external id', { external_id: null }],
    ['other metadata', { metadata: { plan: 'free' } }],
    ['more metadata', { metadata: { plan: 'gold', more: null } }],
    ['no metadata', { metadata: null }],
    ['one that stays, and one that changes', { external_id: 'cust-1', metadata: {} }],
    ['a name beside it', { name: 'n', external_id: 'cust-2' }],
  ])('a key that has labels keeps them: %s is refused', async (_, patch) => {
    const { id } = await labelled()
    const { key: manager } = await newKey(service, owner.access, { scopes: ['read', WRITE] })
    for (const bearer of [owner.access, manager])
      expectLacks(await as(bearer, `PATCH /keys/${id}`, patch), LABEL)
    expect(await shownOf(id)).toEqual(labels)
    const { name } = (await as(owner.access, `GET /keys/${id}`)).body
    expect(name).toBe(null)
    // The control.
    expect((await as(admin.access, `PATCH /keys/${id}`, patch)).status).toBe(200)
    expect(await shownOf(id)).not.toEqual(labels)
  })

  test('a change that names what is there already passes, in any order of members, and in NFC', async () => {
    const { id } = await labelled()
    expect((await as(owner.access, `PATCH /keys/${id}`, { ...labels, name: 'renamed' })).body.name).toBe(
      'renamed',
    )
    const metadata = { b: { z: [1, 'é'], a: null }, a: 1.5 }
    await as(admin.access, `PATCH /keys/${id}`, { external_id: 'Zo\u00eb', metadata })
    const same = { external_id: 'Zoe\u0308', metadata: { a: 1.5, b: { a: null, z: [1, 'é'] } } }
    expect((await as(owner.access, `PATCH /keys/${id}`, same)).status).toBe(200)
    expect(await shownOf(id)).toEqual({ external_id: 'Zo\u00eb', metadata })
    const bare = await newKey(service, owner.access)
    expect(
      (await as(owner.access, `PATCH /keys/${bare.id}`, { external_id: null, metadata: null })).status,
    ).toBe(200)
    expectLacks(await as(owner.access, `PATCH /keys/${bare.id}`, { metadata: {} }), LABEL)
  })
})

describe('who holds it', () => {
  test('only an admin grants it: to a user, to a service account, to a key', async () => {
    expectLacks(await as(owner.access, 'POST /keys', { scopes: LABEL }), LABEL)
    const account = { name: 'mine', scopes: [LABEL] }
    expectLacks(await as(owner.access, 'POST /service-accounts', account), LABEL)
    const person = await addLoggedIn(service, sql)
    expectLacks(await as(person.access, 'POST /keys', labels), LABEL)
    const raised = await as(admin.access, `PATCH /users/${person.id}`, { scopes: ['read', LABEL] })
    expect(raised.status).toBe(200)
    expect((await as(person.access, 'POST /keys', labels)).status).toBe(201)
    expect((await as(person.access, 'POST /keys', { scopes: [LABEL] })).status).toBe(201)
  })

  test('a key holds it where it is written on the key, while the owner holds it', async () => {
    const person = await addLoggedIn(service, sql, { scopes: ['read', LABEL] })
    const plain = await newKey(service, person.access, { scopes: ['read', WRITE] })
    const holder = await newKey(service, person.access, { scopes: ['read', WRITE, LABEL] })
    const { id } = await newKey(service, person.access, { scopes: 'read' })
    expectLacks(await as(plain.key, `PATCH /keys/${id}`, labels), LABEL)
    expectLacks(await as(plain.key, 'POST /keys', labels), LABEL)
    expect((await as(holder.key, `PATCH /keys/${id}`, labels)).body).toMatchObject(labels)
    expect((await as(holder.key, 'POST /keys', labels)).body).toMatchObject(labels)
    await as(admin.access, `PATCH /users/${person.id}`, { scopes: ['read'] })
    expectLacks(await as(holder.key, 'POST /keys', labels), LABEL)
    expectLacks(await as(person.access, `PATCH /keys/${id}`, { metadata: null }), LABEL)
    expect(await shownOf(id)).toEqual(labels)
  })

  test('a token of an admin that was narrowed holds it only by name', async () => {
    const { id } = await newKey(service, admin.access)
    const narrowed = async (scope: string) => {
      const form = { grant_type: 'password', username: admin.email, password: PASSWORD, scope }
      return (await call(service, 'POST /oauth/token', { form })).body.access_token as string
    }
    expectLacks(await as(await narrowed(WRITE), `PATCH /keys/${id}`, labels), LABEL)
    expect((await as(await narrowed(LABEL), `PATCH /keys/${id}`, labels)).body).toMatchObject(labels)
  })
})

describe('with it alone', () => {
  test('the labels of the keys within reach are changed, and nothing else', async () => {
    const { key, own, theirs } = await newBackEnd([LABEL])
    for (const id of [own, theirs]) {
      expect((await as(key, `PATCH /keys/${id}`, labels)).body).toMatchObject(labels)
      for (const patch of [{ name: 'n' }, { ...labels, name: 'n' }, { is_active: false }, {}])
        expectLacks(await as(key, `PATCH /keys/${id}`, patch), WRITE)
      expectLacks(await as(key, `DELETE /keys/${id}`), WRITE)
      expectLacks(await as(key, `POST /keys/${id}/rotate`, {}), WRITE)
      const { name, is_active } = (await as(admin.access, `GET /keys/${id}`)).body
      expect([name, is_active]).toEqual([null, true])
      expect((await as(key, `PATCH /keys/${id}`, { external_id: null })).body.external_id).toBe(null)
    }
    expectLacks(await as(key, 'POST /keys', labels), WRITE)
  })

  test('keys beyond reach are unknown: of others, of accounts that others manage, and those that may do more', async () => {
    const { key, own, customer } = await newBackEnd([LABEL])
    const stranger = await newBackEnd([LABEL])
    const more = await newKey(service, owner.access, { scopes: 'read' })
    for (const id of [stranger.own, stranger.theirs, more.id, UNKNOWN_ID])
      expectProblem(await as(key, `PATCH /keys/${id}`, labels), 'not_found')
    await as(admin.access, `PATCH /service-accounts/${customer}`, { scopes: ['read', 'write'] })
    const wide = await newKey(service, admin.access, { service_account_id: customer, scopes: 'write' })
    expectProblem(await as(key, `PATCH /keys/${wide.id}`, labels), 'not_found')
    expect(await shownOf(stranger.theirs)).toEqual({ external_id: null, metadata: null })
    // The control.
    expect((await as(key, `PATCH /keys/${own}`, labels)).status).toBe(200)
    expect((await as(stranger.key, `PATCH /keys/${stranger.theirs}`, labels)).status).toBe(200)
  })

  test('keys.write without it changes all but the labels', async () => {
    const { key, theirs } = await newBackEnd([WRITE])
    expectLacks(await as(key, `PATCH /keys/${theirs}`, labels), LABEL)
    expect((await as(key, `PATCH /keys/${theirs}`, { name: 'n' })).body.name).toBe('n')
  })

  test('a change of labels is told in the audit trail', async () => {
    const { key, theirs } = await newBackEnd([LABEL])
    await as(key, `PATCH /keys/${theirs}`, labels)
    const [event] = await sql`
      SELECT actor_type, details FROM latchkey.audit_events WHERE target_id = ${theirs} AND action = 'key.updated'`
    expect(event).toMatchObject({
      actor_type: 'key',
      details: {
        external_id: { before: null, after: 'cust-1' },
        metadata: { before: null, after: { plan: 'gold' } },
      },
    })
  })
})

describe('labels stay as they are', () => {
  test('through a rotation, for which nobody needs the scope', async () => {
    const { id } = await labelled()
    expect((await as(owner.access, `POST /keys/${id}/rotate`, {})).body).toMatchObject(labels)
  })

  test('in the portal, which neither sets nor clears them', async () => {
    const made = await openPortal(
      service,
      { bearer: admin.access },
      { user_id: owner.id, scopes: ['read'], may: ['read', 'create', 'rotate'] },
    )
    const { id } = await labelled()
    for (const named of [{ external_id: 'x' }, { metadata: {} }, { metadata: null }, { external_id: null }])
      expectProblem(await as(made.bearer, 'POST /keys', named), 'forbidden')
    expect((await as(made.bearer, `POST /keys/${id}/rotate`, {})).body).toMatchObject(labels)
    expect((await as(made.bearer, 'POST /keys', { name: 'mine' })).status).toBe(201)
  })

  test('and an import sets them by the power of an admin', async () => {
    const item = { owner: { user_id: owner.id }, key: crypto.randomUUID(), ...labels }
    const { body } = await as(admin.access, 'POST /keys/import', { keys: [item] })
    expect(await shownOf(body.results[0].id)).toEqual(labels)
    expectProblem(await as(labeller.access, 'POST /keys/import', { keys: [item] }), 'forbidden')
  })
})

describe('numbers that would not survive', () => {
  const headers = { 'content-type': 'application/json' }
  const send = (route: string, raw: string) => call(service, route, { bearer: labeller.access, raw, headers })

  test.each([
    ['9007199254740992', 422],
    ['-9007199254740992', 422],
    ['9007199254740993.0', 422],
    ['9.007199254740993e15', 422],
    ['900719925474099.3E1', 422],
    ['10000000000000000', 422],
    ['1e400', 422],
    ['-1e400', 422],
    ['9007199254740991', 201],
    ['-9007199254740991.0', 201],
    ['9.007199254740991e15', 201],
    ['1e21', 201],
    ['1234567.1234567890', 201],
  ])('%s', async (number, status) => {
    const raw = `{"metadata":{"n":${number}}}`
    const made = await send('POST /keys', raw)
    expect(made.status).toBe(status)
    const { id } = await newKey(service, labeller.access)
    expect((await send(`PATCH /keys/${id}`, raw)).status).toBe(status === 201 ? 200 : 422)
    const item = `{"owner":{"user_id":"${owner.id}"},"key":"${crypto.randomUUID()}","metadata":{"n":${number}}}`
    const imported = await call(service, 'POST /keys/import', {
      bearer: admin.access,
      raw: `{"keys":[${item}]}`,
      headers,
    })
    expect(imported.body.results).toMatchObject([{ status: status === 201 ? 'imported' : 'refused' }])
    if (status === 422) expect(made.body.errors).toMatchObject([{ path: '/metadata/n' }])
    else expect(await shownOf(id)).toEqual({ external_id: null, metadata: { n: Number(number) } })
  })
})
