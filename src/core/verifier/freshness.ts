import { Problem } from '../../lib/errors.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import { type Clock, SECOND_MS } from '../../lib/time.ts'

/** What is known of a region's copy. */
export type KnownCopy = {
  /** The time of the last heartbeat that arrived, by the clock of home's database; null: none did. */
  atMs: number | null
  /** Tables that are not copied yet, or not any more; null: not known. */
  uncopied: number | null
  /** Why changes of home may be missing; null: the chain of heartbeats is whole. */
  broken: string | null
}

/** Whether the copy is good enough to answer from it (docs/decisions/0058). */
export type Freshness = {
  /** Takes what was learned of the copy. */
  learn(known: Partial<KnownCopy>): void
  /** Whether questions are answered now. */
  isGood(): boolean
  /** @throws Problem stale */
  require(): void
  /** The refusal of a question. It counts as one. */
  refuse(): Problem
  /** The time of the last proof, where answers have to name it: with VERIFY_WHEN_STALE=allow; else null. */
  asOf(): string | null
  /** For metrics: seconds since the last proof, and tables not copied. */
  describe(): { ageSeconds: number; uncopied: number }
}

/** A heartbeat further ahead than this is by a wrong clock. */
const AHEAD_MS = 2 * SECOND_MS

type Options = { maxStalenessSeconds: number; whenStale: 'refuse' | 'allow' }

/** Knows nothing of the copy at first, and so refuses. */
export function createFreshness(
  { maxStalenessSeconds, whenStale }: Options,
  clock: Clock,
  log: Log,
  metrics: Pick<Metrics, 'staleRefusals'>,
): Freshness {
  const maxMs = maxStalenessSeconds * SECOND_MS
  const copy: KnownCopy = { atMs: null, uncopied: null, broken: null }
  let told: string | null = null

  /** Why nothing is answered, in a sentence for the log; null: questions are answered. */
  const fault = (): string | null => {
    const { atMs, uncopied, broken } = copy
    if (broken !== null) return `changes of home may be missing (${broken}): see "latchkey region resync"`
    if (uncopied === null || atMs === null) return 'no heartbeat of home has arrived yet'
    if (uncopied > 0) return 'not every table is copied yet'
    const ageMs = clock() - atMs
    if (ageMs < -AHEAD_MS) return 'the clock of home is more than 2 s ahead of the clock here'
    return ageMs < maxMs || whenStale === 'allow' ? null : 'no heartbeat of home arrives'
  }
  /** Logs a change of the state once, not at every question. */
  const tell = (found: string | null) => {
    if (found === told) return
    told = found
    if (found === null) log.info('Questions are answered: the copy is proved to be recent')
    else log.error(`Questions are answered 503 stale: ${found}`)
  }
  const refuse = () => {
    metrics.staleRefusals.questions += 1
    return new Problem('stale')
  }
  const isGood = () => {
    const found = fault()
    tell(found)
    return found === null
  }

  return {
    learn(known) {
      Object.assign(copy, known)
      // A copy that may lack changes is proved by the first heartbeat after it is whole again.
      if (copy.broken !== null || copy.uncopied !== 0) copy.atMs = null
      isGood()
    },
    isGood,
    refuse,
    require() {
      if (!isGood()) throw refuse()
    },
    asOf: () => (whenStale === 'allow' && copy.atMs !== null ? new Date(copy.atMs).toISOString() : null),
    describe: () => ({
      ageSeconds: copy.atMs === null ? Number.POSITIVE_INFINITY : (clock() - copy.atMs) / SECOND_MS,
      uncopied: copy.uncopied ?? 0,
    }),
  }
}
