import { and, asc, count, eq } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/open.ts'
import { users } from '../../db/schema.ts'

export type UserRow = typeof users.$inferSelect

export async function findUserByEmail(db: Database | Transaction, email: string): Promise<UserRow | null> {
  const [user] = await db.select().from(users).where(eq(users.email, email))
  return user ?? null
}

export async function findUserById(db: Database | Transaction, id: string): Promise<UserRow | null> {
  const [user] = await db.select().from(users).where(eq(users.id, id))
  return user ?? null
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

export async function updatePasswordHash(
  db: Database | Transaction,
  id: string,
  from: string,
  to: string,
): Promise<void> {
  await db
    .update(users)
    .set({ passwordHash: to })
    .where(and(eq(users.id, id), eq(users.passwordHash, from)))
}

export async function updateRole(tx: Transaction, id: string, role: UserRow['role']): Promise<void> {
  await tx.update(users).set({ role }).where(eq(users.id, id))
}

/** The active admins, locked in one order, so that two admins who act on each other wait instead of both winning. */
export async function lockActiveAdmins(tx: Transaction): Promise<{ id: string }[]> {
  return tx
    .select({ id: users.id })
    .from(users)
    .where(and(eq(users.role, 'admin'), eq(users.isActive, true)))
    .orderBy(asc(users.id))
    .for('update')
}

export async function countActiveAdmins(db: Database | Transaction): Promise<number> {
  const [row] = await db
    .select({ admins: count() })
    .from(users)
    .where(and(eq(users.role, 'admin'), eq(users.isActive, true)))
  return row?.admins ?? 0
}
