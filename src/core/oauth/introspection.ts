import { decodeJwt } from 'jose'
import { isAccessToken, isRefreshToken } from '../../lib/tokens.ts'
import type { Origin } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { revokePresented } from '../keys/end.ts'
import type { KeyPrincipal, UserPrincipal } from '../principal.ts'
import { endSessionOfBearer, endSessionOfToken, findLiveRefresh } from '../sessions/sessions.ts'
import { claimsOf, FIRST_PARTY_CLIENT } from '../signing/claims.ts'
import { verifyCredential } from '../verify/verify-credential.ts'
import type { Introspection } from './model.ts'

/** RFC 7662, section 2.2: how a token is used (RFC 6749, section 7.1). What it is says `token_kind`. */
const BEARER = 'Bearer'
const INACTIVE: Introspection = { active: false }

/**
 * RFC 7662: what a token is, now. Changes nothing and charges nothing.
 * @param token an access token, a refresh token or an API key
 */
export async function introspectToken(context: Context, token: string): Promise<Introspection> {
  if (isRefreshToken(token)) return describeRefresh(context, token)
  const principal = await verifyCredential(context, token)
  if (principal.kind === 'refused') return INACTIVE
  if (principal.kind === 'user' && principal.isEnrolmentDue) return INACTIVE
  const claims = isAccessToken(token) ? pickClaims(decodeJwt(token)) : {}
  return principal.kind === 'user' ? describeUser(principal, claims) : describeKey(principal, claims)
}

function describeUser(user: UserPrincipal, claims: Claims): Introspection {
  const { userId: sub, role, scopes } = user
  const person = { sub, ...addressOf(user), role, scope: scopes.join(' ') }
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

/** An address says who somebody is only where it was proven: that stands beside it. */
const addressOf = ({ email, emailVerified }: Pick<UserPrincipal, 'email' | 'emailVerified'>) => ({
  username: email,
  email_verified: emailVerified,
})

/** A refresh token is active only at its current generation: one that was traded is not, even within the grace. */
async function describeRefresh(context: Context, token: string): Promise<Introspection> {
  const found = await findLiveRefresh(context, token)
  if (!found?.isCurrent || found.isEnrolmentDue) return INACTIVE
  const exp = Math.floor(found.expiresAt.getTime() / 1000)
  const kind = { token_type: BEARER, token_kind: 'refresh_token' }
  return { active: true, ...kind, sub: found.userId, iss: context.config.publicUrl, exp }
}

/** What an access token of ours says of itself. */
type Claims = Pick<Introspection, 'iss' | 'aud' | 'jti' | 'exp' | 'iat'>

function pickClaims(payload: Record<string, unknown>): Claims {
  const named = ['iss', 'aud', 'jti', 'exp', 'iat'].map((name) => [name, payload[name]])
  return Object.fromEntries(
    named.filter(([, value]) => typeof value === 'string' || typeof value === 'number'),
  )
}

/**
 * RFC 7009: ends what a token stands for: a user's session, a key, or a service account's access token alone. Holding it
 * is the authority; what is unknown or dead is no error.
 */
export async function revokeToken(context: Context, origin: Origin, token: string): Promise<void> {
  if (isRefreshToken(token)) return endSessionOfToken(context, origin, token)
  const principal = await verifyCredential(context, token)
  if (principal.kind === 'refused') return
  if (principal.kind === 'user') return endSessionOfBearer(context, origin, token)
  await revokePresented(context, origin, principal)
}
