import { describe, expect, test } from 'bun:test'
import { decodeJwt } from 'jose'
import type postgres from 'postgres'
import { verifyCredential } from '../../src/core/verify/verify-credential.ts'
import {
  type App,
  addApi,
  addApp,
  addAtBrowser,
  askTokens,
  decide,
  newCode,
  newProof,
  open,
  placeOf,
  queryOf,
  refresh,
  requestOf,
  trade,
} from '../support/apps.ts'
import { call } from '../support/client.ts'
import { sendMeanwhile } from '../support/meanwhile.ts'
import { adminToken, basic, expectOAuthError, newClient } from '../support/oauth.ts'
import { beginSession, PASSWORD } from '../support/people.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService({ isIssuer: true })
const other = useService({}, service)
const sql = useSql(service)
const connections = { holder: useSql(service), watcher: sql }
const person = prepare(() => addAtBrowser(service, sql))
const api = prepare(() => addApi(sql))
const app = prepare(() => addApp(sql))
const NOTES = ['notes.read', 'notes.write']

const ask = (more = {}) => newCode(service, person, app, { resource: api.identifier, scopes: NOTES, ...more })
const isLive = async (token: string) => (await verifyCredential(service.context, token)).kind !== 'refused'

describe('a code is traded', () => {
  test('for tokens for the resource, of a session under the grant', async () => {
    const { status, body, headers } = await trade(service, app, await ask())
    expect(status).toBe(200)
    expect(headers.get('cache-control')).toBe('no-store')
    expect(Object.keys(body).sort()).toEqual([
      'access_token',
      'expires_in',
      'refresh_token',
      'scope',
      'token_type',
    ])
    expect(body.scope).toBe('notes.read notes.write')
    expect(body.expires_in).toBe(1800)
    const claims = decodeJwt(body.access_token)
    expect(claims).toMatchObject({
      aud: api.identifier,
      sub: person.id,
      client_id: app.clientId,
      scope: 'notes.read notes.write',
      amr: ['pwd'],
    })
    expect(claims).not.toHaveProperty('role')
    expect(claims).not.toHaveProperty('narrowed')
    const [session] = await sql`SELECT kind, scopes, amr, auth_time, identity_scopes,
        expires_at - created_at AS lasts, idle_expires_at - created_at AS idles
      FROM latchkey.sessions WHERE id = ${String(claims.sid)}`
    const [browser] =
      await sql`SELECT auth_time FROM latchkey.sessions WHERE user_id = ${person.id} AND kind = 'browser'`
    expect(session).toMatchObject({
      kind: 'client',
      scopes: NOTES,
      amr: ['pwd'],
      auth_time: browser?.auth_time,
    })
    expect([session?.lasts, session?.idles]).toEqual(['90 days', '7 days'])
    const principal = await verifyCredential(service.context, body.access_token)
    expect(principal).toMatchObject({ kind: 'client', userId: person.id, scopes: NOTES })
  })

  test('with the lifetime of the resource', async () => {
    const brief = await addApi(sql, { lifetime: 90 })
    const { body } = await trade(service, app, await ask({ resource: brief.identifier }))
    expect(body.expires_in).toBe(90)
  })

  test('without a refresh token where the client has no such grant', async () => {
    const once = await addApp(sql, { grants: ['authorization_code'] })
    const code = await newCode(service, person, once, { resource: api.identifier, scopes: NOTES })
    const { body } = await trade(service, once, code)
    expect(body.refresh_token).toBeUndefined()
    expect(await isLive(body.access_token)).toBe(true)
  })

  test('by a confidential client in either way, and by nobody else', async () => {
    const web = await addApp(sql, { kind: 'confidential' })
    const another = await addApp(sql, { kind: 'confidential' })
    const code = await newCode(service, person, web, { resource: api.identifier, scopes: NOTES })
    const form = {
      grant_type: 'authorization_code',
      code: code.code,
      redirect_uri: code.redirectUri,
      code_verifier: code.verifier,
    }
    for (const secret of [null, 'wrong', another.secret])
      expectOAuthError(await askTokens(service, { ...web, secret }, form), 401, 'invalid_client')
    expectOAuthError(await askTokens(service, another, form), 400, 'invalid_grant')
    const right = await call(service, 'POST /oauth/token', {
      form,
      headers: basic(web.clientId, web.secret ?? ''),
    })
    expect(right.status).toBe(200)
    const again = await newCode(service, person, web, { resource: api.identifier, scopes: NOTES })
    expect((await trade(service, web, again)).status).toBe(200)
    // A secret that is over.
    await sql`UPDATE latchkey.oauth_client_secrets SET expires_at = now() - interval '1 second' WHERE client_id = ${web.id}`
    expectOAuthError(await refresh(service, web, right.body.refresh_token), 401, 'invalid_client')
  })

  test('not by a public client that sends a secret, nor by a client that is not known', async () => {
    const code = await ask()
    expectOAuthError(await trade(service, { ...app, secret: 'cs_any' }, code), 401, 'invalid_client')
    expectOAuthError(
      await trade(service, { ...app, clientId: Bun.randomUUIDv7() }, code),
      401,
      'invalid_client',
    )
    expect((await trade(service, app, code)).status).toBe(200)
  })
})

