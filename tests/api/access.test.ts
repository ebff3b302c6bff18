import { beforeAll, describe, expect, test } from 'bun:test'
import type { ErrorCode } from '../../src/lib/errors.ts'
import { OWN, PAGES } from '../support/browser.ts'
import { type Call, call, logIn, newKey, newPerson, type Person } from '../support/client.ts'
import { comparable, expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const keys: Record<string, string> = {}
const service = useService()
const sql = useSql(service)
const person = prepare(() => newPerson(service))
const admin = prepare(() => newPerson(service))
beforeAll(async () => {
  await sql`UPDATE latchkey.users SET role = 'admin' WHERE id = ${admin.id}`
  Object.assign(admin, await logIn(service, admin.email, admin.password))
  const make = async (of: Person, scopes: string) => (await newKey(service, of.access, { scopes })).key
  keys.read = await make(person, 'read')
  keys.write = await make(person, 'write')
  keys.both = await make(person, 'read,write')
  keys.none = await make(person, '')
  keys.manager = await make(person, 'latchkey:keys.read')
  keys.admins = await make(admin, 'read,latchkey:users.read')
})

const AS: Record<string, () => Call> = {
  'a user': () => ({ bearer: person.access }),
  'an admin': () => ({ bearer: admin.access }),
  'a key with read': () => ({ apiKey: keys.read ?? '' }),
  'a key with write': () => ({ apiKey: keys.write ?? '' }),
  'a key with both': () => ({ apiKey: keys.both ?? '' }),
  'a key without scopes': () => ({ bearer: keys.none ?? '' }),
  'a key that reads keys': () => ({ bearer: keys.manager ?? '' }),
  "an admin's key": () => ({ bearer: keys.admins ?? '' }),
}

describe('each example route accepts its own kind of credential', () => {
  test.each<[string, string, 200 | ErrorCode]>([
    ['user-only', 'a user', 200],
    ['user-only', 'an admin', 200],
    ['user-only', 'a key with read', 'wrong_credential_kind'],
    ['user-only', "an admin's key", 'wrong_credential_kind'],
    ['service-only', 'a user', 'wrong_credential_kind'],
    ['service-only', 'an admin', 'wrong_credential_kind'],
    ['service-only', 'a key with read', 200],
    ['service-only', 'a key with both', 200],
    ['service-only', "an admin's key", 200],
    ['service-only', 'a key with write', 'insufficient_scope'],
    ['service-only', 'a key without scopes', 'insufficient_scope'],
    ['service-only', 'a key that reads keys', 'insufficient_scope'],
    ['any', 'a user', 200],
    ['any', 'a key without scopes', 200],
    ['any', "an admin's key", 200],
    ['admin', 'a user', 'forbidden'],
    ['admin', 'an admin', 200],
    ['admin', 'a key with read', 'wrong_credential_kind'],
    ['admin', "an admin's key", 'wrong_credential_kind'],
  ])('/protected/%s, %s: %s', async (route, who, expected) => {
    const answer = await call(service, `GET /protected/${route}`, AS[who]?.())
    if (expected === 200) expect(answer.status).toBe(200)
    else expectProblem(answer, expected)
    const challenge =
      expected === 'insufficient_scope'
        ? 'Bearer realm="latchkey", error="insufficient_scope", scope="read"'
        : null
    expect(answer.headers.get('www-authenticate')).toBe(challenge)
    if (challenge) expect(answer.body.detail).toBe('Missing required scope: read')
  })

  test('an example route answers with the caller', async () => {
    const bodyOf = async (route: string, who: string) =>
      (await call(service, `GET /protected/${route}`, AS[who]?.())).body
    const user = { message: expect.any(String), user_email: person.email, auth_type: 'jwt' }
    const scopes = ['read', 'write']
    expect(await bodyOf('user-only', 'a user')).toEqual({
      ...user,
      scopes,
      role: 'user',
      access_level: 'user',
    })
    expect(await bodyOf('any', 'a user')).toEqual({ ...user, scopes, role: 'user', access_level: 'user' })
    expect(await bodyOf('admin', 'an admin')).toMatchObject({ role: 'admin', access_level: 'admin' })
    for (const route of ['service-only', 'any'])
      expect(await bodyOf(route, 'a key with read')).toMatchObject({
        message: expect.any(String),
        auth_type: 'api_key',
        scopes: ['read'],
        access_level: 'service',
      })
  })

  test('a refusal is audited with its actor and its route; a missing credential is not audited', async () => {
    const countDenied = async () =>
      sql`SELECT * FROM latchkey.audit_events WHERE action = 'access.denied' ORDER BY at`
    const before = (await countDenied()).length
    await call(service, 'GET /protected/service-only')
    await call(service, 'GET /protected/service-only', { bearer: 'garbage' })
    expect(await countDenied()).toHaveLength(before)
    const key = await newKey(service, person.access, { scopes: 'write' })
    await call(service, 'GET /protected/service-only', { apiKey: key.key })
    const rows = await countDenied()
    expect(rows).toHaveLength(before + 1)
    expect(rows.at(-1)).toMatchObject({
      outcome: 'refused',
      actor_type: 'key',
      details: { missing_scopes: ['read'], reason: 'insufficient_scope', count: 1 },
    })
    expect(rows.at(-1)?.ip).toBe('127.0.0.1')
  })
})

/** The routes that need no credential. Every other route needs one, also a route that is added later. */
const OPEN = new Set([
  'GET /',
  'GET /health',
  'GET /livez',
  'GET /readyz',
  'GET /.well-known/jwks.json',
  'GET /.well-known/oauth-authorization-server',
  'GET /.well-known/oauth-protected-resource/:name',
  'GET /.well-known/openid-configuration',
  'GET /oauth/logout',
  'POST /oauth/logout',
  // Off, unless OAUTH_REGISTRATION says otherwise.
  'POST /oauth/register',
  'GET /openapi.json',
  'GET /docs',
  'GET /docs/swagger-ui-bundle.js',
  'GET /docs/swagger-ui.css',
  'GET /docs/favicon.png',
  'GET /docs/page.css',
  'GET /docs/start.js',
  'GET /docs/oauth2-redirect',
  'GET /docs/oauth2-redirect.js',
  'GET /errors/:code',
  'POST /auth/signup',
  'POST /auth/login',
  'POST /auth/login/mfa',
  'POST /auth/passkeys/login',
  'POST /auth/passkeys/login/options',
  'POST /auth/refresh',
  'POST /auth/logout',
  'POST /auth/password-reset',
  'POST /auth/forgot-password',
  'POST /auth/verify-email',
  'POST /auth/verify-email/resend',
  'POST /oauth/token',
  'POST /oauth/revoke',
  'POST /portal/exchange',
  'POST /session',
  'POST /session/mfa',
  'POST /session/passkey',
  'DELETE /session',
  ...PAGES,
])

describe('every route', () => {
  const routes = () => service.app.routes.map(({ method, path }) => `${method} ${path}`)

  test('asks for a credential, unless the route is listed as open', async () => {
    const guarded = routes().filter((route) => !OPEN.has(route))
    expect(guarded.length).toBeGreaterThan(10)
    for (const route of guarded) {
      const asked = route.replaceAll(/:\w+/g, '0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6')
      const answer = await call(service, asked, bodyFor(asked))
      expect(`${route}: ${answer.status}`).toBe(`${route}: 401`)
    }
    for (const open of OPEN) if (!routes().includes(open)) expect(open).toBe('a route')
  })

  test('that is open gives the same answer with a bad credential, and with two', async () => {
    const bad: Call[] = [
      { bearer: 'garbage' },
      { apiKey: 'garbage' },
      { bearer: person.access, apiKey: keys.read ?? '' },
      { headers: { authorization: 'Digest x, y' } },
    ]
    // Except the open routes that read an Authorization header (API.md: logout, the client of a revocation).
    const open = [...OPEN].filter((route) => !['POST /auth/logout', 'POST /oauth/revoke'].includes(route))
    for (const route of open) {
      const body = bodyOf(route)
      const reference = await call(service, route, body)
      expect(`${route}: ${reference.status}`).not.toBe(`${route}: 401`)
      for (const options of bad) {
        const answer = await call(service, route, { ...body, ...options })
        expect({ route, status: answer.status }).toEqual({ route, status: reference.status })
        if (reference.status >= 400) expect(comparable(answer).body).toEqual(comparable(reference).body)
      }
    }
  })

  test('log-in and refresh work while the client still sends an expired access token', async () => {
    const { access, refresh, email, password } = await newPerson(service)
    service.advance(60 * 60 * 1000)
    expectProblem(await call(service, 'GET /auth/me', { bearer: access }), 'invalid_token')
    const login = await call(service, 'POST /auth/login', { json: { email, password }, bearer: access })
    expect(login.status).toBe(200)
    const json = { refresh_token: refresh }
    expect((await call(service, 'POST /auth/refresh', { json, bearer: access })).status).toBe(200)
    const form = { grant_type: 'password', username: email, password }
    expect((await call(service, 'POST /oauth/token', { form, bearer: access })).status).toBe(200)
  })

  /** A body of the right type. OAuth routes read the form before the credential, because the form may hold the client. */
  function bodyFor(route: string): Call {
    if (route.startsWith('POST /oauth/')) return { form: { token: 'any' } }
    if (route.startsWith('POST /session/')) return { json: {}, headers: OWN }
    return /^(POST|PUT|PATCH) /.test(route) ? { json: {} } : {}
  }

  /** A body that passes the validation of an open route where possible. */
  function bodyOf(route: string): Call {
    if (route === 'POST /auth/login') return { json: { email: person.email, password: person.password } }
    if (route === 'POST /auth/signup') return { json: { email: person.email, password: person.password } }
    if (route === 'POST /oauth/token')
      return { form: { grant_type: 'password', username: person.email, password: person.password } }
    return route.startsWith('POST') ? { json: {} } : {}
  }
})
