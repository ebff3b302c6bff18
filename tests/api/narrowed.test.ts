import { describe, expect, test } from 'bun:test'
import { decodeJwt } from 'jose'
import { deleteOutdated } from '../../src/core/housekeeping/delete-outdated.ts'
import { type Answer, type Call, call, newKey } from '../support/client.ts'
import { basic, expectOAuthError, newClient, tokenOf } from '../support/oauth.ts'
import { type AddedPerson, addLoggedIn, connectTo, PASSWORD } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { refresh } from '../support/refresh.ts'
import { startService } from '../support/service.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

type Json = Record<string, unknown>

const KEYS_WRITE = 'latchkey:keys.write'

const service = useService()
const other = useService({}, service)
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
const user = prepare(() => addLoggedIn(service, sql))

const as = (bearer: string, route: string, json?: unknown): Promise<Answer> =>
  call(service, route, { bearer, json })
const isGood = async (caller: Call, at = service) => (await call(at, 'GET /auth/me', caller)).status === 200
const grant = async (form: Record<string, string>) => {
  const answer = await call(service, 'POST /oauth/token', { form })
  if (answer.status !== 200) throw new Error(`It answered ${answer.status}: ${answer.text}`)
  const { access_token, refresh_token, scope } = answer.body
  return { access: access_token as string, refresh: refresh_token as string, scope: scope as string }
}
const logIn = (who: AddedPerson, scope?: string) =>
  grant({
    grant_type: 'password',
    username: who.email,
    password: PASSWORD,
    ...(scope !== undefined && { scope }),
  })
const trade = (refresh_token: string, scope?: string) =>
  grant({ grant_type: 'refresh_token', refresh_token, ...(scope !== undefined && { scope }) })
const revoke = (token: string) => call(service, 'POST /oauth/revoke', { form: { token } })
const { id: unknownId } = { id: '0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6' }

describe('scope at a password grant', () => {
  test('narrows the session: its first token, and every token after a refresh', async () => {
    const session = await logIn(user, 'read')
    const again = await trade(session.refresh)
    const third = (await refresh(service, again.refresh)).body.access_token
    for (const access of [session.access, again.access, third]) {
      expect((await as(access, 'GET /auth/me')).body).toMatchObject({ id: user.id, scopes: ['read'] })
      expect(decodeJwt(access)).toMatchObject({ scope: 'read', narrowed: true })
      expectProblem(await as(access, 'POST /keys', {}), 'insufficient_scope')
    }
    expect([session.scope, again.scope]).toEqual(['read', 'read'])
  })

  test('is intersected at each use with what the user holds then', async () => {
    const person = await addLoggedIn(service, sql, { scopes: ['read', 'deploy'] })
    const session = await logIn(person, 'read deploy')
    await as(admin.access, `PATCH /users/${person.id}`, { scopes: 'read write' })
    expect((await as(session.access, 'GET /auth/me')).body.scopes).toEqual(['read'])
    expect((await trade(session.refresh)).scope).toBe('read')
    await as(admin.access, `PATCH /users/${person.id}`, { scopes: 'read deploy' })
    expect((await as(session.access, 'GET /auth/me')).body.scopes).toEqual(['read', 'deploy'])
  })

  test('may not exceed the scopes of the user; without a scope the session has all of them', async () => {
    const form = { grant_type: 'password', username: user.email, password: PASSWORD }
    for (const scope of ['admin', 'read latchkey:verify', 'READ'])
      expectOAuthError(
        await call(service, 'POST /oauth/token', { form: { ...form, scope } }),
        400,
        'invalid_scope',
      )
    for (const scope of [undefined, '']) {
      const session = await logIn(user, scope)
      expect(decodeJwt(session.access)).not.toHaveProperty('narrowed')
      expect((await as(session.access, 'POST /keys', {})).status).toBe(201)
    }
  })

  test('has no effect at /auth/login, which ignores other members', async () => {
    const json = { email: user.email, password: PASSWORD, scopes: 'read', scope: 'read' }
    const { status, body } = await call(service, 'POST /auth/login', { json })
    expect(status).toBe(200)
    expect(decodeJwt(body.access_token)).not.toHaveProperty('narrowed')
  })
})

