import { sampleOf } from './kinds.ts'

/** The longest duration to which a failed check is extended, whatever is stored. */
const MAX_FLOOR_MS = 1_000
/** Measurements of one kind differ by less than this factor. So a failed check of the slowest kind is extended too. */
const MARGIN = 1.2
/** The weight of the newest check in the moving averages that measure the machine's load. */
const NEWEST_SHARE = 0.1
/** A check that is slowed down by more than this factor was delayed by something other than load, and is capped. */
const MAX_SLOWNESS = 4

/**
 * The shortest duration of a failed password check. Without it, the duration tells whether an account exists and where
 * it was imported from.
 */
export type Floor = {
  /** Records which kinds of hashes are stored, and measures the new kinds, one after the other. */
  learn(kinds: Iterable<string> | Promise<Iterable<string>>): void
  /** Records the duration of a check, in milliseconds, for a kind and a number of hashes. */
  observe(kind: string, ms: number, hashes: number): void
  /**
   * How many milliseconds a failed check must still wait. Waits for running measurements first, at most MAX_FLOOR_MS.
   * @param spentMs the milliseconds that the check's own hashing took
   * @param readings how many hashes a check of this password takes where the stored kind is not today's
   */
  missingMs(spentMs: number, readings: number): Promise<number>
}

/**
 * The floor follows the slowest kind of hash that is stored, and the machine's load (docs/decisions/0031). A bcrypt
 * hash of cost 12 takes eight times as long as today's kind: without a floor, the duration would tell which accounts
 * were imported.
 * @param presentKind the kind of new hashes. A check against it computes one hash, whatever the password.
 */
export function createFloor(presentKind: string): Floor {
  /** The shortest duration of one hash, by kind: its cost on an idle machine. */
  const costsMs = new Map<string, number>()
  /** Moving averages of the measured durations, and of the durations that the same checks have on an idle machine. */
  const recent = { spentMs: 1, leastMs: 1 }
  let learning: Promise<void> | null = null

  const observe = (kind: string, ms: number, hashes: number) => {
    const costMs = Math.min(costsMs.get(kind) ?? Infinity, ms / hashes)
    costsMs.set(kind, costMs)
    recent.spentMs += NEWEST_SHARE * (ms - recent.spentMs)
    recent.leastMs += NEWEST_SHARE * (costMs * hashes - recent.leastMs)
  }
  const measureNew = async (kinds: Iterable<string> | Promise<Iterable<string>>) => {
    for (const kind of await kinds) {
      if (costsMs.has(kind)) continue
      const start = performance.now()
      await Bun.password.verify('-', sampleOf(kind)).catch(() => false)
      observe(kind, performance.now() - start, 1)
    }
  }
  const learn = (kinds: Iterable<string> | Promise<Iterable<string>>) => {
    const next: Promise<void> = Promise.resolve(learning)
      .then(() => measureNew(kinds))
      // A measurement that fails here is made up for by the first real check of that kind.
      .catch(() => {})
      .finally(() => {
        if (learning === next) learning = null
      })
    learning = next
  }
  return {
    learn,
    observe,
    async missingMs(spentMs, readings) {
      const start = performance.now()
      if (!costsMs.has(presentKind)) learn([presentKind])
      if (learning) await Promise.race([learning, Bun.sleep(MAX_FLOOR_MS)])
      const costs = costsMs.entries().map(([kind, ms]) => (kind === presentKind ? ms : ms * readings))
      const slowness = Math.min(MAX_SLOWNESS, Math.max(1, recent.spentMs / recent.leastMs))
      const floorMs = Math.min(MAX_FLOOR_MS, Math.max(...costs) * slowness * MARGIN)
      return floorMs - spentMs - (performance.now() - start)
    },
  }
}
