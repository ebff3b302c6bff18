import { type TSchema, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { deriveId, isId } from '../../lib/ids.ts'
import { READABLE } from '../../lib/model.ts'

/** Why an item is invalid, in a sentence that repeats no value of it. */
export type Fault = { fault: string }

/**
 * The item without its members that are null, which count as absent. Anything but an object is returned as it is.
 * @param within a member in which the same applies
 */
export function withoutNulls(item: unknown, within?: string): unknown {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) return item
  const present = Object.entries(item).filter(([, value]) => value !== null)
  return Object.fromEntries(
    present.map(([name, value]) => [name, name === within ? withoutNulls(value) : value]),
  )
}

/** The first error of an item; null where it has the shape. */
export function faultOfShape(shape: TSchema, item: unknown): string | null {
  const first = Value.Errors(shape, item).First()
  if (!first) return null
  const path = first.path.slice(1)
  // The name of a member also comes from the sender, and may be a secret in the wrong place. Only what looks like a
  // name is repeated.
  const isNameLike = /^[a-z_0-9/]{1,64}$/.test(path)
  if (first.message === 'Unexpected property')
    return isNameLike ? `Unknown member: ${path}` : 'Unknown member'
  const message = typeof first.schema.error === 'string' ? first.schema.error : first.message
  return path === '' || !isNameLike ? message : `${path}: ${message}`
}

/** The id of a user or key at the source. */
export const ForeignId = Type.Union([Type.String({ maxLength: 64, pattern: READABLE }), Type.Integer()], {
  description: 'A UUID stays the id; of another, one is made',
  error: 'Must be an id: a UUID, another text of at most 64 characters, or a whole number',
})

/**
 * The id that an imported user or key gets here: its own where that is a UUID, else a UUIDv7 of its time of creation
 * and a hash of its origin. Repeated imports of one item give the same id.
 * @param origin texts that identify the item; they cannot be read from the id
 */
export function importedId(own: string | null, createdAt: Date | null, ...origin: string[]): string {
  const given = own?.toLowerCase() ?? ''
  return isId(given) ? given : deriveId(Math.max(0, createdAt?.getTime() ?? 0), ...origin)
}
