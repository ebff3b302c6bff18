import type { Config } from '../config/config.ts'
import type { Database, OpenDatabase } from '../db/database.ts'
import type { SharedCounters } from '../db/redis.ts'
import type { DerivedKeys } from '../lib/derived-keys.ts'
import type { Log } from '../lib/log.ts'
import type { Metrics } from '../lib/metrics.ts'
import type { Clock } from '../lib/time.ts'
import type { AuditCounts } from './audit/counts.ts'
import type { Mail } from './mail/mail.ts'
import type { PasswordHasher } from './passwords/hasher.ts'
import type { SigningRing } from './signing/claims.ts'
import type { UsageCounts } from './usage/counts.ts'
import type { CredentialCache } from './verify/cache.ts'
import type { KeyRates } from './verify/rates.ts'

/** What every service function is given: one per running service, made once at start (`server/open.ts`). */
export type Context = {
  config: Config
  db: Database
  /** For readiness: whether the database takes writes. */
  assertWritable: OpenDatabase['assertWritable']
  clock: Clock
  log: Log
  metrics: Metrics
  cache: CredentialCache
  /** Keys derived from SECRET_KEY (and SECRET_KEY_PREVIOUS). */
  keys: DerivedKeys
  signing: SigningRing
  passwords: PasswordHasher
  mail: Mail
  /** Limits per key. */
  rates: KeyRates
  usage: UsageCounts
  /** Audit events of which the trail has their number. */
  auditCounts: AuditCounts
  /** Redis, where instances share their limits; null: each counts by itself. */
  shared: SharedCounters | null
}
