import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { exportJWK, generateKeyPair } from 'jose'
import * as oauth from 'oauth4webapi'
import { allowAtPages, listenOnLoopback, useChromium } from '../support/app-in-browser.ts'
import { CHROMIUM, WITHOUT_CHROMIUM } from '../support/chromium.ts'
import { newKey, newPerson } from '../support/client.ts'
import { adminToken, newClient, type OAuthClient } from '../support/oauth.ts'
import { allowByForms, newPlainBrowser } from '../support/plain-browser.ts'
import { type RegisteredResource, registerApp, registerResource } from '../support/registered-apps.ts'
import { prepare, useService } from '../support/use-service.ts'

setDefaultTimeout(240_000)

const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code'
const CALLBACK = 'https://app.example.com/callback'
/** The tests use loopback without TLS, which the client refuses by default. */
const insecure = { [oauth.allowInsecureRequests]: true }

const service = useService({ isIssuer: true })
const person = prepare(() => newPerson(service))
let admin: string
let api: RegisteredResource
let watcher: OAuthClient
let server: oauth.AuthorizationServer
beforeAll(async () => {
  admin = await adminToken(service)
  api = await registerResource(service, admin)
  watcher = await newClient(service, admin, ['latchkey:introspect'])
  const issuer = new URL(service.url)
  server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecure))
})

/** A request to the authorization endpoint, and the trade of the code that comes back. */
async function begin(client: oauth.Client, more: Record<string, string>) {
  const verifier = oauth.generateRandomCodeVerifier()
  const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()]
  const url = new URL(server.authorization_endpoint ?? '')
  url.search = new URLSearchParams({
    client_id: client.client_id,
    response_type: 'code',
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    state,
    nonce,
    ...more,
  }).toString()
  const redirectUri = more.redirect_uri ?? ''
  const trade = async (came: URL, auth: oauth.ClientAuth, { proof = verifier, resource = '' } = {}) => {
    const parameters = oauth.validateAuthResponse(server, client, came, state)
    const additionalParameters: Record<string, string> = resource === '' ? {} : { resource }
    const options = { ...insecure, additionalParameters }
    const answer = await oauth.authorizationCodeGrantRequest(
      server,
      client,
      auth,
      parameters,
      redirectUri,
      proof,
      options,
    )
    const asked = { expectedNonce: nonce, requireIdToken: true }
    return {
      answer,
      tokens: await oauth.processAuthorizationCodeResponse(server, client, answer, asked),
    }
  }
  return { url, trade }
}

/** What a service that may introspect is told of a token. */
async function introspect(token: string): Promise<oauth.IntrospectionResponse> {
  const as = { client_id: watcher.id }
  const auth = oauth.ClientSecretBasic(watcher.secret)
  const answer = await oauth.introspectionRequest(server, as, auth, token, insecure)
  return oauth.processIntrospectionResponse(server, as, answer)
}

