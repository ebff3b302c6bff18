/** Why a key that is known is refused, whatever it is used for. */
const DEAD = ['REVOKED', 'EXPIRED', 'DISABLED', 'OWNER_DISABLED'] as const

/** What a credential turns out to be, wherever it is checked: the codes of `/keys/verify` that ask for no more. */
export const CREDENTIAL_CODES = ['VALID', 'NOT_FOUND', ...DEAD] as const

/** What comes of a use of a key, where a use counts: all codes of `/keys/verify` but NOT_FOUND. */
export const USE_CODES = [
  'VALID',
  ...DEAD,
  'IP_NOT_ALLOWED',
  'INSUFFICIENT_SCOPE',
  'RATE_LIMITED',
  'CREDITS_EXHAUSTED',
] as const

export type CredentialCode = (typeof CREDENTIAL_CODES)[number]
export type UseCode = (typeof USE_CODES)[number]