describe('an app that was registered', () => {
  test('gets no token by a person’s password, nor one of its own', async () => {
    const form = { username: person.email, password: PASSWORD }
    const confidential = await addApp(sql, { kind: 'confidential' })
    const ours = await addApp(sql, { firstParty: true })
    for (const grant_type of ['password', 'client_credentials'])
      for (const each of [app, confidential, ours])
        expectOAuthError(await askTokens(service, each, { grant_type, ...form }), 400, 'unauthorized_client')
    const made = await sql`SELECT FROM latchkey.sessions WHERE user_id = ${person.id} AND kind = 'api'`
    // The controls: a request that names no app, and the documentation, which is built in.
    const nobody = await call(service, 'POST /oauth/token', { form: { grant_type: 'password', ...form } })
    expect(nobody.status).toBe(200)
    await open(service, queryOf({ clientId: 'latchkey-docs', redirectUri: '' }, newProof().challenge), person)
    const docs = { clientId: 'latchkey-docs', secret: null }
    expect((await askTokens(service, docs, { grant_type: 'password', ...form })).status).toBe(200)
    const after = await sql`SELECT FROM latchkey.sessions WHERE user_id = ${person.id} AND kind = 'api'`
    expect(after.length - made.length).toBe(2)
  })
})

describe('a person who has to set up a second factor since', () => {
  const strict = useService({ isIssuer: true, requireMfa: 'all' }, service)

  test('gives an app nothing for a code, which works once they have one', async () => {
    const someone = await addAtBrowser(service, sql)
    const code = await newCode(service, someone, app, { resource: api.identifier, scopes: NOTES })
    expectOAuthError(await trade(strict, app, code), 403, 'mfa_enrolment_required')
    const made = await sql`SELECT FROM latchkey.sessions WHERE user_id = ${someone.id} AND kind = 'client'`
    expect(made).toHaveLength(0)
    await sql`UPDATE latchkey.users SET has_second_factor = true WHERE id = ${someone.id}`
    expect((await trade(strict, app, code)).status).toBe(200)
  })

  test('keeps the sessions of apps from before, whose tokens are refused meanwhile', async () => {
    const someone = await addAtBrowser(service, sql)
    const code = await newCode(service, someone, app, { resource: api.identifier, scopes: NOTES })
    const { body } = await trade(service, app, code)
    const { status, body: next } = await refresh(strict, app, body.refresh_token)
    expect(status).toBe(200)
    const statusOf = async () =>
      (await call(strict, `GET /forward-auth?resource=${api.slug}`, { bearer: next.access_token })).status
    expect(await statusOf()).toBe(403)
    await sql`UPDATE latchkey.users SET has_second_factor = true WHERE id = ${someone.id}`
    await until(async () => (await statusOf()) === 200, 'the token is accepted')
  })
})

