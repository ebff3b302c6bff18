import type { Config } from '../config/config.ts'
import { createAuditCounts } from '../core/audit/counts.ts'
import { createDocuments } from '../core/client-metadata/documents.ts'
import { createVisits } from '../core/client-metadata/visits.ts'
import type { Context } from '../core/context.ts'
import { announceInstance } from '../core/instances/instances.ts'
import { openMail } from '../core/mail/mail.ts'
import { requireFittingApps } from '../core/oauth/check-apps.ts'
import { createPasswordHasher, type PasswordCost } from '../core/passwords/hasher.ts'
import { announceSettings, requireSettingsOfHome } from '../core/shared-settings/shared-settings.ts'
import { openSigningKeys } from '../core/signing/signing-keys.ts'
import { createUsageCounts } from '../core/usage/counts.ts'
import type { KnownCopy } from '../core/verifier/freshness.ts'
import { requireReadyCopy } from '../core/verifier/ready.ts'
import { createRegion } from '../core/verifier/region.ts'
import { requireCopy } from '../core/verifier/require-copy.ts'
import { createCredentialCache } from '../core/verify/cache.ts'
import { createKeyRates } from '../core/verify/rates.ts'
import type { OpenDatabase } from '../db/database.ts'
import { migrate, readMigrationState } from '../db/migrate.ts'
import { openDatabase } from '../db/open.ts'
import { namespaceOf, openSharedCounters, type SharedCounters } from '../db/redis.ts'
import { deriveKeys, NO_KEYS } from '../lib/derived-keys.ts'
import { newId } from '../lib/ids.ts'
import type { Log } from '../lib/log.ts'
import { createMetrics } from '../lib/metrics.ts'
import type { Clock } from '../lib/time.ts'
import { startJobs, startJobsOfVerifier } from './jobs.ts'
import { keepSecretKey } from './secret-key.ts'
import { waitForDatabase } from './wait-for-database.ts'

/** A working context with its database, and the function that closes both. */
export type Opened = { context: Context; database: OpenDatabase; close(): Promise<void> }

/**
 * Opens the database, migrates it (with MIGRATE=check: checks that it is up to date), and makes the context.
 * @param purpose `serve` waits for a database that is not there yet, and keeps the cache consistent with the
 *   database until it is closed; a `command` always queries the database
 * @throws Error with one sentence for the person at the terminal
 */
export async function openContext(config: Config, log: Log, purpose: 'serve' | 'command'): Promise<Opened> {
  const isServer = purpose === 'serve'
  const database = await (isServer
    ? waitForDatabase(config, log, { creates: true })
    : openDatabase(config, log))
  try {
    if (config.mode === 'verify' && !isServer) throw new Error(HOME_ALONE)
    await bringUpToDate(config, database, log)
    if (config.mode === 'verify') await requireCopy(database.db)
    const { context, stop } = await assembleContext(await withSecretKey(config, isServer), database, log, {
      caching: isServer,
      runsJobsAtStart: isServer,
    })
    const close = async () => {
      await stop()
      await database.close()
    }
    return { context, database, close }
  } catch (error) {
    await database.close()
    throw error
  }
}

const HOME_ALONE = 'MODE is verify, and this database is a copy: run this command at home'

/** Migrates, or with MIGRATE=check throws if a migration is pending. */
export async function bringUpToDate(config: Config, database: OpenDatabase, log: Log): Promise<void> {
  const { pending, unknown, place } = await readMigrationState(database)
  const isVerifier = config.mode === 'verify'
  if (place === 'region' && !isVerifier)
    throw new Error('the database is the copy of a region: only verifiers use it, with MODE=verify')
  if (place !== 'region' && isVerifier)
    throw new Error('the database is no copy of a region: run "latchkey migrate --region" on one first')
  if (unknown > 0) log.warn({ unknown }, 'The database has been migrated by a newer Latchkey')
  if (pending === 0) return
  if (config.migrate === 'check') {
    throw new Error(
      `the database lacks ${pending} migrations and MIGRATE is check: run "latchkey migrate${isVerifier ? ' --region' : ''}" first`,
    )
  }
  await migrate(config, database)
  log.info({ migrations: pending }, 'The database is up to date')
}

