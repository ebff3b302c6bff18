import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { SYSTEM } from '../../src/core/audit/audit.ts'
import { revokeSigningKey } from '../../src/core/signing/signing-keys.ts'
import { type Answer, type Call, call, logIn, newPerson, type Person } from '../support/client.ts'
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
import { adminToken, basic, newClient, type OAuthClient } from '../support/oauth.ts'
import { comparable } from '../support/problem.ts'
import { startService, type TestService } from '../support/service.ts'
import { kidOf } from '../support/signing.ts'

setDefaultTimeout(240_000)

/** A place that a token can be sent to, and the status for a good access token there. */
type Surface = { name: string; show(token: string): Promise<Answer>; opens: number }

describe.each(['ES256', 'HS256'] as const)('%s', (algorithm) => {
  let service: TestService
  let person: Person
  let watcher: OAuthClient
  let admin: string
  let own: Signer
  let header: Claims
  let payload: Claims
  /** A server that a token may name as the source of a key. Latchkey must never call it. */
  let theirs: Bun.Server<undefined>
  let fetched = 0
  beforeAll(async () => {
    service = await startService({ algorithm })
    person = await newPerson(service)
    admin = await adminToken(service)
    watcher = await newClient(service, admin, ['latchkey:introspect'])
    own = await ownSigner(service)
    ;({ header, payload } = partsOf(person.access))
    theirs = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch: () => {
        fetched++
        return Response.json({ keys: [{ ...stranger.jwk, kid: 'theirs', use: 'sig' }] })
      },
    })
  })
  afterAll(async () => {
    await theirs.stop(true)
    await service.stop()
  })

  const at = (route: string, options: (token: string) => Call) => (token: string) =>
    call(service, route, options(token))
  const surfaces: Surface[] = [
    { name: 'own route', show: at('GET /auth/me', (bearer) => ({ bearer })), opens: 200 },
    { name: 'own unlimited route', show: at('GET /protected/any', (bearer) => ({ bearer })), opens: 200 },
    {
      name: 'own route with a body',
      show: at('POST /keys/create', (bearer) => ({ bearer, json: { name: 5 } })),
      opens: 422,
    },
    { name: 'a proxy’s question', show: at('GET /forward-auth', (bearer) => ({ bearer })), opens: 200 },
    {
      name: 'a proxy’s question by path',
      show: at('POST /forward-auth/kind=user/a', (bearer) => ({ bearer })),
      opens: 200,
    },
    { name: 'own route, as a key', show: at('GET /auth/me', (apiKey) => ({ apiKey })), opens: 401 },
    {
      name: 'introspection',
      show: (token) =>
        call(service, 'POST /oauth/introspect', {
          form: { token },
          headers: basic(watcher.id, watcher.secret),
        }),
      opens: 200,
    },
    {
      name: 'introspection, as the caller',
      show: at('POST /oauth/introspect', (bearer) => ({ bearer, form: { token: 'x' } })),
      opens: 403,
    },
    {
      name: 'verification',
      show: (key) => call(service, 'POST /keys/verify', { bearer: admin, json: { key } }),
      opens: 200,
    },
    {
      name: 'trade',
      show: at('POST /auth/refresh', (refresh_token) => ({ json: { refresh_token } })),
      opens: 401,
    },
    {
      name: 'grant',
      show: at('POST /oauth/token', (refresh_token) => ({
        form: { grant_type: 'refresh_token', refresh_token },
      })),
      opens: 400,
    },
    {
      name: 'client',
      show: (token) =>
        call(service, 'POST /oauth/token', {
          form: { grant_type: 'client_credentials' },
          headers: basic(watcher.id, token),
        }),
      opens: 401,
    },
  ]
  /** Places where a good token ends its session. They are tried last, each with a session of its own. */
  const endings: Surface[] = [
    { name: 'logout', show: at('POST /auth/logout', (bearer) => ({ bearer })), opens: 204 },
    {
      name: 'revocation',
      show: at('POST /oauth/revoke', (token) => ({ form: { token } })),
      opens: 200,
    },
  ]

  test('the control: a good token is accepted at every place, or ends its session', async () => {
    for (const { name, show, opens } of surfaces) {
      expect([name, (await show(person.access)).status]).toEqual([name, opens])
    }
    for (const { name, show, opens } of endings) {
      const { access } = await logIn(service, person.email, person.password)
      expect([name, (await show(access)).status]).toEqual([name, opens])
      expect((await call(service, 'GET /auth/me', { bearer: access })).status).toBe(401)
    }
    // A token assembled by hand is accepted too, so each change below is the reason of its refusal.
    expect((await call(service, 'GET /auth/me', { bearer: mint({}) })).status).toBe(200)
  })

  type Change = { header?: Claims; payload?: Claims; by?: Signer }
  /** The person's token with changed members (undefined leaves one out), signed by the service's own key. */
  const mint = ({ header: h, payload: p, by = own }: Change) =>
    assemble({ ...header, ...h }, { ...payload, jti: crypto.randomUUID(), ...p }, by)
  const stranger = makeStranger(algorithm)
  const inFuture = () => Math.floor(service.context.clock() / 1000) + 900
  const published = async (): Promise<Claims> =>
    (await call(service, 'GET /.well-known/jwks.json')).body.keys[0] ?? { kty: 'oct', k: 'cHVibGlj' }

  const usualAnswers = new Map<string, ReturnType<typeof comparable>>()
  /** The answer of a place to garbage. Garbage below the limits of length is always answered alike. */
  async function answerToGarbage({ name, show }: Surface, length: number) {
    const usualLength = length <= 4096 ? 300 : length
    const known = usualAnswers.get(`${name} ${usualLength}`)
    const answer = known ?? comparable(await show('g'.repeat(usualLength)))
    usualAnswers.set(`${name} ${usualLength}`, answer)
    return answer
  }

  /** Expects of every place the answer to garbage of the same length, and that the person's session continues. */
  async function expectRefusedEverywhere(token: string): Promise<void> {
    for (const surface of [...surfaces, ...endings]) {
      const { name, show } = surface
      const answer = await show(token)
      const usual = await answerToGarbage(surface, Buffer.byteLength(token))
      expect({ name, ...comparable(answer) }).toEqual({ name, ...usual })
      expect(REFUSALS[name]).toContain(
        `${answer.status} ${answer.body?.code ?? answer.body?.error ?? answer.text}`,
      )
    }
    expect((await call(service, 'GET /auth/me', { bearer: person.access })).status).toBe(200)
  }

  test.each<[string, unknown]>([
    ['none', 'none'],
    ['NONE', 'NONE'],
    ['left out', undefined],
    ['empty', ''],
    ['null', null],
    ['a list', [algorithm]],
    ['a number', 256],
    ['HS512', 'HS512'],
    ['ES256K', 'ES256K'],
    ['PS256', 'PS256'],
    ['of encryption', 'dir'],
    ['a name of every object', 'constructor'],
  ])('refused: the algorithm %s, signed by the service or unsigned', async (_, alg) => {
    for (const by of [own, unsigned]) await expectRefusedEverywhere(mint({ header: { alg }, by }))
  })

  test.each<[string, (jwk: Claims) => string | Uint8Array]>([
    ['JSON', (jwk) => JSON.stringify(jwk)],
    ['PEM', (jwk) => pem(jwk)],
    ['its id', (jwk) => String(jwk.kid)],
    ['nothing', () => ''],
  ])('refused: HS256 under published text, with %s as the key', async (_, keyOf) => {
    const by = hmacSigner('sha256', keyOf(await published()))
    await expectRefusedEverywhere(mint({ header: { alg: 'HS256' }, by }))
  })

  test.each(['ES256', 'RS256', 'EdDSA'] as const)("%s under a stranger's key", async (alg) => {
    const { by, jwk } = makeStranger(alg)
    for (const more of [{}, { kid: undefined }, { jwk }, { jwk, kid: 'theirs' }]) {
      await expectRefusedEverywhere(mint({ header: { alg, ...more }, by }))
    }
  })

  const kids: [string, unknown][] = [
    ['a path', '../../../../../../dev/null'],
    ['a path of this machine', '/proc/self/environ'],
    ['an end of a query', "' OR '1'='1' --"],
    ['another query', "x'); DROP TABLE latchkey.signing_keys; --"],
    ['10 KB', 'k'.repeat(10_240)],
    ['Unicode', '🔑\u202ekey\u0301'],
    ['half of a pair', '\ud800'],
    ['a NUL', 'key\0'],
    ['a line break', 'key\r\nX-Injected: 1'],
    ['a name of every object', '__proto__'],
    ['a method of every object', 'toString'],
    ['empty', ''],
    ['a number', 0],
    ['true', true],
    ['a list', ['hs256']],
    ['an object', { $ne: null }],
    ['null', null],
    ['left out', undefined],
  ]
  test.each(kids)('a kid that is %s', async (_, kid) => {
    await expectRefusedEverywhere(mint({ header: { kid }, by: stranger.by }))
    await expectRefusedEverywhere(mint({ header: { kid }, by: hmacSigner('sha256', '') }))
    // With a shared secret there is one key, and `kid` is not used.
    if (algorithm !== 'HS256') await expectRefusedEverywhere(mint({ header: { kid } }))
  })

  test('refused: a kid that is almost that of the right key', async () => {
    if (algorithm === 'HS256') return
    const kid = String(header.kid)
    for (const wrong of [`${kid} `, ` ${kid}`, `${kid}\0`, kid.toUpperCase(), kid.slice(0, -1), [kid]]) {
      await expectRefusedEverywhere(mint({ header: { kid: wrong } }))
    }
  })

  test.each<[string, Claims]>([
    ['exp', { crit: ['exp'] }],
    ['an extension that is missing', { crit: ['x'] }],
    ['an extension that is present', { crit: ['https://example.com/x'], 'https://example.com/x': 1 }],
    ['b64 and another', { crit: ['b64', 'x'], b64: true, x: 1 }],
    ['an unencoded payload', { crit: ['b64'], b64: false }],
    ['nothing', { crit: [] }],
    ['text', { crit: 'exp' }],
    ['null', { crit: null }],
  ])('refused: a critical extension: %s', async (_, more) => {
    await expectRefusedEverywhere(mint({ header: more }))
  })

  test('refused: a URL of a key, and the URL is never fetched', async () => {
    const url = theirs.url.href
    for (const more of [
      { jku: url },
      { jku: url, kid: 'theirs' },
      { x5u: url },
      { x5u: url, kid: 'theirs' },
      { kid: url },
      { jku: url, x5u: url, jwk: stranger.jwk, x5c: [Buffer.from('cert').toString('base64')] },
    ]) {
      await expectRefusedEverywhere(mint({ header: more, by: stranger.by }))
    }
    await expectRefusedEverywhere(mint({ header: { iss: url }, payload: { iss: url }, by: stranger.by }))
    expect(fetched).toBe(0)
    await fetch(url)
    expect(fetched).toBe(1)
    fetched = 0
  })

  test.each<[string, unknown]>([
    ['left out', undefined],
    ['text', String(Math.floor(Date.now() / 1000) + 900)],
    ['a time in words', '2099-01-01T00:00:00Z'],
    ['a fraction', Math.floor(Date.now() / 1000) + 900.5],
    ['a small fraction', 0.5],
    ['0', 0],
    ['negative', -1],
    ['very negative', -1e308],
    ['1e308', 1e308],
    ['beyond what can be counted', 2 ** 53],
    ['null', null],
    ['true', true],
    ['a list', [Math.floor(Date.now() / 1000) + 900]],
    ['an object', {}],
  ])('refused: an exp that is %s', async (_, exp) => {
    await expectRefusedEverywhere(mint({ payload: { exp } }))
  })

  test.each<[string, () => Claims]>([
    ['iat that is a fraction', () => ({ iat: Number(payload.iat) + 0.5 })],
    ['iat that is text', () => ({ iat: String(payload.iat) })],
    ['iat that is 1e308', () => ({ iat: 1e308 })],
    ['nbf in the future', () => ({ nbf: inFuture() })],
    ['nbf that is text', () => ({ nbf: '0' })],
    ['jti that is a number', () => ({ jti: 5 })],
    ['sid in capitals', () => ({ sid: String(payload.sid).toUpperCase() })],
    ['sid with a NUL', () => ({ sid: `${payload.sid}\0` })],
    ['sub that ends a query', () => ({ sub: "' OR true --" })],
    ['sub that is a list', () => ({ sub: [payload.sub] })],
    ['scope that is a list', () => ({ scope: ['read'] })],
    ['aud that is an object', () => ({ aud: {} })],
  ])('%s', async (_, change) => {
    await expectRefusedEverywhere(mint({ payload: change() }))
  })

  test.each<[string, (token: string) => string]>([
    ['4 KB', () => `eyJ${'a'.repeat(4093)}`],
    ['4 KB in three parts', () => `eyJhbGciOiJub25lIn0.${'a'.repeat(4000)}.${'b'.repeat(70)}`],
    ['10 KB, signed by the service', () => mint({ payload: { padding: 'a'.repeat(7500) } })],
    ['two parts', (token) => token.slice(0, token.lastIndexOf('.'))],
    ['five parts', (token) => `${token}.e30.e30`],
    ['in the JSON form', (token) => jsonForm(token)],
    ['padded', (token) => `${token}==`],
    ['a header that is no JSON', (token) => `eyJ7.${token.split('.')[1]}.${token.split('.')[2]}`],
    ['a deeply nested header', (token) => `${deep(500)}.${token.split('.')[1]}.${token.split('.')[2]}`],
    ['claims that are no text', () => signed(Buffer.from([0xff, 0xfe, 0x80]))],
    ['claims that are a list', () => signed(Buffer.from('[]'))],
    ['deeply nested claims', () => signed(Buffer.from('['.repeat(1000)))],
    ['a prototype', () => signed(Buffer.from('{"__proto__":{"sub":"x"}}'))],
  ])('refused: a token that is, or has, %s', async (_, change) => {
    await expectRefusedEverywhere(change(mint({})))
  })

  /** Signs any bytes as claims by the service's own key. */
  function signed(claims: Uint8Array): string {
    const input = `${Buffer.from(JSON.stringify(header)).toString('base64url')}.${Buffer.from(claims).toString('base64url')}`
    return `${input}.${Buffer.from(own(input)).toString('base64url')}`
  }

  test('a token of 60 KB and of 64 KB is refused, as a header or a body of that size', async () => {
    for (const bytes of [60_000, 65_536]) {
      for (const token of [
        `eyJ${'a'.repeat(bytes - 3)}`,
        mint({ payload: { padding: 'a'.repeat(bytes) } }),
      ]) {
        for (const { name, show } of [...surfaces, ...endings]) {
          const { status, text } = await show(token)
          expect([name, LARGE[name]]).toEqual([name, expect.arrayContaining([status])])
          expect(text.length).toBeLessThan(500)
        }
      }
    }
    expect((await call(service, 'GET /auth/me', { bearer: person.access })).status).toBe(200)
  })

  test('a revoked signing key: its old and its new tokens are refused', async () => {
    if (algorithm === 'HS256') return
    const mine = await startService({ algorithm })
    try {
      const someone = await newPerson(mine)
      const signer = await ownSigner(mine)
      const { header: h, payload: p } = partsOf(someone.access)
      const again = () => assemble(h, { ...p, jti: crypto.randomUUID() }, signer)
      expect((await call(mine, 'GET /auth/me', { bearer: again() })).status).toBe(200)
      await revokeSigningKey(mine.context, SYSTEM, kidOf(someone.access))
      for (const token of [someone.access, again()]) {
        expect((await call(mine, 'GET /auth/me', { bearer: token })).status).toBe(401)
        const revoked = await call(mine, 'POST /oauth/revoke', { form: { token } })
        expect([revoked.status, revoked.text]).toEqual([200, '{}'])
      }
      const { access } = await logIn(mine, someone.email, someone.password)
      expect((await call(mine, 'GET /auth/me', { bearer: access })).status).toBe(200)
    } finally {
      await mine.stop()
    }
  })

  test('a thousand unknown kids at once are refused, and a good token is still accepted', async () => {
    if (algorithm === 'HS256') return
    const tokens = Array.from({ length: 1000 }, (_, i) =>
      mint({ header: { kid: `guess-${i}` }, by: stranger.by }),
    )
    const statuses = await Promise.all(
      tokens.map(async (bearer) => (await call(service, 'GET /auth/me', { bearer })).status),
    )
    expect(new Set(statuses)).toEqual(new Set([401]))
    expect((await call(service, 'GET /auth/me', { bearer: mint({}) })).status).toBe(200)
  })
})

