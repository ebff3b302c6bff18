/** Every number that `Number` may round has at least sixteen digits, with or without a point among them. */
const MAY_BE_ROUNDED = /[\d.]{16}/
/** `Number` keeps every number of so many digits. */
const KEPT_DIGITS = 15

/**
 * Parses JSON without rounding integers silently. `JSON.parse` replaces an integer beyond 2^53 by the nearest
 * number, and the request would be carried out with that. Here the integer becomes Infinity, which no schema
 * accepts, however it is written: `9007199254740993.0` and `9.007199254740993e15` too.
 * @throws SyntaxError whose message quotes the text
 */
export function parseJson(text: string): unknown {
  // The reviver makes parsing ten times slower, so it runs only if a number may have been rounded.
  return MAY_BE_ROUNDED.test(text) ? JSON.parse(text, refuseRounded) : JSON.parse(text)
}

function refuseRounded(_name: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== 'number' || !Number.isInteger(value) || Number.isSafeInteger(value)) return value
  return isLong(context?.source ?? '') ? Infinity : value
}

/** Whether a number is written with more digits than are kept for certain. `6e23` is short, and 6 with 23 zeros is not. */
function isLong(source: string): boolean {
  const [digits = ''] = source.split(/[eE]/)
  return digits.replace(/[-.]/g, '').replace(/^0+/, '').length > KEPT_DIGITS
}

/**
 * Finds a number that JSON cannot express, such as the ones that `parseJson` marks.
 * @returns its JSON pointer, or null if there is no such number
 */
export function findNonFinite(value: unknown, pointer = ''): string | null {
  if (typeof value === 'number') return Number.isFinite(value) ? null : pointer
  if (typeof value !== 'object' || value === null) return null
  for (const [name, member] of Object.entries(value)) {
    const found = findNonFinite(member, `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`)
    if (found !== null) return found
  }
  return null
}
