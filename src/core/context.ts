import type { Config } from '../config/config.ts'
import type { Database, OpenDatabase } from '../db/database.ts'
import type { SharedCounters } from '../db/redis.ts'
import type { DerivedKeys } from '../lib/derived-keys.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import type { Clock } from '../lib/time.ts'
import type { AuditCounts } from './audit/counts.ts'
import type { Documents } from './client-metadata/documents.ts'
import type { Visits } from './client-metadata/visits.ts'
import type { Mail } from './mail/mail.ts'
import type { PasswordHasher } from './passwords/hasher.ts'
import type { SigningKeys } from './signing/claims.ts'
import type { UsageCounts } from './usage/counts.ts'
import type { Region } from './verifier/region.ts'
import type { CredentialCache } from './verify/cache.ts'
import type { KeyRates } from './verify/rates.ts'

/**
 * What the functions of `core/` need: configuration, database, cache, keys and clock. A process makes one at its start
 * (`server/open.ts`).
 */
export type Context = {
  config: Config
  db: Database
  /**
   * Checks for readiness that the database accepts writes; of a verifier that its copy is recent, and has a public key.
   * @throws Problem stale, or Error for which `isUnavailable` is true
   */
  assertReady(): Promise<void>
  /** This process among those on the database. */
  instance: { id: string; startedAt: Date; databaseKind: OpenDatabase['kind'] }
  clock: Clock
  log: Log
  metrics: Metrics
  cache: CredentialCache
  /** Keys derived from SECRET_KEY, and from SECRET_KEY_PREVIOUS during a rotation. */
  keys: DerivedKeys
  signing: SigningKeys
  passwords: PasswordHasher
  mail: Mail
  /** Counts uses against the rate limits of single keys. */
  rates: KeyRates
  usage: UsageCounts
  /** Audit events that are counted instead of written one by one (docs/decisions/0033). */
  auditCounts: AuditCounts
  /** The metadata documents of apps, and which of them each person had fetched. */
  documents: Documents
  visits: Visits
  /** Counters on Redis, where instances share their limits; null: each instance counts alone. */
  shared: SharedCounters | null
  /** What a verifier in a region has besides; null: this is home. */
  region: Region | null
}
