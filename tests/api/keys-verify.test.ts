import { beforeAll, describe, expect, test } from 'bun:test'
import { type Answer, call, newKey } from '../support/client.ts'
import { everyLimit } from '../support/limits.ts'
import { newClient, tokenOf } from '../support/oauth.ts'
import { addLoggedIn, LABELLER } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const owner = prepare(() => addLoggedIn(service, sql, { scopes: LABELLER }))
let asker: { id: string; key: string }
beforeAll(async () => {
  asker = await newKey(service, admin.access, { scopes: 'latchkey:verify' })
})

type Json = Record<string, unknown>
const make = (json: Json = {}, who = owner) => newKey(service, who.access, { scopes: 'read', ...json })
const verify = (json: unknown, apiKey = asker.key) => call(service, 'POST /keys/verify', { apiKey, json })
const ask = async (key: string, more: Json = {}) => (await verify({ key, ...more })).body
const askMany = (questions: unknown, apiKey = asker.key) =>
  call(service, 'POST /keys/verify-batch', { apiKey, json: { keys: questions } })
const patch = (id: string, json: Json, who = owner) =>
  call(service, `PATCH /keys/${id}`, { bearer: who.access, json })
/** An active service account that the admin made. */
const newAccount = async () =>
  (
    await call(service, 'POST /service-accounts', {
      bearer: admin.access,
      json: { name: 'b', scopes: ['read'] },
    })
  ).body.id as string

describe('a good key', () => {
  test('is answered with exactly the documented members', async () => {
    const { id, key } = await make({
      name: 'n',
      external_id: 'x-1',
      metadata: { plan: 'gold', deep: { list: [1, null, true] } },
      scopes: 'read,write',
      expires_at: '2099-01-01T00:00:00Z',
      credits: { remaining: 10 },
      rate_limit: { limit: 5, window_seconds: 60 },
    })
    const answer = await verify({ key, cost: 3, scopes: ['write'] })
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({
      valid: true,
      code: 'VALID',
      key_id: id,
      name: 'n',
      external_id: 'x-1',
      owner: { type: 'user', id: owner.id },
      scopes: ['read', 'write'],
      expires_at: '2099-01-01T00:00:00.000Z',
      metadata: { plan: 'gold', deep: { list: [1, null, true] } },
      credits: { remaining: 7 },
      owner_credits: null,
      rate_limit: { limit: 5, remaining: 4, reset_at: expect.stringMatching(/Z$/) },
      owner_rate_limit: null,
    })
    expect(answer.text).not.toContain(owner.email)
  })

  test('without settings is answered with nulls, not with missing members', async () => {
    const { id, key } = await make({ scopes: [] })
    expect(await ask(key)).toEqual({
      valid: true,
      code: 'VALID',
      key_id: id,
      name: null,
      external_id: null,
      owner: { type: 'user', id: owner.id },
      scopes: [],
      expires_at: null,
      metadata: null,
      credits: null,
      owner_credits: null,
      rate_limit: null,
      owner_rate_limit: null,
    })
  })

  test('of a service account names the account', async () => {
    const account = await newAccount()
    const { key } = await make({ service_account_id: account }, admin)
    expect(await ask(key)).toMatchObject({ valid: true, owner: { type: 'service_account', id: account } })
  })

  test('has its own scopes as far as its owner’s ceiling has them now', async () => {
    const person = await addLoggedIn(service, sql, { scopes: ['read', 'deploy'] })
    const { id, key } = await make({ scopes: 'read,deploy' }, person)
    expect((await ask(key, { scopes: 'deploy' })).valid).toBe(true)
    await sql`UPDATE latchkey.users SET scopes = '{read}' WHERE id = ${person.id}`
    await until(async () => !(await ask(key, { scopes: 'deploy' })).valid, 'the ceiling is heard of')
    expect(await ask(key, { scopes: 'deploy' })).toEqual({
      valid: false,
      code: 'INSUFFICIENT_SCOPE',
      key_id: id,
      missing_scopes: ['deploy'],
    })
    expect((await ask(key)).scopes).toEqual(['read'])
  })

  test.each([
    ['"write"', 'write', true],
    ['"read,write"', 'read,write', true],
    ['"read write"', 'read write', true],
    ['a list', ['read', 'write'], true],
    ['none', [], true],
    ['null', null, true],
    ['the empty text', '', true],
    ['one that is missing', 'read,deploy', false],
    ['a longer one', 'read:all', false],
    ['a shorter one', 'rea', false],
  ])('with the scopes as %s', async (_, scopes, valid) => {
    const { key } = await make({ scopes: 'read,write' })
    expect((await ask(key, { scopes })).valid).toBe(valid)
  })
})

