import { timingSafeEqual } from 'node:crypto'
import type { Context } from '../../context.ts'
import { fail } from '../../lib/errors.ts'
import { SECOND_MS } from '../../lib/time.ts'
import { type RefreshClaims, readRefreshToken } from '../../lib/tokens.ts'
import { type Origin, onBehalfOf, recordChange } from '../audit/service.ts'
import { lockSession, rotateSession, type SessionRow, updateSessionEnded } from './queries.ts'
import { type Grant, idleEnd, issueTokens } from './tokens.ts'

const LAST_GENERATION = 0xffff_ffff

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
  const next = { ...claims, generation: claims.generation + 1 }
  return issueTokens(context, accepted.user, next, accepted.expiresAt)
}

/** What the one statement did not take: a repetition within the grace, theft, or a session that is over. */
async function acceptAgain(context: Context, origin: Origin, claims: RefreshClaims) {
  return recordChange(context, origin, async (tx, record) => {
    const now = context.clock()
    const found = await lockSession(tx, claims.sessionId)
    if (!found?.user.isActive || !isLiveFor(found.session, claims, now)) return null
    const { session, user } = found
    const isPredecessor = session.generation === claims.generation + 1
    const rotatedAgoMs = now - session.rotatedAt.getTime()
    if (isPredecessor && rotatedAgoMs <= context.config.refreshGraceSeconds * SECOND_MS) {
      return { user, expiresAt: session.expiresAt }
    }
    await updateSessionEnded(tx, session.id, new Date(now), 'refresh_token_reused')
    const target = { type: 'session' as const, id: session.id }
    const details = { user_id: user.id }
    await record(
      { action: 'session.reused', outcome: 'refused', target, details },
      onBehalfOf(origin, user.id),
    )
    return null
  })
}

/** A session that is not over, and whose own salt the token carries. */
export function isLiveFor(session: SessionRow, claims: RefreshClaims, nowMs: number): boolean {
  if (session.endedAt !== null || !timingSafeEqual(session.salt, claims.salt)) return false
  return session.idleExpiresAt.getTime() > nowMs && session.expiresAt.getTime() > nowMs
}
