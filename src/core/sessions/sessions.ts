import { timingSafeEqual } from 'node:crypto'
import type { Transaction } from '../../db/database.ts'
import { fail } from '../../lib/errors.ts'
import { isId, newId } from '../../lib/ids.ts'
import { type Page, type PageQuery, readPage } from '../../lib/page.ts'
import { DAY_MS } from '../../lib/time.ts'
import { type RefreshClaims, readRefreshToken } from '../../lib/tokens.ts'
import { actorOf, type Origin, onBehalfOf, SYSTEM } from '../audit/audit.ts'
import { requirePowerOver } from '../change/power.ts'
import { type Caller, type Change, type Lock, recordChange } from '../change/record-change.ts'
import type { Context } from '../context.ts'
import {
  type ClientPrincipal,
  type LogInKind,
  OPERATOR,
  type Principal,
  type SessionKind,
  type UserPrincipal,
} from '../principal.ts'
import { isEnrolmentDue } from '../second-factors/enrolment.ts'
import { endPendingSteps } from '../second-factors/pending-steps.ts'
import { verifyCredential } from '../verify/verify-credential.ts'
import type { Session } from './model.ts'
import {
  endOldestSessions,
  endOldestSessionsOfGrant,
  endSessions,
  findSession,
  findSessionUser,
  hasUser,
  insertSession,
  listLiveSessions,
  type SessionRow,
  updateSalt,
  updateSessionEnded,
} from './queries.ts'
import { isLiveFor } from './refresh.ts'
import { idleEnd, idleEndOfBrowser, type SessionUser, type TokenSession, userAgentOf } from './tokens.ts'

export { hasUser, updateSessionEnded } from './queries.ts'
export { exchangeRefresh, refreshSession } from './refresh.ts'
export { type Grant, issueTokens } from './tokens.ts'

/** Of each kind. */
const MAX_LIVE_SESSIONS = 100

/** What a new session is. */
export type NewSession = {
  kind: LogInKind
  /** How its person proved who they are (RFC 8176), sorted. */
  amr: readonly string[]
  /** When they did; now, unless it continues another session. */
  authTime?: Date
  /** All that it may do; null: it is all of the user. */
  scopes: readonly string[] | null
  /** Of a browser session: whether the cookie outlives the browser's window. An admin's never does. */
  remember?: boolean
}

/** A session that has just begun: what its credential is computed from, and what its tokens say. */
export type OpenedSession = RefreshClaims & TokenSession & { remember: boolean }

const newSalt = () => crypto.getRandomValues(new Uint8Array(16))

/** A session in the form in which the API answers its user. */
export function presentSession(session: SessionRow, currentId: string | null): Session {
  // The counter of refreshes stays 0 in a browser session.
  const isUsed = session.generation > 0 || session.rotatedAt > session.createdAt
  return {
    id: session.id,
    kind: session.kind,
    auth_time: session.authTime.toISOString(),
    amr: session.amr,
    created_at: session.createdAt.toISOString(),
    last_used_at: session.rotatedAt.toISOString(),
    expires_at: session.idleExpiresAt.toISOString(),
    ip: isUsed ? session.lastIp : session.ip,
    user_agent: isUsed ? session.lastUserAgent : session.userAgent,
    login_ip: session.ip,
    login_user_agent: session.userAgent,
    current: session.id === currentId,
  }
}

/**
 * Begins a session of either kind, as part of a log-in that has locked its user's row; the credential is made after COMMIT.
 * Beyond a hundred live sessions of the kind the oldest ends.
 */
