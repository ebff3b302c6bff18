import type { Config } from '../../config/config.ts'
import { failField } from '../../lib/errors.ts'
import { isMadeOf, wordsBehind } from './disguises.ts'

const SERVICE = 'latchkey'
const SEPARATORS = /[^\p{L}\p{N}]+/u

/** Bytes in UTF-8; beyond it hashing would be work for an attacker to hand out. */
const MAX_PASSWORD_BYTES = 1024

/** Asked before anything else is done with a password: the time for normalising grows with the square of its length. */
export function isTooLong(password: string): boolean {
  return Buffer.byteLength(password) > MAX_PASSWORD_BYTES
}

/** The one form of a password in which it is set and checked, however a keyboard composes its characters. */
export function normalisePassword(password: string): string {
  return password.normalize('NFC')
}

/** Shorter parts of an address stand in many words. */
const MIN_PART_LENGTH = 3

/**
 * Whether a password may be chosen (NIST SP 800-63B, section 5.1.1.2: length, and lists of what is guessed first; no rules
 * of composition). Hashes nothing.
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
 * Read at the first choice of a password: neither start-up nor verification pays for it. Once: while a module loads, each
 * further `import()` of it builds it again.
 */
function loadCommonPasswords() {
  commonPasswords ??= import('./common-passwords.ts')
  return commonPasswords
}

/** What somebody who guesses knows: the names of the service and of its host, and the address with its parts. */
function ownWords({ publicUrl }: Pick<Config, 'publicUrl'>, email: string): string[] {
  const known = [SERVICE, URL.parse(publicUrl)?.hostname ?? '', email]
  const parts = known.flatMap((text) => text.split(SEPARATORS))
  return [...parts, ...email.split('@')].filter((part) => part.length >= MIN_PART_LENGTH)
}
