import { timingSafeEqual } from 'node:crypto'
import { DAY_MS, MINUTE_MS, SECOND_MS } from '../../lib/time.ts'
import { type CookieClaims, makeCookieToken, readCookieToken } from '../../lib/tokens.ts'
import { type Origin, onBehalfOf } from '../audit/audit.ts'
import { recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import type { UserRow } from '../users/accounts.ts'
import { findSessionWithUser, type SessionRow, touchSession, updateSessionEnded } from './queries.ts'
import { userAgentOf } from './tokens.ts'

/** A browser session that is live, and whose it is. */
export type BrowserSession = { session: SessionRow; user: UserRow }

/** A use is written at most so often. */
const TOUCH_AFTER_MS = MINUTE_MS

/**
 * When a browser session that is used at `usedAtMs` ends by being left alone. An admin's ends early, and cannot be
 * remembered: the role counts as it is now. (people.md, section 2, rules 4 and 6)
 */
function idleEndOf(
  { config }: Pick<Context, 'config'>,
  user: Pick<UserRow, 'role'>,
  remember: boolean,
  usedAtMs: number,
): number {
  if (user.role === 'admin') return usedAtMs + config.adminSessionIdleMinutes * MINUTE_MS
  if (remember) return usedAtMs + config.refreshTokenExpireDays * DAY_MS
  return usedAtMs + config.browserSessionIdleMinutes * MINUTE_MS
}

/**
 * Whose cookie this is; null where it is forged, or its session is over. A use is written, at most once a minute.
 * @param value of the cookie, as presented
 */
export async function findBrowserSession(
  context: Context,
  origin: Origin,
  value: string | null,
): Promise<BrowserSession | null> {
  const claims = value === null ? null : readCookieToken(context.keys.cookie, value)
  const found = claims && (await findSessionWithUser(context.db, claims.sessionId))
  if (!claims || !found || !isLive(context, found, claims)) return null
  const { session, user } = found
  const now = context.clock()
  if (now - session.rotatedAt.getTime() >= TOUCH_AFTER_MS) {
    const idleExpiresAt = Math.min(
      idleEndOf(context, user, session.remember, now),
      session.expiresAt.getTime(),
    )
    await touchSession(context.db, session.id, {
      rotatedAt: new Date(now),
      idleExpiresAt: new Date(idleExpiresAt),
      lastIp: origin.ip,
      lastUserAgent: userAgentOf(origin),
    })
  }
  return found
}

function isLive(context: Context, { session, user }: BrowserSession, { salt }: CookieClaims): boolean {
  const now = context.clock()
  return (
    session.kind === 'browser' &&
    session.endedAt === null &&
    user.isActive &&
    timingSafeEqual(session.salt, salt) &&
    session.expiresAt.getTime() > now &&
    idleEndOf(context, user, session.remember, session.rotatedAt.getTime()) > now
  )
}

/** A cookie of a session; `maxAgeSeconds` as `formatCookie` takes it. */
export type SessionCookie = { value: string; maxAgeSeconds: number | null }

/** The cookie of a browser session. It changes only with the session's salt. */
export function makeSessionCookie(
  context: Context,
  session: CookieClaims & { expiresAt: Date; remember: boolean },
): SessionCookie {
  const [key] = context.keys.cookie
  if (!key) throw new Error('No key to sign cookies with')
  const leftSeconds = Math.floor((session.expiresAt.getTime() - context.clock()) / SECOND_MS)
  return {
    value: makeCookieToken(key, session),
    maxAgeSeconds: session.remember ? Math.max(0, leftSeconds) : null,
  }
}

/** Ends the session of a cookie; a cookie that is forged or over changes nothing. */
export async function endBrowserSession(
  context: Context,
  origin: Origin,
  value: string | null,
): Promise<void> {
  const claims = value === null ? null : readCookieToken(context.keys.cookie, value)
  if (!claims) return
  const { sessionId, salt } = claims
  await recordChange(
    context,
    origin,
    null,
    [['sessions', sessionId, 'no key update']],
    async ({ tx, held, now, record }) => {
      const session = held.sessions.get(sessionId)
      if (!session || session.endedAt !== null || !timingSafeEqual(session.salt, salt)) return
      await updateSessionEnded(tx, sessionId, now, 'logout')
      const details = { reason: 'logout', user_id: session.userId }
      const target = { type: 'session' as const, id: sessionId }
      await record({ action: 'session.ended', target, details }, onBehalfOf(origin, session.userId))
    },
  )
}
