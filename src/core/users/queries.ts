import { and, asc, count, desc, eq, isNull, lt, type SQL, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { isOneOf } from '../../db/one-of.ts'
import { accountManagers, apiKeys, auditEvents, sessions, users } from '../../db/schema.ts'
import { beginsWith, findCandidates, hasWords } from '../../db/search.ts'
import type { Search } from '../../lib/search.ts'

export type UserRow = typeof users.$inferSelect

export async function findUserByEmail(db: Database | Transaction, email: string): Promise<UserRow | null> {
  const [user] = await db.select().from(users).where(eq(users.email, email))
  return user ?? null
}

export async function findUserById(db: Database | Transaction, id: string): Promise<UserRow | null> {
  const [user] = await db.select().from(users).where(eq(users.id, id))
  return user ?? null
}

/** How much a user has that is live, and when the audit trail last has a log-in of theirs. */
export async function findActivity(
  db: Database,
  id: string,
  now: Date,
): Promise<{ keys: number; serviceAccounts: number; sessions: number; lastLoginAt: Date | null }> {
  const at = sql`${now.toISOString()}::timestamptz`
  const lastLogin = sql`(SELECT at FROM ${auditEvents} WHERE target_id = ${id} AND action = 'user.login'
    ORDER BY at DESC LIMIT 1)`
  const [row] = await db
    .select({
      keys: sql`(SELECT count(*) FROM ${apiKeys} WHERE user_id = ${id} AND revoked_at IS NULL
        AND (expires_at IS NULL OR expires_at > ${at}))`.mapWith(Number),
      serviceAccounts: sql`(SELECT count(*) FROM ${accountManagers} WHERE user_id = ${id})`.mapWith(Number),
      sessions: sql`(SELECT count(*) FROM ${sessions} WHERE user_id = ${id} AND ended_at IS NULL
        AND expires_at > ${at} AND idle_expires_at > ${at})`.mapWith(Number),
      lastLoginAt: lastLogin.mapWith(auditEvents.at) as SQL<Date | null>,
    })
    .from(sql`(SELECT 1) AS one`)
  if (!row) throw new Error('A query without a row')
  return row
}

/** Users newest first, after the user `after`; of the users with these ids where there are any. */
export function listUsers(
  db: Database,
  { ids, limit, after }: { ids: readonly string[] | null; limit: number; after: string | null },
): Promise<UserRow[]> {
  const isNamed = ids === null ? undefined : isOneOf(users.id, ids)
  return db
    .select()
    .from(users)
    .where(and(isNamed, after === null ? undefined : lt(users.id, after)))
    .orderBy(desc(users.id))
    .limit(limit)
}

/** The users whose address, or a word of it, begins as the search says. */
export function searchUsers(db: Database, search: Search) {
  return findCandidates(db, [
    sql`SELECT id FROM ${users} WHERE ${beginsWith(users.email, search.text)}`,
    sql`SELECT id FROM ${users} WHERE ${hasWords(users.email, search)}`,
  ])
}

/** null where the address is taken. */
export async function insertUser(tx: Transaction, user: typeof users.$inferInsert): Promise<UserRow | null> {
  const [inserted] = await tx
    .insert(users)
    .values(user)
    .onConflictDoNothing({ target: users.email })
    .returning()
  return inserted ?? null
}

/** Replaces a password hash by a stronger one of the same password, unless the hash was changed meanwhile. */
export async function updatePasswordHash(db: Database, id: string, from: string, to: string): Promise<void> {
  await db
    .update(users)
    .set({ passwordHash: to })
    .where(and(eq(users.id, id), eq(users.passwordHash, from)))
}

/** Stores a new password that its user has chosen. */
export async function updatePassword(tx: Transaction, id: string, hash: string, now: Date): Promise<void> {
  await tx.update(users).set({ passwordHash: hash, passwordChangedAt: now }).where(eq(users.id, id))
}

export type UserChange = Partial<
  Pick<
    UserRow,
    | 'email'
    | 'role'
    | 'isActive'
    | 'scopes'
    | 'emailVerified'
    | 'lockedSettings'
    | 'rateLimit'
    | 'rateWindowSeconds'
  >
>

export async function updateUser(tx: Transaction, id: string, change: UserChange): Promise<void> {
  await tx.update(users).set(change).where(eq(users.id, id))
}

export async function deleteUser(tx: Transaction, id: string): Promise<void> {
  await tx.delete(users).where(eq(users.id, id))
}

/** Deletes users who signed up before then, and neither proved their address nor signed in since. */
export function deleteSignUps(
  tx: Transaction,
  before: Date,
  limit: number,
): Promise<Pick<UserRow, 'id' | 'email' | 'role'>[]> {
  const isForgotten = and(
    eq(users.isSignUp, true),
    eq(users.emailVerified, false),
    isNull(users.firstLoginAt),
    eq(users.role, 'user'),
    lt(users.createdAt, before),
  )
  const some = tx
    .select({ id: users.id })
    .from(users)
    .where(isForgotten)
    .orderBy(asc(users.id))
    .limit(limit)
    .for('update', { skipLocked: true })
  // Asked again of the row as it is now: somebody may have verified the address in the same moment.
  return tx
    .delete(users)
    .where(and(sql`${users.id} IN ${some}`, isForgotten))
    .returning({ id: users.id, email: users.email, role: users.role })
}

const isActiveAdmin = and(eq(users.role, 'admin'), eq(users.isActive, true))

export async function countActiveAdmins(db: Database | Transaction): Promise<number> {
  const [row] = await db.select({ admins: count() }).from(users).where(isActiveAdmin)
  return row?.admins ?? 0
}
