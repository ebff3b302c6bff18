import { beforeAll, describe, expect, test } from 'bun:test'
import postgres from 'postgres'
import { isOAuthPath } from '../../src/api/oauth-path.ts'
import { secret } from '../../src/lib/secret.ts'
import { OWN, PAGES, signIn } from '../support/browser.ts'
import { type Call, call as callUnchecked, logIn, newPerson, type Person } from '../support/client.ts'
import { runInProcess } from '../support/command-line.ts'
import {
  call,
  documentOf,
  type OpenApiDocument,
  type Operation,
  operationsOf,
  resolveIn,
} from '../support/described.ts'
import { faultsOf, type Schema } from '../support/json-schema.ts'
import { startService } from '../support/service.ts'
import { useService, useSql } from '../support/use-service.ts'

const PUBLIC_URL = 'https://auth.latchkey.test/base'

const service = useService({ publicUrl: PUBLIC_URL })
let document: OpenApiDocument
let operations: ReturnType<typeof operationsOf>
let owner: Person
let admin: Person
beforeAll(async () => {
  document = await documentOf(service)
  operations = operationsOf(document)
  owner = await newPerson(service)
  admin = await newPerson(service)
  const sql = postgres(service.databaseUrl, { max: 1 })
  await sql`UPDATE latchkey.users SET role = 'admin' WHERE id = ${admin.id}`
  await sql.end()
})

/** The operationIds, which are the names of functions in generated clients. They never change. */
const OPERATIONS = `
  GET    /                        getRoot
  GET    /.well-known/jwks.json   getJwks
  GET    /health                  getHealth
  GET    /livez                   getLivez
  GET    /readyz                  getReadyz
  POST   /auth/signup             signUp
  POST   /auth/login              logIn
  POST   /auth/refresh            refresh
  POST   /auth/logout             logOut
  GET    /auth/me                 getMe
  POST   /oauth/token             getToken
  POST   /keys/create             createKey
  POST   /keys                    postKey
  GET    /keys/list               listKeys
  GET    /keys                    getKeys
  DELETE /keys/revoke/{id}        revokeKey
  DELETE /keys/{id}               deleteKeyById
  DELETE /keys/delete/{id}        removeKey
  GET    /protected/user-only     userOnly
  GET    /protected/service-only  serviceOnly
  GET    /protected/any           anyCredential
  GET    /protected/admin         adminOnly
`
  .trim()
  .split('\n')
  .map((line) => line.trim().split(/\s+/) as [method: string, path: string, id: string])

