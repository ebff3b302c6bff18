import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import type { RateLimits } from '../../src/config/rate-limits.ts'
import { DEFAULT_RATE_LIMITS } from '../../src/config/rate-limits.ts'
import { MINUTE_MS } from '../../src/lib/time.ts'
import { type Call, call, logIn, newKey, newPerson } from '../support/client.ts'
import { partsOf } from '../support/forge.ts'
import { sendRaw } from '../support/http-socket.ts'
import {
  adminToken,
  basic,
  expectOAuthError,
  grantToClient,
  newClient,
  type OAuthClient,
  tokenOf,
} from '../support/oauth.ts'
import { expectProblem } from '../support/problem.ts'
import { startService } from '../support/service.ts'
import { prepare, useService } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

const service = useService()
const person = prepare(() => newPerson(service))
let client: OAuthClient
beforeAll(async () => {
  client = await newClient(service, person.access)
})

const me = (bearer: string, at = service) => call(at, 'GET /auth/me', { bearer })
const ask = (options: Call, at = service) => call(at, 'POST /oauth/token', options)

describe('client_credentials', () => {
  test('answers as RFC 6749 says, with no-store', async () => {
    const answer = await grantToClient(service, client)
    expect(answer.status).toBe(200)
    expect(answer.body).toEqual({
      access_token: expect.stringMatching(/^eyJ/),
      token_type: 'bearer',
      expires_in: 1800,
      scope: 'read write',
    })
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(answer.headers.get('content-type')).toStartWith('application/json')
    const { payload } = partsOf(answer.body.access_token)
    expect(payload).toMatchObject({ sub: client.id, client_id: client.id, scope: 'read write' })
    expect(payload.role).toBeUndefined()
    expect(Number(payload.exp) - Number(payload.iat)).toBeWithin(1799, 1802)
  })

  test.each<[string, string[]]>([
    ['', ['read', 'write']],
    ['read', ['read']],
    ['write read', ['write', 'read']],
    ['read read', ['read']],
    ['  read ', ['read']],
  ])('scope %p narrows', async (scope, scopes) => {
    const { body } = await grantToClient(service, client, { scope })
    expect(body.scope).toBe(scopes.join(' '))
    expect((await me(body.access_token)).body.scopes.toSorted()).toEqual(scopes.toSorted())
  })

  test.each([
    'billing',
    'read billing',
    'READ',
    'read:',
    '*',
    'read\u0000',
    'latchkey:introspect',
    'latchkey:keys.read',
    Array.from({ length: 51 }, (_, i) => `s${i}`).join(' '),
    'r'.repeat(65),
    'lésen',
  ])('scope %p is refused as beyond what the key has', async (scope) => {
    expectOAuthError(await grantToClient(service, client, { scope }), 400, 'invalid_scope')
  })

  test('has at each use the scopes of the key and the account, and never more than it asked for', async () => {
    const batch = await newClient(service, person.access)
    const path = `PATCH /service-accounts/${batch.id}`
    const [whole, narrow] = [await tokenOf(service, batch), await tokenOf(service, batch, 'read')]
    const scopesOf = async (token: string) => (await me(token)).body.scopes
    await call(service, path, { bearer: person.access, json: { scopes: ['read'] } })
    expect(await scopesOf(whole)).toEqual(['read'])
    expectOAuthError(await grantToClient(service, batch, { scope: 'write' }), 400, 'invalid_scope')
    await call(service, path, { bearer: person.access, json: { scopes: ['write'] } })
    expect(await scopesOf(whole)).toEqual(['write'])
    expect(await scopesOf(narrow)).toEqual([])
    await call(service, path, { bearer: person.access, json: { scopes: ['read', 'write'] } })
    expect(await scopesOf(whole)).toEqual(['read', 'write'])
    expect(await scopesOf(narrow)).toEqual(['read'])
  })
})

