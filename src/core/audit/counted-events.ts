import { deriveId } from '../../lib/ids.ts'
import { MINUTE_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { type AuditEvent, type Origin, rowOf } from './audit.ts'
import { addAuditCounts } from './queries.ts'

/**
 * An event that a caller can cause at any rate, such as a refused request. `reason` and `route` come from small sets,
 * as `action` does: together with the caller and the target they choose the row in which the event is counted.
 */
type CountedEvent = AuditEvent & { details: { reason?: string; route?: string } }

type CountingContext = Pick<Context, 'db' | 'clock' | 'auditCounts'>

/**
 * Counts an event in the audit trail, which has one row a minute for all events of the same kind, with `details.count`
 * (docs/decisions/0033). Otherwise a stream of refused requests could fill the disk. The row has the address, the
 * request and the other details of the first event. All servers share the row. The first event on this server is
 * written before the promise resolves; later ones are written within seconds.
 * @throws the database's error where the first event cannot be written; the event is kept and written later
 */
export async function countEvent(
  context: CountingContext,
  origin: Origin,
  event: CountedEvent,
): Promise<void> {
  const nowMs = context.clock()
  const row = { ...rowOf(origin, event, nowMs), id: idOf(nowMs - (nowMs % MINUTE_MS), origin, event) }
  if (context.auditCounts.add(row)) return
  await write(context, [{ row, count: 1 }])
}

/**
 * Writes the events counted since the last call, by one statement. Where the statement fails, the counts are kept for
 * the next call.
 */
export async function writeAuditCounts(context: CountingContext): Promise<void> {
  const taken = context.auditCounts.take()
  if (taken.length > 0) await write(context, taken)
}

async function write({ db, auditCounts }: CountingContext, added: ReturnType<typeof auditCounts.take>) {
  try {
    await addAuditCounts(db, added)
  } catch (error) {
    auditCounts.putBack(added)
    throw error
  }
}

/** The id of the row. It is computed from the event, so that all servers count in the same row. */
function idOf(minuteMs: number, { actor }: Origin, { action, target, details }: CountedEvent): string {
  const by = [actor.type, actor.id, target?.type ?? null, target?.id ?? null]
  return deriveId(minuteMs, action, ...by, details.route ?? null, details.reason ?? null)
}
