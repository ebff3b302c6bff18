import type postgres from 'postgres'
import { writeAuditCounts } from '../../src/core/audit/counted-events.ts'
import type { TestService } from './service.ts'

/**
 * The number of refusals in the audit trail. One row for each caller, route, reason and minute has their
 * count (docs/decisions/0033).
 */
export async function countDenials(service: TestService, sql: postgres.Sql): Promise<number> {
  await writeAuditCounts(service.context)
  const [row] =
    await sql`SELECT coalesce(sum((details->>'count')::int), 0)::int AS n FROM latchkey.audit_events
    WHERE action = 'access.denied' AND outcome = 'refused'`
  return row?.n
}
