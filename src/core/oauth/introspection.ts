import { decodeJwt } from 'jose'
import { isAccessToken, isRefreshToken } from '../../lib/tokens.ts'
import type { Origin } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { revokePresented } from '../keys/end.ts'
import type { ClientPrincipal, KeyPrincipal, SessionClient, UserPrincipal } from '../principal.ts'
import {
  endSessionOfApp,
  endSessionOfBearer,
  endSessionOfToken,
  findLiveRefresh,
} from '../sessions/sessions.ts'
import { claimsOf, FIRST_PARTY_CLIENT } from '../signing/claims.ts'
import { findAppOfSession } from '../verify/app-of-session.ts'
import { verifyCredential } from '../verify/verify-credential.ts'
import type { Introspection } from './model.ts'

/** How a token is used (RFC 7662, section 2.2; RFC 6749, section 7.1). The kind of the token is in `token_kind`. */
const BEARER = 'Bearer'
const INACTIVE: Introspection = { active: false }

/**
 * The present state of a token (RFC 7662). Changes and charges nothing.
 * @param token an access token, a refresh token or an API key
 */
export async function introspectToken(context: Context, token: string): Promise<Introspection> {
  if (isRefreshToken(token)) {
    return context.region === null ? describeRefresh(context, token) : context.region.home.introspect(token)
  }
  const principal = await verifyCredential(context, token)
  if (principal.kind === 'refused') return INACTIVE
  if (principal.kind === 'portal') return INACTIVE
  if (principal.kind !== 'key' && principal.isEnrolmentDue) return INACTIVE
  const claims = isAccessToken(token) ? pickClaims(decodeJwt(token)) : {}
  switch (principal.kind) {
    case 'user':
      return describeUser(principal, claims)
    case 'key':
      return describeKey(principal, claims)
    case 'client':
      return {
        active: true,
        token_type: BEARER,
        token_kind: 'access_token',
        ...claims,
        ...describeApp(principal),
      }
  }
}

/** What is said of the token of an app, of both kinds. */
function describeApp(app: ClientPrincipal | (UserPrincipal & { client: SessionClient })) {
  const { client, userId: sub, identityScopes, scopes } = app
  return {
    sub,
    client_id: client.clientId,
    grant_id: client.grantId,
    aud: app.claims.audience,
    ...claimsOf(app),
    scope: [...identityScopes, ...scopes].join(' '),
  }
}

function describeUser(user: UserPrincipal, claims: Claims): Introspection {
  const { userId: sub, role, scopes, client } = user
  const app = client && describeApp({ ...user, client })
  const person = { sub, ...addressOf(user), role, scope: scopes.join(' '), ...app }
  const kind = { token_type: BEARER, token_kind: 'access_token', client_id: FIRST_PARTY_CLIENT }
  return { active: true, ...kind, ...claims, ...claimsOf(user), ...person }
}

function describeKey(key: KeyPrincipal, claims: Claims): Introspection {
  const exp = key.endsAt ? { exp: Math.floor(key.endsAt.getTime() / 1000) } : {}
  const client = key.owner.type === 'service_account' ? { client_id: key.owner.id } : addressOf(key.owner)
  const kind = Object.keys(claims).length === 0 ? 'api_key' : 'access_token'
  const shown = { ...exp, ...claims, ...client, sub: key.owner.id, key_id: key.keyId }
  return { active: true, token_type: BEARER, token_kind: kind, ...shown, scope: key.scopes.join(' ') }
}

/**
 * The address of a user, with the mark whether it was verified. Without the mark, a service could take an unverified
 * address as proof of who the user is.
 */
const addressOf = ({ email, emailVerified }: Pick<UserPrincipal, 'email' | 'emailVerified'>) => ({
  username: email,
  email_verified: emailVerified,
})

/** A refresh token is active only in its present generation. One that was exchanged is not, even within the grace. */
async function describeRefresh(context: Context, token: string): Promise<Introspection> {
  const found = await findLiveRefresh(context, token)
  if (!found?.isCurrent || found.isEnrolmentDue) return INACTIVE
  const exp = Math.floor(found.expiresAt.getTime() / 1000)
  const kind = { token_type: BEARER, token_kind: 'refresh_token' }
  if (found.kind === 'client') {
    const app = await findAppOfSession(context, found)
    return app ? { active: true, ...kind, iss: context.config.publicUrl, exp, ...describeApp(app) } : INACTIVE
  }
  return { active: true, ...kind, sub: found.userId, iss: context.config.publicUrl, exp }
}

/** The claims of an access token that an introspection answers. */
type Claims = Pick<Introspection, 'iss' | 'aud' | 'jti' | 'exp' | 'iat'>

function pickClaims(payload: Record<string, unknown>): Claims {
  const named = ['iss', 'aud', 'jti', 'exp', 'iat'].map((name) => [name, payload[name]])
  return Object.fromEntries(
    named.filter(([, value]) => typeof value === 'string' || typeof value === 'number'),
  )
}

/**
 * Revokes a token (RFC 7009): ends the session of a user or an app, a key, or a single access token of a service account.
 * What the person allowed the app stays. Possession
 * is the authority. An unknown or ended token is not an error.
 */
export async function revokeToken(context: Context, origin: Origin, token: string): Promise<void> {
  if (isRefreshToken(token)) return revokeRefresh(context, origin, token)
  const principal = await verifyCredential(context, token)
  if (principal.kind === 'refused' || principal.kind === 'portal') return
  if (principal.kind === 'client') return endSessionOfApp(context, origin, principal)
  if (principal.kind === 'user') return endSessionOfBearer(context, origin, token)
  await revokePresented(context, origin, principal)
}

/** The audit trail names the app that revokes its own token, and not its person. */
async function revokeRefresh(context: Context, origin: Origin, token: string): Promise<void> {
  const found = await findLiveRefresh(context, token)
  const app = found?.kind === 'client' ? await findAppOfSession(context, found) : null
  return app?.kind === 'client'
    ? endSessionOfApp(context, origin, app)
    : endSessionOfToken(context, origin, token)
}