describe('scope at a refresh', () => {
  test('narrows only the access token of that refresh', async () => {
    const session = await logIn(user)
    const low = await trade(session.refresh, 'read')
    expect((await as(low.access, 'GET /auth/me')).body.scopes).toEqual(['read'])
    expectProblem(await as(low.access, 'POST /keys', {}), 'insufficient_scope')
    const whole = await trade(low.refresh)
    expect((await as(whole.access, 'POST /keys', {})).status).toBe(201)
    expect(decodeJwt(whole.access)).not.toHaveProperty('narrowed')
  })

  test('cannot widen a narrowed session', async () => {
    const session = await logIn(user, 'read')
    const form = { grant_type: 'refresh_token', refresh_token: session.refresh }
    for (const scope of ['write', 'read write', KEYS_WRITE])
      expectOAuthError(
        await call(service, 'POST /oauth/token', { form: { ...form, scope } }),
        400,
        'invalid_scope',
      )
    // The refusal did not use the refresh token up.
    expect((await trade(session.refresh, 'read')).scope).toBe('read')
  })
})

describe('a narrowed token', () => {
  const MAKES: Json = { scopes: 'read' }

  test('cannot make, change, rotate, revoke or delete keys without latchkey:keys.write; with it, only within its scopes', async () => {
    const { access } = await logIn(user, 'read latchkey:keys.read')
    const { access: manager } = await logIn(user, `read ${KEYS_WRITE} latchkey:keys.read`)
    const { id } = await newKey(service, user.access, { scopes: 'read', expires_in_days: 1 })
    const rotated = await newKey(service, user.access, { scopes: 'read' })
    const { body } = await as(user.access, `POST /keys/${rotated.id}/rotate`, {})
    const routes: [string, Json?][] = [
      ['POST /keys', MAKES],
      ['POST /keys/create', MAKES],
      [`PATCH /keys/${id}`, { name: 'mine' }],
      [`PATCH /keys/${id}`, { expires_at: null }],
      [`POST /keys/${id}/rotate`, {}],
      [`DELETE /keys/${rotated.id}/secrets/${body.secrets[1].id}`],
      [`DELETE /keys/${id}`],
      [`DELETE /keys/revoke/${id}`],
      [`DELETE /keys/delete/${id}`],
    ]
    for (const [route, json] of routes) {
      const answer = await as(access, route, json)
      expectProblem(answer, 'insufficient_scope')
      expect(answer.headers.get('www-authenticate')).toContain(`scope="${KEYS_WRITE}"`)
    }
    expect((await as(access, 'GET /keys')).status).toBe(200)
    expectProblem(await as((await logIn(user, 'read')).access, 'GET /keys'), 'insufficient_scope')
    for (const scopes of ['write', 'read write'])
      expectProblem(await as(manager, 'POST /keys', { scopes }), 'insufficient_scope')
    for (const [route, json] of routes) {
      const { status } = await as(manager, route, json)
      expect([route, status < 300]).toEqual([route, true])
    }
  })

  test('cannot give a key a scope that it lacks, nor manage keys of an account that has more', async () => {
    const { access: manager } = await logIn(user, `read ${KEYS_WRITE}`)
    const wide = await newKey(service, user.access, { scopes: 'read write', expires_in_days: 1 })
    const client = await newClient(service, user.access, ['read', 'write'])
    for (const [route, json] of [
      [`POST /keys/${wide.id}/rotate`, {}],
      [`PATCH /keys/${wide.id}`, { expires_at: null }],
      ['POST /keys', { service_account_id: client.id, scopes: 'read' }],
      [`POST /keys/${client.keyId}/rotate`, {}],
    ] as const) {
      expectProblem(await as(manager, route, json), 'insufficient_scope')
      expect((await as(user.access, route, json)).status).toBeLessThan(300)
    }
  })

  test('of an admin does not act as an admin', async () => {
    const person = await addLoggedIn(service, sql)
    const scope = 'read latchkey:users.read latchkey:users.write latchkey:audit.read'
    const low = await logIn(admin, scope)
    const byRefresh = await trade((await logIn(admin)).refresh, scope)
    for (const { access } of [low, byRefresh]) {
      expect(decodeJwt(access).role).toBe('user')
      expect((await as(access, 'GET /auth/me')).body.role).toBe('user')
      for (const [route, json] of [
        ['GET /protected/admin'],
        [`PATCH /users/${person.id}`, { role: 'admin' }],
        [`PATCH /users/${person.id}`, { email_verified: true }],
        ['POST /users', { email: 'new@example.com', role: 'admin' }],
        [`POST /users/${person.id}/password-reset`],
        [`GET /users/${person.id}/password-resets`],
        [`PATCH /users/${admin.id}`, { scopes: '' }],
        ['POST /keys/import', { keys: [] }],
        ['GET /keys?all=true'],
      ] as const) {
        const answer = await as(access, route, json)
        expect([route, answer.status]).toEqual([route, 403])
        if (!json) expect([route, (await as(admin.access, route)).status < 300]).toEqual([route, true])
      }
      const asked = await call(service, 'GET /forward-auth?role=admin', { bearer: access })
      expect(asked.status).toBe(403)
      const told = await call(service, 'GET /forward-auth', { bearer: access })
      expect([told.headers.get('x-auth-role'), told.headers.get('x-auth-scopes')]).toEqual(['user', scope])
      // The control: the token does what its scopes allow.
      expect((await as(access, 'GET /users')).status).toBe(200)
      expect((await as(access, 'GET /audit')).status).toBe(200)
      const ceiling = (scopes: string) => as(access, `PATCH /users/${person.id}`, { scopes })
      expect((await ceiling('read')).status).toBe(200)
      expectProblem(await ceiling('read write'), 'insufficient_scope')
      await as(admin.access, `PATCH /users/${person.id}`, { scopes: null })
    }
    expect((await call(service, 'GET /forward-auth?role=admin', { bearer: admin.access })).status).toBe(200)
  })

  test('cannot manage the sessions and service accounts of its user', async () => {
    const person = await addLoggedIn(service, sql)
    const { id } = await newClient(service, person.access, [])
    const victim = await logIn(person)
    const [low, byRefresh] = [await logIn(person, 'read'), await trade((await logIn(person)).refresh, 'read')]
    const { sid } = decodeJwt(victim.access)
    const routes: [string, Json?][] = [
      ['GET /auth/sessions'],
      [`DELETE /auth/sessions/${sid}`],
      ['GET /service-accounts'],
      [`GET /service-accounts/${id}`],
      ['POST /service-accounts', { name: 'mine' }],
      [`PATCH /service-accounts/${id}`, { name: 'mine' }],
      [`DELETE /service-accounts/${id}`],
      ['POST /auth/logout-all'],
    ]
    for (const [route, json] of routes)
      for (const { access } of [low, byRefresh]) {
        const answer = await as(access, route, json)
        expectProblem(answer, 'insufficient_scope')
        expect(answer.headers.get('www-authenticate')).toContain('error="insufficient_scope"')
      }
    expect(await isGood({ bearer: victim.access })).toBe(true)
    for (const [route, json] of routes) {
      const { status } = await as(person.access, route, json)
      expect([route, status < 300]).toEqual([route, true])
    }
  })

  test('stays narrowed after a new password', async () => {
    const person = await addLoggedIn(service, sql)
    const { access } = await logIn(person, 'read')
    const json = { current_password: PASSWORD, new_password: 'another passphrase of several words' }
    const { body } = await as(access, 'POST /auth/password', json)
    for (const token of [body.access_token, (await refresh(service, body.refresh_token)).body.access_token]) {
      expect((await as(token, 'GET /auth/me')).body.scopes).toEqual(['read'])
      expectProblem(await as(token, 'POST /keys', {}), 'insufficient_scope')
    }
  })
})