/** Each function makes a key whose answer is that code. Later checks would fail too. */
describe('the first check that fails decides the answer', () => {
  const worse = {
    allowed_ips: ['192.0.2.1'],
    credits: { remaining: 0 },
    rate_limit: { limit: 2, window_seconds: 60 },
  }
  const all = { scopes: 'deploy', ip: '192.0.2.9' }
  const revoke = (id: string) => call(service, `DELETE /keys/${id}`, { bearer: owner.access })
  const expire = (id: string) =>
    sql`UPDATE latchkey.api_keys SET expires_at = now() - interval '1 second' WHERE id = ${id}`
  const disable = (id: string) => patch(id, { is_active: false })

  test('for all nine checks, each mended in turn', async () => {
    const person = await addLoggedIn(service, sql)
    const { id, key } = await make(worse, person)
    expect(await ask(key, { ...all, ip: '192.0.2.1', scopes: 'read', cost: 0 })).toMatchObject({
      valid: true,
    })
    await patch(id, { is_active: false }, person)
    await expire(id)
    await call(service, `DELETE /keys/${id}`, { bearer: person.access })
    await sql`UPDATE latchkey.users SET is_active = false WHERE id = ${person.id}`
    const seen: Json[] = []
    const look = async (code: string, more: Json = all) => {
      await until(async () => (await ask(key, more)).code === code, `the answer is ${code}`)
      seen.push(await ask(key, more))
    }
    await look('REVOKED')
    await sql`UPDATE latchkey.api_keys SET revoked_at = NULL, revoked_reason = NULL WHERE id = ${id}`
    await look('EXPIRED')
    await sql`UPDATE latchkey.api_keys SET expires_at = NULL WHERE id = ${id}`
    await look('DISABLED')
    await sql`UPDATE latchkey.api_keys SET is_active = true WHERE id = ${id}`
    await look('OWNER_DISABLED')
    await sql`UPDATE latchkey.users SET is_active = true WHERE id = ${person.id}`
    await look('IP_NOT_ALLOWED')
    await look('INSUFFICIENT_SCOPE', { ...all, ip: '192.0.2.1' })
    await look('RATE_LIMITED', { scopes: 'read', ip: '192.0.2.1' })
    service.advance(61_000)
    await look('CREDITS_EXHAUSTED', { scopes: 'read', ip: '192.0.2.1' })
    expect(seen).toEqual([
      ...['REVOKED', 'EXPIRED', 'DISABLED', 'OWNER_DISABLED', 'IP_NOT_ALLOWED'].map((code) => ({
        valid: false,
        code,
        key_id: id,
      })),
      { valid: false, code: 'INSUFFICIENT_SCOPE', key_id: id, missing_scopes: ['deploy'] },
      {
        valid: false,
        code: 'RATE_LIMITED',
        key_id: id,
        limited_by: 'key',
        retry_after_seconds: expect.any(Number),
      },
      { valid: false, code: 'CREDITS_EXHAUSTED', key_id: id, limited_by: 'key' },
    ])
  })

  test('and a refused question is not charged', async () => {
    const { id, key } = await make({
      allowed_ips: ['192.0.2.1'],
      credits: { remaining: 5 },
      rate_limit: { limit: 2, window_seconds: 60 },
    })
    const good = { ip: '192.0.2.1', scopes: 'read' }
    for (let i = 0; i < 5; i++) {
      expect((await ask(key, { ...good, ip: '192.0.2.2' })).code).toBe('IP_NOT_ALLOWED')
      expect((await ask(key, { ...good, scopes: 'deploy' })).code).toBe('INSUFFICIENT_SCOPE')
    }
    expect(await ask(key, good)).toMatchObject({ credits: { remaining: 4 }, rate_limit: { remaining: 1 } })
    expect(await ask(key, good)).toMatchObject({ credits: { remaining: 3 }, rate_limit: { remaining: 0 } })
    for (let i = 0; i < 5; i++) expect((await ask(key, good)).code).toBe('RATE_LIMITED')
    const [row] = await sql`SELECT remaining::int FROM latchkey.api_key_credits WHERE key_id = ${id}`
    expect(row).toEqual({ remaining: 3 })
  })

  test('a disabled owner: a user, and a service account', async () => {
    const account = await newAccount()
    const { id, key } = await make({ service_account_id: account }, admin)
    expect((await ask(key)).valid).toBe(true)
    const set = (is_active: boolean) =>
      call(service, `PATCH /service-accounts/${account}`, { bearer: admin.access, json: { is_active } })
    await set(false)
    expect(await ask(key)).toEqual({ valid: false, code: 'OWNER_DISABLED', key_id: id })
    await set(true)
    expect((await ask(key)).valid).toBe(true)
    await call(service, `DELETE /service-accounts/${account}`, { bearer: admin.access })
    expect(await ask(key)).toEqual({ valid: false, code: 'NOT_FOUND' })
  })

  test('a key expires by the clock, also when it is cached', async () => {
    const { id, key } = await make({ expires_at: new Date(service.context.clock() + 60_000).toISOString() })
    expect((await ask(key)).valid).toBe(true)
    service.advance(59_000)
    expect((await ask(key)).valid).toBe(true)
    service.advance(2_000)
    expect(await ask(key)).toEqual({ valid: false, code: 'EXPIRED', key_id: id })
  })

  test('a change applies on the same server from the next question', async () => {
    const revoked = await make()
    const disabled = await make()
    for (const { key } of [revoked, disabled]) expect((await ask(key)).valid).toBe(true)
    await revoke(revoked.id)
    expect(await ask(revoked.key)).toEqual({ valid: false, code: 'REVOKED', key_id: revoked.id })
    await disable(disabled.id)
    expect(await ask(disabled.key)).toEqual({ valid: false, code: 'DISABLED', key_id: disabled.id })
    await patch(disabled.id, { is_active: true })
    expect((await ask(disabled.key)).valid).toBe(true)
  })
})

