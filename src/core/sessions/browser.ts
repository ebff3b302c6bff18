import { timingSafeEqual } from 'node:crypto'
import { MINUTE_MS, SECOND_MS } from '../../lib/time.ts'
import { type CookieClaims, makeCookieToken, readCookieToken } from '../../lib/tokens.ts'
import { type Origin, onBehalfOf } from '../audit/audit.ts'
import { recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import type { UserPrincipal } from '../principal.ts'
import { FIRST_PARTY_CLIENT } from '../signing/claims.ts'
import type { UserRow } from '../users/accounts.ts'
import { decideSession, NO_CLIENT } from '../verify/decide-session.ts'
import type { AccessToken } from './model.ts'
import { findSessionWithUser, type SessionRow, touchSession, updateSessionEnded } from './queries.ts'
import { idleEndOfBrowser, issueAccessToken, userAgentOf } from './tokens.ts'

/** A browser session that is live, and whose it is. */
export type BrowserSession = { session: SessionRow; user: UserRow; principal: UserPrincipal }

/** A use is written at most so often. */
const TOUCH_AFTER_MS = MINUTE_MS

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
  const principal = principalOf(context, found)
  if (!principal) return null
  const { user } = found
  const session = await noteUse(context, origin, found)
  return { session, user, principal }
}

type Found = { session: SessionRow; user: UserRow }

function isLive(context: Context, { session, user }: Found, { salt }: CookieClaims): boolean {
  const { kind, remember, rotatedAt, idleExpiresAt } = session
  // The end of the role as it is now, since the stored one may be from before the user became an admin; and the stored
  // one, since a session of an admin that is over must not begin again when the admin becomes a user.
  const idleEndMs = Math.min(
    idleEndOfBrowser(context, remember, user.role, rotatedAt.getTime()),
    idleExpiresAt.getTime(),
  )
  return kind === 'browser' && timingSafeEqual(session.salt, salt) && idleEndMs > context.clock()
}

/**
 * The session as a caller, decided as for an access token that lasts as long as the session; null where the session or
 * the user is over.
 */
function principalOf(context: Context, { session, user }: Found): UserPrincipal | null {
  const claims = {
    tokenId: session.id,
    subject: user.id,
    sessionId: session.id,
    isOfKey: false,
    audience: context.config.jwtAudience,
    clientId: FIRST_PARTY_CLIENT,
    isNarrowed: false,
    scopes: [],
    expiresAtMs: session.expiresAt.getTime(),
    keyId: null,
  }
  const decided = decideSession(context, claims, { ...session, ...NO_CLIENT, user, signingKey: null })
  if (!('principal' in decided) || decided.principal.kind !== 'user') return null
  return { ...decided.principal, cookieSalt: session.salt }
}

/** The session, with this use written where the last one that is written is a minute old. */
async function noteUse(context: Context, origin: Origin, { session, user }: Found): Promise<SessionRow> {
  const now = context.clock()
  if (now - session.rotatedAt.getTime() < TOUCH_AFTER_MS) return session
  const idleEndMs = idleEndOfBrowser(context, session.remember, user.role, now)
  const use = {
    rotatedAt: new Date(now),
    idleExpiresAt: new Date(Math.min(idleEndMs, session.expiresAt.getTime())),
    lastIp: origin.ip,
    lastUserAgent: userAgentOf(origin),
  }
  await touchSession(context.db, session.id, use)
  return { ...session, ...use }
}

/** An access token of a browser session, for five minutes. */
export function issueBrowserToken(
  context: Context,
  { session, user }: Pick<BrowserSession, 'session' | 'user'>,
): Promise<AccessToken> {
  return issueAccessToken(context, user, session.id, { ...session, expiresAt: session.idleExpiresAt })
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
