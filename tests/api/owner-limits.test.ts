import { describe, expect, test } from 'bun:test'
import { type Answer, call, newKey } from '../support/client.ts'
import { addLoggedIn, type Tokens } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const WRITE = 'latchkey:service-accounts.write'
const BACK_END = [WRITE, 'latchkey:keys.read', 'latchkey:keys.write', 'latchkey:portal', 'read']
const rate = (limit: number) => ({ limit, window_seconds: 3600 })

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))

type Json = Record<string, unknown>
const as = (bearer: string, route: string, json?: unknown): Promise<Answer> =>
  call(service, route, { bearer, json })
const keyFor = (bearer: string, json: Json) => newKey(service, bearer, json)
const newAccount = async (bearer: string, scopes: readonly string[]): Promise<string> =>
  (await as(bearer, 'POST /service-accounts', { name: 'account', scopes })).body.id
/** A back end: a service account, and a key of it that manages customers. */
const newBackEnd = async (json: Json = {}) => {
  const id = await newAccount(admin.access, BACK_END)
  const { key } = await keyFor(admin.access, { service_account_id: id, scopes: BACK_END, ...json })
  return { id, key }
}
const newCustomer = async (bearer: string, json: Json = {}) =>
  (await as(bearer, 'PUT /service-accounts', { external_id: crypto.randomUUID(), scopes: 'read', ...json }))
    .body
const rateOf = async (path: string) => (await as(admin.access, `GET ${path}`)).body.rate_limit

describe("a user's rate", () => {
  test('is set by admins, shown to them, and audited', async () => {
    const email = `${crypto.randomUUID()}@example.com`
    const made = await as(admin.access, 'POST /users', { email, rate_limit: rate(100) })
    expect([made.status, made.body.rate_limit]).toEqual([201, rate(100)])
    const path = `/users/${made.body.id}`
    expect(await rateOf(path)).toEqual(rate(100))
    expect((await as(admin.access, `PATCH ${path}`, { rate_limit: rate(5) })).body.rate_limit).toEqual(
      rate(5),
    )
    expect((await as(admin.access, `PATCH ${path}`, { rate_limit: null })).body.rate_limit).toBeNull()
    const listed = (await as(admin.access, `GET /users?query=${email}`)).body.items
    expect(listed).toMatchObject([{ id: made.body.id, rate_limit: null }])
    const events = await sql`SELECT action, details FROM latchkey.audit_events
      WHERE target_id = ${made.body.id} ORDER BY at`
    expect(events).toMatchObject([
      { action: 'user.created', details: { rate_limit: rate(100) } },
      {
        action: 'user.limits_changed',
        details: { before: { rate_limit: rate(100) }, after: { rate_limit: rate(5) } },
      },
      { action: 'user.limits_changed', details: { after: { rate_limit: null } } },
    ])
  })

  test('is set by nobody else', async () => {
    const scopes = ['latchkey:users.write', 'read', 'write']
    const person = await addLoggedIn(service, sql, { scopes })
    const account = await newAccount(admin.access, scopes)
    const { key } = await keyFor(admin.access, { service_account_id: account, scopes })
    const email = () => `${crypto.randomUUID()}@example.com`
    for (const bearer of [person.access, key]) {
      expect((await as(bearer, 'POST /users', { email: email() })).status).toBe(201)
      expectProblem(await as(bearer, 'POST /users', { email: email(), rate_limit: rate(5) }), 'forbidden')
      for (const rate_limit of [rate(5), null])
        expectProblem(await as(bearer, `PATCH /users/${person.id}`, { rate_limit }), 'forbidden')
    }
    expect(await rateOf(`/users/${person.id}`)).toBeNull()
  })

  test.each([[rate(0)], [{ limit: 1 }], [{ ...rate(1), extra: 1 }], ['1/m']])(
    'is no %p',
    async (rate_limit) => {
      const email = `${crypto.randomUUID()}@example.com`
      expectProblem(await as(admin.access, 'POST /users', { email, rate_limit }), 'validation_failed')
    },
  )
})

