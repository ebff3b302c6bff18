import { databaseError } from '../errors.ts'

/** The history that a server writes: its cluster, and the timeline, which grows by one with each promotion. */
export type History = { system: string; timeline: number }

/** The newest timeline that this instance has seen, and its connections. */
export type Timelines = {
  /**
   * Records a connection. If its timeline is the newest so far, the connections to older ones are dropped.
   * @param drop ends the connection at once
   * @returns a function that forgets the connection
   * @throws Error STANDBY where a newer timeline is known: the server is a primary that was replaced
   */
  record(history: History, drop: (why: Error) => void): () => void
  /** Whether a server has told its timeline yet. */
  isTold(): boolean
}

/**
 * Makes the memory of timelines, one for each open database. A primary that was frozen or cut off may believe that it
 * still is the primary, and a revocation on the new one is unknown to it. Clusters are kept apart, because a new
 * cluster, as after `pg_upgrade`, starts at timeline 1 again.
 */
export function createTimelines(): Timelines {
  const newest = new Map<string, number>()
  const connections = new Set<History & { drop(why: Error): void }>()
  return {
    record: ({ system, timeline }, drop) => {
      const known = newest.get(system) ?? 0
      if (timeline < known) throw replaced(timeline, known)
      newest.set(system, timeline)
      for (const each of connections)
        if (each.system === system && each.timeline < timeline) each.drop(replaced(each.timeline, timeline))
      const connection = { system, timeline, drop }
      connections.add(connection)
      return () => void connections.delete(connection)
    },
    isTold: () => newest.size > 0,
  }
}

const replaced = (timeline: number, newer: number) =>
  databaseError(
    'STANDBY',
    `the server is at timeline ${timeline}, and another server is the primary since timeline ${newer}`,
  )
