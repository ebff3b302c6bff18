import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { writeUsage } from '../../src/core/usage/usage.ts'
import { noUses } from '../../src/core/usage/uses.ts'
import { call, newKey } from '../support/client.ts'
import { newClient } from '../support/oauth.ts'
import { type AddedPerson, addLoggedIn, PASSWORD } from '../support/people.ts'
import { longestList } from '../support/registered-apps.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const MANY = 100_000
/** Several steps' worth of keys, where the bounds of each step are looked at. */
const SOME = 10_000
/** Several batches of counts. */
const USED = 25_000
/** The keys that one transaction ends at most. */
const STEP = 2000
/** The time limit, also on a busy machine. */
const MOST_MS = 60_000
/** The limit of statements. A statement for each row is far above. */
const MOST_PARAMETERS = 100

// The tests look at how much a statement does. How long that takes on a busy machine says little.
const service = useService({ apiKeysPerOwner: MANY + 100, databaseStatementTimeoutMs: 20_000 })
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))

/** Inserts keys of one owner, with a secret each. */
async function addKeys(
  owner: { user_id?: string; service_account_id?: string },
  createdBy: string | null = null,
  count = MANY,
) {
  const { user_id = null, service_account_id = null } = owner
  await sql`INSERT INTO latchkey.api_keys (id, user_id, service_account_id, scopes, created_at, created_by)
    SELECT gen_random_uuid(), ${user_id}, ${service_account_id}, '{}', now() - n * interval '1 ms', ${createdBy}
    FROM generate_series(1, ${count}) n`
  await sql`INSERT INTO latchkey.api_key_secrets (id, key_id, hash, start, created_at)
    SELECT gen_random_uuid(), id, sha256(id::text::bytea), 'sk_AbCdEfGh', created_at FROM latchkey.api_keys key
    WHERE NOT EXISTS (SELECT FROM latchkey.api_key_secrets WHERE key_id = key.id)`
  await sql`ANALYZE latchkey.api_keys, latchkey.api_key_secrets`
}

const liveKeys = async (person: AddedPerson) =>
  (
    await sql`SELECT count(*)::int AS n FROM latchkey.api_keys WHERE user_id = ${person.id} AND revoked_at IS NULL`
  )[0]?.n

/**
 * Sends a request, and reports a wrong status, too much time or too many statements.
 * @param ends so many keys, in steps: transactions that each end `STEP` at most
 */
async function ask(route: string, options: Parameters<typeof call>[2], status = 200, ends = 0) {
  const begin = performance.now()
  let answer: Awaited<ReturnType<typeof call>> | undefined
  const statements = await service.locks.record(async () => {
    answer = await call(service, route, options)
  })
  const ms = Math.round(performance.now() - begin)
  expect([route, answer?.status, answer?.text.slice(0, 200)]).toEqual([route, status, expect.any(String)])
  expect(ms).toBeLessThan(MOST_MS)
  expect(Math.max(0, ...statements.map(({ params }) => params.length))).toBeLessThan(MOST_PARAMETERS)
  expect(statements.length).toBeLessThan(SOME / 50)
  if (ends > 0) {
    const ending = statements.filter(({ text }) => /^(update|delete from) "latchkey"\."api_keys"/i.test(text))
    // The key that the caller names may be one more.
    expect(longestList(ending)).toBeWithin(STEP, STEP + 2)
    expect(new Set(ending.map(({ transaction }) => transaction)).size).toBeGreaterThanOrEqual(ends / STEP)
  }
  return answer as Awaited<ReturnType<typeof call>>
}

