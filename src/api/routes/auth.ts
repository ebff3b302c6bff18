import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { describePrincipal, logIn } from '../../core/login/log-in.ts'
import { Me, PasswordChange, PasswordReset } from '../../core/login/model.ts'
import { changePassword, resetPassword } from '../../core/login/password.ts'
import { grantOf } from '../../core/login/sign-in.ts'
import { Tokens } from '../../core/sessions/model.ts'
import { presentUser, signUp } from '../../core/users/accounts.ts'
import { Credentials, User } from '../../core/users/model.ts'
import type { Guard } from '../auth.ts'
import { originOf } from '../request-state.ts'

export const authRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/auth', tags: ['Users and sessions'] })
    .use(guard)
    .post(
      '/signup',
      async ({ body: { email, password }, state, status }) =>
        status(201, presentUser(await signUp(context, originOf(state), { email, password }))),
      {
        open: true,
        body: Credentials,
        response: { 201: User },
        detail: {
          operationId: 'signUp',
          summary: 'Make an account',
          'x-errors': ['signup_closed', 'email_taken'],
        },
      },
    )
    .post(
      '/login',
      async ({ body: { email, password }, state }) =>
        (await grantOf(context, await logIn(context, originOf(state), { email, password }, { kind: 'api' })))
          .tokens,
      {
        open: true,
        body: Credentials,
        response: { 200: Tokens },
        detail: {
          operationId: 'logIn',
          summary: 'Trade e-mail and password for a pair of tokens',
          'x-errors': ['invalid_login', 'mfa_required', 'email_not_verified', 'too_many_attempts'],
        },
      },
    )
    .get('/me', ({ auth }) => describePrincipal(auth), {
      anyone: { enrolling: true },
      response: { 200: Me },
      detail: { operationId: 'getMe', summary: 'Who the credential belongs to' },
    })
    .post(
      '/password',
      async ({ auth, body, state }) => (await changePassword(context, originOf(state), auth, body)).tokens,
      {
        user: { json: true },
        body: PasswordChange,
        response: { 200: Tokens },
        detail: {
          operationId: 'changePassword',
          summary: 'Set a new password; every session ends, and a new one begins',
          'x-errors': ['invalid_login', 'reauthentication_required', 'conflict'],
        },
      },
    )
    .post(
      '/password-reset',
      async ({ body, state, status }) => {
        await resetPassword(context, originOf(state), body)
        return status(204, undefined)
      },
      {
        open: true,
        body: PasswordReset,
        response: { 204: Type.Undefined({ description: 'The password is set; every session has ended' }) },
        detail: {
          operationId: 'resetPassword',
          summary: 'Set a new password by a one-time token',
          'x-errors': ['invalid_token'],
        },
      },
    )
