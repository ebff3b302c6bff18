import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import { Hono } from 'hono'
import { getConnInfo } from 'hono/bun'
import {
  type Client,
  createClient,
  type KeyPrincipal,
  type Principal,
  type UserPrincipal,
} from 'latchkey/client'
import { latchkey } from 'latchkey/client/elysia'
import * as forHono from 'latchkey/client/hono'
import { call, newKey, newPerson, type Person } from '../support/client.ts'
import { startOnNode } from '../support/client-package.ts'
import { sendRaw } from '../support/http-socket.ts'
import { describeAnswer, startFront, verifierKey } from '../support/latchkey-client.ts'
import { type FrameworkServer, idOf, isExactly, startExpress, startFastify } from '../support/node-servers.ts'
import { adminToken } from '../support/oauth.ts'
import { startService, type TestService } from '../support/service.ts'

/** Who is behind the nearest proxy, which is on loopback in these tests: it adds the address it sees at the end. */
const behindProxy = (headers: Headers, peer: string | undefined) =>
  headers.get('x-forwarded-for')?.split(',').at(-1)?.trim() ?? peer

async function startElysia(client: Client): Promise<FrameworkServer> {
  const guard = latchkey(client, ({ request, server }) =>
    behindProxy(request.headers, server?.requestIP(request)?.address),
  )
  const app = new Elysia()
    .use(guard)
    .get('/user/:name', ({ principal }) => idOf(isExactly<UserPrincipal>()(principal)), { user: true })
    .get('/admin', ({ principal }) => idOf(isExactly<UserPrincipal & { role: 'admin' }>()(principal)), {
      admin: true,
    })
    .get('/key', ({ principal }) => idOf(isExactly<KeyPrincipal>()(principal)), { key: { scopes: ['read'] } })
    .get('/any', ({ principal }) => idOf(isExactly<Principal>()(principal)), { anyone: true })
    .post('/body', ({ principal, body }) => ({ ...idOf(principal), name: body.name }), {
      anyone: true,
      body: Type.Object({ name: Type.String() }),
    })
    .get('/open', (context) => {
      // @ts-expect-error a route that asks for nothing has no principal
      return idOf(context.principal)
    })
    .listen({ port: 0, hostname: '127.0.0.1' })
  return { url: `http://127.0.0.1:${app.server?.port}`, stop: () => app.stop(true) }
}

async function startHono(client: Client): Promise<FrameworkServer> {
  const { protect } = forHono
  const address = (c: Parameters<typeof getConnInfo>[0]) =>
    behindProxy(c.req.raw.headers, getConnInfo(c).remote.address)
  const app = new Hono()
    .get('/user/:name', protect(client, { kind: 'user' }), (c) =>
      c.json(idOf(isExactly<UserPrincipal>()(c.get('principal')))),
    )
    .get('/admin', protect(client, { role: 'admin' }), (c) => c.json(idOf(c.get('principal'))))
    .get('/key', protect(client, { kind: 'key', scopes: ['read'] }, address), (c) =>
      c.json(idOf(isExactly<KeyPrincipal>()(c.get('principal')))),
    )
    .get('/any', protect(client, {}, address), (c) =>
      c.json(idOf(isExactly<Principal>()(c.get('principal')))),
    )
    .post('/body', protect(client, {}, address), async (c) =>
      c.json({ ...idOf(c.get('principal')), name: (await c.req.json().catch(() => ({}))).name }),
    )
    .get('/open', (c) => c.json(idOf(undefined)))
  const server = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: (request, at) => app.fetch(request, at) })
  return { url: `http://127.0.0.1:${server.port}`, stop: () => server.stop(true) }
}

let service: TestService
/** The same servers in Node, over the package as it is installed. */
const onNode = (framework: string) => async () =>
  startOnNode(framework, { LATCHKEY_URL: front.url, LATCHKEY_ISSUER: service.url, LATCHKEY_KEY: ownKey })

let front: ReturnType<typeof startFront>
let ownKey: string
let client: Client
let person: Person
let admin: string
let key: { id: string; key: string }
beforeAll(async () => {
  service = await startService({ isIssuer: true })
  front = startFront(service)
  ownKey = await verifierKey(service)
  client = createClient({ url: front.url, issuer: service.url, key: ownKey })
  person = await newPerson(service)
  admin = await adminToken(service)
  key = await newKey(service, person.access, { scopes: 'read' })
})
afterAll(async () => {
  await front.stop()
  await service.stop()
})

