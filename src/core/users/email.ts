import { failField } from '../../lib/errors.ts'

const MAX_EMAIL_LENGTH = 254
/** Decomposed characters take more room until they are composed, and composing takes the square of the length. */
const MAX_TYPED_LENGTH = 2 * MAX_EMAIL_LENGTH
/** One `@` with something on both sides; no spaces, no control, format or unassigned characters. */
const EMAIL = /^[^@\p{C}\p{Z}]+@[^@\p{C}\p{Z}]+$/u

/**
 * The identity behind an address as typed: trimmed, NFC, lower case.
 * @returns null where it is no address
 */
export function normaliseEmail(typed: string): string | null {
  const trimmed = typed.trim()
  if (trimmed.length > MAX_TYPED_LENGTH) return null
  const email = trimmed.normalize('NFC').toLowerCase().normalize('NFC')
  return email.length <= MAX_EMAIL_LENGTH && EMAIL.test(email) ? email : null
}

/** @throws Problem validation_failed where it is no address */
export function requireEmail(typed: string): string {
  return normaliseEmail(typed) ?? failField('/email', 'Must be an e-mail address of at most 254 characters')
}
