import { beforeAll, describe, expect, test } from 'bun:test'
import { NEEDS } from '../../src/api/route-table.ts'
import { DAY_MS } from '../../src/lib/time.ts'
import {
  type AppSession,
  addApp,
  addResource,
  allowApp,
  exchangeKey,
  type TestApp,
} from '../support/app-tokens.ts'
import { type Call, call, newKey } from '../support/client.ts'
import { type AddedPerson, addLoggedIn, addPerson, beginSession } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const OWN = [
  'latchkey:keys.read',
  'latchkey:keys.write',
  'latchkey:users.read',
  'latchkey:introspect',
  'read',
  'write',
]
let keeper: TestApp
beforeAll(async () => {
  keeper = await addApp(sql, { scopes: OWN })
})

/** A person, and an app with a token for Latchkey's own resource. */
async function newPair(scopes: string[], person?: AddedPerson) {
  const owner = person ?? (await addPerson(sql, { scopes: ['read', 'write'] }))
  const app = person ? await addApp(sql, { scopes: OWN }) : keeper
  return { owner, ...(await allowApp(service, sql, app, owner.id, { audience: 'latchkey', scopes })) }
}
const by = (access: string, more: Call = {}): Call => ({ bearer: access, ...more })

type Asked = { scopes?: readonly string[]; keyScopes?: readonly string[] }

/** Every route that asks for a bearer's credential, and the scopes by which a key passes there; null: a key passes none. */
const GUARDED = Object.entries(NEEDS).flatMap(([route, need]): [string, readonly string[] | null][] => {
  const [macro, asked] = Object.entries(need)[0] ?? []
  if (macro === undefined || ['open', 'ownOrigin', 'browser'].includes(macro)) return []
  const { scopes = [], keyScopes = scopes } = (asked === true ? {} : asked) as Asked
  const isForKeys = ['anyone', 'anyoneOrPortal', 'adminOrKey'].includes(macro)
  return [[route.replaceAll(/:\w+/g, () => Bun.randomUUIDv7()), isForKeys ? keyScopes : null]]
})

describe('Latchkey’s own API is closed to a token that was made for something else', () => {
  test('of a resource, of userinfo, and of a key with a resource, at every route', async () => {
    const person = await addPerson(sql, { role: 'admin' })
    const app = await addApp(sql)
    const resource = await addResource(sql, ['read', ...OWN])
    const { id, key } = await newKey(service, admin.access, { scopes: ['read', 'latchkey:keys.read'] })
    const tokens = [
      (await allowApp(service, sql, app, person.id, { resource })).access,
      (
        await allowApp(service, sql, app, person.id, {
          audience: 'userinfo',
          scopes: [],
          identityScopes: ['openid'],
        })
      ).access,
      await exchangeKey(service, sql, id, resource, ['read', 'latchkey:keys.read']),
    ]
    expect(GUARDED.length).toBeGreaterThan(60)
    for (const [route] of GUARDED) {
      const answers = await Promise.all(tokens.map((token) => call(service, route, by(token))))
      for (const answer of answers) {
        expect([route, answer.status, answer.body?.code]).toEqual([route, 403, 'wrong_credential_kind'])
      }
    }
    // The controls: the key itself, and the tokens where they belong.
    expect((await call(service, 'GET /keys', by(key))).status).toBe(200)
    for (const token of [tokens[0], tokens[2]])
      expect(
        (await call(service, `GET /forward-auth?resource=${resource.slug}`, by(token ?? ''))).status,
      ).toBe(200)
  })

  test('also of introspection as the caller, and of a page’s routes for one’s own session', async () => {
    const person = await addPerson(sql, { role: 'admin' })
    const resource = await addResource(sql, ['latchkey:introspect'])
    const { access } = await allowApp(service, sql, await addApp(sql), person.id, { resource })
    const form = { token: 'x' }
    expect((await call(service, 'POST /oauth/introspect', by(access, { form }))).status).toBe(403)
    const introspector = await newPair(['latchkey:introspect'], person)
    const answer = await call(service, 'POST /oauth/introspect', by(introspector.access, { form }))
    expect([answer.status, answer.body]).toEqual([200, { active: false }])
  })
})

