import type { Config } from '../../config/config.ts'
import { failField } from '../../lib/errors.ts'
import { isMadeOf, wordsBehind } from './disguises.ts'

const SERVICE = 'latchkey'
const SEPARATORS = /[^\p{L}\p{N}]+/u

/** Bytes in UTF-8. Longer passwords would let an attacker make the server work. */
const MAX_PASSWORD_BYTES = 1024

/**
 * Whether a password is too long. Must be asked before anything else, because normalising takes time that grows with
 * the square of the length.
 */
export function isTooLong(password: string): boolean {
  return Buffer.byteLength(password) > MAX_PASSWORD_BYTES
}

/**
 * The normal form (NFC) in which a password is set and checked. Keyboards encode the same character in different ways.
 */
export function normalisePassword(password: string): string {
  return password.normalize('NFC')
}

/** Shorter parts of an address occur in many words by chance. */
const MIN_PART_LENGTH = 3

/**
 * Checks that a password may be chosen (NIST SP 800-63B, section 5.1.1.2: length, and lists of the first guesses; no
 * rules of composition). Computes no hash.
 * @returns the password in its normal form
 * @throws Problem validation_failed
 */
export async function requirePassword(
  config: Pick<Config, 'passwordMinLength' | 'publicUrl'>,
  email: string,
  chosen: string,
  path = '/password',
): Promise<string> {
  const refuse = (message: string) => failField(path, message)
  const tooLong = `Must have at most ${MAX_PASSWORD_BYTES} bytes`
  if (isTooLong(chosen)) refuse(tooLong)
  const password = normalisePassword(chosen)
  if (!password.isWellFormed()) refuse('Must be Unicode text')
  if ([...password].length < config.passwordMinLength)
    refuse(`Must have at least ${config.passwordMinLength} characters`)
  if (isTooLong(password)) refuse(tooLong)
  const lower = password.toLowerCase()
  if (lower.trim() === '') refuse('Must not be blank')
  if (new Set(lower).size === 1) refuse('Must not be one character again and again')
  if (lower === email) refuse('Must not be the e-mail address')
  if (isMadeOf(lower, ownWords(config, email)))
    refuse("Must not be made of the service's name or parts of the e-mail address")
  const { isCommonPassword } = await loadCommonPasswords()
  if (isCommonPassword(lower)) refuse('Is among the most common passwords')
  if (wordsBehind(lower).values().some(isCommonPassword))
    refuse('Is a common password or word but for digits, signs and look-alikes')
  return password
}

let commonPasswords: Promise<typeof import('./common-passwords.ts')> | null = null

/**
 * Loads the list when the first password is chosen, so that neither the start nor verification pays for it. The promise
 * is kept: while a module loads, each further `import()` of it would build the list again.
 */
function loadCommonPasswords() {
  commonPasswords ??= import('./common-passwords.ts')
  return commonPasswords
}

/**
 * The words that somebody guessing would try first: the name of the service and of its host, and the address with its
 * parts.
 */
function ownWords({ publicUrl }: Pick<Config, 'publicUrl'>, email: string): string[] {
  const known = [SERVICE, URL.parse(publicUrl)?.hostname ?? '', email]
  const parts = known.flatMap((text) => text.split(SEPARATORS))
  return [...parts, ...email.split('@')].filter((part) => part.length >= MIN_PART_LENGTH)
}
