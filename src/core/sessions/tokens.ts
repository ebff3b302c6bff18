import type { Role } from '../../lib/model.ts'
import { ceilingOfUser, covers, scopesOfUser } from '../../lib/scopes.ts'
import { DAY_MS, MINUTE_MS, SECOND_MS } from '../../lib/time.ts'
import { makeRefreshToken, type RefreshClaims } from '../../lib/tokens.ts'
import type { Origin } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import type { Authentication } from '../signing/claims.ts'
import type { Tokens } from './model.ts'

/** A pair of tokens and the scopes that its access token carries. */
export type Grant = { tokens: Tokens; scopes: readonly string[] }

/** What tokens say of a session: how its person proved who they are, and when it ends. */
export type TokenSession = Authentication & { expiresAt: Date }

/** What tokens say of a user. */
export type SessionUser = { id: string; role: Role; scopes: readonly string[] | null }

/**
 * Signs an access token, and computes the refresh token of one generation. Neither outlives the session.
 * @param narrowing the scopes that the access token is limited to, as far as the user holds them; null: it is all of the
 * user
 */
export async function issueTokens(
  context: Context,
  user: SessionUser,
  refresh: RefreshClaims,
  session: TokenSession,
  narrowing: readonly string[] | null,
): Promise<Grant> {
  const now = context.clock()
  const lastsMs = context.config.accessTokenExpireMinutes * MINUTE_MS
  const expiresAtMs = Math.min(now + lastsMs, session.expiresAt.getTime())
  const [key] = context.keys.refresh
  if (!key) throw new Error('No key to sign refresh tokens with')
  const { userScopes } = context.config
  const ceiling = ceilingOfUser(user, userScopes)
  const scopes = narrowing?.filter((scope) => covers(ceiling, scope)) ?? scopesOfUser(user, userScopes)
  const access = await context.signing.sign({
    subject: user.id,
    sessionId: refresh.sessionId,
    // A narrowed token has nothing of the role, and does not name it to services that verify by themselves.
    role: narrowing === null ? user.role : 'user',
    scopes,
    isNarrowed: narrowing !== null,
    authentication: session,
    expiresAtMs,
  })
  const tokens: Tokens = {
    access_token: access,
    refresh_token: makeRefreshToken(key, refresh),
    token_type: 'bearer',
    expires_in: Math.max(0, Math.floor((expiresAtMs - now) / SECOND_MS)),
  }
  return { tokens, scopes }
}

/** When an API session that is used now would end by being left alone; milliseconds. */
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

/** What is kept of the name that a browser or another client gives itself. */
export const userAgentOf = ({ userAgent }: Origin): string | null =>
  userAgent?.slice(0, MAX_USER_AGENT_LENGTH).toWellFormed() ?? null