describe('a token for Latchkey’s own resource is like a key of its person', () => {
  test('it opens what a scope of Latchkey’s own opens to a key, and nothing else', async () => {
    const person = await addPerson(sql, { role: 'admin' })
    const { access } = await newPair(OWN, person)
    let open = 0
    for (const [route, scopes] of GUARDED) {
      const answer = await call(service, route, by(access))
      const isClosed = answer.body?.code === 'wrong_credential_kind'
      const isOfKeys = scopes?.some((scope) => scope.startsWith('latchkey:')) ?? false
      // A portal session has no row on which an app's could stand.
      if (route === 'POST /portal/sessions') expect([route, isClosed]).toEqual([route, true])
      else expect([route, isClosed]).toEqual([route, !isOfKeys])
      if (answer.status === 200) open += 1
    }
    expect(open).toBeGreaterThan(3)
  })

  test('without the scope it is 403 with what is needed', async () => {
    const { access } = await newPair(['latchkey:keys.read'])
    expect((await call(service, 'GET /keys', by(access))).status).toBe(200)
    const refused = await call(service, 'POST /keys', by(access, { json: { scopes: 'read' } }))
    expectProblem(refused, 'insufficient_scope')
    expect(refused.headers.get('www-authenticate')).toContain('scope="latchkey:keys.write"')
  })

  test('its scopes end with the ceiling of its person, at once', async () => {
    const person = await addPerson(sql, { role: 'admin' })
    const { access } = await newPair(['latchkey:users.read'], person)
    expect((await call(service, 'GET /users', by(access))).status).toBe(200)
    await call(service, `PATCH /users/${person.id}`, { bearer: admin.access, json: { role: 'user' } })
    expectProblem(await call(service, 'GET /users', by(access)), 'insufficient_scope')
  })

  test('what it makes ends no later than its session, and names the grant as its maker', async () => {
    const { access, grantId, sessionId, owner } = await newPair([
      'latchkey:keys.read',
      'latchkey:keys.write',
      'read',
    ])
    const [session] = await sql`SELECT expires_at FROM latchkey.sessions WHERE id = ${sessionId}`
    const end: Date = session?.expires_at
    const made = await call(service, 'POST /keys', by(access, { json: { scopes: 'read' } }))
    expect(made.status).toBe(201)
    expect(made.body).toMatchObject({ created_by: grantId, user_id: owner.id, expires_at: end.toISOString() })
    const later = { scopes: 'read', expires_at: new Date(end.getTime() + DAY_MS).toISOString() }
    expectProblem(await call(service, 'POST /keys', by(access, { json: later })), 'forbidden')
    const beyond = await call(service, 'POST /keys', by(access, { json: { scopes: 'write' } }))
    expectProblem(beyond, 'insufficient_scope')
    const { body } = await call(service, `GET /audit?target=${made.body.id}`, { bearer: admin.access })
    expect(body.items[0]).toMatchObject({
      action: 'key.created',
      actor: { type: 'client', id: keeper.id },
      details: { user_id: owner.id, grant_id: grantId },
    })
  })

  test('it reaches only keys that lie within its scopes, and gives none a longer life', async () => {
    const person = await addPerson(sql, { scopes: ['read', 'write'] })
    const { access: own } = await beginSession(service, person)
    const wide = await newKey(service, own, { scopes: 'write' })
    const endless = await newKey(service, own, { scopes: 'read' })
    const { access } = await newPair(['latchkey:keys.read', 'latchkey:keys.write', 'read'], person)
    const listed = await call(service, 'GET /keys', by(access))
    expect(listed.body.map(({ id }: { id: string }) => id)).toEqual([endless.id])
    expectProblem(await call(service, `GET /keys/${wide.id}`, by(access)), 'not_found')
    const rotated = await call(service, `POST /keys/${endless.id}/rotate`, by(access, { json: {} }))
    expectProblem(rotated, 'forbidden')
    expectProblem(await call(service, `DELETE /keys/${wide.id}`, by(access)), 'not_found')
    expect((await call(service, `DELETE /keys/${endless.id}`, by(access))).status).toBe(200)
  })

  test('it revokes many keys within its bounds, and not the others', async () => {
    const person = await addPerson(sql, { scopes: ['read', 'write'] })
    const { access: own } = await beginSession(service, person)
    const [wide, narrow] = [
      await newKey(service, own, { scopes: 'write' }),
      await newKey(service, own, { scopes: 'read' }),
    ]
    const { access } = await newPair(['latchkey:keys.write', 'read'], person)
    const json = { user_id: person.id }
    expect((await call(service, 'POST /keys/revoke', by(access, { json }))).body).toMatchObject({
      revoked: 1,
    })
    expect((await call(service, 'GET /auth/me', { bearer: narrow.key })).status).toBe(401)
    expect((await call(service, 'GET /auth/me', { bearer: wide.key })).status).toBe(200)
  })

  test('it is refused where its person has to set up a second factor first', async () => {
    const { access } = await newPair(['latchkey:keys.read'])
    const strict = await startService({ requireMfa: 'all' }, service)
    try {
      expectProblem(await call(strict, 'GET /keys', by(access)), 'mfa_enrolment_required')
    } finally {
      await strict.stop()
    }
  })
})

