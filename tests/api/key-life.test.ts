import { describe, expect, test } from 'bun:test'
import { call, newKey } from '../support/client.ts'
import { type AddedPerson, addLoggedIn, LABELLER, type Tokens } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

type Json = Record<string, unknown>
type Someone = AddedPerson & Tokens

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const owner = prepare(() => addLoggedIn(service, sql, { scopes: LABELLER }))
const stranger = prepare(() => addLoggedIn(service, sql, { scopes: LABELLER }))

const MANAGES = ['latchkey:keys.read', 'latchkey:keys.write']
const YEAR_2099 = '2099-01-01T00:00:00.000Z'

const make = (json: Json = {}, who = owner) => newKey(service, who.access, { scopes: 'read', ...json })
const create = (json: Json, who = owner) => call(service, 'POST /keys', { bearer: who.access, json })
const patch = (id: string, json: unknown, who = owner) =>
  call(service, `PATCH /keys/${id}`, { bearer: who.access, json })
const patchAs = (apiKey: string, id: string, json: unknown) =>
  call(service, `PATCH /keys/${id}`, { apiKey, json })
const read = async (id: string, who = owner) =>
  (await call(service, `GET /keys/${id}`, { bearer: who.access })).body
const statusOf = async (apiKey: string) => (await call(service, 'GET /protected/any', { apiKey })).status
const end = (apiKey: string) => call(service, 'DELETE /keys/self', { apiKey })
const newAccount = async (who: Someone, scopes: string[] = ['read', 'write']) =>
  (await call(service, 'POST /service-accounts', { bearer: who.access, json: { name: 'builder', scopes } }))
    .body.id as string

