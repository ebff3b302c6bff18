import { afterAll, describe, expect, test } from 'bun:test'
import { jwt } from '@elysiajs/jwt'
import { swagger } from '@elysiajs/swagger'
import { Type } from '@sinclair/typebox'
import { type AnyElysia, Elysia, t } from 'elysia'
import { DefaultContext, rateLimit } from 'elysia-rate-limit'
import { SignJWT } from 'jose'
import { dial, sendRaw } from '../support/http-socket.ts'

// What we use of Elysia, its plugins and Bun's server without a promise that it stays. When one of these fails after an
// upgrade, look at the file that its name ends with. `api/elysia.ts` names its tests of this file.

const at = (path: string, init?: RequestInit) => new Request(`http://localhost${path}`, init)
const posted = (body: string, type = 'application/json') => ({
  method: 'POST',
  body,
  headers: { 'content-type': type },
})
const statusOf = async (app: AnyElysia, path: string, init?: RequestInit) =>
  (await app.handle(at(path, init))).status

const servers: { stop(): unknown }[] = []
afterAll(() => Promise.all(servers.map((server) => server.stop())))

/** What each route of an app is compiled to. */
const kindsOf = (app: AnyElysia) =>
  Object.fromEntries(
    app.router.history.map((route) => [route.path, (route.compile?.() ?? route.composed)?.constructor.name]),
  )

/** Serves an app on loopback: where it is. */
function listen(app: AnyElysia): { url: string } {
  app.listen({ port: 0, hostname: '127.0.0.1', maxRequestBodySize: 9 * 1024 * 1024 })
  servers.push({ stop: () => app.stop(true) })
  return { url: `http://127.0.0.1:${app.server?.port}` }
}

test('every canary that api/elysia.ts names is in this file', async () => {
  const text = await Bun.file(`${import.meta.dir}/../../src/api/elysia.ts`).text()
  const named = [...text.replace(/\n \* +/g, ' ').matchAll(/"([^"]{20,})"/g)].map(([, name]) => name)
  expect(named.length).toBeGreaterThan(10)
  const here = await Bun.file(import.meta.path).text()
  expect(named.filter((name) => !here.includes(`${name} (api/`))).toEqual([])
})

