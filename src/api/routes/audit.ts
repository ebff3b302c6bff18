import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import { listEvents, presentEvent } from '../../core/audit/audit.ts'
import { AuditPage } from '../../core/audit/model.ts'
import type { Context } from '../../core/context.ts'
import { Instant, wordOf } from '../../lib/model.ts'
import type { Guard } from '../auth.ts'
import { describe } from '../openapi/describe.ts'
import { pageQuery, presentPage } from '../page.ts'
import { NEEDS } from '../route-table.ts'

const AuditQuery = Type.Object({
  actor: Type.Optional(Type.String({ maxLength: 64, description: 'An id' })),
  action: Type.Optional(Type.String({ maxLength: 64 })),
  target: Type.Optional(Type.String({ maxLength: 64, description: 'An id' })),
  outcome: Type.Optional(wordOf(['success', 'refused'])),
  request_id: Type.Optional(Type.String({ maxLength: 128 })),
  from: Type.Optional(Instant),
  to: Type.Optional(Instant),
  ...pageQuery,
})

/** The audit trail: who did what, to whom, when, and from which address; refusals included. */
export const auditRoutes = (context: Context, guard: Guard) =>
  new Elysia({ tags: ['Administration'] })
    .use(guard)
    .get('/audit', async ({ query }) => presentPage(await listEvents(context, query), presentEvent), {
      ...NEEDS['GET /audit'],
      query: AuditQuery,
      response: { 200: AuditPage },
      detail: describe('listAuditEvents', 'The audit trail, newest first'),
    })
