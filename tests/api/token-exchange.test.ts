import { beforeAll, describe, expect, test } from 'bun:test'
import { decodeJwt } from 'jose'
import { newId } from '../../src/lib/ids.ts'
import { MINUTE_MS } from '../../src/lib/time.ts'
import { type Answer, call, newKey } from '../support/client.ts'
import { everyLimit } from '../support/limits.ts'
import { adminToken, basic, expectOAuthError, newClient } from '../support/oauth.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange'
const KEY_TYPE = 'urn:latchkey:token-type:api_key'
const RESOURCE = 'https://api.example.com/mcp'

const service = useService({ trustedProxies: ['127.0.0.1/32'] })
const sql = useSql(service)
const person = prepare(() => addLoggedIn(service, sql))

/** Inserts a resource. */
async function addResource(
  identifier: string,
  { scopes = ['read', 'write'], lasts = null as number | null } = {},
): Promise<string> {
  const id = newId()
  const named = scopes.map((name) => ({ name, description: name, grantable_by: 'everyone' }))
  await sql`INSERT INTO latchkey.resources (id, identifier, slug, name, scopes, token_lifetime_seconds, created_at)
    VALUES (${id}, ${identifier}, ${id.slice(0, 36)}, 'API', ${sql.json(named)}, ${lasts}, now())`
  return id
}
beforeAll(async () => {
  await addResource(RESOURCE)
})

const exchange = (
  key: string,
  form: Record<string, string> = {},
  headers: Record<string, string> = {},
  on: TestService = service,
): Promise<Answer> =>
  call(on, 'POST /oauth/token', {
    form: {
      grant_type: GRANT,
      subject_token: key,
      subject_token_type: KEY_TYPE,
      resource: RESOURCE,
      ...form,
    },
    headers,
  })
const make = (json: Record<string, unknown> = {}) =>
  newKey(service, person.access, { scopes: ['read', 'write'], ...json })
const introspect = async (token: string) => {
  const bearer = await adminToken(service)
  return (await call(service, 'POST /oauth/introspect', { bearer, form: { token } })).body
}

