import type { Role } from '../../lib/model.ts'
import { ceilingOfUser, covers, scopesOfUser } from '../../lib/scopes.ts'
import { DAY_MS, MINUTE_MS, SECOND_MS } from '../../lib/time.ts'
import { makeRefreshToken, type RefreshClaims } from '../../lib/tokens.ts'
import type { Origin } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import { type Authentication, FIRST_PARTY_CLIENT } from '../signing/claims.ts'
import type { AccessToken, Tokens } from './model.ts'

/** A pair of tokens, and the scopes of the access token. */
export type Grant = { tokens: Tokens; scopes: readonly string[] }

/** What tokens say of a session: how its person proved who they are, and when it ends. */
export type TokenSession = Authentication & { expiresAt: Date }

/** The part of a user that tokens tell. */
export type SessionUser = { id: string; role: Role; scopes: readonly string[] | null }

/**
 * Signs an access token, and computes the refresh token of one generation. Neither outlives the session.
 * @param narrowing the scopes to which the access token is limited, as far as the user holds them; null: all of the
 * user's
 */
export async function issueTokens(
  context: Context,
  user: SessionUser,
  refresh: RefreshClaims,
  session: TokenSession,
  narrowing: readonly string[] | null,
): Promise<Grant> {
  const [key] = context.keys.refresh
  if (!key) throw new Error('No key to sign refresh tokens with')
  const lastsMs = context.config.accessTokenExpireMinutes * MINUTE_MS
  const { token, scopes } = await signAccess(context, user, refresh.sessionId, session, narrowing, lastsMs)
  const { access_token, ...rest } = token
  return { tokens: { access_token, refresh_token: makeRefreshToken(key, refresh), ...rest }, scopes }
}

/** A token of a browser session lasts so long. The page that holds it asks for the next one. */
const BROWSER_TOKEN_MS = 5 * MINUTE_MS

/**
 * Signs an access token of a browser session. It does not outlive the session.
 * @param session ends when its absolute end or its idle end comes
 */
export async function issueAccessToken(
  context: Context,
  user: SessionUser,
  sessionId: string,
  session: TokenSession,
): Promise<AccessToken> {
  return (await signAccess(context, user, sessionId, session, null, BROWSER_TOKEN_MS)).token
}

async function signAccess(
  context: Context,
  user: SessionUser,
  sessionId: string,
  session: TokenSession,
  narrowing: readonly string[] | null,
  lastsMs: number,
): Promise<{ token: AccessToken; scopes: readonly string[] }> {
  const now = context.clock()
  const expiresAtMs = Math.min(now + lastsMs, session.expiresAt.getTime())
  const { userScopes } = context.config
  const ceiling = ceilingOfUser(user, userScopes)
  const scopes = narrowing?.filter((scope) => covers(ceiling, scope)) ?? scopesOfUser(user, userScopes)
  const access = await context.signing.sign({
    subject: user.id,
    audience: context.config.jwtAudience,
    clientId: FIRST_PARTY_CLIENT,
    sessionId,
    // A narrowed token has no role (docs/decisions/0027). Services that verify tokens offline read the role from the
    // token, so it must not name one.
    role: narrowing === null ? user.role : 'user',
    scopes,
    isNarrowed: narrowing !== null,
    authentication: session,
    expiresAtMs,
  })
  const token: AccessToken = {
    access_token: access,
    token_type: 'bearer',
    expires_in: Math.max(0, Math.floor((expiresAtMs - now) / SECOND_MS)),
  }
  return { token, scopes }
}

/** The time at which an API session that is used now will end if it is not used again; milliseconds since the epoch. */
export const idleEnd = (context: Context, nowMs: number): number =>
  nowMs + context.config.refreshTokenExpireDays * DAY_MS

/**
 * The same of a browser session. An admin's is not remembered.
 * @param role that the user has now
 */
export function idleEndOfBrowser(context: Context, remember: boolean, role: Role, nowMs: number): number {
  const { browserSessionIdleMinutes, adminSessionIdleMinutes } = context.config
  if (role === 'admin') return nowMs + adminSessionIdleMinutes * MINUTE_MS
  return remember ? idleEnd(context, nowMs) : nowMs + browserSessionIdleMinutes * MINUTE_MS
}

const MAX_USER_AGENT_LENGTH = 255

/** The stored part of the `User-Agent` header. */
export const userAgentOf = ({ userAgent }: Origin): string | null =>
  userAgent?.slice(0, MAX_USER_AGENT_LENGTH).toWellFormed() ?? null