describe('NOT_FOUND has no further details', () => {
  const guesses: [string, () => Promise<string> | string][] = [
    ['a guess', () => 'nonsense'],
    ['an empty one', () => ''],
    ['an unknown key in our form', () => `sk_${'0'.repeat(49)}`],
    ['a mistyped key', async () => (await make()).key.slice(0, -1).concat('_')],
    ['a key cut short', async () => (await make()).key.slice(0, -1)],
    ['a key with a space', async () => ` ${(await make()).key}`],
    ['a key in other case', async () => (await make()).key.toUpperCase()],
    ['a user’s access token', () => owner.access],
    ['an admin’s access token', () => admin.access],
    ['a refresh token', () => owner.refresh],
    ['an unsigned JWT', () => 'eyJhbGciOiJub25lIn0.e30.'],
    ['the hash of a key', async () => Bun.SHA256.hash((await make()).key, 'hex')],
    [
      'a key that was deleted',
      async () => {
        const { id, key } = await make()
        await call(service, `DELETE /keys/delete/${id}`, { bearer: owner.access })
        return key
      },
    ],
    ['control characters', () => '\u0000\u0007'],
    ['a very long one', () => 'x'.repeat(8192)],
  ]
  test.each(guesses)('%s', async (_, guess) => {
    const key = await guess()
    for (const more of [{}, { scopes: 'read', cost: 5, ip: '192.0.2.1' }]) {
      const answer = await verify({ key, ...more })
      expect(answer.status).toBe(200)
      expect(answer.body).toEqual({ valid: false, code: 'NOT_FOUND' })
    }
  })
})

