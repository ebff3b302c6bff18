import { type App, createApp, createVerifierApp } from '../../src/api/app.ts'
import type { Config } from '../../src/config/config.ts'
import type { Context } from '../../src/core/context.ts'
import type { PasswordCost } from '../../src/core/passwords/hasher.ts'
import type { KnownCopy } from '../../src/core/verifier/freshness.ts'
import type { OpenDatabase } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { openDatabase } from '../../src/db/open.ts'
import { createLog, type Log } from '../../src/lib/log.ts'
import { secret } from '../../src/lib/secret.ts'
import { SERVER_LIMITS } from '../../src/server/listen.ts'
import { assembleContext } from '../../src/server/open.ts'
import { testConfig } from './config.ts'
import { type LockWatch, watchLocks } from './lock-order.ts'
import { createDatabase } from './postgres.ts'

/** A Latchkey that listens on loopback, on its own PostgreSQL database. */
export type TestService = {
  url: string
  databaseUrl: string
  config: Config
  context: Context
  database: OpenDatabase
  app: App
  /** Everything that was logged, one parsed line each. */
  logged(): Record<string, unknown>[]
  loggedText(): string
  /**
   * The locks of its transactions. `stop` throws if a transaction took locks in another order
   * (docs/decisions/0026).
   */
  locks: LockWatch
  /** Moves the service's clock. */
  advance(ms: number): void
  stop(): Promise<void>
}

export type Options = Partial<Config> & {
  databaseUrl?: never
  /** Whether PUBLIC_URL is the address where it listens, as OpenID discovery requires. */
  isIssuer?: boolean
  /** In seconds, for a test that cannot wait for the real value. */
  idleTimeout?: number
  /** `OWASP_COST` for a test about hashing. */
  passwordCost?: PasswordCost
  /** Of a verifier on the database of home itself: what it is told of its copy. */
  readCopy?: () => Promise<KnownCopy>
}

/** The lowest cost that argon2 allows. */
export const CHEAPEST: PasswordCost = { memoryCost: 8, timeCost: 1 }

/**
 * Starts a service. Rate limits by address are off unless the test sets `rateLimits`.
 * @param on an existing database, for a second server beside the first
 */
export async function startService(
  {
    isIssuer = false,
    idleTimeout = SERVER_LIMITS.idleTimeout,
    passwordCost = CHEAPEST,
    readCopy,
    ...overrides
  }: Options = {},
  on?: Pick<TestService, 'databaseUrl' | 'config'>,
): Promise<TestService> {
  const place = isIssuer ? holdPort() : null
  const database = on ? null : await createDatabase()
  const databaseUrl = on?.databaseUrl ?? database?.url ?? ''
  const config = testConfig({
    ...(on ? { secretKey: on.config.secretKey } : {}),
    logLevel: 'debug',
    passwordHashConcurrency: 2,
    ...(place && placed(`http://127.0.0.1:${place.port}`)),
    ...overrides,
    databaseUrl: secret(databaseUrl),
    databaseDirectUrl: overrides.databaseDirectUrl ?? secret(databaseUrl),
  })
  let text = ''
  const log: Log = createLog(config, (chunk) => {
    text += chunk
  })
  let skew = 0
  const clock = () => Date.now() + skew
  const locks = watchLocks()
  const opened = await openDatabase(config, log, { statements: locks.logger })
  locks.watch(opened.db)
  if (config.mode === 'serve') await migrate(config, opened)
  const parts = { clock, passwordCost, ...(readCopy && { readCopy }) }
  const { context, stop } = await assembleContext(config, opened, log, parts).catch(async (error) => {
    await opened.close()
    throw error
  })
  // A verifier has some of the routes.
  const app = (context.region
    ? createVerifierApp(context, context.region)
    : createApp(context)) as unknown as App
  const hostname = '127.0.0.1'
  app.listen({
    port: place?.port ?? 0,
    hostname,
    reusePort: place !== null,
    ...SERVER_LIMITS,
    idleTimeout,
  })
  await place?.release()
  const loggedText = () => {
    log.flush()
    return text
  }
  return {
    url: `http://127.0.0.1:${app.server?.port}`,
    databaseUrl,
    config,
    context,
    database: opened,
    app,
    loggedText,
    locks,
    logged: () =>
      loggedText()
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line)),
    advance(ms) {
      skew += ms
    },
    async stop() {
      await app.stop(true)
      await stop()
      await opened.close()
      await database?.drop()
      if (locks.faults.length > 0) throw new Error(`Wrong order of locks: ${locks.faults.join('\n')}`)
    },
  }
}

/** The settings that follow from PUBLIC_URL. */
const placed = (publicUrl: string) => ({ publicUrl, publicUrlIsSet: true, jwtAudience: publicUrl })

/** A free port that stays reserved until the service has opened it too. For a moment both listen on it. */
function holdPort(): { port: number; release(): Promise<void> } {
  const held = Bun.serve({ hostname: '127.0.0.1', port: 0, reusePort: true, fetch: () => new Response() })
  return { port: held.port ?? 0, release: () => held.stop(true) }
}
