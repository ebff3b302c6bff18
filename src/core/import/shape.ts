import type { TSchema } from '@sinclair/typebox'
import { Value } from '@sinclair/typebox/value'

/** What is wrong with an item, in a sentence that repeats no value of it. */
export type Fault = { fault: string }

/**
 * The item without the members that are null: those count as absent. What is no object stays as it is.
 * @param within a member in which the same holds
 */
export function withoutNulls(item: unknown, within?: string): unknown {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) return item
  const present = Object.entries(item).filter(([, value]) => value !== null)
  return Object.fromEntries(
    present.map(([name, value]) => [name, name === within ? withoutNulls(value) : value]),
  )
}

/** The first thing that does not fit the shape; null where all does. */
export function faultOfShape(shape: TSchema, item: unknown): string | null {
  const first = Value.Errors(shape, item).First()
  if (!first) return null
  const path = first.path.slice(1)
  // A member's name is the writer's own; one that looks like a name may be told.
  const isTellable = /^[a-z_0-9/]{1,64}$/.test(path)
  if (first.message === 'Unexpected property')
    return isTellable ? `Unknown member: ${path}` : 'Unknown member'
  const message = typeof first.schema.error === 'string' ? first.schema.error : first.message
  return path === '' || !isTellable ? message : `${path}: ${message}`
}
