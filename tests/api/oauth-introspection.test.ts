import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { writeUsage } from '../../src/core/usage/usage.ts'
import { MINUTE_MS } from '../../src/lib/time.ts'
import { type Call, call, logIn, newKey, newPerson } from '../support/client.ts'
import { countDenials } from '../support/denials.ts'
import { partsOf } from '../support/forge.ts'
import {
  adminToken,
  basic,
  expectOAuthError,
  newClient,
  type OAuthClient,
  tokenOf,
} from '../support/oauth.ts'
import { expectProblem } from '../support/problem.ts'
import { claimsOf, refresh, resign } from '../support/refresh.ts'
import { startService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const INTROSPECT = 'latchkey:introspect'

const service = useService()
const sql = useSql(service)
const person = prepare(() => newPerson(service))
let admin: string
let watcher: OAuthClient
let client: OAuthClient
beforeAll(async () => {
  admin = await adminToken(service)
  watcher = await newClient(service, admin, [INTROSPECT])
  client = await newClient(service, person.access)
})

const me = (bearer: string) => call(service, 'GET /auth/me', { bearer })
const introspect = (token: string, at = service) =>
  call(at, 'POST /oauth/introspect', { form: { token }, headers: basic(watcher.id, watcher.secret) })
const revoke = (token: string, { form, ...options }: Call = {}) =>
  call(service, 'POST /oauth/revoke', { form: { token, ...form }, ...options })

async function expectInactive(token: string): Promise<void> {
  const answer = await introspect(token)
  expect({ status: answer.status, text: answer.text }).toEqual({ status: 200, text: '{"active":false}' })
  expect(answer.headers.get('cache-control')).toBe('no-store')
}

describe('introspection answers', () => {
  test("for a user's access token its user and its scopes", async () => {
    const answer = await introspect(person.access)
    const { payload } = partsOf(person.access)
    expect(answer.body).toEqual({
      active: true,
      token_type: 'Bearer',
      token_kind: 'access_token',
      client_id: 'latchkey',
      iss: payload.iss,
      aud: payload.aud,
      jti: payload.jti,
      exp: payload.exp,
      iat: payload.iat,
      sub: person.id,
      username: person.email,
      email_verified: false,
      role: 'user',
      scope: 'read write',
      auth_time: payload.auth_time,
      amr: ['pwd'],
    })
    expect(answer.headers.get('cache-control')).toBe('no-store')
  })

  test('for a person and a key of theirs whether the e-mail is verified, from the next request', async () => {
    const someone = await newPerson(service)
    const own = await newKey(service, someone.access, { scopes: ['read'] })
    for (const email_verified of [true, false]) {
      await call(service, `PATCH /users/${someone.id}`, { bearer: admin, json: { email_verified } })
      for (const token of [someone.access, own.key]) {
        const told = { username: someone.email, email_verified }
        expect((await introspect(token)).body).toMatchObject(told)
        expect((await me(token)).body).toMatchObject({ email: someone.email, email_verified })
      }
    }
  })

  test("for a client's token the client and the narrowed scopes", async () => {
    const token = await tokenOf(service, client, 'read')
    const { payload } = partsOf(token)
    expect((await introspect(token)).body).toEqual({
      active: true,
      token_type: 'Bearer',
      token_kind: 'access_token',
      iss: payload.iss,
      aud: payload.aud,
      jti: payload.jti,
      exp: payload.exp,
      iat: payload.iat,
      sub: client.id,
      client_id: client.id,
      key_id: client.keyId,
      scope: 'read',
    })
  })

  test('for a key its owner and its expiry', async () => {
    const own = await newKey(service, person.access, { scopes: ['read'], expires_in_days: 1 })
    const { body } = await introspect(own.key)
    expect(body).toEqual({
      active: true,
      token_type: 'Bearer',
      token_kind: 'api_key',
      exp: expect.any(Number),
      sub: person.id,
      username: person.email,
      email_verified: false,
      key_id: own.id,
      scope: 'read',
    })
    expect(body.exp * 1000 - Date.now()).toBeWithin(86_300_000, 86_400_000)
    expect((await introspect(client.secret)).body).toEqual({
      active: true,
      token_type: 'Bearer',
      token_kind: 'api_key',
      sub: client.id,
      client_id: client.id,
      key_id: client.keyId,
      scope: 'read write',
    })
  })

  test('active for the newest refresh token of a session only, and does not use it up', async () => {
    const { refresh: first } = await logIn(service, person.email, person.password)
    const alive = {
      active: true,
      token_type: 'Bearer',
      token_kind: 'refresh_token',
      sub: person.id,
      iss: service.config.publicUrl,
      exp: expect.any(Number),
    }
    for (let i = 0; i < 3; i++) expect((await introspect(first)).body).toEqual(alive)
    const second = (await refresh(service, first)).body.refresh_token
    await expectInactive(first)
    expect((await introspect(second)).body).toEqual(alive)
    const third = (await refresh(service, second)).body.refresh_token
    // Introspecting an old refresh token is not taken as theft.
    await expectInactive(first)
    await expectInactive(second)
    expect((await introspect(third)).body).toEqual(alive)
    await expectInactive(resign(service, third, { generation: 99 }))
    expect((await refresh(service, third)).status).toBe(200)
  })

  test('the present role and scopes, not the signed ones', async () => {
    const someone = await newPerson(service)
    const change = (json: object) => call(service, `PATCH /users/${someone.id}`, { bearer: admin, json })
    await change({ role: 'admin', scopes: ['read', 'billing'] })
    expect((await introspect(someone.access)).body).toMatchObject({ role: 'admin', scope: 'read billing' })
    await change({ is_active: false })
    await expectInactive(someone.access)
    await expectInactive(someone.refresh)
  })

  test.each<[string, () => string | Promise<string>]>([
    ['garbage', () => 'garbage'],
    ['a text that looks like a key', () => `sk_${'0'.repeat(49)}`],
    ['a text that looks like a refresh token', () => `rt_${'0'.repeat(77)}`],
    ['a text that looks like a JWT', () => 'eyJhbGciOiJub25lIn0.e30.'],
    ['an altered key', () => `${client.secret.slice(0, -1)}_`],
    ['an altered access token', () => person.access.replace(/\.[^.]{4}/, '.AAAA')],
    ['a refresh token with a wrong MAC', () => `${person.refresh.slice(0, 60)}0${person.refresh.slice(61)}`],
    ['a token with a NUL', () => `${client.secret}\0`],
    ['a token with a line break', () => `${client.secret}\n`],
    ['a password', () => person.password],
    ['half of a pair of UTF-16', () => '\ud800'],
    ['60 KB', () => 'x'.repeat(60_000)],
    ['60 KB of a JWT', () => `eyJ${'x'.repeat(60_000)}`],
    ['60 KB of a refresh token', () => `rt_${'0'.repeat(60_000)}`],
  ])('only active: false for %s', async (_, token) => {
    expect((await introspect(client.secret)).body.active).toBe(true)
    await expectInactive(await token())
  })

  test('only active: false for what has expired', async () => {
    const at = await startService({}, service)
    const someone = await newPerson(at)
    const own = await newKey(at, someone.access, { expires_in_days: 1 })
    at.advance(31 * MINUTE_MS)
    expect((await introspect(someone.access, at)).text).toBe('{"active":false}')
    expect((await introspect(someone.refresh, at)).body.active).toBe(true)
    at.advance(7 * 24 * 60 * MINUTE_MS)
    for (const token of [own.key, someone.refresh]) {
      expect((await introspect(token, at)).text).toBe('{"active":false}')
    }
    await at.stop()
  })
})

describe('introspection accepts', () => {
  const ask = (options: Call) =>
    call(service, 'POST /oauth/introspect', { ...options, form: { token: person.access, ...options.form } })

  test("an admin's token, a client's credentials or its token, and any key with the scope", async () => {
    const { id: client_id, secret: client_secret } = watcher
    const usersOwn = await newKey(service, admin, { scopes: [INTROSPECT] })
    for (const options of [
      { bearer: admin },
      { headers: basic(client_id, client_secret) },
      { form: { client_id, client_secret } },
      { bearer: client_secret },
      { apiKey: client_secret },
      { bearer: await tokenOf(service, watcher) },
      { bearer: usersOwn.key },
      { apiKey: usersOwn.key },
    ]) {
      const answer = await ask(options)
      expect({ options, status: answer.status }).toEqual({ options, status: 200 })
      expect(answer.body.active).toBe(true)
    }
  })

  test('no caller without the scope: the refusal names the scope and is audited', async () => {
    const plain = await newKey(service, admin, { scopes: ['read'] })
    const both = await newClient(service, admin, ['read', INTROSPECT])
    const before = await countDenials(service, sql)
    const refused: Call[] = [
      { bearer: person.access },
      { headers: basic(client.id, client.secret) },
      { bearer: client.secret },
      { apiKey: client.secret },
      { bearer: plain.key },
      { bearer: await tokenOf(service, both, 'read') },
    ]
    for (const options of refused) {
      const answer = await ask(options)
      expectOAuthError(answer, 403, 'insufficient_scope')
      expect(answer.headers.get('www-authenticate')).toBe(
        `Bearer realm="latchkey", error="insufficient_scope", scope="${INTROSPECT}"`,
      )
    }
    expect((await countDenials(service, sql)) - before).toBe(refused.length)
    expect((await ask({ bearer: await tokenOf(service, both) })).status).toBe(200)
  })

  test('no unknown caller: the refusal offers both ways to authenticate', async () => {
    const usersOwn = await newKey(service, admin, { scopes: [INTROSPECT] })
    const anonymous = await ask({})
    expectOAuthError(anonymous, 401, 'invalid_client')
    expect(anonymous.headers.get('www-authenticate')).toBe('Bearer realm="latchkey", Basic realm="latchkey"')
    const stale = await ask({ bearer: 'stale' })
    expectOAuthError(stale, 401, 'invalid_client')
    expect(stale.headers.get('www-authenticate')).toBe(
      'Bearer realm="latchkey", error="invalid_token", Basic realm="latchkey"',
    )
    const { id: client_id } = watcher
    for (const options of [
      { apiKey: 'sk_stale' },
      { bearer: person.refresh },
      { headers: basic(watcher.id, 'wrong') },
      { headers: basic(person.id, usersOwn.key) },
      { form: { client_id, client_secret: 'wrong' } },
      { headers: { authorization: 'Digest x' } },
    ] as Call[]) {
      expectOAuthError(await ask(options), 401, 'invalid_client')
    }
    // A valid bearer does not make up for a wrong client.
    const apiKey = watcher.secret
    expectOAuthError(await ask({ apiKey, headers: basic(watcher.id, 'wrong') }), 401, 'invalid_client')
  })

  test('exactly one credential', async () => {
    const { id: client_id, secret: client_secret } = watcher
    const { authorization } = basic(client_id, client_secret)
    for (const options of [
      { bearer: admin, apiKey: client_secret },
      { headers: { authorization }, form: { client_id, client_secret } },
    ] as Call[]) {
      expectOAuthError(await ask(options), 400, 'invalid_request')
    }
  })

  test.each<[string, number, Call]>([
    ['no token', 400, { form: { x: '1' } }],
    ['an empty token', 400, { form: { token: '' } }],
    [
      'a token twice',
      400,
      { raw: 'token=a&token=b', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
    ],
    ['JSON', 415, { json: { token: 'x' } }],
    ['more than 64 KiB', 413, { form: { token: 'x'.repeat(65_600) } }],
  ])('exactly one token: %s is refused', async (_, status, options) => {
    const answer = await call(service, 'POST /oauth/introspect', { bearer: admin, ...options })
    expectOAuthError(answer, status, 'invalid_request')
  })

  test('a key without charging, counting or dating it', async () => {
    const tight = await newKey(service, person.access, {
      scopes: ['read'],
      credits: { remaining: 1 },
      rate_limit: { limit: 1, window_seconds: 3600 },
    })
    for (let i = 0; i < 5; i++) expect((await introspect(tight.key)).body.active).toBe(true)
    await writeUsage(service.context)
    const rows = await sql`SELECT last_used_at FROM latchkey.api_key_secrets WHERE key_id = ${tight.id}`
    expect(rows).toHaveLength(1)
    expect(rows[0]?.last_used_at).toBeNull()
    const verify = () => call(service, 'POST /keys/verify', { bearer: admin, json: { key: tight.key } })
    expect((await verify()).body).toMatchObject({ valid: true, credits: { remaining: 0 } })
    expect((await verify()).body).toMatchObject({ valid: false, code: 'RATE_LIMITED' })
    expect((await introspect(tight.key)).body.active).toBe(true)
  })
})

describe('revocation ends', () => {
  const endedBy = async (token: string) => {
    const answer = await revoke(token)
    expect({ status: answer.status, text: answer.text }).toEqual({ status: 200, text: '{}' })
    expect(answer.headers.get('cache-control')).toBe('no-store')
  }
  const auditOf = (target: string) =>
    sql`SELECT action, actor_type, actor_id, details FROM latchkey.audit_events
      WHERE target_id = ${target} AND action IN ('session.ended', 'key.revoked', 'token.revoked')`

  test.each<[string, (tokens: { access: string; refresh: string }) => Promise<string>]>([
    ['its access token', async ({ access }) => access],
    ['its refresh token', async ({ refresh: token }) => token],
    [
      'a refresh token that was traded',
      async ({ refresh: token }) => {
        await refresh(service, token)
        return token
      },
    ],
  ])('a session by %s, once', async (_, tokenOf) => {
    const tokens = await logIn(service, person.email, person.password)
    const bystander = await logIn(service, person.email, person.password)
    const token = await tokenOf(tokens)
    expect((await me(tokens.access)).status).toBe(200)
    await endedBy(token)
    expectProblem(await me(tokens.access), 'invalid_token')
    expectProblem(await refresh(service, tokens.refresh), 'invalid_token')
    await endedBy(token)
    expect(await auditOf(claimsOf(service, tokens.refresh).sessionId)).toMatchObject([
      { action: 'session.ended', actor_type: 'user', actor_id: person.id },
    ])
    expect((await me(bystander.access)).status).toBe(200)
  })

  test("a user's key, and a service account's with the tokens that were made by it, once", async () => {
    const own = await newKey(service, person.access, { scopes: ['read'] })
    const batch = await newClient(service, person.access)
    const token = await tokenOf(service, batch)
    for (const { id, key } of [own, { id: batch.keyId, key: batch.secret }]) {
      await endedBy(key)
      expectProblem(await call(service, 'GET /auth/me', { apiKey: key }), 'invalid_token')
      await endedBy(key)
      expect(await auditOf(id)).toMatchObject([{ action: 'key.revoked', actor_type: 'key', actor_id: id }])
    }
    expectProblem(await me(token), 'invalid_token')
    expect((await me(person.access)).status).toBe(200)
  })

  test('only the given token of a client, once: its key and other tokens stay valid', async () => {
    const [token, other] = [await tokenOf(service, client), await tokenOf(service, client)]
    expect((await me(token)).status).toBe(200)
    await endedBy(token)
    expectProblem(await me(token), 'invalid_token')
    await endedBy(token)
    const jti = String(partsOf(token).payload.jti)
    expect(await auditOf(jti)).toMatchObject([{ action: 'token.revoked', actor_type: 'key' }])
    expect((await me(other)).status).toBe(200)
    expect((await call(service, 'GET /auth/me', { apiKey: client.secret })).status).toBe(200)
  })

  test.each<[string, () => string]>([
    ['garbage', () => 'garbage'],
    ['an altered access token', () => person.access.replace(/\.[^.]{4}/, '.AAAA')],
    ['a refresh token with a wrong MAC', () => `${person.refresh.slice(0, 60)}0${person.refresh.slice(61)}`],
    ['a refresh token of another salt', () => resign(service, person.refresh, { salt: new Uint8Array(16) })],
    ['an altered key', () => `${client.secret.slice(0, -1)}_`],
    ['an id', () => client.keyId],
    ['a NUL', () => '\0'],
    ['60 KB', () => `eyJ${'x'.repeat(60_000)}`],
  ])('nothing by %s, with the same answer', async (_, token) => {
    await endedBy(token())
    expect((await me(person.access)).status).toBe(200)
    expect((await introspect(person.refresh)).body.active).toBe(true)
    expect((await me(client.secret)).status).toBe(200)
  })

  test.each(['access_token', 'refresh_token', 'nonsense', ''])(
    'the same token whatever the hint %p is',
    async (token_type_hint) => {
      const tokens = await logIn(service, person.email, person.password)
      expect((await revoke(tokens.refresh, { form: { token_type_hint } })).status).toBe(200)
      expectProblem(await me(tokens.access), 'invalid_token')
    },
  )

  test('nothing for a wrong client, and the token for a right client or for no client', async () => {
    const { id: client_id, secret: client_secret } = client
    const tokens = await logIn(service, person.email, person.password)
    for (const options of [
      { headers: basic(client_id, 'wrong') },
      { form: { client_id, client_secret: 'wrong' } },
      { headers: basic(person.id, client_secret) },
      { headers: { authorization: 'Basic !' } },
    ] as Call[]) {
      expectOAuthError(await revoke(tokens.refresh, options), 401, 'invalid_client')
    }
    expect((await me(tokens.access)).status).toBe(200)
    const headers = basic(client_id, client_secret)
    expectOAuthError(
      await revoke(tokens.refresh, { headers, form: { client_secret } }),
      400,
      'invalid_request',
    )
    expect((await me(tokens.access)).status).toBe(200)

    for (const options of [{ headers }, { form: { client_id } }, { bearer: 'stale' }] as Call[]) {
      const { access, refresh: token } = await logIn(service, person.email, person.password)
      expect((await revoke(token, options)).status).toBe(200)
      expectProblem(await me(access), 'invalid_token')
    }
  })

  test.each<[string, number, Call]>([
    ['no token', 400, { form: { x: '1' } }],
    ['an empty token', 400, { form: { token: '' } }],
    ['JSON', 415, { json: { token: 'x' } }],
    ['more than 64 KiB', 413, { form: { token: 'x'.repeat(65_600) } }],
  ])('nothing by a request with %s', async (_, status, options) => {
    expectOAuthError(await call(service, 'POST /oauth/revoke', options), status, 'invalid_request')
  })
})