describe('what does not fit leaves the code as it is', () => {
  test('verifier, redirect URI, resource, client and a missing parameter', async () => {
    const code = await ask()
    const stranger = await addApp(sql)
    const wrong: [App, Record<string, string>][] = [
      [app, { code_verifier: newProof().verifier }],
      [app, { code_verifier: 'short' }],
      [app, { redirect_uri: 'https://app.example.com/other' }],
      [app, { resource: (await addApi(sql)).identifier }],
      [app, { code: `${code.code}x` }],
      [stranger, {}],
    ]
    for (const [client, form] of wrong)
      expectOAuthError(await trade(service, client, code, form), 400, 'invalid_grant')
    for (const name of ['code_verifier', 'redirect_uri', 'code'])
      expectOAuthError(await trade(service, app, code, { [name]: '' }), 400, 'invalid_request')
    expect((await trade(service, app, code, { resource: api.identifier })).status).toBe(200)
  })

  test('a repeated resource is no target', async () => {
    const raw = `grant_type=authorization_code&client_id=${app.clientId}&resource=a&resource=b`
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    expectOAuthError(await call(service, 'POST /oauth/token', { raw, headers }), 400, 'invalid_target')
  })

  test('a code is over after a minute, and with the browser session', async () => {
    const late = await ask()
    const orphan = await ask()
    const [{ id } = { id: '' }] =
      await sql`SELECT session_id AS id FROM latchkey.authorization_codes ORDER BY created_at DESC LIMIT 1`
    await sql`UPDATE latchkey.authorization_codes SET expires_at = now() WHERE id =
      (SELECT id FROM latchkey.authorization_codes ORDER BY created_at DESC OFFSET 1 LIMIT 1)`
    expectOAuthError(await trade(service, app, late), 400, 'invalid_grant')
    await sql`UPDATE latchkey.sessions SET ended_at = now() WHERE id = ${id}`
    expectOAuthError(await trade(service, app, orphan), 400, 'invalid_grant')
    await sql`UPDATE latchkey.sessions SET ended_at = NULL WHERE id = ${id}`
    expect((await trade(service, app, orphan)).status).toBe(200)
  })
})

describe('a second use', () => {
  test('ends the session that the first made, and no other', async () => {
    const kept = await trade(service, app, await ask())
    const code = await ask()
    const first = await trade(service, app, code)
    expect(await isLive(first.body.access_token)).toBe(true)
    // A client that lacks the proof ends nothing.
    await trade(service, app, code, { code_verifier: newProof().verifier })
    expect(await isLive(first.body.access_token)).toBe(true)
    expectOAuthError(await trade(service, app, code), 400, 'invalid_grant')
    expect(await isLive(first.body.access_token)).toBe(false)
    expectOAuthError(await refresh(service, app, first.body.refresh_token), 400, 'invalid_grant')
    expect(await isLive(kept.body.access_token)).toBe(true)
    const { sid = '' } = decodeJwt(first.body.access_token) as { sid?: string }
    const [event] = await sql`SELECT actor_type, actor_id, details FROM latchkey.audit_events
      WHERE action = 'session.reused' AND target_id = ${sid}`
    expect(event).toMatchObject({
      actor_type: 'client',
      actor_id: app.id,
      details: { user_id: person.id, reason: 'code' },
    })
  })

  test('at the same moment, too', async () => {
    const code = await ask()
    const answers = await Promise.all([service, other, service, other].map((at) => trade(at, app, code)))
    const good = answers.filter(({ status }) => status === 200)
    expect(good).toHaveLength(1)
    expect(await isLive(good[0]?.body.access_token)).toBe(false)
  })
})

describe('a code', () => {
  test.each<[string, string, (tx: postgres.TransactionSql, mine: App, grant: string) => Promise<unknown>]>([
    [
      'its app is deleted',
      'invalid_grant',
      (tx, { id }) => tx`DELETE FROM latchkey.oauth_clients WHERE id = ${id}`,
    ],
    [
      'its app is disabled',
      'invalid_grant',
      (tx, { id }) => tx`UPDATE latchkey.oauth_clients SET is_active = false WHERE id = ${id}`,
    ],
    [
      'its grant ends',
      'invalid_grant',
      (tx, _, grant) => tx`DELETE FROM latchkey.oauth_grants WHERE id = ${grant}`,
    ],
  ])('gives nothing where at the same moment %s', async (_, error, end) => {
    const mine = await addApp(sql)
    const code = await newCode(service, person, mine, { resource: api.identifier, scopes: NOTES })
    const [grant] = await sql`SELECT id FROM latchkey.oauth_grants WHERE client_id = ${mine.id}`
    const answer = await sendMeanwhile(connections, {
      work: (tx) => end(tx, mine, grant?.id),
      send: () => trade(service, mine, code),
    })
    expectOAuthError(answer, 400, error)
    const made =
      await sql`SELECT FROM latchkey.sessions WHERE user_id = ${person.id} AND grant_id = ${grant?.id}`
    expect(made).toHaveLength(0)
  })
})

