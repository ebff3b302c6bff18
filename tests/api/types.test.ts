import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from 'bun:test'
import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import { auth } from '../../src/api/auth.ts'
import { createAddressOf } from '../../src/api/client-address.ts'
import { recogniseCredential } from '../../src/api/credential.ts'
import { errors } from '../../src/api/errors.ts'
import { observe } from '../../src/api/observe.ts'
import { createLimits } from '../../src/api/rate-limit.ts'
import type { Context } from '../../src/core/context.ts'
import type { AdminPrincipal, KeyPrincipal, Principal, UserPrincipal } from '../../src/core/principal.ts'
import { call, logIn, newKey, newPerson } from '../support/client.ts'
import { startService, type TestService } from '../support/service.ts'

/** Routes of somebody who builds on the macros. What is said of types here is checked by the compiler. */
function routesOver(context: Context) {
  const limits = createLimits(context)
  const observed = observe(context, createAddressOf(context.config, context.log), (state) =>
    recogniseCredential(context, () => true, state),
  )
  const app = new Elysia()
    .use(observed.plugin)
    .use(errors(context, limits, () => []))
    .use(auth(context))
    .get(
      '/user',
      ({ auth }) => {
        expectTypeOf(auth).toEqualTypeOf<UserPrincipal>()
        expectTypeOf(auth.kind).toEqualTypeOf<'user'>()
        return { kind: auth.kind, members: Object.keys(auth) }
      },
      { user: true },
    )
    .get(
      '/key',
      ({ auth }) => {
        expectTypeOf(auth).toEqualTypeOf<KeyPrincipal>()
        // @ts-expect-error a key has no e-mail; its owner may
        auth.email
        return { kind: auth.kind, members: Object.keys(auth) }
      },
      { key: { scopes: ['read'] } },
    )
    .get(
      '/anyone',
      ({ auth }) => {
        expectTypeOf(auth).toEqualTypeOf<Principal>()
        // @ts-expect-error not before it is known to be a user
        auth.userId
        if (auth.kind === 'user') expectTypeOf(auth).toEqualTypeOf<UserPrincipal>()
        else expectTypeOf(auth).toEqualTypeOf<KeyPrincipal>()
        return { kind: auth.kind, members: Object.keys(auth) }
      },
      { anyone: { scopes: [] } },
    )
    .get(
      '/admin',
      ({ auth }) => {
        expectTypeOf(auth).toEqualTypeOf<AdminPrincipal>()
        expectTypeOf(auth.role).toEqualTypeOf<'admin'>()
        return { kind: auth.kind, members: Object.keys(auth) }
      },
      { admin: true },
    )
    .post(
      '/body',
      ({ auth, body }) => {
        expectTypeOf(auth).toEqualTypeOf<UserPrincipal>()
        expectTypeOf(body).toEqualTypeOf<{ name: string }>()
        return { kind: auth.kind, members: Object.keys(auth), name: body.name }
      },
      { user: { json: true }, body: Type.Object({ name: Type.String() }) },
    )
    .get('/open', (context) => {
      expectTypeOf(context).not.toHaveProperty('auth')
      // @ts-expect-error a route that asks for nothing has no `auth`
      return { auth: context.auth ?? 'none' }
    })
    .post(
      '/open',
      (context) => {
        expectTypeOf(context).not.toHaveProperty('auth')
        // @ts-expect-error nor has one that takes a body
        return { auth: context.auth ?? 'none', name: context.body.name }
      },
      { open: true, body: Type.Object({ name: Type.String() }) },
    )
  return observed.provideState(app)
}

