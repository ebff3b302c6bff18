import { and, desc, eq, gt, isNull, lt, ne, sql } from 'drizzle-orm'
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

/** A user's live sessions, newest first, after the session `after`. */
export function listLiveSessions(
  db: Database,
  userId: string,
  now: Date,
  { limit, after }: { limit: number; after: string | null },
): Promise<SessionRow[]> {
  return db
    .select()
    .from(sessions)
    .where(and(eq(sessions.userId, userId), isLive(now), after === null ? undefined : lt(sessions.id, after)))
    .orderBy(desc(sessions.id))
    .limit(limit)
}

/**
 * Ends every session that is not over, of one user or of everybody.
 * @param except one that goes on
 * @returns how many
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

/** Ends a user's oldest live sessions of a kind beyond the newest `keep`. */
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

export type Rotation = {
  sessionId: string
  salt: Uint8Array
  /** That of the token. */
  generation: number
  /** That which is stored: the token's, unless it was signed before a restore set the counter back. */
  from: number
  now: Date
  idleExpiresAt: Date
  ip: string | null
  userAgent: string | null
}
export type RotatedSession = TokenSession & {
  /** All that the session may do; null: it is all of the user. */
  scopes: string[] | null
  user: SessionUser
}

/** The whole of a rotation, in one statement: the shown generation becomes the one before. */
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

/** Trades a generation for the next. No row: the slow path finds out why. */
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
