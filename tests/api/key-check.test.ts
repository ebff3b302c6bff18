import { beforeAll, describe, expect, test } from 'bun:test'
import { writeUsage } from '../../src/core/usage/usage.ts'
import { DAY_MS } from '../../src/lib/time.ts'
import { newKey } from '../support/client.ts'
import { call } from '../support/described.ts'
import { newClient } from '../support/oauth.ts'
import { addLoggedIn, LABELLER } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const owner = prepare(() => addLoggedIn(service, sql, { scopes: LABELLER }))

type Json = Record<string, unknown>
const make = (json: Json = {}) => newKey(service, owner.access, { scopes: 'read', ...json })
const asOwner = (route: string, json?: unknown) => call(service, route, { bearer: owner.access, json })
const check = (id: string, json?: Json, bearer = owner.access) =>
  call(service, `POST /keys/${id}/check`, { bearer, json })
const verify = async (key: string, json: Json = {}) =>
  (await call(service, 'POST /keys/verify', { bearer: admin.access, json: { key, ...json } })).body

const CODES = [
  'REVOKED',
  'EXPIRED',
  'DISABLED',
  'OWNER_DISABLED',
  'IP_NOT_ALLOWED',
  'INSUFFICIENT_SCOPE',
  'RATE_LIMITED',
  'CREDITS_EXHAUSTED',
]
const failing = ({ checks }: { checks: { code: string; passed: boolean }[] }) => {
  expect(checks.map(({ code }) => code)).toEqual(CODES)
  return checks.filter(({ passed }) => !passed).map(({ code }) => code)
}

/** Keys that one check alone refuses, and what for. */
const REFUSED: Record<
  string,
  { json?: Json; spoil?: (id: string, key: string) => Promise<unknown>; use?: Json }
> = {
  REVOKED: { spoil: (id) => asOwner(`DELETE /keys/${id}`) },
  EXPIRED: { spoil: (id) => sql`UPDATE latchkey.api_keys SET expires_at = now() WHERE id = ${id}` },
  DISABLED: { spoil: (id) => asOwner(`PATCH /keys/${id}`, { is_active: false }) },
  IP_NOT_ALLOWED: { json: { allowed_ips: ['192.0.2.0/24'] }, use: { ip: '198.51.100.1' } },
  INSUFFICIENT_SCOPE: { use: { scopes: ['read', 'write'] } },
  RATE_LIMITED: {
    json: { rate_limit: { limit: 1, window_seconds: 600 } },
    spoil: (_, key) => verify(key),
  },
  CREDITS_EXHAUSTED: {
    json: { credits: { remaining: 2, refill: { amount: 5, interval: 'daily' } } },
    use: { cost: 3 },
  },
}

