import { type TSchema, Type } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'
import { deriveId, isId } from '../../lib/ids.ts'
import { READABLE } from '../../lib/model.ts'

/** What is wrong with an item, in a sentence that repeats no value of it. */
export type Fault = { fault: string }

/**
 * The item without its members that are null: those count as absent. Anything but an object stays as it is.
 * @param within a member in which the same holds
 */
export function withoutNulls(item: unknown, within?: string): unknown {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) return item
  const present = Object.entries(item).filter(([, value]) => value !== null)
  return Object.fromEntries(
    present.map(([name, value]) => [name, name === within ? withoutNulls(value) : value]),
  )
}

/** The first thing in an item that does not fit the shape; null where everything fits. */
export function faultOfShape(shape: TSchema, item: unknown): string | null {
  const first = Value.Errors(shape, item).First()
  if (!first) return null
  const path = first.path.slice(1)
  // A member's name is the writer's text too, and may be a misplaced secret: only what looks like a name is repeated.
  const isNameLike = /^[a-z_0-9/]{1,64}$/.test(path)
  if (first.message === 'Unexpected property')
    return isNameLike ? `Unknown member: ${path}` : 'Unknown member'
  const message = typeof first.schema.error === 'string' ? first.schema.error : first.message
  return path === '' || !isNameLike ? message : `${path}: ${message}`
}

/** The id that something has elsewhere. */
export const ForeignId = Type.Union([Type.String({ maxLength: 64, pattern: READABLE }), Type.Integer()], {
  description: 'A UUID stays the id; of another, one is made',
  error: 'Must be an id: a UUID, another text of at most 64 characters, or a whole number',
})

/**
 * The id here of something that comes from elsewhere: its own where that is a UUID, else a UUIDv7 of the time when it
 * was made and a hash of its origin. The same thing gets the same id each time it is imported.
 * @param origin what tells it from everything else; nothing of it can be read from the id
 */
export function importedId(own: string | null, createdAt: Date | null, ...origin: string[]): string {
  const given = own?.toLowerCase() ?? ''
  return isId(given) ? given : deriveId(Math.max(0, createdAt?.getTime() ?? 0), ...origin)
}