export async function openSession(
  context: Context,
  { tx, now, record }: Pick<Change<Caller>, 'tx' | 'now' | 'record'>,
  origin: Origin,
  user: Pick<SessionUser, 'id' | 'role'>,
  { kind, amr, authTime = now, scopes, remember: isWanted = false }: NewSession,
): Promise<OpenedSession> {
  const remember = isWanted && user.role !== 'admin'
  const nowMs = now.getTime()
  const id = newId()
  const salt = newSalt()
  const expiresAt = new Date(nowMs + context.config.sessionMaxDays * DAY_MS)
  const idleEndMs =
    kind === 'browser' ? idleEndOfBrowser(context, remember, user.role, nowMs) : idleEnd(context, nowMs)
  await insertSession(tx, {
    id,
    kind,
    salt,
    userId: user.id,
    authTime,
    amr: [...amr],
    remember,
    createdAt: now,
    rotatedAt: now,
    idleExpiresAt: new Date(Math.min(idleEndMs, expiresAt.getTime())),
    expiresAt,
    ip: origin.ip,
    userAgent: userAgentOf(origin),
    scopes: scopes && [...scopes],
  })
  const ended = await endOldestSessions(tx, user.id, kind, MAX_LIVE_SESSIONS, now)
  await record([
    ...ended.map((session) => sessionEnded(session.id, { reason: 'too_many_sessions', user_id: user.id })),
    { action: 'user.login', target: { type: 'user', id: user.id }, details: { session_id: id } },
  ])
  return { sessionId: id, generation: 0, salt, expiresAt, authTime, amr, remember }
}

/** What an app's session is: what the person allowed, and how they had proved who they are. */
export type NewClientSession = {
  id: string
  salt: Uint8Array
  userId: string
  grantId: string
  /** null: all that the person has. */
  scopes: readonly string[] | null
  identityScopes: readonly string[]
  authTime: Date
  amr: readonly string[]
  /** When it ends unless it is used; null: as sessions of the API do. */
  idleExpiresAt: Date | null
}

/**
 * Begins an app's session, as part of a change that has locked its person and its grant. Beyond a hundred live sessions of
 * the grant the oldest ends.
 * @returns when it ends at the latest
 */
export async function openClientSession(
  context: Context,
  { tx, now, record }: Pick<Change<Caller>, 'tx' | 'now' | 'record'>,
  origin: Origin,
  { scopes, identityScopes, amr, idleExpiresAt, ...session }: NewClientSession,
): Promise<Date> {
  const expiresAt = new Date(now.getTime() + context.config.clientSessionMaxDays * DAY_MS)
  const idleEndMs = idleExpiresAt?.getTime() ?? idleEnd(context, now.getTime())
  await insertSession(tx, {
    ...session,
    kind: 'client',
    amr: [...amr],
    scopes: scopes && [...scopes],
    identityScopes: [...identityScopes],
    createdAt: now,
    rotatedAt: now,
    idleExpiresAt: new Date(Math.min(idleEndMs, expiresAt.getTime())),
    expiresAt,
    ip: origin.ip,
    userAgent: userAgentOf(origin),
  })
  const ended = await endOldestSessionsOfGrant(tx, session.grantId, MAX_LIVE_SESSIONS, now)
  const details = { reason: 'too_many_sessions', user_id: session.userId }
  await record(ended.map(({ id }) => sessionEnded(id, details)))
  return expiresAt
}

/** A page of a user's live sessions, newest first. */
export async function listSessions(
  context: Context,
  userId: string,
  page: PageQuery,
): Promise<Page<SessionRow>> {
  return readPage(context.keys.cursor, `sessions ${userId}`, page, (rows) =>
    listLiveSessions(context.db, userId, new Date(context.clock()), rows),
  )
}

/**
 * A page of the live sessions of any user.
 * @throws Problem not_found
 */
export async function listSessionsOfUser(
  context: Context,
  userId: string,
  page: PageQuery,
): Promise<Page<SessionRow>> {
  if (!isId(userId) || !(await hasUser(context.db, userId))) fail('not_found')
  return listSessions(context, userId, page)
}

/**
 * Ends one of the caller's sessions; again: the same answer.
 * @throws Problem not_found where the session does not exist or is another user's
 */
export async function endOwnSession(
  context: Context,
  origin: Origin,
  caller: UserPrincipal,
  id: string,
): Promise<void> {
  const session = isId(id) ? await findSession(context.db, id) : null
  if (session?.userId !== caller.userId) fail('not_found')
  await endSession(context, origin, caller, session.id, 'ended')
}