describe('GET and PATCH /keys/{id}', () => {
  test.each<[string, unknown, unknown, unknown]>([
    ['name', 'before', 'after', null],
    ['description', 'before\nit', 'after', null],
    ['external_id', 'customer-1', 'customer-2', null],
    ['metadata', { a: 1 }, { b: { c: [null, 'd'] } }, null],
    ['scopes', ['read', 'write'], ['write'], []],
    ['expires_at', '2098-01-01T00:00:00.000Z', YEAR_2099, null],
    ['rate_limit', { limit: 5, window_seconds: 60 }, { limit: 9, window_seconds: 1 }, null],
    [
      'credits',
      { remaining: 5, refill: null },
      { remaining: 9, refill: { amount: 3, interval: 'daily' } },
      null,
    ],
    ['allowed_ips', ['192.0.2.0/24'], ['192.0.2.1/32', '2001:db8::/32'], null],
  ])(
    '%s is set, changed and cleared by null, and nothing else changes',
    async (name, given, changed, cleared) => {
      const made = (await create({ name: 'n', scopes: 'read', [name]: given })).body
      const { key: _, ...before } = made
      expect(before[name]).toEqual(given)
      expect(await read(made.id)).toEqual(before)
      const answer = await patch(made.id, { [name]: changed })
      expect([answer.status, answer.body]).toEqual([200, { ...before, [name]: changed }])
      expect(await read(made.id)).toEqual(answer.body)
      const [event] = await sql`
      SELECT * FROM latchkey.audit_events WHERE target_id = ${made.id} AND action = 'key.updated'`
      expect(event?.details).toEqual({ [name]: { before: given, after: changed } })
      expect((await patch(made.id, { [name]: null })).body).toEqual({ ...before, [name]: cleared })
      expect(await read(made.id)).toEqual({ ...before, [name]: cleared })
    },
  )

  test('is_active takes effect at once in both directions, and null is refused', async () => {
    const { id, key } = await make()
    expect(await statusOf(key)).toBe(200)
    expect((await patch(id, { is_active: false })).body.is_active).toBe(false)
    expect(await statusOf(key)).toBe(401)
    expect((await patch(id, { is_active: true })).body.is_active).toBe(true)
    expect(await statusOf(key)).toBe(200)
    expectProblem(await patch(id, { is_active: null }), 'validation_failed')
  })

  test('a PATCH that changes nothing has no audit row', async () => {
    const { id } = await make({ name: 'n' })
    const before = await read(id)
    for (const json of [{}, { name: 'n' }, { scopes: 'read' }, { is_active: true }, { expires_at: null }])
      expect((await patch(id, json)).body).toEqual(before)
    const rows = await sql`SELECT action FROM latchkey.audit_events WHERE target_id = ${id}`
    expect(rows.map(({ action }) => action)).toEqual(['key.created'])
  })

  test('several members are changed together or not at all', async () => {
    const { id } = await make({ name: 'n' })
    const before = await read(id)
    expectProblem(await patch(id, { name: 'other', scopes: 'read,deploy' }), 'insufficient_scope')
    expectProblem(await patch(id, { name: 'other', expires_at: '2020-01-01T00:00:00Z' }), 'validation_failed')
    expect(await read(id)).toEqual(before)
    expect((await patch(id, { name: 'other', scopes: '' })).body).toMatchObject({ name: 'other', scopes: [] })
  })

  test.each([
    'id',
    'key',
    'user_id',
    'service_account_id',
    'created_by',
    'created_at',
    'revoked_at',
    'secrets',
    'start',
    'expires_in_days',
    'last_used_at',
    'isActive',
    '__proto__x',
  ])('%s cannot be changed', async (name) => {
    const { id } = await make()
    const before = await read(id)
    const answer = await patch(id, { [name]: stranger.id })
    expectProblem(answer, 'validation_failed')
    expect(answer.text).not.toContain(stranger.id)
    expect(await read(id)).toEqual(before)
  })

  test('a revoked key cannot be changed', async () => {
    const { id, key } = await make()
    await call(service, `DELETE /keys/${id}?reason=old`, { bearer: owner.access })
    expectProblem(await patch(id, { is_active: true }), 'conflict')
    expectProblem(await patch(id, { name: 'n' }), 'conflict')
    expect(await statusOf(key)).toBe(401)
    expect(await read(id)).toMatchObject({
      is_active: false,
      revoked_reason: 'old',
      revoked_at: expect.any(String),
    })
  })

  test('an expired key is accepted again with a later expiry', async () => {
    const { id, key } = await make()
    await sql`UPDATE latchkey.api_keys SET expires_at = now() - interval '1 day' WHERE id = ${id}`
    expectProblem(await patch(id, { expires_at: '2020-01-01T00:00:00Z' }), 'validation_failed')
    expect((await patch(id, { expires_at: YEAR_2099 })).status).toBe(200)
    expect(await statusOf(key)).toBe(200)
  })
})

test('an expired key counts for the quota again when it gets a later expiry', async () => {
  const small = await startService({ apiKeysPerOwner: 2 }, service)
  try {
    const person = await addLoggedIn(service, sql)
    const make = () => newKey(small, person.access)
    const extend = (id: string, expires_at: unknown) =>
      call(small, `PATCH /keys/${id}`, { bearer: person.access, json: { expires_at } })
    const over = await make()
    await sql`UPDATE latchkey.api_keys SET expires_at = now() - interval '1 day' WHERE id = ${over.id}`
    const [first] = [await make(), await make()]
    for (const end of [YEAR_2099, null]) expectProblem(await extend(over.id, end), 'quota_exceeded')
    // A live key already counts, so a later expiry does not count it twice.
    expect((await extend(first.id, YEAR_2099)).status).toBe(200)
    await call(small, `DELETE /keys/${first.id}`, { bearer: person.access })
    expect((await extend(over.id, YEAR_2099)).status).toBe(200)
    expectProblem(await call(small, 'POST /keys', { bearer: person.access, json: {} }), 'quota_exceeded')
  } finally {
    await small.stop()
  }
})

