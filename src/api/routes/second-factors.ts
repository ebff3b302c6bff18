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
import { describe, noContent } from '../openapi/describe.ts'
import { originOf } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'

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
        ...NEEDS['POST /auth/login/mfa'],
        body: SecondStep,
        response: { 200: Tokens },
        detail: describe(
          'finishLogIn',
          'Trade the `mfa_token` of a log-in and a second factor for a pair of tokens',
          {
            errors: ['invalid_token', 'invalid_code', 'email_not_verified', 'too_many_attempts', 'conflict'],
          },
        ),
      },
    )
    .get('/mfa', ({ auth }) => describeFactors(context, auth), {
      ...NEEDS['GET /auth/mfa'],
      response: { 200: SecondFactors },
      detail: describe('getSecondFactors', "The caller's second factors", { errors: ['insufficient_scope'] }),
    })
    .post(
      '/mfa/totp',
      async ({ auth, state, status }) => status(201, await beginTotp(context, originOf(state), auth)),
      {
        ...NEEDS['POST /auth/mfa/totp'],
        response: { 201: PendingTotp },
        detail: describe('beginTotp', 'Make a secret for an authenticator app, pending for ten minutes', {
          description: 'While one is confirmed, it works until the new one is confirmed.',
          errors: changeErrors,
        }),
      },
    )
    .post(
      '/mfa/totp/confirm',
      ({ auth, body, state }) => confirmTotp(context, originOf(state), auth, body.code),
      {
        ...NEEDS['POST /auth/mfa/totp/confirm'],
        body: TotpConfirmation,
        response: { 200: ConfirmedTotp },
        detail: describe('confirmTotp', 'Confirm the pending secret by its first code', {
          description: 'With the first second factor come ten recovery codes, shown this once.',
          errors: [...changeErrors, 'invalid_code', 'conflict'],
        }),
      },
    )
    .delete(
      '/mfa/totp',
      async ({ auth, state, status }) => {
        await removeTotp(context, originOf(state), auth)
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /auth/mfa/totp'],
        response: noContent('Removed'),
        detail: describe('removeTotp', 'Remove the authenticator app', {
          errors: [...changeErrors, 'not_found', 'conflict'],
        }),
      },
    )
    .post(
      '/mfa/recovery-codes',
      async ({ auth, state, status }) =>
        status(201, await renewRecoveryCodes(context, originOf(state), auth)),
      {
        ...NEEDS['POST /auth/mfa/recovery-codes'],
        response: { 201: RecoveryCodes },
        detail: describe('renewRecoveryCodes', 'Make ten new recovery codes; the old ones are void', {
          errors: [...changeErrors, 'conflict'],
        }),
      },
    )
    .post('/reauthenticate/options', ({ auth }) => beginReauthentication(context, auth), {
      ...NEEDS['POST /auth/reauthenticate/options'],
      response: { 200: PasskeyRequestOptions },
      detail: describe(
        'beginReauthentication',
        'What a browser asks a passkey for, to prove that its person is there',
        { errors: ['conflict'] },
      ),
    })
    .post(
      '/reauthenticate',
      ({ auth, body, state }) => reauthenticate(context, originOf(state), auth, body),
      {
        ...NEEDS['POST /auth/reauthenticate'],
        body: Reauthentication,
        response: { 200: Reauthenticated },
        detail: describe(
          'reauthenticate',
          'Prove again who you are, by a second factor or, without one, by the password',
          { errors: ['mfa_required', 'invalid_login', 'invalid_code', 'too_many_attempts', 'conflict'] },
        ),
      },
    )
