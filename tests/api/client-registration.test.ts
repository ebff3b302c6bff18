import { describe, expect, test } from 'bun:test'
import { deleteUnusedApps } from '../../src/core/client-registration/delete-unused.ts'
import { newId } from '../../src/lib/ids.ts'
import { DAY_MS } from '../../src/lib/time.ts'
import { type Call, call } from '../support/client.ts'
import { everyLimit } from '../support/limits.ts'
import { expectOAuthError } from '../support/oauth.ts'
import { addLoggedIn } from '../support/people.ts'
import type { TestService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const open = useService({ oauthRegistration: 'open' })
const sql = useSql(open)
const byToken = useService({ oauthRegistration: 'token' }, open)
const off = useService({}, open)
const sharing = useService({ oauthRegistration: 'open', algorithm: 'HS256' }, open)
const limited = useService(
  {
    oauthRegistration: 'open',
    rateLimits: {
      ...everyLimit({ limit: 1000, windowSeconds: 60 }),
      register: { limit: 2, windowSeconds: 60 },
    },
  },
  open,
)
const admin = prepare(() => addLoggedIn(open, sql, { role: 'admin' }))
const person = prepare(() => addLoggedIn(open, sql))

const APP = {
  client_name: 'An app',
  redirect_uris: ['https://app.example.com/callback', 'http://localhost/callback'],
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  token_endpoint_auth_method: 'none',
}
const register = (json: unknown = APP, on: TestService = open, options: Call = {}) =>
  call(on, 'POST /oauth/register', { json, ...options })

describe('an app that registers itself', () => {
  test('becomes a public client', async () => {
    const { status, body, headers } = await register({ ...APP, scope: 'latchkey:verify', logo_uri: 'x' })
    expect([status, body]).toEqual([
      201,
      { ...APP, client_id: expect.any(String), client_id_issued_at: expect.any(Number) },
    ])
    expect(headers.get('cache-control')).toBe('no-store')
    const [row] = await sql`SELECT source, kind, first_party, scopes, grants, created_by
      FROM latchkey.oauth_clients WHERE client_id = ${body.client_id}`
    expect(row).toEqual({
      source: 'dynamic',
      kind: 'public',
      first_party: false,
      scopes: null,
      grants: APP.grant_types,
      created_by: null,
    })
    const [event] = await sql`SELECT action, actor_type FROM latchkey.audit_events
      WHERE target_id = ${body.client_id}`
    expect(event).toEqual({ action: 'client.created', actor_type: 'anonymous' })
  })

  test('needs redirect URIs alone', async () => {
    const { status, body } = await register({ redirect_uris: ['https://app.example.com/callback'] })
    expect([status, body.client_name, body.grant_types]).toEqual([
      201,
      'app.example.com',
      ['authorization_code'],
    ])
  })

  test.each([
    [{ redirect_uris: undefined }, 'invalid_redirect_uri'],
    [{ redirect_uris: [] }, 'invalid_redirect_uri'],
    [{ redirect_uris: 'https://app.example.com' }, 'invalid_redirect_uri'],
    [{ redirect_uris: [5] }, 'invalid_redirect_uri'],
    [{ redirect_uris: ['http://app.example.com/callback'] }, 'invalid_redirect_uri'],
    [{ redirect_uris: ['https://app.example.com/#a'] }, 'invalid_redirect_uri'],
    [{ redirect_uris: ['com.example.app:/callback'] }, 'invalid_redirect_uri'],
    [{ redirect_uris: ['javascript:alert(1)'] }, 'invalid_redirect_uri'],
    [{ redirect_uris: ['https://app.example.com/', 'http://evil.example.com/'] }, 'invalid_redirect_uri'],
    [{ redirect_uris: Array(21).fill('https://app.example.com/') }, 'invalid_redirect_uri'],
    [{ token_endpoint_auth_method: 'client_secret_basic' }, 'invalid_client_metadata'],
    [{ token_endpoint_auth_method: 'private_key_jwt' }, 'invalid_client_metadata'],
    [{ grant_types: ['client_credentials'] }, 'invalid_client_metadata'],
    [{ grant_types: 'authorization_code' }, 'invalid_client_metadata'],
    [{ response_types: ['token'] }, 'invalid_client_metadata'],
    [{ client_name: 'n'.repeat(101) }, 'invalid_client_metadata'],
    [{ client_name: 5 }, 'invalid_client_metadata'],
    [{ client_name: '\u3164 \u2800' }, 'invalid_client_metadata'],
  ])('is refused with %j', async (more, error) => {
    expectOAuthError(await register({ ...APP, ...more }), 400, error)
  })
})

test('who may register is a setting', async () => {
  expect((await register(APP, off)).status).toBe(404)
  expect((await register(APP, sharing)).status).toBe(404)
  expect((await register(APP, byToken)).status).toBe(401)
  expect((await register('no object', byToken)).status).toBe(401)
  expect((await register(APP, byToken, { bearer: 'x' })).status).toBeGreaterThanOrEqual(400)
  expect((await register(APP, byToken, { bearer: person.access })).status).toBe(403)
  const made = await register(APP, byToken, { bearer: admin.access })
  expect(made.status).toBe(201)
  const [row] =
    await sql`SELECT created_by FROM latchkey.oauth_clients WHERE client_id = ${made.body.client_id}`
  expect(row).toEqual({ created_by: admin.id })
  const endpoint = async (on: TestService) =>
    (await call(on, 'GET /.well-known/oauth-authorization-server')).body.registration_endpoint
  expect(await endpoint(open)).toBe(`${open.config.publicUrl}/oauth/register`)
  expect(await endpoint(off)).toBeUndefined()
})

test('registrations are limited by address', async () => {
  for (const status of [201, 201, 429]) expect((await register(APP, limited)).status).toBe(status)
})

describe('housekeeping', () => {
  const add = async (source: string, days: number, more: Record<string, unknown> = {}) => {
    const id = newId()
    const at = new Date(open.context.clock() - days * DAY_MS)
    const row = {
      id,
      client_id: id,
      source,
      kind: 'public',
      name: 'x',
      redirect_uris: [],
      grants: [],
      created_at: at,
      ...more,
    }
    await sql`INSERT INTO latchkey.oauth_clients ${sql(row)}`
    return id
  }
  const left = async (ids: string[]) => {
    const rows = await sql`SELECT id FROM latchkey.oauth_clients WHERE id = ANY (${ids})`
    return ids.map((id) => rows.some((row) => row.id === id))
  }

  test('ends apps that were not used for 90 days, and none that an admin registered or disabled', async () => {
    const recent = new Date(open.context.clock() - DAY_MS)
    const ids = [
      await add('dynamic', 91),
      await add('dynamic', 89),
      await add('dynamic', 200, { last_used_at: recent }),
      await add('registered', 400),
      await add('metadata', 91),
      await add('metadata', 91, { is_active: false }),
    ]
    await deleteUnusedApps(open.context)
    expect(await left(ids)).toEqual([false, true, true, true, false, true])
    const events = await sql`SELECT details FROM latchkey.audit_events WHERE target_id = ${ids[0] ?? ''}`
    expect([...events]).toMatchObject([{ details: { reason: 'unused', source: 'dynamic' } }])
  })

  test('keeps an app with a document that a person allowed something', async () => {
    const id = await add('metadata', 91)
    await sql`INSERT INTO latchkey.oauth_grants (id, user_id, client_id, audience, scopes, first_allowed_at, last_allowed_at)
      VALUES (${newId()}, ${person.id}, ${id}, 'userinfo', '{}', now(), now())`
    await deleteUnusedApps(open.context)
    expect(await left([id])).toEqual([true])
  })

  test('ends the longest unused beyond the number that is kept', async () => {
    await sql`DELETE FROM latchkey.oauth_clients`
    const used = new Date(open.context.clock())
    const ids = [
      await add('dynamic', 30),
      await add('dynamic', 40, { last_used_at: used }),
      await add('dynamic', 20),
      await add('registered', 80),
    ]
    expect(await deleteUnusedApps(open.context, { maxRegistered: 2 })).toBe(1)
    expect(await left(ids)).toEqual([false, true, true, true])
  })
})