describe('metadata', () => {
  const ofBytes = (bytes: number) => ({ a: 'x'.repeat(bytes - 8) })
  const nested = (levels: number): Json => (levels === 0 ? {} : { a: nested(levels - 1) })

  test.each<[string, unknown, number]>([
    ['of 4096 bytes', ofBytes(4096), 201],
    ['of 4097 bytes', ofBytes(4097), 422],
    ['of 2100 characters and 4200 bytes', { a: 'ä'.repeat(2096) }, 422],
    ['with a NUL', { a: 'x\u0000' }, 422],
    ['with a NUL in a name', { 'a\u0000': 1 }, 422],
    ['with half a character', { a: '\ud800' }, 422],
    ['with the other half', { a: ['\udc00'] }, 422],
    ['with a whole one', { a: '😀' }, 201],
    ['with text that looks like an escape', { a: '\\u0041' }, 201],
    ['a list', [1], 422],
    ['a text', 'x', 422],
    ['a number', 5, 422],
    ['empty', {}, 201],
    ['with inherited names as members', JSON.parse('{"__proto__":{"a":1},"constructor":1}'), 201],
    ['twenty levels deep', nested(20), 201],
    ['a hundred levels deep', nested(100), 400],
  ])('%s', async (_, metadata, status) => {
    const answer = await create({ metadata })
    expect(answer.status).toBe(status)
    if (status !== 201) return
    expect(JSON.stringify(answer.body.metadata)).toBe(JSON.stringify(metadata))
    expect(JSON.stringify((await read(answer.body.id)).metadata)).toBe(JSON.stringify(metadata))
  })

  test.each([
    ['9007199254740991', 201],
    ['-9007199254740991', 201],
    ['9007199254740992', 422],
    ['9007199254740993', 422],
    ['-9007199254740993', 422],
    ['1234567890123456789012', 422],
    ['1e400', 422],
    ['-1e400', 422],
    ['1.7e308', 201],
    ['6.02e23', 201],
    ['0.1234567890123456', 201],
    ['"9007199254740993"', 201],
  ])('with %s is stored unchanged, or refused', async (value, status) => {
    const raw = `{"metadata":{"deep":[{"a/b":${value}}]}}`
    const headers = { 'content-type': 'application/json' }
    const answer = await call(service, 'POST /keys', { bearer: owner.access, raw, headers })
    expect(answer.status).toBe(status)
    if (status === 422) expect(answer.body.errors).toMatchObject([{ path: '/metadata/deep/0/a~1b' }])
    else expect(answer.body.metadata).toEqual(JSON.parse(raw).metadata)
    const { id } = await make()
    const changed = await call(service, `PATCH /keys/${id}`, { bearer: owner.access, raw, headers })
    expect(changed.status).toBe(status === 201 ? 200 : 422)
  })

  test.each([
    ['580 numbers of 309 digits', Array(580).fill(1e308), 422],
    ['580 numbers with 308 places', Array(580).fill(1e-308), 422],
    ['13 numbers of 309 digits', Array(13).fill(1e308), 422],
    ['12 numbers of 309 digits', Array(12).fill(1e308), 201],
  ])('with %s has the length that the database stores, wherever it is set', async (_, n, status) => {
    const metadata = { n }
    const [isFit, errors] = [status === 201, [{ path: '/metadata' }]]
    const made = await create({ metadata })
    expect([made.status, made.body.errors ?? errors]).toMatchObject([status, errors])
    const { id } = await make()
    const changed = await call(service, `PATCH /keys/${id}`, { bearer: owner.access, json: { metadata } })
    expect([changed.status, changed.body.errors ?? errors]).toMatchObject([isFit ? 200 : 422, errors])
    expect((await read(id)).metadata).toEqual(isFit ? metadata : null)
    const item = { owner: { user_id: owner.id }, key: crypto.randomUUID(), metadata }
    const json = { keys: [item] }
    const { status: imported, body } = await call(service, 'POST /keys/import', {
      bearer: admin.access,
      json,
    })
    const tooLong = { status: 'refused', error: 'metadata: Must have at most 4096 bytes' }
    expect([imported, body.results]).toMatchObject([200, [isFit ? { status: 'imported' } : tooLong]])
  })

  test('with an integer beyond 2^53 is not imported', async () => {
    const item = (value: string) =>
      `{"owner":{"user_id":"${owner.id}"},"key":"${crypto.randomUUID()}","metadata":{"secret-name":${value}}}`
    const raw = `{"keys":[${item('9007199254740993')},${item('9007199254740991')}]}`
    const headers = { 'content-type': 'application/json' }
    const { body } = await call(service, 'POST /keys/import', { bearer: admin.access, raw, headers })
    expect(body.results).toMatchObject([
      { status: 'refused', error: expect.stringMatching(/^metadata: Must be/) },
      { status: 'imported' },
    ])
  })
})

