import type { Logger } from 'drizzle-orm/logger'
import type { Log } from '../lib/log.ts'
import type { DatabaseConfig, OpenDatabase } from './database.ts'
import { openPostgres } from './postgres/postgres.ts'

/** The name of the data directory that the build embeds in the binary (scripts/make-embedded-snapshot.ts). */
const SNAPSHOT_NAME = 'embedded-database'

/**
 * Opens PostgreSQL at DATABASE_URL, or PGlite in DATA_DIR. Does not migrate.
 * @param parts `creates`: whether to create an embedded database that does not exist; `snapshot`: the data
 *   directory that a new database starts from, null for initdb, by default the one in the binary;
 *   `statements` receives every statement that is sent to PostgreSQL
 * @throws Error with one sentence for the person at the terminal: unreachable, too old, a standby, locked by
 *   another process, or missing
 */
export async function openDatabase(
  config: DatabaseConfig,
  log: Log,
  {
    creates = false,
    snapshot = embeddedSnapshot(),
    statements,
  }: { creates?: boolean; snapshot?: Blob | null; statements?: Logger } = {},
): Promise<OpenDatabase> {
  if (config.databaseUrl) return openPostgres(config, config.databaseUrl, log, statements)
  // Imported on demand, so that a start with DATABASE_URL does not load PGlite.
  const { openEmbedded } = await import('./embedded/embedded.ts')
  return openEmbedded(config, log, creates ? { snapshot } : null)
}

/** null when the program runs from source. Only the build embeds the file. */
function embeddedSnapshot(): Blob | null {
  const file = Bun.embeddedFiles.find((blob) => 'name' in blob && String(blob.name).startsWith(SNAPSHOT_NAME))
  return file ? new File([file], `${SNAPSHOT_NAME}.tar.gz`, { type: 'application/gzip' }) : null
}
