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
import { describe, noContent } from '../openapi/describe.ts'
import { originOf } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'

const changeErrors = ['insufficient_scope', 'reauthentication_required', 'conflict'] as const

/** Passkeys (WebAuthn), and log-in by one. */
export const passkeyRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/auth/passkeys', tags: ['Second factors'] })
    .use(guard)
    .post('/login/options', ({ body }) => beginPasskeyLogin(context, body?.mfa_token ?? null), {
      ...NEEDS['POST /auth/passkeys/login/options'],
      body: Type.Union([PasskeyLoginOptions, Type.Null()]),
      response: { 200: PasskeyRequestOptions },
      detail: describe(
        'beginPasskeyLogIn',
        'What a browser asks a passkey for, to log in or as a second step',
        {
          description:
            'Without `mfa_token` any passkey of this service; with it those of the user who logs in.',
          errors: ['invalid_token', 'conflict'],
        },
      ),
    })
    .post(
      '/login',
      async ({ body, state }) => {
        const wanted = { kind: 'api', scopes: null, remember: false } as const
        const signedIn = await signInByPasskey(context, originOf(state), body.response, wanted)
        return (await grantOf(context, signedIn)).tokens
      },
      {
        ...NEEDS['POST /auth/passkeys/login'],
        body: PasskeyLogin,
        response: { 200: Tokens },
        detail: describe('logInByPasskey', "Trade a passkey's response for a pair of tokens", {
          errors: ['invalid_login', 'email_not_verified', 'conflict'],
        }),
      },
    )
    .post('/options', ({ auth }) => beginPasskey(context, auth), {
      ...NEEDS['POST /auth/passkeys/options'],
      response: { 200: PasskeyCreationOptions },
      detail: describe('beginPasskey', 'What a browser makes a passkey by', {
        errors: [...changeErrors, 'quota_exceeded'],
      }),
    })
    .post(
      '/',
      async ({ auth, body, state, status }) =>
        status(201, await addPasskey(context, originOf(state), auth, body)),
      {
        ...NEEDS['POST /auth/passkeys'],
        body: NewPasskey,
        response: { 201: CreatedPasskey },
        detail: describe('addPasskey', 'Enrol a passkey', {
          description: 'With the first second factor come ten recovery codes, shown this once.',
          errors: [...changeErrors, 'invalid_code', 'quota_exceeded'],
        }),
      },
    )
    .patch(
      '/:id',
      ({ auth, body, params, state }) => renamePasskey(context, originOf(state), auth, params.id, body.name),
      {
        ...NEEDS['PATCH /auth/passkeys/:id'],
        body: PasskeyPatch,
        response: { 200: Passkey },
        detail: describe('renamePasskey', 'Give a passkey another name', {
          errors: [...changeErrors, 'not_found'],
        }),
      },
    )
    .delete(
      '/:id',
      async ({ auth, params, state, status }) => {
        await removePasskey(context, originOf(state), auth, params.id)
        return status(204, undefined)
      },
      {
        ...NEEDS['DELETE /auth/passkeys/:id'],
        response: noContent('Removed'),
        detail: describe('removePasskey', 'Remove a passkey', { errors: [...changeErrors, 'not_found'] }),
      },
    )
