import { LRUCache } from 'lru-cache'
import type { EvictionKind } from '../../db/eviction.ts'
import type { Metrics } from '../../lib/metrics.ts'
import type { Clock } from '../../lib/time.ts'
import type { Principal } from '../principal.ts'

/** A verified credential: good until `validUntilMs` unless one of the rows behind it changes. */
export type Verified = { principal: Principal; validUntilMs: number; tags: readonly string[] }

/** Verified credentials by the SHA-256 of what was shown. Holds neither the credentials nor refusals. */
export type CredentialCache = {
  /** The principal of a credential that is known to be good now, or null: ask the database. */
  read(hash: string): Principal | null
  /**
   * Runs `load` once for all that ask for `hash` at the same time, and keeps what it gives unless an eviction came
   * between. While proof of life is missing each runs its own, and nothing is kept.
   */
  fill<R>(hash: string, load: () => Promise<Verified | R>): Promise<Verified | R>
  /** Forgets everything that stands on one row. Services call it after COMMIT and before they answer. */
  evict(kind: EvictionKind, id: string): void
  flush(): void
  /** Says that every eviction up to this moment has arrived (see proof-of-life.ts). */
  prove(sentAt: Moment): void
  isLive(): boolean
  /** How many credentials it holds. */
  size(): number
}

/** An instant on both clocks: the monotonic one does not jump, the wall clock goes on while the process is frozen. */
export type Moment = { wallMs: number; monotonicMs: number }
export const momentNow = (): Moment => ({ wallMs: Date.now(), monotonicMs: performance.now() })

const MAX_ENTRIES = 10_000
const PROOF_LASTS_MS = 3_000
const ENTRY_LASTS_MS = 60_000
const ENTRY_SPREAD_MS = 10_000

export const tagOf = (kind: EvictionKind, id: string): string => `${kind} ${id}`

/**
 * @param needsProof true where other processes can change the database (PostgreSQL): the cache is then read only
 * while proof of life is fresh. The embedded database has one process, which evicts by itself.
 */
export function createCredentialCache(
  clock: Clock,
  needsProof: boolean,
  { cacheReads }: Pick<Metrics, 'cacheReads'>,
): CredentialCache {
  const hashesByTag = new Map<string, Set<string>>()
  const entries = new LRUCache<string, Verified>({
    max: MAX_ENTRIES,
    dispose: (entry, hash) => {
      for (const tag of entry.tags) {
        const hashes = hashesByTag.get(tag)
        hashes?.delete(hash)
        if (hashes?.size === 0) hashesByTag.delete(tag)
      }
    },
  })
  /** Loads in flight, by hash; emptied by every eviction, so that whoever comes later asks anew. */
  let fills = new Map<string, Promise<unknown>>()
  let proof: Moment | null = needsProof ? null : { wallMs: Infinity, monotonicMs: Infinity }

  const isLive = () =>
    proof !== null &&
    Date.now() - proof.wallMs < PROOF_LASTS_MS &&
    performance.now() - proof.monotonicMs < PROOF_LASTS_MS
  const detachFills = () => {
    if (fills.size > 0) fills = new Map()
  }

  return {
    isLive,
    size: () => entries.size,
    read(hash) {
      const entry = entries.get(hash)
      if (entry === undefined || clock() >= entry.validUntilMs || !isLive()) return null
      cacheReads.hit += 1
      return entry.principal
    },
    fill(hash, load) {
      const isUsed = isLive()
      cacheReads[isUsed ? 'miss' : 'bypass'] += 1
      // Whoever is in flight may have asked before a change that nobody has told of; so may all, if this process slept.
      if (!isUsed) return load()
      const under = fills
      const inFlight = under.get(hash)
      if (inFlight) return inFlight as ReturnType<typeof load>
      const filling = load().then(
        (loaded) => {
          if (under === fills && isVerified(loaded)) store(hash, loaded)
          under.delete(hash)
          return loaded
        },
        (error: unknown) => {
          under.delete(hash)
          throw error
        },
      )
      under.set(hash, filling)
      return filling
    },
    evict(kind, id) {
      detachFills()
      for (const hash of [...(hashesByTag.get(tagOf(kind, id)) ?? [])]) entries.delete(hash)
    },
    flush() {
      detachFills()
      entries.clear()
    },
    prove(sentAt) {
      if (!isLive()) {
        detachFills()
        entries.clear()
      }
      proof = sentAt
    },
  }

  function store(hash: string, loaded: Verified): void {
    const lastsMs = ENTRY_LASTS_MS + (Math.random() * 2 - 1) * ENTRY_SPREAD_MS
    entries.set(hash, { ...loaded, validUntilMs: Math.min(loaded.validUntilMs, clock() + lastsMs) })
    for (const tag of loaded.tags) {
      const hashes = hashesByTag.get(tag)
      if (hashes) hashes.add(hash)
      else hashesByTag.set(tag, new Set([hash]))
    }
  }
}

function isVerified(loaded: unknown): loaded is Verified {
  return typeof loaded === 'object' && loaded !== null && 'validUntilMs' in loaded
}
