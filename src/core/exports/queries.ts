import { and, eq, exists, isNull, lte } from 'drizzle-orm'
import { runningExports } from '../../db/console.ts'
import type { Database, Transaction } from '../../db/database.ts'
import { sessions, users } from '../../db/schema.ts'

type Export = typeof runningExports.$inferSelect

/** @returns false where another export of the admin is under way */
export async function insertExport(tx: Transaction, row: Export, now: Date): Promise<boolean> {
  const inserted = await tx
    .insert(runningExports)
    .values(row)
    .onConflictDoUpdate({
      target: runningExports.adminId,
      set: { id: row.id, expiresAt: row.expiresAt },
      setWhere: lte(runningExports.expiresAt, now),
    })
    .returning({ id: runningExports.id })
  return inserted.length > 0
}

/**
 * Moves the end of an export on, as long as its admin is still an active admin and their session has not ended.
 * @returns false where the export has to stop
 */
export async function updateExportEnd(
  db: Database,
  { id, adminId, sessionId }: { id: string; adminId: string; sessionId: string },
  expiresAt: Date,
): Promise<boolean> {
  const admin = db
    .select({ id: users.id })
    .from(users)
    .where(and(eq(users.id, adminId), eq(users.role, 'admin'), eq(users.isActive, true)))
  const session = db
    .select({ id: sessions.id })
    .from(sessions)
    .where(and(eq(sessions.id, sessionId), isNull(sessions.endedAt)))
  const updated = await db
    .update(runningExports)
    .set({ expiresAt })
    .where(and(eq(runningExports.id, id), exists(admin), exists(session)))
    .returning({ id: runningExports.id })
  return updated.length > 0
}

export async function deleteExport(db: Database, id: string): Promise<void> {
  await db.delete(runningExports).where(eq(runningExports.id, id))
}
