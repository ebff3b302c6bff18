import { beforeAll, describe, expect, test } from 'bun:test'
import { type Answer, call, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const MANAGES = ['latchkey:keys.read', 'latchkey:keys.write', 'read']
const WRITE = 'latchkey:service-accounts.write'

const service = useService()
const other = useService({}, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
let asker: { key: string }
beforeAll(async () => {
  asker = await newKey(service, admin.access, { scopes: 'latchkey:verify' })
})

type Json = Record<string, unknown>
const rate = (limit: number, window_seconds = 3600) => ({ limit, window_seconds })
const as = (bearer: string, route: string, json?: unknown): Promise<Answer> =>
  call(service, route, { bearer, json })
const newOwner = () => addLoggedIn(service, sql, { scopes: ['read', 'write'] })
const make = (bearer: string, json: Json = {}) => newKey(service, bearer, { scopes: 'read', ...json })
const verify = async (key: string, on = service) =>
  (await call(on, 'POST /keys/verify', { apiKey: asker.key, json: { key } })).body
const remaining = async (key: string) => (await verify(key)).rate_limit?.remaining ?? null
const rowOf = async (id: string) =>
  (
    await sql`SELECT rate_root, root_rate_limit, root_rate_window_seconds
      FROM latchkey.api_keys WHERE id = ${id}`
  )[0]

describe('a key that a key with a rate made', () => {
  test('counts in the counter of that key, before its own rate', async () => {
    const owner = await newOwner()
    const root = await make(owner.access, { scopes: MANAGES, rate_limit: rate(8) })
    // Making two keys are two uses.
    const one = await make(root.key)
    const two = await make(root.key, { rate_limit: rate(3) })
    expect(await rowOf(one.id)).toMatchObject({ rate_root: root.id, root_rate_limit: 8 })
    expect(await remaining(one.key)).toBe(5)
    expect(await verify(two.key)).toMatchObject({ rate_limit: { limit: 3, remaining: 2 } })
    expect(await remaining(root.key)).toBe(3)
    for (const key of [one.key, two.key, root.key]) expect((await verify(key)).code).toBe('VALID')
    for (const { key } of [one, two, root])
      expect(await verify(key)).toMatchObject({ code: 'RATE_LIMITED', limited_by: 'key' })
    expectProblem(await as(one.key, 'GET /protected/any'), 'rate_limited')
    expectProblem(await as(two.key, 'GET /forward-auth'), 'rate_limited')
  })

  test('has the same root as its maker, however long the chain is', async () => {
    const owner = await newOwner()
    const root = await make(owner.access, { scopes: MANAGES, rate_limit: rate(100) })
    const child = await make(root.key, { scopes: MANAGES })
    const grandchild = await make(child.key, { rate_limit: rate(50) })
    expect(await rowOf(grandchild.id)).toMatchObject({ rate_root: root.id, root_rate_limit: 100 })
    const before = await remaining(root.key)
    expect((await verify(grandchild.key)).code).toBe('VALID')
    expect(await remaining(root.key)).toBe(before - 2)
    // A rate in the middle of a chain makes no root while the topmost has one.
    const middle = await make(child.key, { scopes: MANAGES, rate_limit: rate(20) })
    const below = await make(middle.key, { rate_limit: rate(10) })
    expect(await rowOf(below.id)).toMatchObject({ rate_root: root.id })
  })

  test('follows the rate of its root on every instance, also after a change by hand', async () => {
    const owner = await newOwner()
    const root = await make(owner.access, { scopes: MANAGES, rate_limit: rate(100) })
    const child = await make(root.key)
    const limitOn = async (on: typeof service) => (await verify(child.key, on)).rate_limit?.limit ?? null
    for (const on of [service, other]) expect(await limitOn(on)).toBe(100)
    await as(owner.access, `PATCH /keys/${root.id}`, { rate_limit: rate(60) })
    expect(await limitOn(service)).toBe(60)
    await until(async () => (await limitOn(other)) === 60, 'the other instance hears of the change')
    await sql`UPDATE latchkey.api_keys SET rate_limit = 50 WHERE id = ${root.id}`
    for (const on of [service, other])
      await until(async () => (await limitOn(on)) === 50, 'both hear of a change by hand')
    await as(owner.access, `PATCH /keys/${root.id}`, { rate_limit: null })
    expect(await limitOn(service)).toBeNull()
    await as(owner.access, `PATCH /keys/${root.id}`, { rate_limit: rate(1) })
    expect(await verify(child.key)).toMatchObject({ code: 'RATE_LIMITED', limited_by: 'key' })
  })

  test.each([
    ['revoked', 'DELETE /keys/'],
    ['deleted', 'DELETE /keys/delete/'],
  ])('goes on sharing its counter when its root is %s', async (_, route) => {
    const owner = await newOwner()
    const root = await make(owner.access, { scopes: MANAGES, rate_limit: rate(5) })
    const [one, two] = [await make(root.key), await make(root.key)]
    expect(await remaining(one.key)).toBe(2)
    expect((await as(owner.access, `${route}${root.id}`)).status).toBe(200)
    expect(await remaining(two.key)).toBe(1)
    expect(await remaining(one.key)).toBe(0)
    expect((await verify(two.key)).code).toBe('RATE_LIMITED')
  })

  test('of another owner begins a chain of its own, and takes the power to manage accounts', async () => {
    const account = async (scopes: string[]) =>
      (await as(admin.access, 'POST /service-accounts', { name: 'account', scopes })).body.id
    const backEnd = async (scopes: string[]) => {
      const id = await account(scopes)
      const { key } = await make(admin.access, { service_account_id: id, scopes, rate_limit: rate(100) })
      return { id, key }
    }
    const [full, poor] = [await backEnd([...MANAGES, WRITE]), await backEnd(MANAGES)]
    const customer = await account(['read'])
    for (const { id } of [full, poor])
      await as(admin.access, `PUT /service-accounts/${customer}/managers`, { service_account_id: id })
    const json = { service_account_id: customer, scopes: 'read', rate_limit: rate(10) }
    const made = await as(full.key, 'POST /keys', json)
    expect(made.status).toBe(201)
    expect(await rowOf(made.body.id)).toMatchObject({ rate_root: null, root_rate_limit: null })
    expect((await as(full.key, `POST /keys/${made.body.id}/rotate`)).status).toBe(201)
    expectProblem(await as(poor.key, 'POST /keys', json), 'forbidden')
    // The control: its own keys it makes.
    expect((await as(poor.key, 'POST /keys', { scopes: 'read' })).status).toBe(201)
  })

  test.each([
    ['a rate limit', { rate_limit: rate(100) }, 201],
    ['credits', { credits: { remaining: 10 } }, 403],
  ])(
    'is not made through the portal by a key with %s that could not make it',
    async (_, limit, withPower) => {
      const scopes = ['latchkey:portal', 'read']
      const id = (await as(admin.access, 'POST /service-accounts', { name: 'a', scopes: [...scopes, WRITE] }))
        .body.id
      const customer = (await as(admin.access, 'POST /service-accounts', { name: 'c', scopes })).body.id
      await as(admin.access, `PATCH /service-accounts/${customer}`, { scopes: ['read'] })
      await as(admin.access, `PUT /service-accounts/${customer}/managers`, { service_account_id: id })
      const its = { service_account_id: id }
      const [limited, free] = [
        await make(admin.access, { ...its, scopes, ...limit }),
        await make(admin.access, { ...its, scopes }),
      ]
      const able = await make(admin.access, { ...its, scopes: [...scopes, WRITE], ...limit })
      const open = async (key: string, may: string[]) => {
        const json = { service_account_id: customer, scopes: 'read', may, return_url: undefined }
        return (await as(key, 'POST /portal/sessions', json)).status
      }
      for (const may of [['create'], ['rotate']]) {
        expect(await open(limited.key, may)).toBe(403)
        expect(await open(free.key, may)).toBe(201)
        expect(await open(able.key, may)).toBe(withPower)
      }
      expect(await open(limited.key, ['read', 'revoke'])).toBe(201)
    },
  )

  test('is rotated and widened by its maker; other keys of the owner are not', async () => {
    const owner = await newOwner()
    const root = await make(owner.access, { scopes: MANAGES, rate_limit: rate(100) })
    const free = await make(owner.access, { scopes: MANAGES })
    const [shared, sibling] = [await make(root.key), await make(owner.access, { rate_limit: rate(100) })]
    const lone = await make(owner.access)
    const rotate = (bearer: string, id: string) => as(bearer, `POST /keys/${id}/rotate`)
    expect((await rotate(root.key, shared.id)).status).toBe(201)
    expect((await as(root.key, `PATCH /keys/${shared.id}`, { expires_at: null })).status).toBe(200)
    expectProblem(await rotate(root.key, sibling.id), 'forbidden')
    expectProblem(await rotate(root.key, lone.id), 'not_found')
    expect((await rotate(free.key, sibling.id)).status).toBe(201)
    // It still ends what it may manage.
    expect((await as(root.key, `DELETE /keys/${sibling.id}`)).status).toBe(200)
  })

  test('cannot be given more than its maker by the way of a key in between', async () => {
    const owner = await newOwner()
    const root = await make(owner.access, { scopes: MANAGES, rate_limit: rate(100) })
    const child = await make(root.key, { scopes: MANAGES, rate_limit: rate(5) })
    expectProblem(await as(child.key, 'POST /keys', { scopes: 'read', rate_limit: rate(6) }), 'forbidden')
    expectProblem(await as(child.key, 'POST /keys', { scopes: 'read' }), 'forbidden')
    expect((await as(child.key, 'POST /keys', { scopes: 'read', rate_limit: rate(5) })).status).toBe(201)
    // A key with credits makes none.
    const paid = await make(owner.access, { scopes: MANAGES, credits: { remaining: 5 } })
    expectProblem(await as(paid.key, 'POST /keys', { scopes: 'read' }), 'forbidden')
  })

  test('of 100 uses of ten such keys at once exactly as many pass as the root has left', async () => {
    const owner = await newOwner()
    const root = await make(owner.access, { scopes: MANAGES, rate_limit: rate(40) })
    const keys = await Promise.all(Array.from({ length: 10 }, () => make(root.key)))
    const codes = await Promise.all(
      Array.from({ length: 100 }, async (_, at) => (await verify(keys[at % 10]?.key ?? '')).code),
    )
    expect(codes.filter((code) => code === 'VALID').length).toBe(30)
  })
})