describe('a service account’s token that is revoked', () => {
  const ways: Record<string, (token: string, client: { id: string; secret: string }) => Promise<number>> = {
    'at /oauth/revoke': async (token) => (await revoke(token)).status,
    'at /oauth/revoke, by its client': async (token, client) => {
      const form = { token, token_type_hint: 'access_token' }
      const headers = basic(client.id, client.secret)
      return (await call(service, 'POST /oauth/revoke', { form, headers })).status
    },
    'at DELETE /keys/self': async (token) => (await as(token, 'DELETE /keys/self')).status,
  }
  test.each(Object.entries(ways))('%s ends alone, on every server, cached or not', async (name, end) => {
    const client = await newClient(service, user.access, ['read', 'write', KEYS_WRITE])
    const [token, unseen, sibling] = [
      await tokenOf(service, client, 'read'),
      await tokenOf(service, client),
      await tokenOf(service, client),
    ]
    for (const at of [service, other])
      for (const bearer of [token, sibling]) expect(await isGood({ bearer }, at)).toBe(true)
    for (const dead of [token, unseen])
      expect([name, await end(dead, client)]).toEqual([name, name.includes('self') ? 204 : 200])
    for (const bearer of [token, unseen]) {
      expectProblem(await as(bearer, 'GET /auth/me'), 'invalid_token')
      expect((await call(service, 'GET /forward-auth', { bearer })).status).toBe(401)
      const form = { token: bearer }
      expect((await call(service, 'POST /oauth/introspect', { form, bearer: admin.access })).body).toEqual({
        active: false,
      })
      expect((await as(admin.access, 'POST /keys/verify', { key: bearer })).body.code).not.toBe('VALID')
      await until(async () => !(await isGood({ bearer }, other)), 'the other server hears of it', 1000)
    }
    for (const at of [service, other]) {
      expect(await isGood({ bearer: sibling }, at)).toBe(true)
      expect(await isGood({ apiKey: client.secret }, at)).toBe(true)
    }
    expect(await isGood({ bearer: await tokenOf(service, client) })).toBe(true)
    // A second revocation is no error and has no audit row.
    expect((await revoke(token)).status).toBe(200)
    const events = await sql`SELECT action FROM latchkey.audit_events
      WHERE target_id = ${String(decodeJwt(token).jti)}`
    expect(events.map(({ action }) => action)).toEqual(['token.revoked'])
  })

  test('cannot finish a change that was under way', async () => {
    const client = await newClient(service, user.access, ['read', KEYS_WRITE])
    const token = await tokenOf(service, client)
    expect((await as(token, 'POST /keys', {})).status).toBe(201)
    const [making] = await Promise.all([as(token, 'POST /keys', {}), revoke(token)])
    const [{ made } = { made: 0 }] = await sql`SELECT count(*)::int AS made FROM latchkey.api_keys
      WHERE service_account_id = ${client.id} AND id <> ${client.keyId}`
    expect(made).toBe(making.status === 201 ? 2 : 1)
    expectProblem(await as(token, 'POST /keys', {}), 'invalid_token')
  })

  test('is forgotten after its expiry, and when its secret is deleted', async () => {
    const own = await startService()
    const at = connectTo(own)
    const maker = await addLoggedIn(own, at)
    const [stays, goes] = [await newClient(own, maker.access, []), await newClient(own, maker.access, [])]
    for (const client of [stays, goes])
      await call(own, 'POST /oauth/revoke', { form: { token: await tokenOf(own, client) } })
    const count = async () => (await at`SELECT count(*)::int AS n FROM latchkey.revoked_tokens`)[0]?.n
    expect(await count()).toBe(2)
    await call(own, `DELETE /service-accounts/${goes.id}`, { bearer: maker.access })
    expect(await count()).toBe(1)
    await deleteOutdated(own.context, { vacuums: false })
    expect(await count()).toBe(1)
    own.advance(32 * 60_000)
    await deleteOutdated(own.context, { vacuums: false })
    expect(await count()).toBe(0)
    await at.end()
    await own.stop()
  })
})

