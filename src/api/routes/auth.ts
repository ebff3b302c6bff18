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
import { describe, noContent } from '../openapi/describe.ts'
import { originOf } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'

/** Sign-up, login and passwords. */
export const authRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/auth', tags: ['Users and sessions'] })
    .use(guard)
    .post(
      '/signup',
      async ({ body: { email, password }, state, status }) =>
        status(201, presentUser(await signUp(context, originOf(state), { email, password }))),
      {
        ...NEEDS['POST /auth/signup'],
        body: Credentials,
        response: { 201: User },
        detail: describe('signUp', 'Make an account', { errors: ['signup_closed', 'email_taken'] }),
      },
    )
    .post(
      '/login',
      async ({ body: { email, password }, state }) =>
        (await grantOf(context, await logIn(context, originOf(state), { email, password }, { kind: 'api' })))
          .tokens,
      {
        ...NEEDS['POST /auth/login'],
        body: Credentials,
        response: { 200: Tokens },
        detail: describe('logIn', 'Trade e-mail and password for a pair of tokens', {
          errors: ['invalid_login', 'mfa_required', 'email_not_verified', 'too_many_attempts'],
        }),
      },
    )
    .get('/me', ({ auth }) => describePrincipal(auth), {
      ...NEEDS['GET /auth/me'],
      response: { 200: Me },
      detail: describe('getMe', 'Who the credential belongs to'),
    })
    .post(
      '/password',
      async ({ auth, body, state }) => (await changePassword(context, originOf(state), auth, body)).tokens,
      {
        ...NEEDS['POST /auth/password'],
        body: PasswordChange,
        response: { 200: Tokens },
        detail: describe('changePassword', 'Set a new password; every session ends, and a new one begins', {
          errors: ['invalid_login', 'conflict', 'wrong_credential_kind', 'reauthentication_required'],
        }),
      },
    )
    .post(
      '/password-reset',
      async ({ body, state, status }) => {
        await resetPassword(context, originOf(state), body)
        return status(204, undefined)
      },
      {
        ...NEEDS['POST /auth/password-reset'],
        body: PasswordReset,
        response: noContent('The password is set; every session has ended'),
        detail: describe('resetPassword', 'Set a new password by a one-time token', {
          errors: ['invalid_token'],
        }),
      },
    )
