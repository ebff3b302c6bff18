/** Why a known key is refused, whatever it is used for. */
const DEAD = ['REVOKED', 'EXPIRED', 'DISABLED', 'OWNER_DISABLED'] as const

/** The result of checking a credential. These are the codes of `/keys/verify` that do not depend on a use. */
export const CREDENTIAL_CODES = ['VALID', 'NOT_FOUND', ...DEAD] as const

/** What a known key is checked for, in order. */
export const CHECKS = [
  ...DEAD,
  'IP_NOT_ALLOWED',
  'INSUFFICIENT_SCOPE',
  'RATE_LIMITED',
  'CREDITS_EXHAUSTED',
] as const

/** The result of using a key: all codes of `/keys/verify` except NOT_FOUND. */
export const USE_CODES = ['VALID', ...CHECKS] as const

export type CredentialCode = (typeof CREDENTIAL_CODES)[number]
export type UseCode = (typeof USE_CODES)[number]
export type RefusedCode = (typeof CHECKS)[number]

/** Every kind of mail, by the name of its template. */
export const MAIL_KINDS = [
  'verify_email',
  'account_exists',
  'reset_password',
  'reset_password_unverified',
  'invitation',
  'new_sign_in',
  'password_changed',
  'email_changed',
  'second_factor_changed',
  'recovery_code_used',
  'passkey_suspended',
  'second_step_locked',
  'key_revoked',
  'keys_expiring',
  'test',
] as const

export type MailKind = (typeof MAIL_KINDS)[number]

/** What comes of a try to send a mail; `delayed`: it is tried again. */
export const MAIL_OUTCOMES = ['sent', 'delayed', 'failed'] as const
export type MailOutcome = (typeof MAIL_OUTCOMES)[number]