describe('a client', () => {
  let other: OAuthClient
  let own: { id: string; key: string }
  beforeAll(async () => {
    other = await newClient(service, person.access)
    own = await newKey(service, person.access, { scopes: ['read'] })
  })

  test.each<[string, () => [id: string, secret: string]]>([
    ["a user's key under the user's id", () => [person.id, own.key]],
    ["a user's key under the account's id", () => [client.id, own.key]],
    ["another account's key", () => [client.id, other.secret]],
    ["another account's id", () => [other.id, client.secret]],
    ["the key's id", () => [client.keyId, client.secret]],
    ['an id that is not there', () => [Bun.randomUUIDv7(), client.secret]],
    ['no id', () => ['', client.secret]],
    ['its id in capitals', () => [client.id.toUpperCase(), client.secret]],
    ['its id with a NUL', () => [`${client.id}\0`, client.secret]],
    ["the user's e-mail and password", () => [person.email, person.password]],
    ["a user's access token", () => [person.id, person.access]],
    ["a user's refresh token", () => [person.id, person.refresh]],
    ['an altered secret', () => [client.id, `${client.secret.slice(0, -1)}_`]],
    ['a longer secret', () => [client.id, `${client.secret}0`]],
    ['a guess', () => [client.id, `sk_${'0'.repeat(49)}`]],
    ['a secret of 8 KB', () => [client.id, 's'.repeat(8000)]],
    ['a wild card', () => ['%', '%']],
    ['an end of a query', () => ["' OR true --", "' OR true --"]],
  ])('with %s is refused, by Basic and in the form', async (_, clientOf) => {
    const [id, secret] = clientOf()
    const grant = { grant_type: 'client_credentials' }
    expect((await grantToClient(service, client)).status).toBe(200)
    expectOAuthError(await ask({ form: grant, headers: basic(id, secret) }), 401, 'invalid_client')
    const form = { ...grant, client_id: id, client_secret: secret }
    expectOAuthError(await ask({ form }), 401, 'invalid_client')
  })

  test('that presents its access token as its secret is refused: a token cannot get tokens', async () => {
    const secret = await tokenOf(service, client)
    expectOAuthError(await grantToClient(service, { id: client.id, secret }), 401, 'invalid_client')
  })

  test.each<[string, Call]>([
    ['sends nothing', {}],
    ['sends its id alone', { form: { client_id: 'x' } }],
    ['sends an empty Basic', { headers: basic('', '') }],
    ['sends an empty secret by Basic', { headers: basic('an-app', '') }],
    ['sends an empty secret in the form', { form: { client_id: 'an-app', client_secret: '' } }],
    ['sends an empty id and secret', { form: { client_id: '', client_secret: '' } }],
  ])('that %s gets no token of its own', async (_, { form, headers = {} }) => {
    const grant = { grant_type: 'client_credentials', ...form }
    expectOAuthError(await ask({ form: grant, headers }), 401, 'invalid_client')
  })

  test.each([
    'Basic',
    'Basic ',
    'Basic !!!',
    `Basic ${btoa('no colon')}`,
    `Basic ${btoa(':secret')}`,
    `Basic ${btoa('%zz:%zz')}`,
    `Basic ${btoa('id:secret')}, Basic ${btoa('id:secret')}`,
    `Basic ${btoa('id:secret')} extra`,
  ])('whose header is %p is refused for every grant', async (authorization) => {
    for (const form of [
      { grant_type: 'client_credentials' },
      { grant_type: 'password', username: person.email, password: person.password },
      { grant_type: 'refresh_token', refresh_token: person.refresh },
    ]) {
      expectOAuthError(await ask({ form, headers: { authorization } }), 401, 'invalid_client')
    }
    expect((await logIn(service, person.email, person.password)).access).toStartWith('eyJ')
  })

  test('authenticates in one way only, and as one client', async () => {
    const grant = { grant_type: 'client_credentials' }
    const headers = basic(client.id, client.secret)
    const { id: client_id, secret: client_secret } = client
    for (const more of [{ client_id, client_secret }, { client_secret }, { client_id: other.id }] as Record<
      string,
      string
    >[]) {
      expectOAuthError(await ask({ form: { ...grant, ...more }, headers }), 400, 'invalid_request')
    }
    // RFC 6749 allows its id in the form in addition.
    expect((await ask({ form: { ...grant, client_id }, headers })).status).toBe(200)
    expect((await ask({ form: { ...grant, client_id, client_secret } })).status).toBe(200)
    const empty = { ...grant, client_id: '', client_secret: '' }
    expect((await ask({ form: empty, headers })).status).toBe(200)
  })

  test('that sends Authorization twice is refused', async () => {
    const header = `Authorization: ${basic(client.id, client.secret).authorization}`
    const body = 'grant_type=client_credentials'
    const send = (headers: string[]) =>
      sendRaw(
        service,
        'POST /oauth/token',
        [...headers, `Content-Type: ${FORM['content-type']}`, `Content-Length: ${body.length}`],
        body,
      )
    expect((await send([header])).status).toBe(200)
    expect((await send([header, header])).status).toBe(401)
  })

  test('with an expired bearer is accepted: the token endpoint reads only Basic', async () => {
    const { id: client_id, secret: client_secret } = client
    const form = { grant_type: 'client_credentials', client_id, client_secret }
    expect((await ask({ form, bearer: 'expired' })).status).toBe(200)
    expect((await ask({ form, apiKey: 'sk_expired' })).status).toBe(200)
  })
})