describe('oauth4webapi, without a client library around it', () => {
  describe.skipIf(!CHROMIUM)(`and a person at a browser${WITHOUT_CHROMIUM}`, () => {
    const at = useChromium()

    test('signs a person in by a code with PKCE, refreshes, and revokes', async () => {
      await using back = listenOnLoopback()
      const redirect_uri = `${back.url}/callback`
      const app = await registerApp(service, admin, { kind: 'confidential', redirect_uris: [redirect_uri] })
      const client = { client_id: app.id }
      const auth = oauth.ClientSecretBasic(app.secret ?? '')
      const { url, trade } = await begin(client, { redirect_uri, scope: 'openid email' })
      await allowAtPages(at.context, url, person)
      const came = await back.next()

      // The code of somebody without the verifier is worth nothing, and stays what it is.
      const proof = oauth.generateRandomCodeVerifier()
      await expect(trade(came, auth, { proof })).rejects.toMatchObject({
        error: 'invalid_grant',
        status: 400,
      })
      const mixedUp = new URL(came)
      mixedUp.searchParams.set('iss', 'https://other.example.com')
      await expect(trade(mixedUp, auth)).rejects.toThrow('"iss"')

      const { answer, tokens } = await trade(came, auth)
      await oauth.validateApplicationLevelSignature(server, answer, insecure)
      expect(oauth.getValidatedIdTokenClaims(tokens)).toMatchObject({ sub: person.id, email: person.email })
      expect(tokens).toMatchObject({ token_type: 'bearer', scope: 'openid email' })
      const ask = () => oauth.userInfoRequest(server, client, tokens.access_token, insecure)
      const info = await oauth.processUserInfoResponse(server, client, person.id, await ask())
      expect(info).toMatchObject({ sub: person.id, email: person.email })
      expect(await introspect(tokens.access_token)).toMatchObject({
        active: true,
        client_id: app.id,
        sub: person.id,
        aud: `${service.url}/oauth/userinfo`,
      })

      const refresh = async (token: string) =>
        oauth.processRefreshTokenResponse(
          server,
          client,
          await oauth.refreshTokenGrantRequest(server, client, auth, token, insecure),
        )
      const next = await refresh(tokens.refresh_token ?? '')
      expect(next.refresh_token).not.toBe(tokens.refresh_token)
      const last = next.refresh_token ?? ''
      await oauth.processRevocationResponse(
        await oauth.revocationRequest(server, client, auth, last, insecure),
      )
      await expect(refresh(last)).rejects.toMatchObject({ error: 'invalid_grant', status: 400 })
      expect(await introspect(next.access_token)).toEqual({ active: false })
      const refused = oauth.processUserInfoResponse(server, client, person.id, await ask())
      await expect(refused).rejects.toMatchObject({
        status: 401,
        cause: [{ scheme: 'bearer', parameters: { error: 'invalid_token' } }],
      })
    })
  })

  test('authenticates by its key (private_key_jwt), and gets a token for an API', async () => {
    const [pair, other] = [await generateKeyPair('ES256'), await generateKeyPair('ES256')]
    const jwks = { keys: [{ ...(await exportJWK(pair.publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }] }
    const more = { kind: 'confidential', redirect_uris: [CALLBACK], jwks }
    const client = { client_id: (await registerApp(service, admin, more)).id }
    const asked = { redirect_uri: CALLBACK, resource: api.identifier, scope: 'openid read' }
    const { url, trade } = await begin(client, asked)
    const { url: came } = await allowByForms(newPlainBrowser(), url, person)

    const byKey = (key: CryptoKey) => oauth.PrivateKeyJwt({ key, kid: 'one' })
    const wrong = trade(came, byKey(other.privateKey))
    await expect(wrong).rejects.toMatchObject({ status: 401 })
    const auth = byKey(pair.privateKey)
    const { tokens } = await trade(came, auth, { resource: api.identifier })
    expect(tokens.scope).toBe('openid read')
    const request = new Request(api.identifier, {
      headers: { authorization: `Bearer ${tokens.access_token}` },
    })
    const claims = await oauth.validateJwtAccessToken(server, request, api.identifier, insecure)
    expect(claims).toMatchObject({ sub: person.id, client_id: client.client_id, scope: 'read' })
    const elsewhere = oauth.validateJwtAccessToken(server, request, 'https://other.example.com', insecure)
    await expect(elsewhere).rejects.toThrow('"aud"')
    const answer = await oauth.refreshTokenGrantRequest(
      server,
      client,
      auth,
      tokens.refresh_token ?? '',
      insecure,
    )
    const next = await oauth.processRefreshTokenResponse(server, client, answer)
    expect(await introspect(next.access_token)).toMatchObject({ active: true, aud: api.identifier })
  })

  test('signs a device in, which learns each answer by asking (RFC 8628)', async () => {
    const app = await registerApp(service, admin, { redirect_uris: [], grants: [DEVICE, 'refresh_token'] })
    const client = { client_id: app.id }
    const asked = { resource: api.identifier, scope: 'read' }
    const newDevice = async () =>
      oauth.processDeviceAuthorizationResponse(
        server,
        client,
        await oauth.deviceAuthorizationRequest(server, client, oauth.None(), asked, insecure),
      )
    const poll = async ({ device_code }: oauth.DeviceAuthorizationResponse) =>
      oauth.processDeviceCodeResponse(
        server,
        client,
        await oauth.deviceCodeGrantRequest(server, client, oauth.None(), device_code, insecure),
      )
    const [wanted, unwanted] = [await newDevice(), await newDevice()]
    await expect(poll(wanted)).rejects.toMatchObject({ error: 'authorization_pending', status: 400 })
    const browser = newPlainBrowser()
    const place = (device: typeof wanted) => device.verification_uri_complete ?? ''
    await allowByForms(browser, place(wanted), person)
    const tokens = await poll(wanted)
    expect(tokens).toMatchObject({ token_type: 'bearer', scope: 'read' })
    expect(await introspect(tokens.access_token)).toMatchObject({ active: true, aud: api.identifier })
    await allowByForms(browser, place(unwanted), person, 'cancel')
    await expect(poll(unwanted)).rejects.toMatchObject({ error: 'access_denied', status: 400 })
  })

  test('exchanges an API key for a token of an API (RFC 8693)', async () => {
    const client = { client_id: 'ci' }
    const { key } = await newKey(service, person.access, { scopes: ['read'] })
    const exchange = async (subject_token: string) =>
      oauth.processGenericTokenEndpointResponse(
        server,
        client,
        await oauth.genericTokenEndpointRequest(
          server,
          client,
          oauth.None(),
          'urn:ietf:params:oauth:grant-type:token-exchange',
          { subject_token, subject_token_type: 'urn:latchkey:token-type:api_key', resource: api.identifier },
          insecure,
        ),
      )
    const tokens = await exchange(key)
    expect(tokens).toMatchObject({
      issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
      token_type: 'bearer',
      scope: 'read',
    })
    const request = new Request(api.identifier, {
      headers: { authorization: `Bearer ${tokens.access_token}` },
    })
    const claims = await oauth.validateJwtAccessToken(server, request, api.identifier, insecure)
    expect(claims.sub).toBe(person.id)
    // Another token is no key.
    await expect(exchange(tokens.access_token)).rejects.toMatchObject({ status: 400 })
  })
})
