import type { Database, Transaction } from '../../db/open.ts'
import { auditEvents } from '../../db/schema.ts'

export async function insertAuditEvent(
  db: Database | Transaction,
  event: typeof auditEvents.$inferInsert,
): Promise<void> {
  await db.insert(auditEvents).values(event)
}