/** The answer to a refused token at each place. The second is for a token that is too long for the place. */
const REFUSALS: Record<string, string[]> = {
  'own route': ['401 invalid_token', '431 '],
  'own unlimited route': ['401 invalid_token', '431 '],
  'own route with a body': ['401 invalid_token', '431 '],
  'a proxy’s question': ['401 invalid_token', '431 '],
  'a proxy’s question by path': ['401 invalid_token', '431 '],
  'own route, as a key': ['401 invalid_token', '431 '],
  introspection: ['200 {"active":false}'],
  'introspection, as the caller': ['401 invalid_client', '431 '],
  verification: ['200 NOT_FOUND', '422 validation_failed'],
  trade: ['401 invalid_token', '422 validation_failed'],
  grant: ['400 invalid_grant', '400 invalid_request'],
  client: ['401 invalid_client', '431 '],
  logout: ['204 ', '431 '],
  revocation: ['200 {}'],
}

const LARGE: Record<string, number[]> = {
  'own route': [431],
  'own unlimited route': [431],
  'own route with a body': [431],
  'own route, as a key': [431],
  'a proxy’s question': [431],
  'a proxy’s question by path': [431],
  introspection: [200, 413],
  'introspection, as the caller': [431],
  verification: [413, 422],
  trade: [413, 422],
  grant: [400, 413],
  client: [431],
  logout: [431],
  revocation: [200, 413],
}

