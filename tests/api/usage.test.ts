import { beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { deleteOutdated } from '../../src/core/housekeeping/delete-outdated.ts'
import { createUsageCounts } from '../../src/core/usage/counts.ts'
import { writeUsage } from '../../src/core/usage/usage.ts'
import { noUses } from '../../src/core/usage/uses.ts'
import { call, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import type { TestService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

const service = useService()
const other = useService({}, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const owner = prepare(() => addLoggedIn(service, sql))
/** Waits where the hour is about to end, so that a test that counts hours sees one. */
beforeEach(async () => {
  const left = HOUR_MS - (Date.now() % HOUR_MS)
  if (left < 3000) await Bun.sleep(left)
})

type Json = Record<string, unknown>
const make = (json: Json = {}) => newKey(service, owner.access, { scopes: 'read', ...json })
const use = (apiKey: string, on = service) => call(on, 'GET /protected/any', { apiKey })
const verify = (key: string, more: Json = {}) =>
  call(service, 'POST /keys/verify', { bearer: admin.access, json: { key, ...more } })
const usageOf = (id: string, query = '', bearer = owner.access) =>
  call(service, `GET /keys/${id}/usage${query}`, { bearer })
const itemsOf = async (id: string, query = '') => (await usageOf(id, query)).body.items
/** The counts of a key by outcome, after everything is written. */
const countsOf = async (id: string) => {
  await writeUsage(service.context)
  const items: { outcome: string; count: number }[] = await itemsOf(id)
  return Object.fromEntries(items.map(({ outcome, count }) => [outcome, count]))
}
const lastUseOf = async (id: string) =>
  (await call(service, `GET /keys/${id}`, { bearer: owner.access })).body.last_used_at

test('writing counts does not wait for a change that locks a secret, and dates the key afterwards', async () => {
  const { id, key } = await make()
  const free = await make()
  await use(key)
  await use(free.key)
  const held = Promise.withResolvers<void>()
  const isHeld = Promise.withResolvers<void>()
  const change = sql.begin(async (tx) => {
    await tx`SELECT 1 FROM latchkey.api_key_secrets WHERE key_id = ${id} FOR SHARE`
    isHeld.resolve()
    await held.promise
  })
  await isHeld.promise
  await writeUsage(service.context)
  expect(await lastUseOf(free.id)).toBeString()
  expect(await lastUseOf(id)).toBeNull()
  held.resolve()
  await change
  await writeUsage(service.context)
  expect(await lastUseOf(id)).toBeString()
})

test('a use is counted by hour and outcome, and dates the key', async () => {
  const { id, key } = await make()
  expect(await lastUseOf(id)).toBeNull()
  for (let i = 0; i < 3; i++) await use(key)
  await verify(key)
  const hour = new Date(Date.now() - (Date.now() % HOUR_MS)).toISOString()
  expect(await countsOf(id)).toEqual({ VALID: 4 })
  expect(await itemsOf(id)).toEqual([{ at: hour, outcome: 'VALID', count: 4 }])
  expect(Math.abs(Date.parse(await lastUseOf(id)) - Date.now())).toBeLessThan(30_000)
})

test('every outcome has its count, on our own routes and at verify', async () => {
  const bounds = { allowed_ips: ['127.0.0.1'], rate_limit: { limit: 2, window_seconds: 3600 } }
  const limited = await make({ ...bounds, scopes: 'write' })
  expect((await call(service, 'GET /protected/service-only', { apiKey: limited.key })).status).toBe(403)
  expect((await verify(limited.key, { ip: '192.0.2.1' })).body.code).toBe('IP_NOT_ALLOWED')
  expect((await verify(limited.key, { ip: '127.0.0.1', scopes: 'read' })).body.code).toBe(
    'INSUFFICIENT_SCOPE',
  )
  for (let i = 0; i < 3; i++) await use(limited.key)
  expect(await countsOf(limited.id)).toEqual({
    IP_NOT_ALLOWED: 1,
    INSUFFICIENT_SCOPE: 2,
    VALID: 2,
    RATE_LIMITED: 1,
  })

  const charged = await make({ credits: { remaining: 1 } })
  for (let i = 0; i < 2; i++) await verify(charged.key)
  expect(await countsOf(charged.id)).toEqual({ VALID: 1, CREDITS_EXHAUSTED: 1 })

  const dead = await make()
  const patch = (json: Json) => call(service, `PATCH /keys/${dead.id}`, { bearer: owner.access, json })
  await patch({ is_active: false })
  await use(dead.key)
  await verify(dead.key)
  await patch({ is_active: true })
  await sql`UPDATE latchkey.api_keys SET expires_at = now() - interval '1 second' WHERE id = ${dead.id}`
  await until(async () => (await verify(dead.key)).body.code === 'EXPIRED', 'it is expired')
  await sql`UPDATE latchkey.api_keys SET expires_at = NULL WHERE id = ${dead.id}`
  await call(service, `DELETE /keys/${dead.id}`, { bearer: owner.access })
  for (let i = 0; i < 2; i++) expect((await use(dead.key)).status).toBe(401)
  const counts = await countsOf(dead.id)
  expect(counts).toMatchObject({ DISABLED: 2, EXPIRED: 1, REVOKED: 2 })
  expect(await lastUseOf(dead.id)).toBe(counts.VALID ? expect.any(String) : null)

  const person = await addLoggedIn(service, sql)
  const orphan = await newKey(service, person.access, {})
  await call(service, `PATCH /users/${person.id}`, { bearer: admin.access, json: { is_active: false } })
  await use(orphan.key)
  await writeUsage(service.context)
  expect((await usageOf(orphan.id, '', admin.access)).body.items).toMatchObject([
    { outcome: 'OWNER_DISABLED', count: 1 },
  ])
})

test('a refused use does not date the key, and an unknown key is not counted', async () => {
  const { id, key } = await make({ scopes: '' })
  await call(service, 'GET /protected/service-only', { apiKey: key })
  expect(await countsOf(id)).toEqual({ INSUFFICIENT_SCOPE: 1 })
  expect(await lastUseOf(id)).toBeNull()
  await verify('nobody’s')
  expect(service.context.usage.take()).toEqual({ counts: [], lastUses: [], refusals: [] })
})

test('a thousand uses are written as one row', async () => {
  const counts = createUsageCounts(() => 5 * HOUR_MS + 7, service.context.metrics, false)
  const key = { keyId: 'k', secretId: 's', uses: noUses() }
  for (let i = 0; i < 1000; i++) counts.use(key)
  counts.refuse('k', 'REVOKED', null)
  expect(counts.take()).toEqual({
    counts: [
      { keyId: 'k', hour: new Date(5 * HOUR_MS), outcome: 'REVOKED', count: 1 },
      { keyId: 'k', hour: new Date(5 * HOUR_MS), outcome: 'VALID', count: 1000 },
    ],
    lastUses: [{ secretId: 's', at: new Date(5 * HOUR_MS + 7) }],
    refusals: [],
  })
  expect(counts.take()).toEqual({ counts: [], lastUses: [], refusals: [] })
})

test('written rows and rows that a full memory drops are in the metrics', async () => {
  const { usageRows } = service.context.metrics
  await writeUsage(service.context)
  const before = { ...usageRows }
  const { key } = await make()
  await use(key)
  await writeUsage(service.context)
  // Two rows: the count and the last use.
  expect(usageRows).toEqual({ ...before, written: before.written + 2 })
  const counts = createUsageCounts(() => 0, service.context.metrics, false)
  for (let i = 0; i < 100_003; i++) counts.refuse(`key ${i}`, 'REVOKED', null)
  expect(usageRows.dropped - before.dropped).toBe(3)
})

test('a request does not wait for a write, and counts are written in batches only', async () => {
  const { id, key } = await make()
  await use(key)
  await writeUsage(service.context)
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const { promise: locked, resolve: lock } = Promise.withResolvers<void>()
  const holding = sql.begin(async (tx) => {
    await tx`LOCK TABLE latchkey.key_usage, latchkey.api_key_secrets IN ACCESS EXCLUSIVE MODE`
    lock()
    await released
  })
  await locked
  try {
    const start = performance.now()
    for (let i = 0; i < 100; i++) expect((await use(key)).status).toBe(200)
    expect(performance.now() - start).toBeLessThan(10_000)
  } finally {
    release()
    await holding
  }
  expect(await countsOf(id)).toEqual({ VALID: 101 })
})

test('counts are written in the background, within seconds', async () => {
  const { id, key } = await make()
  await use(key)
  await until(async () => (await itemsOf(id)).length === 1, 'it is written')
}, 240_000)

test('counts that cannot be written are kept, and written later, once', async () => {
  const { id, key } = await make()
  await sql`ALTER TABLE latchkey.key_usage RENAME TO gone`
  for (let i = 0; i < 3; i++) await use(key)
  for (let i = 0; i < 2; i++) expect(await writeUsage(service.context).catch(() => 'failed')).toBe('failed')
  expect(await lastUseOf(id)).toBeNull()
  await use(key)
  await sql`ALTER TABLE latchkey.gone RENAME TO key_usage`
  expect(await countsOf(id)).toEqual({ VALID: 4 })
  expect(await countsOf(id)).toEqual({ VALID: 4 })
  expect(await lastUseOf(id)).toBeString()
})

test('the counts of a key that was deleted are dropped, and those of the others are not', async () => {
  const [deleted, kept] = [await make(), await make()]
  for (const { key } of [deleted, kept]) await use(key)
  await call(service, `DELETE /keys/delete/${deleted.id}`, { bearer: owner.access })
  expect(await countsOf(kept.id)).toEqual({ VALID: 1 })
  expect(service.context.usage.take()).toEqual({ counts: [], lastUses: [], refusals: [] })
  expectProblem(await usageOf(deleted.id), 'not_found')
})

test('the counts of two servers add up, and the last use never moves back', async () => {
  const { id, key } = await make()
  await use(key)
  other.advance(30_000)
  await use(key, other)
  const written = async (on: TestService) => {
    await writeUsage(on.context)
    return lastUseOf(id)
  }
  const latest = await written(other)
  expect(Date.parse(latest)).toBeGreaterThan(Date.now() + 20_000)
  expect(await written(service)).toBe(latest)
  await use(key)
  expect(await written(service)).toBe(latest)
  other.advance(-30_000)
  const total = (await itemsOf(id, `?to=${new Date(Date.now() + DAY_MS).toISOString()}`)).reduce(
    (sum: number, { count }: { count: number }) => sum + count,
    0,
  )
  expect(total).toBe(3)
})

describe('the answer', () => {
  let id: string
  beforeAll(async () => {
    id = (await make()).id
    for (const [hour, outcome, count] of [
      ['2026-02-27T23:00:00Z', 'VALID', 1],
      ['2026-02-28T00:00:00Z', 'VALID', 2],
      ['2026-02-28T00:00:00Z', 'REVOKED', 3],
      ['2026-02-28T23:00:00Z', 'VALID', 4],
      ['2026-03-01T00:00:00Z', 'VALID', 5],
    ] as const) {
      await sql`INSERT INTO latchkey.key_usage (key_id, hour, outcome, count) VALUES (${id}, ${hour}, ${outcome}, ${count})`
    }
  })
  const short = async (query: string) =>
    (await itemsOf(id, query)).map(
      ({ at, outcome, count }: { at: string; outcome: string; count: number }) =>
        `${at.slice(5, 13)} ${outcome} ${count}`,
    )

  test('has the hours from a beginning up to an end, without the last', async () => {
    const span = (from: string, to: string, more = '') => `?from=${from}&to=${to}${more}`
    expect(await short(span('2026-02-28T00:00:00Z', '2026-03-01T00:00:00Z'))).toEqual([
      '02-28T00 REVOKED 3',
      '02-28T00 VALID 2',
      '02-28T23 VALID 4',
    ])
    expect(await short(span('2026-02-01T00:00:00Z', '2026-04-01T00:00:00Z', '&bucket=hour'))).toHaveLength(5)
    expect(await short(span('2026-02-28T01:00:00%2B01:00', '2026-02-28T23:00:00Z'))).toHaveLength(2)
    expect(await short(span('2026-03-01T00:00:00Z', '2026-02-01T00:00:00Z'))).toEqual([])
  })

  test('includes the hour of its beginning', async () => {
    const from = (at: string) => short(`?from=${at}&to=2026-04-01T00:00:00Z`)
    expect(await from('2026-02-28T23:00:00Z')).toEqual(['02-28T23 VALID 4', '03-01T00 VALID 5'])
    expect(await from('2026-02-28T23:59:59.999Z')).toEqual(['02-28T23 VALID 4', '03-01T00 VALID 5'])
    expect(await from('2026-03-01T00:00:00Z')).toEqual(['03-01T00 VALID 5'])
    // In zones with half an hour of offset, midnight is in the middle of an hour.
    expect(await from('2026-03-01T05:00:00%2B05:30')).toEqual(['02-28T23 VALID 4', '03-01T00 VALID 5'])
  })

  test('is by days of UTC on request', async () => {
    expect(await short('?from=2026-02-01T00:00:00Z&to=2026-04-01T00:00:00Z&bucket=day')).toEqual([
      '02-27T00 VALID 1',
      '02-28T00 REVOKED 3',
      '02-28T00 VALID 6',
      '03-01T00 VALID 5',
    ])
  })

  test('is of the last thirty days by default', async () => {
    const { id: recent } = await make()
    for (const days of [1, 29, 31]) {
      await sql`INSERT INTO latchkey.key_usage (key_id, hour, outcome, count)
        VALUES (${recent}, date_trunc('hour', now()) - make_interval(days => ${days}), 'VALID', ${days})`
    }
    expect((await itemsOf(recent)).map(({ count }: { count: number }) => count)).toEqual([29, 1])
  })

  test.each([
    ['?from=yesterday'],
    ['?to=2026-02-30T00:00:00Z'],
    ['?from=2026-02-28'],
    ['?from='],
    ['?bucket=week'],
    ['?from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z'],
    ['?from=0001-01-01T00:00:00Z'],
    ['?unknown=1'],
  ])('refuses the query %s', async (query) => {
    expectProblem(await usageOf(id, query), 'validation_failed')
  })

  test('is readable by callers that may read the key', async () => {
    const stranger = await addLoggedIn(service, sql)
    expectProblem(await usageOf(id, '', stranger.access), 'not_found')
    expect((await usageOf(id, '', admin.access)).status).toBe(200)
    const reader = await make({ scopes: 'read,latchkey:keys.read' })
    const narrow = await make({ scopes: 'latchkey:keys.read' })
    const without = await make()
    const asKey = (apiKey: string) => call(service, `GET /keys/${id}/usage`, { apiKey })
    expect((await asKey(reader.key)).status).toBe(200)
    expectProblem(await asKey(narrow.key), 'not_found')
    expectProblem(await asKey(without.key), 'insufficient_scope')
  })
})

test('counts older than USAGE_RETENTION_DAYS are deleted, however many; the others stay', async () => {
  const { id } = await make()
  await sql`INSERT INTO latchkey.key_usage (key_id, hour, outcome, count)
    SELECT ${id}, date_trunc('hour', now()) - make_interval(days => 91, hours => n::int), 'VALID', 1
    FROM generate_series(0, 2500) n`
  await sql`INSERT INTO latchkey.key_usage (key_id, hour, outcome, count)
    VALUES (${id}, date_trunc('hour', now()) - interval '89 days', 'VALID', 1)`
  const kept = async () =>
    (await sql`SELECT count(*)::int AS n FROM latchkey.key_usage WHERE key_id = ${id}`)[0]?.n
  expect(await kept()).toBe(2502)
  await deleteOutdated(service.context, { vacuums: false })
  expect(await kept()).toBe(1)
})