/**
 * Returns the settings with the SECRET_KEY of DATA_DIR where the setting is not set.
 * @param creates whether to create a missing key
 */
export async function withSecretKey(config: Config, creates: boolean): Promise<Config> {
  if (config.secretKey !== null) return config
  if (config.mode === 'verify') return config
  return { ...config, secretKey: await keepSecretKey(config.dataDir, creates) }
}

/** A context in use. `stop` ends its background work and leaves the database open. */
type RunningContext = { context: Context; stop(): Promise<void> }

/**
 * Makes a context for an open, migrated database.
 * @param config with its `secretKey` set, from the environment or from DATA_DIR
 * @param passwordCost the cost of new password hashes, if it differs from production
 * @param runsJobsAtStart whether the hourly work also runs at once; not in a test, whose rows have times of their own
 * @param readCopy in place of what the database of a verifier says of its copy, for tests without a subscription
 * @param caching false for a command that ends soon: it does not LISTEN, and the cache is never read
 * @throws Error if SECRET_KEY does not decrypt the stored signing keys, a file of MAIL_TEMPLATES is wrong, or the settings of a
 * server do not fit the registered apps
 */
export async function assembleContext(
  config: Config,
  database: OpenDatabase,
  log: Log,
  {
    clock = Date.now,
    caching = true,
    runsJobsAtStart = false,
    passwordCost,
    readCopy,
  }: {
    clock?: Clock
    caching?: boolean
    runsJobsAtStart?: boolean
    passwordCost?: PasswordCost
    readCopy?: () => Promise<KnownCopy>
  } = {},
): Promise<RunningContext> {
  const isVerifier = config.mode === 'verify'
  if (config.secretKey === null && !isVerifier) throw new Error('SECRET_KEY is not set')
  const keys = config.secretKey ? deriveKeys(config.secretKey, config.secretKeyPrevious) : NO_KEYS
  const { db } = database
  if (caching && !isVerifier) await requireFittingApps({ config, db })
  const signing = await openSigningKeys({ config, db, clock, keys, log })
  const mail = await openMail(config)
  const metrics = createMetrics(database.load)
  const shared = await openShared(config, log, caching)
  const cache = createCredentialCache(
    clock,
    database.kind === 'postgres',
    metrics,
    config.cacheMaxCredentials,
  )
  const rates = createKeyRates(clock, shared, config.cacheMaxCredentials)
  const verifier = isVerifier ? createRegion(config, { cache, rates }, { clock, log, metrics }) : null
  const region = verifier?.region ?? null
  const context: Context = {
    config,
    db,
    assertReady: region ? () => requireReadyCopy(db, region) : database.assertWritable,
    instance: { id: newId(), startedAt: new Date(clock()), databaseKind: database.kind },
    clock,
    log,
    metrics,
    cache: verifier?.cache ?? cache,
    keys,
    signing,
    passwords: createPasswordHasher(config, passwordCost),
    mail,
    rates: verifier?.rates ?? rates,
    usage: createUsageCounts(clock, metrics, config.refusalsRetentionDays > 0),
    auditCounts: createAuditCounts(clock),
    documents: createDocuments({ clock }),
    visits: createVisits(clock, shared),
    shared,
    region,
  }
  if (!caching) return { context, stop: async () => {} }
  if (region) await requireSettingsOfHome(context)
  const stopJobs = region
    ? await startJobsOfVerifier(context, database, region, readCopy)
    : await announceAndStartJobs(context, database, runsJobsAtStart)
  const stop = async () => {
    await stopJobs()
    shared?.close()
  }
  return { context, stop }
}

/** A server at home says what it is, and takes part in the work of all. */
async function announceAndStartJobs(
  context: Context,
  database: OpenDatabase,
  runsAtStart: boolean,
): Promise<() => Promise<void>> {
  await announceSettings(context)
  await announceInstance(context)
  return startJobs(context, database, { runsAtStart })
}

/** Opens the shared counters in a server; commands count no uses. */
async function openShared(config: Config, log: Log, isServing: boolean): Promise<SharedCounters | null> {
  if (config.redisUrl === null || !isServing) return null
  return openSharedCounters(config.redisUrl, namespaceOf(config.publicUrl), log)
}
