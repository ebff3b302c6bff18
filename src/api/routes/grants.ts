import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { endGrant, listGrants, listGrantsOfUser, presentGrant } from '../../core/grants/grants.ts'
import { GrantPage } from '../../core/grants/model.ts'
import type { Guard } from '../auth.ts'
import { describe, noContent } from '../openapi/describe.ts'
import { PageQuery, presentPage } from '../page.ts'
import { originOf } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'

const EndingQuery = Type.Object(
  {
    created: Type.Optional(
      Type.Union([Type.Literal('true'), Type.Literal('false')], {
        description: '`true`: also the keys that the app made, those that these made, and so on',
      }),
    ),
  },
  { additionalProperties: false },
)
const ENDED = noContent('The grant is gone, and every session of the app under it')

/** What people allowed apps. */
export const grantRoutes = (context: Context, guard: Guard) =>
  new Elysia({ tags: ['Apps'] })
    .use(guard)
    .get(
      '/auth/grants',
      async ({ auth, query }) =>
        presentPage(await listGrants(context, auth.userId, query), (grant) => presentGrant(context, grant)),
      {
        ...NEEDS['GET /auth/grants'],
        query: PageQuery,
        response: { 200: GrantPage },
        detail: describe('listGrants', 'What the caller allowed apps, newest first', {
          errors: ['insufficient_scope'],
        }),
      },
    )
    .delete(
      '/auth/grants/:id',
      async ({ auth, params, query, state, status }) => {
        const grant = { userId: auth.userId, id: params.id }
        await endGrant(context, originOf(state), auth, grant, { created: query.created === 'true' })
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /auth/grants/:id'],
        query: EndingQuery,
        response: ENDED,
        detail: describe('endGrant', 'Cut an app off', { errors: ['not_found', 'insufficient_scope'] }),
      },
    )
    .get(
      '/users/:id/grants',
      async ({ params, query }) =>
        presentPage(await listGrantsOfUser(context, params.id, query), (grant) =>
          presentGrant(context, grant),
        ),
      {
        ...NEEDS['GET /users/:id/grants'],
        query: PageQuery,
        response: { 200: GrantPage },
        detail: describe('listUserGrants', 'What a user allowed apps, newest first', {
          errors: ['not_found'],
        }),
      },
    )
    .delete(
      '/users/:id/grants/:grant_id',
      async ({ auth, params, query, state, status }) => {
        const grant = { userId: params.id, id: params.grant_id }
        await endGrant(context, originOf(state), auth, grant, { created: query.created === 'true' })
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /users/:id/grants/:grant_id'],
        query: EndingQuery,
        response: ENDED,
        detail: describe('endUserGrant', 'Cut an app off from a user', { errors: ['not_found'] }),
      },
    )
