import { ceilingOfList, ceilingOfUser, covers, scopesOfUser } from '../../lib/scopes.ts'
import { type ClientPrincipal, type Refusal, refuse, type UserPrincipal } from '../principal.ts'
import { identifierOf, scopesAllowed } from '../resources/audience.ts'
import { isEnrolmentDue } from '../second-factors/enrolment.ts'
import { type AccessClaims, FIRST_PARTY_CLIENT } from '../signing/claims.ts'
import type { Verified } from './cache.ts'
import type { VerifyQueries } from './queries.ts'
import { isSignedByLiveKey, type VerifyContext } from './signed.ts'

/**
 * The rows that decide about the token of a session: the session, its user, the key that signed the token; and of an app's
 * session the grant, the client and the resource.
 */
export type SessionFacts = Awaited<ReturnType<VerifyQueries['findSession']['execute']>>[number]

/** The rows of a session that is no app's. */
export const NO_CLIENT = { grant: null, client: null, resource: null } as const

/** Decides whether an access token of a session is valid now, and for what. The order of the checks is that of `/verify`. */
export function decideSession(
  context: VerifyContext,
  claims: AccessClaims,
  row: SessionFacts,
): Verified | Refusal {
  if (!isSignedByLiveKey(claims, row.signingKey)) return refuse('NOT_FOUND')
  if (row.kind !== 'client' && !isOwnToken(context, claims)) return refuse('NOT_FOUND')
  if (!row.user.isActive) return refuse('OWNER_DISABLED')
  if (row.endedAt) return refuse('REVOKED')
  const validUntilMs = Math.min(claims.expiresAtMs, row.expiresAt.getTime())
  const isOver = validUntilMs <= context.clock()
  if (row.kind !== 'client') {
    return isOver
      ? refuse('EXPIRED')
      : { principal: userOf(context, claims, row, row.kind, null), validUntilMs }
  }

  const { grant, client, resource } = row
  if (!grant || !client?.isActive) return refuse('REVOKED')
  if (grant.audience === 'resource' && !resource?.isActive) return refuse('REVOKED')
  if (isOver) return refuse('EXPIRED')
  const target = { audience: grant.audience, resource }
  const identifier = identifierOf(context.config, target)
  if (claims.audience !== identifier || claims.clientId !== client.clientId) return refuse('NOT_FOUND')
  const { id, clientId } = client
  const app = { id, clientId, grantId: grant.id }
  if (grant.audience === 'users') {
    // The app is no longer one of ours.
    if (!client.firstParty) return refuse('REVOKED')
    return { principal: userOf(context, limitTo(client.scopes, claims), row, 'client', app), validUntilMs }
  }
  // Otherwise a service could take the token for a person's own.
  if (identifier === context.config.jwtAudience) return refuse('REVOKED')
  const ceiling = ceilingOfUser(row.user, context.config.userScopes)
  const named = claims.scopes.filter((scope) => row.scopes?.includes(scope))
  const scopes = scopesAllowed(target, client, ceiling, named)
  const principal: ClientPrincipal = {
    kind: 'client',
    client: app,
    sessionId: claims.sessionId,
    userId: claims.subject,
    owner: {
      type: 'user',
      id: claims.subject,
      email: row.user.email,
      emailVerified: row.user.emailVerified,
      role: row.user.role,
      createdAt: row.user.createdAt,
    },
    resource: {
      audience: grant.audience,
      id: resource?.id ?? null,
      identifier,
      slug: resource?.slug ?? null,
    },
    claims,
    authTime: row.authTime,
    amr: row.amr,
    isEnrolmentDue: isEnrolmentDue(context.config, row.user),
    endsAt: row.expiresAt,
    scopes,
    // A token for userinfo names them, and may have been narrowed to some.
    identityScopes:
      grant.audience === 'userinfo'
        ? row.identityScopes.filter((scope) => claims.scopes.includes(scope))
        : row.identityScopes,
    grants: ceilingOfList(scopes),
  }
  return { principal, validUntilMs }
}

/** The claims of a first-party app's token, within the scopes that the app may hold now; null: no limit. */
function limitTo(scopes: readonly string[] | null, claims: AccessClaims): AccessClaims {
  if (scopes === null) return claims
  const named = claims.isNarrowed ? claims.scopes.filter((scope) => scopes.includes(scope)) : scopes
  return { ...claims, isNarrowed: true, scopes: named }
}

/** Whether a token says that it is for Latchkey's own API, and for no app. */
const isOwnToken = ({ config }: VerifyContext, { audience, clientId }: AccessClaims): boolean =>
  audience === config.jwtAudience && clientId === FIRST_PARTY_CLIENT

function userOf(
  context: VerifyContext,
  claims: AccessClaims,
  row: SessionFacts,
  sessionKind: UserPrincipal['sessionKind'],
  client: UserPrincipal['client'],
): UserPrincipal {
  const { email, emailVerified, createdAt, hasSecondFactor } = row.user
  return {
    kind: 'user',
    userId: claims.subject,
    sessionId: claims.sessionId,
    claims,
    email,
    emailVerified,
    createdAt,
    sessionKind,
    client,
    identityScopes: row.identityScopes,
    authTime: row.authTime,
    amr: row.amr,
    hasSecondFactor,
    isEnrolmentDue: isEnrolmentDue(context.config, row.user),
    ...powersOf(context, claims, row.user),
  }
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