describe('a key', () => {
  test('is exchanged for a token of one resource, which stands for the key', async () => {
    const { id, key } = await make()
    const { status, body } = await exchange(key)
    expect([status, body]).toEqual([
      200,
      {
        access_token: expect.any(String),
        issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
        token_type: 'bearer',
        expires_in: 1800,
        scope: 'read write',
      },
    ])
    const claims = decodeJwt(body.access_token)
    expect(claims).toMatchObject({
      aud: RESOURCE,
      sub: person.id,
      client_id: person.id,
      scope: 'read write',
    })
    expect(claims).not.toHaveProperty('role')
    expect(await introspect(body.access_token)).toMatchObject({
      active: true,
      aud: RESOURCE,
      key_id: id,
      sub: person.id,
      scope: 'read write',
    })
    const events = await sql`SELECT actor_type, actor_id, details FROM latchkey.audit_events
      WHERE action = 'token.granted' AND target_id = ${id}`
    expect([...events]).toMatchObject([
      {
        actor_type: 'key',
        actor_id: id,
        details: { scopes: ['read', 'write'], resource: RESOURCE },
      },
    ])
  })

  test('of a service account is exchanged too', async () => {
    const client = await newClient(service, await adminToken(service), ['read'])
    const { status, body } = await exchange(client.secret)
    expect([status, body.scope, decodeJwt(body.access_token).sub]).toEqual([200, 'read', client.id])
  })

  test('gives the scopes that key, request and resource have in common', async () => {
    const { key } = await make({ scopes: ['read'] })
    expect((await exchange(key)).body.scope).toBe('read')
    expect((await exchange(key, { scope: 'read write' })).body.scope).toBe('read')
    expectOAuthError(await exchange(key, { scope: 'write' }), 400, 'access_denied')
    expectOAuthError(await exchange(key, { scope: 'read unheard-of' }), 400, 'invalid_scope')
    expectOAuthError(await exchange(key, { scope: 'openid' }), 400, 'invalid_scope')
    expectOAuthError(await exchange(key, { scope: 'Read' }), 400, 'invalid_scope')
    const narrow = 'https://narrow.example.com'
    await addResource(narrow, { scopes: ['write'] })
    expectOAuthError(await exchange(key, { resource: narrow }), 400, 'access_denied')
    const { key: wide } = await make()
    expect((await exchange(wide, { resource: narrow })).body.scope).toBe('write')
  })

  test('gives a token that holds less as soon as the key or the resource does', async () => {
    const identifier = 'https://shrinking.example.com'
    const resource = await addResource(identifier)
    const { id, key } = await make()
    const token = (await exchange(key, { resource: identifier })).body.access_token
    expect((await introspect(token)).scope).toBe('read write')
    await call(service, `PATCH /keys/${id}`, { bearer: person.access, json: { scopes: ['read'] } })
    expect((await introspect(token)).scope).toBe('read')
    await sql`UPDATE latchkey.resources SET is_active = false WHERE id = ${resource}`
    await until(async () => (await introspect(token)).active === false, 'the token is refused')
    expectOAuthError(await exchange(key, { resource: identifier }), 400, 'invalid_target')
    await sql`UPDATE latchkey.resources SET is_active = true WHERE id = ${resource}`
    await until(async () => (await introspect(token)).active, 'the token works again')
  })

  test('gives a token that dies with the secret that was presented', async () => {
    const { id, key } = await make()
    const token = (await exchange(key)).body.access_token
    const rotated = await call(service, `POST /keys/${id}/rotate`, {
      bearer: person.access,
      json: { overlap_seconds: 60 },
    })
    const newer = (await exchange(rotated.body.key)).body.access_token
    service.advance(2 * MINUTE_MS)
    expect([(await introspect(token)).active, (await introspect(newer)).active]).toEqual([false, true])
    await call(service, `DELETE /keys/${id}`, { bearer: person.access })
    expect((await introspect(newer)).active).toBe(false)
  })

  test('gives a token that lives as long as the resource says, and never longer than the key', async () => {
    const short = 'https://short.example.com'
    await addResource(short, { lasts: 60 })
    const { key } = await make()
    expect((await exchange(key, { resource: short })).body.expires_in).toBe(60)
    const expires_at = new Date(service.context.clock() + 5 * MINUTE_MS).toISOString()
    const { key: ending } = await make({ expires_at })
    const { expires_in } = (await exchange(ending)).body
    expect(expires_in).toBeGreaterThan(200)
    expect(expires_in).toBeLessThanOrEqual(300)
  })

  test('is exchanged from its own addresses alone', async () => {
    const { key } = await make({ allowed_ips: ['198.51.100.7'] })
    expectOAuthError(await exchange(key), 400, 'unauthorized_client')
    expectOAuthError(
      await exchange(key, {}, { 'x-forwarded-for': '198.51.100.8' }),
      400,
      'unauthorized_client',
    )
    expect((await exchange(key, {}, { 'x-forwarded-for': '198.51.100.7' })).status).toBe(200)
  })

  test('counts the exchange against its own rate', async () => {
    const { key } = await make({ rate_limit: { limit: 1, window_seconds: 600 } })
    expect((await exchange(key)).status).toBe(200)
    expect((await exchange(key)).status).toBe(429)
  })
})

test('the token cannot be exchanged again', async () => {
  const { key } = await make()
  const token = (await exchange(key)).body.access_token
  expectOAuthError(await exchange(token), 400, 'invalid_request')
  expect((await exchange(key)).status).toBe(200)
})

