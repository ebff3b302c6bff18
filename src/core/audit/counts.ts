import { type Clock, MINUTE_MS } from '../../lib/time.ts'
import type { CountedRow } from './queries.ts'

/** A row of the audit trail that stands for so many events more. */
export type AddedEvents = { row: CountedRow; count: number }

/** Counts audit events by their row in memory. What has not been written yet is lost in a crash, a few seconds' worth. */
export type AuditCounts = {
  /**
   * Counts an event.
   * @returns false for the first one of its row on this server, which is not counted: the caller writes it
   */
  add(row: CountedRow): boolean
  /** Gives what has gathered, and starts anew. */
  take(): AddedEvents[]
  /** Puts back what could not be written. */
  putBack(added: readonly AddedEvents[]): void
}

/** Beyond so many different rows each event is written by itself, so that memory is bounded. */
const MAX_ROWS = 10_000

/** No counts yet. A row stays known for a minute after its last event. */
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
