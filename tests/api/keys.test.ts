import { describe, expect, test } from 'bun:test'
import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { newKey, newPerson } from '../support/client.ts'
import { call } from '../support/described.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const owner = prepare(() => newPerson(service))
const stranger = prepare(() => newPerson(service))

const asOwner = (route: string, json?: unknown) => call(service, route, { bearer: owner.access, json })
const asStranger = (route: string) => call(service, route, { bearer: stranger.access })
const show = (key: string) => call(service, 'GET /protected/any', { apiKey: key })
const auditOf = (id: string) =>
  sql`SELECT action, outcome, actor_id, details FROM latchkey.audit_events WHERE target_id = ${id} ORDER BY id`

/** A key as shown, but for its last use, which is written some time later. */
const unused = (key: { secrets: object[] }) => ({
  ...key,
  last_used_at: null,
  secrets: key.secrets.map((secret) => ({ ...secret, last_used_at: null })),
})

const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/

describe("the seed's calls", () => {
  test.each([
    ['POST /keys/create', 'GET /keys/list', 'DELETE /keys/revoke/'],
    ['POST /keys', 'GET /keys', 'DELETE /keys/'],
  ])('%s, %s and %s:id do what the README says', async (create, list, revoke) => {
    const made = await asOwner(create, { name: 'my service', scopes: 'read' })
    expect(made.status).toBe(201)
    const { key, ...shown } = made.body
    const secret = {
      id: expect.stringMatching(UUID_V7),
      start: key.slice(0, 11),
      created_at: shown.created_at,
      expires_at: null,
      last_used_at: null,
    }
    expect(shown).toEqual({
      id: expect.stringMatching(UUID_V7),
      name: 'my service',
      description: null,
      external_id: null,
      user_id: owner.id,
      service_account_id: null,
      is_active: true,
      scopes: ['read'],
      start: key.slice(0, 11),
      created_at: expect.stringMatching(TIME),
      created_by: owner.id,
      expires_at: null,
      revoked_at: null,
      revoked_reason: null,
      last_used_at: null,
      rate_limit: null,
      credits: null,
      allowed_ips: null,
      metadata: null,
      status: 'active',
      status_reason: null,
      secrets: [secret],
    })
    expect((await call(service, 'GET /protected/service-only', { apiKey: key })).status).toBe(200)
    expect((await call(service, 'GET /protected/service-only', { bearer: key })).status).toBe(200)

    const listed = await asOwner(list)
    expect(unused(listed.body[0])).toEqual(shown)
    expect(listed.text).not.toContain(key)

    const revoked = await asOwner(`${revoke}${shown.id}`)
    expect(revoked.status).toBe(200)
    expect(revoked.body).toEqual({ message: 'API key revoked successfully', key_id: shown.id })
    const after = unused((await asOwner(list)).body[0])
    expect(after).toEqual({
      ...shown,
      is_active: false,
      revoked_at: expect.stringMatching(TIME),
      status: 'revoked',
      status_reason: expect.stringMatching(/^It was revoked on /),
    })
  })

  test('a list is a bare array of the own keys, newest first', async () => {
    const somebody = await newPerson(service)
    expect((await call(service, 'GET /keys/list', { bearer: somebody.access })).body).toEqual([])
    const ids: string[] = []
    for (let i = 0; i < 5; i++) ids.unshift((await newKey(service, somebody.access)).id)
    const listed = await call(service, 'GET /keys/list', { bearer: somebody.access })
    expect(listed.body.map(({ id }: { id: string }) => id)).toEqual(ids)
    expect(listed.text).not.toContain(owner.id)
  })

  test('a deleted key is gone and refused; what the audit trail says of it stays', async () => {
    const { id, key } = await newKey(service, owner.access, { name: 'short-lived' })
    expect((await show(key)).status).toBe(200)
    const deleted = await asOwner(`DELETE /keys/delete/${id}`)
    expect(deleted.status).toBe(200)
    expect(deleted.body).toEqual({ message: 'API key deleted successfully', key_id: id })
    expectProblem(await show(key), 'invalid_token')
    expect((await asOwner('GET /keys/list')).text).not.toContain(id)
    expectProblem(await asOwner(`DELETE /keys/delete/${id}`), 'not_found')
    expectProblem(await asOwner(`DELETE /keys/revoke/${id}`), 'not_found')
    expect((await auditOf(id)).map(({ action }) => action)).toEqual(['key.created', 'key.deleted'])
    expect(await sql`SELECT 1 FROM latchkey.api_key_secrets WHERE key_id = ${id}`).toBeEmpty()
  })
})