describe('what is refused', () => {
  test.each([
    ['no resource', { resource: '' }, 'invalid_target'],
    ['an unknown resource', { resource: 'https://unknown.example.com' }, 'invalid_target'],
    ['another spelling', { resource: `${RESOURCE}/` }, 'invalid_target'],
    ['an audience', { audience: RESOURCE }, 'invalid_target'],
    ['an actor', { actor_token: 'x', actor_token_type: KEY_TYPE }, 'invalid_request'],
    [
      'another type of subject',
      { subject_token_type: 'urn:ietf:params:oauth:token-type:access_token' },
      'invalid_request',
    ],
    ['no type of subject', { subject_token_type: '' }, 'invalid_request'],
    [
      'another type of token',
      { requested_token_type: 'urn:ietf:params:oauth:token-type:refresh_token' },
      'invalid_request',
    ],
    ['no subject', { subject_token: '' }, 'invalid_request'],
    ['a client', { client_id: 'x', client_secret: 'y' }, 'invalid_request'],
  ])('%s', async (_, form, error) => {
    const { key } = await make()
    expectOAuthError(await exchange(key, form), 400, error)
    expect((await exchange(key)).status).toBe(200)
  })

  test('Latchkey itself as the target, also where a resource has such an identifier', async () => {
    const { publicUrl, jwtAudience } = service.config
    const { key } = await make()
    for (const identifier of [`${publicUrl}/latchkey`, `${publicUrl}/oauth/userinfo`, jwtAudience]) {
      const id = await addResource(identifier)
      expectOAuthError(await exchange(key, { resource: identifier }), 400, 'invalid_target')
      await sql`DELETE FROM latchkey.resources WHERE id = ${id}`
    }
  })

  test('a resource that is named twice', async () => {
    const { key } = await make()
    const form = { grant_type: GRANT, subject_token: key, subject_token_type: KEY_TYPE, resource: RESOURCE }
    const raw = `${new URLSearchParams(form)}&resource=${encodeURIComponent(RESOURCE)}`
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    expectOAuthError(await call(service, 'POST /oauth/token', { raw, headers }), 400, 'invalid_target')
  })

  test("people's tokens, service accounts' tokens, and keys that ended", async () => {
    const admin = await adminToken(service)
    const client = await newClient(service, admin, ['read'])
    const granted = await call(service, 'POST /oauth/token', {
      form: { grant_type: 'client_credentials' },
      headers: basic(client.id, client.secret),
    })
    const ended = await make()
    await call(service, `DELETE /keys/${ended.id}`, { bearer: person.access })
    const { refresh, access } = person
    for (const token of [access, refresh, granted.body.access_token, ended.key, 'sk_unknown', 'x'])
      expectOAuthError(await exchange(token), 400, 'invalid_request')
    const refusals = await sql`SELECT 1 FROM latchkey.audit_events
      WHERE action = 'token.refused' AND details->>'reason' = 'invalid_request'`
    expect(refusals.length).toBeGreaterThan(0)
  })

  test('every exchange with ALGORITHM=HS256', async () => {
    const shared = await startService({ algorithm: 'HS256' })
    try {
      const { key } = await make()
      expectOAuthError(await exchange(key, {}, {}, shared), 400, 'unsupported_grant_type')
    } finally {
      await shared.stop()
    }
  })
})

describe('limits by address', () => {
  const limited = useService(
    {
      rateLimits: {
        ...everyLimit({ limit: 1000, windowSeconds: 60 }),
        unknown_credential: { limit: 3, windowSeconds: 60 },
      },
    },
    service,
  )

  test('count unknown keys as guesses', async () => {
    const { key } = await make()
    for (let i = 0; i < 3; i++) expect((await exchange('sk_guess', {}, {}, limited)).status).toBe(400)
    expect((await exchange('sk_guess', {}, {}, limited)).status).toBe(429)
    expect((await exchange(key, {}, {}, limited)).status).toBe(200)
    expectProblem(await call(limited, 'GET /keys', { apiKey: 'x' }), 'rate_limited')
  })
})

test('the metadata names the grant', async () => {
  const { body } = await call(service, 'GET /.well-known/oauth-authorization-server')
  expect(body.grant_types_supported).toContain(GRANT)
})
