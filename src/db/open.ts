import type { Logger } from 'drizzle-orm/logger'
import type { Log } from '../lib/log.ts'
import type { DatabaseConfig, OpenDatabase } from './database.ts'
import { openPostgres } from './postgres/postgres.ts'

/** The name under which the build puts a ready-made data directory into the binary (scripts/make-embedded-snapshot.ts). */
const SNAPSHOT_NAME = 'embedded-database'

/**
 * Opens PostgreSQL at DATABASE_URL, or PGlite in DATA_DIR. Does not migrate.
 * @param parts `creates`: whether an embedded database is made where there is none; `snapshot`: the data directory that a
 * new one starts from, null for initdb; by default the one inside the binary;
 * `statements` is told of every statement that goes to PostgreSQL
 * @throws Error with one sentence for the person at the terminal: unreachable, too old, standby, locked by another process,
 * not there
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
  // By import() so that a start with DATABASE_URL does not load an embedded one.
  const { openEmbedded } = await import('./embedded/embedded.ts')
  return openEmbedded(config, log, creates ? { snapshot } : null)
}

/** null when run from source: only the build embeds the file. */
function embeddedSnapshot(): Blob | null {
  const file = Bun.embeddedFiles.find((blob) => 'name' in blob && String(blob.name).startsWith(SNAPSHOT_NAME))
  return file ? new File([file], `${SNAPSHOT_NAME}.tar.gz`, { type: 'application/gzip' }) : null
}