describe('widening', () => {
  const widenings: [string, Json, Json][] = [
    ['a scope', { scopes: 'read' }, { scopes: 'read,write' }],
    ['another scope', { scopes: 'read' }, { scopes: 'write' }],
    ['a later end', { expires_at: '2098-01-01T00:00:00Z' }, { expires_at: YEAR_2099 }],
    ['no end', { expires_at: YEAR_2099 }, { expires_at: null }],
    [
      'a higher rate',
      { rate_limit: { limit: 5, window_seconds: 60 } },
      { rate_limit: { limit: 6, window_seconds: 60 } },
    ],
    [
      'a shorter window',
      { rate_limit: { limit: 5, window_seconds: 60 } },
      { rate_limit: { limit: 5, window_seconds: 59 } },
    ],
    ['no rate', { rate_limit: { limit: 5, window_seconds: 60 } }, { rate_limit: null }],
    ['more credits', { credits: { remaining: 5 } }, { credits: { remaining: 6 } }],
    [
      'a refill',
      { credits: { remaining: 5 } },
      { credits: { remaining: 5, refill: { amount: 1, interval: 'monthly' } } },
    ],
    ['no credits to count', { credits: { remaining: 5 } }, { credits: null }],
    ['more addresses', { allowed_ips: ['192.0.2.0/25'] }, { allowed_ips: ['192.0.2.0/24'] }],
    ['other addresses', { allowed_ips: ['192.0.2.1'] }, { allowed_ips: ['192.0.2.2'] }],
    ['any address', { allowed_ips: ['192.0.2.1'] }, { allowed_ips: null }],
    ['any address by an empty list', { allowed_ips: ['192.0.2.1'] }, { allowed_ips: [] }],
  ]

  test.each(widenings)(
    '%s: allowed for the owner, refused for an admin on a user’s key',
    async (what, given, wider) => {
      const { id } = await make(given)
      const before = await read(id)
      expectProblem(await patch(id, wider, admin), 'forbidden')
      expect(await read(id)).toEqual(before)
      expect((await patch(id, wider)).status).toBe(200)
      // The reverse change narrows the key, which an admin may. Where neither value contains the other, the reverse widens too.
      const back = await patch(id, given, admin)
      expect(back.status).toBe(/^(another|other)/.test(what) ? 403 : 200)
    },
  )

  test.each(widenings)(
    '%s: allowed on a service account’s key for its maker and for an admin',
    async (_, given, wider) => {
      const account = await newAccount(owner)
      for (const who of [owner, admin]) {
        const { id } = await make({ ...given, service_account_id: account })
        expect((await patch(id, wider, who)).status).toBe(200)
        expectProblem(await patch(id, given, stranger), 'not_found')
      }
    },
  )

  test('enabling is widening: a key that its owner disabled is enabled by the owner, not by an admin', async () => {
    const { id, key } = await make()
    expect((await patch(id, { is_active: false })).status).toBe(200)
    expect(await statusOf(key)).toBe(401)
    expectProblem(await patch(id, { is_active: true }, admin), 'forbidden')
    expect((await patch(id, { is_active: true })).status).toBe(200)
    expect(await statusOf(key)).toBe(200)
  })

  test('a key that an admin disabled is enabled by an admin, not by the owner', async () => {
    const { id, key } = await make()
    expect((await patch(id, { is_active: false }, admin)).status).toBe(200)
    expect(await statusOf(key)).toBe(401)
    expectProblem(await patch(id, { is_active: true }), 'forbidden')
    expect(await statusOf(key)).toBe(401)
    expect((await patch(id, { is_active: true }, admin)).status).toBe(200)
    expect(await statusOf(key)).toBe(200)
  })

  test('an admin cannot rotate a user’s key, and can revoke it', async () => {
    const { id, key } = await make()
    expectProblem(await call(service, `POST /keys/${id}/rotate`, { bearer: admin.access }), 'forbidden')
    expect(await statusOf(key)).toBe(200)
    expectProblem(await call(service, `DELETE /keys/delete/${id}`, { bearer: admin.access }), 'forbidden')
    expect((await call(service, `DELETE /keys/${id}`, { bearer: admin.access })).status).toBe(200)
    expect(await statusOf(key)).toBe(401)
  })

  test('needs a caller who could grant every scope of the key now', async () => {
    const person = await addLoggedIn(service, sql, { scopes: ['read', 'deploy'] })
    const { id } = await make({ scopes: 'read,deploy', expires_at: '2098-01-01T00:00:00Z' }, person)
    await call(service, `PATCH /users/${person.id}`, { bearer: admin.access, json: { scopes: ['read'] } })
    for (const json of [{ expires_at: YEAR_2099 }, { scopes: 'read,deploy,write' }])
      expectProblem(await patch(id, json, person), 'insufficient_scope')
    expect((await patch(id, { is_active: false }, person)).status).toBe(200)
    expectProblem(await patch(id, { is_active: true }, person), 'insufficient_scope')
    // Without the scope beyond the ceiling the key may be enabled and last longer.
    const lowered = await patch(id, { scopes: 'read', is_active: true, expires_at: YEAR_2099 }, person)
    expect(lowered.status).toBe(200)
  })

  test('a managing key narrows and widens keys within its own scopes and expiry only', async () => {
    const bounds = {
      scopes: ['read', ...MANAGES],
      expires_at: YEAR_2099,
      allowed_ips: ['127.0.0.0/8'],
    }
    const manager = await make(bounds)
    const inside = {
      scopes: [],
      expires_at: '2098-01-01T00:00:00Z',
      rate_limit: { limit: 5, window_seconds: 60 },
      allowed_ips: ['127.0.0.1'],
    }
    const child = (await call(service, 'POST /keys', { apiKey: manager.key, json: inside })).body
    expect(child.created_by).toBe(manager.id)
    for (const json of [
      { scopes: 'read' },
      { expires_at: YEAR_2099 },
      { rate_limit: { limit: 100, window_seconds: 60 } },
      { allowed_ips: ['127.0.0.0/8'] },
      { is_active: false },
      { is_active: true },
      { credits: { remaining: 5 } },
    ])
      expect([json, (await patchAs(manager.key, child.id, json)).status]).toEqual([json, 200])
    for (const json of [
      { scopes: 'read,write' },
      { expires_at: null },
      { allowed_ips: null },
      { allowed_ips: ['126.0.0.0/7'] },
    ])
      expect([json, (await patchAs(manager.key, child.id, json)).status]).toEqual([json, 403])
    expectProblem(await patchAs(manager.key, manager.id, { name: 'mine' }), 'forbidden')
    const wider = await make({ scopes: 'write' })
    expectProblem(await patchAs(manager.key, wider.id, { scopes: '' }), 'not_found')
  }, 240_000)

  test('a managing key with a rate limit cannot rotate or widen a key that does not share it, and can narrow one', async () => {
    const rate_limit = { limit: 100, window_seconds: 60 }
    const manager = await make({ scopes: ['read', ...MANAGES], rate_limit })
    const child = await make({ scopes: ['read'], rate_limit })
    const asManager = (route: string, json: unknown) => call(service, route, { apiKey: manager.key, json })
    for (const [route, json] of [
      [`POST /keys/${child.id}/rotate`, {}],
      [`PATCH /keys/${child.id}`, { rate_limit: { limit: 101, window_seconds: 60 } }],
    ] as const)
      expectProblem(await asManager(route, json), 'forbidden')
    const lower = { rate_limit: { limit: 99, window_seconds: 60 } }
    expect((await asManager(`PATCH /keys/${child.id}`, lower)).status).toBe(200)
    expect((await asManager(`PATCH /keys/${child.id}`, { rate_limit })).status).toBe(403)
    for (const json of [{ scopes: [] }, { scopes: [], rate_limit }])
      expect((await asManager('POST /keys', json)).status).toBe(201)
  })
})

