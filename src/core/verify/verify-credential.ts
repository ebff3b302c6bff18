import { isId } from '../../lib/ids.ts'
import { ceilingOfList, ceilingOfUser, covers, scopesOfUser } from '../../lib/scopes.ts'
import {
  hashToken,
  isAccessToken,
  isMistypedApiKey,
  isRefreshToken,
  MAX_CREDENTIAL_LENGTH,
} from '../../lib/tokens.ts'
import type { Context } from '../context.ts'
import { ownerOfRow } from '../owners.ts'
import { type KeyPrincipal, type Principal, type Refusal, refuse, type UserPrincipal } from '../principal.ts'
import { isEnrolmentDue } from '../second-factors/enrolment.ts'
import type { AccessClaims } from '../signing/claims.ts'
import { tagOf, type Verified } from './cache.ts'
import { type VerifyQueries, verifyQueriesOf } from './queries.ts'
import { rateOf } from './rates.ts'

/** The principal of a credential that was verified before and is known to be still good; null says nothing. */
export function recallCredential(context: Context, token: string): Principal | null {
  const principal = context.cache.read(cacheKeyOf(token))
  if (principal) context.metrics.verifications.VALID += 1
  return principal
}

/** The same, not counted as another verification: what a request has presented once already. */
export function recallAgain(context: Pick<Context, 'cache'>, token: string): Principal | null {
  return context.cache.read(cacheKeyOf(token))
}

/**
 * Who is this? The one answer wherever a credential is checked: our own routes, `/keys/verify`, introspection,
 * forward-auth, the command line. A credential that is dead for one of them is dead for all of them, at the same moment.
 * @param token an access token or an API key, as presented
 * @throws only where the database cannot be asked; a bad credential is a value
 */
export async function verifyCredential(context: Context, token: string): Promise<Principal | Refusal> {
  const known = recallCredential(context, token)
  if (known) return known
  const verdict = token.length > MAX_CREDENTIAL_LENGTH ? refuse('NOT_FOUND') : await load(context, token)
  context.metrics.verifications[verdict.kind === 'refused' ? verdict.code : 'VALID'] += 1
  return verdict
}

async function load(context: Context, token: string): Promise<Principal | Refusal> {
  const load = isAccessToken(token) ? () => loadAccessToken(context, token) : () => loadApiKey(context, token)
  const loaded = await context.cache.fill<Refusal>(cacheKeyOf(token), load)
  return 'principal' in loaded ? loaded.principal : loaded
}

function cacheKeyOf(token: string): string {
  return Bun.SHA256.hash(token, 'base64')
}

/**
 * Whose access token this is, by its signature and by what the database says now: a signature alone outlives sessions,
 * roles and revocations.
 */
async function loadAccessToken(context: Context, token: string): Promise<Verified | Refusal> {
  const claims = await context.signing.verify(token)
  if (!claims || ![claims.sessionId, claims.subject, claims.tokenId].every(isId)) return refuse('NOT_FOUND')
  return claims.isServiceAccount ? loadServiceAccountToken(context, claims) : loadUserToken(context, claims)
}

async function loadUserToken(context: Context, claims: AccessClaims): Promise<Verified | Refusal> {
  const [row] = await verifyQueriesOf(context.db).findSession.execute({
    sessionId: claims.sessionId,
    userId: claims.subject,
    signingKeyId: claims.keyId,
  })
  return row ? decideSession(context, claims, row) : refuse('NOT_FOUND')
}

/** What decides about a user's token: its session, its user, and the key that signed it. */
export type SessionFacts = Awaited<ReturnType<VerifyQueries['findSession']['execute']>>[number]

/** Whether a user's access token is good now, and for what. */
export function decideSession(
  context: VerifyContext,
  claims: AccessClaims,
  row: SessionFacts,
): Verified | Refusal {
  if (!isSignedByLiveKey(claims, row.signingKey)) return refuse('NOT_FOUND')
  if (row.endedAt) return refuse('REVOKED')
  const validUntilMs = Math.min(claims.expiresAtMs, row.expiresAt.getTime())
  if (validUntilMs <= context.clock()) return refuse('EXPIRED')
  if (!row.user.isActive) return refuse('OWNER_DISABLED')

  const { email, emailVerified, createdAt, hasSecondFactor } = row.user
  const principal: UserPrincipal = {
    kind: 'user',
    userId: claims.subject,
    sessionId: claims.sessionId,
    claims,
    email,
    emailVerified,
    createdAt,
    sessionKind: row.kind,
    authTime: row.authTime,
    amr: row.amr,
    hasSecondFactor,
    isEnrolmentDue: isEnrolmentDue(context.config, row.user),
    ...powersOf(context, claims, row.user),
  }
  const tags = [tagOf('session', claims.sessionId), tagOf('user', claims.subject), ...signingKeyTag(claims)]
  return { principal, validUntilMs, tags }
}

/**
 * A narrowed token holds the scopes that it names, as far as its user still holds them, and nothing of the user's role:
 * an admin's token that was made for `read` administers nothing.
 */
