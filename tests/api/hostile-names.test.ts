import { afterAll, beforeAll, expect, test } from 'bun:test'
import type postgres from 'postgres'
import { DEFAULT_RATE_LIMITS, type RateLimitName, type RateLimits } from '../../src/config/rate-limits.ts'
import { OWN, signIn } from '../support/browser.ts'
import { type Call, call, newKey } from '../support/client.ts'
import {
  documentOf,
  type OpenApiDocument,
  type Operation,
  operationsOf,
  resolveIn,
} from '../support/described.ts'
import type { Schema } from '../support/json-schema.ts'
import { addLoggedIn, connectTo, PASSWORD } from '../support/people.ts'
import { registerApp, registerResource } from '../support/registered-apps.ts'
import { startService, type TestService } from '../support/service.ts'

/** Names that every JavaScript object inherits. A plain object that is indexed by request text seems to have them as entries. */
const INHERITED = ['constructor', 'toString', 'valueOf', 'hasOwnProperty', '__proto__', '__defineGetter__']
/** Instants at the bounds of PostgreSQL and JavaScript, and just beyond. */
const INSTANTS = [
  '0000-01-01T00:00:00Z',
  '0000-12-31T23:59:59.999Z',
  '0001-01-01T00:00:00+14:00',
  '0001-01-01T00:00:00Z',
  '0001-01-15T00:00:00Z',
  '1969-12-31T23:59:59Z',
  '9999-12-31T23:59:59.999Z',
  '9999-12-31T23:59:59-14:00',
  '2026-01-01T24:00:00Z',
  '2026-01-01T23:59:60Z',
]
const WORDS = [...INHERITED, ...INSTANTS]
/** They are told from other texts only where an instant is read. */
const ONLY_INSTANTS = INSTANTS.slice(2)
/** The headers that Latchkey reads. */
const HEADERS = ['authorization', 'x-api-key', 'x-request-id', 'idempotency-key', 'traceparent']
const FORM = 'application/x-www-form-urlencoded'

type Route = { method: string; path: string; operation: Operation }
type Case = { route: string; options: Call }

let service: TestService
let sql: postgres.Sql
let document: OpenApiDocument
let bearer: string
let inBrowser: Record<string, string>
let ids: Record<string, string>
beforeAll(async () => {
  // With limits that are never reached, because limits are looked up by request text too.
  const unreached = { limit: 1_000_000, windowSeconds: 60 }
  const names = Object.keys(DEFAULT_RATE_LIMITS) as RateLimitName[]
  const rateLimits = Object.fromEntries(names.map((name) => [name, unreached])) as RateLimits
  service = await startService({ refreshTokenInQuery: true, rateLimits })
  sql = connectTo(service)
  document = await documentOf(service)
  // An admin, because more routes answer an admin.
  const admin = await addLoggedIn(service, sql, { role: 'admin' })
  bearer = admin.access
  inBrowser = { ...OWN, ...(await signIn(service, { email: admin.email, password: PASSWORD })) }
  const account = await call(service, 'POST /service-accounts', { bearer, json: { name: 'one' } })
  const other = await addLoggedIn(service, sql)
  ids = {
    '/keys': (await newKey(service, bearer)).id,
    '/users': other.id,
    '/service-accounts': account.body.id,
    '/resources': (await registerResource(service, bearer)).id,
    '/oauth': (await registerApp(service, bearer, { kind: 'confidential' })).id,
  }
})
afterAll(async () => {
  await sql.end()
  await service.stop()
})

/** A path with ids of existing resources where one is known. */
const pathOf = (path: string) =>
  path.replace(/\{\w+\}/g, () => ids[`/${path.split('/')[1]}`] ?? Bun.randomUUIDv7())

/** A value that fits a schema, with `word` wherever any text fits. */
function fittingValue(schema: Schema, word: string, within: OpenApiDocument): unknown {
  if (schema.$ref) return fittingValue(resolveIn(within)(schema.$ref), word, within)
  if (schema.anyOf?.[0]) return fittingValue(schema.anyOf[0], word, within)
  if ('const' in schema) return schema.const
  if (schema.type === 'array') return [fittingValue(schema.items ?? {}, word, within)]
  if (schema.type === 'integer') return schema.minimum ?? 1
  if (schema.type === 'boolean') return true
  if (schema.properties) {
    const members = Object.entries(schema.properties)
    return Object.fromEntries(members.map(([name, member]) => [name, fittingValue(member, word, within)]))
  }
  return schema.type === 'object' ? { [word]: word } : word
}

