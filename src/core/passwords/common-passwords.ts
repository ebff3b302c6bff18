import { listCommonPasswords } from './common-passwords.macro.ts' with { type: 'macro' }

/**
 * Passwords of one to three characters are left out. Too many longer passwords contain one of them, and those longer
 * ones are not the first guesses.
 */
const COMMON = listCommonPasswords(4)

/**
 * Whether a lower-case text is among the most common passwords. A binary search in the text of the list; takes
 * microseconds.
 */
export function isCommonPassword(lower: string): boolean {
  let from = 0
  let to = COMMON.length
  while (from < to) {
    const middle = Math.floor((from + to) / 2)
    const start = COMMON.lastIndexOf('\n', middle - 1) + 1
    const end = COMMON.indexOf('\n', middle)
    const listed = COMMON.slice(start, end)
    if (listed === lower) return true
    if (listed < lower) from = end + 1
    else to = start
  }
  return false
}
