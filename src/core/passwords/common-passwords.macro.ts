import { dictionary } from '@zxcvbn-ts/language-common'

/**
 * Runs while the code is bundled or loaded, so that the program holds one text and not fifty thousand: the most common
 * passwords of at least `minLength` characters, a line each, in the order in which JavaScript compares text.
 */
export function listCommonPasswords(minLength: number): string {
  const listed = dictionary['passwords-common'].filter((password) => password.length >= minLength)
  return `${listed.sort().join('\n')}\n`
}
