import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { RefreshRequest, SessionPage, Tokens } from '../../core/sessions/model.ts'
import {
  endOwnSession,
  endSessionOfBearer,
  endSessionOfToken,
  listSessions,
  logOutEverywhere,
  presentSession,
  refreshSession,
} from '../../core/sessions/sessions.ts'
import { failField } from '../../lib/errors.ts'
import type { Guard } from '../auth.ts'
import { readCredential } from '../credential.ts'
import { pageQuery, presentPage } from '../page.ts'
import { originOf } from '../request-state.ts'

/** The seed's clients may send the token as a query parameter, where REFRESH_TOKEN_IN_QUERY lets them. */
const RefreshQuery = Type.Object(RefreshRequest.properties, { additionalProperties: true })

const nothing = { 204: Type.Undefined({ description: 'Done' }) }

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
        open: true,
        body: Type.Union([RefreshRequest, Type.Null()]),
        query: RefreshQuery,
        response: { 200: Tokens },
        detail: {
          operationId: 'refresh',
          summary: 'Trade a refresh token for the next pair of tokens',
          'x-errors': ['invalid_token'],
        },
      },
    )
    .post(
      '/logout',
      async ({ body, request, state, status }) => {
        const token = body?.refresh_token
        if (token != null) await endSessionOfToken(context, originOf(state), token)
        else await endSessionOfBearer(context, originOf(state), readCredential(request))
        return status(204, undefined)
      },
      {
        open: true,
        body: Type.Union([RefreshRequest, Type.Null()]),
        response: { 204: Type.Undefined({ description: 'The session is over, if there was one' }) },
        detail: {
          operationId: 'logOut',
          security: [{}, { bearer: [] }],
          summary: 'End the session of a refresh token, or of the access token that is sent',
        },
      },
    )
    .post(
      '/logout-all',
      async ({ auth, state, status }) => {
        await logOutEverywhere(context, originOf(state), auth, auth.userId)
        return status(204, undefined)
      },
      {
        user: { whole: true, enrolling: true },
        response: nothing,
        detail: {
          operationId: 'logOutEverywhere',
          summary: 'End every session of the caller, this one too',
          'x-errors': ['insufficient_scope'],
        },
      },
    )
    .get(
      '/sessions',
      async ({ auth, query }) =>
        presentPage(await listSessions(context, auth, query), (session) =>
          presentSession(session, auth.sessionId),
        ),
      {
        user: { whole: true },
        query: Type.Object(pageQuery),
        response: { 200: SessionPage },
        detail: {
          operationId: 'listSessions',
          summary: "The caller's live sessions, newest first",
          'x-errors': ['insufficient_scope'],
        },
      },
    )
    .delete(
      '/sessions/:id',
      async ({ auth, params, state, status }) => {
        await endOwnSession(context, originOf(state), auth, params.id)
        return status(204, undefined)
      },
      {
        user: { whole: true },
        response: nothing,
        detail: {
          operationId: 'endSession',
          summary: "End one of the caller's sessions",
          'x-errors': ['not_found', 'insufficient_scope'],
        },
      },
    )
