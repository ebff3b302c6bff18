import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'
import { ALGORITHMS } from '../../src/config/config.ts'
import { call, newPerson } from '../support/client.ts'
import { adminToken, newClient, type OAuthClient } from '../support/oauth.ts'
import { startService } from '../support/service.ts'
import { prepare, useService } from '../support/use-service.ts'

setDefaultTimeout(240_000)

/** The tests use loopback without TLS. Both clients refuse that by default. */
const insecure = { [oauth.allowInsecureRequests]: true }

const service = useService({ isIssuer: true, jwtAudience: 'https://api.example.com' })
const person = prepare(() => newPerson(service))
let admin: string
let client: OAuthClient
let watcher: OAuthClient
beforeAll(async () => {
  admin = await adminToken(service)
  client = await newClient(service, person.access)
  watcher = await newClient(service, admin, ['latchkey:introspect'])
})

describe('oauth4webapi', () => {
  let server: oauth.AuthorizationServer
  beforeAll(async () => {
    const issuer = new URL(service.url)
    const answer = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure })
    server = await oauth.processDiscoveryResponse(issuer, answer)
  })

  /** The two ways in which a client with a secret authenticates. */
  const ways = [
    ['Basic', oauth.ClientSecretBasic],
    ['post', oauth.ClientSecretPost],
  ] as const

  test.each(ways)('client_credentials by %s', async (_, authenticate) => {
    const as = { client_id: client.id }
    const ask = async (scope?: string) => {
      const parameters: Record<string, string> = scope === undefined ? {} : { scope }
      const auth = authenticate(client.secret)
      const answer = await oauth.clientCredentialsGrantRequest(server, as, auth, parameters, insecure)
      return oauth.processClientCredentialsResponse(server, as, answer)
    }
    expect(await ask()).toMatchObject({ token_type: 'bearer', expires_in: 1800, scope: 'read write' })
    const narrowed = await ask('read')
    expect(narrowed.scope).toBe('read')
    expect(narrowed.refresh_token).toBeUndefined()
    const me = await call(service, 'GET /auth/me', { bearer: narrowed.access_token })
    expect(me.body).toMatchObject({ type: 'service_account', id: client.id, scopes: ['read'] })
    await expect(ask('read billing')).rejects.toMatchObject({ error: 'invalid_scope', status: 400 })
  })

  test.each(ways)('a wrong secret by %s is a challenge', async (_, authenticate) => {
    for (const secret of ['wrong', `${client.secret}x`, watcher.secret]) {
      const as = { client_id: client.id }
      const answer = await oauth.clientCredentialsGrantRequest(server, as, authenticate(secret), {}, insecure)
      await expect(oauth.processClientCredentialsResponse(server, as, answer)).rejects.toMatchObject({
        code: oauth.WWW_AUTHENTICATE_CHALLENGE,
        status: 401,
        cause: [{ scheme: 'basic', parameters: { realm: 'latchkey' } }],
      })
    }
  })

  test('password and refresh_token, as a first-party client; a dead refresh token is invalid_grant', async () => {
    const as = { client_id: 'first-party' }
    const none = oauth.None()
    const { email: username, password } = person
    const ask = async (given: { username: string; password: string; scope?: string }) =>
      oauth.processGenericTokenEndpointResponse(
        server,
        as,
        await oauth.genericTokenEndpointRequest(server, as, none, 'password', given, insecure),
      )
    const first = await ask({ username, password, scope: 'read' })
    expect(first).toMatchObject({ token_type: 'bearer', expires_in: 1800, scope: 'read' })
    await expect(ask({ username, password: 'wrong' })).rejects.toMatchObject({
      error: 'invalid_grant',
      status: 400,
    })

    const trade = async (token: string) =>
      oauth.processRefreshTokenResponse(
        server,
        as,
        await oauth.refreshTokenGrantRequest(server, as, none, token, insecure),
      )
    const second = await trade(first.refresh_token ?? '')
    expect(second.refresh_token).not.toBe(first.refresh_token)
    const third = await trade(second.refresh_token ?? '')
    expect((await call(service, 'GET /auth/me', { bearer: third.access_token })).status).toBe(200)
    // A token two generations old is taken as theft, and answered as RFC 6749 says.
    for (const token of [first.refresh_token, third.refresh_token, 'nonsense']) {
      await expect(trade(token ?? '')).rejects.toMatchObject({ error: 'invalid_grant', status: 400 })
    }
  })

  test.each(ways)('introspection and revocation by %s', async (_, authenticate) => {
    const as = { client_id: watcher.id }
    const auth = authenticate(watcher.secret)
    const introspect = async (token: string) =>
      oauth.processIntrospectionResponse(
        server,
        as,
        await oauth.introspectionRequest(server, as, auth, token, insecure),
      )
    const revoke = async (token: string) =>
      oauth.processRevocationResponse(
        await oauth.revocationRequest(server, as, auth, token, {
          ...insecure,
          additionalParameters: { token_type_hint: 'refresh_token' },
        }),
      )
    const { access, refresh } = await newPerson(service)
    const own = await oauth.clientCredentialsGrantRequest(server, as, auth, {}, insecure)
    const { access_token } = await oauth.processClientCredentialsResponse(server, as, own)
    expect(await introspect(access_token)).toMatchObject({ active: true, client_id: watcher.id })
    for (const token of [access, refresh]) expect((await introspect(token)).active).toBe(true)
    await revoke(refresh)
    for (const token of [access, refresh]) expect(await introspect(token)).toEqual({ active: false })
    await revoke(refresh)
    // Only the token ends. The client can still use its key.
    const again = await oauth.clientCredentialsGrantRequest(server, as, auth, {}, insecure)
    const other = await oauth.processClientCredentialsResponse(server, as, again)
    await revoke(access_token)
    expect(await introspect(access_token)).toEqual({ active: false })
    expect((await introspect(other.access_token)).active).toBe(true)
  })

  test('a resource server validates the token of a service account (RFC 9068)', async () => {
    const as = { client_id: client.id }
    const auth = oauth.ClientSecretBasic(client.secret)
    const answer = await oauth.clientCredentialsGrantRequest(server, as, auth, {}, insecure)
    const { access_token } = await oauth.processClientCredentialsResponse(server, as, answer)
    const asked = (token: string) =>
      new Request('https://api.example.com/', { headers: { authorization: `Bearer ${token}` } })
    const validate = (token: string, audience: string) =>
      oauth.validateJwtAccessToken(server, asked(token), audience, insecure)
    expect(await validate(access_token, 'https://api.example.com')).toMatchObject({
      iss: service.url,
      sub: client.id,
      client_id: client.id,
      scope: 'read write',
    })
    await expect(validate(access_token, 'https://other.example.com')).rejects.toThrow()
    const altered = access_token.replace(/\.[^.]{4}/, '.AAAA')
    await expect(validate(altered, 'https://api.example.com')).rejects.toThrow()
  })
})

