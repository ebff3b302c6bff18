import { and, desc, eq, gt, isNull, lt, ne, type SQL, sql } from 'drizzle-orm'
import type { AnyPgColumn } from 'drizzle-orm/pg-core'
import type { Database, Transaction } from '../../db/database.ts'
import { preparedFor } from '../../db/prepared.ts'
import { sessions, users } from '../../db/schema.ts'
import type { SessionKind } from '../principal.ts'
import type { SessionUser, TokenSession } from './tokens.ts'

export type SessionRow = typeof sessions.$inferSelect

export async function insertSession(tx: Transaction, session: typeof sessions.$inferInsert): Promise<void> {
  await tx.insert(sessions).values(session)
}

const isLive = (now: Date) =>
  and(isNull(sessions.endedAt), gt(sessions.expiresAt, now), gt(sessions.idleExpiresAt, now))

/** A user's live sessions, newest first, without those of apps (core/grants), after the session `after`. */
export function listLiveSessions(
  db: Database,
  userId: string,
  now: Date,
  { limit, after }: { limit: number; after: string | null },
): Promise<SessionRow[]> {
  return db
    .select()
    .from(sessions)
    .where(
      and(
        eq(sessions.userId, userId),
        ne(sessions.kind, 'client'),
        isLive(now),
        after === null ? undefined : lt(sessions.id, after),
      ),
    )
    .orderBy(desc(sessions.id))
    .limit(limit)
}

/**
 * Ends the sessions that have not ended yet, of one user; null: of all users.
 * @param except a session that continues
 * @returns how many were ended
 */
export async function endSessions(
  tx: Transaction,
  userId: string | null,
  now: Date,
  reason: string,
  except?: string,
): Promise<number> {
  const ended = await tx
    .update(sessions)
    .set({ endedAt: now, endedReason: reason })
    .where(
      and(
        isNull(sessions.endedAt),
        userId === null ? undefined : eq(sessions.userId, userId),
        except === undefined ? undefined : ne(sessions.id, except),
      ),
    )
    .returning({ id: sessions.id })
  return ended.length
}

export async function updateFirstLogin(tx: Transaction, userId: string, now: Date): Promise<void> {
  await tx.update(users).set({ firstLoginAt: now }).where(eq(users.id, userId))
}

/** Whether one of a user's sessions since then was used by a browser of that name, and whether one from that network. */
export async function findKnownPlaces(
  tx: Transaction,
  userId: string,
  since: Date,
  userAgent: string | null,
  network: string,
): Promise<{ browser: boolean; network: boolean }> {
  const isSomeones = (is: SQL) => sql<boolean>`EXISTS (SELECT FROM ${sessions}
    WHERE ${sessions.userId} = ${userId} AND ${sessions.createdAt} > ${since.toISOString()} AND (${is}))`
  // Text that is no address would fail the whole log-in.
  const isWithin = (ip: AnyPgColumn) =>
    sql`CASE WHEN ${ip} ~ '^[0-9a-f:.]+$' THEN ${ip}::inet <<= ${network}::cidr END`
  const { userAgent: first, lastUserAgent: last, ip, lastIp } = sessions
  const isSame = sql`${first} IS NOT DISTINCT FROM ${userAgent} OR ${last} = ${userAgent}`
  const [row] = await tx
    .select({
      browser: isSomeones(isSame),
      network: isSomeones(sql`${isWithin(ip)} OR ${isWithin(lastIp)}`),
    })
    .from(sql`(SELECT 1) AS one`)
  return row ?? { browser: true, network: true }
}

/** Ends the oldest live sessions of one kind of a user, except the newest `keep`. */
export async function endOldestSessions(
  tx: Transaction,
  userId: string,
  kind: SessionKind,
  keep: number,
  now: Date,
): Promise<{ id: string }[]> {
  const beyond = tx
    .select({ id: sessions.id })
    .from(sessions)
    .where(and(eq(sessions.userId, userId), eq(sessions.kind, kind), isLive(now)))
    .orderBy(desc(sessions.createdAt), desc(sessions.id))
    .offset(keep)
  return tx
    .update(sessions)
    .set({ endedAt: now, endedReason: 'too_many_sessions' })
    .where(sql`${sessions.id} IN ${beyond}`)
    .returning({ id: sessions.id })
}

/** Ends the oldest live sessions of a grant, except the newest `keep`. */
export function endOldestSessionsOfGrant(
  tx: Transaction,
  grantId: string,
  keep: number,
  now: Date,
): Promise<{ id: string }[]> {
  const beyond = tx
    .select({ id: sessions.id })
    .from(sessions)
    .where(and(eq(sessions.grantId, grantId), isLive(now)))
    .orderBy(desc(sessions.createdAt), desc(sessions.id))
    .offset(keep)
  return tx
    .update(sessions)
    .set({ endedAt: now, endedReason: 'too_many_sessions' })
    .where(sql`${sessions.id} IN ${beyond}`)
    .returning({ id: sessions.id })
}