describe("a service account's rate", () => {
  test('is set by the key of a back end that manages it, and by admins; each change is audited', async () => {
    const backEnd = await newBackEnd()
    const external_id = crypto.randomUUID()
    const made = await as(backEnd.key, 'PUT /service-accounts', {
      external_id,
      scopes: 'read',
      rate_limit: rate(9),
    })
    expect([made.status, made.body.rate_limit]).toEqual([201, rate(9)])
    const again = await as(backEnd.key, 'PUT /service-accounts', { external_id, rate_limit: rate(20) })
    expect([again.status, again.body.rate_limit]).toEqual([200, rate(20)])
    const path = `/service-accounts/${made.body.id}`
    expect((await as(backEnd.key, `PATCH ${path}`, { rate_limit: null })).body.rate_limit).toBeNull()
    expect((await as(admin.access, `PATCH ${path}`, { rate_limit: rate(3) })).body.rate_limit).toEqual(
      rate(3),
    )
    expect((await as(admin.access, `PATCH ${path}`, { name: 'renamed' })).body.rate_limit).toEqual(rate(3))
    const events = await sql`SELECT action, details FROM latchkey.audit_events
      WHERE target_id = ${made.body.id} ORDER BY at`
    expect(events.slice(0, 2)).toMatchObject([
      { action: 'service_account.created', details: { rate_limit: rate(9) } },
      {
        action: 'service_account.updated',
        details: { before: { rate_limit: rate(9) }, after: { rate_limit: rate(20) } },
      },
    ])
    expect(events.length).toBe(5)
  })

  test('is not set by a person who manages it, by its own keys, nor by a key without the scope', async () => {
    const person = await addLoggedIn(service, sql, { scopes: [...BACK_END, 'write'] })
    const account = await newAccount(person.access, BACK_END)
    const path = `/service-accounts/${account}`
    const own = await keyFor(person.access, { service_account_id: account, scopes: BACK_END })
    await as(person.access, `PUT ${path}/managers`, { service_account_id: account })
    for (const bearer of [person.access, own.key]) {
      expect((await as(bearer, `PATCH ${path}`, { description: 'changed' })).status).toBe(200)
      for (const rate_limit of [rate(5), null])
        expectProblem(await as(bearer, `PATCH ${path}`, { rate_limit }), 'forbidden')
    }
    expect(await rateOf(path)).toBeNull()

    // The same person by a key with the scope is a back end.
    const { key } = await keyFor(person.access, { scopes: BACK_END })
    expect((await as(key, `PATCH ${path}`, { rate_limit: rate(5) })).status).toBe(200)
    const reader = await keyFor(person.access, { scopes: ['latchkey:service-accounts.read'] }).catch(
      () => null,
    )
    if (reader)
      expectProblem(await as(reader.key, `PATCH ${path}`, { rate_limit: null }), 'insufficient_scope')
    const other = await newBackEnd()
    expectProblem(await as(other.key, `PATCH ${path}`, { rate_limit: null }), 'not_found')
    expect(await rateOf(path)).toEqual(rate(5))
  })

  test('that an admin lowered is restored by an admin alone', async () => {
    const backEnd = await newBackEnd()
    const path = `/service-accounts/${(await newCustomer(backEnd.key, { rate_limit: rate(100) })).id}`
    const set = (bearer: string, limit: number) => as(bearer, `PATCH ${path}`, { rate_limit: rate(limit) })
    expect((await set(backEnd.key, 200)).status).toBe(200)
    expect((await set(admin.access, 10)).status).toBe(200)
    expectProblem(await set(backEnd.key, 11), 'forbidden')
    expect((await set(backEnd.key, 9)).status).toBe(200)
    expect((await set(admin.access, 200)).status).toBe(200)
    expect((await set(backEnd.key, 300)).status).toBe(200)
  })

  test('is lowered, and not raised, by a key that has bounds of its own', async () => {
    const backEnd = await newBackEnd({ expires_in_days: 1 })
    const path = `/service-accounts/${(await newCustomer(backEnd.key, { rate_limit: rate(100) })).id}`
    expect((await as(backEnd.key, `PATCH ${path}`, { rate_limit: rate(50) })).status).toBe(200)
    for (const rate_limit of [rate(51), null])
      expectProblem(await as(backEnd.key, `PATCH ${path}`, { rate_limit }), 'forbidden')
  })
})

