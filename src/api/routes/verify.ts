import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import {
  VerifyAnyRequest,
  VerifyAnyResult,
  VerifyBatchRequest,
  VerifyBatchResult,
  VerifyRequest,
  VerifyResult,
} from '../../core/verify/model.ts'
import { verifyAny } from '../../core/verify/verify-any.ts'
import { verifyKey, verifyKeys } from '../../core/verify/verify-key.ts'
import type { Guard } from '../auth.ts'
import { compressWithoutSecret } from '../compression.ts'
import { describe } from '../openapi/describe.ts'
import { NEEDS } from '../route-table.ts'

/** Verification for other services. It needs a scope; otherwise a stranger could try keys without limit. */
export const verifyRoutes = (context: Context, guard: Guard) =>
  new Elysia({ tags: ['API keys'] })
    .use(guard)
    .post('/verify', ({ body }) => verifyAny(context, body), {
      ...NEEDS['POST /verify'],
      body: VerifyAnyRequest,
      response: { 200: VerifyAnyResult },
      detail: describe('verify', 'Whether a key or an access token may be used as it was presented'),
    })
    .post('/keys/verify', ({ body }) => verifyKey(context, body), {
      ...NEEDS['POST /keys/verify'],
      body: VerifyRequest,
      response: { 200: VerifyResult },
      detail: describe('verifyKey', 'Whether a key may be used as it was presented'),
    })
    .post('/keys/verify-batch', async ({ body }) => ({ results: await verifyKeys(context, body.keys) }), {
      ...NEEDS['POST /keys/verify-batch'],
      body: VerifyBatchRequest,
      response: { 200: VerifyBatchResult },
      mapResponse: compressWithoutSecret,
      detail: describe('verifyKeys', 'The same for up to a hundred keys, answered in order'),
    })