describe("a client's token is the principal of the key that was presented, wherever it is checked", () => {
  test('it has the name, the scopes and the kind of the key', async () => {
    const token = await tokenOf(service, client, 'read')
    expect((await me(token)).body).toEqual({
      type: 'service_account',
      id: client.id,
      name: 'batch',
      auth_type: 'api_key',
      scopes: ['read'],
    })
    const callProtected = (name: string, bearer: string) =>
      call(service, `GET /protected/${name}`, { bearer })
    expect((await callProtected('service-only', token)).body).toMatchObject({
      auth_type: 'api_key',
      access_level: 'service',
    })
    expect((await callProtected('any', token)).status).toBe(200)
    expectProblem(await callProtected('user-only', token), 'wrong_credential_kind')
    expectProblem(await callProtected('admin', token), 'wrong_credential_kind')
    expectProblem(
      await callProtected('service-only', await tokenOf(service, client, 'write')),
      'insufficient_scope',
    )
    for (const route of ['GET /auth/sessions', 'POST /auth/logout-all', 'DELETE /keys/delete/x']) {
      expectProblem(await call(service, route, { bearer: token }), 'wrong_credential_kind')
    }
    // It is no key: in X-API-Key it is refused.
    expectProblem(await call(service, 'GET /auth/me', { apiKey: token }), 'invalid_token')
  })

  test('it manages keys like the key, and cannot hand out more than it has', async () => {
    const scopes = ['read', 'write', 'latchkey:keys.read', 'latchkey:keys.write']
    const batch = await newClient(service, person.access, scopes)
    const whole = await tokenOf(service, batch)
    const made = await newKey(service, whole, { scopes: ['read'] })
    const list = await call(service, 'GET /keys', { bearer: whole })
    expect(list.body.find(({ id }: { id: string }) => id === made.id)).toMatchObject({
      service_account_id: batch.id,
      user_id: null,
      created_by: batch.keyId,
    })
    const narrow = await tokenOf(service, batch, 'read latchkey:keys.write')
    await newKey(service, narrow, { scopes: ['read'] })
    const create = (bearer: string, json: object) => call(service, 'POST /keys', { bearer, json })
    expectProblem(await create(narrow, { scopes: ['write'] }), 'insufficient_scope')
    expectProblem(await create(await tokenOf(service, batch, 'read'), {}), 'insufficient_scope')
  })

  test('it is bound to the addresses of the key, at the token endpoint too', async () => {
    const here = await newClient(service, person.access, ['read'], { allowed_ips: ['127.0.0.0/8'] })
    const elsewhere = await newClient(service, person.access, ['read'], { allowed_ips: ['10.0.0.0/8'] })
    const token = await tokenOf(service, here)
    expect((await me(token)).status).toBe(200)
    expectOAuthError(await grantToClient(service, elsewhere), 400, 'unauthorized_client')
    await call(service, `PATCH /keys/${here.keyId}`, {
      bearer: person.access,
      json: { allowed_ips: ['10.0.0.0/8'] },
    })
    expectProblem(await me(token), 'ip_not_allowed')
  })

  test('its uses count for the rate limit of the key, together with those of the key', async () => {
    const rate_limit = { limit: 4, window_seconds: 3600 }
    const slow = await newClient(service, person.access, ['read'], { rate_limit })
    const token = await tokenOf(service, slow)
    expect((await me(token)).status).toBe(200)
    expect((await call(service, 'GET /auth/me', { apiKey: slow.secret })).status).toBe(200)
    expect((await call(service, 'GET /protected/any', { apiKey: slow.secret })).status).toBe(200)
    expectProblem(await me(token), 'rate_limited')
    const refused = await grantToClient(service, slow)
    expectOAuthError(refused, 429, 'temporarily_unavailable')
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(3000)
  })
})

