import { beforeAll, describe, expect, test } from 'bun:test'
import { connect } from 'node:net'
import type { ErrorCode } from '../../src/lib/errors.ts'
import { type Call, call, newKey, newPerson } from '../support/client.ts'
import { sendRaw } from '../support/http-socket.ts'
import { addLoggedIn } from '../support/people.ts'
import { expectProblem } from '../support/problem.ts'
import { until } from '../support/until.ts'
import { prepare, useService, useSql } from '../support/use-service.ts'

const service = useService()
const sql = useSql(service)
const person = prepare(() => newPerson(service))
let readKey: string
beforeAll(async () => {
  readKey = (await newKey(service, person.access, { scopes: 'read' })).key
})

const json = { 'content-type': 'application/json' }
const KIB = 1024

/** Invalid bodies, and the error of each for a valid credential. */
const BODIES: [name: string, body: Call, code: ErrorCode][] = [
  ['malformed', { raw: '{"name": ', headers: json }, 'malformed_json'],
  ['empty', { raw: '', headers: json }, 'validation_failed'],
  ['missing', {}, 'validation_failed'],
  ['invalid UTF-8', { raw: new Uint8Array([0x7b, 0xff, 0xfe, 0x7d]), headers: json }, 'malformed_json'],
  ['of 100 KiB', { raw: `{"name":"${'a'.repeat(100 * KIB)}"}`, headers: json }, 'body_too_large'],
  ['of 8 MiB', { raw: 'a'.repeat(8 * KIB * KIB), headers: json }, 'body_too_large'],
  ['text', { raw: '{"name":"a"}', headers: { 'content-type': 'text/plain' } }, 'unsupported_media_type'],
  ['without a type', { raw: new Uint8Array([123, 125]) }, 'unsupported_media_type'],
  ['a form', { form: { name: 'a' } }, 'unsupported_media_type'],
  ['a list', { json: [] }, 'validation_failed'],
  ['a text in JSON', { json: 'name' }, 'validation_failed'],
  ['of an unknown member', { json: { name: 'a', expires_in_day: 1 } }, 'validation_failed'],
  ['of __proto__', { raw: '{"__proto__":{"name":"a"}}', headers: json }, 'validation_failed'],
  ['of wrong types', { json: { name: 5, scopes: 5 } }, 'validation_failed'],
  [
    'nested 20,000 deep',
    { raw: `${'['.repeat(20_000)}${']'.repeat(20_000)}`, headers: json },
    'malformed_json',
  ],
]

describe.each(BODIES)('before a body that is %s', (_, body, code) => {
  const create = (credential: Call) =>
    call(service, 'POST /keys/create', { ...body, ...credential, headers: { ...body.headers } })
  const countKeys = async () => (await sql`SELECT count(*)::int AS n FROM latchkey.api_keys`)[0]?.n

  test('the credential is checked', async () => {
    const before = await countKeys()
    expectProblem(await create({}), 'missing_credential')
    expectProblem(await create({ bearer: 'garbage' }), 'invalid_token')
    expectProblem(await create({ bearer: person.access, apiKey: readKey }), 'ambiguous_credentials')
    // A caller that may not make keys is refused for that, whatever the body is.
    expectProblem(await create({ apiKey: readKey }), 'insufficient_scope')
    // With a good credential the body is refused.
    const answer = await create({ bearer: person.access })
    expectProblem(answer, code)
    expect(await countKeys()).toBe(before)
  })
})

test('every route with a body has a parser of ours, because Elysia would read the body before the credential', () => {
  const routes = service.app.routes.filter(({ hooks }) => hooks.body)
  expect(routes.length).toBeGreaterThan(15)
  expect(routes.filter(({ hooks }) => !hooks.parse).map(({ method, path }) => `${method} ${path}`)).toEqual(
    [],
  )
})

test('a request with a cached credential runs synchronously through the route', () => {
  const kinds = service.app.router.history
    .filter(({ path }) => path.startsWith('/protected/'))
    .map((route) => (route.compile?.() ?? route.composed)?.constructor.name)
  expect(kinds).toEqual(['Function', 'Function', 'Function', 'Function'])
})