describe('openid-client', () => {
  const configure = ({ id, secret }: OAuthClient, auth?: openid.ClientAuth) =>
    openid.discovery(new URL(service.url), id, secret, auth, {
      algorithm: 'oauth2',
      execute: [openid.allowInsecureRequests],
    })

  test('discovers the metadata, and gets tokens by every grant', async () => {
    const config = await configure(client)
    expect(config.serverMetadata()).toMatchObject({
      issuer: service.url,
      token_endpoint: `${service.url}/oauth/token`,
    })
    const own = await openid.clientCredentialsGrant(config, { scope: 'write' })
    expect(own).toMatchObject({ scope: 'write', expires_in: 1800 })
    const { email: username, password } = person
    const first = await openid.genericGrantRequest(config, 'password', { username, password })
    const second = await openid.refreshTokenGrant(config, first.refresh_token ?? '')
    expect((await call(service, 'GET /auth/me', { bearer: second.access_token })).body.id).toBe(person.id)
    await expect(
      openid.refreshTokenGrant(config, second.refresh_token ?? '', { scope: 'billing' }),
    ).rejects.toMatchObject({ error: 'invalid_scope' })
    // The refused refresh token was not used up.
    await openid.refreshTokenGrant(config, second.refresh_token ?? '', { scope: 'read' })
    await expect(openid.refreshTokenGrant(config, 'rt_nonsense')).rejects.toMatchObject({
      error: 'invalid_grant',
    })
  })

  test.each([
    ['Basic', openid.ClientSecretBasic],
    ['post', openid.ClientSecretPost],
  ] as const)('introspects and revokes by %s', async (_, authenticate) => {
    const config = await configure(watcher, authenticate(watcher.secret))
    const { access, refresh, id } = await newPerson(service)
    expect(await openid.tokenIntrospection(config, access)).toMatchObject({ active: true, sub: id })
    await openid.tokenRevocation(config, access)
    for (const token of [access, refresh]) {
      expect(Object.entries(await openid.tokenIntrospection(config, token))).toEqual([['active', false]])
    }
    const stranger = await configure({ ...watcher, secret: 'wrong' }, authenticate('wrong'))
    await expect(openid.tokenIntrospection(stranger, access)).rejects.toMatchObject({ status: 401 })
    await expect(openid.tokenRevocation(stranger, access)).rejects.toMatchObject({ status: 401 })
  })

  test('gets unsupported_grant_type when OAUTH_PASSWORD_GRANT is false', async () => {
    const off = await startService({ isIssuer: true, oauthPasswordGrant: false })
    try {
      const config = await openid.discovery(new URL(off.url), 'first-party', undefined, openid.None(), {
        algorithm: 'oauth2',
        execute: [openid.allowInsecureRequests],
      })
      expect(config.serverMetadata().grant_types_supported).toEqual([
        'authorization_code',
        'client_credentials',
        'refresh_token',
        'urn:ietf:params:oauth:grant-type:device_code',
        'urn:ietf:params:oauth:grant-type:token-exchange',
      ])
      const { email: username, password, refresh } = await newPerson(off)
      await expect(
        openid.genericGrantRequest(config, 'password', { username, password }),
      ).rejects.toMatchObject({ error: 'unsupported_grant_type', status: 400 })
      expect((await openid.refreshTokenGrant(config, refresh)).access_token).toStartWith('eyJ')
    } finally {
      await off.stop()
    }
  })
})

