import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { importKeys } from '../../core/import/keys.ts'
import { KeyImport, KeyImportResults, requireKeys } from '../../core/import/model.ts'
import type { Guard } from '../auth.ts'
import { compressWithoutSecret } from '../compression.ts'
import { describe } from '../openapi/describe.ts'
import { originOf } from '../request-state.ts'
import { NEEDS } from '../route-table.ts'

/** The import of keys from another system, for admins with their own access token. No API key may import keys. */
export const importRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/keys', tags: ['API keys'] }).use(guard).post(
    '/import',
    async ({ auth, body, state }) => ({
      results: await importKeys(context, originOf(state), auth, requireKeys(body)),
    }),
    {
      ...NEEDS['POST /keys/import'],
      body: KeyImport,
      response: { 200: KeyImportResults },
      mapResponse: compressWithoutSecret,
      detail: describe('importKeys', 'Take over API keys from elsewhere, by their SHA-256 or whole', {
        description:
          'At most 1,000 keys and 8 MiB. Each key is imported whole or not at all, and a result says what became of it, in their order. The same request again answers `already_imported`.',
        errors: ['forbidden', 'reauthentication_required'],
      }),
    },
  )