describe('a refresh', () => {
  const begin = async () => (await trade(service, app, await ask())).body

  test('gives the next pair for the same resource, and a token of before ends the session', async () => {
    const first = await begin()
    const { status, body } = await refresh(service, app, first.refresh_token)
    expect(status).toBe(200)
    expect(decodeJwt(body.access_token)).toMatchObject({
      aud: api.identifier,
      scope: 'notes.read notes.write',
    })
    expect(decodeJwt(body.access_token)).not.toHaveProperty('role')
    expect((await refresh(service, app, first.refresh_token)).body.refresh_token).toBe(body.refresh_token)
    service.advance(11_000)
    expectOAuthError(await refresh(service, app, first.refresh_token), 400, 'invalid_grant')
    expect(await isLive(body.access_token)).toBe(false)
    expectOAuthError(await refresh(service, app, body.refresh_token), 400, 'invalid_grant')
    service.advance(-11_000)
  })

  test('narrows the access token, never widens it, and keeps the session', async () => {
    const first = await begin()
    const narrow = await refresh(service, app, first.refresh_token, { scope: 'notes.read' })
    expect(narrow.body.scope).toBe('notes.read')
    expect(await verifyCredential(service.context, narrow.body.access_token)).toMatchObject({
      scopes: ['notes.read'],
    })
    for (const scope of ['notes.purge', 'notes.read notes.purge', 'openid', 'latchkey:keys.read'])
      expectOAuthError(
        await refresh(service, app, narrow.body.refresh_token, { scope }),
        400,
        'invalid_scope',
      )
    const whole = await refresh(service, app, narrow.body.refresh_token)
    expect(whole.body.scope).toBe('notes.read notes.write')
  })

  test('is for the same resource alone', async () => {
    const { refresh_token } = await begin()
    const resource = (await addApi(sql)).identifier
    expectOAuthError(await refresh(service, app, refresh_token, { resource }), 400, 'invalid_target')
    expect((await refresh(service, app, refresh_token, { resource: api.identifier })).status).toBe(200)
  })

  test('is the client’s alone', async () => {
    const { refresh_token } = await begin()
    expectOAuthError(await refresh(service, await addApp(sql), refresh_token), 400, 'invalid_grant')
    const form = { grant_type: 'refresh_token', refresh_token }
    expectOAuthError(await call(service, 'POST /oauth/token', { form }), 401, 'invalid_client')
    const account = await newClient(service, await adminToken(service))
    const headers = basic(account.id, account.secret)
    expectOAuthError(await call(service, 'POST /oauth/token', { form, headers }), 401, 'invalid_client')
    const plain = await call(service, 'POST /auth/refresh', { json: { refresh_token } })
    expect(plain.body.code).toBe('invalid_token')
    expect((await refresh(service, app, refresh_token)).status).toBe(200)
  })

  test('of a person’s own session is not the client’s', async () => {
    const tokens = await beginSession(service, person)
    expectOAuthError(await refresh(service, app, tokens.refresh), 400, 'invalid_grant')
    const own = { grant_type: 'refresh_token', refresh_token: tokens.refresh }
    expect((await call(service, 'POST /oauth/token', { form: own })).status).toBe(200)
  })

  test('takes what client, resource and person are now', async () => {
    const mine = await addApi(sql)
    const web = await addApp(sql)
    const code = await newCode(service, person, web, { resource: mine.identifier, scopes: NOTES })
    const { body } = await trade(service, web, code)
    await sql`UPDATE latchkey.oauth_clients SET scopes = '{notes.read}' WHERE id = ${web.id}`
    const lowered = await refresh(service, web, body.refresh_token)
    expect(lowered.body.scope).toBe('notes.read')
    await sql`UPDATE latchkey.oauth_clients SET scopes = '{else}' WHERE id = ${web.id}`
    expectOAuthError(await refresh(service, web, lowered.body.refresh_token), 400, 'access_denied')
    await sql`UPDATE latchkey.oauth_clients SET scopes = NULL, grants = '{authorization_code}' WHERE id = ${web.id}`
    expectOAuthError(await refresh(service, web, lowered.body.refresh_token), 400, 'unauthorized_client')
    await sql`UPDATE latchkey.oauth_clients SET grants = '{refresh_token}' WHERE id = ${web.id}`
    await sql`UPDATE latchkey.resources SET is_active = false WHERE id = ${mine.id}`
    expectOAuthError(await refresh(service, web, lowered.body.refresh_token), 400, 'invalid_target')
    await sql`UPDATE latchkey.resources SET is_active = true WHERE id = ${mine.id}`
    expect((await refresh(service, web, lowered.body.refresh_token)).status).toBe(200)
    await sql`UPDATE latchkey.oauth_clients SET is_active = false WHERE id = ${web.id}`
    expectOAuthError(await refresh(service, web, lowered.body.refresh_token), 401, 'invalid_client')
  })
})