describe('Elysia', () => {
  test('runs parse, transform, validation, resolve, beforeHandle, handler, in this order (api/auth.ts)', async () => {
    const order: string[] = []
    const step = (name: string) => () => {
      order.push(name)
    }
    const app = new Elysia()
      .macro({
        guarded: (_: true) => ({
          parse: () => {
            order.push('parse')
            return { n: 1 }
          },
          transform: step('transform'),
          resolve: () => {
            order.push('resolve')
            return { auth: 'somebody' }
          },
          beforeHandle: step('beforeHandle'),
        }),
      })
      .post('/', ({ auth }) => `handled for ${auth}`, { guarded: true, body: t.Object({ n: t.Number() }) })
      .post('/strict', () => 'never', { guarded: true, body: t.Object({ n: t.String() }) })
      .get('/', () => 'got', { guarded: true })
    expect(await (await app.handle(at('/', posted('{}')))).text()).toBe('handled for somebody')
    expect(order.splice(0)).toEqual(['parse', 'transform', 'resolve', 'beforeHandle'])
    expect(await statusOf(app, '/strict', posted('{}'))).toBe(422)
    expect(order.splice(0)).toEqual(['parse', 'transform'])
    expect(await statusOf(app, '/')).toBe(200)
    expect(order).toEqual(['transform', 'resolve', 'beforeHandle'])
  })

  test('wraps what a parser throws into an error with the code PARSE, whose cause it is (api/elysia.ts)', async () => {
    class Refusal extends Error {}
    let caught: unknown
    const app = new Elysia()
      .onError({ as: 'global' }, ({ error }) => {
        caught = error
        return 'told'
      })
      .post('/', () => 'never', {
        parse: () => {
          throw new Refusal('no')
        },
        body: t.Unknown(),
      })
    await app.handle(at('/', posted('{}')))
    expect(caught).toMatchObject({ code: 'PARSE' })
    expect((caught as Error).cause).toBeInstanceOf(Refusal)
  })

  test('normalises a body before it checks it, and with normalize: false leaves it alone (api/elysia.ts)', async () => {
    const app = (normalize: boolean) =>
      new Elysia({ normalize }).post('/', ({ body }) => JSON.stringify(body), {
        body: Type.Object({ name: Type.Optional(Type.String()) }, { additionalProperties: false }),
      })
    for (const body of ['{"nmae":"x"}', '[]']) {
      expect(await statusOf(app(true), '/', posted(body))).toBe(200)
      expect(await statusOf(app(false), '/', posted(body))).toBe(422)
    }
    expect(await statusOf(app(false), '/', posted('{"name":"x"}'))).toBe(200)
    expect(await statusOf(app(false), '/', posted('{"name":5}'))).toBe(422)
  })

  test('with normalize: false closes answers: a member too many is an error of type response (api/elysia.ts)', async () => {
    let caught: unknown
    const app = new Elysia({ normalize: false })
      .onError({ as: 'global' }, ({ error }) => {
        caught = error
        return 'told'
      })
      .get('/', () => ({ id: '1', password_hash: 'secret' }), {
        response: { 200: Type.Object({ id: Type.String() }) },
      })
    expect(await (await app.handle(at('/'))).text()).toBe('told')
    expect(caught).toMatchObject({ code: 'VALIDATION', type: 'response' })
  })

  test('lists the faults of a body by JSON pointer, an unknown member as unexpected (api/elysia.ts)', async () => {
    let all: { path: string; message: string }[] = []
    const app = new Elysia({ normalize: false })
      .onError(({ error }) => {
        all = (error as unknown as { all: typeof all }).all
        return 'told'
      })
      .post('/', () => 'never', {
        body: Type.Object(
          { a: Type.String(), b: Type.Array(Type.Integer()) },
          { additionalProperties: false },
        ),
      })
    await app.handle(at('/', posted('{"b":[1,"x"],"c":1}')))
    const found = all.map(({ path, message }) => `${path}: ${message}`)
    expect(found).toContain('/c: Unexpected property')
    expect(found).toContain('/a: Expected string')
    expect(found).toContain('/b/1: Expected integer')
  })

  test('keeps the faults of each shape of a union, in the order of the shapes (api/elysia.ts)', async () => {
    let all: { path: string; errors?: Iterable<{ path: string; message: string }>[] }[] = []
    const app = new Elysia({ normalize: false })
      .onError(({ error }) => {
        all = (error as unknown as { all: typeof all }).all
        return 'told'
      })
      .post('/', () => 'never', {
        body: Type.Union([Type.Object({}, { additionalProperties: false }), Type.Null()]),
      })
    await app.handle(at('/', posted('{"c":1}')))
    const [first] = all[0]?.errors ?? []
    expect([all.length, all[0]?.path]).toEqual([1, ''])
    expect([...(first ?? [])]).toMatchObject([{ path: '/c', message: 'Unexpected property' }])
  })

  test('stumbles over a member called toString when it describes a fault (api/body.ts refuses it before)', async () => {
    let caught: unknown
    const app = new Elysia({ normalize: false })
      .onError(({ error }) => {
        caught = error
        return 'told'
      })
      .post('/', () => 'never', { body: Type.Object({ name: Type.String() }) })
    await app.handle(at('/', posted('{"name":{"toString":1}}')))
    expect(caught).toBeInstanceOf(TypeError)
  })

  test("reads a decorator's getter once for each request, as soon as the request is handed in (api/elysia.ts)", async () => {
    let entering = ''
    let reads = 0
    const app = new Elysia()
      .use(new Elysia({ name: 'state' }).decorate('state', {} as { id: string }))
      .wrap((answer) => (request: Request) => {
        entering = new URL(request.url).searchParams.get('id') ?? ''
        return (answer as unknown as (request: Request) => Response | Promise<Response>)(request)
      })
      .onError({ as: 'global' }, ({ state }) => `failed ${state.id}`)
      .get('/', async ({ state }) => {
        await Bun.sleep(5)
        return `answered ${state.id}`
      })
      .get('/fail', async () => {
        await Bun.sleep(5)
        throw new Error('no')
      })
    app.decorate((others) =>
      Object.defineProperty(others, 'state', {
        get: () => ({ id: entering, read: ++reads }),
        enumerable: true,
      }),
    )
    const ask = async (path: string) => (await app.handle(at(path))).text()
    await ask('/')
    reads = 0
    const paths = Array.from({ length: 20 }, (_, i) => (i % 2 ? `/?id=${i}` : `/fail?id=${i}`))
    expect(await Promise.all(paths.map(ask))).toEqual(
      paths.map((_, i) => (i % 2 ? `answered ${i}` : `failed ${i}`)),
    )
    expect(reads).toBe(paths.length)
    expect(await ask('/nothing?id=x')).toBe('failed x')
  })

  test('calls a wrapper around everything, and onRequest within it before it gives back anything (api/elysia.ts)', async () => {
    const order: string[] = []
    const app = new Elysia()
      .wrap((answer) => (request: Request) => {
        order.push('wrapped')
        const answered = (answer as unknown as (request: Request) => Response | Promise<Response>)(request)
        order.push('returned')
        return answered
      })
      .onRequest(() => {
        order.push('onRequest')
      })
      .onError({ as: 'global' }, () => 'told')
      .get('/', async () => {
        await Bun.sleep(1)
        order.push('handled')
        return 'answered'
      })
    for (const path of ['/', '/nothing']) {
      await app.handle(at(path))
      expect(order.splice(0).slice(0, 3)).toEqual(['wrapped', 'onRequest', 'returned'])
    }
  })

  test('keeps what it infers of the hooks where we set it (api/elysia.ts)', () => {
    const { inference } = new Elysia().get('/', () => 'x') as unknown as {
      inference: Record<string, unknown>
    }
    expect(inference).toMatchObject({ cookie: expect.any(Boolean), route: expect.any(Boolean) })
  })

  test('takes a slash at the end, and prefers the fixed path (api/elysia.ts)', async () => {
    const app = new Elysia()
      .get('/keys/list', () => 'list')
      .get('/keys/:id', ({ params }) => `id ${params.id}`)
      .post('/keys/', () => 'made')
    const text = async (path: string, method = 'GET') => (await app.handle(at(path, { method }))).text()
    expect([await text('/keys/list'), await text('/keys/list/'), await text('/keys/x')]).toEqual([
      'list',
      'list',
      'id x',
    ])
    expect([await text('/keys', 'POST'), await text('/keys/', 'POST')]).toEqual(['made', 'made'])
    expect(await statusOf(app, '/Keys/list')).toBe(404)
    expect(await statusOf(app, '/keys/%6cist')).toBe(200)
    expect(await text('/keys/%6cist')).toBe('id list')
  })

  test('makes a route wait only where a hook or the handler is async or its text looks so, unless the hook says isAsync: false (api/elysia.ts)', async () => {
    const order: string[] = []
    const guard = (name: string) => order.push(name)
    const looksAsync = (_: unknown) => guard('passed')
    const app = new Elysia()
      .macro({
        plain: (_: true) => ({
          transform: (_: unknown) => {
            guard('passed')
          },
          resolve: ({ request }: { request: Request }) => ({ auth: request.method }),
        }),
        undeclared: (_: true) => ({ transform: looksAsync as never }),
        declared: (_: true) => ({ transform: { fn: looksAsync, isAsync: false } as never }),
        waiting: (_: true) => ({ transform: async () => {} }),
      })
      .get('/plain', ({ auth }) => ({ auth }), { plain: true })
      .get('/undeclared', () => ({}), { undeclared: true })
      .get('/declared', () => ({}), { declared: true })
      .get('/waiting', () => ({}), { waiting: true })
      .get('/handler', () => guard('handled'))
    expect(kindsOf(app)).toEqual({
      '/plain': 'Function',
      '/undeclared': 'AsyncFunction',
      '/declared': 'Function',
      '/waiting': 'AsyncFunction',
      '/handler': 'AsyncFunction',
    })
    // A declared hook still runs.
    expect(await statusOf(app, '/declared')).toBe(200)
    expect(order).toEqual(['passed'])
  })

  test('gives a returned Response the headers that were set (api/docs.ts)', async () => {
    const app = new Elysia().get('/', ({ set }) => {
      set.headers['x-before'] = '1'
      return new Response('whole', { headers: { 'x-own': '2' } })
    })
    const { headers } = await app.handle(at('/'))
    expect([headers.get('x-before'), headers.get('x-own')]).toEqual(['1', '2'])
  })

  test('reads a number from the text of a query by its own types, and not in a body (api/page.ts)', async () => {
    const app = new Elysia({ normalize: false })
      .get('/', ({ query }) => JSON.stringify(query), { query: t.Object({ limit: t.Optional(t.Integer()) }) })
      .post('/', () => 'never', { body: Type.Object({ limit: Type.Integer() }) })
    expect(await (await app.handle(at('/?limit=5'))).text()).toBe('{"limit":5}')
    expect(await statusOf(app, '/?limit=x')).toBe(422)
    expect(await statusOf(app, '/', posted('{"limit":"5"}'))).toBe(422)
  })

  test('takes +010000-01-01 and the thirtieth of February for a date-time (lib/time.ts)', async () => {
    const app = new Elysia().post('/', () => 'taken', {
      body: Type.Object({ at: Type.String({ format: 'date-time' }) }),
    })
    for (const date of ['+010000-01-01T00:00:00Z', '2030-02-30T00:00:00Z'])
      expect(await statusOf(app, '/', posted(JSON.stringify({ at: date })))).toBe(200)
    expect(await statusOf(app, '/', posted('{"at":"tomorrow"}'))).toBe(422)
  })
})

