import type { Config } from '../config/config.ts'
import type { Context } from '../core/context.ts'
import { startSweeping } from '../core/housekeeping/delete-outdated.ts'
import { createPasswordHasher } from '../core/passwords/hasher.ts'
import { openSigningRing } from '../core/signing/signing-keys.ts'
import { createUsageCounts } from '../core/usage/counts.ts'
import { startWritingUsage } from '../core/usage/usage.ts'
import { createCredentialCache } from '../core/verify/cache.ts'
import { startHeartbeat } from '../core/verify/proof-of-life.ts'
import { createKeyRates } from '../core/verify/rates.ts'
import type { OpenDatabase } from '../db/database.ts'
import { openSharedCounters, type SharedCounters } from '../db/redis.ts'
import { deriveKeys } from '../lib/derived-keys.ts'
import type { Log } from '../lib/log.ts'
import { createMetrics } from '../lib/metrics.ts'
import type { Clock } from '../lib/time.ts'

/** A context in use; `stop` ends what runs in the background, and leaves the database open. */
export type RunningContext = { context: Context; stop(): Promise<void> }

/**
 * Puts a context together over an open, migrated database.
 * @param config with its `secretKey` set, from the environment or from DATA_DIR
 * @param caching false for a command that ends at once: no LISTEN, and a cache that is never read
 * @throws Error where SECRET_KEY does not open the stored signing keys
 */
export async function assembleContext(
  config: Config,
  database: OpenDatabase,
  log: Log,
  { clock = Date.now, caching = true }: { clock?: Clock; caching?: boolean } = {},
): Promise<RunningContext> {
  if (config.secretKey === null) throw new Error('SECRET_KEY is not set')
  const keys = deriveKeys(config.secretKey, config.secretKeyPrevious)
  const { db } = database
  const signing = await openSigningRing({ config, db, clock, keys, log })
  const metrics = createMetrics(database.load)
  const cache = createCredentialCache(clock, database.kind === 'postgres', metrics)
  const passwords = createPasswordHasher(config)
  const shared = await openShared(config, log, caching)
  const rates = createKeyRates(clock, shared)
  const usage = createUsageCounts(clock, metrics)
  const context: Context = {
    config,
    db,
    clock,
    log,
    metrics,
    cache,
    keys,
    signing,
    passwords,
    rates,
    usage,
    shared,
  }
  if (!caching) return { context, stop: async () => {} }
  const stopHeartbeat = await startHeartbeat(database, context)
  const stopSweeping = startSweeping(context, { vacuums: database.kind === 'embedded' })
  const stopWriting = startWritingUsage(context)
  const stop = async () => {
    stopSweeping()
    await stopWriting()
    shared?.close()
    await stopHeartbeat()
  }
  return { context, stop }
}

/** A command that ends at once counts nothing. Services with another issuer may share the same Redis. */
async function openShared(config: Config, log: Log, isServing: boolean): Promise<SharedCounters | null> {
  if (config.redisUrl === null || !isServing) return null
  return openSharedCounters(config.redisUrl, Bun.hash.crc32(config.publicUrl).toString(16), log)
}