const guaranteesOf = (start: (client: Client) => Promise<FrameworkServer>) => () => {
  let server: FrameworkServer
  beforeAll(async () => {
    server = await start(client)
  })
  afterAll(() => server.stop())

  test('who meets the need of a route gets in, and the handler knows who it is', async () => {
    const json = { name: 'a' }
    for (const [route, options, id] of [
      ['GET /user/anna', { bearer: person.access }, person.id],
      ['GET /key', { bearer: key.key }, key.id],
      ['GET /key', { apiKey: key.key }, key.id],
      ['GET /any', { bearer: person.access }, person.id],
      ['GET /any', { apiKey: key.key }, key.id],
      ['POST /body', { apiKey: key.key, json }, key.id],
      ['GET /open', {}, null],
    ] as const) {
      const { status, body } = await call(server, route, options)
      expect({ route, status, id: body?.id }).toEqual({ route, status: 200, id })
    }
    expect((await call(server, 'GET /admin', { bearer: admin })).status).toBe(200)
    expect((await call(server, 'POST /body', { apiKey: key.key, json })).body.name).toBe('a')
  })

  test("who does not is answered as Latchkey's own doors answer", async () => {
    const writer = (await newKey(service, person.access, { scopes: 'write' })).key
    for (const [path, own, options] of [
      ['/user/anna', '/protected/user-only', {}],
      ['/user/anna', '/protected/user-only', { apiKey: key.key }],
      ['/user/anna', '/protected/user-only', { bearer: `${person.access}x` }],
      ['/admin', '/protected/admin', { bearer: person.access }],
      ['/key', '/protected/service-only', { bearer: person.access }],
      ['/key', '/protected/service-only', { apiKey: writer }],
      ['/key', '/protected/service-only', { apiKey: 'sk_unknown' }],
      ['/any', '/protected/any', { bearer: person.access, apiKey: key.key }],
      ['/any', '/protected/any', { headers: { authorization: `Basic ${btoa('a:b')}` } }],
    ] as const) {
      const expected = describeAnswer(await call(service, `GET ${own}`, options))
      const { headers, ...answer } = describeAnswer(await call(server, `GET ${path}`, options))
      const plain = { ...headers, 'content-type': headers?.['content-type']?.replace('; charset=utf-8', '') }
      expect({ path, ...answer, headers: plain }).toEqual({ path, ...expected } as never)
    }
  })

  test('a header that comes twice is refused, whatever the framework makes of it', async () => {
    const twice = (header: string) => sendRaw(server, 'GET /any', [header, header])
    expect((await sendRaw(server, 'GET /any', [`Authorization: Bearer ${key.key}`])).status).toBe(200)
    expect((await twice(`Authorization: Bearer ${key.key}`)).status).toBe(400)
    expect((await twice(`X-API-Key: ${key.key}`)).status).toBe(400)
  })

  test('the credential is judged before the body is read as anything', async () => {
    const headers = { 'content-type': 'application/json' }
    const broken = { raw: '{"name', headers }
    expect((await call(server, 'POST /body', broken)).status).toBe(401)
    expect((await call(server, 'POST /body', { ...broken, apiKey: key.key })).status).not.toBe(401)
  })

  test("a key that is bound to addresses needs the client's, also from behind a proxy", async () => {
    const near = (await newKey(service, person.access, { scopes: 'read', allowed_ips: ['127.0.0.0/8'] })).key
    const far = (await newKey(service, person.access, { scopes: 'read', allowed_ips: ['10.0.0.0/8'] })).key
    const from = async (apiKey: string, forwarded?: string) => {
      const headers: Record<string, string> = forwarded === undefined ? {} : { 'x-forwarded-for': forwarded }
      return (await call(server, 'GET /key', { apiKey, headers })).status
    }
    expect([await from(near), await from(far)]).toEqual([200, 403])
    expect([await from(near, '10.1.1.1'), await from(far, '10.1.1.1')]).toEqual([403, 200])
  })

  test('a request is one use of the key', async () => {
    const counted = await newKey(service, person.access, { scopes: 'read', credits: { remaining: 10 } })
    await call(server, 'GET /key', { apiKey: counted.key })
    await call(server, 'POST /body', { apiKey: counted.key, json: { name: 'a' } })
    await call(server, 'GET /user/anna', { apiKey: counted.key })
    const { body } = await call(service, `GET /keys/${counted.id}`, { bearer: person.access })
    expect(body.credits.remaining).toBe(8)
  })

  test('nobody gets in while Latchkey cannot be asked', async () => {
    const fresh = await newKey(service, person.access, { scopes: 'read' })
    front.instead = () => new Response('', { status: 500 })
    const { status, headers } = await call(server, 'GET /key', { apiKey: fresh.key })
    front.instead = null
    expect([status, headers.get('retry-after')]).toEqual([503, '1'])
    expect((await call(server, 'GET /key', { apiKey: fresh.key })).status).toBe(200)
  })
}

describe('Elysia', guaranteesOf(startElysia))
test('Elysia guards every kind of route, also under an `onError` of the application', async () => {
  const app = new Elysia()
    .onError(() => 'oops')
    .use(latchkey(client))
    .get('/static', 'here', { key: true })
    .guard({ key: true }, (guarded) => guarded.get('/guarded', () => 'here'))
    .group('/group', (group) => group.get('/x', () => 'here', { key: true }))
    .use(new Elysia().use(latchkey(client)).get('/plugin', () => 'here', { key: true }))
    .post('/unparsed', () => 'here', { key: true, parse: 'none' })
    .ws('/socket', { key: true, message() {} })
    .listen({ port: 0, hostname: '127.0.0.1' })
  const server = { url: `http://127.0.0.1:${app.server?.port}` }
  /** Whether a WebSocket opens; the application's `onError` may choose another status than 401. */
  const opens = (headers: Record<string, string>) =>
    new Promise((resolve) => {
      const socket = new WebSocket(`${server.url.replace('http', 'ws')}/socket`, { headers })
      socket.onopen = () => resolve(true)
      socket.onerror = () => resolve(false)
    })
  try {
    for (const route of [
      'GET /static',
      'HEAD /static',
      'GET /guarded',
      'GET /group/x',
      'GET /plugin',
      'POST /unparsed',
    ]) {
      const statuses = [await call(server, route), await call(server, route, { apiKey: key.key })]
      expect([route, ...statuses.map(({ status }) => status)]).toEqual([route, 401, 200])
    }
    expect([await opens({}), await opens({ 'x-api-key': key.key })]).toEqual([false, true])
  } finally {
    await app.stop(true)
  }
})

describe('Hono', guaranteesOf(startHono))
describe('Express', guaranteesOf(startExpress))
describe('Fastify', guaranteesOf(startFastify))
const why = Bun.which('node') ? '' : ' (skipped: apt-get install nodejs)'

describe.skipIf(why !== '')(`on Node${why}`, () => {
  describe('Express', guaranteesOf(onNode('express')))
  describe('Fastify', guaranteesOf(onNode('fastify')))
})