describe("Bun's server", () => {
  test('routes by the target as it came, which Elysia does not see, and Elysia hands it our routes (api/forward-auth)', async () => {
    const app = new Elysia({
      serve: {
        routes: {
          '/door/:policy/*': (request) =>
            new Response(`${request.params.policy} of ${new URL(request.url).pathname}`),
          '/door/*': () => new Response('none'),
        },
      },
    })
      .get('/open', () => 'open')
      .all('/door/any', () => 'by Elysia')
    const { url } = listen(app)
    const text = async (target: string) => (await sendRaw({ url }, target, [])).body
    expect(await text('GET /door/role=admin/../../open')).toBe('role=admin of /open')
    expect(await text('PROPFIND /door/%61ny/x')).toBe('any of /door/%61ny/x')
    expect(await text('GET /door//../../open')).toBe('none')
    expect(await text('GET /x/../door/any')).toBe('by Elysia')
    expect(await text('GET /x/../open')).toBe('open')
  })

  test('finds the path behind a host of one character (api/elysia.ts)', async () => {
    const app = (standardHostname: boolean) =>
      new Elysia({ handler: { standardHostname } }).get('/login', () => 'login').all('/*', () => 'another')
    const answer = async (standardHostname: boolean) =>
      (await app(standardHostname).fetch(new Request('http://a/xx/login'))).text()
    expect([await answer(false), await answer(true)]).toEqual(['another', 'login'])
  })

  test('hands on the bare target where the Host header is missing (api/elysia.ts)', async () => {
    const app = new Elysia({
      serve: { routes: { '/*': (request: Request) => new Response(request.url) } },
    })
    const { url } = listen(app)
    const wire = dial({ url })
    wire.send('GET /xx/login HTTP/1.0\r\n\r\n')
    expect((await wire.answer({ untilClosed: true })).body).toBe('/xx/login')
    const { body } = await sendRaw({ url }, 'GET /xx/login', [])
    expect(body).toBe('http://latchkey.test/xx/login')
  })

  test('joins a repeated header by a comma (api/auth.ts)', async () => {
    const app = new Elysia().get('/', ({ request }) => request.headers.get('authorization') ?? '')
    const { body } = await sendRaw(listen(app), 'GET /', [
      'Authorization: Bearer a',
      'Authorization: Bearer b',
    ])
    expect(body).toContain('Bearer a, Bearer b')
  })

  test('knows no body where there is none, and the peer only before the answer (api/body.ts, api/observe.ts)', async () => {
    let kept: Request | null = null
    const app = new Elysia()
    app.post(
      '/',
      ({ request }) => {
        kept = request
        return `${request.body === null} ${app.server?.requestIP(request)?.address}`
      },
      { parse: () => null },
    )
    const { url } = listen(app)
    expect(await (await fetch(url, { method: 'POST' })).text()).toBe('true 127.0.0.1')
    expect(await (await fetch(url, { method: 'POST', body: '' })).text()).toBe('true 127.0.0.1')
    expect(await (await fetch(url, { method: 'POST', body: 'x' })).text()).toBe('false 127.0.0.1')
    expect(kept && app.server?.requestIP(kept)).toBeNull()
  })

  test('refuses by itself what is larger than maxRequestBodySize, without a body (API.md, Errors)', async () => {
    const app = new Elysia().post('/', () => 'never')
    const length = 10 * 1024 * 1024
    const { status, body } = await sendRaw(
      listen(app),
      'POST /',
      [`Content-Length: ${length}`],
      'x'.repeat(1000),
    )
    expect([status, body]).toEqual([413, ''])
  })
})

