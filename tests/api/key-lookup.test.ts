import { beforeAll, describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { deleteOutdated } from '../../src/core/housekeeping/delete-outdated.ts'
import { writeUsage } from '../../src/core/usage/usage.ts'
import { call as callPlain, newKey } from '../support/client.ts'
import { call } from '../support/described.ts'
import { newClient } from '../support/oauth.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const support = prepare(() => addLoggedIn(service, sql, { scopes: ['read', 'latchkey:support'] }))
const owner = prepare(() => addLoggedIn(service, sql))
const other = prepare(() => addLoggedIn(service, sql))
const key = prepare(() => newKey(service, owner.access, { name: 'found in a log', scopes: 'read' }))

const hashOf = (text: string) => createHash('sha256').update(text).digest('hex')
const lookUp = (json: unknown, bearer = admin.access) => call(service, 'POST /keys/lookup', { bearer, json })
const idsOf = (answer: { body: { items: { id: string }[] } }) => answer.body.items.map(({ id }) => id)

describe('a key that somebody found', () => {
  test.each<[string, () => object]>([
    ['the key', () => ({ key: key.key })],
    ['its SHA-256', () => ({ hash: hashOf(key.key) })],
    ['its SHA-256 in capitals', () => ({ hash: hashOf(key.key).toUpperCase() })],
    ['its start', () => ({ start: key.key.slice(0, 11) })],
  ])('is found by %s, with its owner and the secret', async (_, by) => {
    for (const bearer of [admin.access, support.access]) {
      const answer = await lookUp(by(), bearer)
      expect(answer.status).toBe(200)
      const shown = (await call(service, `GET /keys/${key.id}`, { bearer: owner.access })).body
      expect(answer.body.items).toEqual([
        {
          ...shown,
          owner: { type: 'user', id: owner.id, label: owner.email },
          matched: { start: key.key.slice(0, 11), state: 'current' },
        },
      ])
      expect(answer.text).not.toContain(key.key)
    }
  })

  test("names a service account by its name, and its key's status", async () => {
    const { id } = await newClient(service, owner.access)
    const { body } = await callPlain(service, 'POST /keys', {
      bearer: owner.access,
      json: { service_account_id: id },
    })
    await callPlain(service, `PATCH /service-accounts/${id}`, {
      bearer: owner.access,
      json: { is_active: false, name: 'Acme & sons' },
    })
    const [item] = (await lookUp({ key: body.key })).body.items
    expect(item).toMatchObject({
      owner: { type: 'service_account', id, label: 'Acme & sons' },
      status: 'owner_disabled',
    })
  })

  test('is found by a secret that a rotation replaced, during the overlap and after it', async () => {
    const rotated = await newKey(service, owner.access)
    const { body } = await callPlain(service, `POST /keys/${rotated.id}/rotate`, {
      bearer: owner.access,
      json: { overlap_seconds: 600 },
    })
    const matched = async (secret: string) => (await lookUp({ key: secret })).body.items[0]?.matched
    expect(await matched(rotated.key)).toEqual({ start: rotated.key.slice(0, 11), state: 'overlap' })
    expect(await matched(body.key)).toEqual({ start: body.key.slice(0, 11), state: 'current' })
    await sql`UPDATE latchkey.api_key_secrets SET expires_at = now() - interval '1 s'
      WHERE key_id = ${rotated.id} AND expires_at IS NOT NULL`
    expect(await matched(rotated.key)).toEqual({ start: rotated.key.slice(0, 11), state: 'ended' })
  })

  test('is found by a secret that was ended long ago, and by nothing else of that secret', async () => {
    const { id, key: old } = await newKey(service, owner.access)
    const rotate = { bearer: owner.access, json: { overlap_seconds: 0 } }
    const { body } = await callPlain(service, `POST /keys/${id}/rotate`, rotate)
    await sql`UPDATE latchkey.api_key_secrets SET expires_at = now() - interval '360 days',
      ended_at = now() - interval '360 days' WHERE key_id = ${id} AND ended_at IS NOT NULL`
    await deleteOutdated(service.context, { vacuums: false })
    const start = old.slice(0, 11)
    for (const by of [{ hash: hashOf(old) }, { key: old }, { start }])
      expect((await lookUp(by)).body.items).toMatchObject([{ id, matched: { start, state: 'ended' } }])
    const found = async (text: string) =>
      idsOf({
        body: { items: (await call(service, `GET /keys?query=${text}`, { bearer: owner.access })).body },
      })
    expect(await found(start)).toEqual([])
    expect(await found(body.key.slice(0, 11))).toEqual([id])
    expect(body.secrets.map(({ start }: { start: string }) => start)).toEqual([body.key.slice(0, 11)])
    // It is refused wherever a key is checked.
    expect((await call(service, 'GET /auth/me', { apiKey: old })).status).toBe(401)
    expect((await call(service, 'GET /auth/me', { apiKey: body.key })).status).toBe(200)
    const verified = await call(service, 'POST /keys/verify', { bearer: admin.access, json: { key: old } })
    expect(verified.body.code).toBe('NOT_FOUND')
  })

  test('that is unknown is no error: no item', async () => {
    for (const by of [{ hash: hashOf('unknown') }, { key: 'unknown' }, { start: key.key.slice(0, 10) }]) {
      const answer = await lookUp(by)
      expect([answer.status, answer.body]).toEqual([200, { items: [] }])
    }
  })

  test('shares its start with at most nineteen others, newest first', async () => {
    const start = 'same_start'
    for (let i = 0; i < 22; i++) {
      const { id } = await newKey(service, other.access)
      await sql`UPDATE latchkey.api_key_secrets
        SET start = ${start}, created_at = now() + make_interval(secs => ${i}) WHERE key_id = ${id}`
    }
    const expected = await sql`SELECT key_id FROM latchkey.api_key_secrets WHERE start = ${start}
      ORDER BY created_at DESC LIMIT 20`
    expect(idsOf(await lookUp({ start }))).toEqual(expected.map(({ key_id }) => key_id))
  })

  test('is not used by it: nothing is counted, and its last use stays', async () => {
    const { id, key: secret } = await newKey(service, owner.access, {
      rate_limit: { limit: 1, window_seconds: 60 },
      credits: { remaining: 1 },
    })
    for (let i = 0; i < 3; i++) await lookUp({ key: secret })
    await writeUsage(service.context)
    const used = async () => [
      (await sql`SELECT last_used_at FROM latchkey.api_key_secrets WHERE key_id = ${id}`)[0]?.last_used_at,
      (await sql`SELECT count(*)::int FROM latchkey.key_usage WHERE key_id = ${id}`)[0]?.count,
    ]
    expect(await used()).toEqual([null, 0])
    const verified = await call(service, 'POST /keys/verify', { bearer: admin.access, json: { key: secret } })
    expect(verified.body).toMatchObject({ code: 'VALID', credits: { remaining: 0 } })
    // The control: a use is counted.
    await writeUsage(service.context)
    expect(await used()).toEqual([expect.any(Date), 1])
  })

  test('is audited each time, without the hash', async () => {
    const since = new Date()
    await lookUp({ hash: hashOf(key.key) }, support.access)
    await lookUp({ start: 'sk_none' }, support.access)
    const rows = await sql`SELECT actor_id, outcome, details, request_id FROM latchkey.audit_events
      WHERE action = 'key.looked_up' AND at >= ${since} ORDER BY id`
    expect(rows.map(({ details }) => details)).toEqual([
      { by: 'hash', found: 1 },
      { by: 'start', found: 0 },
    ])
    expect(rows.map(({ actor_id }) => actor_id)).toEqual([support.id, support.id])
  })
})

describe('who looks up', () => {
  let reader = ''
  let readerOfOther = ''
  let supportKey = ''
  beforeAll(async () => {
    const make = async (bearer: string, scopes: string) => (await newKey(service, bearer, { scopes })).key
    reader = await make(owner.access, 'read latchkey:keys.read')
    readerOfOther = await make(other.access, 'read latchkey:keys.read')
    supportKey = await make(admin.access, 'latchkey:support')
  })

  test('a key finds what it would be listed, a key of support everything', async () => {
    const by = { key: key.key }
    expect(idsOf(await lookUp(by, reader))).toEqual([key.id])
    expect(idsOf(await lookUp(by, readerOfOther))).toEqual([])
    expect(idsOf(await lookUp(by, supportKey))).toEqual([key.id])
    // A key that holds more than the one that asks is not listed to it either.
    const wider = await newKey(service, owner.access, { scopes: 'read write' })
    expect(idsOf(await lookUp({ key: wider.key }, reader))).toEqual([])
    expect(idsOf(await lookUp({ key: wider.key }))).toEqual([wider.id])
  })

  test('a person without support does not, nor a key without the scope', async () => {
    expectProblem(await lookUp({ key: key.key }, owner.access), 'insufficient_scope')
    expectProblem(await lookUp({ key: key.key }, key.key), 'insufficient_scope')
    expectProblem(await callPlain(service, 'POST /keys/lookup', { json: {} }), 'missing_credential')
  })

  test('support ends with the ceiling, at the next request', async () => {
    const person = await addLoggedIn(service, sql, { scopes: ['latchkey:support'] })
    expect((await lookUp({ key: key.key }, person.access)).status).toBe(200)
    await callPlain(service, `PATCH /users/${person.id}`, { bearer: admin.access, json: { scopes: 'read' } })
    expectProblem(await lookUp({ key: key.key }, person.access), 'insufficient_scope')
  })
})

test.each([
  ['nothing', {}],
  ['two of them', { start: 'sk_AbCdEfGh', key: 'x' }],
  ['a short start', { start: 'sk_Ab' }],
  ['a hash that is too short', { hash: 'ab'.repeat(31) }],
  ['a hash that is none', { hash: 'zz'.repeat(32) }],
  ['another member', { name: 'x' }],
])('%s is refused', async (_, json) => {
  expectProblem(await lookUp(json), 'validation_failed')
})

test('the words below /keys/ are no ids: other methods are 405, and say which are taken', async () => {
  for (const word of ['verify', 'verify-batch', 'import', 'lookup', 'revoke'])
    for (const method of ['GET', 'PATCH', 'DELETE']) {
      const json = method === 'PATCH' ? { name: 'x' } : undefined
      const answer = await callPlain(service, `${method} /keys/${word}`, { bearer: owner.access, json })
      expectProblem(answer, 'method_not_allowed')
      expect(answer.headers.get('allow')).toBe('POST')
    }
})
