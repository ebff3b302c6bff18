import { beforeAll, describe, expect, test } from 'bun:test'
import { call, newKey } from '../support/client.ts'
import { type AddedPerson, addLoggedIn, type Tokens } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const other = useService({}, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
let asker: { key: string }
beforeAll(async () => {
  asker = await newKey(service, admin.access, { scopes: 'latchkey:verify' })
})

type Json = Record<string, unknown>
type Owner = { id: string; access: string }
const rate = (limit: number, window_seconds = 3600) => ({ limit, window_seconds })
const setRate = async (owner: Pick<Owner, 'id'>, rate_limit: unknown) => {
  const answer = await call(service, `PATCH /users/${owner.id}`, {
    bearer: admin.access,
    json: { rate_limit },
  })
  expect(answer.status).toBe(200)
}
const newOwner = async (rate_limit: unknown): Promise<AddedPerson & Tokens> => {
  const owner = await addLoggedIn(service, sql)
  await setRate(owner, rate_limit)
  return owner
}
const keyOf = (owner: Owner, json: Json = {}) => newKey(service, owner.access, { scopes: 'read', ...json })
const verify = async (key: string, more: Json = {}, on = service) =>
  (await call(on, 'POST /keys/verify', { apiKey: asker.key, json: { key, ...more } })).body
const use = (apiKey: string, route = 'GET /protected/any', on = service) => call(on, route, { apiKey })
const codes = async (key: string, count: number) => {
  const seen: string[] = []
  for (let n = 0; n < count; n++) seen.push((await verify(key)).code)
  return seen
}
const valid = (count: number) => Array<string>(count).fill('VALID')

describe('the rate of an owner', () => {
  test('refuses before the higher rate of a key, and what it refuses does not count against the key', async () => {
    const owner = await newOwner(rate(5))
    const { id, key } = await keyOf(owner, { rate_limit: rate(10) })
    for (let n = 1; n <= 5; n++)
      expect(await verify(key)).toMatchObject({
        code: 'VALID',
        rate_limit: { limit: 10, remaining: 10 - n },
        owner_rate_limit: { limit: 5, remaining: 5 - n },
      })
    for (let n = 0; n < 3; n++) {
      const refused = await verify(key)
      expect(refused).toEqual({
        valid: false,
        code: 'RATE_LIMITED',
        key_id: id,
        limited_by: 'owner',
        retry_after_seconds: expect.any(Number),
      })
      expect(refused.retry_after_seconds).toBeWithin(3590, 3601)
    }
    await setRate(owner, rate(100))
    expect(await verify(key)).toMatchObject({
      rate_limit: { remaining: 4 },
      owner_rate_limit: { remaining: 94 },
    })
    expect(await codes(key, 4)).toEqual(valid(4))
    const exhausted = await verify(key)
    expect(exhausted).toMatchObject({ code: 'RATE_LIMITED', limited_by: 'key' })
    // Nor does a use that the key's rate refuses count against the owner.
    expect(await verify((await keyOf(owner)).key)).toMatchObject({
      rate_limit: null,
      owner_rate_limit: { limit: 100, remaining: 89 },
    })
  })

  test('is shared by ten keys: of 200 uses at once exactly 50 pass, wherever they are used', async () => {
    const owner = await newOwner(rate(50))
    const keys = await Promise.all(Array.from({ length: 10 }, () => keyOf(owner)))
    const used = await Promise.all(
      Array.from({ length: 160 }, async (_, at): Promise<string[]> => {
        const { key } = keys[at % 10] ?? { key: '' }
        const way = at % 4
        if (way === 0) return [(await verify(key)).code]
        if (way === 1) return [(await use(key)).status === 200 ? 'VALID' : 'RATE_LIMITED']
        if (way === 2)
          return [(await use(key, 'GET /forward-auth')).status === 200 ? 'VALID' : 'RATE_LIMITED']
        const json = { keys: [{ key }, { key: keys[0]?.key }] }
        const batch = await call(service, 'POST /keys/verify-batch', { apiKey: asker.key, json })
        return batch.body.results.map(({ code }: Json) => code)
      }),
    )
    const all = used.flat()
    expect(all.length).toBe(200)
    expect(all.filter((code) => code === 'VALID').length).toBe(50)
    expect(all.filter((code) => code === 'RATE_LIMITED').length).toBe(150)
  })

  test('is that of the account for keys of a service account, and does not touch other owners', async () => {
    const asAdmin = (route: string, json: unknown) => call(service, route, { bearer: admin.access, json })
    const { id } = (await asAdmin('POST /service-accounts', { name: 'customer', scopes: 'read' })).body
    await asAdmin(`PATCH /service-accounts/${id}`, { rate_limit: rate(1) })
    const its = { service_account_id: id, scopes: 'read' }
    const [one, two] = [await newKey(service, admin.access, its), await newKey(service, admin.access, its)]
    const token = async () => {
      const form = { grant_type: 'client_credentials', client_id: id, client_secret: two.key }
      return (await call(service, 'POST /oauth/token', { form })).body.access_token
    }
    expect((await use(one.key)).status).toBe(200)
    await asAdmin(`PATCH /service-accounts/${id}`, { rate_limit: rate(2) })
    // The key is used where it is exchanged for a token.
    const bearer = await token()
    expectProblem(await use(two.key), 'rate_limited')
    expectProblem(await call(service, 'GET /protected/any', { bearer }), 'rate_limited')
    expect((await use((await keyOf(admin as unknown as Owner)).key)).status).toBe(200)
    expect(await verify((await keyOf(await newOwner(null))).key)).toMatchObject({
      rate_limit: null,
      owner_rate_limit: null,
    })
  })

  test('answers 429 with the owner named and the longest wait of the rates that refuse', async () => {
    const owner = await newOwner(rate(2, 600))
    const { key } = await keyOf(owner, { rate_limit: rate(2, 60) })
    expect(await codes(key, 2)).toEqual(valid(2))
    for (const route of ['GET /protected/any', 'GET /forward-auth']) {
      const answer = await use(key, route)
      expectProblem(answer, 'rate_limited')
      // Both are used up: the key is the first in the order, and the owner has the longer wait.
      expect(answer.body.limited_by).toBe('key')
      expect(Number(answer.headers.get('retry-after'))).toBeWithin(590, 601)
      expect(answer.headers.get('ratelimit-reset')).toBe(answer.headers.get('retry-after'))
    }
    expect(await verify(key)).toMatchObject({ limited_by: 'key' })
    service.advance(61_000)
    const refused = await use(key)
    expect(refused.body.limited_by).toBe('owner')
    expect(refused.headers.get('ratelimit-limit')).toBe('2')
    service.advance(540_000)
    expect((await use(key)).status).toBe(200)
    service.advance(-601_000)
  })

  test('is what a check of a key finds, and the check counts nothing', async () => {
    const owner = await newOwner(rate(1))
    const { id, key } = await keyOf(owner, { rate_limit: rate(10) })
    const check = async () =>
      (await call(service, `POST /keys/${id}/check`, { bearer: owner.access, json: {} })).body
    for (let n = 0; n < 3; n++)
      expect(await check()).toMatchObject({ valid: true, owner_rate_limit: { remaining: 0 } })
    expect(await codes(key, 2)).toEqual(['VALID', 'RATE_LIMITED'])
    const checked = await check()
    expect(checked).toMatchObject({ code: 'RATE_LIMITED', limited_by: 'owner' })
    expect(checked.checks.filter(({ passed }: { passed: boolean }) => !passed)).toEqual([
      { code: 'RATE_LIMITED', passed: false },
    ])
  })

  test('holds on every instance after a change, also one by plain SQL', async () => {
    const owner = await newOwner(null)
    const { key } = await keyOf(owner)
    const limitOn = async (on: typeof service) => (await verify(key, {}, on)).owner_rate_limit?.limit ?? null
    for (const on of [service, other]) expect(await limitOn(on)).toBeNull()
    await setRate(owner, rate(70))
    expect(await limitOn(service)).toBe(70)
    await until(async () => (await limitOn(other)) === 70, 'the other instance hears of the change')
    await sql`UPDATE latchkey.users SET rate_limit = 60 WHERE id = ${owner.id}`
    for (const on of [service, other])
      await until(async () => (await limitOn(on)) === 60, 'both hear of a change by hand')
    await sql`UPDATE latchkey.users SET rate_limit = NULL, rate_window_seconds = NULL WHERE id = ${owner.id}`
    for (const on of [service, other])
      await until(async () => (await limitOn(on)) === null, 'both hear of its end')
  })

  test('goes on counting across changes of keys and of the rate itself', async () => {
    const owner = await newOwner(rate(10))
    const { id, key } = await keyOf(owner)
    expect(await codes(key, 3)).toEqual(valid(3))
    await call(service, `PATCH /keys/${id}`, { bearer: owner.access, json: { name: 'renamed' } })
    await setRate(owner, rate(4))
    expect(await codes(key, 2)).toEqual(['VALID', 'RATE_LIMITED'])
    const successor = (await call(service, `POST /keys/${id}/rotate`, { bearer: owner.access })).body.key
    expect((await verify(successor)).code).toBe('RATE_LIMITED')
  })

  test('tells no instance anything when it counts', async () => {
    const owner = await newOwner(rate(1_000))
    const keys = await Promise.all(Array.from({ length: 3 }, () => keyOf(owner, { rate_limit: rate(500) })))
    const heard: string[] = []
    const { unlisten } = await sql.listen('latchkey_evict', (payload) => heard.push(payload))
    for (let n = 0; n < 30; n++) expect((await verify(keys[n % 3]?.key ?? '')).code).toBe('VALID')
    const told = () => heard.some((payload) => payload === `user ${owner.id}`)
    expect(told()).toBe(false)
    // The control: a change is told.
    await setRate(owner, rate(2_000))
    await until(async () => told(), 'a change is told')
    expect(heard.filter((payload) => payload !== `user ${owner.id}`)).toEqual([])
    await unlisten()
  })
})
