import { beforeAll, describe, expect, test } from 'bun:test'
import { sumUsageByOwner } from '../../src/core/usage/sums.ts'
import { HOUR_MS } from '../../src/lib/time.ts'
import { newKey } from '../support/client.ts'
import { call } from '../support/described.ts'
import { newClient } from '../support/oauth.ts'
import { addLoggedIn, LABELLER } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService({ apiKeysPerOwner: 5000 })
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const owner = prepare(() => addLoggedIn(service, sql, { scopes: LABELLER }))
const other = prepare(() => addLoggedIn(service, sql))
const support = prepare(() => addLoggedIn(service, sql, { scopes: ['latchkey:support'] }))

const CODES = [
  'VALID',
  'REVOKED',
  'EXPIRED',
  'DISABLED',
  'OWNER_DISABLED',
  'IP_NOT_ALLOWED',
  'INSUFFICIENT_SCOPE',
  'RATE_LIMITED',
  'CREDITS_EXHAUSTED',
]
const counts = (some: Record<string, number> = {}) => ({
  ...Object.fromEntries(CODES.map((code) => [code, 0])),
  ...some,
})
const get = (query: string, bearer = owner.access) => call(service, `GET /usage?${query}`, { bearer })
type Bucket = { at: string; counts: Record<string, number> }
const used = ({ buckets }: { buckets: Bucket[] }) =>
  buckets.flatMap(({ at, counts }) => (counts.VALID ? [[at, counts.VALID]] : []))
/** The beginning of an hour that many hours ago. */
const hour = (ago: number) => new Date(Math.floor(Date.now() / HOUR_MS) * HOUR_MS - ago * HOUR_MS)
const use = (keyId: string, at: Date, count: number, outcome = 'VALID') =>
  sql`INSERT INTO latchkey.key_usage VALUES (${keyId}, ${at}, ${outcome}, ${count})
    ON CONFLICT (key_id, hour, outcome) DO UPDATE SET count = excluded.count`

const keys = { a: '', b: '', ofAccount: '', others: '' }
let account = ''
beforeAll(async () => {
  keys.a = (await newKey(service, owner.access, { name: 'a', external_id: 'cus_7' })).id
  keys.b = (await newKey(service, owner.access)).id
  account = (await newClient(service, owner.access)).id
  const json = { service_account_id: account, external_id: 'cus_7' }
  keys.ofAccount = (await call(service, 'POST /keys', { bearer: owner.access, json })).body.id
  keys.others = (await newKey(service, other.access, { name: 'of another' })).id
  await use(keys.a, hour(0), 1)
  await use(keys.a, hour(1), 10)
  await use(keys.a, hour(1), 3, 'RATE_LIMITED')
  await use(keys.a, hour(30), 1000)
  await use(keys.b, hour(2), 100)
  await use(keys.ofAccount, hour(2), 5)
  await use(keys.others, hour(2), 7)
  await use(keys.others, hour(23), 70)
  await sumUsageByOwner(service.context)
})

