import type { Database } from '../../db/database.ts'
import { isId } from '../../lib/ids.ts'
import { NO_RATE, rateOf, rootRateOf } from '../../lib/rate.ts'
import { ceilingOfList, ceilingOfUser, covers, scopesOfUser } from '../../lib/scopes.ts'
import {
  hashToken,
  isAccessToken,
  isMistypedApiKey,
  isPortalBearer,
  isRefreshToken,
  MAX_CREDENTIAL_LENGTH,
} from '../../lib/tokens.ts'
import type { Context } from '../context.ts'
import { effectiveExternalId } from '../owners.ts'
import { type KeyPrincipal, type Principal, type Refusal, refuse, type UserPrincipal } from '../principal.ts'
import { isEnrolmentDue } from '../second-factors/enrolment.ts'
import type { AccessClaims } from '../signing/claims.ts'
import { noUses } from '../usage/uses.ts'
import type { Verified } from './cache.ts'
import { decidePortal, type PortalFacts } from './decide-portal.ts'
import { describeOwner } from './describe-owner.ts'
import { lookUpSecret } from './look-up-secret.ts'
import { type VerifyQueries, verifyQueriesOf } from './queries.ts'
import { ratesOf } from './rates.ts'

/**
 * The principal of a credential that was verified before and is known to be still valid. Counts as a verification.
 * null: unknown here, so `verifyCredential` must be asked.
 */
export function recallCredential(context: Context, token: string): Principal | null {
  const principal = context.cache.read(cacheKeyOf(token))
  if (principal) context.metrics.verifications.VALID += 1
  return principal
}

/** The same for a credential that this request has had verified already, so it is not counted a second time. */
export function recallAgain(context: Pick<Context, 'cache'>, token: string): Principal | null {
  return context.cache.read(cacheKeyOf(token))
}

/**
 * Verifies a presented credential. Latchkey's own routes, `/keys/verify`, introspection, forward-auth and the command
 * line all use this function, so a revoked credential is refused by all of them from the same moment.
 * @param token an access token, an API key or the bearer of a portal session, as presented
 * @returns the principal, or a refusal with its code
 * @throws only where the database cannot be asked; a refusal is a value
 * @example
 * const principal = await verifyCredential(context, token)
 * if (principal.kind === 'refused') fail('invalid_token')
 */
export async function verifyCredential(context: Context, token: string): Promise<Principal | Refusal> {
  const known = recallCredential(context, token)
  if (known) return known
  const verdict = token.length > MAX_CREDENTIAL_LENGTH ? refuse('NOT_FOUND') : await load(context, token)
  context.metrics.verifications[verdict.kind === 'refused' ? verdict.code : 'VALID'] += 1
  return verdict
}

async function load(context: Context, token: string): Promise<Principal | Refusal> {
  const hash = cacheKeyOf(token)
  if (context.cache.isUnknown(hash)) return refuse('NOT_FOUND')
  const loaded = await context.cache.fill<Refusal>(hash, (isShared) => {
    if (isAccessToken(token)) return loadAccessToken(context, token)
    return isPortalBearer(token) ? loadPortalBearer(context, token) : loadApiKey(context, token, isShared)
  })
  if (loaded === null) return refuse('NOT_FOUND')
  return 'principal' in loaded ? loaded.principal : loaded
}

function cacheKeyOf(token: string): string {
  return Bun.SHA256.hash(token, 'base64')
}

/**
 * Verifies an access token: its signature, and the present state in the database. A signature alone stays valid after
 * the session has ended, the role has changed or the token was revoked.
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

/** The rows that decide about a user's token: its session, its user, and the key that signed it. */
export type SessionFacts = Awaited<ReturnType<VerifyQueries['findSession']['execute']>>[number]

/** Decides whether a user's access token is valid now, and for what. */
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
  return { principal, validUntilMs }
}

