import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Holder, KeyPrincipal, UserPrincipal } from '../../core/principal.ts'
import { fail } from '../../lib/errors.ts'
import { Id, Role, ScopeList } from '../../lib/model.ts'
import type { Guard } from '../auth.ts'
import { describe } from '../openapi/describe.ts'
import { NEEDS } from '../route-table.ts'

const ForUser = Type.Object(
  {
    message: Type.String(),
    user_email: Type.String(),
    auth_type: Type.Literal('jwt'),
    scopes: ScopeList,
    role: Role,
    access_level: Type.Union([Type.Literal('user'), Type.Literal('admin')]),
  },
  { $id: 'UserAccess' },
)

const ForService = Type.Object(
  {
    message: Type.String(),
    auth_type: Type.Literal('api_key'),
    scopes: ScopeList,
    access_level: Type.Literal('service'),
    key_id: Id,
    owner_id: Id,
  },
  { $id: 'ServiceAccess' },
)

/**
 * The handlers themselves are handed to Elysia, and not an arrow that calls them: an arrow that calls a function looks
 * asynchronous to Elysia, and would make the route wait (`withoutWaiting` in `elysia.ts`).
 */
const describeUser =
  (accessLevel: Role) =>
  ({ auth: user }: { auth: UserPrincipal }) => ({
    message: `Hello ${user.email}`,
    user_email: user.email,
    auth_type: 'jwt' as const,
    scopes: [...user.scopes],
    role: user.role,
    access_level: accessLevel,
  })

const describeService = ({ auth: key }: { auth: KeyPrincipal }) => ({
  message: `Hello ${key.name ?? 'service'}`,
  auth_type: 'api_key' as const,
  scopes: [...key.scopes],
  access_level: 'service' as const,
  key_id: key.keyId,
  owner_id: key.owner.id,
})

const describeAnyone = ({ auth }: { auth: Holder }) =>
  auth.kind === 'user' ? describeUser('user')({ auth }) : describeService({ auth: requireKey(auth) })

/** No app gets here: the route names no scope of Latchkey's own. */
const requireKey = (holder: Holder): KeyPrincipal =>
  holder.kind === 'key' ? holder : fail('wrong_credential_kind')

/** Examples of protected routes, for readers to copy. The first steps of the documentation call them. */
export const protectedRoutes = (guard: Guard) =>
  new Elysia({ prefix: '/protected', tags: ['Examples'] })
    .use(guard)
    .get('/user-only', describeUser('user'), {
      ...NEEDS['GET /protected/user-only'],
      response: { 200: ForUser },
      detail: describe('userOnly', "Takes a user's access token"),
    })
    .get('/service-only', describeService, {
      ...NEEDS['GET /protected/service-only'],
      response: { 200: ForService },
      detail: describe('serviceOnly', 'Takes an API key with the scope "read"'),
    })
    .get('/any', describeAnyone, {
      ...NEEDS['GET /protected/any'],
      response: { 200: Type.Union([ForUser, ForService]) },
      detail: describe('anyCredential', 'Takes either'),
    })
    .get('/admin', describeUser('admin'), {
      ...NEEDS['GET /protected/admin'],
      response: { 200: ForUser },
      detail: describe('adminOnly', "Takes an admin's access token"),
    })
