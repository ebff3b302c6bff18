import { sampleOf } from './kinds.ts'

/** The longest that a failed check is drawn out to, whatever is stored. */
const MAX_FLOOR_MS = 1_000
/** Checks of one kind differ by less than that from each other: the dearest one, too, is drawn out. */
const MARGIN = 1.2
/** Of what the floor knows of the machine's load, so much is the last check's. */
const NEWEST_SHARE = 0.1
/** Beyond it something else than load kept a check. */
const MAX_SLOWNESS = 4

/** How long a failed check of a password takes at least, so that the time tells nothing of the account. */
export type Floor = {
  /** Takes note of kinds of hashes that are stored, and measures those that are new, one after the other. */
  learn(kinds: Iterable<string> | Promise<Iterable<string>>): void
  /** Takes note of how long a check took: of a kind, and for so many hashes. */
  observe(kind: string, ms: number, hashes: number): void
  /**
   * How much longer a failed check has to take. Waits, at most for as long as the floor can be, for kinds of which the
   * cost is not known yet.
   * @param spentMs the time that its own hashing took
   * @param readings how many hashes a check of this password takes where the kind is not today's
   */
  missingMs(spentMs: number, readings: number): Promise<number>
}

/**
 * The floor follows the dearest kind of hash that is stored, and the machine's load (docs/decisions/0031): a bcrypt hash of
 * cost 12 takes eight times as long as today's kind, which would tell who was imported.
 * @param presentKind of which one hash is checked, whatever the password
 */
export function createFloor(presentKind: string): Floor {
  /** The least time that a check took, by kind: what it costs where nothing else runs. */
  const costsMs = new Map<string, number>()
  /** Recent times as they were, and as they are where nothing else runs. */
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
      // What cannot be learned now is learned from the first check of it.
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