/**
 * A narrowed token holds the scopes that it names, as far as the user still holds them, and no role
 * (docs/decisions/0027). So an admin's token that was issued for `read` cannot administer.
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

/** A service account's token is verified as the key with which it was obtained, limited to the token's `scope`. */
async function loadServiceAccountToken(context: Context, claims: AccessClaims): Promise<Verified | Refusal> {
  const [row] = await verifyQueriesOf(context.db).findSecretById.execute({
    secretId: claims.sessionId,
    serviceAccountId: claims.subject,
    signingKeyId: claims.keyId,
    tokenId: claims.tokenId,
  })
  return row ? decideSecret(context, claims, row) : refuse('NOT_FOUND')
}

/**
 * Whether the token's signing key is not revoked. The database is asked, because the keys in memory may not have heard
 * of a revocation yet (docs/decisions/0007).
 */
function isSignedByLiveKey(claims: AccessClaims, key: { revokedAt: Date | null } | null): boolean {
  return claims.keyId === null || (key !== null && key.revokedAt === null)
}

/**
 * Verifies the bearer of a portal session, found by its SHA-256. An unknown bearer is not remembered: no message of the
 * database would end that when an exchange makes it.
 */
async function loadPortalBearer(context: Context, token: string): Promise<Verified | Refusal> {
  const [row] = await verifyQueriesOf(context.db).findPortalSession.execute({ hash: hashToken(token) })
  return row ? decidePortal(context, row) : refuse('NOT_FOUND')
}

/** The portal session of a link, good or not, with the rows that decide about it; null: unknown. */
export async function findPortalLink(db: Database, token: string): Promise<PortalFacts | null> {
  const [row] = await verifyQueriesOf(db).findPortalLink.execute({ hash: hashToken(token) })
  return row ?? null
}

/**
 * Verifies an API key, found by the SHA-256 of the whole key. null: there is no such key.
 * @param isShared whether the query may be shared with look-ups of other keys
 */
async function loadApiKey(
  context: Context,
  token: string,
  isShared: boolean,
): Promise<Verified | Refusal | null> {
  if (isRefreshToken(token) || isMistypedApiKey(context.config.apiKeyPrefix, token))
    return refuse('NOT_FOUND')
  const hash = hashToken(token)
  const row = isShared
    ? await lookUpSecret(context.db, hash)
    : (await verifyQueriesOf(context.db).findSecret.execute({ hash }))[0]
  return row ? decideSecret(context, null, row) : null
}

/**
 * The rows that decide about a key, or about a token that was obtained with it: secret, key, owner, and whether key and
 * owner have credits. For a token also its signing key, and whether the token itself was revoked.
 */
export type SecretFacts = Awaited<ReturnType<VerifyQueries['findSecret']['execute']>>[number] &
  Partial<Pick<TokenFacts, 'signingKey' | 'isTokenRevoked'>>
type TokenFacts = Awaited<ReturnType<VerifyQueries['findSecretById']['execute']>>[number]

type VerifyContext = Pick<Context, 'config' | 'clock'>

/**
 * Decides whether a secret is valid now, and for what. The order of the checks is that of API.md.
 * @param claims of the service account's token that was presented; null: the key itself was presented
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
  const owner = describeOwner(context, key, row)
  if (!owner?.isActive) return refuse('OWNER_DISABLED', key.id)

  const isWanted = (scope: string) => claims === null || claims.scopes.includes(scope)
  const scopes = key.scopes.filter((scope) => covers(owner.ceiling, scope) && isWanted(scope))
  const principal: KeyPrincipal = {
    kind: 'key',
    uses: noUses(),
    keyId: key.id,
    secretId: row.secretId,
    claims,
    name: key.name,
    owner: owner.shown,
    externalId: effectiveExternalId(key, row.serviceAccount),
    metadata: key.metadata,
    rateLimit: rateOf(key),
    rateRoot: key.rateRoot === null ? null : { keyId: key.rateRoot, rate: rootRateOf(key) },
    rates: ratesOf(key, { id: owner.shown.id, columns: row.user ?? row.serviceAccount ?? NO_RATE }),
    allowedIps: key.allowedIps,
    hasCredits: row.creditsOf !== null,
    hasOwnerCredits: row.ownerCreditsOf !== null,
    keyExpiresAt: key.expiresAt,
    endsAt: endsAtMs === Infinity ? null : new Date(endsAtMs),
    scopes,
    grants: ceilingOfList(scopes),
  }
  return { principal, validUntilMs: endsAtMs }
}
