import type postgres from 'postgres'
import { writeAuditCounts } from '../../src/core/audit/counted-events.ts'
import type { TestService } from './service.ts'

/** How many refusals the audit trail tells of: a row for each caller, route, reason and minute, with their number. */
export async function countDenials(service: TestService, sql: postgres.Sql): Promise<number> {
  await writeAuditCounts(service.context)
  const [row] =
    await sql`SELECT coalesce(sum((details->>'count')::int), 0)::int AS n FROM latchkey.audit_events
    WHERE action = 'access.denied' AND outcome = 'refused'`
  return row?.n
}