describe('the service that asks', () => {
  const route = (path: string, body: Json) => ({ path: `POST /keys/${path}`, body })
  const routes = [route('verify', { key: 'x' }), route('verify-batch', { keys: [{ key: 'x' }] })]

  test.each(routes)('$path needs latchkey:verify, or is an admin', async ({ path, body: json }) => {
    const without = await make({ scopes: ['read', 'latchkey:keys.read', 'latchkey:keys.write'] })
    const lookAlike = await make({ scopes: ['read', 'verify'] }, admin)
    expect((await call(service, path, { apiKey: asker.key, json })).status).toBe(200)
    expect((await call(service, path, { bearer: asker.key, json })).status).toBe(200)
    expect((await call(service, path, { bearer: admin.access, json })).status).toBe(200)
    expectProblem(await call(service, path, { bearer: owner.access, json }), 'insufficient_scope')
    for (const { key } of [without, lookAlike])
      expectProblem(await call(service, path, { apiKey: key, json }), 'insufficient_scope')
    expectProblem(await call(service, path, { json }), 'missing_credential')
    expectProblem(await call(service, path, { apiKey: 'sk_x', json }), 'invalid_token')
    expectProblem(await call(service, path, { apiKey: without.key, raw: 'not JSON' }), 'insufficient_scope')
  })

  test('is bound by the limits of its own key', async () => {
    const limited = await make(
      { scopes: 'latchkey:verify', rate_limit: { limit: 2, window_seconds: 60 } },
      admin,
    )
    const { key } = await make()
    for (let i = 0; i < 2; i++) expect((await verify({ key }, limited.key)).status).toBe(200)
    const answer = await verify({ key }, limited.key)
    expectProblem(answer, 'rate_limited')
    expect(answer.headers.get('retry-after')).toMatch(/^\d+$/)
  })

  test('may ask about its own key', async () => {
    expect(await ask(asker.key)).toMatchObject({ valid: true, key_id: asker.id, scopes: ['latchkey:verify'] })
  })
})

describe('the address', () => {
  test.each<[ip: string, isOnList: boolean]>([
    ['192.0.2.1', true],
    ['192.0.2.1:80', true],
    ['::ffff:192.0.2.1', true],
    ['[::ffff:192.0.2.1]:443', true],
    ['2001:db8::1', true],
    ['[2001:db8::1]', true],
    ['[2001:db8::1]:443', true],
    ['192.0.2.2:80', false],
    ['[2001:db9::1]:443', false],
    ['here', false],
    ['', false],
    ['unknown', false],
    ['192.0.2.0/24', false],
    ['192.0.2.1, 192.0.2.1', false],
    ['192.0.2.1:', false],
    ['[192.0.2.1]:80', false],
  ])('%p matters only to a key with allowed addresses', async (ip, isOnList) => {
    const listed = await make({ allowed_ips: ['192.0.2.1', '2001:db8::/32'] })
    const free = await make()
    const code = isOnList ? 'VALID' : 'IP_NOT_ALLOWED'
    expect((await ask(listed.key, { ip })).code).toBe(code)
    expect((await ask(free.key, { ip })).code).toBe('VALID')
    const { body } = await askMany([
      { key: listed.key, ip },
      { key: free.key, ip },
    ])
    expect(body.results.map((result: Json) => result.code)).toEqual([code, 'VALID'])
  })
})

