import { expect, test } from 'bun:test'
import { deleteOutdated } from '../../src/core/housekeeping/delete-outdated.ts'
import { writeUsage } from '../../src/core/usage/usage.ts'
import { newKey } from '../support/client.ts'
import { call } from '../support/described.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const silent = useService({ refusalsRetentionDays: 0 }, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const owner = prepare(() => addLoggedIn(service, sql))

type Json = Record<string, unknown>
type Refusal = { at: string; outcome: string; ip: string | null; count: number }
const make = (json: Json = {}) => newKey(service, owner.access, { scopes: 'read', ...json })
const verify = (key: string, json: Json = {}, at = service) =>
  call(at, 'POST /keys/verify', { bearer: admin.access, json: { key, ...json } })
const get = (id: string, bearer = owner.access) => call(service, `GET /keys/${id}/refusals`, { bearer })
const refusalsOf = async (id: string) => {
  await writeUsage(service.context)
  const { status, body } = await get(id)
  expect(status).toBe(200)
  return body as { items: Refusal[]; sampled: boolean }
}
const said = ({ items }: { items: Refusal[] }) =>
  items.map(({ outcome, ip, count }) => [outcome, ip, count]).toSorted()

test('refusals have their outcome, the address as it was given, and how many were alike', async () => {
  const { id, key } = await make({ allowed_ips: ['192.0.2.0/24'] })
  expect(await refusalsOf(id)).toEqual({ items: [], sampled: false })
  for (const ip of ['198.51.100.1', '198.51.100.1', '198.51.100.2']) await verify(key, { ip })
  await verify(key)
  await verify(key, { ip: '192.0.2.1', scopes: ['write'] })
  expect((await verify(key, { ip: '192.0.2.1' })).body.code).toBe('VALID')
  const answer = await refusalsOf(id)
  expect(said(answer)).toEqual([
    ['INSUFFICIENT_SCOPE', '192.0.2.1', 1],
    ['IP_NOT_ALLOWED', null, 1],
    ['IP_NOT_ALLOWED', '198.51.100.1', 2],
    ['IP_NOT_ALLOWED', '198.51.100.2', 1],
  ])
  expect(answer.sampled).toBe(false)
  expect(answer.items.map(({ at }) => at)).toEqual(
    answer.items
      .map(({ at }) => at)
      .toSorted()
      .toReversed(),
  )
})

test('are kept wherever a key is checked: our own routes, and a dead key', async () => {
  const { id, key } = await make({ scopes: '' })
  await call(service, 'GET /protected/service-only', { apiKey: key })
  await call(service, `DELETE /keys/${id}`, { bearer: owner.access })
  await call(service, 'GET /protected/any', { apiKey: key })
  await call(service, 'GET /forward-auth', { apiKey: key })
  await verify(key, { ip: '203.0.113.9' })
  const outcomes = said(await refusalsOf(id))
  expect(outcomes).toContainEqual(['INSUFFICIENT_SCOPE', '127.0.0.1', 1])
  expect(outcomes).toContainEqual(['REVOKED', '127.0.0.1', 2])
  expect(outcomes).toContainEqual(['REVOKED', '203.0.113.9', 1])
})

test('beyond five of a key in a batch are counted alone, and the answer says so', async () => {
  const { id, key } = await make({ allowed_ips: ['192.0.2.0/24'] })
  await writeUsage(service.context)
  const { refusals } = service.context.metrics
  const before = refusals.dropped
  for (let i = 1; i <= 7; i++) await verify(key, { ip: `198.51.100.${i}` })
  const answer = await refusalsOf(id)
  expect([answer.items.length, answer.sampled]).toEqual([5, true])
  expect(refusals.dropped - before).toBe(2)
  const usage = await call(service, `GET /keys/${id}/usage`, { bearer: owner.access })
  expect(usage.body.items).toEqual([expect.objectContaining({ outcome: 'IP_NOT_ALLOWED', count: 7 })])
})

test('a hundred of a key stay, for REFUSALS_RETENTION_DAYS', async () => {
  const [many, old] = [await make(), await make()]
  await sql`INSERT INTO latchkey.key_refusals (key_id, at, outcome, ip, count)
    SELECT ${many.id}, now() - make_interval(secs => n), 'EXPIRED', n::text, 1 FROM generate_series(1, 1250) n`
  await sql`INSERT INTO latchkey.key_refusals (key_id, at, outcome, ip, count) VALUES
    (${old.id}, now() - interval '6 days', 'EXPIRED', NULL, 1), (${old.id}, now() - interval '8 days', 'EXPIRED', NULL, 1)`
  expect((await get(many.id)).body.items).toHaveLength(100)
  await deleteOutdated(service.context, { vacuums: false })
  const kept = await sql`SELECT ip FROM latchkey.key_refusals WHERE key_id = ${many.id} ORDER BY at DESC`
  expect(kept.map(({ ip }) => ip)).toEqual(Array.from({ length: 100 }, (_, n) => String(n + 1)))
  expect((await get(old.id)).body.items).toHaveLength(1)
})

test('with REFUSALS_RETENTION_DAYS=0 none is written; usage is', async () => {
  const { id, key } = await make()
  await verify(key, { scopes: ['write'] }, silent)
  await writeUsage(silent.context)
  expect(await sql`SELECT 1 FROM latchkey.key_refusals WHERE key_id = ${id}`).toBeEmpty()
  expect(await sql`SELECT 1 FROM latchkey.key_usage WHERE key_id = ${id}`).toHaveLength(1)
})

test('are for whoever may see the key', async () => {
  const { id } = await make()
  expect((await get(id, admin.access)).status).toBe(200)
  const stranger = await addLoggedIn(service, sql)
  expectProblem(await get(id, stranger.access), 'not_found')
  expectProblem(await get('none'), 'not_found')
})
