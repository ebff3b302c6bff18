import { describe, expect, test } from 'bun:test'
import { writeUsage } from '../../src/core/usage/usage.ts'
import { makeApiKey } from '../../src/lib/tokens.ts'
import { insertKey } from '../support/authority.ts'
import { call } from '../support/client.ts'
import { sendMeanwhile } from '../support/meanwhile.ts'
import { addLoggedIn, addPerson, PASSWORD } from '../support/people.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const MOST = 3

const a = useService({ apiKeysPerOwner: MOST })
const b = useService({ apiKeysPerOwner: MOST }, a)
const [holder, sql] = [useSql(a), useSql(a)]
const at = { holder, watcher: sql }
const admin = prepare(() => addLoggedIn(a, sql, { role: 'admin' }))

async function addAccount(maker: string, countsFor: string | null = null): Promise<string> {
  const id = Bun.randomUUIDv7()
  await sql`INSERT INTO latchkey.service_accounts (id, name, scopes, created_by, counts_for, created_at)
    VALUES (${id}, 'service', '{read}', ${maker}, ${countsFor}, now())`
  await sql`INSERT INTO latchkey.account_managers (id, service_account_id, user_id, created_at)
    SELECT gen_random_uuid(), id, created_by, now() FROM latchkey.service_accounts
    WHERE created_by IS NOT NULL ON CONFLICT DO NOTHING`
  return id
}

describe('keys are imported while one of their owners is deleted', () => {
  const OWNERS = [
    ['a user', 'users'],
    ['a service account', 'service_accounts'],
  ] as const

  test.each(OWNERS)('%s: the key of that owner is refused, and the others are imported', async (_, table) => {
    const stays = await addPerson(sql)
    const goes = table === 'users' ? (await addPerson(sql)).id : await addAccount(stays.id)
    const owner = table === 'users' ? { user_id: goes } : { service_account_id: goes }
    const item = (of: object) => ({ name: 'old', owner: of, key: makeApiKey('old_'), scopes: ['read'] })
    const keys = [item(owner), item({ user_id: stays.id }), item(owner)]
    const answer = await sendMeanwhile(at, {
      work: (tx) => tx`DELETE FROM ${tx(`latchkey.${table}`)} WHERE id = ${goes}`,
      send: () => call(a, 'POST /keys/import', { bearer: admin.access, json: { keys } }),
    })
    expect([answer.status, answer.text]).toEqual([200, answer.text])
    const gone = { status: 'refused', error: 'Its owner is gone' }
    expect(answer.body.results).toEqual([gone, { status: 'imported', id: expect.any(String) }, gone])
    const again = await call(a, 'POST /keys/import', { bearer: admin.access, json: { keys: [keys[1]] } })
    expect(again.body.results).toMatchObject([{ status: 'already_imported' }])
  })

  test.each(OWNERS)('%s whose deletion is rolled back: every key is imported', async (_, table) => {
    const person = await addPerson(sql)
    const owner =
      table === 'users' ? { user_id: person.id } : { service_account_id: await addAccount(person.id) }
    const id = Object.values(owner)[0] ?? ''
    const json = { keys: [{ name: 'old', owner, key: makeApiKey('old_'), scopes: ['read'] }] }
    const answer = await sendMeanwhile(at, {
      work: (tx) => tx`SELECT 1 FROM ${tx(`latchkey.${table}`)} WHERE id = ${id} FOR UPDATE`,
      send: () => call(a, 'POST /keys/import', { bearer: admin.access, json }),
    })
    expect(answer.body.results).toMatchObject([{ status: 'imported' }])
  })
})

test(`keys of two accounts of one user are enabled at the same time: API_KEYS_PER_OWNER holds`, async () => {
  const person = await addLoggedIn(a, sql)
  const yesterday = new Date(Date.now() - 86_400_000)
  const tomorrow = new Date(Date.now() + 86_400_000).toISOString()
  const expired = async () => {
    const { id } = await insertKey(sql, { account: await addAccount(person.id, person.id) }, ['read'])
    await sql`UPDATE latchkey.api_keys SET expires_at = ${yesterday} WHERE id = ${id}`
    return id
  }
  for (let i = 1; i < MOST; i++) await insertKey(sql, { user: person.id }, ['read'])
  const [first, second] = [await expired(), await expired()]
  const revive = (on: typeof a, id: string) =>
    call(on, `PATCH /keys/${id}`, { bearer: person.access, json: { expires_at: tomorrow } })
  // Without a lock, both requests would count before either commits.
  const answers = await sendMeanwhile(at, {
    work: (tx) => tx`LOCK TABLE latchkey.audit_events IN SHARE MODE`,
    send: () => Promise.all([revive(a, first), revive(b, second)]),
    waiting: 2,
  })
  expect(answers.map(({ status, body }) => [status, body.code]).sort()).toEqual([
    [200, undefined],
    [403, 'quota_exceeded'],
  ])
})