describe('the answer does not wait for a body', () => {
  test('without a credential, for a chunked body', async () => {
    const headers = ['Content-Type: application/json', 'Transfer-Encoding: chunked']
    const answer = await sendRaw(service, 'POST /keys/create', headers, '5\r\n{"a":\r\n0\r\n\r\n')
    expect([answer.status, JSON.parse(answer.body).code]).toEqual([401, 'missing_credential'])
  })

  test('without a credential, on several routes with a body', async () => {
    for (const route of ['PATCH /users/x', 'POST /users', 'POST /auth/password', 'POST /service-accounts']) {
      const raw = '{"malformed'
      expectProblem(await call(service, route, { raw, headers: json }), 'missing_credential')
      expectProblem(await call(service, route, { raw, headers: json, bearer: 'garbage' }), 'invalid_token')
    }
  })

  test('of a DELETE, where a body is ignored', async () => {
    const raw = '{"malformed'
    const { id } = await newKey(service, person.access)
    const route = `DELETE /keys/revoke/${id}`
    expectProblem(await call(service, route, { raw, headers: json }), 'missing_credential')
    expect((await call(service, route, { raw, headers: json, bearer: person.access })).status).toBe(200)
  })
})

describe('a body that is held back has no effect once its sender is refused', () => {
  /** Sends the headers and half of a body, runs `meanwhile`, then sends the rest. */
  async function sendHalves(route: string, bearer: string, body: object, meanwhile: () => Promise<unknown>) {
    const { hostname, port } = new URL(service.url)
    const text = JSON.stringify(body)
    const socket = connect(Number(port), hostname)
    const answer = Promise.withResolvers<string>()
    let received = ''
    socket.on('data', (chunk) => {
      received += chunk
    })
    socket.on('close', () => answer.resolve(received))
    const head = [
      `${route} HTTP/1.1`,
      'Host: x',
      'Connection: close',
      `Authorization: Bearer ${bearer}`,
      'Content-Type: application/json',
      `Content-Length: ${text.length}`,
    ]
    socket.write(`${head.join('\r\n')}\r\n\r\n${text.slice(0, 5)}`)
    // The guard has to authorize the request before that, or the test would prove nothing.
    await Bun.sleep(300)
    await meanwhile()
    socket.write(text.slice(5))
    return Number(/^HTTP\/1\.1 (\d+)/.exec(await answer.promise)?.[1])
  }
  const newKeyOf = (bearer: string, meanwhile: () => Promise<unknown>) =>
    sendHalves('POST /keys/create', bearer, { name: 'late', scopes: ['read'] }, meanwhile)

  test('a session that ended cannot make a key', async () => {
    const victim = await newPerson(service)
    expect(await newKeyOf(victim.access, async () => {})).toBe(201)
    const end = async () =>
      expect((await call(service, 'POST /auth/logout-all', { bearer: victim.access })).status).toBe(204)
    expect(await newKeyOf(victim.access, end)).toBe(401)
  })

  test('a key that was revoked cannot make a key', async () => {
    const { access } = await addLoggedIn(service, sql, { role: 'admin' })
    const { id, key } = await newKey(service, access, { scopes: ['read', 'latchkey:keys.write'] })
    expect(await newKeyOf(key, async () => {})).toBe(201)
    const revoke = async () =>
      expect((await call(service, `DELETE /keys/${id}`, { bearer: access })).status).toBe(200)
    expect(await newKeyOf(key, revoke)).toBe(401)
  })

  test('a user who is no longer an admin cannot do what only admins may', async () => {
    const { id, access } = await addLoggedIn(service, sql, { role: 'admin' })
    const other = await addLoggedIn(service, sql)
    const verify = (meanwhile: () => Promise<unknown>) =>
      sendHalves(`PATCH /users/${other.id}`, access, { email_verified: true }, meanwhile)
    expect(await verify(async () => {})).toBe(200)
    const demote = async () => {
      await sql`UPDATE latchkey.users SET role = 'user' WHERE id = ${id}`
      const isTold = async () =>
        (await call(service, 'GET /protected/admin', { bearer: access })).status === 403
      await until(isTold, 'the user is no longer an admin')
    }
    expect(await verify(demote)).toBe(403)
  })
})
