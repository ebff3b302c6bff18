import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import { ALGORITHMS, type Algorithm } from '../../src/config/config.ts'
import { MINUTE_MS } from '../../src/lib/time.ts'
import { call, logIn, newPerson, type Person } from '../support/client.ts'
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
import { comparable, expectProblem } from '../support/problem.ts'
import { startService, type TestService } from '../support/service.ts'

const OTHER_ID = '0198c7a1-2b3c-7d4e-8f50-a1b2c3d4e5f6'

/** The members of a public key, by its type (RFC 7518, RFC 8037). */
const PUBLIC_MEMBERS: Record<Exclude<Algorithm, 'HS256'>, Record<string, unknown>> = {
  ES256: { kty: 'EC', crv: 'P-256', x: expect.any(String), y: expect.any(String) },
  RS256: { kty: 'RSA', n: expect.any(String), e: 'AQAB' },
  EdDSA: { kty: 'OKP', crv: 'Ed25519', x: expect.any(String) },
}

describe.each(ALGORITHMS.map((algorithm) => [algorithm]))('%s', (algorithm) => {
  let service: TestService
  let person: Person
  let other: Person
  let sign: Signer
  let header: Claims
  let payload: Claims
  beforeAll(async () => {
    service = await startService({ algorithm, publicUrl: 'https://auth.example.com', jwtAudience: 'our-api' })
    person = await newPerson(service)
    other = await newPerson(service)
    sign = await ownSigner(service)
    ;({ header, payload } = partsOf(person.access))
  })
  afterAll(() => service.stop())

  const me = (bearer: string) => call(service, 'GET /auth/me', { bearer })

  test('an access token holds exactly the documented claims', async () => {
    expect(header).toEqual({ alg: algorithm, typ: 'at+jwt', kid: expect.stringMatching(/^.+$/) })
    expect(payload).toEqual({
      iss: 'https://auth.example.com',
      aud: 'our-api',
      sub: person.id,
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/),
      iat: expect.any(Number),
      exp: expect.any(Number),
      sid: expect.stringMatching(/^[0-9a-f-]{36}$/),
      role: 'user',
      client_id: 'latchkey',
      scope: 'read write',
      auth_time: expect.any(Number),
      amr: ['pwd'],
    })
    expect(Math.abs(Number(payload.auth_time) - Number(payload.iat))).toBeLessThan(30)
    expect(Number(payload.exp) - Number(payload.iat)).toBeWithin(1799, 1802)
    expect(Math.abs(Number(payload.iat) - Date.now() / 1000)).toBeLessThan(30)
    const again = partsOf((await logIn(service, person.email, person.password)).access).payload
    expect(again.jti).not.toBe(payload.jti)
    expect(again.sid).not.toBe(payload.sid)
  })

  test('the published keys verify an access token, and contain no private member', async () => {
    const answer = await call(service, 'GET /.well-known/jwks.json')
    expect(answer.status).toBe(200)
    expect(answer.headers.get('cache-control')).toBe('public, max-age=300')
    if (algorithm === 'HS256') {
      expect(answer.body).toEqual({ keys: [] })
      return
    }
    expect(answer.body).toEqual({
      keys: [{ ...PUBLIC_MEMBERS[algorithm], kid: header.kid, alg: algorithm, use: 'sig' }],
    })
    const jwks = createRemoteJWKSet(new URL(`${service.url}/.well-known/jwks.json`))
    const requirements = {
      issuer: 'https://auth.example.com',
      audience: 'our-api',
      typ: 'at+jwt',
      algorithms: [algorithm],
    }
    const verified = await jwtVerify(person.access, jwks, requirements)
    expect(verified.payload.sub).toBe(person.id)
    expect(jwtVerify(mint({ header: { kid: OTHER_ID } }), jwks, requirements)).rejects.toThrow()
  })

  test('the control: a token that is assembled by hand and signed by the service is accepted', async () => {
    expect((await me(mint({}))).body.id).toBe(person.id)
    // RFC 9068, section 4, allows the long name of the type too.
    expect((await me(mint({ header: { typ: 'application/at+jwt' } }))).status).toBe(200)
    expect((await me(mint({ payload: { unknown_claim: 1 } }))).status).toBe(200)
  })

  test('role and scopes come from the database, also where a token that the service signed claims others', async () => {
    const token = mint({ payload: { role: 'admin', scope: 'read write billing' } })
    expect((await me(token)).body).toMatchObject({ role: 'user', scopes: ['read', 'write'] })
    expectProblem(await call(service, 'GET /protected/admin', { bearer: token }), 'forbidden')
  })

  type Change = { header?: Claims; payload?: Claims; by?: Signer }
  /** The person's token with changed members (undefined leaves one out), signed by the service's own key. */
  function mint({ header: h, payload: p, by = sign }: Change): string {
    return assemble({ ...header, ...h }, { ...payload, jti: crypto.randomUUID(), ...p }, by)
  }

  const underSecretKey = (alg: string, hash: string) => ({
    header: { alg },
    by: hmacSigner(hash, service.config.secretKey?.reveal() ?? ''),
  })
  const seconds = () => Math.floor(service.context.clock() / 1000)
  test.each<[string, () => Change]>([
    ['another issuer', () => ({ payload: { iss: 'https://evil.example.com' } })],
    ['no issuer', () => ({ payload: { iss: undefined } })],
    ['the issuer in a list', () => ({ payload: { iss: ['https://auth.example.com'] } })],
    ['another audience', () => ({ payload: { aud: 'another-api' } })],
    ['no audience', () => ({ payload: { aud: undefined } })],
    ['several audiences', () => ({ payload: { aud: ['another-api', 'our-api'] } })],
    ['an empty audience', () => ({ payload: { aud: [] } })],
    ['no end', () => ({ payload: { exp: undefined } })],
    ['an end in the past', () => ({ payload: { exp: seconds() - 1 } })],
    ['an end now', () => ({ payload: { exp: seconds() } })],
    ['its end as text', () => ({ payload: { exp: String(seconds() + 900) } })],
    ['its end as null', () => ({ payload: { exp: null } })],
    ['a beginning in the future', () => ({ payload: { nbf: seconds() + 900 } })],
    ['no session', () => ({ payload: { sid: undefined } })],
    ['a session that is no id', () => ({ payload: { sid: 'all' } })],
    ['a session that is a number', () => ({ payload: { sid: 5 } })],
    ['a session that is not there', () => ({ payload: { sid: OTHER_ID } })],
    ["another user's session", () => ({ payload: { sid: partsOf(other.access).payload.sid } })],
    ['no token id', () => ({ payload: { jti: undefined } })],
    ['no time of issue', () => ({ payload: { iat: undefined } })],
    ['a time of issue as text', () => ({ payload: { iat: 'now' } })],
    ['no subject', () => ({ payload: { sub: undefined } })],
    ['another subject', () => ({ payload: { sub: other.id } })],
    ['a subject that is not there', () => ({ payload: { sub: OTHER_ID } })],
    ['a subject that is no id', () => ({ payload: { sub: "' OR true --" } })],
    ['the subject as its client', () => ({ payload: { client_id: person.id } })],
    ['the type of any JWT', () => ({ header: { typ: 'JWT' } })],
    ['the type of an id token', () => ({ header: { typ: 'id+jwt' } })],
    ['no type', () => ({ header: { typ: undefined } })],
    ['a critical extension', () => ({ header: { crit: ['exp'], exp: 1 } })],
    ['an empty list of critical extensions', () => ({ header: { crit: [] } })],
    ['an unencoded payload', () => ({ header: { crit: ['b64'], b64: false } })],
    ['algorithm none', () => ({ header: { alg: 'none' }, by: unsigned })],
    ['algorithm None', () => ({ header: { alg: 'None' }, by: unsigned })],
    ['algorithm none, signed', () => ({ header: { alg: 'none' } })],
    ['no algorithm', () => ({ header: { alg: undefined } })],
    ['no signature', () => ({ by: unsigned })],
    ['a signature of zeros', () => ({ by: () => new Uint8Array(64) })],
    ['a signature of 256 zeros', () => ({ by: () => new Uint8Array(256) })],
    ['a signature with a byte more', () => ({ by: (input) => Buffer.concat([sign(input), Buffer.of(0)]) })],
    ['an empty HMAC key', () => ({ header: { alg: 'HS256' }, by: hmacSigner('sha256', '') })],
    ['HS384 under SECRET_KEY itself', () => underSecretKey('HS384', 'sha384')],
    ['HS512 under SECRET_KEY itself', () => underSecretKey('HS512', 'sha512')],
    ['HS384 by a guess', () => ({ header: { alg: 'HS384' }, by: hmacSigner('sha384', 'secret') })],
  ])('refused: %s', async (_, change) => {
    const control = await me(mint({}))
    expect(control.status).toBe(200)
    await expectRefused(mint(change()))
  })

  test.each<[string, (token: string) => string]>([
    ['its first half', (t) => t.slice(0, t.length / 2)],
    ['a character short', (t) => t.slice(0, -2)],
    ['without its signature', (t) => t.slice(0, t.lastIndexOf('.') + 1)],
    ['two parts', (t) => t.slice(0, t.lastIndexOf('.'))],
    ['four parts', (t) => `${t}.${t.split('.')[2]}`],
    ['five parts, as an encrypted one', (t) => `${t}..`],
    ['altered in its header', (t) => alter(t, 12)],
    ['altered in its claims', (t) => alter(t, t.indexOf('.') + 20)],
    ['altered in its signature', (t) => alter(t, t.lastIndexOf('.') + 20)],
    ['with the claims of another', (t) => splice(t, other.access, 1)],
    ['with the signature of another', (t) => splice(t, other.access, 2)],
    ['claims that are no JSON', () => assemble(header, '{"sub":', sign)],
    ['claims that are a list', () => assemble(header, '[]', sign)],
    ['claims that are null', () => assemble(header, 'null', sign)],
    ['claims that say a thing twice, the last of them wrong', () => assemble(header, twice(), sign)],
    ['eyJ', () => 'eyJ'],
    ['eyJ and dots', () => 'eyJ..'],
    ['three empty parts', () => '..'],
    ['padded', (t) => `${t}=`],
  ])('refused: a token that is %s', async (_, change) => {
    expect((await me(person.access)).status).toBe(200)
    await expectRefused(change(person.access))
  })

  const twice = () => `${JSON.stringify(payload).slice(0, -1)},"iss":"https://evil.example.com"}`

  test('a token of 4 KB or 64 KB is refused, whatever it contains', async () => {
    await expectRefused(`eyJ${'a'.repeat(4093)}`)
    await expectRefused(mint({ payload: { padding: 'a'.repeat(9000) } }))
    expect([401, 431]).toContain((await me(`eyJ${'a'.repeat(65_533)}`)).status)
    expect((await me(mint({ payload: { padding: 'a'.repeat(2000) } }))).status).toBe(200)
  })

  test('a token with the greatest number of scopes that a user may have is accepted', async () => {
    const scopes = Array.from({ length: 50 }, (_, i) => `${'s'.repeat(62)}${String(i).padStart(2, '0')}`)
    const rich = await startService({ algorithm, userScopes: scopes }, service)
    const { access } = await logIn(rich, person.email, person.password)
    expect((await call(rich, 'GET /auth/me', { bearer: access })).body.scopes).toEqual(scopes)
    await rich.stop()
  })

  test('a token expires by the clock, also when it was used before', async () => {
    const mine = await startService(
      { algorithm, publicUrl: 'https://auth.example.com', jwtAudience: 'our-api' },
      service,
    )
    const { access } = await logIn(mine, person.email, person.password)
    expect((await call(mine, 'GET /auth/me', { bearer: access })).status).toBe(200)
    mine.advance(29 * MINUTE_MS)
    expect((await call(mine, 'GET /auth/me', { bearer: access })).status).toBe(200)
    mine.advance(MINUTE_MS + 2000)
    expectProblem(await call(mine, 'GET /auth/me', { bearer: access }), 'invalid_token')
    await mine.stop()
  })

  /** Tokens that a stranger forges, with a key of their own or with what the service publishes. */
  const stranger = strangerKey(algorithm)
  const published = async (): Promise<Claims> =>
    (await call(service, 'GET /.well-known/jwks.json')).body.keys[0] ?? { kty: 'oct', k: 'c2VjcmV0' }
  test.each<[string, (jwk: Claims, url: string) => Change]>([
    ['with a key of their own', () => ({ by: stranger.sign })],
    ['with a key of their own, named by its kid', () => ({ header: { kid: 'mine' }, by: stranger.sign })],
    ['with their key in the header', () => ({ header: { jwk: stranger.jwk }, by: stranger.sign })],
    [
      'with their key in the header, and no kid',
      () => ({ header: { jwk: stranger.jwk, kid: undefined }, by: stranger.sign }),
    ],
    ['with the address of their key', (_, url) => ({ header: { jku: url, kid: 'mine' }, by: stranger.sign })],
    ['with the address of their certificate', (_, url) => ({ header: { x5u: url }, by: stranger.sign })],
    ['with an address as the kid', (_, url) => ({ header: { kid: url }, by: stranger.sign })],
    [
      'with a path as the kid',
      () => ({ header: { kid: '../../../../dev/null' }, by: hmacSigner('sha256', '') }),
    ],
    ['with a kid that is an object', () => ({ header: { kid: { $ne: null } }, by: stranger.sign })],
    ['with a kid of 2 KB', () => ({ header: { kid: 'k'.repeat(2000) }, by: stranger.sign })],
    ['with a kid that ends a query', () => ({ header: { kid: "' OR '1'='1" }, by: stranger.sign })],
    ['HS256 under the published key, as JSON', (jwk) => hs256(JSON.stringify(jwk))],
    ['HS256 under the published key, as PEM', (jwk) => hs256(pem(jwk))],
    ['HS256 under the published key, as PEM without its last newline', (jwk) => hs256(pem(jwk).trimEnd())],
    ['HS256 under the published key, as DER', (jwk) => hs256(der(jwk))],
    [
      'HS256 under the published coordinate',
      (jwk) => hs256(Buffer.from(String(jwk.x ?? jwk.n), 'base64url')),
    ],
    ['HS256 under the kid', (jwk) => hs256(String(jwk.kid))],
    ['HS256 under an example secret', () => hs256('your-secret-key')],
  ])('refused: forged %s; nothing is fetched', async (_, change) => {
    let fetched = 0
    const theirs = Bun.serve({
      port: 0,
      hostname: '127.0.0.1',
      fetch: () => {
        fetched++
        return Response.json({ keys: [{ ...stranger.jwk, kid: 'mine' }] })
      },
    })
    expect((await me(mint({}))).status).toBe(200)
    await expectRefused(mint(change(await published(), theirs.url.href)))
    expect(fetched).toBe(0)
    await theirs.stop(true)
  })

  /** Every bad token gets the same answer as garbage. */
  async function expectRefused(token: string): Promise<void> {
    const [answer, garbage] = [await me(token), await me('garbage')]
    expectProblem(answer, 'invalid_token')
    expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="latchkey", error="invalid_token"')
    expect(comparable(answer)).toEqual(comparable(garbage))
  }
})

