import type { Config } from '../../config/config.ts'
import { failField } from '../../lib/errors.ts'

/** Bytes in UTF-8; beyond it hashing would be work for an attacker to hand out. */
export const MAX_PASSWORD_BYTES = 1024

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
  const password = normalisePassword(chosen)
  const refuse = (message: string) => failField(path, message)
  if (!password.isWellFormed()) refuse('Must be Unicode text')
  if ([...password].length < config.passwordMinLength)
    refuse(`Must have at least ${config.passwordMinLength} characters`)
  if (Buffer.byteLength(password) > MAX_PASSWORD_BYTES)
    refuse(`Must have at most ${MAX_PASSWORD_BYTES} bytes`)
  const lower = password.toLowerCase()
  if (lower === email) refuse('Must not be the e-mail address')
  // Read at the first choice of a password: neither start-up nor verification pays for it.
  const { isCommonPassword } = await import('./common-passwords.ts')
  if (isCommonPassword(lower)) refuse('Is among the most common passwords')
  return password
}
