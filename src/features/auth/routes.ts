import { Elysia } from 'elysia'
import type { Context } from '../../context.ts'
import type { Guard } from '../../http/auth.ts'
import { originOf } from '../../http/request-state.ts'
import { presentUser, signUp } from '../users/service.ts'
import { Credentials, Me, Tokens, User } from './model.ts'
import { describePrincipal, logIn } from './service.ts'

export const authRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/auth', tags: ['Users and sessions'] })
    .use(guard)
    .post(
      '/signup',
      async ({ body, state, status }) =>
        status(201, presentUser(await signUp(context, originOf(state), body))),
      {
        open: true,
        body: Credentials,
        response: { 201: User },
        detail: { operationId: 'signUp', summary: 'Make an account' },
      },
    )
    .post('/login', async ({ body, state }) => (await logIn(context, originOf(state), body)).tokens, {
      open: true,
      body: Credentials,
      response: { 200: Tokens },
      detail: { operationId: 'logIn', summary: 'Trade e-mail and password for a pair of tokens' },
    })
    .get('/me', ({ auth }) => describePrincipal(auth), {
      anyone: true,
      response: { 200: Me },
      detail: { operationId: 'getMe', summary: 'Who the credential belongs to' },
    })