const alter = (token: string, at: number) =>
  token.slice(0, at) + (token[at] === 'x' ? 'y' : 'x') + token.slice(at + 1)

/** The token with one of its three parts taken from another token. */
function splice(token: string, from: string, part: number): string {
  const parts = token.split('.')
  parts[part] = from.split('.')[part] ?? ''
  return parts.join('.')
}

/** A key pair for the given algorithm that the service has never seen. */
function strangerKey(algorithm: Algorithm): { sign: Signer; jwk: Claims } {
  if (algorithm === 'HS256')
    return { sign: hmacSigner('sha256', 'theirs'), jwk: { kty: 'oct', k: 'dGhlaXJz' } }
  const { publicKey, privateKey } = makePair(algorithm)
  return {
    sign: keySigner(algorithm, privateKey),
    jwk: { ...publicKey.export({ format: 'jwk' }), alg: algorithm },
  }
}

function makePair(algorithm: Exclude<Algorithm, 'HS256'>): { publicKey: KeyObject; privateKey: KeyObject } {
  if (algorithm === 'ES256') return generateKeyPairSync('ec', { namedCurve: 'P-256' })
  if (algorithm === 'RS256') return generateKeyPairSync('rsa', { modulusLength: 2048 })
  return generateKeyPairSync('ed25519')
}

const hs256 = (key: string | Uint8Array) => ({ header: { alg: 'HS256' }, by: hmacSigner('sha256', key) })
const publicKeyOf = (jwk: Claims) => (jwk.kty === 'oct' ? null : createPublicKey({ key: jwk, format: 'jwk' }))
const pem = (jwk: Claims) => String(publicKeyOf(jwk)?.export({ type: 'spki', format: 'pem' }) ?? 'none')
const der = (jwk: Claims) => Buffer.from(publicKeyOf(jwk)?.export({ type: 'spki', format: 'der' }) ?? 'none')
