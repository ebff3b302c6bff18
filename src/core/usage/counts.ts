import type { Metrics } from '../../lib/metrics.ts'
import type { UseCode } from '../../lib/outcomes.ts'
import { type Clock, HOUR_MS } from '../../lib/time.ts'
import type { LastUse, UsageCount } from './queries.ts'

/** Gathers uses in memory: no request writes. What has not been written yet is lost in a crash, a few seconds' worth. */
export type UsageCounts = {
  count(keyId: string, outcome: UseCode, secretId?: string): void
  /** Gives what has gathered, and starts anew. */
  take(): { counts: UsageCount[]; lastUses: LastUse[] }
  /** Puts back what could not be written. */
  putBack(taken: { counts: UsageCount[]; lastUses: LastUse[] }): void
}

/** Beyond this many different counts new ones are dropped: a database that is gone must not fill the memory. */
const MAX_COUNTS = 100_000

/** An empty set of counts. */
export function createUsageCounts(
  clock: Clock,
  { keyUses, usageRows }: Pick<Metrics, 'keyUses' | 'usageRows'>,
): UsageCounts {
  /** By key, of each a handful: every use of a key looks here, and puts no name together for it. */
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
