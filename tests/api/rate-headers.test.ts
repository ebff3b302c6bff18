import { beforeAll, describe, expect, test } from 'bun:test'
import { type Answer, call, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const NAMES = ['ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset'] as const
const NONE = [null, null, null]

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
let asker: { key: string }
beforeAll(async () => {
  asker = await newKey(service, admin.access, { scopes: 'latchkey:verify' })
})

type Json = Record<string, unknown>
const rate = (limit: number, window_seconds = 3600) => ({ limit, window_seconds })
const headersOf = ({ headers }: Answer) => NAMES.map((name) => headers.get(name) && Number(headers.get(name)))
const use = (apiKey: string, route: string, json?: Json) => call(service, route, { apiKey, json })
const newOwner = async (rate_limit: unknown = null) => {
  const owner = await addLoggedIn(service, sql)
  const json = { rate_limit }
  if (rate_limit) await call(service, `PATCH /users/${owner.id}`, { bearer: admin.access, json })
  return owner
}
type Owner = { access: string }
const keyOf = (owner: Owner, json: Json = {}) => newKey(service, owner.access, { scopes: 'read', ...json })

describe('the RateLimit headers of a good answer', () => {
  test.each(['GET /protected/any', 'GET /auth/me', 'GET /forward-auth', 'GET /forward-auth/any/x'])(
    'tell what is left of the rate of the key that asks: %s',
    async (route) => {
      const { key } = await keyOf(await newOwner(), { rate_limit: rate(3) })
      for (const left of [2, 1, 0]) {
        const answer = await use(key, route)
        expect(answer.status).toBe(200)
        const [limit, remaining, reset] = headersOf(answer)
        expect([limit, remaining]).toEqual([3, left])
        expect(reset).toBeWithin(3590, 3601)
      }
      expect((await use(key, route)).status).toBe(429)
    },
  )

  test.each<[string, key: Json | null, owner: Json | null, limit: number]>([
    ['the owner’s, where the key has none', null, rate(5), 5],
    ['the key’s, where fewer uses are left of it', rate(4), rate(5), 4],
    ['the owner’s, where fewer uses are left of it', rate(5), rate(4), 4],
    ['the one with the later reset of two with as many left', rate(5, 60), { ...rate(5), limit: 5 }, 5],
  ])('are of %s', async (_, ofKey, ofOwner, limit) => {
    const { key } = await keyOf(await newOwner(ofOwner), ofKey ? { rate_limit: ofKey } : {})
    const [shown, remaining, reset] = headersOf(await use(key, 'GET /protected/any'))
    expect([shown, remaining]).toEqual([limit, limit - 1])
    expect(reset).toBeGreaterThan(60)
  })

  test('are of the root of a key that another key made', async () => {
    const owner = await newOwner()
    const scopes = ['latchkey:keys.write', 'read']
    const root = await keyOf(owner, { scopes, rate_limit: rate(10) })
    const made = await use(root.key, 'POST /keys', { scopes: 'read', rate_limit: rate(10) })
    expect([made.status, headersOf(made).slice(0, 2)]).toEqual([201, [10, 9]])
    // Fewer are left of the root's: making the key was a use.
    expect(headersOf(await use(made.body.key, 'GET /protected/any')).slice(0, 2)).toEqual([10, 8])
  })

  test('are of the asker at /keys/verify, and never of the key in question', async () => {
    const { key } = await keyOf(await newOwner(rate(50)), { rate_limit: rate(20) })
    const verify = (apiKey: string) => use(apiKey, 'POST /keys/verify', { key })
    expect(headersOf(await verify(asker.key))).toEqual(NONE)
    const limited = await newKey(service, admin.access, { scopes: 'latchkey:verify', rate_limit: rate(7) })
    const answer = await verify(limited.key)
    expect(answer.body).toMatchObject({
      valid: true,
      rate_limit: { limit: 20 },
      owner_rate_limit: { limit: 50 },
    })
    expect(headersOf(answer).slice(0, 2)).toEqual([7, 6])
    const batch = await use(limited.key, 'POST /keys/verify-batch', { keys: [{ key }] })
    expect(headersOf(batch).slice(0, 2)).toEqual([7, 5])
  })

  test('are missing for people, for keys without a rate, and on other answers than 2xx', async () => {
    const owner = await newOwner(rate(100))
    const free = await keyOf(await newOwner())
    const limited = await keyOf(owner)
    for (const route of ['GET /protected/any', 'GET /forward-auth', 'GET /auth/me']) {
      expect(headersOf(await use(free.key, route))).toEqual(NONE)
      expect(headersOf(await call(service, route, { bearer: owner.access }))).toEqual(NONE)
      expect(headersOf(await use(limited.key, route))).not.toEqual(NONE)
    }
    for (const [route, status] of [
      ['GET /forward-auth?scope=write', 403],
      ['GET /keys', 403],
      ['GET /nowhere', 404],
    ] as const) {
      const answer = await use(limited.key, route)
      expect([answer.status, headersOf(answer)]).toEqual([status, NONE])
    }
    const self = await use(limited.key, 'DELETE /keys/self')
    expect([self.status, headersOf(self)]).toEqual([204, NONE])
  })

  test('are those of the key for a token of a service account, also where the token is made', async () => {
    const asAdmin = (route: string, json: unknown) => call(service, route, { bearer: admin.access, json })
    const { id } = (await asAdmin('POST /service-accounts', { name: 'customer', scopes: 'read' })).body
    await asAdmin(`PATCH /service-accounts/${id}`, { rate_limit: rate(9) })
    const { key } = await newKey(service, admin.access, { service_account_id: id, scopes: 'read' })
    const form = { grant_type: 'client_credentials', client_id: id, client_secret: key }
    const granted = await call(service, 'POST /oauth/token', { form })
    expect([granted.status, headersOf(granted).slice(0, 2)]).toEqual([200, [9, 8]])
    const bearer = granted.body.access_token
    expect(headersOf(await call(service, 'GET /protected/any', { bearer })).slice(0, 2)).toEqual([9, 7])
  })
})
