import { beforeAll, describe, expect, expectTypeOf, setSystemTime, test } from 'bun:test'
import { constants, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { Elysia } from 'elysia'
import { latchkey } from '../../client/elysia.ts'
import { protect } from '../../client/express.ts'
import {
  type ClientPrincipal,
  createClient,
  type KeyPrincipal,
  type Principal,
  type Refusal,
  type UserPrincipal,
} from '../../client/index.ts'
import type { Exactly } from '../../client/need.ts'
import { catalogue as refusals } from '../../client/refusal.ts'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import type * as server from '../../src/core/principal.ts'
import { revokeSigningKey } from '../../src/core/signing/signing-keys.ts'
import { catalogue } from '../../src/lib/errors.ts'
import { call, logIn, newKey, newPerson } from '../support/client.ts'
import {
  assemble,
  type Claims,
  hmacSigner,
  keySigner,
  ownSigner,
  partsOf,
  type Signer,
  unsigned,
} from '../support/forge.ts'
import {
  clientOf,
  describeAnswer,
  describeVerdict,
  type Pairs,
  startFront,
  statusOf,
  verifierKey,
} from '../support/latchkey-client.ts'
import { adminToken, newClient, type OAuthClient, tokenOf } from '../support/oauth.ts'
import { startService } from '../support/service.ts'
import { kidOf } from '../support/signing.ts'
import { prepare, useService } from '../support/use-service.ts'

const keyNames = { apiKeyHeaders: ['apikey'], apiKeySchemes: ['token'] }
const service = useService({ isIssuer: true, ...keyNames })
const person = prepare(() => newPerson(service))
let key: string
let keyId: string
let admin: string
let ownKey: string
let batch: OAuthClient
let client: ReturnType<typeof clientOf>
beforeAll(async () => {
  admin = await adminToken(service)
  ownKey = await verifierKey(service)
  ;({ id: keyId, key } = await newKey(service, person.access, {
    name: 'robot',
    scopes: 'read',
  }))
  const labels = { metadata: { a: 1 } }
  await call(service, `PATCH /keys/${keyId}`, { bearer: admin, json: labels })
  batch = await newClient(service, admin, ['read'])
  client = clientOf({ url: service.url, key: ownKey, apiKeyHeaders: ['ApiKey'], apiKeySchemes: ['Token'] })
})

describe('a valid credential gives its principal', () => {
  test('a user, by their access token', async () => {
    const { payload } = partsOf(person.access)
    expect(await client.bearer(person.access)).toEqual({
      kind: 'user',
      userId: person.id,
      sessionId: String(payload.sid),
      role: 'user',
      scopes: ['read', 'write'],
      amr: ['pwd'],
    })
  })

  test('a key, by either header', async () => {
    const principal = {
      kind: 'key',
      keyId,
      name: 'robot',
      owner: { type: 'user', id: person.id },
      externalId: null,
      metadata: { a: 1 },
      secretExpiresAt: null,
      scopes: ['read'],
      credits: null,
      ownerCredits: null,
      rate: null,
      rateLimit: null,
    }
    expect(await client.bearer(key)).toEqual(principal as KeyPrincipal)
    expect(await client.ask({ 'x-api-key': key })).toEqual(principal as KeyPrincipal)
  })

  test("a service account, by its key and by its token, which has the key's limits and the scopes of the token", async () => {
    const { id } = batch
    const principal = { kind: 'key', keyId: batch.keyId, owner: { type: 'service_account', id } }
    expect(await client.bearer(batch.secret)).toMatchObject({ ...principal, scopes: ['read'] })
    expect(await client.bearer(await tokenOf(service, batch))).toMatchObject({
      ...principal,
      scopes: ['read'],
    })
  })

  test('the type of the principal follows the need, and its members are those of the server', () => {
    const { authenticate } = createClient({ url: service.url })
    const request = new Request(service.url)
    const types = {
      user: () => authenticate(request, { kind: 'user' }),
      admin: () => authenticate(request, { role: 'admin', scopes: ['read'] }),
      factor: () => authenticate(request, { mfa: true }),
      app: () => authenticate(request, { kind: 'client' }),
      key: () => authenticate(request, { kind: 'key', ip: '127.0.0.1' }),
      anyone: () => authenticate(request),
    }
    expectTypeOf(types.user).returns.resolves.toEqualTypeOf<UserPrincipal | Refusal>()
    expectTypeOf(types.admin).returns.resolves.toEqualTypeOf<(UserPrincipal & { role: 'admin' }) | Refusal>()
    expectTypeOf(types.factor).returns.resolves.toEqualTypeOf<UserPrincipal | ClientPrincipal | Refusal>()
    expectTypeOf(types.app).returns.resolves.toEqualTypeOf<ClientPrincipal | Refusal>()
    expectTypeOf(types.key).returns.resolves.toEqualTypeOf<KeyPrincipal | Refusal>()
    expectTypeOf(types.anyone).returns.resolves.toEqualTypeOf<Principal | Refusal>()
    // @ts-expect-error a misspelled need would require nothing
    const mistyped = () => authenticate(request, { kind: 'user', scope: ['read'] })
    // @ts-expect-error a refusal has no members of a principal
    const unread = async () => (await authenticate(request, { kind: 'user' })).userId
    expect([mistyped, unread]).toBeArray()

    type Shared<P, Own extends keyof P> = Omit<P, Own>
    expectTypeOf<server.UserPrincipal>().toExtend<UserPrincipal>()
    expectTypeOf<server.KeyPrincipal>().toExtend<
      Shared<KeyPrincipal, 'credits' | 'ownerCredits' | 'rate' | 'rateLimit' | 'secretExpiresAt'>
    >()
    expectTypeOf<Exactly<{ kind: 'user' }>>().toExtend<{ kind: 'user' }>()
  })

  class OfAdmins {
    get role() {
      return 'admin'
    }
  }
  const NONE: [string, unknown][] = [
    ['an unknown member', { scope: ['read'] }],
    ['an unknown kind', { kind: 'users' }],
    ['an unknown role', { role: 'root' }],
    ['a second factor that is not asked for', { mfa: false }],
    ['a text for a list', { scopes: 'read' }],
    ['a text for a number', { cost: '1' }],
    ['a role that is undefined', { role: undefined }],
    ['scopes that are undefined', { scopes: undefined }],
    ['an instance of a class', new OfAdmins()],
    ['an inherited member', Object.create({ role: 'admin' })],
    ['a map', new Map([['role', 'admin']])],
    ['a promise', Promise.resolve({ role: 'admin' })],
    ['a function', () => ({ role: 'admin' })],
    ['a list', []],
    ['a number', 1],
  ]
  test.each(NONE)('an invalid need is an error, and no request is accepted: %s', async (_, need) => {
    const authenticate = client.client.authenticate as (
      request: { headers: Headers },
      need: unknown,
    ) => Promise<unknown>
    const request = { headers: new Headers({ authorization: `Bearer ${person.access}` }) }
    expect(await authenticate(request, Object.assign(Object.create(null), { kind: 'user' }))).toMatchObject({
      userId: person.id,
    })
    await expect(authenticate(request, need)).rejects.toThrow(TypeError)
    expect(() => protect(client.client, need as object)).toThrow(TypeError)
    expect(() =>
      new Elysia().use(latchkey(client.client)).get('/', () => '', { anyone: need as object }),
    ).toThrow(TypeError)
  })
})

describe('the client refuses like Latchkey itself', () => {
  const ROUTES: [string, string, object][] = [
    ['/protected/any', 'any', {}],
    ['/protected/user-only', 'a user', { kind: 'user' }],
    ['/protected/service-only', 'a key with "read"', { kind: 'key', scopes: ['read'] }],
    ['/protected/admin', 'an admin', { role: 'admin' }],
  ]
  const writer = async () => (await newKey(service, person.access, { scopes: 'write' })).key
  const headersOf: Record<string, () => Pairs | Promise<Pairs>> = {
    nothing: () => ({}),
    'a good token': () => ({ authorization: `Bearer ${person.access}` }),
    'a good token, written loosely': () => ({ authorization: `bEARER   ${person.access}  ` }),
    'a good key': () => ({ 'x-api-key': key }),
    'a good key as a bearer': () => ({ authorization: `Bearer ${key}` }),
    'a key with another scope': async () => ({ 'x-api-key': await writer() }),
    'a token of a service account': async () => ({
      authorization: `Bearer ${await tokenOf(service, batch)}`,
    }),
    "an admin's token": () => ({ authorization: `Bearer ${admin}` }),
    'a good key in a header of its own': () => ({ apikey: key }),
    'a good key by a scheme of its own': () => ({ authorization: `tOKEN  ${key}` }),
    'a good key by Basic': () => ({ authorization: `Basic ${btoa(`${key}:`)}` }),
    'an access token in such a header': () => ({ apikey: person.access }),
    'an access token by such a scheme': () => ({ authorization: `Token ${person.access}` }),
    'such a header beside X-API-Key': () => ({ apikey: key, 'x-api-key': key }),
    'such a header beside Authorization': () => ({ apikey: key, authorization: `Token ${key}` }),
    'a header that is not named': () => ({ 'x-access-token': key }),
    'a scheme that is not named': () => ({ authorization: `ApiKey ${key}` }),
    'both headers': () => ({ authorization: `Bearer ${person.access}`, 'x-api-key': key }),
    'a header twice': () => [
      ['authorization', `Bearer ${person.access}`],
      ['authorization', `Bearer ${person.access}`],
    ],
    'two keys': () => ({ 'x-api-key': `${key}, ${key}` }),
    'another scheme': () => ({ authorization: `Basic ${btoa(`a:${key}`)}` }),
    'a scheme alone': () => ({ authorization: 'Bearer' }),
    'no scheme': () => ({ authorization: person.access }),
    'two words': () => ({ authorization: `Bearer ${person.access} x` }),
    'an access token as a key': () => ({ 'x-api-key': person.access }),
    'a broken token': () => ({ authorization: `Bearer ${person.access}x` }),
    'an endless token': () => ({ authorization: `Bearer eyJ${'x'.repeat(9000)}` }),
  }

  test.each(ROUTES)('%s (%s)', async (path, _, need) => {
    for (const [name, make] of Object.entries(headersOf)) {
      const headers = await make()
      const own = await call(service, `GET ${path}`, { headers: headers as Record<string, string> })
      const ours = await client.ask(headers, need)
      expect({ name, ...describeVerdict(ours) }).toEqual({ name, ...describeAnswer(own) })
    }
  })

  test('the middleware for Node hands on such a header, and refuses it beside another credential', async () => {
    const ask = async (...rawHeaders: string[]) => {
      const response = { locals: {} as { principal: Principal }, status: 200 }
      const writeHead = (status: number) => {
        response.status = status
        return { end: () => {} }
      }
      const answer = Object.assign(response, { writeHead }) as never
      await protect(client.client)({ rawHeaders, ip: '127.0.0.1' }, answer, () => {})
      return `${response.locals.principal?.kind ?? response.status}`
    }
    expect(await ask(':path', '/', 'ApiKey', key)).toBe('key')
    expect(await ask('ApiKey', key, 'apikey', key)).toBe('400')
    expect(await ask('ApiKey', key, 'Authorization', `Bearer ${key}`)).toBe('400')
  })

  test('a header or scheme that the client does not know carries nothing', async () => {
    const plain = clientOf({ url: service.url, key: ownKey })
    expect(describeVerdict(await plain.ask({ apikey: key })).body.code).toBe('missing_credential')
    expect(describeVerdict(await plain.ask({ authorization: `Token ${key}` })).body.code).toBe(
      'invalid_token',
    )
    const create = (name: string) => () => createClient({ url: service.url, apiKeyHeaders: [name] })
    for (const wrong of ['Authorization', 'a b', '']) expect(create(wrong)).toThrow(TypeError)
    expect(create('X-API-Key')).not.toThrow()
  })

  test.each([
    ['short', 'x'],
    ['like one', 'sk_nothing'],
    ['a refresh token', 'rt_nothing'],
    ['beyond ASCII', 'sk_ü'],
    ['endless', 'x'.repeat(5000)],
  ])('an unknown key is refused: %s', async (_, unknown) => {
    const own = await call(service, 'GET /protected/any', { apiKey: unknown })
    expect(own.status).toBe(401)
    expect(describeVerdict(await client.ask({ 'x-api-key': unknown }))).toEqual(describeAnswer(own))
    // Latchkey is not asked here: the text is no access token.
    expect(statusOf(await client.ask({ 'x-api-key': unknown }, { kind: 'user' }))).toBe(403)
  })

  test('every needed scope is required, and an admin has every scope', async () => {
    expect(statusOf(await client.bearer(person.access, { scopes: ['read', 'write'] }))).toBe(200)
    const refusal = describeVerdict(await client.bearer(person.access, { scopes: ['read', 'ship', 'load'] }))
    expect(refusal).toMatchObject({
      status: 403,
      headers: {
        'www-authenticate': 'Bearer realm="latchkey", error="insufficient_scope", scope="ship load"',
      },
      body: { code: 'insufficient_scope', detail: 'Missing required scope: ship load' },
    })
    expect(statusOf(await client.bearer(admin, { scopes: ['ship'] }))).toBe(200)
    expect(describeVerdict(await client.bearer(key, { scopes: ['ship'] }))).toMatchObject({
      status: 403,
      body: { detail: 'Missing required scope: ship' },
    })
  })

  test('a key with allowed addresses is refused from any other', async () => {
    const bound = await newKey(service, person.access, { allowed_ips: ['10.1.0.0/16'] })
    const bearer = (ip?: string) => client.bearer(bound.key, { ip })
    expect(statusOf(await bearer('10.1.2.3'))).toBe(200)
    for (const ip of [undefined, '10.2.0.1', '10.1.2.3.', '::1']) {
      expect(statusOf(await bearer(ip))).toBe(403)
    }
    expect(statusOf(await bearer('10.1.2.3'))).toBe(200)
  })

  test("without a key of the service's own, only access tokens are accepted", async () => {
    const alone = clientOf({ url: service.url })
    expect(statusOf(await alone.bearer(person.access))).toBe(200)
    expect(describeVerdict(await alone.bearer(key))).toMatchObject({
      status: 403,
      body: { code: 'wrong_credential_kind' },
    })
    expect(statusOf(await alone.bearer(await tokenOf(service, batch)))).toBe(403)
  })
})

test("the texts of the client's refusals are those of the server", () => {
  for (const [code, entry] of Object.entries(refusals)) expect(entry).toEqual(catalogue[code as never])
})

describe('hostile tokens', () => {
  let own: Signer
  let header: Claims
  let payload: Claims
  beforeAll(async () => {
    own = await ownSigner(service)
    ;({ header, payload } = partsOf(person.access))
  })

  test('the control: a token that is assembled like a genuine one is accepted', async () => {
    expect(statusOf(await client.bearer(assemble(header, payload, own)))).toBe(200)
  })

  const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const publicKey = async (format: 'pem' | 'jwk' | 'der') => {
    const { keys } = (await call(service, 'GET /.well-known/jwks.json')).body
    if (format === 'jwk') return JSON.stringify(keys[0])
    const spki = createPublicKey({ key: keys[0], format: 'jwk' })
    return format === 'pem'
      ? spki.export({ type: 'spki', format: 'pem' }).toString()
      : spki.export({ type: 'spki', format: 'der' })
  }
  const now = () => Math.floor(Date.now() / 1000)
  const changed = (more: Claims) => async () => assemble(header, { ...payload, ...more }, own)
  const headed = (more: Claims, signer?: Signer) => async () =>
    assemble({ ...header, ...more }, payload, signer ?? own)
  const shared = (alg: string, hash: string, format: 'pem' | 'jwk' | 'der') => async () =>
    assemble({ ...header, alg }, payload, hmacSigner(hash, await publicKey(format)))

  const TOKENS: [string, () => Promise<string>][] = [
    ['no algorithm', headed({ alg: 'none' }, unsigned)],
    ['no algorithm, with a signature', headed({ alg: 'none' })],
    ['no signature', headed({}, unsigned)],
    ['HS256 under the public key (PEM)', shared('HS256', 'sha256', 'pem')],
    ['HS256 under the public key (DER)', shared('HS256', 'sha256', 'der')],
    ['HS256 under the public key (JWK)', shared('HS256', 'sha256', 'jwk')],
    ['HS512 under the public key (PEM)', shared('HS512', 'sha512', 'pem')],
    ["a stranger's signature", headed({}, keySigner('ES256', stranger.privateKey))],
    [
      "a stranger's signature and key",
      headed({ jwk: stranger.publicKey.export({ format: 'jwk' }) }, keySigner('ES256', stranger.privateKey)),
    ],
    ['an unknown key', headed({ kid: 'unknown' })],
    ['another algorithm', headed({ alg: 'RS256' })],
    ['another type', headed({ typ: 'JWT' })],
    ['no type', headed({ typ: undefined })],
    ['a critical extension', headed({ crit: ['b64'], b64: false })],
    ['another issuer', changed({ iss: 'http://localhost' })],
    ['no issuer', changed({ iss: undefined })],
    ['another audience', changed({ aud: 'other' })],
    ['no audience', changed({ aud: undefined })],
    ['expired', changed({ exp: now() - 10 })],
    ['no expiry', changed({ exp: undefined })],
    ['not yet', changed({ nbf: now() + 60 })],
    ['no subject', changed({ sub: undefined })],
    ['no session', changed({ sid: undefined })],
    ['a session of another type', changed({ sid: 5 })],
    ['no scopes', changed({ scope: undefined })],
    ['scopes of another type', changed({ scope: ['read'] })],
    ['no role', changed({ role: undefined })],
    ['an unknown role', changed({ role: 'root' })],
    ['an app, which has no role', changed({ client_id: 'other', role: undefined })],
    ['claims that are a list', async () => assemble(header, '[]', own)],
    ['claims that are no JSON', async () => assemble(header, 'x', own)],
    [
      'other claims under the signature',
      async () => {
        const genuine = assemble(header, payload, own).split('.')
        const [, forged] = assemble(header, { ...payload, role: 'admin' }, unsigned).split('.')
        return [genuine[0], forged, genuine[2]].join('.')
      },
    ],
    ['two parts', async () => person.access.split('.').slice(0, 2).join('.')],
    ['white space within', async () => person.access.replace('.', '.\u00a0')],
  ]

  test.each(TOKENS)('%s: 401, for every need', async (_, make) => {
    const token = await make()
    for (const need of [{}, { kind: 'user' }, { kind: 'key' }, { role: 'admin' }] as const) {
      const refusal = await client.bearer(token, need)
      expect(describeVerdict(refusal)).toMatchObject({ status: 401, body: { code: 'invalid_token' } })
      expect(JSON.stringify(refusal)).not.toContain(token)
    }
    expect(client.errors.filter((error) => Bun.inspect(error, { depth: 9 }).includes(token))).toEqual([])
  })

  test('the issuer and the audience have to be those of the options', async () => {
    const elsewhere = (options: object) => clientOf({ url: service.url, ...options }).bearer(person.access)
    expect(statusOf(await elsewhere({ issuer: service.url, audience: service.url }))).toBe(200)
    expect(statusOf(await elsewhere({ issuer: 'https://id.example.com' }))).toBe(401)
    expect(statusOf(await elsewhere({ audience: 'https://id.example.com' }))).toBe(401)
  })

  test('an algorithm that Latchkey does not sign with is refused, whatever the published keys allow', async () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const jwk = { ...rsa.publicKey.export({ format: 'jwk' }), kid: 'rsa', use: 'sig' }
    await using keys = startFront(service)
    keys.instead = () => Response.json({ keys: [jwk] })
    const { bearer } = clientOf({ url: keys.url, issuer: service.url })
    const signed = (alg: string, padding: number) =>
      assemble({ ...header, alg, kid: 'rsa' }, payload, (input) =>
        sign('sha256', Buffer.from(input), { key: rsa.privateKey, padding, saltLength: 32 }),
      )
    expect(statusOf(await bearer(signed('RS256', constants.RSA_PKCS1_PADDING)))).toBe(200)
    expect(statusOf(await bearer(signed('PS256', constants.RSA_PKCS1_PSS_PADDING)))).toBe(401)
  })

  test('with a shared secret (HS256) every access token is refused', async () => {
    await using hs = Object.assign(await startService({ isIssuer: true, algorithm: 'HS256' }), {
      async [Symbol.asyncDispose]() {
        await hs.stop()
      },
    })
    const { access } = await newPerson(hs)
    expect((await call(hs, 'GET /protected/any', { bearer: access })).status).toBe(200)
    expect(statusOf(await clientOf({ url: hs.url }).bearer(access))).toBe(401)
  })
})

