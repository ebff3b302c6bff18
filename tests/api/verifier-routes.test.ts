import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { secret } from '../../src/lib/secret.ts'
import { call, newKey, newPerson, type Person } from '../support/client.ts'
import { addLoggedIn, connectTo } from '../support/people.ts'
import type { TestService } from '../support/service.ts'
import { useService } from '../support/use-service.ts'
import { startVerifier } from '../support/verifier.ts'

const home = useService()
const METRICS = 'qX7vB2mK9qT4wZ8nRdF3'
let verifier: TestService
let person: Person
let watcher: string
let key: { id: string; key: string }
beforeAll(async () => {
  verifier = await startVerifier(home, null, {
    homeUrl: 'https://home.test/base',
    metricsToken: secret(METRICS),
  })
  person = await newPerson(home)
  key = await newKey(home, person.access, { scopes: ['read'] })
  const sql = connectTo(home)
  const admin = await addLoggedIn(home, sql, { role: 'admin' })
  await sql.end()
  watcher = (await newKey(home, admin.access, { scopes: ['latchkey:verify', 'latchkey:introspect'] })).key
})
afterAll(() => verifier.stop())

/** What a verifier answers itself. */
const OWN = [
  'POST /keys/verify',
  'POST /keys/verify-batch',
  'POST /verify',
  'POST /oauth/introspect',
  'GET /forward-auth',
  'GET /.well-known/jwks.json',
  'GET /.well-known/oauth-authorization-server',
  'GET /.well-known/openid-configuration',
  'GET /.well-known/oauth-protected-resource/{name}',
  'GET /livez',
  'GET /readyz',
  'GET /health',
]

describe('every other route of home', () => {
  const misdirected = (path: string) => ({
    type: '/errors/misdirected',
    title: 'Misdirected request',
    status: 421,
    code: 'misdirected',
    home: `https://home.test/base${path}`,
  })

  test('is answered 421 with its URL at home, whatever the method and the credential are', async () => {
    const document = (await call(home, 'GET /openapi.json')).body
    const paths = Object.keys(document.paths)
    const own = new Set(OWN.map((route) => route.split(' ')[1]))
    const others = paths.filter((path) => !own.has(path)).map((path) => path.replaceAll(/\{\w+\}/g, 'x'))
    expect(others.length).toBeGreaterThan(60)
    for (const path of others) {
      for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND']) {
        const answer = await call(verifier, `${method} ${path}?token=abc`, {
          bearer: 'no-credential',
          apiKey: 'two',
        })
        expect([method, path, answer.body]).toEqual([
          method,
          path,
          expect.objectContaining(misdirected(path)),
        ])
        expect(answer.headers.get('content-type')).toBe('application/problem+json')
      }
    }
  }, 30_000)

  test('also pages, files of the console, what stands below a path, and a slash at the end', async () => {
    for (const path of [
      '/',
      '/login',
      '/console',
      '/console/assets/x.js',
      '/docs',
      '/errors/stale',
      '/keys/',
    ]) {
      const answer = await call(verifier, `GET ${path}`, { headers: { accept: 'text/html' } })
      expect([path, answer.status, answer.body?.home]).toEqual([path, 421, `https://home.test/base${path}`])
    }
  })

  test('while an unknown path is 404, and another method at a route of the verifier 405', async () => {
    expect((await call(verifier, 'GET /no/such/path')).status).toBe(404)
    const answer = await call(verifier, 'GET /keys/verify')
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST'])
    // A credential is looked at where the verifier answers itself.
    expect((await call(verifier, 'POST /keys/verify', { json: { key: 'x' } })).status).toBe(401)
  })

  test('and counts for no limit of the address', async () => {
    const limited = await startVerifier(home, null, {
      rateLimits: Object.fromEntries(
        ['signup', 'login', 'refresh', 'password', 'mail', 'authorize', 'device_authorization', 'device']
          .concat(['create_key', 'register', 'client_metadata', 'unknown_credential', 'other'])
          .map((name) => [name, { limit: 2, windowSeconds: 60 }]),
      ) as never,
    })
    try {
      for (let i = 0; i < 4; i++) expect((await call(limited, 'GET /auth/me')).status).toBe(421)
      const statuses = []
      for (let i = 0; i < 4; i++) statuses.push((await call(limited, 'GET /no/such/path')).status)
      expect(statuses).toEqual([404, 404, 429, 429])
    } finally {
      await limited.stop()
    }
  })
})