describe('with 100,000 keys of one user', () => {
  const owner = prepare(async () => {
    const person = await addLoggedIn(service, sql)
    await addKeys({ user_id: person.id })
    return person
  })

  test('the keys are listed in pages, and another key is made, changed, rotated, revoked and deleted', async () => {
    const bearer = owner.access
    expect((await ask('GET /keys/list', { bearer })).body).toHaveLength(1000)
    expect((await ask('GET /keys?limit=1&status=active', { bearer })).body).toHaveLength(1)
    expect((await ask('GET /keys?external_id=none', { bearer })).body).toEqual([])
    expect((await ask('GET /keys?all=true', { bearer: admin.access })).body).toHaveLength(100)
    await ask(`GET /keys?user_id=${owner.id}`, { bearer: admin.access })
    const { body } = await ask('POST /keys', { bearer, json: { scopes: 'read' } }, 201)
    await ask('GET /protected/any', { apiKey: body.key })
    await ask('POST /keys/verify', { bearer: admin.access, json: { key: body.key } })
    await ask(`PATCH /keys/${body.id}`, { bearer, json: { name: 'n' } })
    await ask(`POST /keys/${body.id}/rotate`, { bearer }, 201)
    await ask(`GET /keys/${body.id}/usage`, { bearer })
    await ask(`DELETE /keys/${body.id}`, { bearer })
    await ask(`DELETE /keys/delete/${body.id}`, { bearer })
    await ask('GET /users', { bearer: admin.access })
    await ask('GET /auth/sessions', { bearer })
  })

  test('the counts of uses of many keys are written at once', async () => {
    const keys = await sql`SELECT s.key_id, s.id FROM latchkey.api_key_secrets s JOIN latchkey.api_keys k
      ON k.id = s.key_id WHERE k.user_id = ${owner.id} LIMIT ${USED}`
    for (const key of keys) service.context.usage.use({ keyId: key.key_id, secretId: key.id, uses: noUses() })
    const statements = await service.locks.record(() => writeUsage(service.context))
    expect(Math.max(...statements.map(({ params }) => params.length))).toBeLessThan(MOST_PARAMETERS)
    expect(longestList(statements)).toBeLessThan(USED / 2)
    const [row] = await sql`SELECT count(*)::int AS n FROM latchkey.key_usage`
    expect(row?.n).toBeGreaterThanOrEqual(USED)
  })

  test('disabling and enabling their owner answers in time', async () => {
    const bearer = admin.access
    await ask(`PATCH /users/${owner.id}`, { bearer, json: { is_active: false } })
    await ask(`PATCH /users/${owner.id}`, { bearer, json: { is_active: true } })
  })
})

test('10,000 keys that a key made are revoked with it, and deleted with their owner', async () => {
  const owner = await addLoggedIn(service, sql)
  const maker = await newKey(service, owner.access, { scopes: 'read' })
  await addKeys({ user_id: owner.id }, maker.id, SOME)
  await ask(`DELETE /keys/${maker.id}?created=true`, { bearer: owner.access }, 200, SOME)
  expect(await liveKeys(owner)).toBe(0)
  await ask(`DELETE /users/${owner.id}`, { bearer: admin.access }, 200, SOME)
  const [row] = await sql`SELECT count(*)::int AS n FROM latchkey.api_keys WHERE user_id = ${owner.id}`
  expect(row?.n).toBe(0)
})

test('a service account with 10,000 keys is disabled and deleted', async () => {
  const owner = await addLoggedIn(service, sql)
  const { id } = await newClient(service, owner.access)
  await addKeys({ service_account_id: id }, null, SOME)
  const bearer = owner.access
  expect((await ask(`GET /keys?service_account_id=${id}`, { bearer })).body).toHaveLength(1000)
  await ask(`PATCH /service-accounts/${id}`, { bearer, json: { is_active: false } })
  await ask(`DELETE /service-accounts/${id}`, { bearer }, 204, SOME)
})

describe('a new password revokes the keys of a user and of the accounts that only the user manages', () => {
  /** Makes keys of a user and of a service account, and gives the audited numbers of keys that a new password ended. */
  async function addOwner(count: number) {
    const person = await addLoggedIn(service, sql)
    const { id: account } = await newClient(service, person.access)
    await addKeys({ user_id: person.id }, null, count)
    await addKeys({ service_account_id: account }, null, count)
    const live = async () =>
      (
        await sql`SELECT count(*)::int AS n FROM latchkey.api_keys
        WHERE ${account} = service_account_id AND revoked_at IS NULL`
      )[0]?.n + (await liveKeys(person))
    const told = async () =>
      (
        await sql`SELECT details->'keys_revoked' AS n FROM latchkey.audit_events
        WHERE target_id = ${person.id} AND details ? 'keys_revoked'`
      ).map(({ n }) => Number(n))
    return { person, live, told }
  }

  test('for 10,000 keys', async () => {
    const { person, live, told } = await addOwner(SOME / 2)
    const { key } = await newKey(service, person.access, { scopes: 'read' })
    await ask('GET /protected/any', { apiKey: key })
    const all = await live()
    expect(all).toBeGreaterThan(SOME)
    const json = { current_password: PASSWORD, new_password: 'another-horse-battery', revoke_keys: true }
    await ask('POST /auth/password', { bearer: person.access, json }, 200, SOME)
    expect(await live()).toBe(0)
    expect(await told()).toEqual([all])
    await ask('GET /protected/any', { apiKey: key }, 401)
  })

  test('where a reset sets the password', async () => {
    const { person, live, told } = await addOwner(2500)
    const all = await live()
    const { token } = (await ask(`POST /users/${person.id}/password-reset`, { bearer: admin.access })).body
    const json = { token, new_password: 'another-horse-battery', revoke_keys: true }
    await ask('POST /auth/password-reset', { json }, 204, 5000)
    expect(await live()).toBe(0)
    expect(await told()).toEqual([all])
    await ask('POST /auth/password-reset', { json }, 401)
  })
})
