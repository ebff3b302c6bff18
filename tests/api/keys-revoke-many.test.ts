import { describe, expect, setDefaultTimeout, test } from 'bun:test'
import { type Answer, newKey } from '../support/client.ts'
import { call } from '../support/described.ts'
import { newClient } from '../support/oauth.ts'
import { addLoggedIn, LABELLER } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const service = useService({ apiKeysPerOwner: 100_000 })
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const support = prepare(() => addLoggedIn(service, sql, { scopes: ['read', 'latchkey:support'] }))

type Person = { id: string; access: string }
const revoke = (json: unknown, bearer: string): Promise<Answer> =>
  call(service, 'POST /keys/revoke', { bearer, json })
const newOwner = (): Promise<Person> => addLoggedIn(service, sql, { scopes: LABELLER })
const make = async (who: Person, json: Record<string, unknown> = {}) =>
  (await call(service, 'POST /keys', { bearer: who.access, json })).body as { id: string; key: string }
const isGood = async (key: string) =>
  (await call(service, 'GET /protected/any', { apiKey: key })).status === 200
const revokedOf = async (...keys: { id: string }[]) =>
  (
    await sql`SELECT revoked_at IS NOT NULL AS revoked FROM unnest(${keys.map(({ id }) => id)}::uuid[])
    WITH ORDINALITY AS asked (id, at) JOIN latchkey.api_keys k USING (id) ORDER BY at`
  ).map(({ revoked }) => revoked)