const membersOf = (schema: Schema, within: OpenApiDocument): [string, Schema][] => {
  const { $ref, anyOf, properties } = schema
  if ($ref) return membersOf(resolveIn(within)($ref), within)
  if (anyOf) return anyOf.flatMap((choice) => membersOf(choice, within))
  return Object.entries(properties ?? {})
}

/** Whether a schema reads an instant. A query parameter whose schema does not say so may read one, by its text. */
function readsInstant(schema: Schema, within: OpenApiDocument): boolean {
  if (schema.$ref) return readsInstant(resolveIn(within)(schema.$ref), within)
  const parts = [...(schema.anyOf ?? []), ...Object.values(schema.properties ?? {}), schema.items ?? {}]
  return (
    schema.format === 'date-time' ||
    parts.some((part) => part !== schema && Object.keys(part).length > 0 && readsInstant(part, within))
  )
}

/** The members that every form of a body needs. */
const requiredOf = (schema: Schema, within: OpenApiDocument): string[] => {
  const { $ref, anyOf, required = [] } = schema
  if ($ref) return requiredOf(resolveIn(within)($ref), within)
  const [first = [], ...rest] = anyOf?.map((choice) => requiredOf(choice, within)) ?? [required]
  return first.filter((name) => rest.every((other) => other.includes(name)))
}

/** Requests of a route with the word in every place: each value among fitting ones, all values together, and the names of members. */
function* casesOf(
  { method, path, operation }: Route,
  word: string,
  within: OpenApiDocument,
): Generator<Case> {
  const isGuarded =
    operation.security.length > 0 && operation.security.every((way) => Object.keys(way).length > 0)
  const credential: Call = isGuarded ? { bearer } : path.startsWith('/session') ? { headers: inBrowser } : {}
  const target = `${method} ${pathOf(path)}`
  const text = encodeURIComponent(word)
  if (path.includes('{'))
    yield { route: `${method} ${path.replace(/\{\w+\}/g, text)}`, options: { ...credential } }
  const queries = (operation.parameters ?? []).filter((parameter) => parameter.in === 'query')
  for (const { name } of queries) yield { route: `${target}?${name}=${text}`, options: { ...credential } }
  if (queries.length > 0)
    yield {
      route: `${target}?${queries.map(({ name }) => `${name}=${text}`).join('&')}`,
      options: credential,
    }
  // Only for GET: another method would make its change, whatever the query is.
  if (method === 'GET') yield { route: `${target}?${text}=${text}`, options: { ...credential } }
  for (const [type, { schema = {} }] of Object.entries(operation.requestBody?.content ?? {})) {
    const members = membersOf(schema, within)
    const alone = ONLY_INSTANTS.includes(word)
      ? members.filter(([, member]) => readsInstant(member, within))
      : members
    const fitting = Object.fromEntries(
      members.map(([name, member]) => [name, fittingValue(member, 'fitting text', within)]),
    )
    // A fitting text may be no e-mail and no id: with no more than it needs, a request gets furthest.
    const required = requiredOf(schema, within)
    const needed = Object.fromEntries(Object.entries(fitting).filter(([name]) => required.includes(name)))
    const bodies = (type === FORM ? [needed, fitting] : [needed]).flatMap((others) =>
      alone.map(([name, member]) => ({ ...others, [name]: fittingValue(member, word, within) })),
    )
    bodies.push(
      Object.fromEntries(members.map(([name, member]) => [name, fittingValue(member, word, within)])),
      Object.fromEntries([...Object.entries(fitting), [word, word]]),
      Object.fromEntries([[word, word]]),
    )
    for (const body of bodies)
      yield {
        route: target,
        options:
          type === FORM
            ? { ...credential, form: body as Record<string, string> }
            : { ...credential, json: body },
      }
  }
}

/** Sends every case. @returns the requests that were answered by a server error, and how many were sent */
async function walk(on: Pick<TestService, 'url'>, within: OpenApiDocument, words: readonly string[]) {
  const failed: string[] = []
  const reached = new Set<string>()
  let sent = 0
  for (const word of words) {
    for (const route of operationsOf(within)) {
      for (const { route: target, options } of casesOf(route, word, within)) {
        sent += 1
        reached.add(route.operation.operationId)
        const { status } = await call(on, target, options)
        if (status >= 500) failed.push(`${status} ${target} ${JSON.stringify(options.json ?? options.form)}`)
      }
    }
  }
  return { failed, reached, sent }
}