export type Rotation = {
  sessionId: string
  salt: Uint8Array
  /** The generation of the presented token. */
  generation: number
  /** The stored generation: the token's, unless the token was signed before a restore set the counter back. */
  from: number
  now: Date
  idleExpiresAt: Date
  ip: string | null
  userAgent: string | null
  kind: RefreshedKind
}
/** The kinds of session that a refresh token continues. */
export type RefreshedKind = 'api' | 'client'
export type RotatedSession = TokenSession & {
  /** The scopes to which the session is limited; null: all of the user's. */
  scopes: string[] | null
  user: SessionUser
}

/** A rotation, in one statement: the presented generation is replaced by the next one. */
const rotationOf = preparedFor((db) => {
  const given = (name: keyof Rotation, type: 'bigint' | 'timestamptz' | 'text') =>
    sql`${sql.placeholder(name)}::${sql.raw(type)}`
  return db
    .update(sessions)
    .set({
      generation: sql`${given('generation', 'bigint')} + 1`,
      rotatedAt: given('now', 'timestamptz'),
      lastIp: given('ip', 'text'),
      lastUserAgent: given('userAgent', 'text'),
      idleExpiresAt: sql`LEAST(${given('idleExpiresAt', 'timestamptz')}, ${sessions.expiresAt})`,
    })
    .from(users)
    .where(
      and(
        eq(sessions.id, sql.placeholder('sessionId')),
        eq(sessions.kind, sql.placeholder('kind')),
        eq(sessions.salt, sql.placeholder('salt')),
        eq(sessions.generation, given('from', 'bigint')),
        isNull(sessions.endedAt),
        gt(sessions.idleExpiresAt, given('now', 'timestamptz')),
        gt(sessions.expiresAt, given('now', 'timestamptz')),
        eq(users.id, sessions.userId),
        eq(users.isActive, true),
      ),
    )
    .returning({
      expiresAt: sessions.expiresAt,
      authTime: sessions.authTime,
      amr: sessions.amr,
      scopes: sessions.scopes,
      user: { id: users.id, role: users.role, scopes: users.scopes },
    })
    .prepare('latchkey_rotate_session')
})

/**
 * Replaces a generation by the next one.
 * @returns null where no row matched; `tradeSlowly` finds out why
 */
export async function rotateSession(
  db: Database | Transaction,
  rotation: Rotation,
): Promise<RotatedSession | null> {
  const { now, idleExpiresAt } = rotation
  const [row] = await rotationOf(db).execute({
    ...rotation,
    now: now.toISOString(),
    idleExpiresAt: idleExpiresAt.toISOString(),
  })
  return row ?? null
}

export async function hasUser(db: Database, userId: string): Promise<boolean> {
  return (await db.select({ id: users.id }).from(users).where(eq(users.id, userId))).length > 0
}

export async function findSession(db: Database, id: string): Promise<SessionRow | null> {
  const [session] = await db.select().from(sessions).where(eq(sessions.id, id))
  return session ?? null
}

/** A session and its whole user; null where either is gone. */
export async function findSessionWithUser(
  db: Database,
  id: string,
): Promise<{ session: SessionRow; user: typeof users.$inferSelect } | null> {
  const [row] = await db
    .select({ session: sessions, user: users })
    .from(sessions)
    .innerJoin(users, eq(users.id, sessions.userId))
    .where(eq(sessions.id, id))
  return row ?? null
}

/** Notes a use of a session that is not over. */
export async function touchSession(
  db: Database,
  id: string,
  use: Pick<SessionRow, 'rotatedAt' | 'idleExpiresAt' | 'lastIp' | 'lastUserAgent'>,
): Promise<void> {
  await db
    .update(sessions)
    .set(use)
    .where(and(eq(sessions.id, id), isNull(sessions.endedAt)))
}

/** The user of a session, as far as they decide what it does. */
export async function findSessionUser(db: Database | Transaction, id: string) {
  const { role, scopes, isActive, hasSecondFactor } = users
  const [user] = await db
    .select({ id: users.id, role, scopes, isActive, hasSecondFactor })
    .from(users)
    .where(eq(users.id, id))
  return user ?? null
}

export async function updateSalt(tx: Transaction, id: string, salt: Uint8Array): Promise<void> {
  await tx.update(sessions).set({ salt }).where(eq(sessions.id, id))
}

export async function updateSessionEnded(
  tx: Transaction,
  id: string,
  now: Date,
  reason: string,
): Promise<void> {
  await tx.update(sessions).set({ endedAt: now, endedReason: reason }).where(eq(sessions.id, id))
}
