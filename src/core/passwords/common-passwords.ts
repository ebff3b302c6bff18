import { listCommonPasswords } from './common-passwords.macro.ts' with { type: 'macro' }

/** Shorter ones hide in too much: with digits around them they are no longer what is guessed first. */
const COMMON = listCommonPasswords(4)

/** Whether a text in lower case is among the most common passwords. Halves the list again and again: some microseconds. */
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