test("another service can verify a client's token: the narrowed scopes, and the credits of the key", async () => {
  const credits = { remaining: 2 }
  const batch = await newClient(service, person.access, ['read', 'write'], { credits })
  const token = await tokenOf(service, batch, 'read')
  const bearer = await adminToken(service)
  const verify = (key: string, json: object = {}) =>
    call(service, 'POST /keys/verify', { bearer, json: { key, ...json } })
  expect((await verify(token)).body).toMatchObject({
    valid: true,
    key_id: batch.keyId,
    owner: { type: 'service_account', id: batch.id },
    scopes: ['read'],
    credits: { remaining: 1 },
  })
  expect((await verify(token, { scopes: 'write' })).body).toMatchObject({ code: 'INSUFFICIENT_SCOPE' })
  expect((await verify(batch.secret)).body).toMatchObject({ valid: true, credits: { remaining: 0 } })
  expect((await verify(token)).body).toMatchObject({ valid: false, code: 'CREDITS_EXHAUSTED' })
  // Latchkey's own routes charge nothing.
  expect((await me(token)).status).toBe(200)
})

describe("a client's token is refused on its next request, when", () => {
  type Ending = [string, (batch: OAuthClient) => [string, Call?]]
  test.each<Ending>([
    ['the key is revoked', ({ keyId }) => [`DELETE /keys/${keyId}`]],
    ['the key is deleted', ({ keyId }) => [`DELETE /keys/delete/${keyId}`]],
    ['the key is disabled', ({ keyId }) => [`PATCH /keys/${keyId}`, { json: { is_active: false } }]],
    [
      'the account is disabled',
      ({ id }) => [`PATCH /service-accounts/${id}`, { json: { is_active: false } }],
    ],
    ['the account is deleted', ({ id }) => [`DELETE /service-accounts/${id}`]],
    [
      'the key gets another secret',
      ({ keyId }) => [`POST /keys/${keyId}/rotate`, { json: { overlap_seconds: 0 } }],
    ],
  ])('%s', async (_, ending) => {
    const batch = await newClient(service, person.access)
    const token = await tokenOf(service, batch)
    expect((await me(token)).status).toBe(200)
    const [route, options] = ending(batch)
    expect((await call(service, route, { bearer: person.access, ...options })).status).toBeWithin(200, 205)
    expectProblem(await me(token), 'invalid_token')
    expectOAuthError(await grantToClient(service, batch), 401, 'invalid_client')
    expect((await me(await tokenOf(service, client))).status).toBe(200)
  })

  test('an account that is enabled again has its token accepted again', async () => {
    const batch = await newClient(service, person.access)
    const token = await tokenOf(service, batch)
    for (const [is_active, status] of [[false, 401] as const, [true, 200] as const]) {
      await call(service, `PATCH /service-accounts/${batch.id}`, {
        bearer: person.access,
        json: { is_active },
      })
      expect((await me(token)).status).toBe(status)
      expect((await grantToClient(service, batch)).status).toBe(status)
    }
  })

  test('a token ends with its own secret, and the token of the other secret stays valid', async () => {
    const batch = await newClient(service, person.access)
    const old = await tokenOf(service, batch)
    const rotated = await call(service, `POST /keys/${batch.keyId}/rotate`, {
      bearer: person.access,
      json: { overlap_seconds: 600 },
    })
    const late = await grantToClient(service, batch)
    expect(late.body.expires_in).toBeWithin(590, 601)
    const anew = await tokenOf(service, { id: batch.id, secret: rotated.body.key })
    for (const token of [old, late.body.access_token, anew]) expect((await me(token)).status).toBe(200)
    const start = rotated.body.secrets[0].start
    expect(batch.secret).toStartWith(start)
    await call(service, `DELETE /keys/${batch.keyId}/secrets/${start}`, { bearer: person.access })
    for (const token of [old, late.body.access_token]) expectProblem(await me(token), 'invalid_token')
    expect((await me(anew)).status).toBe(200)
  })

  test('no token outlives its key', async () => {
    const at = await startService({}, service)
    const expires_at = new Date(at.context.clock() + 10 * MINUTE_MS).toISOString()
    const batch = await newClient(at, person.access, ['read'], { expires_at })
    const { body } = await grantToClient(at, batch)
    expect(body.expires_in).toBeWithin(590, 601)
    const { payload } = partsOf(body.access_token)
    expect(Number(payload.exp) * 1000).toBeLessThanOrEqual(new Date(expires_at).getTime())
    at.advance(9 * MINUTE_MS)
    expect((await me(body.access_token, at)).status).toBe(200)
    expect((await grantToClient(at, batch)).body.expires_in).toBeWithin(50, 61)
    at.advance(MINUTE_MS)
    expectProblem(await me(body.access_token, at), 'invalid_token')
    expectOAuthError(await grantToClient(at, batch), 401, 'invalid_client')
    await at.stop()
  })
})

