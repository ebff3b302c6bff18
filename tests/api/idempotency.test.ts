import { describe, expect, test } from 'bun:test'
import { deleteOutdated } from '../../src/core/housekeeping/delete-outdated.ts'
import { type Call, call, newKey } from '../support/client.ts'
import { addLoggedIn, beginSession } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const DAY_MS = 86_400_000

const service = useService({ apiKeysPerOwner: 40 })
const other = useService({ apiKeysPerOwner: 40 }, service)
const sql = useSql(service)
const owner = prepare(() => addLoggedIn(service, sql))
const stranger = prepare(() => addLoggedIn(service, sql))

const create = (value: string, { json = {}, ...caller }: Call = {}, on = service, path = '/keys') =>
  call(on, `POST ${path}`, {
    ...(caller.apiKey === undefined && { bearer: owner.access }),
    ...caller,
    json,
    headers: { 'idempotency-key': value },
  })
const keysOf = async (id: string): Promise<number> => {
  const [row] = await sql`SELECT count(*)::int AS n FROM latchkey.api_keys WHERE user_id = ${id}`
  return row?.n
}

test('a repeated request makes no second key, and its answer has no secret', async () => {
  const first = await create('order-1', { json: { name: 'first' } })
  expect(first.status).toBe(201)
  const before = await keysOf(owner.id)
  for (const [json, path] of [
    [{ name: 'first' }, '/keys'],
    [{ name: 'other', scopes: 'read' }, '/keys/create'],
  ] as const) {
    const again = await create('order-1', { json }, service, path)
    expect(again.status).toBe(409)
    const { id, ...problem } = again.body
    expect(id).toBe(first.body.id)
    expectProblem({ ...again, body: problem }, 'already_created')
    expect(again.text).not.toContain(first.body.key)
    expect(again.text).not.toContain(first.body.start)
  }
  expect(await keysOf(owner.id)).toBe(before)
  expect((await create('order-2')).status).toBe(201)
})

test('the value is stored only as a hash', async () => {
  await create('a-secret-of-the-client')
  const rows = await sql`SELECT k::text AS text FROM latchkey.key_creations k`
  expect(rows.length).toBeGreaterThan(0)
  for (const { text } of rows) expect(text).not.toContain('a-secret-of-the-client')
})

test('a value belongs to its caller: another person, and a key of the same person, may use the same value', async () => {
  const manager = await newKey(service, owner.access, { scopes: 'latchkey:keys.write' })
  const made = [
    await create('shared'),
    await create('shared', { bearer: stranger.access }),
    await create('shared', { apiKey: manager.key }),
  ]
  expect(made.map(({ status }) => status)).toEqual([201, 201, 201])
  expect(new Set(made.map(({ body }) => body.id)).size).toBe(3)
  // Another session of the same person is the same caller.
  const session = await beginSession(service, owner)
  const again = await create('shared', { bearer: session.access })
  expect([again.status, again.body.id]).toEqual([409, made[0]?.body.id])
  expect((await create('shared', { bearer: stranger.access })).body.id).toBe(made[1]?.body.id)
  expect((await create('shared', { apiKey: manager.key })).body.id).toBe(made[2]?.body.id)
})

test('of twenty requests at once, on two servers, one makes a key', async () => {
  const before = await keysOf(stranger.id)
  const answers = await Promise.all(
    Array.from({ length: 20 }, (_, at) =>
      create('at-once', { bearer: stranger.access }, at % 2 ? service : other),
    ),
  )
  const [won, ...lost] = answers.toSorted((a, b) => a.status - b.status)
  expect(won?.status).toBe(201)
  for (const { status, body } of lost) expect([status, body.id]).toEqual([409, won?.body.id])
  expect(await keysOf(stranger.id)).toBe(before + 1)
})

test('a creation that failed does not use the value up', async () => {
  const failures: [Record<string, unknown>, number][] = [
    [{ scopes: 'deploy' }, 403],
    [{ scopes: '*' }, 422],
    [{ unknown: 1 }, 422],
    [{ expires_at: '2020-01-01T00:00:00Z' }, 422],
    [{ service_account_id: '0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6' }, 404],
  ]
  for (const [json, status] of failures) expect((await create('failed', { json })).status).toBe(status)
  const person = await addLoggedIn(service, sql)
  await sql`INSERT INTO latchkey.api_keys (id, user_id, scopes, created_at)
    SELECT gen_random_uuid(), ${person.id}, '{}', now() FROM generate_series(1, 40)`
  expectProblem(await create('full', { bearer: person.access }), 'quota_exceeded')
  await sql`DELETE FROM latchkey.api_keys WHERE user_id = ${person.id}`
  expect((await create('full', { bearer: person.access })).status).toBe(201)
  expect((await create('failed')).status).toBe(201)
  expect((await create('failed')).status).toBe(409)
})

test('a repeated request gets the first answer, also where it could not make a key now', async () => {
  const person = await addLoggedIn(service, sql)
  const first = await create('then-full', { bearer: person.access })
  await sql`INSERT INTO latchkey.api_keys (id, user_id, scopes, created_at)
    SELECT gen_random_uuid(), ${person.id}, '{}', now() FROM generate_series(1, 40)`
  const again = await create('then-full', { bearer: person.access })
  expect([again.status, again.body.id]).toEqual([409, first.body.id])
})

describe('the value', () => {
  test.each([
    ['a UUID', '0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6', 201],
    ['255 characters', 'x'.repeat(255), 201],
    ['quotes and SQL', `"'; DROP TABLE latchkey.api_keys; --`, 201],
    ['256 characters', 'x'.repeat(256), 422],
    ['nothing', '', 422],
  ])('of %s', async (_, value, status) => {
    const answer = await create(value)
    expect(answer.status).toBe(status)
    if (status === 422) expectProblem(answer, 'validation_failed')
    else expect((await create(value)).status).toBe(409)
  })
})

test('after a day a value is free again, and the background job has deleted it', async () => {
  const manager = await newKey(service, owner.access, { scopes: 'latchkey:keys.write' })
  const first = await create('daily', { apiKey: manager.key })
  service.advance(DAY_MS - 60_000)
  expect((await create('daily', { apiKey: manager.key })).body.id).toBe(first.body.id)
  const kept = async () => (await sql`SELECT count(*)::int AS n FROM latchkey.key_creations`)[0]?.n
  const before = await kept()
  await deleteOutdated(service.context, { vacuums: false })
  expect(await kept()).toBe(before)
  service.advance(61_000)
  const next = await create('daily', { apiKey: manager.key })
  expect(next.status).toBe(201)
  expect(next.body.id).not.toBe(first.body.id)
  await deleteOutdated(service.context, { vacuums: false })
  // A value that was used again a moment ago stays.
  expect(await kept()).toBe(1)
  expect((await create('daily', { apiKey: manager.key })).body.id).toBe(next.body.id)
})
