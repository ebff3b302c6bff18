import { type Clock, MINUTE_MS } from '../../lib/time.ts'
import type { CountedRow } from './queries.ts'

/** An audit row and the number of events to add to its count. */
export type AddedEvents = { row: CountedRow; count: number }

/** Counts audit events in memory, by row. A crash loses the counts of the last few seconds. */
export type AuditCounts = {
  /**
   * Counts an event.
   * @returns false for the first event of a row on this server. It is not counted: the caller writes the row.
   */
  add(row: CountedRow): boolean
  /** Returns the counts that are not written yet, and resets them to zero. */
  take(): AddedEvents[]
  /** Adds counts again whose write failed. */
  putBack(added: readonly AddedEvents[]): void
}

/** Bounds the memory. With this many rows known, an event of a further row is written by itself. */
const MAX_ROWS = 10_000

/** Creates an empty set of counts. A row is kept for a minute after its last event. */
export function createAuditCounts(clock: Clock): AuditCounts {
  const known = new Map<string, AddedEvents & { untilMs: number }>()
  const add = (row: CountedRow, count: number) => {
    const before = known.get(row.id)
    if (before || known.size < MAX_ROWS)
      known.set(row.id, { row, count: (before?.count ?? 0) + count, untilMs: clock() + MINUTE_MS })
  }
  return {
    add(row) {
      const isKnown = known.has(row.id)
      add(row, isKnown ? 1 : 0)
      return isKnown
    },
    take() {
      const taken: AddedEvents[] = []
      for (const [id, entry] of known) {
        if (entry.count > 0) taken.push({ row: entry.row, count: entry.count })
        if (entry.untilMs <= clock()) known.delete(id)
        else entry.count = 0
      }
      return taken
    },
    putBack(added) {
      for (const { row, count } of added) add(row, count)
    },
  }
}
