import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { SigningKey, SigningKeyPage } from '../../core/signing/model.ts'
import { describeSigningKeys, revokeSigningKey, rotateSigningKey } from '../../core/signing/signing-keys.ts'
import { fail } from '../../lib/errors.ts'
import type { Guard } from '../auth.ts'
import { describe, noContent } from '../openapi/describe.ts'
import { originOf } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'

/** The keys that sign access tokens. With ALGORITHM=HS256 there are none. */
export const signingKeyRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/signing-keys', tags: ['Administration'] })
    .use(guard)
    .get('/', async () => ({ items: await describeSigningKeys(context), next_cursor: null }), {
      ...NEEDS['GET /signing-keys'],
      response: { 200: SigningKeyPage },
      detail: describe('listSigningKeys', 'The keys that sign access tokens, the newest first', {
        description: 'Without those whose last token is over. At most 100, on one page.',
      }),
    })
    .post(
      '/rotate',
      async ({ auth, state, status }) => {
        const { id } = await rotateSigningKey(context, originOf(state), auth)
        const made = (await describeSigningKeys(context)).find(({ kid }) => kid === id)
        return status(201, made ?? fail('conflict', { detail: 'The new key was revoked at once.' }))
      },
      {
        ...NEEDS['POST /signing-keys/rotate'],
        response: { 201: SigningKey },
        detail: describe('rotateSigningKey', 'Make the next signing key', {
          description:
            'It is published now and signs in five minutes; the old one verifies until its last token expires.',
          errors: ['conflict'],
        }),
      },
    )
    .post(
      '/:kid/revoke',
      async ({ auth, params, state, status }) => {
        await revokeSigningKey(context, originOf(state), params.kid, auth)
        return status(204, undefined)
      },
      {
        ...NEEDS['POST /signing-keys/:kid/revoke'],
        response: noContent(),
        detail: describe('revokeSigningKey', 'Refuse every token that a key signed, at once', {
          description: 'Also those of the caller, if this key signed them. Refresh tokens stay valid.',
          errors: ['not_found', 'conflict'],
        }),
      },
    )
