import { describe, expect, test } from 'bun:test'
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose'
import { type App, addApi, addApp, addAtBrowser, newCode, refresh, trade } from '../support/apps.ts'
import { ask } from '../support/browser.ts'
import { type Answer, call } from '../support/client.ts'
import { beginSession } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService({ isIssuer: true })
const sql = useSql(service)
const person = prepare(() => addAtBrowser(service, sql))
const app = prepare(() => addApp(sql))

const OPENID = ['openid', 'email', 'profile']

/** What an app gets that asks who the person is. */
async function signInTo(client: App, more: Parameters<typeof newCode>[3] = {}, someone = person) {
  const code = await newCode(service, someone, client, { scopes: OPENID, ...more })
  const { status, body, text } = await trade(service, client, code)
  if (status !== 200) throw new Error(`No tokens: ${status} ${text}`)
  return body
}

describe('the ID token', () => {
  test('says to one app who the person is, when and how they proved it, and which request it answers', async () => {
    const { id_token, scope, refresh_token } = await signInTo(app, { nonce: 'n-0nce' })
    expect(scope).toBe('openid email profile')
    const [browser] =
      await sql`SELECT auth_time FROM latchkey.sessions WHERE user_id = ${person.id} AND kind = 'browser'`
    const claims = decodeJwt(id_token)
    expect(claims).toEqual({
      iss: service.url,
      aud: app.clientId,
      sub: person.id,
      iat: expect.any(Number),
      exp: expect.any(Number),
      nonce: 'n-0nce',
      auth_time: Math.floor(browser?.auth_time.getTime() / 1000),
      amr: ['pwd'],
      email: person.email,
      email_verified: false,
    })
    // The e-mail address goes only with its scope, and the nonce only where the app sent one.
    const bare = decodeJwt((await signInTo(app, { scopes: ['openid'] })).id_token)
    expect(Object.keys(bare).sort()).toEqual(['amr', 'aud', 'auth_time', 'exp', 'iat', 'iss', 'sub'])
    // `sub` is alike for every app, `aud` is not.
    const other = await addApp(sql, { kind: 'confidential' })
    expect(decodeJwt((await signInTo(other)).id_token)).toMatchObject({
      sub: person.id,
      aud: other.clientId,
    })
    // A refresh gives no ID token: the person did not sign in anew.
    expect((await refresh(service, app, refresh_token)).body.id_token).toBeUndefined()
  })

  test('says of a verified address that it is, and stands beside a token for a resource', async () => {
    const someone = await addAtBrowser(service, sql)
    await sql`UPDATE latchkey.users SET email_verified = true WHERE id = ${someone.id}`
    const api = await addApi(sql)
    const scopes = ['openid', 'email', 'notes.read']
    const body = await signInTo(app, { resource: api.identifier, scopes }, someone)
    expect(decodeJwt(body.id_token)).toMatchObject({ aud: app.clientId, email_verified: true })
    expect(decodeJwt(body.access_token)).toMatchObject({ aud: api.identifier, scope: 'notes.read' })
    const plain = await signInTo(app, { resource: api.identifier, scopes: ['notes.read'] }, someone)
    expect(plain.id_token).toBeUndefined()
  })

  test('is no access token, anywhere', async () => {
    const { id_token, access_token } = await signInTo(app)
    expectProblem(await call(service, 'GET /oauth/userinfo', { bearer: id_token }), 'invalid_token')
    expectProblem(await call(service, 'GET /auth/me', { bearer: id_token }), 'invalid_token')
    expect((await call(service, 'GET /oauth/userinfo', { bearer: access_token })).status).toBe(200)
  })
})