describe('a key', () => {
  const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
  const base62 = (value: number) => {
    let digits = ''
    for (let i = 0; i < 6; i++) {
      digits = ALPHABET.charAt(value % 62) + digits
      value = Math.floor(value / 62)
    }
    return digits
  }

  test('has its prefix, 43 random digits and the CRC-32 of all before it: 52 characters, never twice', async () => {
    const made = await Promise.all(Array.from({ length: 20 }, () => newKey(service, owner.access)))
    for (const { key } of made) {
      expect(key).toMatch(/^sk_[0-9A-Za-z]{49}$/)
      expect(key.slice(-6)).toBe(base62(crc32(key.slice(0, -6))))
    }
    expect(new Set(made.map(({ key }) => key.slice(3, 20))).size).toBe(20)
  })

  test('is nowhere in the database but as its SHA-256', async () => {
    const { key } = await newKey(service, owner.access, { name: 'kept as a hash' })
    await show(key)
    const dump = await dumpEverything()
    expect(dump).toContain('kept as a hash')
    expect(dump).toContain(createHash('sha256').update(key).digest('hex'))
    const secretPart = key.slice(11)
    for (const form of [secretPart, secretPart.slice(0, 20), secretPart.slice(-20)]) {
      expect(dump).not.toContain(form)
      expect(dump).not.toContain(Buffer.from(form).toString('hex'))
    }
  })

  test('with a wrong checksum is refused without asking the database', async () => {
    const { key } = await newKey(service, owner.access)
    const other = (digit: string) => (digit === 'a' ? 'b' : 'a')
    const mistyped = [
      key.slice(0, -1) + other(key.slice(-1)),
      `sk_${other(key.charAt(3))}${key.slice(4)}`,
      key.slice(0, 20) + other(key.charAt(20)) + key.slice(21),
    ]
    const unknown = `sk_${'7'.repeat(43)}`
    await sql`ALTER TABLE latchkey.api_key_secrets RENAME TO elsewhere`
    try {
      for (const shown of mistyped) expectProblem(await show(shown), 'invalid_token')
      // The control: a right checksum asks, and finds no table to ask.
      const apiKey = unknown + base62(crc32(unknown))
      expectProblem(await show(apiKey), 'internal')
      // Also where it is asked on the way to the body, which is not at fault.
      expectProblem(await call(service, 'POST /keys/create', { apiKey, json: {} }), 'internal')
    } finally {
      await sql`ALTER TABLE latchkey.elsewhere RENAME TO api_key_secrets`
    }
    for (const shown of mistyped) expectProblem(await show(shown), 'invalid_token')
    expect((await show(key)).status).toBe(200)
  })

  test('takes the prefix of the setting', async () => {
    const prefixed = await startService({ apiKeyPrefix: 'acme_' }, service)
    try {
      const { key } = await newKey(prefixed, (await newPerson(prefixed)).access)
      expect(key).toMatch(/^acme_[0-9A-Za-z]{49}$/)
      expect((await call(prefixed, 'GET /protected/any', { apiKey: key })).status).toBe(200)
      // A key belongs to the database, whatever prefix a server gives to new ones.
      expect((await show(key)).status).toBe(200)
    } finally {
      await prefixed.stop()
    }
  })

  /** Every row of every table of the schema, as text. */
  async function dumpEverything(): Promise<string> {
    const tables = await sql`SELECT table_name FROM information_schema.tables WHERE table_schema = 'latchkey'`
    expect(tables.length).toBeGreaterThan(7)
    const rows = await Promise.all(
      tables.map(({ table_name }) => sql`SELECT t::text FROM latchkey.${sql(table_name)} t`),
    )
    return JSON.stringify(rows)
  }
})