describe("users' grants", () => {
  const password = (more: Record<string, string> = {}) => ({
    grant_type: 'password',
    username: person.email,
    password: person.password,
    ...more,
  })
  const trade = (refresh_token: string, more: Record<string, string> = {}) => ({
    grant_type: 'refresh_token',
    refresh_token,
    ...more,
  })

  test('answer a pair of tokens and their scopes', async () => {
    const first = await ask({ form: password() })
    const pair = {
      access_token: expect.stringMatching(/^eyJ/),
      refresh_token: expect.stringMatching(/^rt_/),
      token_type: 'bearer',
      expires_in: 1800,
      scope: 'read write',
    }
    expect(first.body).toEqual(pair)
    const second = await ask({ form: trade(first.body.refresh_token) })
    expect(second.body).toEqual(pair)
    expect((await me(second.body.access_token)).body).toMatchObject({ id: person.id, auth_type: 'jwt' })
  })

  test.each<[string, Call]>([
    ['none', {}],
    ['an id alone', { form: { client_id: 'swagger' } }],
    ['an empty id and secret', { form: { client_id: '', client_secret: '' } }],
    ['an empty Basic', { headers: basic('', '') }],
  ])('need no client: %s', async (_, { form = {}, headers = {} }) => {
    const { status, body } = await ask({ form: password(form), headers })
    expect(status).toBe(200)
    expect((await ask({ form: trade(body.refresh_token, form), headers })).status).toBe(200)
  })

  test('refuse a wrong client; that starts no session and uses no refresh token up', async () => {
    const { refresh } = await logIn(service, person.email, person.password)
    const right = basic(client.id, client.secret)
    const wrong = basic(client.id, 'wrong')
    expectOAuthError(await ask({ form: password(), headers: wrong }), 401, 'invalid_client')
    expectOAuthError(await ask({ form: trade(refresh), headers: wrong }), 401, 'invalid_client')
    expect((await ask({ form: password(), headers: right })).status).toBe(200)
    expect((await ask({ form: trade(refresh), headers: right })).status).toBe(200)
  })

  test.each<[string, () => Record<string, string>]>([
    ['a wrong password', () => password({ password: 'wrong-horse' })],
    ['an unknown user', () => password({ username: 'nobody@example.com' })],
    ['a malformed e-mail', () => password({ username: 'nobody' })],
    ['an invalid refresh token', () => trade('rt_nonsense')],
    ['an altered refresh token', () => trade(`${person.refresh.slice(0, -1)}_`)],
    ['an access token as a refresh token', () => trade(person.access)],
    ['a key as a refresh token', () => trade(client.secret)],
  ])('refuse %s as invalid_grant', async (_, form) => {
    expectOAuthError(await ask({ form: form() }), 400, 'invalid_grant')
  })

  test('refuse a disabled user like a wrong password, and the refresh token of that user', async () => {
    const admin = await adminToken(service)
    const gone = await newPerson(service)
    const form = { grant_type: 'password', username: gone.email, password: gone.password }
    await call(service, `PATCH /users/${gone.id}`, { bearer: admin, json: { is_active: false } })
    const refused = await ask({ form })
    const wrong = await ask({ form: { ...form, password: 'wrong-horse' } })
    expectOAuthError(refused, 400, 'invalid_grant')
    expect(refused.body).toEqual(wrong.body)
    expectOAuthError(await ask({ form: trade(gone.refresh) }), 400, 'invalid_grant')
  })

  test('refuse a scope that the user lacks, and that does not use a refresh token up', async () => {
    const { refresh } = await logIn(service, person.email, person.password)
    for (const scope of ['billing', 'read billing', 'latchkey:introspect', 'NOT A SCOPE']) {
      expectOAuthError(await ask({ form: password({ scope }) }), 400, 'invalid_scope')
      expectOAuthError(await ask({ form: trade(refresh, { scope }) }), 400, 'invalid_scope')
    }
    const introspected = await call(service, 'POST /oauth/introspect', {
      form: { token: refresh },
      bearer: await adminToken(service),
    })
    expect(introspected.body.active).toBe(true)
    expect((await ask({ form: trade(refresh, { scope: 'read' }) })).status).toBe(200)
  })

  test('of a throttled account answer 429 invalid_grant with Retry-After, also to the right password', async () => {
    const victim = await newPerson(service)
    const form = { grant_type: 'password', username: victim.email }
    for (let i = 0; i < 10; i++) {
      expectOAuthError(await ask({ form: { ...form, password: `wrong-${i}` } }), 400, 'invalid_grant')
    }
    const refused = await ask({ form: { ...form, password: victim.password } })
    expectOAuthError(refused, 429, 'invalid_grant')
    expect(Number(refused.headers.get('retry-after'))).toBeWithin(800, 901)
    // /auth/login shares the counter.
    const login = await call(service, 'POST /auth/login', {
      json: { email: victim.email, password: victim.password },
    })
    expectProblem(login, 'too_many_attempts')
    expect((await ask({ form: trade(victim.refresh) })).status).toBe(200)
  })

  test('refuse a password unchecked with OAUTH_PASSWORD_GRANT=false; other grants still work', async () => {
    const off = await startService({ oauthPasswordGrant: false }, service)
    for (const form of [password(), password({ password: 'wrong-horse' }), { grant_type: 'password' }]) {
      expectOAuthError(await ask({ form }, off), 400, 'unsupported_grant_type')
    }
    const { refresh } = await logIn(off, person.email, person.password)
    expect((await ask({ form: trade(refresh) }, off)).status).toBe(200)
    expect((await grantToClient(off, client)).status).toBe(200)
    await off.stop()
  })
})