/**
 * Ends a session of another user; again: the same answer.
 * @throws Problem not_found where that user has no such session, forbidden where the user is an admin and the caller is not
 */
export async function endSessionOfUser(
  context: Context,
  origin: Origin,
  caller: Principal,
  userId: string,
  id: string,
): Promise<void> {
  if (!isId(userId) || !isId(id)) fail('not_found')
  const locks: Lock[] = [
    ['users', userId, 'no key update'],
    ['sessions', id, 'no key update'],
  ]
  await recordChange(context, origin, caller, locks, async ({ tx, held, now, record, caller }) => {
    const user = held.users.get(userId) ?? fail('not_found')
    const session = held.sessions.get(id)
    if (session?.userId !== userId) fail('not_found')
    requirePowerOver(caller, user.role)
    if (session.endedAt !== null) return
    await updateSessionEnded(tx, id, now, 'admin_logout')
    await record(sessionEnded(id, { reason: 'admin_logout', user_id: userId }))
  })
}

/** Ends the session that a refresh token of any genuine generation belongs to; anything else changes nothing. */
export async function endSessionOfToken(context: Context, origin: Origin, token: string): Promise<void> {
  const claims = readRefreshToken(context.keys.refresh, token)
  if (claims) await endSession(context, origin, null, claims.sessionId, 'logout', claims)
}

/**
 * Logs a person out, by a refresh token or an access token of their own. An app's session goes on: it ends with its grant, or
 * where the app revokes its token.
 */
export async function logOut(
  context: Context,
  origin: Origin,
  tokens: { refresh: string | null; bearer: string | null },
): Promise<void> {
  if (tokens.refresh !== null) {
    const session = await findSessionOfRefresh(context, tokens.refresh)
    if (session && session.kind !== 'client') await endSessionOfToken(context, origin, tokens.refresh)
    return
  }
  const principal = tokens.bearer === null ? null : await verifyCredential(context, tokens.bearer)
  if (principal?.kind === 'user' && principal.client === null)
    await endSession(context, origin, null, principal.sessionId, 'logout')
}

/** The session of a genuine refresh token of any generation, whether or not it is over; null for any other text. */
export async function findSessionOfRefresh(context: Context, token: string): Promise<SessionRow | null> {
  const claims = readRefreshToken(context.keys.refresh, token)
  const session = claims && (await findSession(context.db, claims.sessionId))
  return session && claims && timingSafeEqual(session.salt, claims.salt) ? session : null
}

/** A refresh token of a live session. `scopes` are those to which the session is limited; null: all of the user's. */
type LiveRefresh = {
  sessionId: string
  kind: SessionKind
  userId: string
  expiresAt: Date
  isCurrent: boolean
  scopes: readonly string[] | null
  isEnrolmentDue: boolean
}

/**
 * The user of a genuine refresh token, and whether the token is of the present generation; null where its session has
 * ended.
 */
export async function findLiveRefresh(context: Context, token: string): Promise<LiveRefresh | null> {
  const claims = readRefreshToken(context.keys.refresh, token)
  const session = claims ? await findSession(context.db, claims.sessionId) : null
  if (!claims || !session || !isLiveFor(session, claims, context.clock())) return null
  const user = await findSessionUser(context.db, session.userId)
  if (!user?.isActive) return null
  const isCurrent = session.generation === claims.generation
  return {
    sessionId: session.id,
    kind: session.kind,
    userId: session.userId,
    expiresAt: session.idleExpiresAt,
    isCurrent,
    scopes: session.scopes,
    isEnrolmentDue: isEnrolmentDue(context.config, user),
  }
}

/** Ends the session of an access token. A token that is not a live access token of a user changes nothing. */
export async function endSessionOfBearer(
  context: Context,
  origin: Origin,
  token: string | null,
): Promise<void> {
  const principal = token === null ? null : await verifyCredential(context, token)
  if (principal?.kind === 'user') await endSession(context, origin, null, principal.sessionId, 'logout')
}