describe.each(['RS256', 'ES256', 'EdDSA'] as const)('with %s', (algorithm) => {
  const signing = useService({ isIssuer: true, algorithm })
  const rows = useSql(signing)

  test('the published key verifies the ID token, and an altered one fails', async () => {
    const [client, someone] = [await addApp(rows), await addAtBrowser(signing, rows)]
    const code = await newCode(signing, someone, client, { scopes: OPENID, nonce: 'n' })
    const { id_token } = (await trade(signing, client, code)).body
    const { body: metadata } = await call(signing, 'GET /.well-known/openid-configuration')
    expect(metadata.id_token_signing_alg_values_supported).toEqual([algorithm])
    expect(decodeProtectedHeader(id_token)).toMatchObject({ alg: algorithm, kid: expect.any(String) })
    const keys = createRemoteJWKSet(new URL(metadata.jwks_uri))
    const expected = { issuer: metadata.issuer, audience: client.clientId, algorithms: [algorithm] }
    expect((await jwtVerify(id_token, keys, expected)).payload).toMatchObject({ sub: someone.id, nonce: 'n' })
    const [header, , signature] = id_token.split('.')
    const forged = Buffer.from(JSON.stringify({ ...decodeJwt(id_token), sub: client.id })).toString(
      'base64url',
    )
    await expect(jwtVerify(`${header}.${forged}.${signature}`, keys, expected)).rejects.toThrow()
    await expect(jwtVerify(id_token, keys, { ...expected, audience: 'another' })).rejects.toThrow()
  })
})

describe('userinfo', () => {
  const askFor = (bearer: string, method = 'GET') => call(service, `${method} /oauth/userinfo`, { bearer })

  test('says by GET and POST who the person is, as far as the scopes go', async () => {
    const { access_token } = await signInTo(app)
    expect(decodeJwt(access_token)).toMatchObject({ aud: `${service.url}/oauth/userinfo` })
    const whole = {
      sub: person.id,
      email: person.email,
      email_verified: false,
      updated_at: expect.any(Number),
    }
    for (const method of ['GET', 'POST']) {
      const { status, body } = await askFor(access_token, method)
      expect({ status, body }).toEqual({ status: 200, body: whole })
    }
    const bare = await signInTo(app, { scopes: ['openid'] })
    expect((await askFor(bare.access_token)).body).toEqual({ sub: person.id })
  })

  test('answers a first-party app’s token with openid, and refuses one without', async () => {
    const ours = await addApp(sql, { firstParty: true })
    const { access_token } = await signInTo(ours, { scopes: ['openid', 'email'] })
    expect(decodeJwt(access_token)).toMatchObject({ aud: service.config.jwtAudience })
    expect((await askFor(access_token)).body).toMatchObject({ sub: person.id, email: person.email })
    const without = await trade(service, ours, await newCode(service, person, ours))
    const refused = await askFor(without.body.access_token)
    expectProblem(refused, 'insufficient_scope')
    expect(refused.headers.get('www-authenticate')).toContain('error="insufficient_scope", scope="openid"')
  })

  test('refuses tokens that were made for something else, and a request without one', async () => {
    const api = await addApi(sql)
    const scopes = ['openid', 'notes.read']
    const ofResource = await signInTo(app, { resource: api.identifier, scopes })
    const own = await beginSession(service, person)
    for (const token of [ofResource.access_token, own.access])
      for (const method of ['GET', 'POST']) {
        const refused = await askFor(token, method)
        expectProblem(refused, 'invalid_token')
        expect(refused.headers.get('www-authenticate')).toStartWith('Bearer')
      }
    expect((await call(service, 'GET /oauth/userinfo')).status).toBe(401)
    // A token of userinfo opens no other route of Latchkey.
    const { access_token } = await signInTo(app)
    expectProblem(await call(service, 'GET /auth/me', { bearer: access_token }), 'wrong_credential_kind')
  })

  test('says what is wrong as RFC 6750 does', async () => {
    const challengeOf = async (options: Parameters<typeof call>[2]) => {
      const { status, headers } = await call(service, 'GET /oauth/userinfo', options)
      return `${status} ${headers.get('www-authenticate')}`
    }
    const { access_token: bearer } = await signInTo(app)
    expect(await challengeOf({})).toBe('401 Bearer realm="latchkey"')
    expect(await challengeOf({ bearer: `${bearer}x` })).toBe(
      '401 Bearer realm="latchkey", error="invalid_token"',
    )
    expect(await challengeOf({ bearer, apiKey: 'sk_x' })).toBe(
      '400 Bearer realm="latchkey", error="invalid_request"',
    )
    // The control.
    expect(await challengeOf({ bearer })).toBe('200 null')
  })

  test('forgets nobody late: a grant that ended, and a person who was disabled, are refused at once', async () => {
    const someone = await addAtBrowser(service, sql)
    const { access_token } = await signInTo(app, {}, someone)
    expect((await askFor(access_token)).status).toBe(200)
    const { access: bearer } = await beginSession(service, someone)
    const { body } = await call(service, 'GET /auth/grants', { bearer })
    expect((await call(service, `DELETE /auth/grants/${body.items[0].id}`, { bearer })).status).toBe(204)
    expectProblem(await askFor(access_token), 'invalid_token')
  })
})