describe('a revoked key', () => {
  test('is refused on the next request, on every door, and never comes back', async () => {
    const { id, key } = await newKey(service, owner.access, { scopes: ['read', 'latchkey:keys.read'] })
    const doors = ['/protected/any', '/protected/service-only', '/auth/me', '/keys/list']
    for (const door of doors) expect((await call(service, `GET ${door}`, { apiKey: key })).status).toBe(200)
    await asOwner(`DELETE /keys/revoke/${id}`)
    for (const door of doors) {
      expectProblem(await call(service, `GET ${door}`, { apiKey: key }), 'invalid_token')
      expectProblem(await call(service, `GET ${door}`, { bearer: key }), 'invalid_token')
    }
  })

  test('revoked again gives the same answer, and changes and audits nothing', async () => {
    const { id } = await newKey(service, owner.access)
    const first = await asOwner(`DELETE /keys/revoke/${id}?reason=leaked`)
    const [row] = await sql`SELECT * FROM latchkey.api_keys WHERE id = ${id}`
    const second = await asOwner(`DELETE /keys/revoke/${id}?reason=another`)
    expect([second.status, second.body]).toEqual([first.status, first.body])
    expect((await sql`SELECT * FROM latchkey.api_keys WHERE id = ${id}`)[0]).toEqual(row)
    expect((await auditOf(id)).map(({ action }) => action)).toEqual(['key.created', 'key.revoked'])
  })

  test('says why, to its owner and in the audit trail', async () => {
    const { id } = await newKey(service, owner.access)
    const reason = '<b>left</b> in a log, "by" Zoë 🙂'
    expect((await asOwner(`DELETE /keys/revoke/${id}?reason=${encodeURIComponent(reason)}`)).status).toBe(200)
    const listed = (await asOwner('GET /keys/list')).body.find((key: { id: string }) => key.id === id)
    expect(listed).toMatchObject({ is_active: false, revoked_reason: reason })
    expect((await auditOf(id))[1]).toMatchObject({ actor_id: owner.id, details: { reason } })
  })

  test.each([
    ['too long', `reason=${'x'.repeat(501)}`],
    ['NUL in it', 'reason=a%00b'],
    ['a line break in it', 'reason=a%0Ab'],
    ['an unknown parameter', 'because=leaked'],
    ['created neither true nor false', 'created=yes'],
  ])('stays live where the request is wrong: %s', async (_, query) => {
    const { id, key } = await newKey(service, owner.access)
    expectProblem(await asOwner(`DELETE /keys/revoke/${id}?${query}`), 'validation_failed')
    expect((await show(key)).status).toBe(200)
  })
})

describe('nobody reaches a key that is not theirs', () => {
  test("another person's id is answered exactly like one that does not exist", async () => {
    const { id, key } = await newKey(service, owner.access)
    for (const path of ['revoke/', 'delete/', '']) {
      const theirs = await asStranger(`DELETE /keys/${path}${id}`)
      const nobodys = await asStranger(`DELETE /keys/${path}${Bun.randomUUIDv7()}`)
      for (const answer of [theirs, nobodys]) expectProblem(answer, 'not_found')
      expect(theirs.body.detail).toBe(nobodys.body.detail)
    }
    expect((await show(key)).status).toBe(200)
    expect((await asStranger('GET /keys/list')).text).not.toContain(id)
    expect((await auditOf(id)).map(({ action }) => action)).toEqual(['key.created'])
  })

  test.each([
    ['a word', 'x'],
    ['a number', '1'],
    ['NUL', '%00'],
    ['a step up', '..%2f..'],
    ['no UTF-8', '%ff'],
    ['SQL', "'%20OR%201=1"],
    ['digits of the right number', '0'.repeat(36)],
    ['four thousand characters', 'a'.repeat(4000)],
  ])('a malformed id is a 404: %s', async (_, id) => {
    for (const path of ['revoke/', 'delete/', ''])
      expectProblem(await asOwner(`DELETE /keys/${path}${id}`), 'not_found')
  })

  test('an admin revokes what is not theirs, and deletes nothing', async () => {
    const admin = await newPerson(service)
    const { id, key } = await newKey(service, owner.access)
    const asAdmin = (route: string) => call(service, route, { bearer: admin.access })
    expectProblem(await asAdmin(`DELETE /keys/revoke/${id}`), 'not_found')
    await sql`UPDATE latchkey.users SET role = 'admin' WHERE id = ${admin.id}`
    await until(async () => (await asAdmin('GET /protected/admin')).status === 200, 'the role is heard of')
    expectProblem(await asAdmin(`DELETE /keys/delete/${id}`), 'forbidden')
    expect((await show(key)).status).toBe(200)
    expect((await asAdmin(`DELETE /keys/revoke/${id}`)).status).toBe(200)
    expectProblem(await show(key), 'invalid_token')
    expect((await auditOf(id))[1]).toMatchObject({ action: 'key.revoked', actor_id: admin.id })
  })
})

