import { listCommonPasswords } from './common-passwords.macro.ts' with { type: 'macro' }

/** No password may be shorter, so that the list has no use for shorter ones (PASSWORD_MIN_LENGTH). */
const COMMON = listCommonPasswords(8)

/** Whether a password, in lower case, is among the most common ones. */
export function isCommonPassword(lower: string): boolean {
  return !lower.includes('\n') && COMMON.includes(`\n${lower}\n`)
}
