import { timingSafeEqual } from 'node:crypto'
import type { Context } from '../../context.ts'
import { fail } from '../../lib/errors.ts'
import { newId } from '../../lib/ids.ts'
import { DAY_MS, MINUTE_MS, SECOND_MS } from '../../lib/time.ts'
import { makeRefreshToken, type RefreshClaims, readRefreshToken } from '../../lib/tokens.ts'
import { type Origin, onBehalfOf, type RecordEvent, recordChange } from '../audit/service.ts'
import { scopesOfUser, verifyCredential } from '../verify/service.ts'
import {
  endOldestSessions,
  insertSession,
  lockSession,
  rotateSession,
  type SessionRow,
  updateSessionEnded,
} from './queries.ts'

/** RFC 6749, section 5.1, as the seed spelled it; `expires_in` in seconds. */
export type TokenPair = {
  access_token: string
  refresh_token: string
  token_type: 'bearer'
  expires_in: number
}

/** A pair of tokens and the scopes that its access token carries. */
export type Grant = { tokens: TokenPair; scopes: readonly string[] }

type SessionUser = { id: string; role: 'admin' | 'user'; scopes: readonly string[] | null }

const MAX_LIVE_SESSIONS = 100
const MAX_USER_AGENT_LENGTH = 255
const LAST_GENERATION = 0xffff_ffff

/** A login: a new session and its first pair of tokens. Beyond a hundred live sessions the oldest ends. */
export async function startSession(context: Context, origin: Origin, user: SessionUser): Promise<Grant> {
  const now = context.clock()
  const session = { id: newId(), salt: crypto.getRandomValues(new Uint8Array(16)) }
  const expiresAt = new Date(now + context.config.sessionMaxDays * DAY_MS)
  await recordChange(context, origin, async (tx, record) => {
    await insertSession(tx, {
      ...session,
      userId: user.id,
      createdAt: new Date(now),
      rotatedAt: new Date(now),
      idleExpiresAt: new Date(Math.min(idleEnd(context, now), expiresAt.getTime())),
      expiresAt,
      ip: origin.ip,
      userAgent: origin.userAgent?.slice(0, MAX_USER_AGENT_LENGTH).toWellFormed() ?? null,
    })
    for (const ended of await endOldestSessions(tx, user.id, MAX_LIVE_SESSIONS, new Date(now))) {
      await record({
        action: 'session.ended',
        target: { type: 'session', id: ended.id },
        details: { reason: 'too_many_sessions' },
      })
    }
    await record({
      action: 'user.login',
      target: { type: 'user', id: user.id },
      details: { session_id: session.id },
    })
  })
  return issueTokens(context, user, { sessionId: session.id, generation: 0, salt: session.salt }, expiresAt)
}

/**
 * Trades a refresh token for the next pair. A token that was traded within REFRESH_GRACE_SECONDS gives the same
 * successor again (a lost answer, two tabs); an older one is theft and ends the session.
 * @throws Problem invalid_token
 */
export async function refreshSession(context: Context, origin: Origin, token: string): Promise<Grant> {
  const claims = readRefreshToken(context.keys.refresh, token)
  if (!claims || claims.generation >= LAST_GENERATION) fail('invalid_token')
  const now = context.clock()
  const idleExpiresAt = new Date(idleEnd(context, now))
  const rotated = await rotateSession(context.db, { ...claims, now: new Date(now), idleExpiresAt })
  const accepted = rotated ?? (await acceptAgain(context, origin, claims))
  if (!accepted) fail('invalid_token')
  return issueTokens(
    context,
    accepted.user,
    { ...claims, generation: claims.generation + 1 },
    accepted.expiresAt,
  )
}

/** What the one statement did not take: a repetition within the grace, theft, or a session that is over. */
async function acceptAgain(context: Context, origin: Origin, claims: RefreshClaims) {
  return recordChange(context, origin, async (tx, record) => {
    const now = context.clock()
    const found = await lockSession(tx, claims.sessionId)
    if (!found?.user.isActive || !isLive(found.session, claims, now)) return null
    const { session, user } = found
    const isPredecessor = session.generation === claims.generation + 1
    if (
      isPredecessor &&
      now - session.rotatedAt.getTime() <= context.config.refreshGraceSeconds * SECOND_MS
    ) {
      return { user, expiresAt: session.expiresAt }
    }
    await updateSessionEnded(tx, session.id, new Date(now), 'refresh_token_reused')
    await record(
      {
        action: 'session.reused',
        outcome: 'refused',
        target: { type: 'session', id: session.id },
        details: { user_id: user.id },
      },
      onBehalfOf(origin, user.id),
    )
    return null
  })
}

/** Ends the session that a refresh token of any genuine generation belongs to; anything else changes nothing. */
export async function endSessionOfToken(context: Context, origin: Origin, token: string): Promise<void> {
  const claims = readRefreshToken(context.keys.refresh, token)
  if (!claims) return
  await recordChange(context, origin, async (tx, record) => {
    const found = await lockSession(tx, claims.sessionId)
    if (found && isLive(found.session, claims, context.clock()))
      await end(context, tx, record, origin, found.session)
  })
}

/** Ends the session of an access token; whatever is no live access token of a user changes nothing. */
export async function endSessionOfBearer(
  context: Context,
  origin: Origin,
  token: string | null,
): Promise<void> {
  const principal = token === null ? null : await verifyCredential(context, token)
  if (principal?.kind !== 'user') return
  await recordChange(context, origin, async (tx, record) => {
    const found = await lockSession(tx, principal.sessionId)
    if (found && found.session.endedAt === null) await end(context, tx, record, origin, found.session)
  })
}

async function end(
  context: Context,
  tx: Parameters<typeof updateSessionEnded>[0],
  record: RecordEvent,
  origin: Origin,
  session: SessionRow,
) {
  await updateSessionEnded(tx, session.id, new Date(context.clock()), 'logout')
  await record(
    {
      action: 'session.ended',
      target: { type: 'session', id: session.id },
      details: { reason: 'logout', user_id: session.userId },
    },
    onBehalfOf(origin, session.userId),
  )
}

/** A session that is not over, and whose own salt the token carries. */
function isLive(session: SessionRow, claims: RefreshClaims, nowMs: number): boolean {
  if (session.endedAt !== null || !timingSafeEqual(session.salt, claims.salt)) return false
  return session.idleExpiresAt.getTime() > nowMs && session.expiresAt.getTime() > nowMs
}

async function issueTokens(
  context: Context,
  user: SessionUser,
  refresh: RefreshClaims,
  sessionExpiresAt: Date,
): Promise<Grant> {
  const now = context.clock()
  const expiresAtMs = Math.min(
    now + context.config.accessTokenExpireMinutes * MINUTE_MS,
    sessionExpiresAt.getTime(),
  )
  const [key] = context.keys.refresh
  if (!key) throw new Error('No key to sign refresh tokens with')
  const scopes = scopesOfUser(user, context)
  const token = { subject: user.id, sessionId: refresh.sessionId, role: user.role, scopes, expiresAtMs }
  const tokens = {
    access_token: await context.signing.sign(token),
    refresh_token: makeRefreshToken(key, refresh),
    token_type: 'bearer' as const,
    expires_in: Math.max(0, Math.floor((expiresAtMs - now) / SECOND_MS)),
  }
  return { tokens, scopes }
}

const idleEnd = (context: Context, nowMs: number): number =>
  nowMs + context.config.refreshTokenExpireDays * DAY_MS
