import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { RefreshRequest, SessionPage, Tokens } from '../../core/sessions/model.ts'
import {
  endOwnSession,
  listSessions,
  logOut,
  logOutEverywhere,
  presentSession,
  refreshSession,
} from '../../core/sessions/sessions.ts'
import { failField } from '../../lib/errors.ts'
import type { Guard } from '../auth.ts'
import { readCredential } from '../credential.ts'
import { describe, noContent } from '../openapi/describe.ts'
import { PageQuery, presentPage } from '../page.ts'
import { originOf } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'

/** The body may be missing: the token may be in the query instead, or the access token may name the session. */
const OptionalRefreshRequest = Type.Union([RefreshRequest, Type.Null()])

/** The seed's clients may send the token as a query parameter, where REFRESH_TOKEN_IN_QUERY allows it. */
const RefreshQuery = Type.Object(RefreshRequest.properties, { additionalProperties: true })

/** Sessions: refresh, logout, and the list of a user's own. */
export const sessionRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/auth', tags: ['Users and sessions'] })
    .use(guard)
    .post(
      '/refresh',
      async ({ body, query, state }) => {
        const inQuery = context.config.refreshTokenInQuery ? query.refresh_token : undefined
        const token = body?.refresh_token ?? inQuery ?? failField('/refresh_token', 'Is required')
        return (await refreshSession(context, originOf(state), token)).tokens
      },
      {
        ...NEEDS['POST /auth/refresh'],
        body: OptionalRefreshRequest,
        query: RefreshQuery,
        response: { 200: Tokens },
        detail: describe('refresh', 'Trade a refresh token for the next pair of tokens', {
          errors: ['invalid_token'],
        }),
      },
    )
    .post(
      '/logout',
      async ({ body, request, state, status }) => {
        const refresh = body?.refresh_token ?? null
        const bearer = refresh === null ? readCredential(context.config, request) : null
        await logOut(context, originOf(state), { refresh, bearer })
        return status(204, undefined)
      },
      {
        ...NEEDS['POST /auth/logout'],
        body: OptionalRefreshRequest,
        response: noContent('The session is over, if there was one'),
        detail: describe(
          'logOut',
          'End the session of a refresh token, or of the access token that is sent',
          { security: [{}, { bearer: [] }] },
        ),
      },
    )
    .post(
      '/logout-all',
      async ({ auth, state, status }) => {
        await logOutEverywhere(context, originOf(state), auth, auth.userId)
        return status(204, undefined)
      },
      {
        ...NEEDS['POST /auth/logout-all'],
        response: noContent(),
        detail: describe('logOutEverywhere', 'End every session of the caller, this one too', {
          errors: ['insufficient_scope'],
        }),
      },
    )
    .get(
      '/sessions',
      async ({ auth, query }) =>
        presentPage(await listSessions(context, auth.userId, query), (session) =>
          presentSession(session, auth.sessionId),
        ),
      {
        ...NEEDS['GET /auth/sessions'],
        query: PageQuery,
        response: { 200: SessionPage },
        detail: describe('listSessions', "The caller's live sessions, newest first", {
          errors: ['insufficient_scope'],
        }),
      },
    )
    .delete(
      '/sessions/:id',
      async ({ auth, params, state, status }) => {
        await endOwnSession(context, originOf(state), auth, params.id)
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /auth/sessions/:id'],
        response: noContent(),
        detail: describe('endSession', "End one of the caller's sessions", {
          errors: ['not_found', 'insufficient_scope'],
        }),
      },
    )