describe('an old secret of a rotation', () => {
  const ways: Record<string, (secret: string) => Promise<number>> = {
    'at /oauth/revoke': async (token) => (await revoke(token)).status,
    'at DELETE /keys/self': async (apiKey) => (await call(service, 'DELETE /keys/self', { apiKey })).status,
  }
  test.each(Object.entries(ways))('%s ends without the new secret', async (_, end) => {
    const { id, key } = await newKey(service, user.access, { scopes: 'read' })
    const { body } = await as(user.access, `POST /keys/${id}/rotate`, {})
    expect(await end(key)).toBeLessThan(300)
    expect([await isGood({ apiKey: key }), await isGood({ apiKey: body.key })]).toEqual([false, true])
    const listed = (await as(user.access, `GET /keys/${id}`)).body
    expect(listed).toMatchObject({ is_active: true, revoked_at: null, secrets: [{ expires_at: null }] })
    expect(await end(body.key)).toBeLessThan(300)
    expect(await isGood({ apiKey: body.key })).toBe(false)
  })

  test('keeps its expiry when the new secret ends itself at DELETE /keys/self', async () => {
    const { id, key } = await newKey(service, user.access, { scopes: 'read' })
    const { body } = await as(user.access, `POST /keys/${id}/rotate`, { overlap_seconds: 60 })
    await call(service, 'DELETE /keys/self', { apiKey: body.key })
    expect([await isGood({ apiKey: key }), await isGood({ apiKey: body.key })]).toEqual([true, false])
    const [secret, ...more] = (await as(user.access, `GET /keys/${id}`)).body.secrets
    expect(more).toEqual([])
    expect(secret.expires_at).toBe(body.secrets[0].expires_at)
  })
})