/** What the compiler refuses: each line that it came to accept would be an error. */
function refusedByTheCompiler(context: Context) {
  const app = new Elysia().use(auth(context))
  // @ts-expect-error no such macro
  app.get('/', () => '', { owner: true })
  // @ts-expect-error a macro is not switched off: a route without it is open
  app.get('/', () => '', { user: false })
  // @ts-expect-error scopes are a list
  app.get('/', () => '', { key: { scopes: 'read' } })
  // @ts-expect-error no such need
  app.get('/', () => '', { key: { scope: ['read'] } })
  // @ts-expect-error a handler for keys does not fit a route for users
  app.get('/', ({ auth }: { auth: KeyPrincipal }) => auth.keyId, { user: true })
  // @ts-expect-error nor one for admins
  app.get('/', ({ auth }: { auth: AdminPrincipal }) => auth.role, { user: true })
  // @ts-expect-error nor one that wants a principal where nothing is asked for
  app.get('/', ({ auth }: { auth: Principal }) => auth.kind)
}

describe('what the types say is what arrives', () => {
  let service: TestService
  let app: ReturnType<typeof routesOver>
  let url: string
  const credentials: Record<string, string> = {}
  beforeAll(async () => {
    service = await startService()
    app = routesOver(service.context)
    app.listen({ port: 0, hostname: '127.0.0.1' })
    url = `http://127.0.0.1:${app.server?.port}`
    const person = await newPerson(service)
    credentials.user = person.access
    credentials.key = (await newKey(service, person.access, { scopes: 'read' })).key
    await service.context.db.execute(`UPDATE latchkey.users SET role = 'admin' WHERE id = '${person.id}'`)
    credentials.admin = (await logIn(service, person.email, person.password)).access
    const other = await newPerson(service)
    credentials.user = other.access
  })
  afterAll(async () => {
    await app.stop(true)
    await service.stop()
  })

  const USER = [
    'kind',
    'userId',
    'sessionId',
    'claims',
    'email',
    'emailVerified',
    'createdAt',
    'sessionKind',
    'authTime',
    'amr',
    'hasSecondFactor',
    'isEnrolmentDue',
    'role',
    'scopes',
    'grants',
  ]

  test.each([
    ['GET /user', 'user', 'user'],
    ['GET /user', 'admin', 'user'],
    ['GET /key', 'key', 'key'],
    ['GET /anyone', 'user', 'user'],
    ['GET /anyone', 'key', 'key'],
    ['GET /admin', 'admin', 'user'],
    ['POST /body', 'user', 'user'],
  ])('%s gives %s its own principal', async (route, who, kind) => {
    const options = route.startsWith('POST') ? { json: { name: 'a' } } : {}
    const answer = await call({ url }, route, { ...options, bearer: credentials[who] ?? '' })
    expect([answer.status, answer.body.kind]).toEqual([200, kind])
    if (kind === 'user') expect(answer.body.members).toEqual(USER)
    else
      expect(answer.body.members).toEqual(
        expect.arrayContaining(['kind', 'keyId', 'secretId', 'owner', 'scopes']),
      )
  })

  test.each([
    ['GET /user', 'key', 403],
    ['GET /key', 'user', 403],
    ['GET /admin', 'user', 403],
    ['GET /admin', 'key', 403],
    ['GET /user', 'nobody', 401],
    ['GET /key', 'nobody', 401],
    ['GET /anyone', 'nobody', 401],
    ['GET /admin', 'nobody', 401],
    ['POST /body', 'nobody', 401],
    ['POST /body', 'key', 403],
  ])('%s does not let %s in: %i', async (route, who, status) => {
    const bearer = credentials[who]
    const options = route.startsWith('POST') ? { raw: '{"malformed' } : {}
    const answer = await call({ url }, route, bearer === undefined ? options : { ...options, bearer })
    expect(answer.status).toBe(status)
  })

  test.each(['GET /open', 'POST /open'])('%s has no auth, whoever asks', async (route) => {
    for (const bearer of Object.values(credentials)) {
      const options = route.startsWith('POST') ? { json: { name: 'a' } } : {}
      const answer = await call({ url }, route, { ...options, bearer })
      expect([answer.status, answer.body.auth]).toEqual([200, 'none'])
    }
  })
})

test('what the compiler refuses is here to be compiled', () => {
  expect(refusedByTheCompiler).toBeFunction()
})
