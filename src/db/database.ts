import type { ExtractTablesWithRelations } from 'drizzle-orm'
import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core'
import type { Config } from '../config/config.ts'
import type { PoolLoad } from '../lib/metrics.ts'
import type * as schema from './schema.ts'

/** One type for both drivers, and for their transactions. */
export type Database = PgDatabase<PgQueryResultHKT, typeof schema, ExtractTablesWithRelations<typeof schema>>
export type Transaction = Parameters<Parameters<Database['transaction']>[0]>[0]

/** Hears the messages of one channel. */
export type Listener = {
  /**
   * @param isUnasked whether the message came by itself, while no statement was under way on the connection. A
   * transaction pooler lends a connection for the time of a statement: a message that comes along with an answer does
   * not prove that messages arrive without one.
   */
  message(payload: string, isUnasked: boolean): void
  /** Messages may have been lost: the connection had to be made anew. */
  gap(): void
}

/** An open database: PostgreSQL, or the embedded one. */
export type OpenDatabase = {
  kind: 'postgres' | 'embedded'
  db: Database
  /** What its connections are doing. */
  load(): PoolLoad
  /**
   * LISTENs to a channel on a connection of its own, and on the next one when that connection ends.
   * @param channel letters and `_`
   * @returns a function that stops it, once the first LISTEN is in force
   */
  listen(channel: string, listener: Listener): Promise<() => Promise<void>>
  /** Sends NOTIFY the way that queries go, though not behind those that wait. */
  notify(channel: string, payload: string): Promise<void>
  /** All of an embedded database as a gzipped tar, as of one moment; null: the server has means of its own. */
  dump: (() => Promise<Blob>) | null
  /**
   * Asks whether writes are taken now, without writing.
   * @throws Error for which `isUnavailable` is true
   */
  assertWritable(): Promise<void>
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