describe('a check of a key', () => {
  test.each(Object.entries(REFUSED))(
    'says %s as verify does, and that the others pass',
    async (code, given) => {
      const { id, key } = await make(given.json)
      expect(failing((await check(id, { ip: '192.0.2.7' })).body)).toEqual([])
      await given.spoil?.(id, key)
      const answer = await check(id, given.use)
      expect(answer.status).toBe(200)
      const { checks, ...said } = answer.body
      expect(failing({ checks })).toEqual([code])
      expect(said).toEqual(await verify(key, given.use))
    },
  )

  test('answers a good key as verify would', async () => {
    const { id, key } = await make({
      name: 'n',
      external_id: 'x-1',
      metadata: { plan: 'gold' },
      expires_at: new Date(Date.now() + DAY_MS).toISOString(),
      credits: { remaining: 10 },
      rate_limit: { limit: 5, window_seconds: 60 },
      allowed_ips: ['192.0.2.0/24'],
    })
    const use = { scopes: ['read'], cost: 3, ip: '192.0.2.1' }
    const { checks, ...said } = (await check(id, use)).body
    expect(failing({ checks })).toEqual([])
    expect(said).toMatchObject({ valid: true, credits: { remaining: 7 }, rate_limit: { remaining: 4 } })
    const { rate_limit: seen, ...rest } = said
    const { rate_limit: taken, ...verified } = await verify(key, use)
    expect(rest).toEqual(verified)
    expect(seen).toMatchObject({ limit: taken.limit, remaining: taken.remaining })
  })

  test('decides each by itself, and names the first', async () => {
    const { id, key } = await make({
      credits: { remaining: 1 },
      rate_limit: { limit: 1, window_seconds: 600 },
      allowed_ips: ['192.0.2.0/24'],
    })
    await verify(key, { ip: '192.0.2.1' })
    const use = { scopes: ['write'], ip: '198.51.100.1' }
    const all = ['IP_NOT_ALLOWED', 'INSUFFICIENT_SCOPE', 'RATE_LIMITED', 'CREDITS_EXHAUSTED']
    const first = await check(id, use)
    expect(first.body).toMatchObject({ valid: false, code: 'IP_NOT_ALLOWED' })
    expect(failing(first.body)).toEqual(all)
    await asOwner(`PATCH /keys/${id}`, { is_active: false })
    await sql`UPDATE latchkey.api_keys SET expires_at = now() WHERE id = ${id}`
    await asOwner(`DELETE /keys/${id}`)
    const last = await check(id, use)
    expect(last.body).toMatchObject({ valid: false, code: 'REVOKED' })
    expect(failing(last.body)).toEqual(['REVOKED', 'EXPIRED', 'DISABLED', ...all])
  })

  test('of a key of a disabled owner fails on that alone; its ceiling counts', async () => {
    const { id: account } = await newClient(service, owner.access)
    const { id } = (await asOwner('POST /keys', { service_account_id: account, scopes: 'read' })).body
    await asOwner(`PATCH /service-accounts/${account}`, { is_active: false })
    expect(failing((await check(id, { scopes: ['read'] })).body)).toEqual(['OWNER_DISABLED'])
    await asOwner(`PATCH /service-accounts/${account}`, { is_active: true, scopes: [] })
    expect(failing((await check(id, { scopes: ['read'] })).body)).toEqual(['INSUFFICIENT_SCOPE'])
  })

  test('without an address fails where addresses are set, and passes where none are', async () => {
    const bound = await make({ allowed_ips: ['192.0.2.0/24'] })
    const free = await make()
    expect(failing((await check(bound.id)).body)).toEqual(['IP_NOT_ALLOWED'])
    expect(failing((await check(bound.id, {})).body)).toEqual(['IP_NOT_ALLOWED'])
    expect(failing((await check(free.id)).body)).toEqual([])
  })

  test('is of the secret that a rotation made', async () => {
    const { id } = await make()
    await asOwner(`POST /keys/${id}/rotate`, { overlap_seconds: 0 })
    expect((await check(id)).body).toMatchObject({ code: 'VALID', expires_at: null })
  })

  test('counts, charges and moves nothing', async () => {
    const { id, key } = await make({
      credits: { remaining: 1 },
      rate_limit: { limit: 1, window_seconds: 600 },
    })
    for (let i = 0; i < 3; i++) expect((await check(id)).body.code).toBe('VALID')
    await writeUsage(service.context)
    const used = async () => [
      (await sql`SELECT count(*)::int FROM latchkey.key_usage WHERE key_id = ${id}`)[0]?.count,
      (await sql`SELECT last_used_at FROM latchkey.api_key_secrets WHERE key_id = ${id}`)[0]?.last_used_at,
    ]
    expect(await used()).toEqual([0, null])
    expect((await verify(key)).code).toBe('VALID')
    // The control: a use is counted, and is the only one.
    await writeUsage(service.context)
    expect(await used()).toEqual([1, expect.any(Date)])
    expect(failing((await check(id)).body)).toEqual(['RATE_LIMITED', 'CREDITS_EXHAUSTED'])
  })
})

describe('who checks', () => {
  let mine = { id: '', key: '' }
  beforeAll(async () => {
    mine = await make()
  })

  test('whoever may see the key: its owner, an admin, a key of its owner that covers it', async () => {
    const reader = await make({ scopes: 'read latchkey:keys.read' })
    for (const bearer of [owner.access, admin.access, reader.key])
      expect((await check(mine.id, {}, bearer)).status).toBe(200)
    const narrow = await make({ scopes: 'latchkey:keys.read' })
    expectProblem(await check(mine.id, {}, narrow.key), 'not_found')
    expectProblem(await check(mine.id, {}, mine.key), 'insufficient_scope')
    const stranger = await addLoggedIn(service, sql)
    expectProblem(await check(mine.id, {}, stranger.access), 'not_found')
    expectProblem(await check(Bun.randomUUIDv7()), 'not_found')
    expectProblem(await check('none'), 'not_found')
  })

  test.each<[string, Json]>([
    ['a cost below zero', { cost: -1 }],
    ['scopes that are none', { scopes: 'Not A Scope!' }],
    ['the key itself', { key: 'x' }],
  ])('with %s is refused', async (_, json) => {
    expectProblem(await check(mine.id, json), 'validation_failed')
  })
})
