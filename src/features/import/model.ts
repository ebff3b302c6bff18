import { Type } from '@sinclair/typebox'
import { Id } from '../../lib/model.ts'
import { KeyItem } from './key-item.ts'

const MAX_KEYS = 1000

/** An item's shape for the document alone: what does not fit refuses that item, not the request. */
const DescribedKey = Type.Unsafe<unknown>(JSON.parse(JSON.stringify(KeyItem)))

export const KeyImport = Type.Object(
  { keys: Type.Array(DescribedKey, { maxItems: MAX_KEYS }) },
  { $id: 'KeyImport', additionalProperties: false },
)

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