describe('lists', () => {
  type ListedKey = { id: string }
  const list = (query: string, who = owner) => call(service, `GET /keys${query}`, { bearer: who.access })
  const idsOf = async (query: string, who = owner) =>
    (await list(query, who)).body.map(({ id }: ListedKey) => id) as string[]

  test('by status: each key has exactly one status', async () => {
    const person = await addLoggedIn(service, sql)
    const ids: Record<string, string> = {}
    for (const status of [
      'active',
      'disabled',
      'expired',
      'revoked',
      'expired and disabled',
      'revoked and expired',
    ])
      ids[status] = (await make({}, person)).id
    for (const status of ['disabled', 'expired and disabled'])
      await patch(ids[status] ?? '', { is_active: false }, person)
    for (const status of ['revoked', 'revoked and expired'])
      await call(service, `DELETE /keys/${ids[status]}`, { bearer: person.access })
    for (const status of ['expired', 'expired and disabled', 'revoked and expired'])
      await sql`UPDATE latchkey.api_keys SET expires_at = now() - interval '1 s' WHERE id = ${ids[status] ?? ''}`
    const named = async (query: string) => {
      const found = await idsOf(query, person)
      return Object.keys(ids).filter((status) => found.includes(ids[status] ?? ''))
    }
    expect(await named('')).toEqual(Object.keys(ids))
    expect(await named('?status=active')).toEqual(['active'])
    expect(await named('?status=disabled')).toEqual(['disabled'])
    expect(await named('?status=expired')).toEqual(['expired', 'expired and disabled'])
    expect(await named('?status=revoked')).toEqual(['revoked', 'revoked and expired'])
    for (const query of ['?status=gone', '?status=', '?state=active', '?limit=0', '?limit=1001', '?limit=x'])
      expectProblem(await list(query, person), 'validation_failed')
  })

  test('by external id: the exact value, among the caller’s own keys only', async () => {
    const mine = await make({ external_id: 'customer 7/ä&b' })
    await make({ external_id: 'customer 7' })
    await make({ external_id: 'customer 7/ä&b' }, stranger)
    expect(await idsOf(`?external_id=${encodeURIComponent('customer 7/ä&b')}`)).toEqual([mine.id])
    expect(await idsOf('?external_id=%25')).toEqual([])
    expect(await idsOf('?external_id=customer')).toEqual([])
  })

  test('whole or in pages: newest first, each key once', async () => {
    const person = await addLoggedIn(service, sql, { scopes: LABELLER })
    const made: string[] = []
    for (let i = 0; i < 7; i++) made.unshift((await make({ external_id: i % 2 ? 'odd' : 'even' }, person)).id)
    await sql`INSERT INTO latchkey.api_keys (id, user_id, scopes, created_at)
      SELECT (lpad(to_hex(n), 8, '0') || '-0000-7000-8000-000000000000')::uuid, ${person.id}, '{}', now()
      FROM generate_series(1, 150) n`
    const whole = await list('', person)
    expect(whole.body).toHaveLength(157)
    expect(whole.headers.get('link')).toBeNull()
    expect(whole.body.slice(150).map(({ id }: ListedKey) => id)).toEqual(made)

    const follow = async (start: string) => {
      const pages: string[][] = []
      let path: string | undefined = start
      while (path !== undefined && pages.length < 100) {
        const page = await call(service, `GET ${path}`, { bearer: person.access })
        expect(page.status).toBe(200)
        pages.push(page.body.map(({ id }: ListedKey) => id))
        const next = /^<(\?[^>]+)>; rel="next"$/.exec(page.headers.get('link') ?? '')?.[1]
        path = next && start.replace(/\?.*/, next)
      }
      return pages
    }
    const pages = await follow('/keys?limit=50')
    expect(pages.map((page) => page.length)).toEqual([50, 50, 50, 7])
    expect(pages.flat()).toEqual(whole.body.map(({ id }: ListedKey) => id))
    expect((await follow('/keys/list?limit=2&external_id=odd')).map((page) => page.length)).toEqual([2, 1])
    // The last page is full and has no cursor.
    expect(await follow('/keys?limit=3&external_id=odd')).toHaveLength(1)

    const cursor =
      /cursor=([^&>]+)/.exec((await list('?limit=2', person)).headers.get('link') ?? '')?.[1] ?? ''
    for (const query of [
      `?limit=2&cursor=${cursor.slice(0, -1)}x`,
      `?limit=2&cursor=${cursor}&external_id=odd`,
      '?cursor=nonsense',
    ])
      expectProblem(await list(query, person), 'validation_failed')
    expectProblem(await list(`?limit=2&cursor=${cursor}`, stranger), 'validation_failed')
  })

  test('in pages of 1,000 for one owner and of 100 for every owner, unless the limit is lower', async () => {
    const person = await addLoggedIn(service, sql)
    await sql`INSERT INTO latchkey.api_keys (id, user_id, scopes, created_at)
      SELECT gen_random_uuid(), ${person.id}, '{}', now() - n * interval '1 microsecond' FROM generate_series(1, 1001) n`
    const inOrder = (await sql`SELECT id FROM latchkey.api_keys WHERE user_id = ${person.id}
      ORDER BY created_at DESC, id DESC`) as unknown as ListedKey[]
    const first = await list('', person)
    expect(first.body.map(({ id }: ListedKey) => id)).toEqual(inOrder.slice(0, 1000).map(({ id }) => id))
    const next = /^<(\?[^>]+)>; rel="next"$/.exec(first.headers.get('link') ?? '')?.[1] ?? ''
    const second = await list(next, person)
    expect(second.body.map(({ id }: ListedKey) => id)).toEqual([inOrder.at(-1)?.id])
    expect(second.headers.get('link')).toBeNull()
    expect(await idsOf('?limit=1000', person)).toHaveLength(1000)
    expect(await idsOf(`?user_id=${person.id}`, admin)).toHaveLength(1000)

    expect(await idsOf('?all=true', admin)).toHaveLength(100)
    expect(await idsOf('?all=true&limit=100', admin)).toHaveLength(100)
    const tooLarge = await list('?all=true&limit=101', admin)
    expectProblem(tooLarge, 'validation_failed')
    expect(tooLarge.body.errors).toMatchObject([{ path: '?limit' }])
  })

  test('newest first by creation time, whatever the ids, and continues after a deleted key', async () => {
    const person = await addLoggedIn(service, sql)
    const made = async (at: string, id: string) => {
      await sql`INSERT INTO latchkey.api_keys (id, user_id, scopes, created_at) VALUES (${id}, ${person.id}, '{}', ${at})`
      return id
    }
    const oldest = await made('2020-01-01T00:00:00.000Z', 'ffffffff-0000-4000-8000-000000000000')
    const newest = await made('2026-01-01T00:00:00.000Z', '00000000-0000-4000-8000-000000000000')
    const middle = await made('2023-01-01T00:00:00.000Z', '88888888-0000-4000-8000-000000000000')
    const twin = await made('2023-01-01T00:00:00.000Z', '99999999-0000-4000-8000-000000000000')
    expect(await idsOf('', person)).toEqual([newest, twin, middle, oldest])
    const page = await list('?limit=2', person)
    expect(page.body.map(({ id }: ListedKey) => id)).toEqual([newest, twin])
    const next = /^<(\?[^>]+)>/.exec(page.headers.get('link') ?? '')?.[1] ?? ''
    expect(await idsOf(next, person)).toEqual([middle, oldest])
    await sql`DELETE FROM latchkey.api_keys WHERE id = ${twin}`
    expect(await idsOf(next, person)).toEqual([middle, oldest])
  })

  test('of another user, and of every user, for admins only', async () => {
    const person = await addLoggedIn(service, sql)
    const [first, second] = [await make({}, person), await make({}, person)]
    expect(await idsOf(`?user_id=${person.id}`, admin)).toEqual([second.id, first.id])
    const ofEveryOwner = await list('?all=true', admin)
    expect(ofEveryOwner.body.length).toBeLessThanOrEqual(100)
    expect(ofEveryOwner.body.map(({ id }: ListedKey) => id).slice(0, 2)).toEqual([second.id, first.id])
    const total = (await sql`SELECT count(*)::int AS n FROM latchkey.api_keys`)[0]?.n
    expect(ofEveryOwner.headers.get('link') !== null).toBe(total > 100)
    expect(await idsOf('?all=false', admin)).toEqual([])
    for (const id of ['nonsense', '0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6'])
      expect([404, 200]).toContain((await list(`?user_id=${id}`, admin)).status)
    for (const query of ['?all=true', `?user_id=${person.id}`]) expectProblem(await list(query), 'forbidden')
    const adminsKey = await make({ scopes: MANAGES }, admin)
    for (const query of ['?all=true', `?user_id=${person.id}`])
      expectProblem(await call(service, `GET /keys${query}`, { apiKey: adminsKey.key }), 'forbidden')
  })

  test('of a service account, for its managers', async () => {
    const account = await newAccount(owner)
    const { id } = await make({ service_account_id: account })
    for (const who of [owner, admin]) expect(await idsOf(`?service_account_id=${account}`, who)).toEqual([id])
    expect(await idsOf('')).not.toContain(id)
    expectProblem(await list(`?service_account_id=${account}`, stranger), 'not_found')
    expectProblem(await list('?service_account_id=nonsense'), 'not_found')
  })
})

