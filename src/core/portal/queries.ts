import { and, eq, gt, isNull, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { portalSessions } from '../../db/portal.ts'
import { apiKeys } from '../../db/schema.ts'
import type { Owner } from '../owners.ts'

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

/** Ends the sessions that the keys of a manager made for an account, of those that are not over. */
export function updateEndedOfManager(
  tx: Transaction,
  accountId: string,
  { type, id }: Owner,
  endedAt: Date,
): Promise<Pick<PortalSessionRow, 'id' | 'madeByKey'>[]> {
  const owner = type === 'user' ? apiKeys.userId : apiKeys.serviceAccountId
  const keys = tx.select({ id: apiKeys.id }).from(apiKeys).where(eq(owner, id))
  const isLive = and(isNull(portalSessions.endedAt), gt(portalSessions.expiresAt, endedAt))
  return tx
    .update(portalSessions)
    .set({ endedAt })
    .where(
      and(
        eq(portalSessions.serviceAccountId, accountId),
        isLive,
        sql`${portalSessions.madeByKey} IN ${keys}`,
      ),
    )
    .returning({ id: portalSessions.id, madeByKey: portalSessions.madeByKey })
}
