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
        { keys: Type.Array(KeyItem, { maxItems: MAX_KEYS }) },
        { $id: 'KeyImport', additionalProperties: false },
      ),
    ),
  ),
)

/**
 * The keys of a body, as they were sent.
 * @throws Problem validation_failed
 */
export function requireKeys(body: unknown): readonly unknown[] {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) failField('', 'Must be an object')
  const { keys, ...more } = body as Record<string, unknown>
  const [unknown] = Object.keys(more)
  if (unknown !== undefined) failField(pointerTo(unknown), 'Unknown member')
  if (!Array.isArray(keys)) failField('/keys', `Must be a list of at most ${MAX_KEYS}`)
  return keys.length <= MAX_KEYS ? keys : failField('/keys', `Must be a list of at most ${MAX_KEYS}`)
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