describe('a secret of a rotation is ended', () => {
  const prefixes = ['sk_', 'a23456789012345_']
  test.each(prefixes)(
    'by its id, or by a start that is long enough, with the prefix %s',
    async (apiKeyPrefix) => {
      const own = await startService({ apiKeyPrefix })
      const at = connectTo(own)
      const maker = await addLoggedIn(own, at)
      const rotated = async () => {
        const { id, key } = await newKey(own, maker.access, { scopes: 'read' })
        const json = { overlap_seconds: 60 }
        const { body } = await call(own, `POST /keys/${id}/rotate`, { bearer: maker.access, json })
        return { id, key, body, secrets: body.secrets as { id: string; start: string }[] }
      }
      const end = (id: string, name: string | undefined) =>
        call(own, `DELETE /keys/${id}/secrets/${name}`, { bearer: maker.access })
      for (const name of ['id', 'start'] as const) {
        const { id, key, body, secrets } = await rotated()
        expect(secrets.map(({ start }) => start)).toEqual([
          key.slice(0, apiKeyPrefix.length + 8),
          body.key.slice(0, apiKeyPrefix.length + 8),
        ])
        expect(body.start).toBe(secrets[1]?.start)
        expect(secrets[0]?.start).not.toBe(secrets[1]?.start)
        expect((await end(id, secrets[0]?.[name])).status).toBe(204)
        expect([await isGood({ apiKey: key }, own), await isGood({ apiKey: body.key }, own)]).toEqual([
          false,
          true,
        ])
      }
      const { id, key, body, secrets } = await rotated()
      // Earlier versions stored the start of keys with a long prefix so.
      await at`UPDATE latchkey.api_key_secrets SET start = ${apiKeyPrefix} WHERE key_id = ${id}`
      expectProblem(await end(id, apiKeyPrefix), 'conflict')
      expectProblem(await end(id, unknownId), 'not_found')
      expect([await isGood({ apiKey: key }, own), await isGood({ apiKey: body.key }, own)]).toEqual([
        true,
        true,
      ])
      expect((await end(id, secrets[0]?.id)).status).toBe(204)
      expect([await isGood({ apiKey: key }, own), await isGood({ apiKey: body.key }, own)]).toEqual([
        false,
        true,
      ])
      await at.end()
      await own.stop()
    },
  )

  test('only through its own key', async () => {
    const [one, two] = [await newKey(service, user.access), await newKey(service, user.access)]
    const { body } = await as(user.access, `POST /keys/${two.id}/rotate`, {})
    await as(user.access, `POST /keys/${one.id}/rotate`, {})
    for (const name of [body.secrets[0].id, body.secrets[0].start])
      expectProblem(await as(user.access, `DELETE /keys/${one.id}/secrets/${name}`), 'not_found')
    expect(await isGood({ apiKey: two.key })).toBe(true)
  })
})
