import { describe, expect, test } from 'bun:test'
import { newKey, newPerson } from '../support/client.ts'
import { call } from '../support/described.ts'
import type { TestService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { useService, useSql } from '../support/use-service.ts'

/** Two instances over one database, and an operator with `psql`. */
const one = useService()
const other = useService({}, one)
const sql = useSql(one)

const WITHIN_MS = 2000
const statusAt = async (on: TestService, key: string) =>
  (await call(on, 'GET /protected/any', { apiKey: key })).status

/** A key that both instances have in their caches, and a key of another user that must stay valid. */
async function prepare() {
  const person = await newPerson(one)
  const { id, key } = await newKey(one, person.access, { scopes: 'read' })
  const bystander = await newKey(one, (await newPerson(one)).access, { scopes: 'read' })
  for (const on of [one, other])
    for (const presented of [key, bystander.key]) expect(await statusAt(on, presented)).toBe(200)
  return { person, id, key, bystander: bystander.key }
}

async function expectDead(key: string, bystander: string): Promise<void> {
  for (const on of [one, other]) {
    await until(async () => (await statusAt(on, key)) === 401, 'the key is refused', WITHIN_MS)
    expect(await statusAt(on, bystander)).toBe(200)
  }
}

describe('a key is refused at once on every instance when an operator', () => {
  test.each<[string, (ids: { user: string; key: string }) => Promise<unknown>]>([
    ['disables its owner', ({ user }) => sql`UPDATE latchkey.users SET is_active = false WHERE id = ${user}`],
    ['deletes its owner', ({ user }) => sql`DELETE FROM latchkey.users WHERE id = ${user}`],
    ['disables it', ({ key }) => sql`UPDATE latchkey.api_keys SET is_active = false WHERE id = ${key}`],
    ['revokes it', ({ key }) => sql`UPDATE latchkey.api_keys SET revoked_at = now() WHERE id = ${key}`],
    ['lets it expire', ({ key }) => sql`UPDATE latchkey.api_keys SET expires_at = now() WHERE id = ${key}`],
    ['deletes it', ({ key }) => sql`DELETE FROM latchkey.api_keys WHERE id = ${key}`],
    ['deletes its secret', ({ key }) => sql`DELETE FROM latchkey.api_key_secrets WHERE key_id = ${key}`],
    [
      'replaces its secret',
      ({ key }) => sql`UPDATE latchkey.api_key_secrets SET hash = sha256('another') WHERE key_id = ${key}`,
    ],
    [
      'does so as a replication role, which skips ordinary triggers',
      ({ user }) =>
        sql.begin(async (tx) => {
          await tx`SET LOCAL session_replication_role = replica`
          await tx`UPDATE latchkey.users SET is_active = false WHERE id = ${user}`
        }),
    ],
  ])('%s', async (_, change) => {
    const { person, id, key, bystander } = await prepare()
    await change({ user: person.id, key: id })
    await expectDead(key, bystander)
  })

  test('changes more rows than an eviction names one by one', async () => {
    const { person, id, key, bystander } = await prepare()
    await sql`
      INSERT INTO latchkey.api_keys (id, user_id, scopes, created_at)
      SELECT gen_random_uuid(), ${person.id}, '{}', now() FROM generate_series(1, 1500)`
    await sql.begin(async (tx) => {
      await tx`UPDATE latchkey.api_keys SET revoked_at = now() WHERE user_id = ${person.id} AND id <> ${id}`
      await tx`UPDATE latchkey.api_keys SET revoked_at = now() WHERE id = ${id}`
    })
    await expectDead(key, bystander)
  })

  test('disables its owner, and is accepted again when the owner is enabled', async () => {
    const { person, key, bystander } = await prepare()
    await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${person.id}`
    await expectDead(key, bystander)
    await sql`UPDATE latchkey.users SET is_active = true WHERE id = ${person.id}`
    for (const on of [one, other])
      await until(async () => (await statusAt(on, key)) === 200, 'it lives again')
  })
})

test('a key that is revoked at one instance is refused there on the next request, and by the other within a second', async () => {
  const { person, id, key, bystander } = await prepare()
  await call(one, `DELETE /keys/revoke/${id}`, { bearer: person.access })
  expect(await statusAt(one, key)).toBe(401)
  await until(async () => (await statusAt(other, key)) === 401, 'the other instance refuses it', 1000)
  expect(await statusAt(other, bystander)).toBe(200)
})

test('a change that no decision depends on evicts nothing: a cached key needs no database', async () => {
  const { person, key } = await prepare()
  await sql`UPDATE latchkey.api_key_secrets SET last_used_at = now()`
  await sql`UPDATE latchkey.sessions SET generation = generation + 1 WHERE user_id = ${person.id}`
  await sql`ALTER TABLE latchkey.api_keys RENAME TO elsewhere`
  try {
    for (const on of [one, other]) expect(await statusAt(on, key)).toBe(200)
    // The control: a key that is not in the cache needs the database.
    expect(await statusAt(one, key.replace('sk_', 'old_'))).toBe(500)
  } finally {
    await sql`ALTER TABLE latchkey.elsewhere RENAME TO api_keys`
  }
})
