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
import { Tokens } from '../../core/sessions/model.ts'
import { presentUser, signUp } from '../../core/users/accounts.ts'
import { Credentials, User } from '../../core/users/model.ts'
import type { Guard } from '../auth.ts'
import { findUser } from '../credential.ts'
import { pageQuery, presentPage } from '../page.ts'
import { originOf } from '../request-state.ts'

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
        open: true,
        body: Credentials,
        response: { 201: User, 202: Accepted },
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
        (await logIn(context, originOf(state), { email, password })).tokens,
      {
        open: true,
        body: Credentials,
        response: { 200: Tokens },
        detail: {
          operationId: 'logIn',
          summary: 'Trade e-mail and password for a pair of tokens',
          'x-errors': ['invalid_login', 'too_many_attempts', 'email_not_verified'],
        },
      },
    )
    .get('/me', ({ auth }) => describePrincipal(auth), {
      anyone: true,
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
          'x-errors': ['invalid_login', 'conflict'],
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
    .post(
      '/forgot-password',
      async ({ body, state, status }) => {
        await requestPasswordReset(context, originOf(state), body.email)
        return status(202, LINK_SENT)
      },
      {
        open: true,
        body: Address,
        response: { 202: Accepted },
        detail: {
          operationId: 'forgotPassword',
          summary: 'Have a link for a new password mailed',
          'x-errors': ['conflict'],
        },
      },
    )
    .post(
      '/verify-email',
      async ({ body, state }) => {
        const caller = await findUser(context, state)
        return verifyEmail(context, originOf(state), caller, body)
      },
      {
        open: true,
        body: EmailVerification,
        response: { 200: VerifiedEmail },
        detail: {
          operationId: 'verifyEmail',
          summary: "Prove an address by a mailed token, with the account's password or a user's access token",
          'x-errors': [
            'invalid_token',
            'invalid_login',
            'password_required',
            'too_many_attempts',
            'email_taken',
          ],
        },
      },
    )
    .post(
      '/verify-email/resend',
      async ({ body, state, status }) => {
        await resendVerification(context, originOf(state), body.email)
        return status(202, LINK_SENT)
      },
      {
        open: true,
        body: Address,
        response: { 202: Accepted },
        detail: {
          operationId: 'resendVerification',
          summary: 'Have the link that proves an address mailed again',
          'x-errors': ['conflict'],
        },
      },
    )
    .post(
      '/email',
      async ({ auth, body, state, status }) => {
        await requestEmailChange(context, originOf(state), auth, body)
        return status(202, LINK_SENT)
      },
      {
        user: { whole: true, json: true },
        body: EmailChange,
        response: { 202: Accepted },
        detail: {
          operationId: 'changeEmail',
          summary: 'Ask for another address, which is yours once its link is opened',
          'x-errors': ['invalid_login', 'conflict'],
        },
      },
    )
    .delete(
      '/me',
      async ({ auth, body, state, status }) => {
        await deleteOwnAccount(context, originOf(state), auth, body?.current_password)
        return status(204, undefined)
      },
      {
        user: { whole: true, json: true },
        body: Type.Union([AccountDeletion, Type.Null()]),
        response: { 204: Type.Undefined({ description: 'The account is gone, with its keys and sessions' }) },
        detail: {
          operationId: 'deleteAccount',
          summary: 'Delete your account with its keys and sessions',
          'x-errors': ['invalid_login', 'not_found', 'last_admin'],
        },
      },
    )
    .get(
      '/activity',
      async ({ auth, query }) => presentPage(await listActivity(context, auth, query), presentEvent),
      {
        user: true,
        query: Type.Object(pageQuery, { additionalProperties: false }),
        response: { 200: AuditPage },
        detail: { operationId: 'listActivity', summary: 'What happened to your account, newest first' },
      },
    )

/** The same for every address. */
const SIGNED_UP = { message: 'Look into your mailbox: a mail to this address says how to go on.' }
const LINK_SENT = {
  message: 'If the address is known here, or may be yours, a mail with a link is on its way.',
}