describe('a malformed request', () => {
  const login = (more: Record<string, string> = {}) => ({
    grant_type: 'password',
    username: person.email,
    password: person.password,
    ...more,
  })
  const text = (form: Record<string, string>) => new URLSearchParams(form).toString()

  test('is not one with unknown parameters: these are ignored', async () => {
    expect((await ask({ form: login({ audience: 'x', nonsense: 'y', __proto__x: 'z' }) })).status).toBe(200)
    const raw = `${text(login())}&__proto__=1&constructor=2&toString=3`
    expect((await ask({ raw, headers: FORM })).status).toBe(200)
  })

  test.each([
    'grant_type=password',
    'grant_type=client_credentials',
    'username=a%40example.com',
    'password=guess',
    'scope=read',
    'scope=',
    'client_id=',
    'nonsense=1',
    '__proto__=1',
  ])('is refused where it repeats %p', async (again) => {
    const raw = `${text(login({ scope: 'read', client_id: '' }))}&nonsense=1&__proto__=0&${again}`
    expectOAuthError(await ask({ raw, headers: FORM }), 400, 'invalid_request')
  })

  test.each<[string, Record<string, string>, string]>([
    ['no grant type', {}, 'invalid_request'],
    ['an empty grant type', { grant_type: '' }, 'invalid_request'],
    ['a grant type of 2 KB', { grant_type: 'x'.repeat(2048) }, 'invalid_request'],
    ['a code alone', { grant_type: 'authorization_code', code: 'x' }, 'invalid_request'],
    ['implicit', { grant_type: 'implicit' }, 'unsupported_grant_type'],
    [
      'an exchange of nothing',
      { grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange' },
      'invalid_request',
    ],
    [
      'an assertion as a grant',
      { grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer' },
      'unsupported_grant_type',
    ],
    ['a grant type in capitals', { grant_type: 'PASSWORD' }, 'unsupported_grant_type'],
    ['a name of every object', { grant_type: 'constructor' }, 'unsupported_grant_type'],
    ['no user name', { grant_type: 'password', password: 'x' }, 'invalid_request'],
    ['no password', { grant_type: 'password', username: 'a@example.com' }, 'invalid_request'],
    ['an empty password', { grant_type: 'password', username: 'a@b.c', password: '' }, 'invalid_request'],
    ['no refresh token', { grant_type: 'refresh_token' }, 'invalid_request'],
  ])('is refused: %s', async (_, form, error) => {
    expectOAuthError(await ask({ form: { nonsense: '1', ...form } }), 400, error)
  })

  test.each<[string, number, () => Call]>([
    ['JSON', 415, () => ({ json: login() })],
    ['text', 415, () => ({ raw: text(login()), headers: { 'content-type': 'text/plain' } })],
    [
      'a form in Latin-1',
      415,
      () => ({ raw: text(login()), headers: { 'content-type': `${FORM['content-type']}; charset=latin1` } }),
    ],
    ['a form of many parts', 415, () => ({ raw: formOf(login()) })],
    ['nothing', 415, () => ({})],
    ['more than 64 KiB', 413, () => ({ form: login({ padding: 'x'.repeat(65_536) }) })],
    ['bytes that are no text', 400, () => ({ raw: new Uint8Array([0x61, 0x3d, 0xff, 0xfe]), headers: FORM })],
  ])('is refused as %s', async (_, status, options) => {
    expectOAuthError(await ask(options()), status, 'invalid_request')
  })

  test('is not one with its type in capitals and a charset', async () => {
    const headers = { 'content-type': 'Application/X-WWW-Form-Urlencoded; Charset=UTF-8' }
    expect((await ask({ raw: text(login()), headers })).status).toBe(200)
  })

  test('is not completed by its query, which is not read', async () => {
    const path = `POST /oauth/token?${text(login())}`
    expectOAuthError(await call(service, path, { form: { x: '1' } }), 400, 'invalid_request')
    expect(service.loggedText()).not.toContain(encodeURIComponent(person.password))
  })

  test('of another method, or on a similar path, is refused in the same form', async () => {
    for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) {
      const answer = await call(service, `${method} /oauth/token`)
      expectOAuthError(answer, 405, 'invalid_request')
      expect(answer.headers.get('allow')).toBe('POST')
    }
    for (const path of ['/oauth/tokens', '/oauth/token/x'])
      expectOAuthError(await call(service, `POST ${path}`, { form: login() }), 404, 'invalid_request')
  })
})

test('guessing at clients is limited per address, in the form of RFC 6749, and a right client is never refused', async () => {
  const names = Object.keys(DEFAULT_RATE_LIMITS) as (keyof RateLimits)[]
  const limits = names.map((name) => [
    name,
    { limit: name === 'unknown_credential' ? 3 : 12, windowSeconds: 60 },
  ])
  const strict = await startService({ rateLimits: Object.fromEntries(limits) }, service)
  try {
    const guess = () => grantToClient(strict, { id: client.id, secret: 'wrong' })
    for (let i = 0; i < 3; i++) expectOAuthError(await guess(), 401, 'invalid_client')
    const refused = await guess()
    expectOAuthError(refused, 429, 'temporarily_unavailable')
    expect(Number(refused.headers.get('retry-after'))).toBeWithin(1, 61)
    expect((await grantToClient(strict, client)).status).toBe(200)

    // Uses up the limit of the address.
    const statuses: number[] = []
    for (let i = 0; i < 10; i++) statuses.push((await grantToClient(strict, client)).status)
    expect(statuses).toContain(200)
    expectOAuthError(await grantToClient(strict, client), 429, 'temporarily_unavailable')

    // Services depend on introspection, so no limit per address counts it.
    const watcher = await newClient(service, await adminToken(service), ['latchkey:introspect'])
    for (let i = 0; i < 20; i++) {
      const answer = await call(strict, 'POST /oauth/introspect', {
        form: { token: person.access },
        headers: basic(watcher.id, watcher.secret),
      })
      expect(answer.status).toBe(200)
    }
  } finally {
    await strict.stop()
  }
})

function formOf(members: Record<string, string>): FormData {
  const form = new FormData()
  for (const [name, value] of Object.entries(members)) form.set(name, value)
  return form
}
