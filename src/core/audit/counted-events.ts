import { deriveId } from '../../lib/ids.ts'
import { MINUTE_MS } from '../../lib/time.ts'
import type { Context } from '../context.ts'
import { type AuditEvent, type Origin, rowOf } from './audit.ts'
import { addAuditCounts, type CountedRow } from './queries.ts'

/**
 * An event that a caller can cause as often as they like. `reason` and `route` are out of small sets, as is the action:
 * with the caller and the target they tell its row from others.
 */
export type CountedEvent = AuditEvent & { details: { reason?: string; route?: string } }

/**
 * Audit events of which one row a minute is kept, with `details.count`: nobody fills the audit trail by being refused.
 * The row has the address, the request and the further details of the first event of its minute. All servers share a row.
 */
export type CountedEvents = {
  /**
   * Counts an event. The first one of its minute on this server is written before this resolves, a repetition is added to
   * the row within seconds.
   * @throws what the database throws; the event is written later then
   */
  record(origin: Origin, event: CountedEvent): Promise<void>
  /** Writes the repetitions since the last time, in one statement. What cannot be written is kept. */
  flush(): Promise<void>
}

type Counted = { row: CountedRow; minuteMs: number; unwritten: number }

/** Beyond so many different rows a minute each event is written by itself: memory is bounded, and nothing is lost. */
const MAX_COUNTED = 10_000

export function createCountedEvents({ db, clock }: Pick<Context, 'db' | 'clock'>): CountedEvents {
  const counted = new Map<string, Counted>()
  return {
    async record(origin, event) {
      const nowMs = clock()
      const minuteMs = nowMs - (nowMs % MINUTE_MS)
      const id = idOf(minuteMs, origin, event)
      const known = counted.get(id)
      if (known) {
        known.unwritten += 1
        return
      }
      const row = { ...rowOf(origin, event, nowMs), id }
      const entry = { row, minuteMs, unwritten: 0 }
      if (counted.size < MAX_COUNTED) counted.set(id, entry)
      try {
        await addAuditCounts(db, [{ row, count: 1 }])
      } catch (error) {
        entry.unwritten += 1
        throw error
      }
    },
    async flush() {
      const due = [...counted.values()].filter(({ unwritten }) => unwritten > 0)
      const added = due.map(({ row, unwritten }) => ({ row, count: unwritten }))
      for (const entry of due) entry.unwritten = 0
      try {
        if (added.length > 0) await addAuditCounts(db, added)
      } catch (error) {
        for (const [at, entry] of due.entries()) entry.unwritten += added[at]?.count ?? 0
        throw error
      }
      const nowMs = clock()
      for (const [id, { minuteMs, unwritten }] of counted)
        if (unwritten === 0 && minuteMs + MINUTE_MS <= nowMs) counted.delete(id)
    },
  }
}

/** The same on every server, so that their rows are one. */
function idOf(minuteMs: number, { actor }: Origin, { action, target, details }: CountedEvent): string {
  const by = [actor.type, actor.id, target?.type ?? null, target?.id ?? null]
  return deriveId(minuteMs, action, ...by, details.route ?? null, details.reason ?? null)
}
