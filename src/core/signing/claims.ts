import type { PublicJwk } from './model.ts'

/**
 * The claims of a new access token (RFC 9068). `sid` names the session, or the secret of the key for which the token
 * stands.
 */
export type NewAccessToken = {
  subject: string
  /** JWT_AUDIENCE, or the identifier of a resource. */
  audience: string
  /** `FIRST_PARTY_CLIENT`, the app for which a person's token was made, or the subject itself in a key's token. */
  clientId: string
  sessionId: string
  /** The role of a user; null in the token of a key or of an app that acts for a user. */
  role: string | null
  scopes: readonly string[]
  /** Whether the token of a user is limited to `scopes`, instead of all that the user may do. */
  isNarrowed: boolean
  /** How and when the person of the session proved who they are; null in a key's token. */
  authentication: Authentication | null
  expiresAtMs: number
}

/** When a person last proved who they are, and how (RFC 8176), sorted. */
export type Authentication = { authTime: Date; amr: readonly string[] }

/** The claims of a genuine, unexpired access token. */
export type AccessClaims = {
  /** The claim `jti`, by which a single token is revoked. */
  tokenId: string
  subject: string
  audience: string
  clientId: string
  sessionId: string
  /** Whether the token stands for a key: `client_id` equals `sub`. `sid` then names a secret of the key. */
  isOfKey: boolean
  /** Whether the token of a user is limited to `scopes`. */
  isNarrowed: boolean
  scopes: readonly string[]
  expiresAtMs: number
  /** The stored key that signed the token; null: signed with a shared secret. */
  keyId: string | null
}

/** The claims of a new ID token (OpenID Connect Core, section 2). */
export type NewIdToken = {
  subject: string
  /** The `client_id` of the app for which it is. */
  audience: string
  nonce: string | null
  authentication: Authentication
  /** null: the app did not get the scope `email`. */
  address: { email: string; emailVerified: boolean } | null
  expiresAtMs: number
}

/** For whom an ID token was made. It may have expired since. */
export type IdTokenHint = { subject: string; clientId: string }

/** Signs and verifies access tokens, with the algorithm of ALGORITHM. */
export type SigningKeys = {
  sign(token: NewAccessToken): Promise<string>
  /**
   * Does not decide on the audience: that takes the session for which the token was made.
   * @param expiry `or expired`: also one that has expired, for an explanation and never to let somebody in
   * @returns null for every text that is not a genuine, unexpired access token of this service
   */
  verify(token: string, expiry?: 'or expired'): Promise<AccessClaims | null>
  /** @throws Error with a shared secret, which apps cannot verify */
  signIdToken(token: NewIdToken): Promise<string>
  /** @returns null for every text that is no ID token that one of the published keys signed */
  readIdToken(token: string): Promise<IdTokenHint | null>
  /** The public keys; an empty list with a shared secret. */
  publicKeys(): PublicJwk[]
  /** Reads the keys again. The present keys are used until the promise resolves. Never rejects. */
  refresh(): Promise<void>
}

/** jose takes no infinity. */
export const ANY_AGE_SECONDS = Number.MAX_SAFE_INTEGER

/** Claims that every token of this service has. A token without one was not issued here, or is damaged. */
export const REQUIRED_CLAIMS = ['iss', 'aud', 'sub', 'jti', 'iat', 'exp', 'sid', 'scope', 'client_id']

/** The claims of a verified payload; null where a claim has another type. */
export function readClaims(payload: Record<string, unknown>, keyId: string | null): AccessClaims | null {
  const { sub, aud, sid, exp, iat, jti, scope, client_id, narrowed } = payload
  if (typeof sub !== 'string' || typeof sid !== 'string' || typeof scope !== 'string') return null
  // One resource, and so one audience.
  if (typeof aud !== 'string' || typeof client_id !== 'string') return null
  // Tokens of this service hold whole seconds, within the range of safe integers.
  if (typeof exp !== 'number' || !Number.isSafeInteger(exp)) return null
  if (!Number.isSafeInteger(iat) || typeof jti !== 'string') return null
  return {
    tokenId: jti,
    subject: sub,
    audience: aud,
    clientId: client_id,
    sessionId: sid,
    isOfKey: client_id === sub,
    isNarrowed: narrowed === true,
    scopes: scope.split(' ').filter((name) => name !== ''),
    expiresAtMs: exp * 1000,
    keyId,
  }
}

/**
 * The `client_id` of a user's own token. RFC 9068, section 2.2, requires one in each token. No service account has this
 * id.
 */
export const FIRST_PARTY_CLIENT = 'latchkey'

/** The claims of a token besides those that the standard defines. */
export function ownClaims(token: NewAccessToken) {
  const { clientId, sessionId, role, scopes, isNarrowed, authentication } = token
  return {
    sid: sessionId,
    client_id: clientId,
    ...(role !== null && { role }),
    scope: scopes.join(' '),
    ...(isNarrowed && { narrowed: true }),
    ...(authentication && claimsOf(authentication)),
  }
}

/** How a person proved who they are, as tokens and introspection say it (RFC 9470; OpenID Connect Core, section 2). */
export const claimsOf = ({ authTime, amr }: Authentication) => ({
  auth_time: Math.floor(authTime.getTime() / 1000),
  amr: [...amr],
})

/** The claims of an ID token besides those of every JWT. It has no `at_hash`, and the same `sub` for every app. */
export const idTokenClaims = ({ nonce, authentication, address }: NewIdToken) => ({
  ...(nonce !== null && { nonce }),
  ...claimsOf(authentication),
  ...(address && { email: address.email, email_verified: address.emailVerified }),
})
