import type { Context } from '../context.ts'
import type { AccessClaims } from '../signing/claims.ts'

/** What a decision about a credential depends on besides its rows. */
export type VerifyContext = Pick<Context, 'config' | 'clock'>

/**
 * Whether the token's signing key is not revoked. The database is asked, because the keys in memory may not have heard
 * of a revocation yet (docs/decisions/0007).
 */
export function isSignedByLiveKey(claims: AccessClaims, key: { revokedAt: Date | null } | null): boolean {
  return claims.keyId === null || (key !== null && key.revokedAt === null)
}