describe('a limit of a key that somebody else than its owner set', () => {
  const credits = (remaining: number) => ({ remaining })
  const MANAGES = ['latchkey:keys.read', 'latchkey:keys.write', 'read']

  /** Lowers, raises and clears both limits; the key is given with a rate of 10 and 10 credits. */
  const expectLowersOnly = async (bearer: string, id: string) => {
    const patch = (json: Json) => as(bearer, `PATCH /keys/${id}`, json)
    for (const json of [
      { rate_limit: rate(11) },
      { rate_limit: null },
      { credits: credits(11) },
      { credits: null },
    ])
      expectProblem(await patch(json), 'forbidden')
    expect((await patch({ rate_limit: rate(8), credits: credits(8) })).status).toBe(200)
    for (const json of [
      { rate_limit: rate(9) },
      { rate_limit: null },
      { credits: credits(9) },
      { credits: null },
    ])
      expectProblem(await patch(json), 'forbidden')
    expect((await as(admin.access, `GET /keys/${id}`)).body).toMatchObject({
      rate_limit: rate(8),
      credits: { remaining: 8 },
    })
  }
  const limits = { rate_limit: rate(10), credits: credits(10) }

  test("is lowered, and neither raised nor cleared, by the account's own keys; its managers change it", async () => {
    const manager = await addLoggedIn(service, sql, { scopes: MANAGES })
    const account = await newAccount(manager.access, MANAGES)
    const its = { service_account_id: account }
    const own = await keyFor(manager.access, { ...its, scopes: MANAGES })
    const { id } = await keyFor(manager.access, { ...its, scopes: 'read', ...limits })
    await expectLowersOnly(own.key, id)
    const raised = await as(manager.access, `PATCH /keys/${id}`, limits)
    expect([raised.status, raised.body.rate_limit]).toEqual([200, rate(10)])
    await expectLowersOnly(own.key, id)

    // A limit that was cleared binds the owner no more.
    await as(manager.access, `PATCH /keys/${id}`, { rate_limit: null, credits: null })
    for (const limit of [5, 7])
      expect((await as(own.key, `PATCH /keys/${id}`, { rate_limit: rate(limit) })).status).toBe(200)
    expect((await as(own.key, `PATCH /keys/${id}`, { rate_limit: null })).status).toBe(200)
  })

  test('is what a manager changed last, also where the owner had set it', async () => {
    const manager = await addLoggedIn(service, sql, { scopes: MANAGES })
    const account = await newAccount(manager.access, MANAGES)
    const own = await keyFor(manager.access, { service_account_id: account, scopes: MANAGES })
    const { id } = await keyFor(own.key, { scopes: 'read', rate_limit: rate(10) })
    const set = (bearer: string, limit: number) =>
      as(bearer, `PATCH /keys/${id}`, { rate_limit: rate(limit) })
    expect((await set(own.key, 20)).status).toBe(200)
    expect((await set(manager.access, 5)).status).toBe(200)
    expectProblem(await set(own.key, 6), 'forbidden')
    expect((await as(own.key, `PATCH /keys/${id}`, { name: 'renamed', rate_limit: rate(5) })).status).toBe(
      200,
    )
  })

  test('is not raised by the user for whom an admin imported the key; an admin raises it', async () => {
    const person = await addLoggedIn(service, sql)
    const hash = new Bun.SHA256().update(crypto.randomUUID()).digest('hex')
    const item = { name: 'old', hash, owner: { user_id: person.id }, scopes: ['read'], ...limits }
    const imported = await as(admin.access, 'POST /keys/import', { keys: [item] })
    const [{ status, id }] = imported.body.results
    expect(status).toBe('imported')
    await expectLowersOnly(person.access, id)
    const raised = await as(admin.access, `PATCH /keys/${id}`, { rate_limit: rate(50) })
    expect([raised.status, raised.body.rate_limit]).toEqual([200, rate(50)])
    expectProblem(await as(admin.access, `PATCH /keys/${id}`, { scopes: ['read', 'write'] }), 'forbidden')
    expectProblem(await as(person.access, `PATCH /keys/${id}`, { rate_limit: rate(51) }), 'forbidden')
  })

  test('is changed at will by the owner who set it, until and after an admin lowered it', async () => {
    const person = await addLoggedIn(service, sql)
    const { id } = await keyFor(person.access, { scopes: 'read', rate_limit: rate(10) })
    const set = (who: Tokens, rate_limit: unknown) => as(who.access, `PATCH /keys/${id}`, { rate_limit })
    for (const rate_limit of [rate(20), null, rate(30)])
      expect((await set(person, rate_limit)).status).toBe(200)
    expect((await set(admin, rate(5))).status).toBe(200)
    expectProblem(await set(person, rate(6)), 'forbidden')
    expect((await set(admin, rate(30))).status).toBe(200)
    for (const rate_limit of [rate(40), null]) expect((await set(person, rate_limit)).status).toBe(200)
  })
})
