import { describe, expect, test } from 'bun:test'
import { type Answer, call, newKey } from '../support/client.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { seedKey, sha256 } from '../support/seed.ts'
import { startService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const owner = prepare(() => addLoggedIn(service, sql))

const send = (keys: unknown, bearer = admin.access): Promise<Answer> =>
  call(service, 'POST /keys/import', { bearer, json: { keys } })

/** Imports one key for `owner`, and gives its result. */
async function importOne(item: Record<string, unknown>) {
  const answer = await send([{ owner: { user_id: owner.id }, ...item }])
  expect(`${answer.status} ${answer.text}`).toStartWith('200 ')
  expect(answer.body.results).toHaveLength(1)
  return answer.body.results[0]
}
const use = (key: string) => call(service, 'GET /protected/service-only', { bearer: key })
const get = async (id: string) => (await call(service, `GET /keys/${id}`, { bearer: admin.access })).body
const base64 = (key: string, alphabet: 'base64' | 'base64url') =>
  Uint8Array.fromHex(sha256(key)).toBase64({ alphabet, omitPadding: alphabet === 'base64url' })
const imported = { status: 'imported', id: expect.any(String) }

describe('an imported key', () => {
  test.each([
    ['by its hash in hex', (key: string) => ({ hash: sha256(key) })],
    [
      'by its hash in hex, named so, in capitals',
      (key: string) => ({ hash: sha256(key).toUpperCase(), hash_encoding: 'hex' }),
    ],
    ['by its hash in base64', (key: string) => ({ hash: base64(key, 'base64'), hash_encoding: 'base64' })],
    [
      'by its hash in base64 without padding',
      (key: string) => ({ hash: base64(key, 'base64').replace('=', ''), hash_encoding: 'base64' }),
    ],
    [
      'by its hash in base64url',
      (key: string) => ({ hash: base64(key, 'base64url'), hash_encoding: 'base64url' }),
    ],
    ['whole', (key: string) => ({ key })],
  ])('%s is accepted wherever a key is checked', async (_, identify) => {
    // The forms of other services' keys, which differ from ours.
    for (const key of [seedKey(), crypto.randomUUID(), `live.${seedKey()}/+=~`]) {
      expectProblem(await use(key), 'invalid_token')
      expect(await importOne({ ...identify(key), scopes: 'read' })).toEqual(imported)
      expect((await use(key)).body).toMatchObject({
        auth_type: 'api_key',
        scopes: ['read'],
        owner_id: owner.id,
      })
      const verified = await call(service, 'POST /keys/verify', { bearer: admin.access, json: { key } })
      expect(verified.body).toMatchObject({ valid: true, owner: { type: 'user', id: owner.id } })
      expectProblem(await use(`${key}x`), 'invalid_token')
      expectProblem(await use(sha256(key)), 'invalid_token')
    }
  })

  test('keeps every member, and finds its owner by any of three names', async () => {
    const account = await call(service, 'POST /service-accounts', {
      bearer: admin.access,
      json: { name: 'builder', scopes: ['read', 'deploy'] },
    })
    const item = {
      name: 'nightly',
      description: 'from\nof old',
      external_id: 'customer 7',
      metadata: { plan: 'gold', limits: [1, null] },
      scopes: ['read', 'deploy'],
      expires_at: '2999-01-02T03:04:05.000Z',
      rate_limit: { limit: 5, window_seconds: 60 },
      credits: { remaining: 3, refill: { amount: 10, interval: 'daily' } },
      allowed_ips: ['10.0.0.0/8', '127.0.0.1'],
      created_at: '2020-01-02T03:04:05.678Z',
    }
    const owners = [
      { user_id: owner.id },
      { email: ` ${owner.email.toUpperCase()} ` },
      { service_account_id: account.body.id, user_id: null, email: null },
    ]
    const answer = await send(owners.map((each) => ({ ...item, owner: each, key: seedKey() })))
    const rows = await Promise.all(answer.body.results.map(({ id }: { id: string }) => get(id)))
    expect(rows.map(({ user_id, service_account_id }) => [user_id, service_account_id])).toEqual([
      [owner.id, null],
      [owner.id, null],
      [null, account.body.id],
    ])
    const { allowed_ips: _, ...rest } = item
    for (const row of rows) {
      expect(row).toMatchObject({
        ...rest,
        allowed_ips: ['10.0.0.0/8', '127.0.0.1/32'],
        created_by: admin.id,
      })
      expect(row.is_active).toBe(true)
    }
  })

  test('has no scope beyond the present ceiling of its owner, whatever was imported', async () => {
    const key = seedKey()
    await importOne({ key, scopes: ['read', 'reports', 'latchkey:users.write'] })
    expect((await use(key)).body.scopes).toEqual(['read'])
    expectProblem(await call(service, 'GET /users', { bearer: key }), 'insufficient_scope')
    // An admin raises the ceiling.
    const json = { scopes: ['read', 'reports'] }
    await call(service, `PATCH /users/${owner.id}`, { bearer: admin.access, json })
    expect((await use(key)).body.scopes).toEqual(['read', 'reports'])
    await call(service, `PATCH /users/${owner.id}`, { bearer: admin.access, json: { scopes: null } })
  })

  test('without scopes has none', async () => {
    for (const scopes of [undefined, null, '', []]) {
      const key = seedKey()
      expect(await importOne({ key, scopes })).toEqual(imported)
      expectProblem(await use(key), 'insufficient_scope')
      expect((await call(service, 'GET /auth/me', { bearer: key })).body.scopes).toEqual([])
    }
  })

  test('that is expired, revoked or disabled is imported as such', async () => {
    const [expired, disabled] = [seedKey(), seedKey()]
    const one = await importOne({ key: expired, scopes: 'read', expires_at: '2020-01-01T00:00:00Z' })
    const two = await importOne({ key: disabled, scopes: 'read', is_active: false })
    for (const [key, code] of [
      [expired, 'EXPIRED'],
      [disabled, 'DISABLED'],
    ] as const) {
      expectProblem(await use(key), 'invalid_token')
      const verified = await call(service, 'POST /keys/verify', { bearer: admin.access, json: { key } })
      expect(verified.body).toMatchObject({ valid: false, code })
    }
    expect((await get(one.id)).expires_at).toBe('2020-01-01T00:00:00.000Z')
    expect((await get(two.id)).is_active).toBe(false)
    // The owner may enable a disabled key.
    const enabled = await call(service, `PATCH /keys/${two.id}`, {
      bearer: owner.access,
      json: { is_active: true },
    })
    expect(enabled.status).toBe(200)
    expect((await use(disabled)).status).toBe(200)
  })

  test('is not subject to the quota and the longest expiry of new keys', async () => {
    const strict = await startService({ apiKeysPerOwner: 1, apiKeyMaxExpireDays: 7 }, service)
    try {
      const items = [seedKey(), seedKey()].map((key) => ({
        owner: { user_id: owner.id },
        key,
        scopes: 'read',
      }))
      const answer = await call(strict, 'POST /keys/import', { bearer: admin.access, json: { keys: items } })
      expect(answer.body.results).toEqual([imported, imported])
      for (const { key } of items) expect((await use(key)).status).toBe(200)
      const made = await call(strict, 'POST /keys/create', { bearer: owner.access, json: {} })
      expectProblem(made, 'quota_exceeded')
    } finally {
      await strict.stop()
    }
  })

  test('obeys its limits, addresses and credits', async () => {
    const [limited, elsewhere, paid] = [seedKey(), seedKey(), seedKey()]
    await importOne({ key: limited, scopes: 'read', rate_limit: { limit: 1, window_seconds: 3600 } })
    await importOne({ key: elsewhere, scopes: 'read', allowed_ips: ['192.0.2.0/24'] })
    await importOne({ key: paid, scopes: 'read', credits: { remaining: 1 } })
    expect((await use(limited)).status).toBe(200)
    expectProblem(await use(limited), 'rate_limited')
    expectProblem(await use(elsewhere), 'ip_not_allowed')
    const verify = async () =>
      (await call(service, 'POST /keys/verify', { bearer: admin.access, json: { key: paid } })).body.code
    expect([await verify(), await verify()]).toEqual(['VALID', 'CREDITS_EXHAUSTED'])
  })

  test('has a start: that of the key, the one given with a hash, or a part of the hash', async () => {
    const [whole, hashed, unknown] = [seedKey(), seedKey(), seedKey()]
    const short = `k${crypto.randomUUID().slice(0, 11)}`
    const starts = [
      await importOne({ key: whole }),
      await importOne({ hash: sha256(hashed), start: hashed.slice(0, 9) }),
      await importOne({ hash: sha256(unknown) }),
      await importOne({ key: short }),
    ].map(async ({ id }) => (await get(id)).start)
    expect(await Promise.all(starts)).toEqual([
      whole.slice(0, 11),
      hashed.slice(0, 9),
      `sha256:${sha256(unknown).slice(0, 8)}`,
      // A key of twelve characters has a start of three.
      short.slice(0, 3),
    ])
  })

  test('is managed by its owner like any key: rotated, its old secret ended, revoked', async () => {
    const key = seedKey()
    const { id } = await importOne({ hash: sha256(key), scopes: 'read' })
    const bearer = owner.access
    const rotated = await call(service, `POST /keys/${id}/rotate`, { bearer, json: {} })
    expect(rotated.status).toBe(201)
    for (const secret of [key, rotated.body.key]) expect((await use(secret)).status).toBe(200)
    const [old] = rotated.body.secrets
    const path = encodeURIComponent(old.start)
    expect((await call(service, `DELETE /keys/${id}/secrets/${path}`, { bearer })).status).toBe(204)
    expectProblem(await use(key), 'invalid_token')
    expect((await use(rotated.body.key)).status).toBe(200)
    expect((await call(service, `DELETE /keys/${id}`, { bearer })).status).toBe(200)
    expectProblem(await use(rotated.body.key), 'invalid_token')
  })

  test('keeps its UUID as its id', async () => {
    const id = crypto.randomUUID()
    expect(await importOne({ key: seedKey(), id: id.toUpperCase() })).toEqual({ status: 'imported', id })
    const other = await importOne({ key: seedKey(), id: 17 })
    expect(other.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  })
})

describe('a key that exists already', () => {
  test('of the same owner is not imported again, and the result has its id', async () => {
    const key = seedKey()
    const first = await importOne({ key, scopes: 'read' })
    for (const item of [{ key }, { hash: sha256(key), scopes: 'write', name: 'another' }]) {
      expect(await importOne(item)).toEqual({ status: 'already_imported', id: first.id })
    }
    expect(await get(first.id)).toMatchObject({ scopes: ['read'], name: null })
  })

  test('of another owner is refused, also where it was made here', async () => {
    const key = seedKey()
    await importOne({ key, scopes: 'read' })
    const made = await newKey(service, owner.access, { scopes: 'read' })
    for (const taken of [key, made.key]) {
      const { body } = await send([{ owner: { user_id: admin.id }, key: taken }])
      expect(body.results).toEqual([{ status: 'refused', error: 'This key belongs to another owner here' }])
      expect((await use(taken)).body.owner_id).toBe(owner.id)
    }
    expect(await importOne({ key: made.key })).toEqual({ status: 'already_imported', id: made.id })
  })

  test('twice in one request is imported once; for another owner the second is refused', async () => {
    const key = seedKey()
    const mine = { owner: { user_id: owner.id }, key, scopes: 'read' }
    const { body } = await send([mine, mine, { ...mine, owner: { user_id: admin.id } }])
    const [{ id }] = body.results
    expect(body.results).toEqual([
      { status: 'imported', id },
      { status: 'already_imported', id },
      { status: 'refused', error: expect.any(String) },
    ])
  })

  test('in ten requests at the same moment is imported once', async () => {
    const items = Array.from({ length: 5 }, () => ({
      owner: { user_id: owner.id },
      key: seedKey(),
      scopes: 'read',
    }))
    const answers = await Promise.all(Array.from({ length: 10 }, () => send(items)))
    const results = answers.flatMap(({ body }) => body.results)
    expect(results.filter(({ status }) => status === 'imported')).toHaveLength(5)
    expect(results.filter(({ status }) => status === 'already_imported')).toHaveLength(45)
    expect(new Set(results.map(({ id }) => id)).size).toBe(5)
    for (const { key } of items) expect((await use(key)).status).toBe(200)
  })

  test('under an id that another key has is refused, and the other key stays', async () => {
    const id = crypto.randomUUID()
    const [first, second] = [seedKey(), seedKey()]
    await importOne({ key: first, id, scopes: 'read' })
    expect(await importOne({ key: second, id })).toEqual({
      status: 'refused',
      error: expect.stringContaining('id'),
    })
    expect((await use(first)).status).toBe(200)
    expectProblem(await use(second), 'invalid_token')
  })
})

describe('an import refuses', () => {
  const BCRYPT = '$2b$12$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'
  const hash = sha256('some key of old')

  test.each<[what: string, item: unknown, error: string]>([
    ['neither key nor hash', {}, 'either key or hash'],
    ['both', { key: seedKey(), hash }, 'either key or hash'],
    ['a hash cut short', { hash: hash.slice(1) }, 'SHA-256'],
    ['a hash of another length', { hash: 'a'.repeat(128) }, 'SHA-256'],
    ['MD5', { hash: 'd41d8cd98f00b204e9800998ecf8427e' }, 'SHA-256'],
    ['invalid hex', { hash: `g${hash.slice(1)}` }, 'SHA-256'],
    ['hex called base64', { hash, hash_encoding: 'base64' }, 'SHA-256'],
    ['base64 called hex', { hash: base64('x', 'base64') }, 'SHA-256'],
    ['base64 with stray bits at its end', { hash: `${'A'.repeat(42)}B`, hash_encoding: 'base64' }, 'SHA-256'],
    ['base64 with a space', { hash: `${'A'.repeat(42)} A=`, hash_encoding: 'base64' }, 'SHA-256'],
    ['base64url called base64', { hash: `${'_'.repeat(42)}8`, hash_encoding: 'base64' }, 'SHA-256'],
    ['a bcrypt hash', { hash: BCRYPT }, 'bcrypt or argon2'],
    ['an unknown encoding', { hash, hash_encoding: 'base58' }, 'hash_encoding'],
    ['an encoding of a key', { key: seedKey(), hash_encoding: 'hex' }, 'belong to hash'],
    ['an empty key', { key: '' }, 'empty'],
    ['a key with a space', { key: 'two words' }, 'no header can carry'],
    ['a key with a comma, which headers are joined by', { key: 'one,two' }, 'no header can carry'],
    ['a key beyond ASCII', { key: 'clé-secrète' }, 'no header can carry'],
    ['a key with NUL', { key: 'a\0b' }, 'no header can carry'],
    ['a key of our own form, mistyped', { key: `sk_${'A'.repeat(49)}` }, 'checksum'],
    ['malformed scopes', { hash, scopes: 'Read' }, 'scopes'],
    ['a wildcard', { hash, scopes: ['*'] }, 'scopes'],
    ['too many scopes', { hash, scopes: Array.from({ length: 51 }, (_, i) => `s${i}`) }, 'scopes'],
    ['scopes of another type', { hash, scopes: { read: true } }, 'scopes'],
    ['a name with NUL', { hash, name: 'a\0b' }, 'name'],
    ['a name too long', { hash, name: 'a'.repeat(101) }, 'name'],
    ['metadata too long', { hash, metadata: { a: 'a'.repeat(5000) } }, 'metadata'],
    ['metadata with NUL', { hash, metadata: { a: 'a\0b' } }, 'metadata'],
    ['metadata that is a list', { hash, metadata: [1] }, 'metadata'],
    ['no address', { hash, allowed_ips: ['10.0.0.0/33'] }, 'allowed_ips'],
    ['negative credits', { hash, credits: { remaining: -1 } }, 'credits'],
    ['a limit of zero', { hash, rate_limit: { limit: 0, window_seconds: 1 } }, 'rate_limit'],
    ['an expiry that is no time', { hash, expires_at: 'tomorrow' }, 'expires_at'],
    ['an expiry in the year 10000', { hash, expires_at: '+010000-01-01T00:00:00Z' }, 'expires_at'],
    ['an expiry on 30 February', { hash, expires_at: '2030-02-30T00:00:00Z' }, 'expires_at'],
    ['an expiry in the year 0', { hash, expires_at: '0000-01-01T00:00:00Z' }, 'expires_at'],
    ['an origin that is no time', { hash, created_at: '2020' }, 'created_at'],
    ['an unknown member', { hash, expires_in_days: 3 }, 'Unknown member: expires_in_days'],
    ['a role', { hash, role: 'admin' }, 'Unknown member: role'],
    ['two owners', { hash, owner: { user_id: crypto.randomUUID(), email: 'a@example.com' } }, 'owner'],
    ['no owner', { hash, owner: {} }, 'owner'],
    ['an owner of null', { hash, owner: null }, 'owner'],
    ['an unknown user', { hash, owner: { user_id: crypto.randomUUID() } }, 'no such owner'],
    ['a malformed id', { hash, owner: { user_id: 'x' } }, 'no such owner'],
    [
      'an unknown service account',
      { hash, owner: { service_account_id: crypto.randomUUID() } },
      'no such owner',
    ],
    ['an unknown address', { hash, owner: { email: 'nobody@example.com' } }, 'no such owner'],
  ])('%s: the other keys are imported, and the refused secret appears nowhere', async (_, item, error) => {
    const [before, after] = [seedKey(), seedKey()]
    const mine = { owner: { user_id: owner.id }, scopes: 'read' }
    const bad: Record<string, unknown> = { owner: { user_id: owner.id }, ...(item as object) }
    const answer = await send([{ ...mine, key: before }, bad, { ...mine, key: after }])
    const refusal = { status: 'refused', error: expect.stringContaining(error) }
    expect(answer.body.results).toEqual([imported, refusal, imported])
    for (const key of [before, after]) expect((await use(key)).status).toBe(200)
    for (const secret of Object.values(bad)) {
      if (typeof secret === 'string' && secret.length > 8) expect(answer.text).not.toContain(secret)
    }
  })

  test.each<[what: string, item: unknown]>([
    ['null', null],
    ['a number', 7],
    ['a text', 'sk_key'],
    ['a list', []],
  ])('an item that is %s, and imports the others', async (_, item) => {
    const good = { owner: { user_id: owner.id }, key: seedKey() }
    const { body } = await send([item, good])
    expect(body.results).toEqual([{ status: 'refused', error: expect.any(String) }, imported])
  })

  test.each<[what: string, body: Record<string, unknown>]>([
    ['1001 keys', { keys: Array.from({ length: 1001 }, () => ({ owner: { user_id: 'x' }, hash })) }],
    ['no list', { keys: { hash } }],
    ['no keys at all', {}],
    ['an unknown member', { keys: [], dryrun: true }],
  ])('a body with %s as a whole', async (_, json) => {
    expectProblem(
      await call(service, 'POST /keys/import', { bearer: admin.access, json }),
      'validation_failed',
    )
  })

  test('a body that is malformed, of another type, or larger than 8 MiB; just below 8 MiB is accepted', async () => {
    const headers = { 'content-type': 'application/json' }
    const raw = (text: string, more = headers) =>
      call(service, 'POST /keys/import', { bearer: admin.access, raw: text, headers: more })
    expectProblem(await raw('{"keys":['), 'malformed_json')
    expectProblem(await raw('[]'), 'validation_failed')
    expectProblem(await raw('{"keys":[]}', { 'content-type': 'text/plain' }), 'unsupported_media_type')
    const padded = (length: number) => `{"keys":[]${' '.repeat(length - 11)}}`
    expect((await raw(padded(8 * 1024 * 1024))).body).toEqual({ results: [] })
    expectProblem(await raw(padded(8 * 1024 * 1024 + 1)), 'body_too_large')
    // Millions of items are refused without checking each.
    const started = performance.now()
    expectProblem(await raw(`{"keys":[${'0,'.repeat(4_000_000)}0]}`), 'validation_failed')
    expect(performance.now() - started).toBeLessThan(20_000)
  })

  test('other routes still refuse large bodies', async () => {
    const json = { name: 'a'.repeat(70_000) }
    expectProblem(await call(service, 'POST /keys/create', { bearer: admin.access, json }), 'body_too_large')
  })
})

describe('who may import', () => {
  test('an admin by an access token; other users and every key are refused', async () => {
    const item = { owner: { user_id: owner.id }, key: seedKey(), scopes: 'read' }
    const key = await newKey(service, admin.access, {
      scopes: ['latchkey:keys.write', 'latchkey:users.write'],
    })
    expectProblem(await send([item], owner.access), 'forbidden')
    expectProblem(await send([item], key.key), 'wrong_credential_kind')
    expectProblem(await call(service, 'POST /keys/import', { json: { keys: [item] } }), 'missing_credential')
    expectProblem(await use(item.key), 'invalid_token')
    expect((await send([item])).body.results).toEqual([imported])
    expect((await use(item.key)).status).toBe(200)
  })

  test('a caller who may not import is refused before the body is read', async () => {
    const raw = '{'.repeat(100_000)
    const headers = { 'content-type': 'application/json' }
    expectProblem(await call(service, 'POST /keys/import', { raw, headers }), 'missing_credential')
    expectProblem(
      await call(service, 'POST /keys/import', { raw, headers, bearer: owner.access }),
      'forbidden',
    )
  })
})

test('an import is audited with actor, owner and key, and without the secret', async () => {
  const key = seedKey()
  const { id } = await importOne({ key, scopes: 'read', expires_at: '2999-01-01T00:00:00Z' })
  const { body, text } = await call(service, `GET /audit?target=${id}`, { bearer: admin.access })
  expect(body.items).toEqual([
    expect.objectContaining({
      action: 'key.imported',
      outcome: 'success',
      actor: { type: 'user', id: admin.id },
      target: { type: 'key', id },
      details: {
        owner: { type: 'user', id: owner.id },
        scopes: ['read'],
        expires_at: '2999-01-01T00:00:00.000Z',
      },
    }),
  ])
  for (const hidden of [key, sha256(key)]) {
    expect(text).not.toContain(hidden)
    expect(service.loggedText()).not.toContain(hidden)
  }
  const [stored] =
    await sql`SELECT count(*)::int AS n FROM latchkey.api_keys k JOIN latchkey.api_key_secrets s
    ON s.key_id = k.id WHERE k::text LIKE ${`%${key}%`} OR s::text LIKE ${`%${key}%`}`
  expect(stored?.n).toBe(0)
})

test('a thousand keys are imported in one request, and importing them again changes nothing', async () => {
  const items = Array.from({ length: 1000 }, () => ({
    owner: { email: owner.email },
    hash: sha256(seedKey()),
  }))
  const first = await send(items)
  expect(first.body.results).toHaveLength(1000)
  expect(first.body.results.filter(({ status }: { status: string }) => status === 'imported')).toHaveLength(
    1000,
  )
  const again = await send(items)
  expect(again.body.results).toEqual(
    first.body.results.map(({ id }: { id: string }) => ({ status: 'already_imported', id })),
  )
})

test('a dry run answers what the import then does, and writes nothing', async () => {
  const [fresh, known] = [seedKey(), seedKey()]
  await importOne({ key: known, scopes: 'read' })
  const owned = (key: string) => ({ owner: { user_id: owner.id }, key, scopes: 'read' })
  const keys = [
    owned(fresh),
    owned(known),
    owned(fresh),
    { ...owned(seedKey()), owner: { email: 'nobody@example.com' } },
  ]
  const state = async () => [
    await sql`SELECT t::text FROM latchkey.api_keys t ORDER BY 1`,
    await sql`SELECT count(*) FROM latchkey.audit_events`,
  ]
  const before = JSON.stringify(await state())
  const tried = await call(service, 'POST /keys/import', {
    bearer: admin.access,
    json: { keys, dry_run: true },
  })
  expect(tried.status).toBe(200)
  expect(JSON.stringify(await state())).toBe(before)
  expectProblem(await use(fresh), 'invalid_token')
  const statusOf = (answer: Answer) =>
    answer.body.results.map(({ status, error }: { status: string; error?: string }) => [status, error])
  const done = await send(keys)
  expect(statusOf(done)).toEqual(statusOf(tried))
  expect(statusOf(done).map(([status]: [string]) => status)).toEqual([
    'imported',
    'already_imported',
    'already_imported',
    'refused',
  ])
  expect((await use(fresh)).status).toBe(200)
  const wrong = await call(service, 'POST /keys/import', {
    bearer: admin.access,
    json: { keys, dry_run: 'yes' },
  })
  expectProblem(wrong, 'validation_failed')
  expect(wrong.body.errors[0].path).toBe('/dry_run')
})