describe('@elysiajs/jwt', () => {
  const secret = 'a secret of at least thirty-two bytes'
  const key = new TextEncoder().encode(secret)
  const { sign, verify } = jwt({ secret, alg: 'HS256', typ: 'at+jwt', kid: 'hs256' }).decorator.jwt
  const pinned = {
    algorithms: ['HS256'],
    issuer: 'us',
    audience: 'us',
    typ: 'at+jwt',
    requiredClaims: ['sub', 'exp'],
  }
  const soon = () => Math.floor(Date.now() / 1000) + 60
  const ours = () => ({ iss: 'us', aud: 'us', sub: 'somebody', exp: soon() })
  const forged = (alg: string, typ: string, claims: object) =>
    new SignJWT({ ...claims }).setProtectedHeader({ alg, typ }).sign(key)

  test('gives sign and verify without an app, with the header that was asked for (core/signing/shared-secret.ts)', async () => {
    const token = await sign(ours())
    const [header = ''] = token.split('.')
    expect(JSON.parse(Buffer.from(header, 'base64url').toString())).toEqual({
      alg: 'HS256',
      typ: 'at+jwt',
      kid: 'hs256',
    })
    expect(await verify(token, pinned)).toMatchObject({ sub: 'somebody', iat: expect.any(Number) })
  })

  test('leaves open whatever is not pinned at each call', async () => {
    const loose = [
      await forged('HS512', 'at+jwt', ours()),
      await forged('HS256', 'JWT', ours()),
      await forged('HS256', 'at+jwt', { ...ours(), iss: 'them' }),
      await forged('HS256', 'at+jwt', { ...ours(), aud: 'them' }),
      await sign({ iss: 'us', aud: 'us', sub: 'somebody' }),
    ]
    for (const token of loose) {
      expect(await verify(token)).toMatchObject({ sub: 'somebody' })
      expect(await verify(token, pinned)).toBe(false)
    }
  })

  test('sets no expiry, and says false to everything that is wrong', async () => {
    const [, payload = ''] = (await sign({ sub: 'somebody' })).split('.')
    expect(JSON.parse(Buffer.from(payload, 'base64url').toString())).not.toHaveProperty('exp')
    const token = await sign(ours())
    for (const wrong of [
      '',
      'x',
      `${token}x`,
      token.slice(0, -4),
      await sign({ ...ours(), exp: soon() - 3600 }),
    ])
      expect(await verify(wrong, pinned)).toBe(false)
  })
})

