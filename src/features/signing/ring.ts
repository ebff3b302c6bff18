/** What an access token is to say (RFC 9068); `sid` names the session. */
export type NewAccessToken = {
  subject: string
  sessionId: string
  role: string
  scopes: readonly string[]
  expiresAtMs: number
}

/** What a genuine, unexpired access token says. `keyId` names the key that signed it. */
export type AccessClaims = { subject: string; sessionId: string; keyId: string; expiresAtMs: number }

/** A public key as published (RFC 7517). */
export type PublicJwk = { kty: string; kid: string; alg: string; use: 'sig' } & Record<string, unknown>

/** Signs and verifies access tokens; ALGORITHM says how. */
export type SigningRing = {
  sign(token: NewAccessToken): Promise<string>
  /** null for whatever is not a genuine, unexpired access token of this service. */
  verify(token: string): Promise<AccessClaims | null>
  /** The public keys; none with a shared secret. */
  publicKeys(): PublicJwk[]
  /** Reads the keys again, soon; the present ones stay in force until then. */
  refresh(): void
}

/** RFC 9068, section 2.1: what keeps an access token from being taken for another kind of JWT, and back. */
export const ACCESS_TOKEN_TYPE = 'at+jwt'

/** Claims that a token of ours always has; one without is not ours, or not whole. */
export const REQUIRED_CLAIMS = ['iss', 'aud', 'sub', 'jti', 'iat', 'exp', 'sid']

/** The claims of a verified payload in our own words; null where they have another type. */
export function readClaims(payload: Record<string, unknown>, keyId: string): AccessClaims | null {
  const { sub, sid, exp } = payload
  if (typeof sub !== 'string' || typeof sid !== 'string' || typeof exp !== 'number') return null
  return { subject: sub, sessionId: sid, keyId, expiresAtMs: exp * 1000 }
}

/** A token's own claims, besides those of the standard. */
export function ownClaims(token: NewAccessToken) {
  return { sid: token.sessionId, role: token.role, scope: token.scopes.join(' ') }
}
