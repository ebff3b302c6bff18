import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { createHash, randomBytes } from 'node:crypto'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createRemoteJWKSet, exportJWK, generateKeyPair, jwtVerify } from 'jose'
import OidcProvider, { errors } from 'oidc-provider'
import { newPerson } from '../support/client.ts'
import { freePort } from '../support/free-port.ts'
import { adminToken, basic, newClient } from '../support/oauth.ts'
import {
  allowByForms,
  formWith,
  newPlainBrowser,
  type Page,
  type PlainBrowser,
} from '../support/plain-browser.ts'
import { registerApp, registerResource } from '../support/registered-apps.ts'
import { useService } from '../support/use-service.ts'

// oidc-provider is certified by the OpenID Foundation. One script asks both, and where the standards leave no choice both
// have to give the answer that is written here. docs/decisions/0055 has what differs on purpose.

setDefaultTimeout(240_000)

const CALLBACK = 'https://app.example.com/callback'
const RESOURCE = 'https://api.example.com/mcp'
const GRANTS = ['authorization_code', 'refresh_token']
const REFRESH = { grant_type: 'refresh_token' }
const CODE = { grant_type: 'authorization_code', redirect_uri: CALLBACK, code_verifier: 'v'.repeat(43) }
const DEVICE = 'urn:ietf:params:oauth:grant-type:device_code'

type Credentials = { id: string; secret: string }
/** A provider with a person, as the script meets it. */
type Peer = {
  issuer: string
  /** A confidential app, a public one, one of a device, and who may introspect. */
  app: Credentials
  open: Pick<Credentials, 'id'>
  device: Pick<Credentials, 'id'>
  watcher: Credentials
  /** Goes through the provider's pages, with the person's consent. */
  allow(browser: PlainBrowser, to: URL): Promise<Page>
}

const service = useService({ isIssuer: true })
let ours: Peer
let theirs: Peer
let server: Server

beforeAll(async () => {
  const admin = await adminToken(service)
  const person = await newPerson(service)
  await registerResource(service, admin, {
    identifier: RESOURCE,
    scopes: [
      { name: 'read', description: 'Read' },
      { name: 'write', description: 'Write' },
    ],
  })
  const app = await registerApp(service, admin, { kind: 'confidential', redirect_uris: [CALLBACK] })
  const open = await registerApp(service, admin, { redirect_uris: [CALLBACK] })
  const device = await registerApp(service, admin, { redirect_uris: [], grants: [DEVICE] })
  ours = {
    issuer: service.url,
    app: { id: app.id, secret: app.secret ?? '' },
    open,
    device,
    watcher: await newClient(service, admin, ['latchkey:introspect']),
    allow: (browser, to) => allowByForms(browser, to, person),
  }
  theirs = await startOidcProvider()
})
afterAll(() => server?.close())

/** oidc-provider with its own pages for development, whose person has any name and any password. */
async function startOidcProvider(): Promise<Peer> {
  const port = await freePort()
  const issuer = `http://127.0.0.1:${port}`
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  const more = {
    redirect_uris: [CALLBACK],
    response_types: ['code' as const],
    grant_types: GRANTS,
    id_token_signed_response_alg: 'ES256' as const,
  }
  const app = { id: 'web', secret: randomBytes(32).toString('hex') }
  const provider = new OidcProvider(issuer, {
    jwks: { keys: [{ ...(await exportJWK(privateKey)), kid: 'one', alg: 'ES256', use: 'sig' }] },
    cookies: { keys: ['only-for-the-tests'] },
    clients: [
      { ...more, client_id: app.id, client_secret: app.secret },
      { ...more, client_id: 'open', token_endpoint_auth_method: 'none' },
      {
        ...more,
        client_id: 'device',
        token_endpoint_auth_method: 'none',
        grant_types: [DEVICE],
        response_types: [],
        redirect_uris: [],
      },
    ],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['updated_at'] },
    pkce: { required: () => true },
    issueRefreshToken: async (_, client) => client.grantTypeAllowed('refresh_token'),
    findAccount: async (_, id) => ({
      accountId: id,
      claims: async () => ({ sub: id, email: 'a@example.com', email_verified: false, updated_at: 1 }),
    }),
    features: {
      deviceFlow: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo(_, resource) {
          if (resource !== RESOURCE) throw new errors.InvalidTarget()
          return { scope: 'read write', accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }
        },
      },
    },
  })
  server = await new Promise<Server>((resolve) => {
    const listening = provider.listen(port, '127.0.0.1', () => resolve(listening))
  })
  if ((server.address() as AddressInfo).port !== port) throw new Error('It listens elsewhere')
  return {
    issuer,
    app,
    open: { id: 'open' },
    device: { id: 'device' },
    watcher: app,
    async allow(browser, to) {
      let page = await browser.open(to)
      const login = formWith(page, 'login', 'password')
      if (login) page = await browser.send(login, { login: 'somebody', password: 'anything' })
      const consent = formWith(page, 'prompt')
      return consent ? browser.send(consent) : page
    },
  }
}

