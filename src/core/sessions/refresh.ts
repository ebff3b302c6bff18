import { timingSafeEqual } from 'node:crypto'
import { fail } from '../../lib/errors.ts'
import { SECOND_MS } from '../../lib/time.ts'
import { type RefreshClaims, readRefreshToken } from '../../lib/tokens.ts'
import { type Origin, onBehalfOf } from '../audit/audit.ts'
import { countEvent } from '../audit/counted-events.ts'
import { type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import {
  findSessionUser,
  type RefreshedKind,
  type RotatedSession,
  type Rotation,
  rotateSession,
  type SessionRow,
  updateSessionEnded,
} from './queries.ts'
import { type Grant, idleEnd, issueTokens, userAgentOf } from './tokens.ts'

const LAST_GENERATION = 0xffff_ffff

/**
 * Exchanges a refresh token for the next pair of tokens. A token that was exchanged within the last
 * REFRESH_GRACE_SECONDS gives the same successor again, for a lost answer or a second tab. An older one was stolen or
 * replayed, and ends the session.
 * @param asked narrows the access token, but not the session; null: the access token carries all scopes of the session
 * @throws Problem invalid_token
 */
export async function refreshSession(
  context: Context,
  origin: Origin,
  token: string,
  asked: readonly string[] | null = null,
): Promise<Grant> {
  const { next, session } = await exchangeRefresh(context, origin, token, 'api')
  const { scopes } = session
  const narrowing = asked?.filter((scope) => scopes === null || scopes.includes(scope)) ?? scopes
  return issueTokens(context, session.user, next, session, narrowing)
}

/**
 * Exchanges a refresh token of a session of this kind, as `refreshSession` says.
 * @returns what the next refresh token is made of, and the session
 * @throws Problem invalid_token
 */
export async function exchangeRefresh(
  context: Context,
  origin: Origin,
  token: string,
  kind: RefreshedKind,
): Promise<{ next: RefreshClaims; session: RotatedSession }> {
  const claims = readRefreshToken(context.keys.refresh, token)
  const { outcome, session } = claims ? await trade(context, origin, claims, kind) : REFUSED
  context.metrics.refreshes[outcome] += 1
  if (outcome === 'refused') await recordRefused(context, origin, claims)
  if (!claims || !session) fail('invalid_token')
  return { next: { ...claims, generation: claims.generation + 1 }, session }
}

/**
 * Records a refusal; names the session where the token is genuine. A reused token is recorded with the end of its
 * session instead.
 */
function recordRefused(context: Context, origin: Origin, claims: RefreshClaims | null): Promise<void> {
  const reason = claims ? 'over' : 'unknown'
  return countEvent(context, origin, {
    action: 'session.refresh_refused',
    outcome: 'refused',
    ...(claims && { target: { type: 'session', id: claims.sessionId } }),
    details: { reason },
  })
}

/** The result for a token, and the session where it continues. */
type Trade = { outcome: keyof Context['metrics']['refreshes']; session: RotatedSession | null }

const REFUSED: Trade = { outcome: 'refused', session: null }

type Presented = RefreshClaims & { kind: RefreshedKind }

async function trade(
  context: Context,
  origin: Origin,
  claims: RefreshClaims,
  kind: RefreshedKind,
): Promise<Trade> {
  if (claims.generation >= LAST_GENERATION) return REFUSED
  const presented = { ...claims, kind }
  const session = await rotateSession(context.db, rotationOf(context, origin, presented, claims.generation))
  return session ? { outcome: 'rotated', session } : tradeSlowly(context, origin, presented)
}

function rotationOf(context: Context, origin: Origin, presented: Presented, from: number): Rotation {
  const now = context.clock()
  const idleExpiresAt = new Date(idleEnd(context, now))
  const use = { now: new Date(now), ip: origin.ip, userAgent: userAgentOf(origin) }
  return { ...presented, ...use, from, idleExpiresAt }
}

/**
 * Decides about a token that the rotation's statement did not match. There are four cases: a repetition within the
 * grace, a token that was signed before a restore set the counter back, a stolen token, and a session that has ended.
 */
async function tradeSlowly(context: Context, origin: Origin, claims: Presented): Promise<Trade> {
  const locks: Lock[] = [['sessions', claims.sessionId, 'no key update']]
  return recordChange(context, origin, null, locks, async ({ tx, held, now: at, record }) => {
    const now = at.getTime()
    const session = held.sessions.get(claims.sessionId)
    const user = session && (await findSessionUser(tx, session.userId))
    if (!session || !user?.isActive || !isLiveFor(session, claims, now)) return REFUSED
    if (session.kind !== claims.kind) return REFUSED
    if (session.generation <= claims.generation) {
      const rotated = await rotateSession(tx, rotationOf(context, origin, claims, session.generation))
      const outcome = session.generation < claims.generation ? 'restored' : 'rotated'
      return rotated ? { outcome, session: rotated } : REFUSED
    }
    const isPredecessor = session.generation === claims.generation + 1
    const rotatedAgoMs = now - session.rotatedAt.getTime()
    if (isPredecessor && rotatedAgoMs <= context.config.refreshGraceSeconds * SECOND_MS) {
      return { outcome: 'repeated', session: { ...session, user } }
    }
    await updateSessionEnded(tx, session.id, new Date(now), 'refresh_token_reused')
    const target = { type: 'session' as const, id: session.id }
    const details = { user_id: user.id }
    await record(
      { action: 'session.reused', outcome: 'refused', target, details },
      // An app presents its tokens as itself.
      claims.kind === 'client' ? origin : onBehalfOf(origin, user.id),
    )
    return { outcome: 'reused', session: null }
  })
}

/** Whether a session is live, and the token carries its salt. */
export function isLiveFor(session: SessionRow, claims: RefreshClaims, nowMs: number): boolean {
  if (session.endedAt !== null || !timingSafeEqual(session.salt, claims.salt)) return false
  return session.idleExpiresAt.getTime() > nowMs && session.expiresAt.getTime() > nowMs
}
