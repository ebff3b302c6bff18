import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import { listEvents } from '../../core/audit/audit.ts'
import type { AuditRow } from '../../core/audit/queries.ts'
import type { Context } from '../../core/context.ts'
import { Id, Instant, nullable, pageOf } from '../../lib/model.ts'
import { AUDIT_READ } from '../../lib/scopes.ts'
import type { Guard } from '../auth.ts'
import { MAX_PAGE, pageQuery } from '../page.ts'

const party = Type.Object({ type: nullable(Type.String()), id: nullable(Type.String()) })

const AuditEvent = Type.Object(
  {
    id: Id,
    at: Instant,
    action: Type.String({ examples: ['key.revoked'] }),
    outcome: Type.Union([Type.Literal('success'), Type.Literal('refused')]),
    actor: party,
    target: party,
    ip: nullable(Type.String()),
    request_id: nullable(Type.String()),
    details: Type.Record(Type.String(), Type.Unknown()),
  },
  { $id: 'AuditEvent' },
)

const AuditQuery = Type.Object({
  actor: Type.Optional(Type.String({ maxLength: 64, description: 'An id' })),
  action: Type.Optional(Type.String({ maxLength: 64 })),
  target: Type.Optional(Type.String({ maxLength: 64, description: 'An id' })),
  from: Type.Optional(Instant),
  to: Type.Optional(Instant),
  ...pageQuery,
})

const present = (row: AuditRow) => ({
  id: row.id,
  at: row.at.toISOString(),
  action: row.action,
  outcome: row.outcome,
  actor: { type: row.actorType, id: row.actorId },
  target: { type: row.targetType, id: row.targetId },
  ip: row.ip,
  request_id: row.requestId,
  details: row.details,
})

/** Who did what, to whom, when, from where; refusals included. */
export const auditRoutes = (context: Context, guard: Guard) =>
  new Elysia({ tags: ['Administration'] }).use(guard).get(
    '/audit',
    async ({ query }) => {
      const page = await listEvents(context, { limit: MAX_PAGE, ...query })
      return { items: page.rows.map(present), next_cursor: page.nextCursor }
    },
    {
      anyone: { scopes: [AUDIT_READ] },
      query: AuditQuery,
      response: { 200: pageOf(AuditEvent, 'AuditPage') },
      detail: { operationId: 'listAuditEvents', summary: 'The audit trail, newest first' },
    },
  )
