import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { Jwks } from '../../core/signing/model.ts'
import { describe } from '../openapi/describe.ts'

/** The public signing keys (RFC 7517), with which services verify access tokens by themselves. */
export const signingRoutes = (context: Context) =>
  new Elysia({ tags: ['OAuth'] }).get(
    '/.well-known/jwks.json',
    ({ set }) => {
      set.headers['cache-control'] = 'public, max-age=300'
      return { keys: context.signing.publicKeys() }
    },
    {
      response: { 200: Jwks },
      detail: describe('getJwks', 'The public keys that access tokens are verified with'),
    },
  )
