import { and, desc, eq, gte, inArray, lt, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { auditEvents } from '../../db/schema.ts'

export type AuditRow = typeof auditEvents.$inferSelect

/** In one statement with one parameter, however many there are: a statement takes 65,534 parameters. */
export async function insertAuditEvents(
  db: Database | Transaction,
  events: readonly (typeof auditEvents.$inferInsert)[],
): Promise<void> {
  const rows = JSON.stringify(
    events.map((event) => ({
      id: event.id,
      at: event.at.toISOString(),
      action: event.action,
      outcome: event.outcome,
      actor_type: event.actorType,
      actor_id: event.actorId,
      target_type: event.targetType,
      target_id: event.targetId,
      ip: event.ip,
      request_id: event.requestId,
      details: event.details,
    })),
  )
  await db.execute(sql`
    INSERT INTO ${auditEvents} SELECT * FROM jsonb_populate_recordset(NULL::${auditEvents}, ${rows}::jsonb)`)
}

/** Which of these events the trail has of which of these targets. */
export function findEventsOf(
  db: Database,
  actions: readonly string[],
  targets: readonly string[],
): Promise<{ action: string; target: string | null }[]> {
  return db
    .selectDistinct({ action: auditEvents.action, target: auditEvents.targetId })
    .from(auditEvents)
    .where(and(inArray(auditEvents.targetId, [...targets]), inArray(auditEvents.action, [...actions])))
}

/** What a list of events may be narrowed by. */
export type AuditFilter = {
  actor: string | null
  target: string | null
  action: string | null
  from: Date | null
  to: Date | null
}

/** Events newest first, after the event `after`. */
export function listAuditEvents(
  db: Database,
  filter: AuditFilter,
  { limit, after }: { limit: number; after: string | null },
): Promise<AuditRow[]> {
  const { actor, target, action, from, to } = filter
  return db
    .select()
    .from(auditEvents)
    .where(
      and(
        actor === null ? undefined : eq(auditEvents.actorId, actor),
        target === null ? undefined : eq(auditEvents.targetId, target),
        action === null ? undefined : eq(auditEvents.action, action),
        from === null ? undefined : gte(auditEvents.at, from),
        to === null ? undefined : lt(auditEvents.at, to),
        after === null ? undefined : lt(auditEvents.id, after),
      ),
    )
    .orderBy(desc(auditEvents.id))
    .limit(limit)
}
