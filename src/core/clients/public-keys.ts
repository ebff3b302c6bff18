import type { JWK } from 'jose'

/** Keys of one client. */
const MAX_KEYS = 20

/** The members of a private or a shared key (RFC 7518, section 6). */
const SECRET_MEMBERS = ['d', 'k', 'p', 'q', 'dp', 'dq', 'qi', 'oth']

/**
 * Reads a set of public keys (RFC 7517, section 5).
 * @returns null for anything else: no keys, too many, or one with a secret in it
 */
export function readPublicKeys(jwks: unknown): { keys: JWK[] } | null {
  if (!isObject(jwks) || !Array.isArray(jwks.keys)) return null
  const { keys } = jwks
  if (keys.length === 0 || keys.length > MAX_KEYS || !keys.every(isPublic)) return null
  return { keys }
}

function isPublic(key: unknown): key is JWK {
  if (!isObject(key) || typeof key.kty !== 'string' || key.kty === 'oct') return false
  return !SECRET_MEMBERS.some((name) => Object.hasOwn(key, name))
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