describe('jose, against the JWKS that the metadata names', () => {
  test.each(ALGORITHMS.filter((algorithm) => algorithm !== 'HS256'))(
    'verifies users and service accounts, with %s',
    async (algorithm) => {
      const issuer = await startService({ isIssuer: true, algorithm })
      try {
        const someone = await newPerson(issuer)
        const batch = await newClient(issuer, someone.access)
        const metadata = await call(issuer, 'GET /.well-known/oauth-authorization-server')
        const jwks = createRemoteJWKSet(new URL(metadata.body.jwks_uri))
        const expected = { issuer: metadata.body.issuer, audience: issuer.url, typ: 'at+jwt' }
        const verify = (token: string) =>
          jwtVerify(token, jwks, { ...expected, algorithms: [algorithm], requiredClaims: ['exp', 'jti'] })

        const user = await verify(someone.access)
        expect(user.payload).toMatchObject({ sub: someone.id, role: 'user', scope: 'read write' })
        expect(user.payload.client_id).toBe('latchkey')
        const form = {
          grant_type: 'client_credentials',
          client_id: batch.id,
          client_secret: batch.secret,
          scope: 'read',
        }
        const { body } = await call(issuer, 'POST /oauth/token', { form })
        const account = await verify(body.access_token)
        expect(account.payload).toMatchObject({ sub: batch.id, client_id: batch.id, scope: 'read' })
        expect(account.payload.role).toBeUndefined()
        const altered = body.access_token.replace(/\.[^.]{4}/, '.AAAA')
        await expect(verify(altered)).rejects.toThrow()
      } finally {
        await issuer.stop()
      }
    },
  )
})