describe('an invalid question is refused:', () => {
  test.each<[string, unknown]>([
    ['no key', {}],
    ['a key that is no text', { key: 5 }],
    ['an unknown member', { key: 'x', scope: 'read' }],
    ['a scope with a capital', { key: 'x', scopes: 'Read' }],
    ['a wildcard', { key: 'x', scopes: '*' }],
    ['a cost below zero', { key: 'x', cost: -1 }],
    ['a cost with a fraction', { key: 'x', cost: 1.5 }],
    ['a cost above a million', { key: 'x', cost: 1_000_001 }],
    ['a cost as text', { key: 'x', cost: '1' }],
    ['an address that is too long', { key: 'x', ip: '1'.repeat(65) }],
    ['a key that is too long', { key: 'x'.repeat(8193) }],
    ['a list', []],
  ])('%s', async (_, json) => {
    const { key } = await make()
    const body = JSON.stringify(json).length < 1000 && !Array.isArray(json) && 'key' in (json as Json)
    const filled = body && (json as Json).key === 'x' ? { ...(json as Json), key } : json
    const answer = await verify(filled)
    expectProblem(answer, 'validation_failed')
    expect(answer.text).not.toContain(key)
    expectProblem(await askMany([{ key }, filled]), 'validation_failed')
  })

  test('the control: valid questions are answered', async () => {
    const { key } = await make({ credits: { remaining: 2_000_000 } })
    for (const more of [
      { cost: 0 },
      { cost: 1_000_000 },
      { ip: '::1' },
      { ip: '192.0.2.1' },
      { scopes: 'read' },
    ])
      expect((await ask(key, more)).valid).toBe(true)
    expect((await ask(key, { cost: null, ip: null, scopes: null })).valid).toBe(true)
  })
})

describe('a batch', () => {
  test('is answered in order, each question as if it was asked alone', async () => {
    const [good, revoked, charged] = [await make(), await make(), await make({ credits: { remaining: 1 } })]
    await call(service, `DELETE /keys/${revoked.id}`, { bearer: owner.access })
    const answer = await askMany([
      { key: 'nonsense' },
      { key: good.key },
      { key: charged.key },
      { key: revoked.key },
      { key: good.key, scopes: 'deploy' },
      { key: charged.key },
      { key: good.key },
    ])
    expect(answer.status).toBe(200)
    const codes = answer.body.results.map(({ code, key_id }: Json) => [code, key_id])
    expect(codes).toEqual([
      ['NOT_FOUND', undefined],
      ['VALID', good.id],
      ['VALID', charged.id],
      ['REVOKED', revoked.id],
      ['INSUFFICIENT_SCOPE', good.id],
      ['CREDITS_EXHAUSTED', charged.id],
      ['VALID', good.id],
    ])
  })

  test('has one to a hundred questions', async () => {
    const { key } = await make()
    const many = (n: number) => askMany(Array.from({ length: n }, () => ({ key })))
    expect((await many(100)).body.results).toHaveLength(100)
    expectProblem(await many(101), 'validation_failed')
    expectProblem(await many(0), 'validation_failed')
    expectProblem(await askMany({ key }), 'validation_failed')
  })

  test('with one invalid scope or cost charges no key', async () => {
    const { id, key } = await make({ credits: { remaining: 5 } })
    for (const wrong of [{ scopes: 'Read' }, { cost: -1 }]) {
      const answer = await askMany([{ key }, { key, ...wrong }])
      expectProblem(answer, 'validation_failed')
      expect(answer.body.errors[0].path).toStartWith('/keys/1/')
    }
    const [row] = await sql`SELECT remaining::int FROM latchkey.api_key_credits WHERE key_id = ${id}`
    expect(row).toEqual({ remaining: 5 })
  })

  test('accepts null for an absent member', async () => {
    const { key } = await make()
    const { body } = await askMany([{ key, scopes: null, cost: null, ip: null }])
    expect(body.results).toMatchObject([{ valid: true }])
  })
})