describe('DELETE /keys/self', () => {
  test.each<[string, Json]>([
    ['without any scope', { scopes: '' }],
    ['from an address that it may not be used from', { allowed_ips: ['192.0.2.1'] }],
    ['without credits', { credits: { remaining: 0 } }],
    ['with its rate used up', { rate_limit: { limit: 1, window_seconds: 3600 } }],
  ])('%s revokes the key', async (_, json) => {
    const { id, key } = await make(json)
    await call(service, 'GET /protected/any', { apiKey: key })
    expect((await end(key)).status).toBe(204)
    expect(await statusOf(key)).toBe(401)
    expectProblem(await end(key), 'invalid_token')
    expect(await read(id)).toMatchObject({ is_active: false, revoked_reason: 'ended_by_holder' })
    const [event] =
      await sql`SELECT * FROM latchkey.audit_events WHERE target_id = ${id} AND action = 'key.revoked'`
    expect(event).toMatchObject({ actor_type: 'key', actor_id: id })
  })

  test('during a rotation ends only the presented secret; the other secret then revokes the key', async () => {
    const { id, key } = await make()
    const successor = (await call(service, `POST /keys/${id}/rotate`, { bearer: owner.access })).body.key
    expect((await end(key)).status).toBe(204)
    expect([await statusOf(key), await statusOf(successor)]).toEqual([401, 200])
    expect((await read(id)).revoked_at).toBeNull()
    expect((await end(successor)).status).toBe(204)
    expect((await read(id)).revoked_at).toBeString()
  })

  test('is for live keys: an access token, a dead key and an unknown key have no effect', async () => {
    expectProblem(await call(service, 'DELETE /keys/self', { bearer: owner.access }), 'wrong_credential_kind')
    expectProblem(await call(service, 'DELETE /keys/self'), 'missing_credential')
    expectProblem(await end(`sk_${'0'.repeat(49)}`), 'invalid_token')
    const { id, key } = await make()
    await patch(id, { is_active: false })
    expectProblem(await end(key), 'invalid_token')
  })

  test('forty requests at once by both secrets revoke the key, with one audit row', async () => {
    const { id, key } = await make()
    const successor = (await call(service, `POST /keys/${id}/rotate`, { bearer: owner.access })).body.key
    await Promise.all(Array.from({ length: 40 }, (_, at) => end(at % 2 ? key : successor)))
    expect([await statusOf(key), await statusOf(successor)]).toEqual([401, 401])
    const events = await sql`SELECT action FROM latchkey.audit_events WHERE target_id = ${id} ORDER BY id`
    expect(events.map(({ action }) => action)).toEqual([
      'key.created',
      'key.rotated',
      'key.secret_ended',
      'key.revoked',
    ])
  })
})
