import { LRUCache } from 'lru-cache'
import type { EvictionKind } from '../../db/eviction.ts'
import type { Metrics } from '../../lib/metrics.ts'
import type { Clock } from '../../lib/time.ts'
import type { Principal } from '../principal.ts'

/** A verified credential. It is valid until `validUntilMs`, unless a row that one of the tags names changes before. */
export type Verified = { principal: Principal; validUntilMs: number; tags: readonly string[] }

/**
 * Verified credentials by the SHA-256 of the presented credential (docs/decisions/0004). Keeps neither credentials nor
 * refusals.
 */
export type CredentialCache = {
  /** The principal of a credential that is known to be valid now. null: unknown here, so the database must be asked. */
  read(hash: string): Principal | null
  /**
   * Runs `load` once for all callers that ask for `hash` at the same time, and keeps the result, unless an eviction
   * arrived meanwhile. Without proof of life each caller runs its own `load`, and nothing is kept
   * (docs/decisions/0017).
   */
  fill<R>(hash: string, load: () => Promise<Verified | R>): Promise<Verified | R>
  /**
   * Drops every entry that depends on one row. Changes call it after COMMIT and before they answer, so that a revoked
   * credential is refused from then on.
   */
  evict(kind: EvictionKind, id: string): void
  flush(): void
  /** Records that every eviction up to this moment has arrived (proof-of-life.ts). */
  prove(sentAt: Moment): void
  /** Whether the proof of life is recent enough for the cache to be used. */
  isLive(): boolean
  /** The number of entries. */
  size(): number
}

/**
 * An instant on both clocks. The monotonic clock does not jump; the wall clock advances while the process is suspended.
 */
export type Moment = { wallMs: number; monotonicMs: number }
export const momentNow = (): Moment => ({ wallMs: Date.now(), monotonicMs: performance.now() })

const MAX_ENTRIES = 10_000
const PROOF_LASTS_MS = 3_000
const ENTRY_LASTS_MS = 60_000
const ENTRY_SPREAD_MS = 10_000

/** The tag that names a row on which an entry depends. */
export const tagOf = (kind: EvictionKind, id: string): string => `${kind} ${id}`

/**
 * Creates an empty cache.
 * @param needsProof true where other processes can change the database (PostgreSQL): the cache is then used only while
 * proof of life is recent. The embedded database has one process, which evicts by itself.
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
  /** Loads in flight, by hash. Every eviction empties the map, so that a later caller asks the database again. */
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
      // Without proof of life, a query in flight may be older than a revocation that never arrived here, so its result
      // is not shared (docs/decisions/0017).
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