test('the longest token of a service account is accepted', async () => {
  const scopes = Array.from({ length: 50 }, (_, at) => `s${String(at).padStart(2, '0')}`.padEnd(64, 'x'))
  const key = await tokenOf(service, await newClient(service, admin.access, scopes))
  expect(key.length).toBeGreaterThan(4096)
  expect((await ask(key)).scopes).toEqual(scopes)
})

test('an imported key of any form is accepted, also in a form that resembles ours', async () => {
  const insert = async (key: string) => {
    const [id, hash] = [Bun.randomUUIDv7(), Bun.SHA256.hash(key) as Uint8Array]
    await sql`INSERT INTO latchkey.api_keys (id, user_id, scopes, created_at) VALUES (${id}, ${owner.id}, '{read}', now())`
    await sql`INSERT INTO latchkey.api_key_secrets (id, key_id, hash, start, created_at)
      VALUES (${Bun.randomUUIDv7()}, ${id}, ${hash}, ${key.slice(0, 6)}, now())`
    return id
  }
  for (const key of [
    '0f9c1d2e-1111-4222-8333-444455556666',
    'live_ähm §$%&/()=',
    'sk_short',
    'x'.repeat(300),
  ]) {
    const id = await insert(key)
    expect(await ask(key)).toMatchObject({ valid: true, key_id: id, owner: { type: 'user', id: owner.id } })
  }
})

test('is not limited per address: a thousand guesses lock no caller out', async () => {
  const limited = await startService({ rateLimits: { ...ONE_A_MINUTE } }, service)
  try {
    const { key } = await make()
    const json = { key }
    for (let i = 0; i < 30; i++) {
      const answer = await call(limited, 'POST /keys/verify', { apiKey: asker.key, json })
      expect([answer.status, answer.body.code]).toEqual([200, 'VALID'])
      const guess = await call(limited, 'POST /keys/verify', { apiKey: asker.key, json: { key: `sk_${i}` } })
      expect([guess.status, guess.body.code]).toEqual([200, 'NOT_FOUND'])
    }
    // The control: the same address is limited elsewhere.
    const elsewhere: Answer[] = []
    for (let i = 0; i < 3; i++) elsewhere.push(await call(limited, 'GET /keys', { bearer: owner.access }))
    expect(elsewhere.at(-1)?.status).toBe(429)
  } finally {
    await limited.stop()
  }
})

const ONE_A_MINUTE = everyLimit({ limit: 1, windowSeconds: 60 })

test('a cached key is answered without the database', async () => {
  const { key } = await make({ rate_limit: { limit: 1000, window_seconds: 60 }, allowed_ips: ['192.0.2.1'] })
  const question = { key, ip: '192.0.2.1', scopes: 'read' }
  await until(() => service.context.cache.isLive(), 'the cache is live')
  await ask(key, question)
  const { promise: released, resolve: release } = Promise.withResolvers<void>()
  const { promise: locked, resolve: lock } = Promise.withResolvers<void>()
  // Every query on these tables waits.
  const holding = sql.begin(async (tx) => {
    await tx`LOCK TABLE latchkey.api_keys, latchkey.api_key_secrets, latchkey.api_key_credits, latchkey.key_usage,
      latchkey.users, latchkey.service_accounts, latchkey.audit_events IN ACCESS EXCLUSIVE MODE`
    lock()
    await released
  })
  await locked
  try {
    for (let i = 0; i < 50; i++) expect((await ask(key, question)).valid).toBe(true)
    // The control: an unknown key needs the database.
    const guess = ask('unknown')
    expect(await Promise.race([guess, Bun.sleep(100).then(() => 'waits')])).toBe('waits')
    release()
    expect(await guess).toEqual({ valid: false, code: 'NOT_FOUND' })
  } finally {
    release()
    await holding
  }
})