describe('the uses of many keys', () => {
  test("are the caller's own of the last 24 hours, by the hour, every outcome named", async () => {
    const { status, body } = await get('')
    expect(status).toBe(200)
    expect(body.buckets).toHaveLength(25)
    expect(used(body)).toEqual([
      [hour(2).toISOString(), 100],
      [hour(1).toISOString(), 10],
      [hour(0).toISOString(), 1],
    ])
    expect(body.buckets.at(-2).counts).toEqual(counts({ VALID: 10, RATE_LIMITED: 3 }))
    expect(body.buckets[0].counts).toEqual(counts())
    expect(body.totals).toEqual(counts({ VALID: 111, RATE_LIMITED: 3 }))
    expect(body.top).toEqual([])
    expect(Math.abs(Date.parse(body.as_of) - Date.now())).toBeLessThan(30_000)
  })

  test('have the hour that `from` lies in, and not that of `to`', async () => {
    const from = new Date(hour(30).getTime() + HOUR_MS - 1).toISOString()
    const { body } = await get(`from=${from}&to=${hour(1).toISOString()}`)
    expect(used(body)).toEqual([
      [hour(30).toISOString(), 1000],
      [hour(2).toISOString(), 100],
    ])
  })

  test('are of everybody for admins and support, of an owner or an external id where it is named', async () => {
    for (const bearer of [admin.access, support.access]) {
      expect((await get('', bearer)).body.totals.VALID).toBe(111 + 5 + 77)
      expect((await get(`user_id=${other.id}`, bearer)).body.totals.VALID).toBe(77)
      expect((await get(`service_account_id=${account}`, bearer)).body.totals.VALID).toBe(5)
    }
    expect((await get(`user_id=${owner.id}`)).body.totals.VALID).toBe(111)
    expect((await get(`service_account_id=${account}`)).body.totals.VALID).toBe(5)
    expect((await get('external_id=cus_7')).body.totals.VALID).toBe(16)
    expect((await get('external_id=cus_7', other.access)).body.totals.VALID).toBe(0)
    expectProblem(await get(`user_id=${other.id}`), 'not_found')
    expectProblem(await get(`service_account_id=${account}`, other.access), 'not_found')
    const reader = await newKey(service, owner.access, { scopes: 'latchkey:keys.read' })
    expect((await get('', reader.key)).body.totals.VALID).toBe(111)
    expectProblem(await get(`user_id=${other.id}`, reader.key), 'not_found')
  })

  test('name the keys or owners that were used most', async () => {
    const mine = (await get('group=key')).body.top
    expect(mine).toEqual([
      { id: keys.b, label: expect.stringMatching(/^sk_/), counts: counts({ VALID: 100 }) },
      { id: keys.a, label: 'a', counts: counts({ VALID: 11, RATE_LIMITED: 3 }) },
    ])
    const owners = (await get('group=owner', admin.access)).body.top
    expect(owners.map(({ id, label }: { id: string; label: string }) => [id, label])).toEqual([
      [owner.id, owner.email],
      [other.id, other.email],
      [account, expect.any(String)],
    ])
    expect(owners[1].counts).toEqual(counts({ VALID: 77 }))
    const [most, ...rest] = (await get('group=key&limit=1', admin.access)).body.top
    expect([most.id, rest]).toEqual([keys.b, []])
  })

  test('are the same for an owner with too many keys to name them', async () => {
    const many = await addLoggedIn(service, sql)
    const { id } = await newKey(service, many.access)
    await sql`INSERT INTO latchkey.api_keys (id, user_id, scopes, created_at)
      SELECT gen_random_uuid(), ${many.id}, '{}', now() FROM generate_series(1, 1001)`
    await use(id, hour(0), 2)
    await use(id, hour(1), 20)
    await use(id, hour(3), 200)
    await sumUsageByOwner(service.context)
    const { body } = await get('group=key', many.access)
    expect(used(body).map(([, count]) => count)).toEqual([200, 20, 2])
    expect(body.top.map((top: { id: string }) => top.id)).toEqual([id])
    await call(service, `DELETE /users/${many.id}`, { bearer: admin.access })
  })

  test('stay when a key is deleted, also where its hours are summed up again', async () => {
    const { body: before } = await get('', admin.access)
    const { id } = await newKey(service, other.access)
    await use(id, hour(2), 9000)
    await sumUsageByOwner(service.context)
    await call(service, `DELETE /keys/delete/${id}`, { bearer: other.access })
    await sumUsageByOwner(service.context)
    expect((await get('', admin.access)).body.totals.VALID).toBe(before.totals.VALID + 9000)
  })

  test('of hours that nobody summed up for long are summed up once a server runs', async () => {
    await sql`DELETE FROM latchkey.usage_by_owner`
    await use(keys.others, hour(24 * 20), 4)
    await sumUsageByOwner(service.context)
    const summed = await sql`SELECT hour, count FROM latchkey.usage_by_owner
      WHERE owner_id = ${other.id} ORDER BY hour`
    expect(summed.map(({ hour, count }) => [hour, Number(count)])).toEqual([
      [hour(24 * 20), 4],
      [hour(23), 70],
      [hour(2), 7],
    ])
    // A second time changes nothing.
    const all = () => sql`SELECT t::text FROM latchkey.usage_by_owner t ORDER BY 1`
    const before = await all()
    await sumUsageByOwner(service.context)
    expect([...(await all())]).toEqual([...before])
  })
})

