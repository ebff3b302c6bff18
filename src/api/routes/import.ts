import { Elysia } from 'elysia'
import type { Context } from '../../core/context.ts'
import { importKeys } from '../../core/import/keys.ts'
import { KeyImport, KeyImportResults, requireKeys } from '../../core/import/model.ts'
import type { Guard } from '../auth.ts'
import { originOf } from '../request-state.ts'

const MAX_IMPORT_BYTES = 8 * 1024 * 1024

/** Keys that come from elsewhere, for admins with their own access token: no key brings others in. */
export const importRoutes = (context: Context, guard: Guard) =>
  new Elysia({ prefix: '/keys', tags: ['API keys'] }).use(guard).post(
    '/import',
    async ({ auth, body, state }) => ({
      results: await importKeys(context, originOf(state), auth, requireKeys(body)),
    }),
    {
      admin: { json: { maxBytes: MAX_IMPORT_BYTES }, recent: context.config.reauthenticateForKeys },
      body: KeyImport,
      response: { 200: KeyImportResults },
      detail: {
        operationId: 'importKeys',
        summary: 'Take over API keys from elsewhere, by their SHA-256 or whole',
        description:
          'At most 1,000 keys and 8 MiB. Each key is imported whole or not at all, and a result says what became of it, in their order. The same request again answers `already_imported`.',
        'x-errors': ['forbidden', 'reauthentication_required'],
      },
    },
  )