type Asymmetric = 'ES256' | 'RS256' | 'EdDSA'

/** A stranger's key, of the same kind as the service's where that is published. */
function makeStranger(algorithm: Asymmetric | 'HS256'): { by: Signer; jwk: Claims } {
  if (algorithm === 'HS256') {
    return { by: hmacSigner('sha256', 'theirs'), jwk: { kty: 'oct', k: 'dGhlaXJz' } }
  }
  const { publicKey, privateKey } = makePair(algorithm)
  return { by: keySigner(algorithm, privateKey), jwk: { ...publicKey.export({ format: 'jwk' }) } }
}

function makePair(algorithm: Asymmetric) {
  if (algorithm === 'ES256') return generateKeyPairSync('ec', { namedCurve: 'P-256' })
  if (algorithm === 'RS256') return generateKeyPairSync('rsa', { modulusLength: 2048 })
  return generateKeyPairSync('ed25519')
}

function pem(jwk: Claims): string {
  if (jwk.kty === 'oct') return 'none'
  return String(createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'pem' }))
}

/** The JWS in its JSON form instead of the compact one (RFC 7515, section 7.2). */
function jsonForm(token: string): string {
  const [protectedHeader, payload, signature] = token.split('.')
  return JSON.stringify({ payload, protected: protectedHeader, signature }).replaceAll(/[\s,]/g, '')
}

const deep = (levels: number) =>
  Buffer.from(`{"alg":${'['.repeat(levels)}${']'.repeat(levels)}}`).toString('base64url')