describe('days', () => {
  test.each<[string, string, string, string[]]>([
    [
      'UTC',
      '2026-03-28T12:00:00Z',
      '2026-03-30T12:00:00Z',
      ['2026-03-28T00', '2026-03-29T00', '2026-03-30T00'],
    ],
    // Summer time begins on the 29th: that day has 23 hours.
    [
      'Europe/Berlin',
      '2026-03-28T12:00:00Z',
      '2026-03-30T12:00:00Z',
      ['2026-03-27T23', '2026-03-28T23', '2026-03-29T22'],
    ],
    // And ends on 25 October: that day has 25.
    ['Europe/Berlin', '2026-10-25T12:00:00Z', '2026-10-26T12:00:00Z', ['2026-10-24T22', '2026-10-25T23']],
    ['America/New_York', '2026-01-01T00:00:00Z', '2026-01-01T06:00:00Z', ['2025-12-31T05', '2026-01-01T05']],
    // The clock goes from 24:00 to 1:00: the day begins at the first moment after it.
    ['Africa/Cairo', '2026-04-24T06:00:00Z', '2026-04-24T07:00:00Z', ['2026-04-23T22']],
    ['Asia/Kolkata', '2026-01-01T00:00:00Z', '2026-01-01T06:00:00Z', ['2025-12-31T18:30']],
  ])('in %s from %s to %s begin at %p', async (zone, from, to, expected) => {
    const { status, body } = await get(
      `bucket=day&time_zone=${encodeURIComponent(zone)}&from=${from}&to=${to}`,
    )
    expect(status).toBe(200)
    const full = expected.map((at) => new Date(at.length === 13 ? `${at}:00Z` : `${at}Z`).toISOString())
    expect(body.buckets.map(({ at }: Bucket) => at)).toEqual(full)
  })

  test('hold the hours that begin in them', async () => {
    const { id } = await newKey(service, owner.access, { external_id: 'of days' })
    for (const [at, count] of [
      ['2026-03-28T22:00:00Z', 1],
      ['2026-03-28T23:00:00Z', 10],
      ['2026-03-29T21:00:00Z', 100],
      ['2026-03-29T22:00:00Z', 1000],
    ] as const)
      await use(id, new Date(at), count)
    const days = 'external_id=of%20days&bucket=day&from=2026-03-28T22:00:00Z&to=2026-03-30T00:00:00Z'
    const { body } = await get(`${days}&time_zone=Europe/Berlin`)
    expect(used(body).map(([, count]) => count)).toEqual([1, 110, 1000])
  })
})

test.each<[string, string]>([
  ['bucket=hour&from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:01Z', '?from'],
  ['bucket=day&from=2025-01-01T00:00:00Z&to=2026-01-02T00:00:01Z', '?from'],
  ['time_zone=Europe/Nowhere', '?time_zone'],
  ['group=key&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z', '?from'],
  ['limit=51', '?limit'],
  ['bucket=week', '?bucket'],
  ['external_id=x&service_account_id=x', '?user_id'],
])('%s is refused at %s', async (query, path) => {
  const answer = await get(query, admin.access)
  expectProblem(answer, 'validation_failed')
  expect(answer.body.errors[0].path).toBe(path)
})

test('the longest ranges pass', async () => {
  expect(
    (await get('bucket=hour&from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z', admin.access)).status,
  ).toBe(200)
  const year = await get('bucket=day&from=2025-01-01T00:00:00Z&to=2026-01-02T00:00:00Z', admin.access)
  expect([year.status, year.body.buckets.length]).toEqual([200, 366])
})
