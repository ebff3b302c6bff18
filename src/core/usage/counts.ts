import type { Metrics } from '../../lib/metrics.ts'
import type { UseCode } from '../../lib/outcomes.ts'
import { type Clock, HOUR_MS } from '../../lib/time.ts'
import type { LastUse, UsageCount } from './queries.ts'

/**
 * Gathers the uses of keys in memory, so that no request waits for a write. A crash loses the uses of the last few
 * seconds.
 */
export type UsageCounts = {
  count(keyId: string, outcome: UseCode, secretId?: string): void
  /** Returns what is not written yet, and starts empty again. */
  take(): { counts: UsageCount[]; lastUses: LastUse[] }
  /** Adds what could not be written again. */
  putBack(taken: { counts: UsageCount[]; lastUses: LastUse[] }): void
}

/** Bounds the memory while the database is out of reach: beyond this many different counts, new ones are dropped. */
const MAX_COUNTS = 100_000

/** Creates an empty set of counts. */
export function createUsageCounts(
  clock: Clock,
  { keyUses, usageRows }: Pick<Metrics, 'keyUses' | 'usageRows'>,
): UsageCounts {
  /**
   * The counts of each key, a handful. The map's key is the key's id alone: building a longer text would cost time at
   * every use.
   */
  let counts = new Map<string, UsageCount[]>()
  let size = 0
  let lastUses = new Map<string, number>()
  const add = (keyId: string, hourMs: number, outcome: string, count: number) => {
    const ofKey = counts.get(keyId)
    const known = ofKey?.find((each) => each.outcome === outcome && each.hour.getTime() === hourMs)
    if (known) {
      known.count += count
    } else if (size < MAX_COUNTS) {
      size += 1
      counts.set(keyId, [...(ofKey ?? []), { keyId, hour: new Date(hourMs), outcome, count }])
    } else {
      usageRows.dropped += 1
    }
  }
  const use = (secretId: string, atMs: number) => {
    if (lastUses.size < MAX_COUNTS || lastUses.has(secretId)) {
      lastUses.set(secretId, Math.max(atMs, lastUses.get(secretId) ?? 0))
    } else {
      usageRows.dropped += 1
    }
  }
  return {
    count(keyId, outcome, secretId) {
      const now = clock()
      keyUses[outcome] += 1
      add(keyId, now - (now % HOUR_MS), outcome, 1)
      if (secretId !== undefined) use(secretId, now)
    },
    take() {
      const taken = {
        counts: [...counts.values()].flat(),
        lastUses: [...lastUses].map(([secretId, at]) => ({ secretId, at: new Date(at) })),
      }
      counts = new Map()
      size = 0
      lastUses = new Map()
      return taken
    },
    putBack(taken) {
      for (const { keyId, hour, outcome, count } of taken.counts) add(keyId, hour.getTime(), outcome, count)
      for (const { secretId, at } of taken.lastUses) use(secretId, at.getTime())
    },
  }
}
