import type { ExtractTablesWithRelations } from 'drizzle-orm'
import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core'
import type { Config } from '../config/config.ts'
import type { Log } from '../lib/log.ts'
import type { PoolLoad } from '../lib/metrics.ts'
import { openPostgres } from './postgres/postgres.ts'
import type * as schema from './schema.ts'

/** One type for both drivers, and for their transactions. */
export type Database = PgDatabase<PgQueryResultHKT, typeof schema, ExtractTablesWithRelations<typeof schema>>
export type Transaction = Parameters<Parameters<Database['transaction']>[0]>[0]

/** What hears the channel: `gap` says that messages may have been lost, after any reconnection. */
export type Listener = {
  /**
   * @param isUnasked it came by itself, while nothing was asked on the line. A transaction pooler lends a connection
   * for as long as a question takes; what comes along with the answer says nothing of what comes without one.
   */
  message(payload: string, isUnasked: boolean): void
  gap(): void
}

/** An open database, whichever it is. */
export type OpenDatabase = {
  kind: 'postgres' | 'embedded'
  db: Database
  /** What its connections are doing. */
  load(): PoolLoad
  /** LISTENs to a channel, named by letters and `_`, on a line of its own and stays on it over reconnections; resolves once the first LISTEN is in force. */
  listen(channel: string, listener: Listener): Promise<() => Promise<void>>
  /** Sends NOTIFY the way that queries go, though not behind those that wait. */
  notify(channel: string, payload: string): Promise<void>
  close(): Promise<void>
}

/** The settings that this layer reads. */
export type DatabaseConfig = Pick<
  Config,
  | 'databaseUrl'
  | 'databaseDirectUrl'
  | 'databasePoolSize'
  | 'databaseStatementTimeoutMs'
  | 'databasePrepare'
  | 'dataDir'
>

/** The name under which the build puts a ready-made data directory into the binary (scripts/make-embedded-snapshot.ts). */
const SNAPSHOT_NAME = 'embedded-database'

/**
 * Opens PostgreSQL at DATABASE_URL, or PGlite in DATA_DIR. Does not migrate.
 * @param parts `snapshot`: what an embedded database starts from, in the binary the one inside it; null: initdb
 * @throws Error with one sentence for the person at the terminal: unreachable, too old, standby, locked by another process
 */
export async function openDatabase(
  config: DatabaseConfig,
  log: Log,
  parts: { snapshot?: Blob | null } = {},
): Promise<OpenDatabase> {
  if (config.databaseUrl) return openPostgres(config, config.databaseUrl, log)
  // By import() so that a start with DATABASE_URL does not load an embedded one.
  const { openEmbedded } = await import('./embedded/embedded.ts')
  return openEmbedded(config, log, parts.snapshot === undefined ? embeddedSnapshot() : parts.snapshot)
}

/** Run from source there is none. */
function embeddedSnapshot(): Blob | null {
  const file = Bun.embeddedFiles.find((blob) => 'name' in blob && String(blob.name).startsWith(SNAPSHOT_NAME))
  return file ? new File([file], `${SNAPSHOT_NAME}.tar.gz`, { type: 'application/gzip' }) : null
}
