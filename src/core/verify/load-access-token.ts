import { isId } from '../../lib/ids.ts'
import { ceilingOfUser } from '../../lib/scopes.ts'
import type { Context } from '../context.ts'
import { type Refusal, refuse, type UserPrincipal } from '../principal.ts'
import type { AccessClaims } from '../signing/claims.ts'
import { tagOf, type Verified } from './cache.ts'
import { judgeSecret } from './load-api-key.ts'
import { verifyQueriesOf } from './queries.ts'

/** RFC 7515, section 3.1, to the letter: decoders also take padding and white space. */
const COMPACT_JWS = /^[\w-]+\.[\w-]+\.[\w-]+$/

/**
 * Whose access token this is, by its signature and by what the database says now: a signature alone outlives sessions,
 * roles and revocations.
 */
export async function loadAccessToken(context: Context, token: string): Promise<Verified | Refusal> {
  const claims = COMPACT_JWS.test(token) ? await context.signing.verify(token) : null
  if (!claims || !isId(claims.sessionId) || !isId(claims.subject)) return refuse('NOT_FOUND')
  return claims.isServiceAccount ? loadServiceAccountToken(context, claims) : loadUserToken(context, claims)
}

async function loadUserToken(context: Context, claims: AccessClaims): Promise<Verified | Refusal> {
  const [row] = await verifyQueriesOf(context.db).findSession.execute({
    sessionId: claims.sessionId,
    userId: claims.subject,
    signingKeyId: claims.keyId,
  })
  if (!row || !isSignedByLiveKey(claims, row.signingKey)) return refuse('NOT_FOUND')
  if (row.endedAt) return refuse('REVOKED')
  if (row.expiresAt.getTime() <= context.clock()) return refuse('EXPIRED')
  if (!row.user.isActive) return refuse('OWNER_DISABLED')

  const { role, email, emailVerified, createdAt } = row.user
  const principal: UserPrincipal = {
    kind: 'user',
    userId: claims.subject,
    sessionId: claims.sessionId,
    email,
    emailVerified,
    role,
    createdAt,
    scopes: scopesOfUser(row.user, context),
    grants: ceilingOfUser(row.user, context.config.userScopes),
  }
  const tags = [tagOf('session', claims.sessionId), tagOf('user', claims.subject), ...signingKeyTag(claims)]
  return { principal, validUntilMs: Math.min(claims.expiresAtMs, row.expiresAt.getTime()), tags }
}

/** Everywhere a service account's token is the principal of the key that it was made with, less what `scope` left out. */
async function loadServiceAccountToken(context: Context, claims: AccessClaims): Promise<Verified | Refusal> {
  const [row] = await verifyQueriesOf(context.db).findSecretById.execute({
    secretId: claims.sessionId,
    serviceAccountId: claims.subject,
    signingKeyId: claims.keyId,
  })
  if (!row || !isSignedByLiveKey(claims, row.signingKey)) return refuse('NOT_FOUND')
  const loaded = judgeSecret(context, row, (scope) => claims.scopes.includes(scope))
  if (!('principal' in loaded)) return loaded
  return {
    principal: loaded.principal,
    validUntilMs: Math.min(claims.expiresAtMs, loaded.validUntilMs),
    tags: [...loaded.tags, ...signingKeyTag(claims)],
  }
}

/** The ring may not have heard yet that its key was revoked; the database has. */
function isSignedByLiveKey(claims: AccessClaims, key: { revokedAt: Date | null } | null): boolean {
  return claims.keyId === null || (key !== null && key.revokedAt === null)
}

const signingKeyTag = ({ keyId }: AccessClaims): string[] =>
  keyId === null ? [] : [tagOf('signing_key', keyId)]

/** The scopes that a user's access token names: their own list, or USER_SCOPES. */
export function scopesOfUser(
  user: { scopes: readonly string[] | null },
  context: Pick<Context, 'config'>,
): readonly string[] {
  const { userScopes } = context.config
  return user.scopes ?? (userScopes === 'any' ? [] : userScopes)
}
