import type { Role } from '../../lib/model.ts'
import { ceilingOfUser, covers, scopesOfUser } from '../../lib/scopes.ts'
import { DAY_MS, MINUTE_MS, SECOND_MS } from '../../lib/time.ts'
import { makeRefreshToken, type RefreshClaims } from '../../lib/tokens.ts'
import type { Origin } from '../audit/audit.ts'
import type { Context } from '../context.ts'
import type { Tokens } from './model.ts'

/** A pair of tokens, and the scopes of the access token. */
export type Grant = { tokens: Tokens; scopes: readonly string[] }

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
  sessionExpiresAt: Date,
  narrowing: readonly string[] | null,
): Promise<Grant> {
  const now = context.clock()
  const lastsMs = context.config.accessTokenExpireMinutes * MINUTE_MS
  const expiresAtMs = Math.min(now + lastsMs, sessionExpiresAt.getTime())
  const [key] = context.keys.refresh
  if (!key) throw new Error('No key to sign refresh tokens with')
  const { userScopes } = context.config
  const ceiling = ceilingOfUser(user, userScopes)
  const scopes = narrowing?.filter((scope) => covers(ceiling, scope)) ?? scopesOfUser(user, userScopes)
  const access = await context.signing.sign({
    subject: user.id,
    sessionId: refresh.sessionId,
    // A narrowed token has no role (docs/decisions/0027). Services that verify tokens offline read the role from the
    // token, so it must not name one.
    role: narrowing === null ? user.role : 'user',
    scopes,
    isNarrowed: narrowing !== null,
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

/** The time at which a session that is used now will end if it is not used again; milliseconds since the epoch. */
export const idleEnd = (context: Context, nowMs: number): number =>
  nowMs + context.config.refreshTokenExpireDays * DAY_MS

const MAX_USER_AGENT_LENGTH = 255

/** The stored part of the `User-Agent` header. */
export const userAgentOf = ({ userAgent }: Origin): string | null =>
  userAgent?.slice(0, MAX_USER_AGENT_LENGTH).toWellFormed() ?? null