describe('an app of ours', () => {
  const beginOurs = async (more: Parameters<typeof addApp>[1] = {}) => {
    const ours = await addApp(sql, { firstParty: true, ...more })
    return { ours, tokens: (await trade(service, ours, await newCode(service, person, ours))).body }
  }

  test('is limited at once where its scopes are lowered, by the tokens that it has', async () => {
    const { ours, tokens } = await beginOurs()
    const me = () => call(service, 'GET /auth/sessions', { bearer: tokens.access_token })
    expect((await me()).status).toBe(200)
    await sql`UPDATE latchkey.oauth_clients SET scopes = '{read}' WHERE id = ${ours.id}`
    await until(async () => (await me()).status === 403, 'the token is narrowed')
    expect(await verifyCredential(service.context, tokens.access_token)).toMatchObject({
      kind: 'user',
      scopes: ['read'],
      claims: { isNarrowed: true },
    })
    const next = await refresh(service, ours, tokens.refresh_token)
    expect(next.body.scope).toBe('read')
  })

  test('gets no token that names a scope which the person does not have', async () => {
    const { ours, tokens } = await beginOurs()
    for (const scope of ['latchkey:users.write', 'read billing:close'])
      expectOAuthError(await refresh(service, ours, tokens.refresh_token, { scope }), 400, 'invalid_scope')
    const narrow = await refresh(service, ours, tokens.refresh_token, { scope: 'read' })
    expect(decodeJwt(narrow.body.access_token)).toMatchObject({ scope: 'read', narrowed: true })
  })

  test('that is no longer ours gets nothing for a code, nor for an answer of its person', async () => {
    const redirectUris = ['http://127.0.0.1/cb']
    const ours = await addApp(sql, { firstParty: true, redirectUris })
    const { challenge } = newProof()
    const code = await newCode(service, person, ours)
    const page = await open(service, queryOf(ours, challenge), person)
    const set = (isOurs: boolean) =>
      sql`UPDATE latchkey.oauth_clients SET first_party = ${isOurs} WHERE id = ${ours.id}`
    await set(false)
    expectOAuthError(await trade(service, ours, code), 400, 'invalid_grant')
    const refused = await decide(service, person, requestOf(page))
    expect(refused.text).not.toContain('code=')
    await set(true)
    expect((await trade(service, ours, code)).status).toBe(200)
    expect(placeOf(await decide(service, person, requestOf(page))).searchParams.get('code')).toBeString()
  })

  test('that asks for scopes which the person does not have never gets all that they have', async () => {
    const ours = await addApp(sql, { firstParty: true, redirectUris: ['http://127.0.0.1/cb'] })
    const { challenge } = newProof()
    const asking = (scope: string) => open(service, queryOf(ours, challenge, { scope }), person)
    expect(placeOf(await asking('openid notes.purge')).searchParams.get('error')).toBe('access_denied')
    const some = await asking('openid read notes.purge')
    expect(some.text).not.toContain('Do everything')
    expect(some.text).toContain('name="scope.read"')
    expect((await asking('openid')).text).toContain('Do everything')
    await sql`UPDATE latchkey.oauth_clients SET scopes = '{notes.purge}' WHERE id = ${ours.id}`
    expect((await asking('openid')).text).not.toContain('Do everything')
  })
})

test('a token for userinfo that was narrowed says no more than it names', async () => {
  const mine = await addApp(sql)
  const code = await newCode(service, person, mine, { scope: 'openid email' })
  const { body } = await trade(service, mine, code)
  const ask = async (bearer: string) => (await call(service, 'GET /oauth/userinfo', { bearer })).body
  expect(await ask(body.access_token)).toHaveProperty('email')
  const narrow = await refresh(service, mine, body.refresh_token, { scope: 'openid' })
  expect(narrow.body.scope).toBe('openid')
  expect(await ask(narrow.body.access_token)).toEqual({ sub: person.id })
})

