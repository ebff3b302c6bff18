import { expect, test } from 'bun:test'
import { call, newKey, newPerson } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import type { TestService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const one = useService()
const other = useService({}, one)
const sql = useSql(one)
const admin = prepare(() => addLoggedIn(one, sql, { role: 'admin' }))

/** A key of a foreign shape, so that no checksum decides about it. */
const foreignKey = () => `legacy-${Bun.randomUUIDv7()}`
const statusAt = async (on: TestService, apiKey: string) =>
  (await call(on, 'GET /protected/any', { apiKey })).status

/** How often the secrets were looked up during `work`. */
async function lookUpsDuring(on: TestService, work: () => Promise<unknown>): Promise<number> {
  const statements = await on.locks.record(work)
  return statements.filter(({ text }) => text.includes('from "latchkey"."api_key_secrets"')).length
}

const importKey = async (key: string) => {
  const { body } = await call(one, 'POST /keys/import', {
    bearer: admin.access,
    json: { keys: [{ key, scopes: 'read', owner: { user_id: admin.id } }] },
  })
  expect(body.results).toMatchObject([{ status: 'imported' }])
}

test('an unknown key is asked of the database once in ten seconds', async () => {
  const key = foreignKey()
  const ask = async () => expect(await statusAt(one, key)).toBe(401)
  expect(await lookUpsDuring(one, ask)).toBe(1)
  expect(await lookUpsDuring(one, ask)).toBe(0)
  one.advance(10_001)
  expect(await lookUpsDuring(one, ask)).toBe(1)
})

test('a key that was unknown is valid as soon as it is imported, and within a second on another instance', async () => {
  const key = foreignKey()
  for (const on of [one, other]) expect(await statusAt(on, key)).toBe(401)
  await importKey(key)
  expect(await statusAt(one, key)).toBe(200)
  await until(async () => (await statusAt(other, key)) === 200, 'the other instance knows the key', 1_000)
})

test('a key that was unknown is valid once an operator adds it', async () => {
  const key = foreignKey()
  const { id } = await newKey(one, admin.access, { scopes: 'read' })
  for (const on of [one, other]) expect(await statusAt(on, key)).toBe(401)
  await sql`INSERT INTO latchkey.api_key_secrets (id, key_id, hash, start, created_at)
    VALUES (${Bun.randomUUIDv7()}, ${id}, sha256(${key}), 'legacy', now())`
  for (const on of [one, other])
    await until(async () => (await statusAt(on, key)) === 200, 'the key is known', 1_000)
})

test('a key that was good is asked for again after its end, and never remembered as unknown while it is good', async () => {
  const { key } = await newKey(one, (await newPerson(one)).access, { scopes: 'read' })
  expect(await statusAt(one, key)).toBe(200)
  for (let n = 0; n < 3; n++) expect(await statusAt(one, foreignKey())).toBe(401)
  expect(await statusAt(one, key)).toBe(200)
})

test('keys that are presented at the same time share look-ups, and each gets its own answer', async () => {
  const person = await newPerson(one)
  const keys: { key: string }[] = []
  for (let n = 0; n < 20; n++)
    keys.push(await newKey(one, person.access, { name: `key ${n}`, scopes: n % 2 ? 'read' : 'write' }))
  other.context.cache.flush()
  const presented = keys.flatMap(({ key }) => [key, foreignKey()])
  let answers: { body: { valid: boolean; name?: string; scopes?: string[] } }[] = []
  const lookUps = await lookUpsDuring(other, async () => {
    answers = await Promise.all(
      presented.map((key) => call(other, 'POST /keys/verify', { bearer: admin.access, json: { key } })),
    )
  })
  expect(lookUps).toBeLessThan(20)
  for (const [at, { body }] of answers.entries()) {
    const isReal = at % 2 === 0
    expect(body.valid).toBe(isReal)
    if (isReal) {
      const n = at / 2
      expect(body).toMatchObject({ name: `key ${n}`, scopes: [n % 2 ? 'read' : 'write'] })
    }
  }
})
