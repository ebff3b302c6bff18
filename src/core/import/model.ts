import { type Static, Type } from '@sinclair/typebox'
import { failField, pointerTo } from '../../lib/errors.ts'
import { Id } from '../../lib/model.ts'
import { KeyItem } from './key-item.ts'

const MAX_KEYS = 1000

/**
 * The shape of the body, for the OpenAPI document only. The import checks the items itself, for two reasons: an invalid
 * item is refused alone and not the whole request, and a body of megabytes costs no time for a list of all its errors.
 */
export const KeyImport = Type.Unknown(
  JSON.parse(
    JSON.stringify(
      Type.Object(
        {
          keys: Type.Array(KeyItem, { maxItems: MAX_KEYS }),
          dry_run: Type.Optional(Type.Boolean({ description: 'The same results, and nothing is written' })),
        },
        { $id: 'KeyImport', additionalProperties: false },
      ),
    ),
  ),
)

/**
 * The keys of a body, as they were sent.
 * @throws Problem validation_failed
 */
export function requireImport(body: unknown): { keys: readonly unknown[]; isDryRun: boolean } {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) failField('', 'Must be an object')
  const { keys, dry_run: isDryRun = false, ...more } = body as Record<string, unknown>
  const [unknown] = Object.keys(more)
  if (unknown !== undefined) failField(pointerTo(unknown), 'Unknown member')
  if (typeof isDryRun !== 'boolean') failField('/dry_run', 'Must be true or false')
  if (!Array.isArray(keys)) failField('/keys', `Must be a list of at most ${MAX_KEYS}`)
  if (keys.length > MAX_KEYS) failField('/keys', `Must be a list of at most ${MAX_KEYS}`)
  return { keys, isDryRun }
}

const Imported = Type.Object({
  status: Type.Union([Type.Literal('imported'), Type.Literal('already_imported')]),
  id: Id,
})
const Refused = Type.Object({
  status: Type.Literal('refused'),
  error: Type.String({ description: 'Why, in a sentence that repeats nothing of the item' }),
})

export const KeyImportResults = Type.Object(
  { results: Type.Array(Type.Union([Imported, Refused])) },
  { $id: 'KeyImportResults' },
)
export type KeyImportResults = Static<typeof KeyImportResults>