function powersOf(
  { config: { userScopes } }: VerifyContext,
  claims: AccessClaims,
  user: SessionFacts['user'],
): Pick<UserPrincipal, 'role' | 'scopes' | 'grants'> {
  const ceiling = ceilingOfUser(user, userScopes)
  if (!claims.isNarrowed) return { role: user.role, scopes: scopesOfUser(user, userScopes), grants: ceiling }
  const scopes = claims.scopes.filter((scope) => covers(ceiling, scope))
  return { role: 'user', scopes, grants: ceilingOfList(scopes) }
}

/** Everywhere a service account's token is the principal of the key that it was made with, less what `scope` left out. */
async function loadServiceAccountToken(context: Context, claims: AccessClaims): Promise<Verified | Refusal> {
  const [row] = await verifyQueriesOf(context.db).findSecretById.execute({
    secretId: claims.sessionId,
    serviceAccountId: claims.subject,
    signingKeyId: claims.keyId,
    tokenId: claims.tokenId,
  })
  return row ? decideSecret(context, claims, row) : refuse('NOT_FOUND')
}

/** The signing keys in memory may not have heard yet that this one was revoked; the database has. */
function isSignedByLiveKey(claims: AccessClaims, key: { revokedAt: Date | null } | null): boolean {
  return claims.keyId === null || (key !== null && key.revokedAt === null)
}

const signingKeyTag = ({ keyId }: AccessClaims): string[] =>
  keyId === null ? [] : [tagOf('signing_key', keyId)]

/** Whose API key this is, by the SHA-256 of the whole of it. */
async function loadApiKey(context: Context, token: string): Promise<Verified | Refusal> {
  if (isRefreshToken(token) || isMistypedApiKey(context.config.apiKeyPrefix, token))
    return refuse('NOT_FOUND')
  const [row] = await verifyQueriesOf(context.db).findSecret.execute({ hash: hashToken(token) })
  return row ? decideSecret(context, null, row) : refuse('NOT_FOUND')
}

/**
 * What decides about a key, or about a token that was made from it: secret, key, owner, whether it has credits; for a
 * token also the key that signed it, and whether it was revoked by itself.
 */
export type SecretFacts = Awaited<ReturnType<VerifyQueries['findSecret']['execute']>>[number] &
  Partial<Pick<TokenFacts, 'signingKey' | 'isTokenRevoked'>>
type TokenFacts = Awaited<ReturnType<VerifyQueries['findSecretById']['execute']>>[number]

type VerifyContext = Pick<Context, 'config' | 'clock'>

/**
 * Whether a secret is good now, and for what. The order of the checks is that of API.md.
 * @param claims of the service account's token that was presented; null: the key itself was
 */
export function decideSecret(
  context: VerifyContext,
  claims: AccessClaims | null,
  row: SecretFacts,
): Verified | Refusal {
  const { key } = row
  if (claims && !isSignedByLiveKey(claims, row.signingKey ?? null)) return refuse('NOT_FOUND')
  const endsAtMs = Math.min(
    claims?.expiresAtMs ?? Infinity,
    row.secretExpiresAt?.getTime() ?? Infinity,
    key.expiresAt?.getTime() ?? Infinity,
  )
  if (key.revokedAt || row.isTokenRevoked) return refuse('REVOKED', key.id)
  if (endsAtMs <= context.clock()) return refuse('EXPIRED', key.id)
  if (!key.isActive) return refuse('DISABLED', key.id)
  const owner = describeOwner(context, row)
  if (!owner?.isActive) return refuse('OWNER_DISABLED', key.id)

  const isWanted = (scope: string) => claims === null || claims.scopes.includes(scope)
  const scopes = key.scopes.filter((scope) => covers(owner.ceiling, scope) && isWanted(scope))
  const principal: KeyPrincipal = {
    kind: 'key',
    keyId: key.id,
    secretId: row.secretId,
    claims,
    name: key.name,
    owner: owner.shown,
    externalId: key.externalId,
    metadata: key.metadata,
    rateLimit: rateOf(key),
    allowedIps: key.allowedIps,
    hasCredits: row.creditsOf !== null,
    keyExpiresAt: key.expiresAt,
    endsAt: endsAtMs === Infinity ? null : new Date(endsAtMs),
    scopes,
    grants: ceilingOfList(scopes),
  }
  const tags = [tagOf('key', key.id), tagOf(owner.shown.type, owner.shown.id)]
  if (claims) tags.push(tagOf('token', claims.tokenId), ...signingKeyTag(claims))
  return { principal, validUntilMs: endsAtMs, tags }
}

/** A key's owner as a principal shows them, and what they may hold. */
function describeOwner({ config }: VerifyContext, { key, user, serviceAccount }: SecretFacts) {
  const { type, id } = ownerOfRow(key)
  if (type === 'user') {
    if (!user) return null
    const { email, emailVerified, role, createdAt, isActive } = user
    const shown = { type, id, email, emailVerified, role, createdAt }
    return { isActive, shown, ceiling: ceilingOfUser(user, config.userScopes) }
  }
  if (!serviceAccount) return null
  const { name, isActive, scopes } = serviceAccount
  return { isActive, shown: { type, id, name }, ceiling: ceilingOfList(scopes) }
}
