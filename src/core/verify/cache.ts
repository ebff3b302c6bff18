import type { EvictionKind } from '../../db/eviction.ts'
import type { Metrics } from '../../lib/metrics.ts'
import type { Clock } from '../../lib/time.ts'
import type { Principal } from '../principal.ts'
import { createEntries } from './entries.ts'

/** A verified credential. It is valid until `validUntilMs`, unless a row changes before on which it depends. */
export type Verified = { principal: Principal; validUntilMs: number }

/**
 * Verified credentials by the SHA-256 of the presented credential (docs/decisions/0004), and for some seconds those that
 * are unknown. Keeps neither credentials nor other refusals.
 */
export type CredentialCache = {
  /** The principal of a credential that is known to be valid now. null: not known here, so the database must be asked. */
  read(hash: string): Principal | null
  /** Whether the database knew no such credential, seconds ago. */
  isUnknown(hash: string): boolean
  /**
   * Runs `load` once for all callers that ask for `hash` at the same time, and keeps the result, unless an eviction
   * arrived meanwhile. Without proof of life each caller runs its own `load`, and nothing is kept
   * (docs/decisions/0017).
   * @param load is told whether its result is shared; null where the database knows no such credential
   */
  fill<R>(
    hash: string,
    load: (isShared: boolean) => Promise<Verified | R | null>,
  ): Promise<Verified | R | null>
  /**
   * Drops every entry that depends on one row. Changes call it after COMMIT and before they answer, so that a revoked
   * credential is refused from then on.
   */
  evict(kind: EvictionKind, id: string): void
  /** Forgets which credentials are unknown: one was made. */
  forgetUnknown(): void
  flush(): void
  /** Records that every eviction up to this moment has arrived (proof-of-life.ts). */
  prove(sentAt: Moment): void
  /** Whether the proof of life is recent enough for the cache to be used. */
  isLive(): boolean
  /** The number of verified credentials. */
  size(): number
}

/**
 * An instant on both clocks. The monotonic clock does not jump; the wall clock advances while the process is suspended.
 */
export type Moment = { wallMs: number; monotonicMs: number }
export const momentNow = (): Moment => ({ wallMs: Date.now(), monotonicMs: performance.now() })

const PROOF_LASTS_MS = 3_000
const ENTRY_LASTS_MS = 60_000
const ENTRY_SPREAD_MS = 10_000
const UNKNOWN_LASTS_MS = 10_000
const MAX_UNKNOWN = 10_000

/**
 * Creates an empty cache.
 * @param needsProof true where other processes can change the database (PostgreSQL): the cache is then used only while
 * proof of life is recent. The embedded database has one process, which evicts by itself.
 * @param maxEntries CACHE_MAX_CREDENTIALS
 */
export function createCredentialCache(
  clock: Clock,
  needsProof: boolean,
  { cacheReads }: Pick<Metrics, 'cacheReads'>,
  maxEntries: number,
): CredentialCache {
  const entries = createEntries(maxEntries)
  /** Until when a credential counts as unknown, by its hash, the oldest first. */
  const unknown = new Map<string, number>()
  /** How often the unknown were forgotten: a load that began before may not know of the credential that was made. */
  let knownSince = 0
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
  const forgetUnknown = () => {
    knownSince += 1
    unknown.clear()
  }
  const flush = () => {
    detachFills()
    entries.clear()
    forgetUnknown()
  }

  return {
    isLive,
    flush,
    size: () => entries.size(),
    read(hash) {
      const entry = entries.get(hash)
      if (entry === undefined || clock() >= entry.validUntilMs || !isLive()) return null
      entry.isUsed = true
      cacheReads.hit += 1
      return entry.principal
    },
    isUnknown(hash) {
      if (unknown.size === 0) return false
      const until = unknown.get(hash)
      if (until === undefined || !isLive()) return false
      if (clock() < until) return true
      unknown.delete(hash)
      return false
    },
    fill(hash, load) {
      const isUsed = isLive()
      cacheReads[isUsed ? 'miss' : 'bypass'] += 1
      // Without proof of life, a query in flight may be older than a revocation that never arrived here, so its result
      // is not shared (docs/decisions/0017).
      if (!isUsed) return load(false)
      const under = fills
      const known = knownSince
      const inFlight = under.get(hash)
      if (inFlight) return inFlight as ReturnType<typeof load>
      const filling = load(true).then(
        (loaded) => {
          if (loaded === null && known === knownSince) remember(hash)
          else if (under === fills && isVerified(loaded)) store(hash, loaded)
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
      entries.deleteOf(id)
      // A key may have got another secret.
      if (kind === 'key') forgetUnknown()
    },
    forgetUnknown,
    prove(sentAt) {
      if (!isLive()) flush()
      proof = sentAt
    },
  }

  function store(hash: string, { principal, validUntilMs }: Verified): void {
    const lastsMs = ENTRY_LASTS_MS + (Math.random() * 2 - 1) * ENTRY_SPREAD_MS
    entries.add(hash, principal, Math.min(validUntilMs, clock() + lastsMs))
  }

  function remember(hash: string): void {
    const [oldest] = unknown.keys()
    if (unknown.size >= MAX_UNKNOWN && oldest !== undefined) unknown.delete(oldest)
    unknown.set(hash, clock() + UNKNOWN_LASTS_MS)
  }
}

function isVerified(loaded: unknown): loaded is Verified {
  return typeof loaded === 'object' && loaded !== null && 'validUntilMs' in loaded
}