describe('the metadata (RFC 8414)', () => {
  test('is public, may be cached, and names what Latchkey supports', async () => {
    const answer = await call(service, 'GET /.well-known/oauth-authorization-server')
    expect(answer.status).toBe(200)
    expect(answer.headers.get('cache-control')).toBe('public, max-age=300')
    expect(answer.headers.get('content-type')).toStartWith('application/json')
    const methods = ['client_secret_basic', 'client_secret_post']
    expect(answer.body).toEqual({
      issuer: service.url,
      authorization_endpoint: `${service.url}/oauth/authorize`,
      device_authorization_endpoint: `${service.url}/oauth/device_authorization`,
      userinfo_endpoint: `${service.url}/oauth/userinfo`,
      end_session_endpoint: `${service.url}/oauth/logout`,
      token_endpoint: `${service.url}/oauth/token`,
      introspection_endpoint: `${service.url}/oauth/introspect`,
      revocation_endpoint: `${service.url}/oauth/revoke`,
      jwks_uri: `${service.url}/.well-known/jwks.json`,
      response_types_supported: ['code'],
      grant_types_supported: [
        'authorization_code',
        'client_credentials',
        'refresh_token',
        'urn:ietf:params:oauth:grant-type:device_code',
        'urn:ietf:params:oauth:grant-type:token-exchange',
        'password',
      ],
      token_endpoint_auth_methods_supported: [...methods, 'private_key_jwt', 'none'],
      token_endpoint_auth_signing_alg_values_supported: ['ES256', 'RS256', 'EdDSA'],
      introspection_endpoint_auth_methods_supported: methods,
      revocation_endpoint_auth_methods_supported: [...methods, 'private_key_jwt', 'none'],
      response_modes_supported: ['query'],
      code_challenge_methods_supported: ['S256'],
      authorization_response_iss_parameter_supported: true,
      client_id_metadata_document_supported: true,
      scopes_supported: ['openid', 'email', 'profile', 'offline_access'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256'],
      service_documentation: `${service.url}/docs`,
    })
    for (const name of ['token_endpoint', 'introspection_endpoint', 'revocation_endpoint']) {
      const path = new URL(answer.body[name]).pathname
      expect((await call(service, `POST ${path}`, { form: {} })).status).toBe(400)
      const wrong = await call(service, `GET ${path}`)
      expect(wrong.status).toBe(405)
      expect(wrong.headers.get('allow')).toBe('POST')
    }
  })

  test('has the URLs of PUBLIC_URL, whatever the Host of the request is', async () => {
    const other = await startService({ publicUrl: 'https://id.example.com/auth', docs: false })
    try {
      const headers = { host: 'evil.example.com', 'x-forwarded-host': 'evil.example.com' }
      const { body } = await call(other, 'GET /.well-known/oauth-authorization-server', { headers })
      expect(body.issuer).toBe('https://id.example.com/auth')
      expect(body.token_endpoint).toBe('https://id.example.com/auth/oauth/token')
      expect(body.service_documentation).toBeUndefined()
      expect(JSON.stringify(body)).not.toContain('evil')
    } finally {
      await other.stop()
    }
  })

  test("is also served where RFC 8414 puts it: at the host's root, before the issuer's path", async () => {
    const root = 'GET /.well-known/oauth-authorization-server'
    for (const [path, others] of [
      ['/auth', ['/aut', '/auth/x', '/AUTH', '/', '']],
      // A router would read this as a parameter.
      ['/auth:one/two', ['/authone/two', '/auth:one', '/auth:two/two']],
      ['/%C3%A9', ['/%C3%A8', '/é%']],
    ] as const) {
      const issuer = `https://id.example.com${path}`
      const other = await startService({ publicUrl: issuer })
      try {
        const below = await call(other, root)
        for (const end of ['', '/']) {
          const answer = await call(other, `${root}${path}${end}`)
          expect([answer.status, answer.body]).toEqual([200, below.body])
          expect(answer.headers.get('cache-control')).toBe('public, max-age=300')
        }
        for (const wrong of others) {
          const isRoot = wrong === '' || wrong === '/'
          expect([wrong, (await call(other, root + wrong)).status]).toEqual([wrong, isRoot ? 200 : 404])
        }
        const wanted = `${new URL(issuer).origin}/.well-known/oauth-authorization-server${path}`
        const asked: string[] = []
        await oauth.processDiscoveryResponse(
          new URL(issuer),
          await oauth.discoveryRequest(new URL(issuer), {
            algorithm: 'oauth2',
            [oauth.customFetch]: (url: string) => {
              asked.push(url)
              // As a proxy for this host sends it.
              return fetch(other.url + new URL(url).pathname)
            },
          }),
        )
        expect(asked).toEqual([wanted])
      } finally {
        await other.stop()
      }
    }
    // Without a path in the issuer both places are the same.
    expect((await call(service, `${root}/auth`)).status).toBe(404)
  })
})
