import { Type } from '@sinclair/typebox'
import { Elysia } from 'elysia'
import { type AuditQuery, listEvents, presentEvent } from '../../core/audit/audit.ts'
import { AuditEntry, AuditPage } from '../../core/audit/model.ts'
import type { Context } from '../../core/context.ts'
import type { ExportPage } from '../../core/exports/exports.ts'
import { Instant, wordOf } from '../../lib/model.ts'
import { MAX_PAGE } from '../../lib/page.ts'
import type { Guard } from '../auth.ts'
import { CSV_DESCRIPTION, csvAnswer, wantsCsv } from '../csv.ts'
import { describe } from '../openapi/describe.ts'
import { pageQuery, presentPage } from '../page.ts'
import { NEEDS } from '../route-table.ts'

const ListQuery = Type.Object({
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
  new Elysia({ tags: ['Administration'] }).use(guard).get(
    '/audit',
    ({ auth, query, request, state }) =>
      wantsCsv(request)
        ? csvAnswer(context, state, auth, {
            list: 'audit',
            query,
            columns: Object.keys(AuditEntry.properties),
            read: () => readPages(context, query),
          })
        : listPage(context, query),
    {
      ...NEEDS['GET /audit'],
      query: ListQuery,
      response: { 200: AuditPage },
      detail: describe('listAuditEvents', 'The audit trail, newest first', {
        description: CSV_DESCRIPTION,
        errors: ['forbidden'],
      }),
    },
  )

async function listPage(context: Context, query: AuditQuery): Promise<AuditPage> {
  return presentPage(await listEvents(context, query), presentEvent)
}

/** The events from a page on, as an export reads them. */
async function readPages(context: Context, query: AuditQuery): Promise<ExportPage<AuditEntry>> {
  const { rows, nextCursor } = await listEvents(context, { ...query, limit: MAX_PAGE })
  const next = nextCursor === null ? null : () => readPages(context, { ...query, cursor: nextCursor })
  return { rows: rows.map(presentEvent), next }
}