describe('elysia-rate-limit', () => {
  const never = () => {
    throw new Error('no')
  }

  /** The statuses of that many requests, one after another. */
  async function statuses(app: AnyElysia, path: string, count: number): Promise<number[]> {
    const found: number[] = []
    for (let i = 0; i < count; i++) found.push(await statusOf(app, path))
    return found
  }

  test('as shipped gives back what fails, and with countFailedRequest counts it (api/rate-limit.ts)', async () => {
    const app = (countFailedRequest: boolean) =>
      new Elysia()
        .use(rateLimit({ max: 1, duration: 60_000, countFailedRequest, generator: () => 'one' }))
        .get('/', never)
    expect(await statuses(app(false), '/', 4)).toEqual([500, 500, 500, 500])
    expect(await statuses(app(true), '/', 4)).toEqual([500, 429, 429, 429])
  })

  test('takes two limiters with the same numbers for one; a function for `max` keeps them apart', async () => {
    const asked: string[] = []
    const app = (max: number | (() => number)) => {
      const limiter = (name: string) => {
        const generator = () => {
          asked.push(name)
          return name
        }
        return rateLimit({ max, duration: 60_000, scoping: 'scoped', generator })
      }
      return new Elysia()
        .use(limiter('first'))
        .use(limiter('second'))
        .get('/', () => 'x')
    }
    await app(5).handle(at('/'))
    expect(asked.splice(0)).toHaveLength(1)
    await app(() => 5).handle(at('/'))
    expect(asked).toEqual(['first', 'second'])
  })

  test('asks generator, duration and max of each request, hands over what is decorated, and lets an error of its store through (api/rate-limit.ts)', async () => {
    const asked: unknown[] = []
    const full = new Error('no more')
    const local = new DefaultContext(10)
    const context = {
      init: (options: Parameters<typeof local.init>[0]) => local.init(options),
      increment: async (key: string, duration?: number, now?: number) => {
        const counted = await local.increment(key, duration, now)
        if (counted.count > 1) throw full
        return counted
      },
      decrement: (key: string) => local.decrement(key),
      reset: (key?: string) => local.reset(key),
      kill: () => local.kill(),
    }
    const caught: unknown[] = []
    const app = new Elysia()
      .decorate('state', { id: 'decorated' })
      .onError({ as: 'global' }, ({ error }) => {
        caught.push(error)
        return 'told'
      })
      .use(
        rateLimit({
          context,
          scoping: 'scoped',
          countFailedRequest: true,
          max: (key) => Number(asked.push(['max', key]) && 1),
          duration: (key) => Number(asked.push(['duration', key]) && 60_000),
          generator: (_request, _server, derived: { state: { id: string } }) => {
            asked.push(['generator', derived.state.id])
            return 'key'
          },
        }),
      )
      .get('/', () => 'x')
    const { status, headers } = await app.handle(at('/'))
    expect([status, headers.get('RateLimit-Limit'), headers.get('RateLimit-Remaining')]).toEqual([
      200,
      '1',
      '0',
    ])
    const order = [
      ['generator', 'decorated'],
      ['duration', 'key'],
      ['max', 'key'],
    ]
    expect(asked.splice(0)).toEqual(order)
    expect(await (await app.handle(at('/'))).text()).toBe('told')
    expect(caught).toEqual([full])
    // Asked once: the plugin's own error handler counts nothing.
    expect(asked).toEqual(order)
  })

  test('counts in a store that others may count in as well, once the plugin has it (api/rate-limit.ts)', async () => {
    const store = new DefaultContext(10)
    const app = new Elysia()
      .use(rateLimit({ context: store, max: 2, duration: 60_000, generator: () => 'shared' }))
      .get('/', () => 'x')
    const now = Date.now()
    const first = await store.increment('shared', 60_000, now)
    expect(first).toMatchObject({ count: 1, nextReset: new Date(now + 60_000) })
    expect(await statuses(app, '/', 2)).toEqual([200, 429])
    expect((await store.increment('shared', 60_000, now)).count).toBe(4)
    expect((await store.increment('shared', 60_000, now + 60_000)).count).toBe(1)
  })
})

