import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import { listActivity, presentEvent } from '../../core/audit/audit.ts'
import { AuditPage } from '../../core/audit/model.ts'
import type { Context } from '../../core/context.ts'
import { resendVerification } from '../../core/email/by-address.ts'
import { requestEmailChange, verifyEmail } from '../../core/email/change-email.ts'
import { Accepted, Address, EmailChange, EmailVerification, VerifiedEmail } from '../../core/email/model.ts'
import { describePrincipal, logIn } from '../../core/login/log-in.ts'
import { AccountDeletion, Me, PasswordChange, PasswordReset } from '../../core/login/model.ts'
import { deleteOwnAccount } from '../../core/login/own-account.ts'
import { changePassword } from '../../core/login/password.ts'
import { requestPasswordReset, resetPassword } from '../../core/login/password-reset.ts'
import { grantOf } from '../../core/login/sign-in.ts'
import { Tokens } from '../../core/sessions/model.ts'
import { presentUser, signUp } from '../../core/users/accounts.ts'
import { Credentials, User } from '../../core/users/model.ts'
import type { Guard } from '../auth.ts'
import { findUser } from '../credential.ts'
import { describe, noContent } from '../openapi/describe.ts'
import { pageQuery, presentPage } from '../page.ts'
import { originOf } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'

/** Sign-up, login and passwords. */
export const authRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/auth', tags: ['Users and sessions'] })
    .use(guard)
    .post(
      '/signup',
      async ({ body: { email, password }, state, status }) => {
        const user = await signUp(context, originOf(state), { email, password })
        return user === null ? status(202, SIGNED_UP) : status(201, presentUser(user))
      },
      {
        ...NEEDS['POST /auth/signup'],
        body: Credentials,
        response: { 201: User, 202: Accepted },
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
    .post(
      '/forgot-password',
      async ({ body, state, status }) => {
        await requestPasswordReset(context, originOf(state), body.email)
        return status(202, LINK_SENT)
      },
      {
        ...NEEDS['POST /auth/forgot-password'],
        body: Address,
        response: { 202: Accepted },
        detail: describe('forgotPassword', 'Have a link for a new password mailed', { errors: ['conflict'] }),
      },
    )
    .post(
      '/verify-email',
      async ({ body, state }) => verifyEmail(context, originOf(state), await findUser(context, state), body),
      {
        ...NEEDS['POST /auth/verify-email'],
        body: EmailVerification,
        response: { 200: VerifiedEmail },
        detail: describe(
          'verifyEmail',
          "Prove an address by a mailed token, with the account's password or a user's access token",
          {
            errors: [
              'invalid_token',
              'invalid_login',
              'password_required',
              'too_many_attempts',
              'email_taken',
            ],
          },
        ),
      },
    )
    .post(
      '/verify-email/resend',
      async ({ body, state, status }) => {
        await resendVerification(context, originOf(state), body.email)
        return status(202, LINK_SENT)
      },
      {
        ...NEEDS['POST /auth/verify-email/resend'],
        body: Address,
        response: { 202: Accepted },
        detail: describe('resendVerification', 'Have the link that proves an address mailed again', {
          errors: ['conflict'],
        }),
      },
    )
    .post(
      '/email',
      async ({ auth, body, state, status }) => {
        await requestEmailChange(context, originOf(state), auth, body)
        return status(202, LINK_SENT)
      },
      {
        ...NEEDS['POST /auth/email'],
        body: EmailChange,
        response: { 202: Accepted },
        detail: describe('changeEmail', 'Ask for another address, which is yours once its link is opened', {
          errors: ['invalid_login', 'conflict'],
        }),
      },
    )
    .delete(
      '/me',
      async ({ auth, body, state, status }) => {
        await deleteOwnAccount(context, originOf(state), auth, body?.current_password)
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /auth/me'],
        body: Type.Union([AccountDeletion, Type.Null()]),
        response: noContent('The account is gone, with its keys and sessions'),
        detail: describe('deleteAccount', 'Delete your account with its keys and sessions', {
          errors: ['invalid_login', 'reauthentication_required', 'not_found', 'last_admin', 'conflict'],
        }),
      },
    )
    .get(
      '/activity',
      async ({ auth, query }) => presentPage(await listActivity(context, auth, query), presentEvent),
      {
        ...NEEDS['GET /auth/activity'],
        query: Type.Object(pageQuery, { additionalProperties: false }),
        response: { 200: AuditPage },
        detail: describe('listActivity', 'What happened to your account, newest first'),
      },
    )

/** The same for every address. */
const SIGNED_UP = {
  message: 'Look into your mailbox: a mail to the address that you gave says how to go on.',
}
const LINK_SENT = {
  message: 'If the address is known here, or may be yours, a mail with a link is on its way.',
}