describe('the metadata', () => {
  test('of OpenID Connect is that of RFC 8414, and each address in it answers', async () => {
    const openid = await call(service, 'GET /.well-known/openid-configuration')
    const oauth = await call(service, 'GET /.well-known/oauth-authorization-server')
    expect([openid.status, openid.headers.get('cache-control')]).toEqual([200, 'public, max-age=300'])
    expect(openid.body).toEqual(oauth.body)
    expect(openid.body).toMatchObject({
      issuer: service.url,
      authorization_endpoint: `${service.url}/oauth/authorize`,
      userinfo_endpoint: `${service.url}/oauth/userinfo`,
      end_session_endpoint: `${service.url}/oauth/logout`,
      response_types_supported: ['code'],
      code_challenge_methods_supported: ['S256'],
      authorization_response_iss_parameter_supported: true,
      subject_types_supported: ['public'],
      scopes_supported: expect.arrayContaining(['openid', 'email', 'profile', 'offline_access']),
      grant_types_supported: expect.arrayContaining(['authorization_code', 'refresh_token']),
    })
    const status = async (name: string) =>
      (await call(service, `GET ${new URL(openid.body[name]).pathname}`)).status
    expect(await status('authorization_endpoint')).toBe(400)
    expect(await status('userinfo_endpoint')).toBe(401)
    expect(await status('end_session_endpoint')).toBe(303)
    expect(await status('jwks_uri')).toBe(200)
  })

  test('with HS256 is as before, and the new routes do not exist', async () => {
    const shared = await startService({ algorithm: 'HS256', isIssuer: true })
    try {
      for (const route of [
        'GET /.well-known/openid-configuration',
        'GET /oauth/userinfo',
        'POST /oauth/userinfo',
        'GET /oauth/logout',
        'POST /oauth/logout',
      ])
        expect(`${route} ${(await call(shared, route)).status}`).toBe(`${route} 404`)
      const { body } = await call(shared, 'GET /.well-known/oauth-authorization-server')
      expect(body.response_types_supported).toEqual([])
      for (const name of ['authorization_endpoint', 'userinfo_endpoint', 'end_session_endpoint'])
        expect(body).not.toHaveProperty(name)
    } finally {
      await shared.stop()
    }
  })
})