describe('the document', () => {
  test('is the same before and after traffic, on every instance', async () => {
    const other = await startService({ publicUrl: PUBLIC_URL }, service)
    try {
      await newPerson(other)
      expect(await documentOf(other)).toEqual(document)
    } finally {
      await other.stop()
    }
  })

  test('has PUBLIC_URL as its server, whatever the Host of the request is', async () => {
    expect(document.openapi).toBe('3.1.0')
    expect(document.servers).toEqual([{ url: PUBLIC_URL }])
    const headers = { host: 'evil.test', 'x-forwarded-host': 'evil.test' }
    expect((await callUnchecked(service, 'GET /openapi.json', { headers })).text).not.toContain('evil')
  })

  test('has two ways to authorise: a bearer, and OAuth by the pages for sign-in or with a password', () => {
    const { bearer, oauth2, ...others } = document.components.securitySchemes
    expect(others).toEqual({})
    expect(bearer).toMatchObject({ type: 'http', scheme: 'bearer' })
    const tokenUrl = `${PUBLIC_URL}/oauth/token`
    const token = { tokenUrl, refreshUrl: tokenUrl, scopes: {} }
    const authorizationCode = { authorizationUrl: `${PUBLIC_URL}/oauth/authorize`, ...token }
    expect(oauth2).toMatchObject({ type: 'oauth2', flows: { authorizationCode, password: token } })
  })

  test('says by which credentials introspection is authenticated, so that a generated client sends one', () => {
    const operationOf = (path: string) => document.paths[path]?.post as Operation & { description: string }
    const { security, description } = operationOf('/oauth/introspect')
    expect(security).toEqual([{ bearer: [] }, { oauth2: [] }])
    expect(description).toContain('HTTP Basic')
    expect(description).toContain('Needs the scope `latchkey:introspect`')
    // With client authentication, or without any.
    for (const path of ['/oauth/token', '/oauth/revoke']) {
      expect(operationOf(path).security).toEqual([])
      expect(operationOf(path).description).toContain('HTTP Basic')
    }
  })

  test('has each operationId once, with its lasting name', () => {
    const names = operations.map(({ operation }) => operation.operationId)
    expect(new Set(names).size).toBe(names.length)
    for (const name of names) expect(name).toMatch(/^[a-z][A-Za-z]+$/)
    for (const [method, path, id] of OPERATIONS)
      expect(`${method} ${path} ${document.paths[path]?.[method.toLowerCase()]?.operationId}`).toBe(
        `${method} ${path} ${id}`,
      )
    for (const { operation } of operations) {
      expect(operation.summary).toBeString()
      expect(operation.tags).toHaveLength(1)
    }
  })

  test('has exactly the routes of the app, except for its own files', () => {
    const described = operations.map(({ method, path }) => `${method} ${path}`)
    const served = service.app.routes
      .map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, '{$1}').replace(/(.)\/$/, '$1')}`)
      .filter((route) => !/^GET \/(docs|errors|openapi\.json)/.test(route) && !PAGES.includes(route))
      // This path is not below PUBLIC_URL, where the document's paths are.
      .filter((route) => route !== 'GET /.well-known/oauth-authorization-server/*')
    // Bun's own router serves it, before Elysia; see docs/decisions/0010-raw-target.md.
    const byBun = 'GET /forward-auth'
    expect(described.sort()).toEqual([...new Set([...served, byBun])].sort())
  })
})

describe('every operation', () => {
  const each = (check: (route: string, it: (typeof operations)[number]) => void) => () => {
    expect(operations.length).toBeGreaterThanOrEqual(OPERATIONS.length)
    for (const it of operations) check(`${it.method} ${it.path}`, it)
  }
  const typesOf = (content: object | undefined) => Object.keys(content ?? {}).join()

  test(
    'has only JSON, OAuth forms and problems as its media types',
    each((route, { path, operation }) => {
      const isOAuth = isOAuthPath(path)
      const { requestBody, responses } = operation
      const taken =
        isOAuth && path !== '/oauth/register' ? 'application/x-www-form-urlencoded' : 'application/json'
      if (requestBody) expect(`${route} ${typesOf(requestBody.content)}`).toBe(`${route} ${taken}`)
      for (const [status, { content }] of Object.entries(responses)) {
        const isError = Number(status) >= 400
        const expected = isError && !isOAuth ? 'application/problem+json' : 'application/json'
        const found = typesOf(content)
        if (isError || found !== '')
          expect(`${route} ${status} ${found}`).toBe(`${route} ${status} ${expected}`)
      }
    }),
  )

  test(
    'lists its possible errors',
    each((route, { path, operation }) => {
      const { requestBody, responses, security, parameters = [] } = operation
      const isOAuth = isOAuthPath(path)
      const isSecured = security.length > 0 && !security.some((way) => Object.keys(way).length === 0)
      const needed = new Set<number>()
      if (isSecured) for (const status of [400, 401, 403, 503]) needed.add(status)
      if (requestBody) for (const status of [400, 413, 415, isOAuth ? 400 : 422, 503]) needed.add(status)
      if (parameters.some((parameter) => parameter.in === 'query')) needed.add(422)
      if (path.includes('{')) needed.add(404)
      if (!['/health', '/livez', '/readyz'].includes(path)) needed.add(429)
      const missing = [...needed].filter((status) => !(String(status) in responses))
      expect(`${route} ${missing}`).toBe(`${route} `)
    }),
  )

  test(
    'has named schemas for its bodies and answers',
    each((route, { operation }) => {
      const isNamed = (schema: Schema | undefined): boolean =>
        schema?.$ref !== undefined || (schema?.anyOf?.every(isNamed) ?? false)
      const shapes = [operation.requestBody, ...Object.values(operation.responses)]
        .flatMap((part) => Object.values(part?.content ?? {}))
        .map(({ schema }) => schema)
      expect(`${route} ${JSON.stringify(shapes.filter((schema) => !isNamed(schema)))}`).toBe(`${route} []`)
    }),
  )
})

/** The path of an operation with a value for each of its parameters. */
const pathWith = (path: string, value: string) => path.replace(/\{\w+\}/g, value)

describe('every example', () => {
  // A mail server that is down: mails wait, and the routes that send mails answer as usual.
  const other = useService({
    smtpUrl: secret('smtp://127.0.0.1:1'),
    mailFrom: 'no-reply@example.com',
    oauthRegistration: 'open',
  })
  const sql = useSql(other)
  let bystander: { access: string }
  let colleague: Person
  const promote = (email: string) => sql`UPDATE latchkey.users SET role = 'admin' WHERE email = ${email}`
  beforeAll(async () => {
    colleague = await newPerson(other)
    const { email, password } = await newPerson(other)
    await promote(email)
    bystander = await logIn(other, email, password)
  })
  const schemas = () => document.components.schemas as Record<string, { examples?: Example[] }>
  type Example = Record<string, string>
  const exampleOf = (name: string) => schemas()[name]?.examples?.[0] ?? {}

  /** The user of the examples, as an admin with a session, and the resources that paths and examples name. */
  async function prepareExample() {
    const { email = '', password = '' } = exampleOf('Credentials')
    await callUnchecked(other, 'POST /auth/signup', { json: exampleOf('Credentials') })
    await promote(email)
    const { access, refresh } = await logIn(other, email, password)
    const make = async (route: string, json: object) =>
      (await callUnchecked(other, route, { bearer: access, json })).body
    const key = exampleOf('VerifyRequest').key ?? ''
    const hash = new Bun.CryptoHasher('sha256').update(key).digest('hex')
    const named = { name: 'Named', owner: { email }, hash, hash_encoding: 'hex', scopes: ['read'] }
    expect((await make('POST /keys/import', { keys: [named] })).results).toMatchObject([
      { status: 'imported' },
    ])
    return {
      access,
      refresh,
      keys: (await make('POST /keys', {})).id as string,
      'service-accounts': (await make('POST /service-accounts', { name: 'Named' })).id as string,
      users: colleague.id,
    }
  }
  /** Who the examples are about. */
  function signedInAs() {
    const { email = '', password = '' } = exampleOf('Credentials')
    return { email, password }
  }
  async function removeExample() {
    const { email = '' } = exampleOf('Credentials')
    const [person] = await sql`SELECT id FROM latchkey.users WHERE email = ${email}`
    const bearer = bystander.access
    expect((await callUnchecked(other, `DELETE /users/${person?.id}`, { bearer })).status).toBe(200)
  }
  /** The document cannot contain secrets, so these values take the place of those in the examples. */
  async function secretsFor(operationId: string, refresh: string): Promise<Example> {
    if (operationId === 'refresh') return { refresh_token: refresh }
    if (operationId !== 'resetPassword') return {}
    const issue = `POST /users/${colleague.id}/password-reset`
    return { token: (await callUnchecked(other, issue, { bearer: bystander.access })).body.token }
  }

  /** These need what only its holder has, in the right form here, such as a code; or answer in two ways that are good. */
  const OTHERWISE: Record<string, number> = {
    // The account is new.
    putServiceAccount: 201,
    // No answer contains the token that proves an address.
    verifyEmail: 401,
    exchangePortalLink: 401,
    // No app and no API has this id.
    authorizeDevice: 401,
    changeResource: 404,
    changeOAuthClient: 404,
    addOAuthClientSecret: 404,
    // No user has this address.
    addServiceAccountManager: 404,
    finishLogIn: 401,
    confirmTotp: 409,
    addPasskey: 403,
    finishSignIn: 401,
    signInByPasskey: 401,
    renamePasskey: 404,
    logInByPasskey: 401,
    reauthenticate: 403,
  }

  test('of a body succeeds when it is sent unchanged', async () => {
    const sent: string[] = []
    for (const { method, path, operation } of operations) {
      const [[type, media] = []] = Object.entries(operation.requestBody?.content ?? {})
      if (!media) continue
      const { operationId, security, responses } = operation
      const isSignUp = operationId === 'signUp'
      const prepared = isSignUp ? null : await prepareExample()
      const example = {
        ...exampleOf(media.schema?.$ref?.split('/').at(-1) ?? ''),
        ...(await secretsFor(operationId, prepared?.refresh ?? '')),
        // The one that was made for this example.
        ...(operationId === 'makePortalSession' && {
          service_account_id: prepared?.['service-accounts'] ?? '',
        }),
      }
      const isGiven = schemas()[media.schema?.$ref?.split('/').at(-1) ?? '']?.examples !== undefined
      expect(`${operationId} ${isGiven}`).toBe(`${operationId} true`)
      const headers = path.startsWith('/session') ? { ...OWN, ...(await signIn(other, signedInAs())) } : {}
      const resource = path.split('/')[1] as 'keys' | 'service-accounts' | 'users'
      const { status, body } = await call(
        other,
        `${method} ${pathWith(path, prepared?.[resource] ?? Bun.randomUUIDv7())}`,
        {
          headers,
          ...(prepared && security.length > 0 ? { bearer: prepared.access } : {}),
          ...(type === 'application/json' ? { json: example } : { form: example }),
        },
      )
      const success = Object.keys(responses).find((described) => Number(described) < 400)
      expect(`${operationId} ${status}`).toBe(`${operationId} ${OTHERWISE[operationId] ?? success}`)
      if (operationId === 'verifyKey') expect(body.code).toBe('VALID')
      if (operationId === 'verifyKeys') expect(body.results).toMatchObject([{ code: 'VALID' }])
      if (operationId === 'importKeys') expect(body.results).toMatchObject([{ status: 'imported' }])
      sent.push(operationId)
      if (operationId !== 'deleteAccount') await removeExample()
    }
    expect(sent.length).toBeGreaterThan(18)
  })

  test('fits its schema', () => {
    const faults: string[] = []
    let count = 0
    const visit = (node: unknown, at: string) => {
      if (typeof node !== 'object' || node === null) return
      const { examples } = node as { examples?: unknown }
      for (const example of Array.isArray(examples) ? examples : []) {
        count++
        faults.push(
          ...faultsOf(example, node as Schema, resolveIn(document)).map((fault) => `${at}: ${fault}`),
        )
      }
      for (const [name, part] of Object.entries(node)) if (name !== 'examples') visit(part, `${at}/${name}`)
    }
    visit(document, '')
    expect(faults).toEqual([])
    expect(count).toBeGreaterThan(30)
    visit({ type: 'object', required: ['name'], examples: [{}] }, 'control')
    expect(faults).toHaveLength(1)
  })
})

describe('every operation answers as described', () => {
  const JSON_TYPE = { 'content-type': 'application/json' }

  test('without a credential: 401 exactly where the document asks for one', async () => {
    for (const { method, path, operation } of operations) {
      const route = `${method} ${pathWith(path, Bun.randomUUIDv7())}`
      const isSecured =
        operation.security.length > 0 &&
        !operation.security.some((way) => !('bearer' in way || 'oauth2' in way))
      // The OAuth routes read the form before they authenticate the caller.
      const form = path === '/oauth/introspect' ? { form: { token: 'unknown' } } : {}
      const { status } = await call(service, route, form)
      expect(`${route} ${status === 401}`).toBe(`${route} ${isSecured}`)
      const dead = { bearer: `sk_${'0'.repeat(49)}`, ...form }
      if (isSecured) expect(`${route} ${(await call(service, route, dead)).status}`).toBe(`${route} 401`)
    }
  })

  test.each([
    ['nothing', {}],
    ['malformed JSON', { raw: '{', headers: JSON_TYPE }],
    ['an empty object', { raw: '{}', headers: JSON_TYPE }],
    ['a list', { raw: '[]', headers: JSON_TYPE }],
    ['an unknown member', { raw: '{"unknown":1}', headers: JSON_TYPE }],
    ['another type', { raw: 'x', headers: { 'content-type': 'text/plain' } }],
    ['an empty form', { form: {} }],
    ['an unknown form', { form: { unknown: '1', grant_type: 'unknown', token: 'unknown' } }],
    ['two credentials', { apiKey: 'sk_x' }],
  ] satisfies [string, Call][])('to a user and to an admin who send %s', async (_, options) => {
    for (const { method, path } of operations) {
      for (const who of [owner, admin]) {
        // A new session each time, because some of these routes end it.
        const { access } = await bearerOf(who)
        const ids = path.includes('{') ? [Bun.randomUUIDv7(), 'malformed'] : ['']
        const { raw, form, ...rest } = options as Call
        const sent = method === 'GET' ? rest : (options as Call)
        for (const id of ids)
          await call(service, `${method} ${pathWith(path, id)}`, { bearer: access, ...sent })
      }
    }
  })

  const bearers = new Map<string, { access: string }>()
  async function bearerOf(who: Person): Promise<{ access: string }> {
    const known = bearers.get(who.id)
    if (known && (await callUnchecked(service, 'GET /auth/me', { bearer: known.access })).status === 200)
      return known
    const fresh = await logIn(service, who.email, who.password)
    bearers.set(who.id, fresh)
    return fresh
  }

  test('on success, for each lasting operation', async () => {
    const seen = new Set<string>()
    const go = async (route: string, template: string, options: Call = {}) => {
      const answer = await call(service, route, options)
      expect(`${route} ${answer.status}`).toMatch(/ 20\d$/)
      seen.add(`${route.split(' ')[0]} ${template}`)
      return answer
    }
    const simply = (route: string, options: Call = {}) => go(route, route.split(' ')[1] ?? '', options)
    for (const path of ['/', '/.well-known/jwks.json', '/health', '/livez', '/readyz'])
      await simply(`GET ${path}`)
    const credentials = { email: 'tour@example.com', password: 'correct-horse-battery' }
    await simply('POST /auth/signup', { json: credentials })
    const { access_token: bearer, refresh_token } = (await simply('POST /auth/login', { json: credentials }))
      .body
    await simply('GET /auth/me', { bearer })
    await simply('GET /protected/user-only', { bearer })
    await simply('GET /protected/any', { bearer })
    for (const create of ['POST /keys/create', 'POST /keys']) {
      for (const end of ['/keys/revoke/', '/keys/', '/keys/delete/']) {
        const json = { name: 'tour', scopes: 'read', expires_in_days: 5 }
        const { id, key } = (await simply(create, { bearer, json })).body
        await simply('GET /protected/service-only', { apiKey: key })
        await simply('GET /protected/any', { apiKey: key })
        await simply('GET /auth/me', { apiKey: key })
        await simply('GET /keys/list', { bearer })
        await simply('GET /keys', { bearer })
        await go(
          `DELETE ${end}${id}?${end === '/keys/delete/' ? '' : 'reason=tour&created=true'}`,
          `${end}{id}`,
          { bearer },
        )
      }
    }
    await simply('GET /protected/admin', { bearer: (await bearerOf(admin)).access })
    const refreshed = (await simply('POST /auth/refresh', { json: { refresh_token } })).body
    const form = { grant_type: 'refresh_token', refresh_token: refreshed.refresh_token }
    await simply('POST /oauth/token', { form })
    const password = { grant_type: 'password', username: credentials.email, password: credentials.password }
    const granted = (await simply('POST /oauth/token', { form: password })).body
    await simply('POST /auth/logout', { bearer: granted.access_token })
    expect(
      OPERATIONS.map(([method, path]) => `${method} ${path}`).filter((route) => !seen.has(route)),
    ).toEqual([])
  })
})

test.each(['ES256', 'HS256'] as const)(
  'the command prints what a service serves with %s',
  async (algorithm) => {
    const publicUrl = 'https://auth.example.com'
    const at = await startService({ algorithm, publicUrl })
    try {
      const env = {
        DATABASE_URL: 'postgres://nowhere.invalid/db',
        SECRET_KEY: at.config.secretKey?.reveal() ?? '',
        ALGORITHM: algorithm,
        PUBLIC_URL: publicUrl,
      }
      const { out } = await runInProcess(['openapi'], { env })
      expect(JSON.parse(out)).toEqual((await callUnchecked(at, 'GET /openapi.json')).body)
    } finally {
      await at.stop()
    }
  },
)