describe('what a new key may be', () => {
  const countKeys = async () => Number((await sql`SELECT count(*) FROM latchkey.api_keys`)[0]?.count)

  test.each([
    ['HTML, kept as text', '<script>alert(1)</script>'],
    ['every script', 'Zoë 鍵 🔑 مفتاح'],
    ['a hundred characters', 'n'.repeat(100)],
    ['one character', 'n'],
  ])('a name: %s', async (_, name) => {
    const made = await asOwner('POST /keys/create', { name })
    expect([made.status, made.body.name]).toEqual([201, name])
    expect((await asOwner('GET /keys/list')).body[0].name).toBe(name)
    expect(made.headers.get('content-type')).toStartWith('application/json')
  })

  test('no name, or null', async () => {
    expect((await asOwner('POST /keys/create', {})).body.name).toBeNull()
    expect((await asOwner('POST /keys/create', { name: null })).body.name).toBeNull()
  })

  test.each([
    ['a hundred and one characters', { name: 'n'.repeat(101) }, '/name'],
    ['ten thousand', { name: 'n'.repeat(10_000) }, '/name'],
    ['none', { name: '' }, '/name'],
    ['NUL', { name: 'a\0b' }, '/name'],
    ['a line break', { name: 'a\nb' }, '/name'],
    ['DEL', { name: 'a\x7f' }, '/name'],
    ['a C1 control', { name: 'a\u0085' }, '/name'],
    ['half a character', { name: 'a\ud83d' }, '/name'],
    ['a number as a name', { name: 5 }, '/name'],
    ['an owner', { owner: { user_id: '0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6' } }, '/owner'],
    ["somebody else's id", { user_id: '0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6' }, '/user_id'],
    ['a role', { role: 'admin' }, '/role'],
    ['an id', { id: '0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6' }, '/id'],
    ['the key itself', { key: `sk_${'0'.repeat(49)}` }, '/key'],
    ['a hash', { hash: '00'.repeat(32) }, '/hash'],
    ['a mistyped expiry', { expires_in_day: 5 }, '/expires_in_day'],
  ])('not %s: 422, which names the member, repeats no value and makes nothing', async (_, json, path) => {
    const before = await countKeys()
    const answer = await asOwner('POST /keys/create', json)
    expectProblem(answer, 'validation_failed')
    expect(answer.body.errors).toEqual([{ path, message: expect.any(String) }])
    for (const value of Object.values(json)) {
      const text = typeof value === 'string' && value.length > 8 ? value : JSON.stringify(value)
      if (text.length > 8) expect(answer.text).not.toContain(text)
    }
    expect(await countKeys()).toBe(before)
  })
})

describe('API_KEYS_PER_OWNER', () => {
  test('holds against creations at the same time, counts live keys alone, and each owner by themselves', async () => {
    const small = await startService({ apiKeysPerOwner: 5 }, service)
    try {
      const person = await newPerson(small)
      const create = () => call(small, 'POST /keys/create', { bearer: person.access, json: {} })
      const answers = await Promise.all(Array.from({ length: 20 }, create))
      const made = answers.filter(({ status }) => status === 201)
      expect(made).toHaveLength(5)
      for (const answer of answers.filter(({ status }) => status !== 201))
        expectProblem(answer, 'quota_exceeded')
      const live =
        await sql`SELECT 1 FROM latchkey.api_keys WHERE user_id = ${person.id} AND revoked_at IS NULL`
      expect(live).toHaveLength(5)

      await newKey(small, (await newPerson(small)).access)
      await call(small, `DELETE /keys/revoke/${made[0]?.body.id}`, { bearer: person.access })
      expect((await create()).status).toBe(201)
      expectProblem(await create(), 'quota_exceeded')
      await sql`UPDATE latchkey.api_keys SET expires_at = now() - interval '1 day' WHERE id = ${made[1]?.body.id}`
      expect((await create()).status).toBe(201)
      expectProblem(await create(), 'quota_exceeded')
    } finally {
      await small.stop()
    }
  })
})
