import { beforeAll, describe, expect, test } from 'bun:test'
import { createClient } from '../../client/index.ts'
import { base62Width, checksum } from '../../src/lib/base62.ts'
import { type Call, call, newKey } from '../support/client.ts'
import { basic } from '../support/oauth.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService({ isIssuer: true })
const sql = useSql(service)
const admin = prepare(() => addLoggedIn(service, sql, { role: 'admin' }))
/** The key with which another service asks Latchkey about keys. */
let asking: string
let account: string
beforeAll(async () => {
  const scopes = ['latchkey:verify', 'latchkey:introspect']
  asking = (await newKey(service, admin.access, { scopes })).key
  const made = await call(service, 'POST /service-accounts', {
    bearer: admin.access,
    json: { name: 'batch', scopes: ['read', 'latchkey:introspect'] },
  })
  account = made.body.id
})

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const REFRESH_WIDTH = 'rt_'.length + base62Width(53) + 6
let made = 0
/** A new text of letters and digits on each call. */
const filler = (length: number) => `${++made}`.padStart(length, 'Ab')

/** Keys that another system made, and that begin like our tokens. */
const FORMS: [string, () => string][] = [
  ['like a refresh token, shorter', () => `rt_${filler(40)}`],
  ['like a refresh token, longer', () => `rt_${filler(REFRESH_WIDTH)}`],
  ['like a refresh token, as long, with another checksum', () => `rt_${filler(REFRESH_WIDTH - 3)}`],
  ['rt_ and no more than that', () => `rt_${made++}`],
  ['like a token, without dots', () => `eyJ${filler(40)}`],
  ['like a token, with dots where one has none', () => `eyJ.${filler(40)}..`],
  ['like a token, with four parts', () => `${encode({ typ: 'at+jwt' })}.e30.${filler(20)}.x`],
  ['like a token, with a header that is no JSON', () => `eyJ${filler(40)}.e30.${filler(40)}`],
  ["another issuer's token", () => `${encode({ alg: 'HS256', typ: 'JWT' })}.e30.${filler(43)}`],
  ["another issuer's token without a type", () => `${encode({ alg: 'RS256' })}.e30.${filler(43)}`],
]

/** Imports a key for the service account. */
async function importKey(by: { key: string } | { hash: string }) {
  const owner = { service_account_id: account }
  const scopes = ['read', 'latchkey:introspect']
  const json = { keys: [{ name: 'old', owner, scopes, ...by }] }
  const answer = await call(service, 'POST /keys/import', { bearer: admin.access, json })
  return answer.body.results[0]
}
const hashOf = (key: string) => Buffer.from(Bun.SHA256.hash(key) as Uint8Array).toString('hex')

/** Whether each entry point accepts a key. */
async function verdictsOn(key: string): Promise<Record<string, boolean>> {
  const client = createClient({ url: service.url, key: asking, cacheSeconds: 0 })
  const is200 = async (route: string, options: Call) => (await call(service, route, options)).status === 200
  const form = { grant_type: 'client_credentials' }
  const grant = { ...form, client_id: account, client_secret: key }
  const batch = { keys: [{ key }] }
  const verify = await call(service, 'POST /keys/verify', { apiKey: asking, json: { key } })
  const verifyEach = await call(service, 'POST /keys/verify-batch', { apiKey: asking, json: batch })
  const introspect = await call(service, 'POST /oauth/introspect', { bearer: asking, form: { token: key } })
  const principal = await client.authenticate({ headers: new Headers({ 'x-api-key': key }) })
  return {
    bearer: await is200('GET /protected/any', { bearer: key }),
    'x-api-key': await is200('GET /protected/any', { apiKey: key }),
    verify: verify.body.valid,
    'verify-batch': verifyEach.body.results[0].valid,
    introspect: introspect.body.active && introspect.body.token_kind === 'api_key',
    'introspect by itself': await is200('POST /oauth/introspect', { bearer: key, form: { token: 'x' } }),
    'forward-auth': await is200('GET /forward-auth?kind=key', { bearer: key }),
    'forward-auth by X-API-Key': await is200('GET /forward-auth', { apiKey: key }),
    'basic authentication': await is200('POST /oauth/token', { form, headers: basic(account, key) }),
    'authentication in the form': await is200('POST /oauth/token', { form: grant }),
    'latchkey/client': principal.kind === 'key',
  }
}
const all = (verdicts: Record<string, boolean>, verdict: boolean) =>
  Object.fromEntries(Object.keys(verdicts).map((name) => [name, verdict]))

describe('an imported key is accepted wherever a key is checked, whatever its first letters', () => {
  describe.each(FORMS)('%s', (_, make) => {
    test.each(['key', 'hash'])('imported by its %s', async (by) => {
      const key = make()
      const before = await verdictsOn(key)
      expect(before).toEqual(all(before, false))
      const imported = await importKey(by === 'key' ? { key } : { hash: hashOf(key) })
      expect(imported).toMatchObject({ status: 'imported' })
      const verdicts = await verdictsOn(key)
      expect(verdicts).toEqual(all(verdicts, true))
      // The imported key can revoke itself, like any key.
      expect((await call(service, 'POST /oauth/revoke', { form: { token: key } })).status).toBe(200)
      const after = await verdictsOn(key)
      expect(after).toEqual(all(after, false))
    })

    test('ends by /keys/self', async () => {
      const key = make()
      await importKey({ key })
      expect((await call(service, 'DELETE /keys/self', { apiKey: key })).status).toBe(204)
      const after = await verdictsOn(key)
      expect(after).toEqual(all(after, false))
    })
  })

  test.each([
    ['a refresh token', () => withChecksum(`rt_${filler(REFRESH_WIDTH - 9)}`)],
    ['an access token', () => `${encode({ alg: 'ES256', typ: 'at+jwt', kid: 'x' })}.e30.${filler(86)}`],
  ])('a text in the form of %s is accepted as a key nowhere, and is not imported', async (kind, make) => {
    const key = make()
    const refused = await importKey({ key })
    expect(refused).toMatchObject({ status: 'refused', error: expect.stringContaining(kind) })
    // A hash does not tell the form of its key.
    await importKey({ hash: hashOf(key) })
    const verdicts = await verdictsOn(key)
    expect(verdicts).toEqual(all(verdicts, false))
  })
})

describe('our tokens are not accepted in the place of other credentials', () => {
  test('a refresh token is refused as a bearer, as a key and as a client secret, and is introspected as a refresh token', async () => {
    const { refresh } = await addLoggedIn(service, sql)
    const verdicts = await verdictsOn(refresh)
    expect(verdicts).toEqual(all(verdicts, false))
    const form = { token: refresh }
    const { body } = await call(service, 'POST /oauth/introspect', { bearer: asking, form })
    expect(body).toMatchObject({ active: true, token_type: 'Bearer', token_kind: 'refresh_token' })
    await call(service, 'POST /oauth/revoke', { form })
    expect((await call(service, 'POST /oauth/introspect', { bearer: asking, form })).body.active).toBe(false)
  })

  test('an access token is accepted as a bearer, and refused wherever a key is expected', async () => {
    const { access } = await addLoggedIn(service, sql)
    expect((await call(service, 'GET /auth/me', { bearer: access })).status).toBe(200)
    expectProblem(await call(service, 'GET /auth/me', { apiKey: access }), 'invalid_token')
    const headers = new Headers({ authorization: `Bearer ${access}` })
    const principal = await createClient({ url: service.url, key: asking }).authenticate({ headers })
    expect(principal.kind).toBe('user')
  })
})

const withChecksum = (body: string) => body + checksum(body)
