import type { PublicJwk } from './model.ts'

/** What an access token is to say (RFC 9068); `sid` names the session, or the secret that a service account showed. */
export type NewAccessToken = {
  subject: string
  sessionId: string
  /** A user's; null in a service account's token, whose `client_id` is its `sub`. */
  role: string | null
  scopes: readonly string[]
  /** Whether a user's token does less than its user could: `scopes` are then all that it does. */
  isNarrowed: boolean
  /** How and when the person of the session proved who they are; null in a service account's token. */
  authentication: Authentication | null
  expiresAtMs: number
}

/** When a person last proved who they are, and how (RFC 8176), sorted. */
export type Authentication = { authTime: Date; amr: readonly string[] }

/** What a genuine, unexpired access token says. */
export type AccessClaims = {
  /** `jti`, by which a single token is revoked. */
  tokenId: string
  subject: string
  sessionId: string
  isServiceAccount: boolean
  /** Whether a user's token does less than its user could. */
  isNarrowed: boolean
  scopes: readonly string[]
  expiresAtMs: number
  /** The stored key that signed it; null with a shared secret. */
  keyId: string | null
}

/** Signs and verifies access tokens; ALGORITHM says how. */
export type SigningRing = {
  sign(token: NewAccessToken): Promise<string>
  /** null for whatever is not a genuine, unexpired access token of this service. */
  verify(token: string): Promise<AccessClaims | null>
  /** The public keys; none with a shared secret. */
  publicKeys(): PublicJwk[]
  /** Reads the keys again; the present ones stay in force until it resolves. Never rejects. */
  refresh(): Promise<void>
}

/** Claims that a token of ours always has; one without is not ours, or not whole. */
export const REQUIRED_CLAIMS = ['iss', 'aud', 'sub', 'jti', 'iat', 'exp', 'sid', 'scope']

/** The claims of a verified payload in our own words; null where they have another type. */
export function readClaims(payload: Record<string, unknown>, keyId: string | null): AccessClaims | null {
  const { sub, sid, exp, iat, jti, scope, client_id, narrowed } = payload
  if (typeof sub !== 'string' || typeof sid !== 'string' || typeof scope !== 'string') return null
  // No token of ours says a part of a second, or more seconds than can be counted.
  if (typeof exp !== 'number' || !Number.isSafeInteger(exp)) return null
  if (!Number.isSafeInteger(iat) || typeof jti !== 'string') return null
  return {
    tokenId: jti,
    subject: sub,
    sessionId: sid,
    isServiceAccount: client_id === sub,
    isNarrowed: narrowed === true,
    scopes: scope.split(' ').filter((name) => name !== ''),
    expiresAtMs: exp * 1000,
    keyId,
  }
}

/** RFC 9068, section 2.2, asks each token for its client: a person's own token has Latchkey itself. No account has this id. */
export const FIRST_PARTY_CLIENT = 'latchkey'

/** A token's own claims, besides those of the standard. */
export function ownClaims(token: NewAccessToken) {
  const { subject, sessionId, role, scopes, isNarrowed, authentication } = token
  const kind = role === null ? { client_id: subject } : { role, client_id: FIRST_PARTY_CLIENT }
  return {
    sid: sessionId,
    ...kind,
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
