import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { reauthenticate } from '../../core/login/reauthenticate.ts'
import { finishSignIn } from '../../core/login/second-step.ts'
import { grantOf } from '../../core/login/sign-in.ts'
import {
  beginTotp,
  confirmTotp,
  describeFactors,
  removeTotp,
  renewRecoveryCodes,
} from '../../core/second-factors/factors.ts'
import {
  ConfirmedTotp,
  PasskeyRequestOptions,
  PendingTotp,
  Reauthenticated,
  Reauthentication,
  RecoveryCodes,
  SecondFactors,
  SecondStep,
  TotpConfirmation,
} from '../../core/second-factors/model.ts'
import { beginReauthentication } from '../../core/second-factors/passkeys.ts'
import { Tokens } from '../../core/sessions/model.ts'
import type { Guard } from '../auth.ts'
import { originOf } from '../request-state.ts'

/** A person's own factors, with the token of a whole session; also before a factor that is due is set up. */
const own = { user: { whole: true, enrolling: true } } as const
const changes = { user: { whole: true, enrolling: true, recent: true } } as const
const takes = { user: { whole: true, enrolling: true, recent: true, json: true } } as const
const proves = { user: { enrolling: true } } as const
const changeErrors = ['insufficient_scope', 'reauthentication_required'] as const

/** TOTP, recovery codes, the second step of a log-in, and recent authentication. Passkeys have a file of their own. */
export const secondFactorRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/auth', tags: ['Second factors'] })
    .use(guard)
    .post(
      '/login/mfa',
      async ({ body, state }) =>
        (await grantOf(context, await finishSignIn(context, originOf(state), 'api', body))).tokens,
      {
        open: true,
        body: SecondStep,
        response: { 200: Tokens },
        detail: {
          operationId: 'finishLogIn',
          summary: 'Trade the `mfa_token` of a log-in and a second factor for a pair of tokens',
          'x-errors': [
            'invalid_token',
            'invalid_code',
            'email_not_verified',
            'too_many_attempts',
            'conflict',
          ],
        },
      },
    )
    .get('/mfa', ({ auth }) => describeFactors(context, auth), {
      ...own,
      response: { 200: SecondFactors },
      detail: {
        operationId: 'getSecondFactors',
        summary: "The caller's second factors",
        'x-errors': ['insufficient_scope'],
      },
    })
    .post(
      '/mfa/totp',
      async ({ auth, state, status }) => status(201, await beginTotp(context, originOf(state), auth)),
      {
        ...changes,
        response: { 201: PendingTotp },
        detail: {
          operationId: 'beginTotp',
          summary: 'Make a secret for an authenticator app, pending for ten minutes',
          description: 'While one is confirmed, it works until the new one is confirmed.',
          'x-errors': changeErrors,
        },
      },
    )
    .post(
      '/mfa/totp/confirm',
      ({ auth, body, state }) => confirmTotp(context, originOf(state), auth, body.code),
      {
        ...takes,
        body: TotpConfirmation,
        response: { 200: ConfirmedTotp },
        detail: {
          operationId: 'confirmTotp',
          summary: 'Confirm the pending secret by its first code',
          description: 'With the first second factor come ten recovery codes, shown this once.',
          'x-errors': [...changeErrors, 'invalid_code', 'conflict'],
        },
      },
    )
    .delete(
      '/mfa/totp',
      async ({ auth, state, status }) => {
        await removeTotp(context, originOf(state), auth)
        return status(204, undefined)
      },
      {
        ...changes,
        response: { 204: Type.Undefined({ description: 'Removed' }) },
        detail: {
          operationId: 'removeTotp',
          summary: 'Remove the authenticator app',
          'x-errors': [...changeErrors, 'not_found', 'conflict'],
        },
      },
    )
    .post(
      '/mfa/recovery-codes',
      async ({ auth, state, status }) =>
        status(201, await renewRecoveryCodes(context, originOf(state), auth)),
      {
        ...changes,
        response: { 201: RecoveryCodes },
        detail: {
          operationId: 'renewRecoveryCodes',
          summary: 'Make ten new recovery codes; the old ones are void',
          'x-errors': [...changeErrors, 'conflict'],
        },
      },
    )
    .post('/reauthenticate/options', ({ auth }) => beginReauthentication(context, auth), {
      ...proves,
      response: { 200: PasskeyRequestOptions },
      detail: {
        operationId: 'beginReauthentication',
        summary: 'What a browser asks a passkey for, to prove that its person is there',
        'x-errors': ['conflict'],
      },
    })
    .post(
      '/reauthenticate',
      ({ auth, body, state }) => reauthenticate(context, originOf(state), auth, body),
      {
        user: { enrolling: true, json: true },
        body: Reauthentication,
        response: { 200: Reauthenticated },
        detail: {
          operationId: 'reauthenticate',
          summary: 'Prove again who you are, by a second factor or, without one, by the password',
          'x-errors': ['mfa_required', 'invalid_login', 'invalid_code', 'too_many_attempts', 'conflict'],
        },
      },
    )
