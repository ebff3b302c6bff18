import type { Database } from '../../db/database.ts'
import { isId } from '../../lib/ids.ts'
import { NO_RATE, rateOf, rootRateOf } from '../../lib/rate.ts'
import { ceilingOfList, covers } from '../../lib/scopes.ts'
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
import { type KeyPrincipal, type Principal, type Refusal, refuse } from '../principal.ts'
import type { AccessClaims } from '../signing/claims.ts'
import { noUses } from '../usage/uses.ts'
import type { Verified } from './cache.ts'
import { decidePortal, type PortalFacts } from './decide-portal.ts'
import { decideSession } from './decide-session.ts'
import { describeOwner } from './describe-owner.ts'
import { lookUpSecret } from './look-up-secret.ts'
import { type VerifyQueries, verifyQueriesOf } from './queries.ts'
import { ratesOf } from './rates.ts'
import { isSignedByLiveKey, type VerifyContext } from './signed.ts'

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
async function loadAccessToken(
  context: Context,
  token: string,
  expiry?: 'or expired',
): Promise<Verified | Refusal> {
  const claims = await context.signing.verify(token, expiry)
  if (!claims || ![claims.sessionId, claims.subject, claims.tokenId].every(isId)) return refuse('NOT_FOUND')
  return claims.isOfKey ? loadTokenOfKey(context, claims) : loadTokenOfSession(context, claims)
}

/**
 * Why an access token is refused that `verifyCredential` did not find: one of ours that has expired is told from a stranger's.
 * Asks the database, and remembers nothing.
 */
export async function explainToken(context: Context, token: string): Promise<Refusal> {
  if (token.length > MAX_CREDENTIAL_LENGTH) return refuse('NOT_FOUND')
  const verdict = await loadAccessToken(context, token, 'or expired')
  return 'principal' in verdict ? refuse('NOT_FOUND') : verdict
}

async function loadTokenOfSession(context: Context, claims: AccessClaims): Promise<Verified | Refusal> {
  const [row] = await verifyQueriesOf(context.db).findSession.execute({
    sessionId: claims.sessionId,
    userId: claims.subject,
    signingKeyId: claims.keyId,
  })
  return row ? decideSession(context, claims, row) : refuse('NOT_FOUND')
}

/**
 * Verifies a key of which a verifier in a region presents the SHA-256 alone: from the cache, or by the database. A verifier
 * asks about keys that it has found, so that none is remembered as unknown.
 */
export async function verifyHashedKey(context: Context, hash: Uint8Array): Promise<Principal | Refusal> {
  const cacheKey = Buffer.from(hash).toString('base64')
  const known = context.cache.read(cacheKey)
  const loaded = known
    ? { principal: known }
    : await context.cache.fill<Refusal>(cacheKey, async () => {
        const row = await lookUpSecret(context.db, hash)
        return row ? decideSecret(context, null, row) : refuse('NOT_FOUND')
      })
  return countVerdict(context, loaded)
}

/** Verifies the claims of a token that stands for a key. Its signature was checked in the region. */
export async function verifyTokenOfKey(context: Context, claims: AccessClaims): Promise<Principal | Refusal> {
  return countVerdict(context, await loadTokenOfKey(context, claims))
}

function countVerdict(context: Context, loaded: Pick<Verified, 'principal'> | Refusal | null) {
  const verdict = loaded === null ? refuse('NOT_FOUND') : 'principal' in loaded ? loaded.principal : loaded
  context.metrics.verifications[verdict.kind === 'refused' ? verdict.code : 'VALID'] += 1
  return verdict
}

/** A token that stands for a key is verified as that key, limited to the token's `scope` and to its resource. */
async function loadTokenOfKey(context: Context, claims: AccessClaims): Promise<Verified | Refusal> {
  const [row] = await verifyQueriesOf(context.db).findSecretById.execute({
    secretId: claims.sessionId,
    ownerId: claims.subject,
    audience: claims.audience,
    signingKeyId: claims.keyId,
    tokenId: claims.tokenId,
  })
  return row ? decideSecret(context, claims, row) : refuse('NOT_FOUND')
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
 * The rows that decide about a key, or about a token that was obtained with it: secret, key and owner. For a token also its signing key, the resource that its audience names, and whether the token itself
 * was revoked.
 */
export type SecretFacts = Awaited<ReturnType<VerifyQueries['findSecret']['execute']>>[number] &
  Partial<Pick<TokenFacts, 'signingKey' | 'isTokenRevoked' | 'resource'>>
type TokenFacts = Awaited<ReturnType<VerifyQueries['findSecretById']['execute']>>[number]

/**
 * Decides whether a secret is valid now, and for what. The order of the checks is that of API.md.
 * @param claims of the presented token that stands for the key; null: the key itself was presented
 */
export function decideSecret(
  context: VerifyContext,
  claims: AccessClaims | null,
  row: SecretFacts,
): Verified | Refusal {
  const { key } = row
  if (claims && !isSignedByLiveKey(claims, row.signingKey ?? null)) return refuse('NOT_FOUND')
  const resource = claims === null ? null : resourceOfToken(context, claims, row)
  if (resource === undefined) return refuse('NOT_FOUND', key.id)
  const endsAtMs = Math.min(
    claims?.expiresAtMs ?? Infinity,
    row.secretExpiresAt?.getTime() ?? Infinity,
    key.expiresAt?.getTime() ?? Infinity,
  )
  if (key.revokedAt || row.isTokenRevoked || resource?.isActive === false) return refuse('REVOKED', key.id)
  if (endsAtMs <= context.clock()) return refuse('EXPIRED', key.id)
  if (!key.isActive) return refuse('DISABLED', key.id)
  const owner = describeOwner(context, key, row)
  if (!owner?.isActive) return refuse('OWNER_DISABLED', key.id)

  const isOfResource = (scope: string) => !resource || resource.scopes.some(({ name }) => name === scope)
  const isWanted = (scope: string) =>
    claims === null || (claims.scopes.includes(scope) && isOfResource(scope))
  const scopes = key.scopes.filter((scope) => covers(owner.ceiling, scope) && isWanted(scope))
  const principal: KeyPrincipal = {
    kind: 'key',
    resource: resource && {
      audience: 'resource',
      id: resource.id,
      identifier: resource.identifier,
      slug: resource.slug,
    },
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
    hasCredits: key.hasCredits,
    hasOwnerCredits: (row.user ?? row.serviceAccount)?.hasCredits ?? false,
    keyExpiresAt: key.expiresAt,
    endsAt: endsAtMs === Infinity ? null : new Date(endsAtMs),
    scopes,
    grants: ceilingOfList(scopes),
  }
  return { principal, validUntilMs: endsAtMs }
}

/**
 * The resource for which a token was made that stands for a key; null: a service account's own token, which passes wherever
 * its key does; undefined: no resource here has that audience, or no longer.
 */
function resourceOfToken({ config }: VerifyContext, { audience, subject }: AccessClaims, row: SecretFacts) {
  if (audience === config.jwtAudience) return row.key.serviceAccountId === subject ? null : undefined
  return row.resource ?? undefined
}
