import type { Config } from '../config.ts'
import type { OpenDatabase } from './open.ts'

/** How many migrations this binary knows and how many of them are still to run. */
export type MigrationState = { known: number; pending: number }

/** Runs every pending migration under an advisory lock, on a direct connection; ten may call it at once. */
export async function migrate(_config: Config, _database: OpenDatabase): Promise<MigrationState> {
  throw new Error('to come')
}

/** Reads the journal and changes nothing. */
export async function readMigrationState(_database: OpenDatabase): Promise<MigrationState> {
  throw new Error('to come')
}