describe('the keys that tokens are signed with', () => {
  test('a new key is accepted, and a revoked one is refused after the next reading', async () => {
    const old = person.access
    expect(statusOf(await client.bearer(old))).toBe(200)
    await revokeSigningKey(service.context, SYSTEM, kidOf(old))
    const { access } = await logIn(service, person.email, person.password)
    expect(kidOf(access)).not.toBe(kidOf(old))
    try {
      setSystemTime(Date.now() + 6_000)
      expect(statusOf(await client.bearer(access))).toBe(200)
      expect(statusOf(await client.bearer(old))).toBe(401)
    } finally {
      setSystemTime()
    }
    person.access = access
  })
})

test.each([
  { url: 'localhost:8000' },
  { url: 'ftp://localhost' },
  { url: 'http://user:password@localhost' },
  { url: 'http://localhost/?a=b' },
  { key: '' },
  { online: true, key: undefined },
  { cacheSeconds: 61 },
  { cacheSeconds: -1 },
  { cacheSeconds: Number.NaN },
  { timeLimitMs: 0 },
])('options that cannot work are an error: %j', (options) => {
  const good = { url: service.url, key: 'sk_x' }
  expect(() => createClient(good)).not.toThrow()
  expect(() => createClient({ ...good, ...options })).toThrow(TypeError)
})