describe('a verifier answers', () => {
  test('whether a key is good, from its copy', async () => {
    const answers = [
      await call(verifier, 'POST /keys/verify', { bearer: watcher, json: { key: key.key, scopes: 'read' } }),
      await call(verifier, 'POST /verify', { bearer: watcher, json: { credential: key.key } }),
      await call(verifier, 'POST /oauth/introspect', { bearer: watcher, form: { token: key.key } }),
      await call(verifier, 'GET /forward-auth', { apiKey: key.key }),
      await call(verifier, 'PUT /forward-auth/scope=read/any/path', { bearer: person.access }),
      await call(verifier, 'POST /verify', { bearer: watcher, json: { credential: person.access } }),
    ]
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200])
    expect(answers[0]?.body).toMatchObject({ valid: true, key_id: key.id, credits: null, rate_limit: null })
    expect(answers[1]?.body).toMatchObject({ valid: true, kind: 'key' })
    expect(answers[2]?.body).toMatchObject({ active: true, key_id: key.id })
    expect(answers[3]?.headers.get('x-auth-key-id')).toBe(key.id)
    expect(answers[4]?.headers.get('x-auth-subject')).toBe(person.id)
    expect(answers[5]?.body).toMatchObject({ valid: true, kind: 'user', subject: person.id })
    const batch = await call(verifier, 'POST /keys/verify-batch', {
      bearer: watcher,
      json: { keys: [{ key: key.key }, { key: 'sk_none' }] },
    })
    expect(batch.body.results.map(({ code }: { code: string }) => code)).toEqual(['VALID', 'NOT_FOUND'])
    expect(answers.map(({ body }) => body?.as_of)).toEqual(answers.map(() => undefined))
  })

  test('discovery with the URLs of home, the document of home, and its own metrics', async () => {
    const { body } = await call(verifier, 'GET /.well-known/openid-configuration')
    expect(body.issuer).toBe(home.config.publicUrl)
    expect(body.token_endpoint).toBe(`${home.config.publicUrl}/oauth/token`)
    const [here, there] = [await call(verifier, 'GET /openapi.json'), await call(home, 'GET /openapi.json')]
    expect(here.body).toEqual(there.body)
    const jwks = await call(verifier, 'GET /.well-known/jwks.json')
    expect(jwks.body.keys).toHaveLength(1)
    expect(jwks.body).toEqual((await call(home, 'GET /.well-known/jwks.json')).body)
    const metrics = await call(verifier, 'GET /metrics', { bearer: METRICS })
    expect(metrics.text.includes('latchkey_region_proof_age_seconds')).toBe(true)
    for (const path of ['/livez', '/health', '/readyz'])
      expect([path, (await call(verifier, `GET ${path}`)).status]).toEqual([path, 200])
  })

  test('and refuses what a key of another scope asks, without a row in the audit trail', async () => {
    const refused = await call(verifier, 'POST /keys/verify', { bearer: key.key, json: { key: key.key } })
    expect([refused.status, refused.body.code]).toEqual([403, 'insufficient_scope'])
  })

  test('by transactions that write nothing', async () => {
    const write = verifier.context.db.execute('UPDATE latchkey.users SET email = email')
    expect(
      await Promise.resolve(write).then(
        () => null,
        (error) => String(error.cause ?? error),
      ),
    ).toContain('read-only transaction')
  })
})
