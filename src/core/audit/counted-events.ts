import { deriveId } from '../../lib/ids.ts'
import { MINUTE_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { type AuditEvent, type Origin, rowOf } from './audit.ts'
import { addAuditCounts } from './queries.ts'

/**
 * An event that a caller can cause as often as they like. `reason` and `route` are out of small sets, as the action is:
 * with the caller and the target they tell its row from others.
 */
type CountedEvent = AuditEvent & { details: { reason?: string; route?: string } }

type CountingContext = Pick<Context, 'db' | 'clock' | 'auditCounts'>

/**
 * Counts an event of which the audit trail has one row a minute, with `details.count` (docs/decisions/0033). The row has
 * the address, the request and the further details of its first event. All servers share a row. The first event on this
 * server is written before this resolves, the others within seconds.
 * @throws what the database throws; the event is written later then
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

/** Writes what has gathered, in one statement. What cannot be written is put back for the next time. */
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

/** The same on every server, so that their rows are one. */
function idOf(minuteMs: number, { actor }: Origin, { action, target, details }: CountedEvent): string {
  const by = [actor.type, actor.id, target?.type ?? null, target?.id ?? null]
  return deriveId(minuteMs, action, ...by, details.route ?? null, details.reason ?? null)
}
