/**
 * How much a clock and a busy machine may change Retry-After between two recordings: ten seconds, or this
 * share of a long window.
 */
const RETRY_AFTER_TOLERANCE_SECONDS = 10
const RETRY_AFTER_TOLERANCE = 0.01

/** Lists every place where two JSON values differ, in lines. */
export function differences(before: unknown, after: unknown, path: readonly string[] = []): string[] {
  if (isContainer(before) && isContainer(after) && Array.isArray(before) === Array.isArray(after)) {
    const names = new Set([...Object.keys(before), ...Object.keys(after)])
    return [...names].flatMap((name) => differences(before[name], after[name], [...path, name]))
  }
  const isEqual = before === after || (path.at(-1) === 'retry_after' && areClose(before, after))
  return isEqual ? [] : [`${path.join(' › ')}: ${show(before)} → ${show(after)}`]
}

/**
 * Removes the descriptions and summaries of an OpenAPI document. A property with such a name has a schema,
 * and stays.
 */
export function withoutDescriptions(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDescriptions)
  if (!isContainer(value)) return value
  const isWords = ([name, member]: [string, unknown]) =>
    (name === 'description' || name === 'summary') && typeof member === 'string'
  const kept = Object.entries(value).filter((entry) => !isWords(entry))
  return Object.fromEntries(kept.map(([name, member]) => [name, withoutDescriptions(member)]))
}

const isContainer = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null

const areClose = (before: unknown, after: unknown) =>
  typeof before === 'number' &&
  typeof after === 'number' &&
  Math.abs(before - after) <= Math.max(RETRY_AFTER_TOLERANCE_SECONDS, RETRY_AFTER_TOLERANCE * before)

const show = (value: unknown) => (value === undefined ? 'absent' : JSON.stringify(value))
