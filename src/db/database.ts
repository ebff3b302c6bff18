import type { ExtractTablesWithRelations } from 'drizzle-orm'
import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core'
import type { Config } from '../config/config.ts'
import type { PoolLoad } from '../lib/metrics.ts'
import type * as schema from './schema.ts'

/** The type of both drivers' databases and of their transactions. */
export type Database = PgDatabase<PgQueryResultHKT, typeof schema, ExtractTablesWithRelations<typeof schema>>
export type Transaction = Parameters<Parameters<Database['transaction']>[0]>[0]

/** Receives the messages of channels. */
export type Listener = {
  /**
   * @param isUnasked whether the message arrived while no statement was running on the connection. A pooler
   *   in transaction mode lends a connection for the time of a statement, so a message that arrives with an
   *   answer does not prove that messages arrive without one (docs/decisions/0017).
   */
  message(payload: string, isUnasked: boolean, channel: string): void
  /** Messages may have been lost, because the connection was replaced. */
  gap(): void
}

/** An open database: PostgreSQL or the embedded one. */
export type OpenDatabase = {
  kind: 'postgres' | 'embedded'
  db: Database
  /** The present use of its connections. */
  load(): PoolLoad
  /**
   * LISTENs to channels on one separate connection. When that connection ends, another one takes its place.
   * @param channels each of letters, digits and `_`
   * @returns after the first LISTEN took effect: a function that stops listening
   */
  listen(channels: readonly string[], listener: Listener): Promise<() => Promise<void>>
  /** Sends NOTIFY on the same route as queries, but not behind waiting queries (docs/decisions/0018). */
  notify(channel: string, payload: string): Promise<void>
  /**
   * The whole embedded database at one moment, as a gzipped tar. null for PostgreSQL, which has its own tools
   * for backups.
   */
  dump: (() => Promise<Blob>) | null
  /**
   * Asks the database whether it accepts writes now. Writes nothing.
   * @throws Error for which `isUnavailable` is true
   */
  assertWritable(): Promise<void>
  close(): Promise<void>
}

/** The settings that src/db reads. */
export type DatabaseConfig = Pick<
  Config,
  | 'databaseUrl'
  | 'databaseDirectUrl'
  | 'databasePoolSize'
  | 'databaseStatementTimeoutMs'
  | 'databasePrepare'
  | 'dataDir'
> &
  Partial<Pick<Config, 'mode'>>
