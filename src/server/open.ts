import type { Config } from '../config/config.ts'
import type { Context } from '../core/context.ts'
import type { OpenDatabase } from '../db/database.ts'
import { migrate, readMigrationState } from '../db/migrate.ts'
import { openDatabase } from '../db/open.ts'
import type { Log } from '../lib/log.ts'
import { assembleContext } from './assemble-context.ts'
import { keepSecretKey } from './secret-key.ts'

/** A context that works, the database under it, and how both end. */
export type Opened = { context: Context; database: OpenDatabase; close(): Promise<void> }

/**
 * Opens the database, brings it up to date (MIGRATE=check: makes sure that it is), and puts the context together.
 * @param purpose `serve` keeps the cache true to the database for as long as it is open; a `command` asks the database
 * @throws Error with one sentence for the person at the terminal
 */
export async function openContext(config: Config, log: Log, purpose: 'serve' | 'command'): Promise<Opened> {
  const database = await openDatabase(config, log)
  try {
    await bringUpToDate(config, database, log)
    const caching = purpose === 'serve'
    const { context, stop } = await assembleContext(withSecretKey(config), database, log, { caching })
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

async function bringUpToDate(config: Config, database: OpenDatabase, log: Log): Promise<void> {
  const { pending, unknown } = await readMigrationState(database)
  if (unknown > 0) log.warn({ unknown }, 'The database has been migrated by a newer Latchkey')
  if (pending === 0) return
  if (config.migrate === 'check') {
    throw new Error(
      `the database lacks ${pending} migrations and MIGRATE is check: run "latchkey migrate" first`,
    )
  }
  await migrate(config, database)
  log.info({ migrations: pending }, 'The database is up to date')
}

function withSecretKey(config: Config): Config {
  return config.secretKey === null ? { ...config, secretKey: keepSecretKey(config.dataDir) } : config
}
