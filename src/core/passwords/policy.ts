import type { Config } from '../../config/config.ts'
import { failField } from '../../lib/errors.ts'

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

/**
 * Whether a password may be chosen (NIST SP 800-63B: length and a list of common ones, no composition rules).
 * @returns the password in its normal form
 * @throws Problem validation_failed
 */
export async function requirePassword(
  config: Pick<Config, 'passwordMinLength'>,
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
  if (lower === email) refuse('Must not be the e-mail address')
  // Read at the first choice of a password: neither start-up nor verification pays for it.
  const { isCommonPassword } = await import('./common-passwords.ts')
  if (isCommonPassword(lower)) refuse('Is among the most common passwords')
  return password
}
