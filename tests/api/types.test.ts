import { afterAll, beforeAll, describe, expect, expectTypeOf, test } from 'bun:test'
import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import { auth } from '../../src/api/auth.ts'
import { createAddressOf } from '../../src/api/client-address.ts'
import { recogniseCredential } from '../../src/api/credential.ts'
import { errors, missingAmong } from '../../src/api/errors.ts'
import { observe } from '../../src/api/observe.ts'
import { createLimits } from '../../src/api/rate-limit.ts'
import type { Context } from '../../src/core/context.ts'
import type {
  AdminPrincipal,
  ClientPrincipal,
  Holder,
  KeyPrincipal,
  PortalPrincipal,
  Principal,
  UserPrincipal,
} from '../../src/core/principal.ts'
import { call, logIn, newKey, newPerson } from '../support/client.ts'
import { startService, type TestService } from '../support/service.ts'

/** Routes that use the macros. The compiler checks their types. */
function routesOver(context: Context) {
  const limits = createLimits(context)
  const observed = observe(context, createAddressOf(context.config, context.log), (state) =>
    recogniseCredential(context, () => true, state),
  )
  const app = new Elysia()
    .use(observed.plugin)
    .use(
      errors(
        context,
        limits,
        missingAmong(() => []),
      ),
    )
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
        // @ts-expect-error a key has no e-mail, but its owner may have one
        auth.email
        return { kind: auth.kind, members: Object.keys(auth) }
      },
      { key: { scopes: ['read'] } },
    )
    .get(
      '/anyone',
      ({ auth }) => {
        expectTypeOf(auth).toEqualTypeOf<Holder>()
        // @ts-expect-error the principal may be a key
        auth.userId
        if (auth.kind === 'user') expectTypeOf(auth).toEqualTypeOf<UserPrincipal>()
        else if (auth.kind === 'key') expectTypeOf(auth).toEqualTypeOf<KeyPrincipal>()
        else expectTypeOf(auth).toEqualTypeOf<ClientPrincipal>()
        return { kind: auth.kind, members: Object.keys(auth) }
      },
      { anyone: { scopes: [] } },
    )
    .get(
      '/portal',
      ({ auth }) => {
        expectTypeOf(auth).toEqualTypeOf<PortalPrincipal>()
        return { kind: auth.kind, members: Object.keys(auth) }
      },
      { portal: true },
    )
    .get(
      '/anyone-or-portal',
      ({ auth }) => {
        expectTypeOf(auth).toEqualTypeOf<Principal>()
        return { kind: auth.kind, members: Object.keys(auth) }
      },
      { anyoneOrPortal: { portal: 'read' } },
    )
    .get(
      '/admin-or-key',
      ({ auth }) => {
        expectTypeOf(auth).toEqualTypeOf<AdminPrincipal | KeyPrincipal>()
        return { kind: auth.kind, members: Object.keys(auth) }
      },
      { adminOrKey: true },
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
      // @ts-expect-error a route without a need has no `auth`
      return { auth: context.auth ?? 'none' }
    })
    .post(
      '/open',
      (context) => {
        expectTypeOf(context).not.toHaveProperty('auth')
        // @ts-expect-error a route with a body and without a need has no `auth` either
        return { auth: context.auth ?? 'none', name: context.body.name }
      },
      { open: true, body: Type.Object({ name: Type.String() }) },
    )
  return observed.provideState(app)
}

/** Code that the compiler must refuse. If the compiler accepted a line, its @ts-expect-error would be an error. */
function refusedByTheCompiler(context: Context) {
  const app = new Elysia().use(auth(context))
  // @ts-expect-error no such macro
  app.get('/', () => '', { owner: true })
  // @ts-expect-error a macro cannot be switched off, because a route without it is open
  app.get('/', () => '', { user: false })
  // @ts-expect-error scopes are a list
  app.get('/', () => '', { key: { scopes: 'read' } })
  // @ts-expect-error no such need
  app.get('/', () => '', { key: { scope: ['read'] } })
  // @ts-expect-error a handler for keys does not fit a route for users
  app.get('/', ({ auth }: { auth: KeyPrincipal }) => auth.keyId, { user: true })
  // @ts-expect-error a handler for keys does not fit a route for admins
  app.get('/', ({ auth }: { auth: AdminPrincipal }) => auth.role, { user: true })
  // @ts-expect-error a handler with a principal does not fit a route without a need
  app.get('/', ({ auth }: { auth: Principal }) => auth.kind)
}

describe('the types match the values at run time', () => {
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
    'client',
    'identityScopes',
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
    ['GET /user', 'anonymous', 401],
    ['GET /key', 'anonymous', 401],
    ['GET /anyone', 'anonymous', 401],
    ['GET /admin', 'anonymous', 401],
    ['POST /body', 'anonymous', 401],
    ['POST /body', 'key', 403],
  ])('%s refuses %s: %i', async (route, who, status) => {
    const bearer = credentials[who]
    const options = route.startsWith('POST') ? { raw: '{"malformed' } : {}
    const answer = await call({ url }, route, bearer === undefined ? options : { ...options, bearer })
    expect(answer.status).toBe(status)
  })

  test.each(['GET /open', 'POST /open'])('%s has no auth, whatever the credential', async (route) => {
    for (const bearer of Object.values(credentials)) {
      const options = route.startsWith('POST') ? { json: { name: 'a' } } : {}
      const answer = await call({ url }, route, { ...options, bearer })
      expect([answer.status, answer.body.auth]).toEqual([200, 'none'])
    }
  })
})

test('the code that the compiler must refuse is part of this file', () => {
  expect(refusedByTheCompiler).toBeFunction()
})
