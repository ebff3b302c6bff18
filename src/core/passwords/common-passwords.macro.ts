import { dictionary } from '@zxcvbn-ts/language-common'

/**
 * Runs while the code is bundled or loaded, so that the program holds one text instead of fifty thousand.
 * @returns the most common passwords of at least `minLength` characters, one per line, sorted by UTF-16 code units
 */
export function listCommonPasswords(minLength: number): string {
  const listed = dictionary['passwords-common'].filter((password) => password.length >= minLength)
  return `${listed.sort().join('\n')}\n`
}
