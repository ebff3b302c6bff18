import { and, desc, eq, gte, lt, sql } from 'drizzle-orm'
import type { Database, Transaction } from '../../db/database.ts'
import { isOneOf } from '../../db/one-of.ts'
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

export type CountedRow = typeof auditEvents.$inferInsert & { details: Record<string, unknown> }

/**
 * Inserts events, each of which stands for `count` of them; where the row is there already its `details.count` grows, and
 * the rest of it stays.
 */
export async function addAuditCounts(
  db: Database,
  added: readonly { row: CountedRow; count: number }[],
): Promise<void> {
  const rows = added.map(({ row, count }) => ({ ...row, details: { ...row.details, count } }))
  // In the order of their ids: two servers that add to the same rows wait for each other, and lock nothing twice.
  await db.execute(sql`
    INSERT INTO ${auditEvents} AS known
      (id, at, action, outcome, actor_type, actor_id, target_type, target_id, ip, request_id, details)
    SELECT id, at, action, outcome, "actorType", "actorId", "targetType", "targetId", ip, "requestId", details
    FROM jsonb_to_recordset(${JSON.stringify(rows)}::jsonb) AS added (
      id uuid, at timestamptz, action text, outcome text, "actorType" text, "actorId" uuid, "targetType" text,
      "targetId" text, ip text, "requestId" text, details jsonb)
    ORDER BY id
    ON CONFLICT (id) DO UPDATE SET details = jsonb_set(known.details, '{count}',
      to_jsonb((known.details->>'count')::bigint + (excluded.details->>'count')::bigint))`)
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
    .where(and(isOneOf(auditEvents.targetId, targets), isOneOf(auditEvents.action, actions)))
}

/** What a list of events may be narrowed by. */
export type AuditFilter = {
  actor: string | null
  target: string | null
  action: string | null
  outcome: AuditRow['outcome'] | null
  requestId: string | null
  from: Date | null
  to: Date | null
}

/**
 * Events newest first, after the event `after`. By their time: the id of a row that counts events begins with the minute's
 * (counted-events.ts).
 */
export function listAuditEvents(
  db: Database,
  filter: AuditFilter,
  { limit, after }: { limit: number; after: string | null },
): Promise<AuditRow[]> {
  const { actor, target, action, outcome, requestId, from, to } = filter
  return db
    .select()
    .from(auditEvents)
    .where(
      and(
        actor === null ? undefined : eq(auditEvents.actorId, actor),
        target === null ? undefined : eq(auditEvents.targetId, target),
        action === null ? undefined : eq(auditEvents.action, action),
        outcome === null ? undefined : eq(auditEvents.outcome, outcome),
        requestId === null ? undefined : eq(auditEvents.requestId, requestId),
        from === null ? undefined : gte(auditEvents.at, from),
        to === null ? undefined : lt(auditEvents.at, to),
        after === null
          ? undefined
          : sql`(${auditEvents.at}, ${auditEvents.id}) <
              (SELECT last.at, last.id FROM ${auditEvents} AS last WHERE last.id = ${after})`,
      ),
    )
    .orderBy(desc(auditEvents.at), desc(auditEvents.id))
    .limit(limit)
}
