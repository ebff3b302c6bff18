import { eq } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { portalSessions } from '../../db/portal.ts'

export type PortalSessionRow = typeof portalSessions.$inferSelect

export async function insertPortalSession(
  tx: Transaction,
  session: typeof portalSessions.$inferInsert,
): Promise<void> {
  await tx.insert(portalSessions).values(session)
}

export async function findPortalSession(db: Database, id: string): Promise<PortalSessionRow | null> {
  const [session] = await db.select().from(portalSessions).where(eq(portalSessions.id, id))
  return session ?? null
}

/** Gives a session its bearer, which uses its link up. The caller has locked the row. */
export async function updateBearer(tx: Transaction, id: string, bearerHash: Uint8Array): Promise<void> {
  await tx.update(portalSessions).set({ bearerHash }).where(eq(portalSessions.id, id))
}

export async function updateEnded(tx: Transaction, id: string, endedAt: Date): Promise<void> {
  await tx.update(portalSessions).set({ endedAt }).where(eq(portalSessions.id, id))
}
