import { lt, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { regions, usageReports } from '../../db/regions.ts'

/** Notes the id of a report. @returns false where it was noted before */
export async function insertReport(tx: Transaction, id: string, at: Date): Promise<boolean> {
  const noted = await tx
    .insert(usageReports)
    .values({ id, receivedAt: at })
    .onConflictDoNothing()
    .returning({ id: usageReports.id })
  return noted.length > 0
}

/** Notes that a region has reported. @returns whether it did so for the first time */
export async function upsertRegion(tx: Transaction, name: string, at: Date): Promise<boolean> {
  const [row] = await tx
    .insert(regions)
    .values({ name, registeredAt: at, reportedAt: at })
    .onConflictDoUpdate({ target: regions.name, set: { reportedAt: at } })
    .returning({ isNew: sql<boolean>`xmax = 0` })
  return row?.isNew ?? false
}

/** Tables of the subscription that are not copied, and why changes may be missing; the last heartbeat's time. */