describe('introspection and revocation take the tokens of apps', () => {
  const introspect = async (token: string) => {
    const { key } = await newKey(service, admin.access, { scopes: ['latchkey:introspect'] })
    return (await call(service, 'POST /oauth/introspect', { bearer: key, form: { token } })).body
  }
  const isLive = async ({ access }: AppSession) => (await introspect(access)).active

  test('an access token and its refresh token tell app, audience, grant and proof', async () => {
    const person = await addPerson(sql, { scopes: ['read'] })
    const app = await addApp(sql)
    const resource = await addResource(sql)
    const made = await allowApp(service, sql, app, person.id, { resource, identityScopes: ['openid'] })
    const shared = {
      active: true,
      token_type: 'Bearer',
      sub: person.id,
      client_id: app.clientId,
      grant_id: made.grantId,
      aud: resource.identifier,
      iss: service.config.publicUrl,
      auth_time: expect.any(Number),
      amr: ['mfa', 'otp', 'pwd'],
      scope: 'openid read',
      exp: expect.any(Number),
    }
    expect(await introspect(made.access)).toEqual({
      ...shared,
      token_kind: 'access_token',
      iat: expect.any(Number),
      jti: expect.any(String),
    })
    expect(await introspect(made.refresh)).toEqual({ ...shared, token_kind: 'refresh_token' })
    await sql`UPDATE latchkey.oauth_clients SET is_active = false WHERE id = ${app.id}`
    expect(await introspect(made.refresh)).toEqual({ active: false })
    await until(async () => !(await isLive(made)), 'the access token is no longer active')
  })

  test('a first-party app’s token is a user’s, and names the app', async () => {
    const person = await addPerson(sql, { scopes: ['read'] })
    const app = await addApp(sql, { firstParty: true })
    const made = await allowApp(service, sql, app, person.id, {
      audience: 'users',
      scopes: null,
      identityScopes: ['openid'],
      role: 'user',
    })
    expect(await introspect(made.access)).toMatchObject({
      active: true,
      role: 'user',
      username: person.email,
      client_id: app.clientId,
      grant_id: made.grantId,
      aud: service.config.jwtAudience,
      scope: 'openid read',
    })
  })

  test('a token for which a key was exchanged names its key and its audience, and is revoked alone', async () => {
    const resource = await addResource(sql)
    const { id, key } = await newKey(service, admin.access, { scopes: 'read' })
    const token = await exchangeKey(service, sql, id, resource)
    expect(await introspect(token)).toMatchObject({
      active: true,
      aud: resource.identifier,
      key_id: id,
      scope: 'read',
    })
    expect((await call(service, 'POST /oauth/revoke', { form: { token } })).status).toBe(200)
    expect(await introspect(token)).toEqual({ active: false })
    expect((await introspect(key)).active).toBe(true)
  })

  test.each(['access', 'refresh'] as const)(
    'revoking the %s token ends that session, and not the grant',
    async (which) => {
      const person = await addPerson(sql, { scopes: ['read'] })
      const app = await addApp(sql)
      const resource = await addResource(sql)
      const made = await allowApp(service, sql, app, person.id, { resource })
      const other = await allowApp(service, sql, await addApp(sql), person.id, { resource })
      const form = { token: made[which] }
      expect((await call(service, 'POST /oauth/revoke', { form })).status).toBe(200)
      for (const token of [made.access, made.refresh])
        expect(await introspect(token)).toEqual({ active: false })
      expect(await isLive(other)).toBe(true)
      const grants = await sql`SELECT id FROM latchkey.oauth_grants WHERE id = ${made.grantId}`
      expect(grants).toHaveLength(1)
    },
  )
})