type Metadata = Record<string, string | string[] | boolean>
const metadata = new Map<Peer, Metadata>()
async function discover(peer: Peer): Promise<Metadata> {
  const known = metadata.get(peer)
  if (known) return known
  const answer = await fetch(`${peer.issuer}/.well-known/openid-configuration`)
  const found = (await answer.json()) as Metadata
  metadata.set(peer, found)
  return found
}

/** The answer of an endpoint that the metadata name. */
type Told = { status: number; headers: Headers; body: Record<string, unknown> | null }
async function post(
  peer: Peer,
  endpoint: string,
  form: Record<string, string>,
  headers: Record<string, string> = {},
): Promise<Told> {
  const url = (await discover(peer))[`${endpoint}_endpoint`]
  const answer = await fetch(String(url), { method: 'POST', body: new URLSearchParams(form), headers })
  const text = await answer.text()
  return {
    status: answer.status,
    headers: answer.headers,
    body: text.startsWith('{') ? JSON.parse(text) : null,
  }
}
const asApp = ({ app }: Peer) => basic(app.id, app.secret)

/** What the standards fix of a refusal: `401 invalid_client Basic`. It is JSON, and is not stored. */
function refusalOf({ status, headers, body }: Told): string {
  const isJson = headers.get('content-type')?.startsWith('application/json')
  const isStored = !headers.get('cache-control')?.includes('no-store')
  const scheme = /^\w+/.exec(headers.get('www-authenticate') ?? '')?.[0]
  return [status, body?.error, scheme, !isJson && 'not JSON', isStored && 'stored'].filter(Boolean).join(' ')
}

/** Asks both for the same, and expects the same of both. */
async function expectBoth(ask: (peer: Peer) => Promise<unknown>, answer: unknown): Promise<void> {
  const told = { latchkey: await ask(ours), 'oidc-provider': await ask(theirs) }
  expect<Record<string, unknown>>(told).toEqual({ latchkey: answer, 'oidc-provider': answer })
}

const newProof = () => {
  const verifier = randomBytes(32).toString('base64url')
  return { verifier, challenge: createHash('sha256').update(verifier).digest('base64url') }
}

/** The address of a right request; a member that is null is left out. */
async function authorization(
  peer: Peer,
  challenge: string,
  more: Record<string, string | null> = {},
): Promise<URL> {
  const url = new URL(String((await discover(peer)).authorization_endpoint))
  const all = {
    client_id: peer.app.id,
    redirect_uri: CALLBACK,
    response_type: 'code',
    scope: 'openid email',
    code_challenge: challenge,
    code_challenge_method: 'S256',
    state: 'st4te',
    nonce: 'n0nce',
    ...more,
  }
  for (const [name, value] of Object.entries(all)) if (value !== null) url.searchParams.set(name, value)
  return url
}

type Code = { code: string; verifier: string }
async function newCode(peer: Peer, more: Record<string, string> = {}): Promise<Code> {
  const { verifier, challenge } = newProof()
  const page = await peer.allow(newPlainBrowser(), await authorization(peer, challenge, more))
  const { searchParams } = page.url
  if (!searchParams.has('code')) throw new Error(`No code at ${page.url}, ${page.status}: ${page.text}`)
  expect([searchParams.get('state'), searchParams.get('iss')]).toEqual(['st4te', peer.issuer])
  return { code: searchParams.get('code') ?? '', verifier }
}
const trade = (peer: Peer, { code, verifier }: Code, more: Record<string, string> = {}) =>
  post(
    peer,
    'token',
    { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: CALLBACK, ...more },
    asApp(peer),
  )
