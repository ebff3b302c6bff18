import type { Metrics } from '../../lib/metrics.ts'
import type { RefusedCode, UseCode } from '../../lib/outcomes.ts'
import { type Clock, HOUR_MS } from '../../lib/time.ts'
import type { KeyPrincipal } from '../principal.ts'
import type { LastUse, Refusal, UsageCount } from './queries.ts'

/**
 * Gathers the uses of keys in memory, so that no request waits for a write. A crash loses the uses of the last few
 * seconds.
 */
export type UsageCounts = {
  /** Counts a use of a key that is good. Touches nothing but its `uses`. */
  use(key: UsedKey): void
  /** Counts a refusal. @param ip the client's address, as the asker gave it; null: unknown */
  refuse(keyId: string, outcome: RefusedCode, ip: string | null): void
  /** Gives what has gathered, and starts anew. */
  take(): Gathered
  /** Puts back what could not be written. */
  putBack(taken: Gathered): void
  /** How many counts wait, and how many of them a report holds that is under way: together they are bounded. */
  size(): number
  hold(count: number): void
}
type UsedKey = Pick<KeyPrincipal, 'keyId' | 'secretId' | 'uses'>
/** Uses that are not written yet. */
export type Gathered = { counts: UsageCount[]; lastUses: LastUse[]; refusals: Refusal[] }

/** Refusals of one key, and of all, that are kept until the next batch. The rest is counted alone. */
const MAX_REFUSALS_OF_KEY = 5
const MAX_REFUSALS = 50_000

/** Bounds the memory while the database is out of reach: beyond this many different counts, new ones are dropped. */
const MAX_COUNTS = 100_000

/** Creates an empty set of counts. */
export function createUsageCounts(
  clock: Clock,
  { keyUses, usageRows, refusals: tally }: Pick<Metrics, 'keyUses' | 'usageRows' | 'refusals'>,
  keepsRefusals: boolean,
): UsageCounts {
  /** Keys that were used since the last batch, whose uses are in the keys themselves. */
  let used: UsedKey[] = []
  /** The other counts of each key, a handful. */
  let counts = new Map<string, UsageCount[]>()
  let size = 0
  let held = 0
  let lastUses = new Map<string, number>()
  let refusals = new Map<string, Refusal[]>()
  let refusalsSize = 0
  const add = (keyId: string, hourMs: number, outcome: string, count: number) => {
    const ofKey = counts.get(keyId)
    const known = ofKey?.find((each) => each.outcome === outcome && each.hour.getTime() === hourMs)
    if (known) {
      known.count += count
    } else if (size + held < MAX_COUNTS) {
      size += 1
      counts.set(keyId, [...(ofKey ?? []), { keyId, hour: new Date(hourMs), outcome, count }])
    } else {
      usageRows.dropped += 1
    }
  }
  const count = (keyId: string, outcome: UseCode, nowMs: number) => {
    keyUses[outcome] += 1
    add(keyId, nowMs - (nowMs % HOUR_MS), outcome, 1)
  }
  const keep = (refusal: Refusal) => {
    const ofKey = refusals.get(refusal.keyId) ?? []
    const known = ofKey.find(({ outcome, ip }) => outcome === refusal.outcome && ip === refusal.ip)
    if (known) {
      known.count += refusal.count
      if (refusal.at > known.at) known.at = refusal.at
    } else if (ofKey.length < MAX_REFUSALS_OF_KEY && refusalsSize < MAX_REFUSALS) {
      refusalsSize += 1
      refusals.set(refusal.keyId, [...ofKey, refusal])
    } else {
      tally.dropped += refusal.count
    }
  }
  const keepLastUse = (secretId: string, atMs: number) => {
    if (lastUses.size < MAX_COUNTS || lastUses.has(secretId)) {
      lastUses.set(secretId, Math.max(atMs, lastUses.get(secretId) ?? 0))
    } else {
      usageRows.dropped += 1
    }
  }
  /** Takes the uses out of a key. */
  const keepUses = ({ keyId, secretId, uses }: UsedKey) => {
    if (uses.count === 0) return
    add(keyId, uses.hourEndsMs - HOUR_MS, 'VALID', uses.count)
    keepLastUse(secretId, uses.lastAtMs)
    uses.count = 0
  }
  return {
    use(key) {
      const { uses } = key
      const nowMs = clock()
      keyUses.VALID += 1
      // The clock may also have been set back.
      if (nowMs >= uses.hourEndsMs || nowMs < uses.hourEndsMs - HOUR_MS) {
        keepUses(key)
        uses.hourEndsMs = nowMs - (nowMs % HOUR_MS) + HOUR_MS
      }
      uses.count += 1
      uses.lastAtMs = nowMs
      if (uses.isGathered) return
      uses.isGathered = true
      used.push(key)
    },
    refuse(keyId, outcome, ip) {
      const nowMs = clock()
      count(keyId, outcome, nowMs)
      if (keepsRefusals) keep({ keyId, at: new Date(nowMs), outcome, ip, count: 1 })
    },
    take() {
      for (const key of used) {
        keepUses(key)
        key.uses.isGathered = false
      }
      used = []
      const taken = {
        counts: [...counts.values()].flat(),
        lastUses: [...lastUses].map(([secretId, at]) => ({ secretId, at: new Date(at) })),
        refusals: [...refusals.values()].flat(),
      }
      counts = new Map()
      size = 0
      lastUses = new Map()
      refusals = new Map()
      refusalsSize = 0
      return taken
    },
    putBack(taken) {
      for (const { keyId, hour, outcome, count } of taken.counts) add(keyId, hour.getTime(), outcome, count)
      for (const { secretId, at } of taken.lastUses) keepLastUse(secretId, at.getTime())
      for (const refusal of taken.refusals) keep(refusal)
    },
    size: () => size + held,
    hold(count) {
      held = count
    },
  }
}