describe('signing out at the request of an app', () => {
  const BACK = 'https://app.example.com/bye?from=app'

  /** A person who is signed in, with the ID token of an app that may send them to `BACK`. */
  async function signedIn() {
    const someone = await addAtBrowser(service, sql)
    const client = await addApp(sql)
    await sql`UPDATE latchkey.oauth_clients SET post_logout_redirect_uris = ${[BACK]} WHERE id = ${client.id}`
    return { someone, client, tokens: await signInTo(client, {}, someone) }
  }
  const leave = (cookie: string | null, more: Record<string, string>): Promise<Answer> =>
    call(service, `GET /oauth/logout?${new URLSearchParams(more)}`, {
      headers: { 'sec-fetch-site': 'cross-site', ...(cookie !== null && { cookie }) },
    })
  /** Whether a browser is still signed in. */
  const isHere = async (cookie: string) =>
    (await ask(service, 'POST /session/token', { headers: { cookie }, json: {} })).status === 200

  test('ends the browser session, keeps the app’s own, and returns with the state', async () => {
    const { someone, tokens } = await signedIn()
    expect(await isHere(someone.cookie)).toBe(true)
    const answer = await leave(someone.cookie, {
      id_token_hint: tokens.id_token,
      post_logout_redirect_uri: BACK,
      state: 's t&4te',
    })
    expect(answer.status).toBe(302)
    const place = new URL(answer.headers.get('location') ?? '')
    expect(place.origin + place.pathname).toBe('https://app.example.com/bye')
    expect([...place.searchParams]).toEqual([
      ['from', 'app'],
      ['state', 's t&4te'],
    ])
    expect(answer.headers.get('set-cookie')).toMatch(/Max-Age=0/i)
    expect(await isHere(someone.cookie)).toBe(false)
    expect((await call(service, 'GET /oauth/userinfo', { bearer: tokens.access_token })).status).toBe(200)
  })

  test('takes an ID token that has expired, as apps keep them', async () => {
    const { someone, tokens } = await signedIn()
    service.advance(2 * 3_600_000)
    try {
      const hint = { id_token_hint: tokens.id_token, post_logout_redirect_uri: BACK }
      const answer = await leave(someone.cookie, hint)
      expect([answer.status, answer.headers.get('location')]).toEqual([302, BACK])
    } finally {
      service.advance(-2 * 3_600_000)
    }
  })

  test('asks the person where the app does not prove that it speaks of them, or names a place that is not its own', async () => {
    const { someone, client, tokens } = await signedIn()
    const stranger = await signedIn()
    const good = { id_token_hint: tokens.id_token, post_logout_redirect_uri: BACK }
    const [header, payload] = tokens.id_token.split('.')
    const wrong: [string, Record<string, string>][] = [
      ["another person's hint", { ...good, id_token_hint: stranger.tokens.id_token }],
      ['an access token', { ...good, id_token_hint: tokens.access_token }],
      ['a forged hint', { ...good, id_token_hint: `${header}.${payload}.${'A'.repeat(86)}` }],
      ['no hint', { post_logout_redirect_uri: BACK, client_id: client.clientId }],
      ['no place', { id_token_hint: tokens.id_token }],
      ['a foreign place', { ...good, post_logout_redirect_uri: 'https://evil.example.com/' }],
      ['a longer place', { ...good, post_logout_redirect_uri: `${BACK}/` }],
      ['a script', { ...good, post_logout_redirect_uri: 'javascript:alert(1)' }],
    ]
    for (const [what, query] of wrong) {
      const answer = await leave(someone.cookie, { ...query, state: 'x' })
      expect(`${what} ${answer.status} ${answer.headers.get('location')}`).toBe(`${what} 200 null`)
      expect(answer.text).toContain('Sign out?')
      expect(answer.text).not.toContain('evil.example.com')
    }
    await sql`UPDATE latchkey.oauth_clients SET is_active = false WHERE id = ${client.id}`
    expect((await leave(someone.cookie, good)).status).toBe(200)
    await sql`UPDATE latchkey.oauth_clients SET is_active = true WHERE id = ${client.id}`
    const repeated = `GET /oauth/logout?${new URLSearchParams(good)}&post_logout_redirect_uri=https://evil.example.com/`
    const twice = await call(service, repeated, { headers: { cookie: someone.cookie } })
    expect([twice.status, twice.headers.get('location')]).toEqual([200, null])
    expect(await isHere(someone.cookie)).toBe(true)
    // The positive control.
    expect((await leave(someone.cookie, good)).status).toBe(302)
  })

  test('by client_id: the page asks, and the last page offers the way back to a registered place', async () => {
    const { someone, client } = await signedIn()
    const asked = { client_id: client.clientId, post_logout_redirect_uri: BACK, state: '"><b>' }
    const page = await leave(someone.cookie, asked)
    expect([page.status, page.headers.get('location')]).toEqual([200, null])
    const [, action = ''] = /<form method="post" action="([^"]+)"/.exec(page.text) ?? []
    const headers = { cookie: someone.cookie }
    const done = await ask(service, `POST ${action.replaceAll('&amp;', '&')}`, { headers })
    expect(done.status).toBe(303)
    expect(await isHere(someone.cookie)).toBe(false)
    const last = await call(service, `GET ${done.headers.get('location')}`)
    expect(last.text).toContain('href="https://app.example.com/bye?from=app&amp;state=%22%3E%3Cb%3E"')
    expect(last.text).toContain('Back to Notebook')
    // So does the last page at once, where no person is signed in.
    const away = await leave(null, asked)
    expect([away.status, away.headers.get('location')]).toEqual([303, done.headers.get('location')])
  })

  test('offers no way to a place that the named client did not register, nor for a client that another hint is of', async () => {
    const { client, tokens } = await signedIn()
    const stranger = await addApp(sql)
    const good = { client_id: client.clientId, post_logout_redirect_uri: BACK }
    const linkOf = async (query: Record<string, string>) =>
      (await call(service, `GET /logged-out?${new URLSearchParams(query)}`)).text.includes('Back to')
    expect(await linkOf(good)).toBe(true)
    const foreign = { ...good, post_logout_redirect_uri: 'https://evil.example.com/' }
    for (const query of [foreign, { ...good, client_id: stranger.clientId }, { ...good, client_id: 'x\0' }])
      expect(await linkOf(query)).toBe(false)
    for (const query of [
      { ...good, client_id: stranger.clientId, id_token_hint: tokens.id_token },
      { ...good, id_token_hint: 'none' },
      foreign,
    ])
      expect((await leave(null, query)).headers.get('location')).toBe('/logged-out')
    await sql`UPDATE latchkey.oauth_clients SET is_active = false WHERE id = ${client.id}`
    expect(await linkOf(good)).toBe(false)
  })

  test('with a hint, client_id must be that of the ID token', async () => {
    const { someone, client, tokens } = await signedIn()
    const other = await addApp(sql)
    await sql`UPDATE latchkey.oauth_clients SET post_logout_redirect_uris = ${[BACK]} WHERE id = ${other.id}`
    const hint = { id_token_hint: tokens.id_token, post_logout_redirect_uri: BACK }
    expect((await leave(someone.cookie, { ...hint, client_id: other.clientId })).status).toBe(200)
    expect(await isHere(someone.cookie)).toBe(true)
    const { status, headers } = await leave(someone.cookie, { ...hint, client_id: client.clientId })
    expect([status, headers.get('location')]).toEqual([302, BACK])
  })

  test('a POST without a form is as GET without parameters', async () => {
    const { someone } = await signedIn()
    for (const headers of [{}, { cookie: someone.cookie, 'sec-fetch-site': 'cross-site' }]) {
      const answer = await call(service, 'POST /oauth/logout', { headers })
      expect([answer.status, answer.headers.get('location')]).toEqual([303, '/oauth/logout'])
    }
    expect(await isHere(someone.cookie)).toBe(true)
    const typed = await call(service, 'POST /oauth/logout', { json: { state: 'x' } })
    expect(typed.status).toBe(415)
  })

  test('leads nowhere foreign where nobody is signed in', async () => {
    const { tokens } = await signedIn()
    const answer = await leave(null, {
      id_token_hint: tokens.id_token,
      post_logout_redirect_uri: 'https://evil.example.com/',
    })
    expect([answer.status, answer.headers.get('location')]).toEqual([303, '/logged-out'])
  })

  test('a POST of another origin changes nothing, and goes on by GET', async () => {
    const { someone, tokens } = await signedIn()
    const form = { id_token_hint: tokens.id_token, post_logout_redirect_uri: BACK, state: 'x' }
    const headers = { 'sec-fetch-site': 'cross-site', cookie: someone.cookie }
    const answer = await call(service, 'POST /oauth/logout', { form, headers })
    expect(answer.status).toBe(303)
    expect(answer.headers.get('location')).toBe(`/oauth/logout?${new URLSearchParams(form)}`)
    expect(answer.headers.get('set-cookie')).toBeNull()
    expect(await isHere(someone.cookie)).toBe(true)
  })
})