/** Ends the session of an app, by its access token. */
export async function endSessionOfApp(context: Context, origin: Origin, app: ClientPrincipal): Promise<void> {
  const by = origin.actor.type === 'anonymous' ? { ...origin, actor: actorOf(app) } : origin
  await endSession(context, by, null, app.sessionId, 'logout')
}

/**
 * Ends every session of a user, for the user or for an admin. The user's keys stay valid.
 * @throws Problem not_found, forbidden where the user is an admin and the caller is not
 */
export async function logOutEverywhere(
  context: Context,
  origin: Origin,
  caller: Principal,
  userId: string,
): Promise<void> {
  if (!isId(userId)) fail('not_found')
  // A log-in that is under way waits for the lock on the user, so it cannot start a session that would be missed here.
  const locks: Lock[] = [
    ['users', userId, 'no key update'],
    ['sessionsOfUser', userId, 'no key update'],
  ]
  await recordChange(context, origin, caller, locks, async ({ tx, held, now, record, caller }) => {
    const user = held.users.get(userId) ?? fail('not_found')
    const isOwn = caller.kind === 'user' && caller.userId === userId
    if (!isOwn) requirePowerOver(caller, user.role)
    const reason = isOwn ? 'logout_all' : 'admin_logout'
    const ended = await endSessionsOfUser(tx, userId, now, reason)
    const target = { type: 'user' as const, id: userId }
    await record({ action: 'session.ended', target, details: { reason, sessions: ended } })
  })
}

/**
 * Ends every session of a user, and the pending second steps of log-ins, as part of another change, whose own audit row
 * names the user.
 * @returns how many sessions
 */
export async function endSessionsOfUser(
  tx: Transaction,
  userId: string,
  now: Date,
  reason: string,
): Promise<number> {
  const ended = await endSessions(tx, userId, now, reason)
  await endPendingSteps(tx, userId)
  return ended
}

/** The same, but for one session, which goes on. */
export async function endOtherSessionsOfUser(
  tx: Transaction,
  userId: string,
  sessionId: string,
  now: Date,
  reason: string,
): Promise<number> {
  const ended = await endSessions(tx, userId, now, reason, sessionId)
  await endPendingSteps(tx, userId)
  return ended
}

/**
 * Gives a browser session another salt as part of another change that has locked it: the cookie from before is void.
 * @returns the salt
 */
export async function replaceSalt(tx: Transaction, sessionId: string): Promise<Uint8Array> {
  const salt = newSalt()
  await updateSalt(tx, sessionId, salt)
  return salt
}

/** Ends every session of all users, for use after a restore from a backup or a theft of the database. */
export async function endEverySession(context: Context, origin: Origin = SYSTEM): Promise<{ ended: number }> {
  const ended = await recordChange(context, origin, OPERATOR, [], async ({ tx, now, record }) => {
    const count = await endSessions(tx, null, now, 'ended_all')
    await endPendingSteps(tx, null)
    await record({ action: 'session.ended', details: { reason: 'ended_all', sessions: count } })
    return count
  })
  context.cache.flush()
  return { ended }
}

/** Ends a live session. With `claims`, only where the token carries the session's salt. */
async function endSession(
  context: Context,
  origin: Origin,
  caller: UserPrincipal | null,
  sessionId: string,
  reason: string,
  claims?: RefreshClaims,
): Promise<void> {
  const locks: Lock[] = [
    ...(caller ? [['users', caller.userId, 'no key update'] as const] : []),
    ['sessions', sessionId, 'no key update'],
  ]
  await recordChange(context, origin, caller, locks, async ({ tx, held, now, record }) => {
    const session = held.sessions.get(sessionId)
    if (!session || session.endedAt !== null || (claims && !isLiveFor(session, claims, now.getTime()))) return
    await updateSessionEnded(tx, session.id, now, reason)
    const byUser = origin.actor.type === 'anonymous' ? onBehalfOf(origin, session.userId) : origin
    await record(sessionEnded(session.id, { reason, user_id: session.userId }), byUser)
  })
}

function sessionEnded(id: string, details: Record<string, unknown>) {
  return { action: 'session.ended' as const, target: { type: 'session' as const, id }, details }
}