describe('@elysiajs/swagger', () => {
  type Described = { responses: Record<string, Record<string, unknown>>; requestBody: { content: object } }

  test('leaves out what the document gets back, and keeps the shapes of the routes (api/elysia.ts)', async () => {
    const app = new Elysia()
      .macro({
        guarded: (_: true) => ({
          detail: { security: [{ bearer: ['scope'] }] },
          response: { 401: Type.String() },
          parse: () => ({}),
        }),
      })
      .group('/things', (group) =>
        group.post('/', () => ({ id: '' }), {
          guarded: true,
          body: Type.Object({ name: Type.String() }, { $id: 'NewThing', additionalProperties: false }),
          response: { 200: Type.Object({ id: Type.String() }, { $id: 'Thing', additionalProperties: true }) },
          detail: { operationId: 'makeThing', 'x-errors': ['conflict'] },
        }),
      )
      .use(swagger({ path: '/describer', specPath: '/document.json' }))
    const described = (await (await app.handle(at('/document.json'))).json()) as {
      paths: Record<string, { post: Described }>
    }
    // A group's own path with a slash at the end.
    const operation = described.paths['/things/']?.post
    expect(operation).toMatchObject({
      operationId: 'makeThing',
      'x-errors': ['conflict'],
      security: [{ bearer: ['scope'] }],
    })
    // More types than the route takes, and not what the macro answers.
    expect(Object.keys(operation?.requestBody.content ?? {})).toEqual([
      'application/json',
      'multipart/form-data',
      'text/plain',
    ])
    expect(Object.keys(operation?.responses ?? {})).toEqual(['200'])
    // The name of the answer stands beside it, and whether there may be other members nowhere.
    expect(operation?.responses['200']?.$id).toBe('Thing')
    expect(JSON.stringify(operation?.responses)).not.toContain('additionalProperties')
    expect(JSON.stringify(operation?.requestBody)).toContain('"additionalProperties":false')
    // The routes hold it all.
    const [route] = app.routes.filter(({ method }) => method === 'POST')
    expect(route).toMatchObject({
      path: '/things/',
      hooks: { response: { 200: { $id: 'Thing', additionalProperties: true } } },
    })
  })
})
