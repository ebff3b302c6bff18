import type { Config } from '../../config/config.ts'
import type { Log } from '../../lib/log.ts'
import type { Metrics } from '../../lib/metrics.ts'
import type { Clock } from '../../lib/time.ts'
import type { KeyPrincipal } from '../principal.ts'
import type { CredentialCache } from '../verify/cache.ts'
import type { KeyRates, RateState } from '../verify/rates.ts'
import { createFreshness, type Freshness } from './freshness.ts'
import { createHome, type Home } from './home.ts'

/** What only a verifier has (docs/regions.md). */
export type Region = {
  freshness: Freshness
  home: Home
  /** Whether the uses of a key with a rate are counted at home, or here. */
  countsRates: 'home' | 'local'
  /** The SHA-256 of the key that was presented, in hexadecimal. */
  hashOf(key: KeyPrincipal): string
}

/**
 * Makes the parts of a verifier.
 * @returns them, the cache that is read only while the copy is good enough, and the rates of this region
 * @throws Error where HOME_URL is not set
 */
export function createRegion(
  config: Config,
  { cache, rates }: { cache: CredentialCache; rates: KeyRates },
  parts: { clock: Clock; log: Log; metrics: Metrics },
): { region: Region; cache: CredentialCache; rates: KeyRates } {
  const { homeUrl, homeKey, verifyMaxStalenessSeconds, verifyWhenStale, regionRateLimits } = config
  if (homeUrl === null) throw new Error('HOME_URL is not set')
  const freshness = createFreshness(
    { maxStalenessSeconds: verifyMaxStalenessSeconds, whenStale: verifyWhenStale },
    parts.clock,
    parts.log,
    parts.metrics,
  )
  /** By the principals in the cache: a question at home names a key by its hash. */
  const hashes = new WeakMap<object, string>()
  return {
    region: {
      freshness,
      home: createHome(homeUrl, homeKey, parts.metrics),
      countsRates: regionRateLimits,
      hashOf(key) {
        const hash = hashes.get(key)
        if (hash === undefined) throw new Error('A key that was not verified here')
        return Buffer.from(hash, 'base64').toString('hex')
      },
    },
    cache: {
      ...cache,
      read: (hash) => (freshness.isGood() ? cache.read(hash) : null),
      fill: async (hash, load) => {
        freshness.require()
        const loaded = await cache.fill(hash, load)
        if (typeof loaded === 'object' && loaded !== null && 'principal' in loaded)
          hashes.set(loaded.principal, hash)
        return loaded
      },
      isUnknown: (hash) => freshness.isGood() && cache.isUnknown(hash),
    },
    rates: { take: (key) => ofRegion(rates.take(key)), preview: (key) => ofRegion(rates.preview(key)) },
  }
}

/** Says of rates that the region alone has counted them. */
function ofRegion(counted: RateState[] | Promise<RateState[]>): RateState[] | Promise<RateState[]> {
  if (counted instanceof Promise) return counted.then(ofRegion)
  return counted.map((state) => ({ ...state, scope: 'region' as const }))
}