test('an inherited name or an extreme instant, as any value or name of any operation, causes no server error', async () => {
  const { failed, reached, sent } = await walk(service, document, WORDS)
  expect(failed).toEqual([])
  expect(sent).toBeGreaterThan(1000)
  const withoutText = operationsOf(document)
    .filter(({ operation }) => !reached.has(operation.operationId))
    .map(({ method, path }) => `${method} ${path}`)
  // The routes that take a credential only.
  expect(withoutText.sort()).toEqual([
    'DELETE /auth/mfa/totp',
    'DELETE /keys/self',
    'DELETE /portal/session',
    'DELETE /session',
    'POST /auth/logout-all',
    'POST /auth/mfa/recovery-codes',
    'POST /auth/mfa/totp',
    'POST /auth/passkeys/options',
    'POST /auth/reauthenticate/options',
    'POST /oauth/userinfo',
    'POST /session/token',
    'POST /signing-keys/rotate',
  ])
}, 240_000)

test('an inherited name or an extreme instant in a header causes no server error', async () => {
  for (const word of WORDS) {
    for (const name of INHERITED.includes(word) ? [...HEADERS, word] : HEADERS) {
      const value = name === 'authorization' ? `Bearer ${word}` : word
      const headers = {
        ...(name === 'authorization' ? {} : { authorization: `Bearer ${bearer}` }),
        [name]: value,
      }
      const answer = await call(service, 'POST /keys', { json: {}, headers })
      expect([word, name, answer.status < 500]).toEqual([word, name, true])
    }
  }
})

test('a member that a route ignores has no effect', async () => {
  const credentials = { email: 'ignored@example.com', password: 'correct-horse-battery' }
  const ignored = {
    ...{
      id: ids['/users'],
      role: 'admin',
      scopes: ['latchkey:verify'],
      isActive: false,
      emailVerified: true,
    },
    ...{ email_verified: true, passwordHash: 'x', createdAt: '0000-01-01T00:00:00Z', requireStill: 'x' },
  }
  const made = await call(service, 'POST /auth/signup', { json: { ...ignored, ...credentials } })
  expect(made.status).toBe(201)
  const [row] =
    await sql`SELECT role, scopes, is_active, email_verified FROM latchkey.users WHERE id = ${made.body.id}`
  expect(row).toEqual({ role: 'user', scopes: null, is_active: true, email_verified: false })

  for (const scopes of ['read', ['read'], 'not-held', ['not-held'], 5, { every: 1 }, '', []]) {
    const answer = await call(service, 'POST /auth/login', { json: { ...ignored, ...credentials, scopes } })
    expect([scopes, answer.status]).toEqual([scopes, 200])
    const me = await call(service, 'GET /auth/me', { bearer: answer.body.access_token })
    expect(me.body).toMatchObject({ role: 'user', scopes: ['read', 'write'] })
  }
  const form = { grant_type: 'password', username: credentials.email, password: credentials.password }
  const more = { scopes: 'not-held', email: 'other@example.com', client: 'x' }
  const granted = await call(service, 'POST /oauth/token', { form: { ...form, ...more } })
  expect([granted.status, granted.body.scope]).toEqual([200, 'read write'])
  // The control: a member that the route reads has an effect.
  const narrowed = await call(service, 'POST /oauth/token', { form: { ...form, scope: 'not-held' } })
  expect([narrowed.status, narrowed.body.error]).toEqual([400, 'invalid_scope'])
})

test('the control: the same requests find an object that is indexed by request text, and a date without bounds', async () => {
  const grants: Record<string, () => string> = { password: () => 'a token' }
  const faulty = Bun.serve({
    hostname: '127.0.0.1',
    port: 0,
    fetch: async (request) => {
      try {
        const { grant_type = '' } = Object.fromEntries(new URLSearchParams(await request.text()))
        const from = new URL(request.url).searchParams.get('from')
        if (from !== null) await sql`SELECT ${new Date(from).toISOString()}::timestamptz`
        const grant = grants[grant_type]
        return grant ? new Response(grant().toUpperCase()) : new Response(null, { status: 400 })
      } catch {
        return new Response(null, { status: 500 })
      }
    },
  })
  const string = { type: 'string' }
  const body = { type: 'object', properties: { grant_type: string } }
  const operation = { security: [], responses: {}, tags: [] }
  const described: OpenApiDocument = {
    ...document,
    paths: {
      '/token': {
        post: { ...operation, operationId: 'token', requestBody: { content: { [FORM]: { schema: body } } } },
      },
      '/audit': {
        get: {
          ...operation,
          operationId: 'audit',
          parameters: [{ name: 'from', in: 'query', schema: string }],
        },
      },
    },
  }
  const { failed } = await walk({ url: faulty.url.origin }, described, WORDS)
  expect(failed.some((line) => line.includes('POST /token {"grant_type":"constructor"}'))).toBe(true)
  expect(failed.some((line) => line.includes('GET /audit?from=0000'))).toBe(true)
  await faulty.stop(true)
})