const refresh = (peer: Peer, refresh_token = '', more: Record<string, string> = {}) =>
  post(peer, 'token', { ...REFRESH, refresh_token, ...more }, asApp(peer))
async function newTokens(peer: Peer, more: Record<string, string> = {}): Promise<Record<string, string>> {
  const { status, body } = await trade(peer, await newCode(peer, more))
  if (status !== 200) throw new Error(`No tokens: ${status} ${JSON.stringify(body)}`)
  return body as Record<string, string>
}

describe('beside oidc-provider, as the standards say', () => {
  test('the metadata have the same members in the same form, and the same words where one is right', async () => {
    const [own, other] = [await discover(ours), await discover(theirs)]
    const form = (value: unknown) => (Array.isArray(value) ? 'list' : typeof value)
    const shared = Object.keys(own).filter((name) => name in other)
    expect(shared.length).toBeGreaterThan(15)
    const formsOf = (of: Metadata) => shared.map((name) => [name, form(of[name])])
    expect(formsOf(own)).toEqual(formsOf(other))
    await expectBoth(
      async (peer) => {
        const { issuer, subject_types_supported, ...rest } = await discover(peer)
        return {
          issuer: issuer === peer.issuer,
          subjects: subject_types_supported,
          challenges: rest.code_challenge_methods_supported,
          iss: rest.authorization_response_iss_parameter_supported,
        }
      },
      { issuer: true, subjects: ['public'], challenges: ['S256'], iss: true },
    )
  })

  test.each<[what: string, more: Record<string, string | null>, answer: string]>([
    ['an unknown client', { client_id: 'nobody' }, '400 page'],
    ['a redirect URI that is not registered', { redirect_uri: 'https://evil.example.com/' }, '400 page'],
    ['a redirect URI that is registered, and more', { redirect_uri: `${CALLBACK}/x` }, '400 page'],
    ['another response type', { response_type: 'token' }, 'unsupported_response_type'],
    ['no response type', { response_type: null }, 'invalid_request'],
    ['no PKCE', { code_challenge: null, code_challenge_method: null }, 'invalid_request'],
    ['PKCE by the verifier itself', { code_challenge_method: 'plain' }, 'invalid_request'],
    ['no page, and nobody is signed in', { prompt: 'none' }, 'login_required'],
    ['no page, and a page', { prompt: 'none login' }, 'invalid_request'],
    ['a request object', { request: 'eyJhbGciOiJub25lIn0.e30.' }, 'request_not_supported'],
    ['a request object elsewhere', { request_uri: 'https://app.example.com/r' }, 'request_uri_not_supported'],
    ['an unknown resource', { resource: 'https://other.example.com/' }, 'invalid_target'],
    ['a resource with a fragment', { resource: `${RESOURCE}#x` }, 'invalid_target'],
    ['a max_age that is no number', { max_age: 'old' }, 'invalid_request'],
  ])('the authorization endpoint refuses %s', async (_, more, answer) => {
    const refuse = async (peer: Peer) => {
      const to = await authorization(peer, newProof().challenge, more)
      const { url, status } = await newPlainBrowser().open(to)
      if (`${url.origin}${url.pathname}` !== CALLBACK) return `${status} page`
      // There the answer to another response type stands behind the #.
      const said = new URLSearchParams(url.search || url.hash.slice(1))
      expect([said.get('state'), said.get('iss')]).toEqual(['st4te', peer.issuer])
      return said.get('error')
    }
    await expectBoth(refuse, answer)
  })

  test('a code is traded for the same members, and an ID token that verifies', async () => {
    const ask = async (peer: Peer) => {
      const tokens = await newTokens(peer)
      const { jwks_uri, userinfo_endpoint } = await discover(peer)
      const expected = { issuer: peer.issuer, audience: peer.app.id, requiredClaims: ['exp', 'iat'] }
      const jwks = createRemoteJWKSet(new URL(String(jwks_uri)))
      const { payload, protectedHeader } = await jwtVerify(tokens.id_token ?? '', jwks, expected)
      const headers = { authorization: `Bearer ${tokens.access_token}` }
      const answer = await fetch(String(userinfo_endpoint), { headers })
      const info = (await answer.json()) as { sub: string }
      return {
        members: Object.keys(tokens).sort(),
        types: [typeof tokens.expires_in, tokens.token_type?.toLowerCase(), tokens.scope],
        idToken: [protectedHeader.alg, payload.nonce, payload.aud === peer.app.id],
        userinfo: [Object.keys(info).sort(), info.sub === payload.sub],
      }
    }
    await expectBoth(ask, {
      members: ['access_token', 'expires_in', 'id_token', 'refresh_token', 'scope', 'token_type'],
      types: ['number', 'bearer', 'openid email'],
      idToken: ['ES256', 'n0nce', true],
      userinfo: [['email', 'email_verified', 'sub'], true],
    })
  })

  test('a token for a resource is for it alone (RFC 8707, RFC 9068)', async () => {
    const ask = async (peer: Peer) => {
      const more = { resource: RESOURCE, scope: 'openid read' }
      const { body } = await trade(peer, await newCode(peer, more), { resource: RESOURCE })
      const jwks = createRemoteJWKSet(new URL(String((await discover(peer)).jwks_uri)))
      const { payload } = await jwtVerify(String(body?.access_token), jwks, {
        issuer: peer.issuer,
        audience: RESOURCE,
        typ: 'at+jwt',
        requiredClaims: ['sub', 'exp', 'iat', 'jti'],
      })
      return [payload.scope, payload.client_id === peer.app.id]
    }
    await expectBoth(ask, ['read', true])
  })

  test.each<[what: string, form: Record<string, string>, by: 'app' | 'wrong' | 'nobody', answer: string]>([
    ['an unknown code', { ...CODE, code: 'nonsense' }, 'app', '400 invalid_grant'],
    ['no code', CODE, 'app', '400 invalid_request'],
    ['no grant', { code: 'nonsense' }, 'app', '400 invalid_request'],
    ['an unknown grant', { grant_type: 'urn:example:none' }, 'app', '400 unsupported_grant_type'],
    ['an unknown refresh token', { ...REFRESH, refresh_token: 'nonsense' }, 'app', '400 invalid_grant'],
    ['no refresh token', REFRESH, 'app', '400 invalid_request'],
    ['a wrong secret', { ...REFRESH, refresh_token: 'nonsense' }, 'wrong', '401 invalid_client Basic'],
    ['an unknown client', { ...REFRESH, refresh_token: 'nonsense' }, 'nobody', '401 invalid_client Basic'],
  ])('the token endpoint refuses %s', async (_, form, by, answer) => {
    const headers = {
      app: asApp,
      wrong: ({ app }: Peer) => basic(app.id, 'wrong'),
      nobody: () => basic('nobody', 'wrong'),
    }
    await expectBoth(async (peer) => refusalOf(await post(peer, 'token', form, headers[by](peer))), answer)
  })

  test.each([
    ['another verifier', { code_verifier: newProof().verifier }],
    ['another redirect URI', { redirect_uri: `${CALLBACK}/x` }],
  ])('a code is worth nothing with %s', async (_, more) => {
    await expectBoth(
      async (peer) => refusalOf(await trade(peer, await newCode(peer), more)),
      '400 invalid_grant',
    )
  })

  test('a code that comes a second time ends what the first one began', async () => {
    const ask = async (peer: Peer) => {
      const code = await newCode(peer)
      const first = (await trade(peer, code)).body as Record<string, string>
      const headers = { authorization: `Bearer ${first.access_token}` }
      const userinfo = String((await discover(peer)).userinfo_endpoint)
      const before = (await fetch(userinfo, { headers })).status
      const second = refusalOf(await trade(peer, code))
      const after = (await fetch(userinfo, { headers })).status
      return [before, second, after, refusalOf(await refresh(peer, first.refresh_token))]
    }
    await expectBoth(ask, [200, '400 invalid_grant', 401, '400 invalid_grant'])
  })

  test('a refresh narrows and never widens', async () => {
    const ask = async (peer: Peer) => {
      const first = await newTokens(peer, { scope: 'openid email profile' })
      const wider = await refresh(peer, first.refresh_token, { scope: 'openid phone' })
      const { status, body } = await refresh(peer, first.refresh_token, { scope: 'openid' })
      return [refusalOf(wider), status, body?.scope, Object.keys(body ?? {}).includes('access_token')]
    }
    await expectBoth(ask, ['400 invalid_scope', 200, 'openid', true])
  })

  test('userinfo refuses nonsense by a challenge', async () => {
    const ask = async (peer: Peer) => {
      const userinfo = String((await discover(peer)).userinfo_endpoint)
      const answer = await fetch(userinfo, { headers: { authorization: 'Bearer nonsense' } })
      const challenge = answer.headers.get('www-authenticate') ?? ''
      return [answer.status, /^\w+/.exec(challenge)?.[0], /error="(\w+)"/.exec(challenge)?.[1]]
    }
    await expectBoth(ask, [401, 'Bearer', 'invalid_token'])
  })

  test('introspection and revocation tell nothing of a token that is worth nothing', async () => {
    const ask = async (peer: Peer) => {
      const byWatcher = basic(peer.watcher.id, peer.watcher.secret)
      const { refresh_token: token = '' } = await newTokens(peer)
      const introspect = async (asked: string) => {
        const { status, body } = await post(peer, 'introspection', { token: asked }, byWatcher)
        return body?.active === false
          ? [status, body]
          : [status, body?.active, body?.client_id === peer.app.id]
      }
      const revoke = async (asked: string) =>
        (await post(peer, 'revocation', { token: asked }, asApp(peer))).status
      const stranger = await post(peer, 'introspection', { token }, basic('nobody', 'x'))
      return {
        live: await introspect(token),
        revoked: [await revoke(token), await revoke(token), await revoke('nonsense')],
        dead: await introspect(token),
        nonsense: await introspect('nonsense'),
        stranger: refusalOf(stranger),
        nothing: refusalOf(await post(peer, 'introspection', {}, byWatcher)),
      }
    }
    await expectBoth(ask, {
      live: [200, true, true],
      revoked: [200, 200, 200],
      dead: [200, { active: false }],
      nonsense: [200, { active: false }],
      stranger: '401 invalid_client Basic',
      nothing: '400 invalid_request',
    })
  })

  test('a device gets the same members, and waits in the same words (RFC 8628)', async () => {
    const ask = async (peer: Peer) => {
      const client_id = peer.device.id
      const poll = async (device_code: unknown) =>
        refusalOf(
          await post(peer, 'token', { grant_type: DEVICE, client_id, device_code: String(device_code) }),
        )
      const asked = { client_id, resource: RESOURCE, scope: 'read' }
      const { status, body } = await post(peer, 'device_authorization', asked)
      // `interval` may be left out.
      const members = Object.keys(body ?? {}).filter((name) => name !== 'interval')
      return [status, members.sort(), await poll(body?.device_code), await poll('nonsense')]
    }
    const members = [
      'device_code',
      'expires_in',
      'user_code',
      'verification_uri',
      'verification_uri_complete',
    ]
    await expectBoth(ask, [200, members, '400 authorization_pending', '400 invalid_grant'])
  })

  test('where they differ, it is as docs/decisions/0055 says', async () => {
    const ask = async (peer: Peer) => {
      const ofDevice = { grant_type: DEVICE, device_code: 'nonsense' }
      const { refresh_token = '' } = await newTokens(peer)
      const of = { resource: RESOURCE, scope: 'openid read' }
      const swapped = { resource: 'https://other.example.com/' }
      return {
        "a grant that is not the client's": refusalOf(await post(peer, 'token', ofDevice, asApp(peer))),
        'a device of a client that is for none': refusalOf(
          await post(peer, 'device_authorization', { client_id: peer.open.id }),
        ),
        'a refresh that names no client': refusalOf(await post(peer, 'token', { ...REFRESH, refresh_token })),
        "a resource that is not the code's": refusalOf(await trade(peer, await newCode(peer, of), swapped)),
        'nothing to revoke': refusalOf(await post(peer, 'revocation', {}, asApp(peer))),
      }
    }
    expect([await ask(ours), await ask(theirs)]).toEqual([
      {
        "a grant that is not the client's": '400 unauthorized_client',
        'a device of a client that is for none': '400 unauthorized_client',
        'a refresh that names no client': '401 invalid_client Basic',
        "a resource that is not the code's": '400 invalid_grant',
        'nothing to revoke': '400 invalid_request',
      },
      {
        "a grant that is not the client's": '400 invalid_request',
        'a device of a client that is for none': '400 invalid_request',
        'a refresh that names no client': '400 invalid_request',
        "a resource that is not the code's": '400 invalid_target',
        'nothing to revoke': '400 invalid_request stored',
      },
    ])
  })
})