describe('keys are revoked together', () => {
  test('by their ids: at the next request, with a reason and an audit row each', async () => {
    const who = await newOwner()
    const [a, b, kept] = [await make(who), await make(who), await make(who)]
    for (const { key } of [a, b, kept]) expect(await isGood(key)).toBe(true)
    const answer = await revoke({ ids: [a.id, b.id, a.id], reason: 'leaked' }, who.access)
    expect([answer.status, answer.body]).toEqual([200, { revoked: 2, remaining: 0 }])
    expect([await isGood(a.key), await isGood(b.key), await isGood(kept.key)]).toEqual([false, false, true])
    const rows = await sql`SELECT target_id, actor_id, details FROM latchkey.audit_events
      WHERE action = 'key.revoked' AND target_id IN (${a.id}, ${b.id})`
    expect(rows.map((row) => row.target_id).toSorted()).toEqual([a.id, b.id].toSorted())
    for (const row of rows) expect([row.actor_id, row.details]).toEqual([who.id, { reason: 'leaked' }])
    // Again: revoked ones are skipped, and not audited twice.
    expect((await revoke({ ids: [a.id, b.id] }, who.access)).body).toEqual({ revoked: 0, remaining: 0 })
    const again =
      await sql`SELECT 1 FROM latchkey.audit_events WHERE target_id = ${a.id} AND action = 'key.revoked'`
    expect(again).toHaveLength(1)
    const [shown] = (await call(service, 'GET /keys?status=revoked&limit=1', { bearer: who.access })).body
    expect(shown.revoked_reason).toBe('leaked')
  })

  test('by owner and by external id, those made before a time alone where one is named', async () => {
    const who = await newOwner()
    const { id: account } = await newClient(service, who.access)
    const [old, other] = [await make(who, { external_id: 'cus_1' }), await make(who)]
    const ofAccount = await make(who, { service_account_id: account, external_id: 'cus_1' })
    await sql`UPDATE latchkey.api_keys SET created_at = now() - interval '2 d' WHERE id = ${old.id}`
    const yesterday = new Date(Date.now() - 86_400_000).toISOString()
    const before = { created_before: yesterday }
    expect((await revoke({ user_id: who.id, ...before, dry_run: true }, who.access)).body).toEqual({
      revoked: 0,
      remaining: 1,
    })
    expect(await revokedOf(old, other)).toEqual([false, false])
    expect((await revoke({ user_id: who.id, ...before }, who.access)).body).toEqual({
      revoked: 1,
      remaining: 0,
    })
    expect(await revokedOf(old, other, ofAccount)).toEqual([true, false, false])
    expect((await revoke({ external_id: 'cus_1' }, who.access)).body).toEqual({ revoked: 1, remaining: 0 })
    expect(await revokedOf(old, other, ofAccount)).toEqual([true, false, true])
    await newKey(service, who.access)
    expect((await revoke({ user_id: who.id }, admin.access)).body).toEqual({ revoked: 2, remaining: 0 })
    const accountKey = await make(who, { service_account_id: account })
    // The account's first key is the client's secret.
    expect((await revoke({ service_account_id: account }, who.access)).body.revoked).toBeGreaterThan(0)
    expect(await revokedOf(accountKey)).toEqual([true])
  })

  test('five thousand a request, the oldest first, until none remains', async () => {
    const who = await newOwner()
    await sql`INSERT INTO latchkey.api_keys (id, user_id, scopes, created_at)
      SELECT gen_random_uuid(), ${who.id}, '{}', now() - make_interval(secs => 10 + n) FROM generate_series(1, 5200) n`
    const newest = await make(who)
    const dry = await revoke({ user_id: who.id, dry_run: true }, who.access)
    expect(dry.body).toEqual({ revoked: 0, remaining: 5201 })
    const statements = await service.locks.record(async () => {
      const { body } = await revoke({ user_id: who.id }, who.access)
      expect(body).toEqual({ revoked: 5000, remaining: 201 })
    })
    expect(statements.length).toBeLessThan(20)
    expect(await revokedOf(newest)).toEqual([false])
    const [left] = await sql`SELECT min(created_at) AS since FROM latchkey.api_keys
      WHERE user_id = ${who.id} AND revoked_at IS NULL`
    const [last] = await sql`SELECT max(created_at) AS until FROM latchkey.api_keys
      WHERE user_id = ${who.id} AND revoked_at IS NOT NULL`
    expect(left?.since > last?.until).toBe(true)
    expect((await revoke({ user_id: who.id }, who.access)).body).toEqual({ revoked: 201, remaining: 0 })
    const [audited] = await sql`SELECT count(*)::int AS n FROM latchkey.audit_events e
      JOIN latchkey.api_keys k ON k.id::text = e.target_id
      WHERE e.action = 'key.revoked' AND k.user_id = ${who.id}`
    expect(audited?.n).toBe(5201)
  })

  test('all of everybody by an admin, with a time', async () => {
    const who = await newOwner()
    const [old, fresh] = [await make(who), await make(who)]
    await sql`UPDATE latchkey.api_keys SET created_at = '2001-01-01T00:00:00Z' WHERE id = ${old.id}`
    const json = { all: true, created_before: '2002-01-01T00:00:00Z' }
    expect((await revoke(json, admin.access)).body).toEqual({ revoked: 1, remaining: 0 })
    expect(await revokedOf(old, fresh)).toEqual([true, false])
    expectProblem(await revoke({ all: true }, admin.access), 'validation_failed')
    expectProblem(await revoke(json, who.access), 'forbidden')
    expectProblem(await revoke(json, support.access), 'forbidden')
  })
})

