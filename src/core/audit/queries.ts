import { and, between, desc, eq, gte, lt, type SQL, sql } from 'drizzle-orm'
import { union } from 'drizzle-orm/pg-core'
import type { Database, Transaction } from '../../db/database.ts'
import { isOneOf } from '../../db/one-of.ts'
import { auditEvents } from '../../db/schema.ts'

export type AuditRow = typeof auditEvents.$inferSelect

/**
 * Inserts audit events by one statement. All rows are one JSON parameter, because a statement takes at most 65,534
 * parameters.
 */
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
 * Inserts rows that each stand for `count` events. Where a row with the same id exists, its `details.count` grows by
 * that number and its other columns stay.
 */
export async function addAuditCounts(
  db: Database,
  added: readonly { row: CountedRow; count: number }[],
): Promise<void> {
  const rows = added.map(({ row, count }) => ({ ...row, details: { ...row.details, count } }))
  // Rows are locked in the order of their ids. In different orders, two servers that add to the same rows could wait
  // for each other: a deadlock.
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

/** The events of these actions on these targets, as the audit trail has them. */
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

/**
 * Events that a user caused or that concern the user, newest first, after the event `after`. Each half is read by its own
 * index, a page at most.
 */
export function listEventsOfUser(
  db: Database,
  userId: string,
  { limit, after }: { limit: number; after: string | null },
): Promise<AuditRow[]> {
  const half = (is: SQL) =>
    db
      .select()
      .from(auditEvents)
      .where(and(is, isAfter(after)))
      .orderBy(desc(auditEvents.at), desc(auditEvents.id))
      .limit(limit)
  return union(half(eq(auditEvents.actorId, userId)), half(eq(auditEvents.targetId, userId)))
    .orderBy(desc(auditEvents.at), desc(auditEvents.id))
    .limit(limit)
}

/** How many events of some actions there were since a time. A row with a count stands for so many events. */
export function countEvents(
  db: Database,
  actions: readonly string[],
  since: Date,
): Promise<{ action: string; count: number }[]> {
  const times = sql`sum(COALESCE((${auditEvents.details}->>'count')::bigint, 1))`.mapWith(Number)
  return db
    .select({ action: auditEvents.action, count: times })
    .from(auditEvents)
    .where(and(isOneOf(auditEvents.action, actions), gte(auditEvents.at, since)))
    .groupBy(auditEvents.action)
}

const isAfter = (after: string | null): SQL | undefined =>
  after === null
    ? undefined
    : sql`(${auditEvents.at}, ${auditEvents.id}) <
        (SELECT last.at, last.id FROM ${auditEvents} AS last WHERE last.id = ${after})`

/** The conditions by which a list of events is narrowed; null is no condition. */
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
 * What a list of refusals is found by: of an actor, or else of an action. The planner does not know that an actor or an action
 * is seldom refused, and would read all refusals by their time. It takes the index of the column where the column comes first in
 * the order, and is compared by a range: an equal one would be no part of the order.
 */
function refusedBy({ actor, target, action, outcome }: AuditFilter) {
  if (outcome !== 'refused' || target !== null) return null
  if (actor !== null) return { column: auditEvents.actorId, value: actor }
  return action === null ? null : { column: auditEvents.action, value: action }
}

/**
 * Events, newest first, after the event `after`. The order is by time and not by id, because the id of a counted row
 * begins with the start of its minute (counted-events.ts).
 */
export function listAuditEvents(
  db: Database,
  filter: AuditFilter,
  { limit, after }: { limit: number; after: string | null },
): Promise<AuditRow[]> {
  const { actor, target, action, outcome, requestId, from, to } = filter
  const by = refusedBy(filter)
  const is = (column: typeof auditEvents.actorId | typeof auditEvents.action, value: string | null) => {
    if (value === null) return undefined
    return column === by?.column ? between(column, value, value) : eq(column, value)
  }
  return db
    .select()
    .from(auditEvents)
    .where(
      and(
        is(auditEvents.actorId, actor),
        target === null ? undefined : eq(auditEvents.targetId, target),
        is(auditEvents.action, action),
        // Written out: of a parameter the planner does not know that it is what the indexes of refusals have.
        outcome === 'refused' ? sql`${auditEvents.outcome} = 'refused'` : undefined,
        outcome === 'success' ? eq(auditEvents.outcome, outcome) : undefined,
        requestId === null ? undefined : eq(auditEvents.requestId, requestId),
        from === null ? undefined : gte(auditEvents.at, from),
        to === null ? undefined : lt(auditEvents.at, to),
        isAfter(after),
      ),
    )
    .orderBy(...(by ? [desc(by.column)] : []), desc(auditEvents.at), desc(auditEvents.id))
    .limit(limit)
}