test('a user becomes a manager while a key of the account is made: API_KEYS_PER_OWNER counts it for the user', async () => {
  const [maker, other] = [await addLoggedIn(a, sql), await addLoggedIn(a, sql)]
  const make = (account: string) =>
    call(a, 'POST /keys', { bearer: other.access, json: { service_account_id: account, scopes: 'read' } })
  for (let i = 0; i < MOST; i++) await insertKey(sql, { user: maker.id }, ['read'])
  const account = await addAccount(other.id, maker.id)
  // The control: as long as the maker does not manage it, its keys do not count for the maker.
  expect((await make(account)).status).toBe(201)
  const answer = await sendMeanwhile(at, {
    work: (tx) => tx`SELECT 1 FROM latchkey.service_accounts WHERE id = ${account} FOR UPDATE`,
    send: () => make(account),
    rest: (tx) => tx`INSERT INTO latchkey.account_managers (id, service_account_id, user_id, created_at)
      VALUES (gen_random_uuid(), ${account}, ${maker.id}, now())`,
  })
  expect([answer.status, answer.body.code]).toEqual([403, 'quota_exceeded'])
})

test('writing the counts of uses and deleting their keys does not deadlock', async () => {
  const person = await addPerson(sql)
  const keys = [await insertKey(sql, { user: person.id }, ['read'])]
  keys.push(await insertKey(sql, { user: person.id }, ['read']))
  const [counted, uncounted] = keys.sort((x, y) => (x.id < y.id ? -1 : 1))
  const use = (key: string | undefined) => call(a, 'GET /protected/any', { apiKey: key ?? '' })
  await use(counted?.key)
  await writeUsage(a.context)
  // One count exists, and the deletion waits for its row. The other is inserted, and the insert waits for its key.
  await use(counted?.key)
  await use(uncounted?.key)
  const ids = keys.map(({ id }) => id)
  await sendMeanwhile(at, {
    work: (tx) => tx`SELECT 1 FROM latchkey.api_keys WHERE id = ANY (${ids}) ORDER BY id FOR UPDATE`,
    send: () => writeUsage(a.context),
    rest: (tx) => tx`DELETE FROM latchkey.api_keys WHERE id = ANY (${ids})`,
  })
  expect(await sql`SELECT 1 FROM latchkey.key_usage WHERE key_id = ANY (${ids})`).toHaveLength(0)
})