describe('nobody revokes beyond their reach', () => {
  test('ids of others are skipped and not counted; a selector of others is not there', async () => {
    const [who, other] = [await newOwner(), await newOwner()]
    const { id: account } = await newClient(service, other.access)
    const [mine, theirs] = [await make(who), await make(other, { external_id: 'theirs' })]
    const ofAccount = await make(other, { service_account_id: account })
    const ids = [theirs.id, ofAccount.id, 'none', Bun.randomUUIDv7()]
    expect((await revoke({ ids, dry_run: true }, who.access)).body).toEqual({ revoked: 0, remaining: 0 })
    expect((await revoke({ ids: [...ids, mine.id] }, who.access)).body).toEqual({ revoked: 1, remaining: 0 })
    expect(await revokedOf(mine, theirs, ofAccount)).toEqual([true, false, false])
    for (const selector of [
      { user_id: other.id },
      { user_id: Bun.randomUUIDv7() },
      { user_id: 'none' },
      { service_account_id: account },
      { external_id: 'theirs' },
      { external_id: 'of nobody' },
    ])
      expectProblem(await revoke(selector, who.access), 'not_found')
    expect(await revokedOf(theirs, ofAccount)).toEqual([false, false])
    // The controls: a caller who reaches them, and an unknown owner for an admin too.
    expectProblem(await revoke({ user_id: Bun.randomUUIDv7() }, admin.access), 'not_found')
    expect((await revoke({ external_id: 'theirs' }, other.access)).body.revoked).toBe(1)
  })

  test('a key revokes what it could one by one, and never itself', async () => {
    const who = await newOwner()
    const manager = await make(who, { scopes: 'read latchkey:keys.write' })
    const [within, wider] = [await make(who, { scopes: 'read' }), await make(who, { scopes: 'write' })]
    const answer = await revoke({ user_id: who.id }, manager.key)
    expect(answer.body).toEqual({ revoked: 1, remaining: 0 })
    expect(await revokedOf(within, wider, manager)).toEqual([true, false, false])
    expect((await revoke({ ids: [manager.id] }, manager.key)).body).toEqual({ revoked: 0, remaining: 0 })
    expect(await isGood(manager.key)).toBe(true)
    expectProblem(await revoke({ user_id: admin.id }, manager.key), 'not_found')
    const reader = await make(who, { scopes: 'read latchkey:keys.read' })
    expectProblem(await revoke({ ids: [] }, reader.key), 'insufficient_scope')
  })

  test('a key that is bound to addresses revokes those that are bound to them too', async () => {
    const who = await newOwner()
    const bounds = { allowed_ips: ['127.0.0.0/8', '::1'] }
    const manager = await make(who, { scopes: 'read latchkey:keys.write', ...bounds })
    const [bound, free] = [await make(who, bounds), await make(who)]
    expect((await revoke({ user_id: who.id, dry_run: true }, manager.key)).body.remaining).toBe(1)
    expect((await revoke({ user_id: who.id }, manager.key)).body).toEqual({ revoked: 1, remaining: 0 })
    expect(await revokedOf(bound, free)).toEqual([true, false])
  })

  test('support revokes those of anybody but admins', async () => {
    const who = await newOwner()
    const { id: account } = await newClient(service, who.access)
    const keys = [await make(who), await make(who, { service_account_id: account }), await make(admin)]
    const ids = keys.map(({ id }) => id)
    expect((await revoke({ ids, dry_run: true }, support.access)).body.remaining).toBe(2)
    expect((await revoke({ ids }, support.access)).body).toEqual({ revoked: 2, remaining: 0 })
    expect(await revokedOf(...keys)).toEqual([true, true, false])
    expectProblem(await revoke({ user_id: admin.id }, support.access), 'forbidden')
    await make(who)
    expect((await revoke({ user_id: who.id }, support.access)).body.revoked).toBe(1)
    // By a key of support's too, which holds no latchkey:keys.write.
    const byKey = (await make(admin, { scopes: 'latchkey:support' })).key
    const more = await make(who)
    expect((await revoke({ ids: [more.id, ids[2]] }, byKey)).body).toEqual({ revoked: 1, remaining: 0 })
    expect(await isGood(keys[2]?.key ?? '')).toBe(true)
  })
})

test.each([
  ['no selector', { reason: 'x' }],
  ['two', { ids: [], user_id: Bun.randomUUIDv7() }],
  ['1,001 ids', { ids: Array(1001).fill('x') }],
  ['all as false', { all: false }],
  ['a time that is none', { ids: [], created_before: 'yesterday' }],
  ['a reason of 501 characters', { ids: [], reason: 'x'.repeat(501) }],
  ['another member', { ids: [], status: 'active' }],
])('%s is refused', async (_, json) => {
  expectProblem(await revoke(json, admin.access), 'validation_failed')
})
