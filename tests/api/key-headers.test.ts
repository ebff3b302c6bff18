import { beforeAll, describe, expect, test } from 'bun:test'
import { createClient } from '../../client/index.ts'
import { proxyLines } from '../../src/cli/commands/proxy-lines.ts'
import { createLog } from '../../src/lib/log.ts'
import { type Answer, type Call, call, newKey } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import { sendRaw } from '../support/http-socket.ts'
import { basic, newClient } from '../support/oauth.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const HEADERS = ['apikey', 'x-access-token']
const SCHEMES = ['api-key', 'token']
const ORIGIN = 'https://app.example.com'

/** Without the settings. */
const plain = useService({ corsOrigins: [ORIGIN] })
const service = useService({ apiKeyHeaders: HEADERS, apiKeySchemes: SCHEMES, corsOrigins: [ORIGIN] }, plain)
const sql = useSql(plain)
const person = prepare(() => addLoggedIn(plain, sql))
const admin = prepare(() => addLoggedIn(plain, sql, { role: 'admin' }))
let key: string
beforeAll(async () => {
  key = (await newKey(plain, person.access, { scopes: 'read' })).key
})

const ask = (headers: Record<string, string>, at = service, route = 'GET /protected/any') =>
  call(at, route, { headers })
const ofBasic = (text: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(text).toString('base64')}`,
})
const CHALLENGE = 'Bearer realm="latchkey", error="invalid_token"'
const expectInvalid = (answer: Answer) => {
  expectProblem(answer, 'invalid_token')
  expect(answer.headers.get('www-authenticate')).toBe(CHALLENGE)
}

describe('a key in a header or a scheme that the settings name', () => {
  const WAYS: [string, () => Record<string, string>][] = [
    ...HEADERS.map((name): [string, () => Record<string, string>] => [name, () => ({ [name]: key })]),
    ['X-Access-Token in capitals', () => ({ 'X-ACCESS-TOKEN': key })],
    ...SCHEMES.map((scheme): [string, () => Record<string, string>] => [
      `${scheme} as scheme`,
      () => ({ authorization: `${scheme} ${key}` }),
    ]),
    ['a scheme in capitals, with spaces', () => ({ authorization: `TOKEN   ${key} ` })],
  ]

  test.each(WAYS)('%s is accepted where it is named, and nowhere else', async (_, headers) => {
    for (const route of ['GET /protected/any', 'GET /forward-auth', 'GET /auth/me'])
      expect([route, (await ask(headers(), service, route)).status]).toEqual([route, 200])
    const without = await ask(headers(), plain)
    expectProblem(without, 'authorization' in headers() ? 'invalid_token' : 'missing_credential')
  })

  test.each(WAYS)('%s carries no access token', async (_, headers) => {
    const swapped = Object.fromEntries(
      Object.entries(headers()).map(([name, value]) => [name, value.replace(key, person.access)]),
    )
    expectInvalid(await ask(swapped))
    expect((await ask({ authorization: `Bearer ${person.access}` })).status).toBe(200)
  })

  test.each(WAYS)(
    '%s with an unknown or a revoked key is refused, with the challenge of Bearer',
    async (_, headers) => {
      const made = await newKey(plain, person.access, { scopes: 'read' })
      const of = (other: string) =>
        Object.fromEntries(
          Object.entries(headers()).map(([name, value]) => [name, value.replace(key, other)]),
        )
      expectInvalid(await ask(of(`${made.key.slice(0, -1)}${made.key.endsWith('x') ? 'y' : 'x'}`)))
      expect((await ask(of(made.key))).status).toBe(200)
      await call(service, `DELETE /keys/${made.id}`, { bearer: person.access })
      expectInvalid(await ask(of(made.key)))
    },
  )
})

describe('one credential a request, over all names', () => {
  test('two are refused, in any two names, the same key too', async () => {
    const ways: Record<string, string>[] = [
      { authorization: `Bearer ${key}` },
      ofBasic(`${key}:`),
      { authorization: `token ${key}` },
      { 'x-api-key': key },
      { apikey: key },
      { 'x-access-token': key },
    ]
    for (const one of ways) {
      expect((await ask(one)).status).toBe(200)
      for (const other of ways) {
        if (Object.keys(one)[0] === Object.keys(other)[0]) continue
        expectProblem(await ask({ ...one, ...other }), 'ambiguous_credentials')
        expectProblem(await ask({ ...one, ...other }, service, 'GET /forward-auth'), 'invalid_token')
      }
    }
    // A name that the settings do not have is no credential.
    expect((await ask({ apikey: key, 'x-api-key': key }, plain)).status).toBe(200)
  })

  test('a repeated header is refused', async () => {
    for (const lines of [
      [`apikey: ${key}`, `apikey: ${key}`],
      [`apikey: ${key}`, `ApiKey: x`],
    ])
      expect((await sendRaw(service, 'GET /protected/any', lines)).status).toBe(400)
    expect((await sendRaw(service, 'GET /protected/any', [`ApiKey: ${key}`])).status).toBe(200)
  })
})

describe('Basic with an empty password', () => {
  test('carries a key, whatever the settings are', async () => {
    for (const at of [plain, service]) {
      for (const route of ['GET /protected/any', 'GET /forward-auth', 'GET /keys'].slice(0, 2))
        expect([route, (await ask(ofBasic(`${key}:`), at, route)).status]).toEqual([route, 200])
      expect((await ask({ authorization: `bAsIc  ${btoa(`${key}:`)} ` }, at)).status).toBe(200)
    }
    const imported = 'an-old.key/of=mine'
    const item = { owner: { user_id: person.id }, key: imported, scopes: 'read' }
    const { body } = await call(plain, 'POST /keys/import', { bearer: admin.access, json: { keys: [item] } })
    expect(body.results).toMatchObject([{ status: 'imported' }])
    expect((await ask(ofBasic(`${imported}:`))).status).toBe(200)
  })

  test.each<[string, () => Record<string, string>]>([
    ['with a password', () => ofBasic(`${key}:password`)],
    ['with a colon as password', () => ofBasic(`${key}::`)],
    ['with the key as password', () => ofBasic(`:${key}`)],
    ['without a colon', () => ofBasic(key)],
    ['with nothing but a colon', () => ofBasic(':')],
    ['empty', () => ({ authorization: 'Basic ' })],
    ['longer than 512 bytes', () => ofBasic(`${'x'.repeat(600)}:`)],
    ['in another alphabet', () => ({ authorization: `Basic ${btoa(`${key}:`).replace(/=*$/, '-_')}` })],
    [
      'that is no UTF-8',
      () => ({ authorization: `Basic ${Buffer.from([0xff, 0xfe, 0x3a]).toString('base64')}` }),
    ],
    ['with an access token', () => ofBasic(`${person.access}:`)],
    ['with an unknown key', () => ofBasic('sk_unknown:')],
  ])('%s is 401', async (_, headers) => {
    for (const at of [plain, service]) expectInvalid(await ask(headers(), at))
    expect((await ask(ofBasic(`${key}:`))).status).toBe(200)
  })

  test('below /oauth/ authenticates clients alone', async () => {
    const client = await newClient(plain, admin.access, ['read', 'latchkey:introspect'])
    const form = { token: key }
    const own = await newKey(plain, admin.access, {
      scopes: ['latchkey:introspect'],
    })
    const introspect = (options: Call) => call(service, 'POST /oauth/introspect', { form, ...options })
    // The key would be good enough as a bearer credential.
    expect((await introspect({ bearer: own.key })).status).toBe(200)
    expect((await introspect({ headers: ofBasic(`${own.key}:`) })).status).toBe(401)
    expect((await introspect({ headers: basic(client.id, client.secret) })).status).toBe(200)
  })

  test('is read by latchkey/client as well', async () => {
    const asker = (await newKey(plain, admin.access, { scopes: 'latchkey:verify' })).key
    const client = createClient({ url: plain.url, key: asker })
    const kindOf = async (text: string) =>
      (await client.authenticate({ headers: new Headers(ofBasic(text)) })).kind
    expect(await kindOf(`${key}:`)).toBe('key')
    for (const text of [`${key}:x`, key, ':', `${person.access}:`, `${'x'.repeat(600)}:`])
      expect([text, await kindOf(text)]).toEqual([text, 'refused'])
  })
})

describe('the names are told', () => {
  test('to browsers, in Access-Control-Allow-Headers', async () => {
    const allowed = async (at: typeof service) => {
      const headers = { origin: ORIGIN, 'access-control-request-method': 'GET' }
      const answer = await ask(headers, at, 'OPTIONS /keys')
      return (answer.headers.get('access-control-allow-headers') ?? '').toLowerCase()
    }
    for (const name of HEADERS) {
      expect(await allowed(service)).toContain(name)
      expect(await allowed(plain)).not.toContain(name)
    }
  })

  test('in the OpenAPI document, as schemes of every operation that takes a credential', async () => {
    const read = async (at: typeof service) => (await call(at, 'GET /openapi.json')).body
    const { components, paths } = await read(service)
    expect(components.securitySchemes).toMatchObject({
      'header-apikey': { type: 'apiKey', in: 'header', name: 'apikey' },
      'header-x-access-token': { type: 'apiKey', in: 'header', name: 'x-access-token' },
      'scheme-api-key': { type: 'http', scheme: 'api-key' },
      'scheme-token': { type: 'http', scheme: 'token' },
    })
    const names = Object.keys(components.securitySchemes)
    expect(paths['/keys'].get.security.flatMap(Object.keys).sort()).toEqual(names.sort())
    expect(paths['/auth/login'].post.security).toEqual([])
    expect(Object.keys((await read(plain)).components.securitySchemes).sort()).toEqual(['bearer', 'oauth2'])
  })

  test('by `latchkey config`, with the lines that proxies need; without the settings it prints none', async () => {
    const env = { API_KEY_HEADERS: 'apikey,x-access-token', API_KEY_SCHEMES: 'token' }
    const { out, code } = await runInProcess(['config'], { env })
    expect(code).toBe(0)
    for (const line of [
      'API_KEY_HEADERS=apikey,x-access-token',
      '#   proxy_set_header x-access-token $http_x_access_token;',
      '#   proxy_set_header x-access-token "";',
      '#   header_up -Cookie',
      '#   request_header -apikey',
    ])
      expect(out.split('\n')).toContain(line)
    expect((await runInProcess(['config'], {})).out).not.toContain('proxy_set_header')
    expect(proxyLines({ apiKeyHeaders: [] })).toEqual([])
  })
})

test('a key of no known form in any of these headers is in no line of the log', async () => {
  const imported = 'correct-battery-of-old'
  const item = { owner: { user_id: person.id }, key: imported, scopes: 'read' }
  await call(plain, 'POST /keys/import', { bearer: admin.access, json: { keys: [item] } })
  for (const headers of [
    { apikey: imported },
    { authorization: `token ${imported}` },
    ofBasic(`${imported}:`),
  ])
    for (const route of ['GET /protected/any', 'GET /protected/admin', 'GET /nowhere', 'PATCH /keys/x'])
      await ask(headers, service, route)
  const encoded = btoa(`${imported}:`)
  const text = service
    .logged()
    .map((line) => JSON.stringify(line))
    .join('\n')
  expect(text.includes('"PATCH"')).toBe(true)
  expect(text.includes(imported)).toBe(false)
  expect(text.includes(encoded)).toBe(false)
  // Where an event names headers or quotes one, too.
  let written = ''
  const log = createLog({ logLevel: 'info', logFormat: 'json', apiKeyHeaders: HEADERS }, (chunk) => {
    written += chunk
  })
  const headers = {
    apikey: imported,
    'x-api-key': imported,
    authorization: `token ${imported}`,
    other: 'kept',
  }
  log.error({ headers }, 'x')
  log.error({ request: { headers } }, `it sent Basic ${encoded}`)
  log.flush()
  expect(written).toContain('kept')
  expect(written).not.toContain(imported)
  expect(written).not.toContain(encoded)
})