describe('a one-time reset that is refused leaves an audit row', () => {
  const issue = async (who: { access: string }, userId: string) =>
    (await call(a, `POST /users/${userId}/password-reset`, { bearer: who.access })).body.token as string
  const use = (on: typeof a, token: string) =>
    call(on, 'POST /auth/password-reset', { json: { token, new_password: 'another-long-one' } })
  const rowsOf = async (userId: string) =>
    (
      await sql`SELECT action, outcome, details->>'reason' AS reason FROM latchkey.audit_events
        WHERE target_id = ${userId} AND action IN ('user.reset_refused', 'user.password_reset') ORDER BY action`
    ).map(({ action, outcome, reason }) => [action, outcome, reason])

  test('the later of two at the same time', async () => {
    const person = await addPerson(sql)
    const token = await issue(admin, person.id)
    const answers = await sendMeanwhile(at, {
      work: (tx) => tx`SELECT 1 FROM latchkey.users WHERE id = ${person.id} FOR UPDATE`,
      send: () => Promise.all([use(a, token), use(b, token)]),
      waiting: 2,
    })
    expect(answers.map(({ status }) => status).sort()).toEqual([204, 401])
    expect(await rowsOf(person.id)).toEqual([
      ['user.password_reset', 'success', null],
      ['user.reset_refused', 'refused', 'unknown'],
    ])
  })

  test('whose issuer is no longer an admin, or whose user was disabled or deleted meanwhile', async () => {
    const issuer = await addLoggedIn(a, sql, { role: 'admin' })
    const [ofDemoted, disabled, deleted] = [await addPerson(sql), await addPerson(sql), await addPerson(sql)]
    const [token, ...others] = [
      await issue(issuer, ofDemoted.id),
      await issue(admin, disabled.id),
      await issue(admin, deleted.id),
    ]
    await call(b, `PATCH /users/${issuer.id}`, { bearer: admin.access, json: { role: 'user' } })
    expect((await use(a, token)).status).toBe(401)
    expect(await rowsOf(ofDemoted.id)).toEqual([['user.reset_refused', 'refused', 'issuer']])
    const answers = await sendMeanwhile(at, {
      work: async (tx) => {
        await tx`UPDATE latchkey.users SET is_active = false WHERE id = ${disabled.id}`
        await tx`DELETE FROM latchkey.users WHERE id = ${deleted.id}`
      },
      send: () => Promise.all(others.map((other) => use(a, other))),
      waiting: 2,
    })
    expect(answers.map(({ status }) => status)).toEqual([401, 401])
    expect(await rowsOf(disabled.id)).toEqual([['user.reset_refused', 'refused', 'disabled']])
    expect(await rowsOf(deleted.id)).toEqual([['user.reset_refused', 'refused', 'unknown']])
  })
})

test('the newest secret is the one without an expiry, whatever the clocks of two servers are', async () => {
  const person = await addLoggedIn(a, sql)
  const rotate = async () => {
    const { id, secretId, key } = await insertKey(sql, { user: person.id }, ['read'])
    const { body } = await call(a, `POST /keys/${id}/rotate`, { bearer: person.access, json: {} })
    // A server whose clock is late wrote this secret.
    await sql`UPDATE latchkey.api_key_secrets SET created_at = now() - interval '1 hour' WHERE hash = sha256(${body.key}::bytea)`
    const read = async () => (await call(b, `GET /keys/${id}`, { bearer: person.access })).body
    return { id, old: { id: secretId, key }, new: { key: body.key as string, start: body.start }, read }
  }
  const cancelled = await rotate()
  const before = await cancelled.read()
  expect(before.start).toBe(cancelled.new.start)
  expect(before.secrets.map(({ expires_at }: { expires_at: string | null }) => expires_at)).toEqual([
    expect.any(String),
    null,
  ])
  await call(b, `DELETE /keys/${cancelled.id}/secrets/${before.secrets[1].id}`, { bearer: person.access })
  expect((await cancelled.read()).secrets).toMatchObject([{ id: cancelled.old.id, expires_at: null }])

  const ended = await rotate()
  await call(b, `DELETE /keys/${ended.id}/secrets/${ended.old.id}`, { bearer: person.access })
  expect((await ended.read()).secrets).toMatchObject([{ start: ended.new.start, expires_at: null }])

  const revoked = await rotate()
  await call(b, 'POST /oauth/revoke', { form: { token: revoked.old.key } })
  expect(await revoked.read()).toMatchObject({ revoked_at: null, secrets: [{ start: revoked.new.start }] })
  await call(b, 'POST /oauth/revoke', { form: { token: revoked.new.key } })
  expect((await revoked.read()).revoked_at).toBeString()
})

test('a password grant for a scope that the user lacks is audited as a right password', async () => {
  const person = await addPerson(sql, { scopes: ['read'] })
  const grant = (password: string, scope: string) =>
    call(a, 'POST /oauth/token', {
      form: { grant_type: 'password', username: person.email, password, scope },
    })
  expect((await grant(PASSWORD, 'write')).body.error).toBe('invalid_scope')
  expect((await grant('wrong-password', 'write')).body.error).toBe('invalid_grant')
  expect((await grant(PASSWORD, 'read')).status).toBe(200)
  const trail = await sql`SELECT action, details->>'reason' AS reason FROM latchkey.audit_events
    WHERE target_id = ${person.id} OR actor_id = ${person.id} ORDER BY id`
  expect(trail.map(({ action, reason }) => [action, reason])).toEqual([
    ['user.login_failed', 'invalid_scope'],
    ['user.login_failed', null],
    ['user.login', null],
  ])
})
