import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { signInByPasskey } from '../../core/login/second-step.ts'
import { grantOf } from '../../core/login/sign-in.ts'
import {
  CreatedPasskey,
  NewPasskey,
  Passkey,
  PasskeyCreationOptions,
  PasskeyLogin,
  PasskeyLoginOptions,
  PasskeyPatch,
  PasskeyRequestOptions,
} from '../../core/second-factors/model.ts'
import {
  addPasskey,
  beginPasskey,
  beginPasskeyLogin,
  removePasskey,
  renamePasskey,
} from '../../core/second-factors/passkeys.ts'
import { Tokens } from '../../core/sessions/model.ts'
import type { Guard } from '../auth.ts'
import { originOf } from '../request-state.ts'

const changes = { user: { whole: true, enrolling: true, recent: true } } as const
const takes = { user: { whole: true, enrolling: true, recent: true, json: true } } as const
const changeErrors = ['insufficient_scope', 'reauthentication_required', 'conflict'] as const

/** Passkeys (WebAuthn), and log-in by one. */
export const passkeyRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/auth/passkeys', tags: ['Second factors'] })
    .use(guard)
    .post('/login/options', ({ body }) => beginPasskeyLogin(context, body?.mfa_token ?? null), {
      open: true,
      body: Type.Union([PasskeyLoginOptions, Type.Null()]),
      response: { 200: PasskeyRequestOptions },
      detail: {
        operationId: 'beginPasskeyLogIn',
        summary: 'What a browser asks a passkey for, to log in or as a second step',
        description:
          'Without `mfa_token` any passkey of this service; with it those of the user who logs in.',
        'x-errors': ['invalid_token', 'conflict'],
      },
    })
    .post(
      '/login',
      async ({ body, state }) => {
        const wanted = { kind: 'api', scopes: null, remember: false } as const
        const signedIn = await signInByPasskey(context, originOf(state), body.response, wanted)
        return (await grantOf(context, signedIn)).tokens
      },
      {
        open: true,
        body: PasskeyLogin,
        response: { 200: Tokens },
        detail: {
          operationId: 'logInByPasskey',
          summary: "Trade a passkey's response for a pair of tokens",
          'x-errors': ['invalid_login', 'email_not_verified', 'conflict'],
        },
      },
    )
    .post('/options', ({ auth }) => beginPasskey(context, auth), {
      ...changes,
      response: { 200: PasskeyCreationOptions },
      detail: {
        operationId: 'beginPasskey',
        summary: 'What a browser makes a passkey by',
        'x-errors': [...changeErrors, 'quota_exceeded'],
      },
    })
    .post(
      '/',
      async ({ auth, body, state, status }) =>
        status(201, await addPasskey(context, originOf(state), auth, body)),
      {
        ...takes,
        body: NewPasskey,
        response: { 201: CreatedPasskey },
        detail: {
          operationId: 'addPasskey',
          summary: 'Enrol a passkey',
          description: 'With the first second factor come ten recovery codes, shown this once.',
          'x-errors': [...changeErrors, 'invalid_code', 'quota_exceeded'],
        },
      },
    )
    .patch(
      '/:id',
      ({ auth, body, params, state }) => renamePasskey(context, originOf(state), auth, params.id, body.name),
      {
        ...takes,
        body: PasskeyPatch,
        response: { 200: Passkey },
        detail: {
          operationId: 'renamePasskey',
          summary: 'Give a passkey another name',
          'x-errors': [...changeErrors, 'not_found'],
        },
      },
    )
    .delete(
      '/:id',
      async ({ auth, params, state, status }) => {
        await removePasskey(context, originOf(state), auth, params.id)
        return status(204, undefined)
      },
      {
        ...changes,
        response: { 204: Type.Undefined({ description: 'Removed' }) },
        detail: {
          operationId: 'removePasskey',
          summary: 'Remove a passkey',
          'x-errors': [...changeErrors, 'not_found'],
        },
      },
    )