test('the audit trail says which app was refused, and of which person', async () => {
  const [mine, stranger] = [await addApp(sql, { name: 'Mine' }), await addApp(sql, { name: 'Stranger' })]
  const secretive = await addApp(sql, { kind: 'confidential', name: 'Secretive' })
  const code = await newCode(service, person, mine, { resource: api.identifier, scopes: NOTES })
  const { body } = await trade(service, mine, code)
  const [grant] = await sql`SELECT id FROM latchkey.oauth_grants WHERE client_id = ${mine.id}`
  const parties = { user_id: person.id, grant_id: grant?.id }
  const refusalsOf = async (action: object) => [
    ...(await sql`SELECT actor_type, actor_id, details FROM latchkey.audit_events
      WHERE action = 'token.refused' AND details @> ${sql.json(action as never)}`),
  ]
  const expectRow = async (by: App, reason: string, grant_type: string) => {
    const details = { reason, grant_type, client_id: by.id, ...parties }
    expect(await refusalsOf(details)).toEqual([
      { actor_type: 'client', actor_id: by.id, details: expect.objectContaining(details) },
    ])
  }
  expect((await trade(service, stranger, code)).status).toBe(400)
  await expectRow(stranger, 'invalid_token', 'authorization_code')
  expect((await refresh(service, mine, body.refresh_token, { scope: 'notes.purge' })).status).toBe(400)
  await expectRow(mine, 'invalid_scope', 'refresh_token')
  // One that did not prove itself is named, and is no actor.
  const form = { grant_type: 'refresh_token', refresh_token: body.refresh_token }
  expect((await askTokens(service, { ...secretive, secret: 'cs_x' }, form)).status).toBe(401)
  const details = { reason: 'invalid_client', client_id: secretive.id, client_name: 'Secretive' }
  expect(await refusalsOf(details)).toEqual([expect.objectContaining({ actor_id: null })])
  // A text of the sender's does not stand there.
  const unknown = await askTokens(service, mine, { grant_type: 'made-up' })
  expect(unknown.body.error).toBe('unsupported_grant_type')
  const [row] = await refusalsOf({ reason: 'unsupported_grant_type', client_id: mine.id })
  expect(row?.actor_id).toBe(mine.id)
  expect(JSON.stringify(row)).not.toContain('made-up')
})

test('an app that revokes a token of its own is the actor in the audit trail', async () => {
  for (const name of ['access_token', 'refresh_token']) {
    const { body } = await trade(service, app, await ask())
    const { sid } = decodeJwt(body.access_token)
    const form = { token: body[name], client_id: app.clientId }
    expect((await call(service, 'POST /oauth/revoke', { form })).status).toBe(200)
    expect(await isLive(body.access_token)).toBe(false)
    const events = await sql`SELECT action, actor_type, actor_id FROM latchkey.audit_events
      WHERE target_id = ${String(sid)}`
    expect([name, ...events]).toEqual([
      name,
      { action: 'session.ended', actor_type: 'client', actor_id: app.id },
    ])
  }
})

test('of a grant a hundred sessions live, and the oldest ends', async () => {
  const web = await addApp(sql)
  const first = (await trade(service, web, await newCode(service, person, web, { resource: api.identifier })))
    .body
  const { sid } = decodeJwt(first.access_token) as { sid: string }
  await sql`INSERT INTO latchkey.sessions (id, user_id, salt, kind, grant_id, scopes, created_at, rotated_at, idle_expires_at, expires_at)
    SELECT gen_random_uuid(), user_id, salt, kind, grant_id, scopes, created_at + interval '1 second', now(), idle_expires_at, expires_at
    FROM latchkey.sessions, generate_series(1, 99) WHERE id = ${sid}`
  expect(await isLive(first.access_token)).toBe(true)
  await trade(service, web, await newCode(service, person, web, { resource: api.identifier }))
  expect(await isLive(first.access_token)).toBe(false)
})

test('a log-out ends no session of an app', async () => {
  const { access_token, refresh_token } = (await trade(service, app, await ask())).body
  await call(service, 'POST /auth/logout', { json: { refresh_token } })
  await call(service, 'POST /auth/logout', { bearer: access_token })
  expect(await isLive(access_token)).toBe(true)
  const { access } = await beginSession(service, person)
  expect((await call(service, 'POST /auth/logout-all', { bearer: access })).status).toBe(204)
  expect(await isLive(access_token)).toBe(false)
})
