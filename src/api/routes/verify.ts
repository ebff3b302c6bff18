import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import {
  VerifyBatchRequest,
  VerifyBatchResult,
  VerifyRequest,
  VerifyResult,
} from '../../core/verify/model.ts'
import { verifyKey, verifyKeys } from '../../core/verify/verify-key.ts'
import type { Guard } from '../auth.ts'
import { compressWithoutSecret } from '../compression.ts'
import { describe } from '../openapi/describe.ts'
import { NEEDS } from '../route-table.ts'

/** Verification of keys, for other services. It needs a scope; otherwise a stranger could try keys without limit. */
export const verifyRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/keys', tags: ['API keys'] })
    .use(guard)
    .post('/verify', ({ body }) => verifyKey(context, body), {
      ...NEEDS['POST /keys/verify'],
      body: VerifyRequest,
      response: { 200: VerifyResult },
      detail: describe('verifyKey', 'Whether a key may be used as it was presented'),
    })
    .post('/verify-batch', async ({ body }) => ({ results: await verifyKeys(context, body.keys) }), {
      ...NEEDS['POST /keys/verify-batch'],
      body: VerifyBatchRequest,
      response: { 200: VerifyBatchResult },
      mapResponse: compressWithoutSecret,
      detail: describe('verifyKeys', 'The same for up to a hundred keys, answered in order'),
    })
