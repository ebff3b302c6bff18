import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import postgres from 'postgres'
import { createDatabase, sharedServer, type TestDatabase } from '../../tests/support/postgres.ts'
import { startServer } from '../../tests/support/postgres-server.ts'
import { DATABASE_CORE, familyCpuSeconds, moveToCore } from './process.ts'

let postmaster: Promise<number> | null = null

/** Creates an empty database on the one PostgreSQL that all contenders use. */
export async function makeDatabase(): Promise<TestDatabase> {
  postmaster ??= pinServer()
  await postmaster
  return createDatabase({ migrated: false })
}

/** With the buffers of a machine that is there for a large database, and without what slows its filling. */
const LARGE_SETTINGS = [
  'shared_buffers=1GB',
  'effective_cache_size=3GB',
  'max_wal_size=16GB',
  'checkpoint_timeout=1h',
  'wal_level=minimal',
  'max_wal_senders=0',
]

/** Starts a PostgreSQL for one large database. It may use every core, and its data is removed with it. */
export async function makeLargeDatabase(): Promise<TestDatabase> {
  const server = await startServer({ settings: LARGE_SETTINGS })
  return { url: server.url('postgres'), drop: server.remove }
}

/**
 * The processor time of that PostgreSQL so far, in seconds. null if it does not run, or the system does not
 * report it.
 */
export async function databaseCpuSeconds(): Promise<number | null> {
  return postmaster === null ? null : familyCpuSeconds(await postmaster)
}

/** Pins the server to its core. Later connections inherit that. */
async function pinServer(): Promise<number> {
  const sql = postgres((await sharedServer()).url('postgres'), { max: 1 })
  const [row] = await sql`SHOW data_directory`
  await sql.end()
  const pid = Number(readFileSync(join(row?.data_directory, 'postmaster.pid'), 'utf8').split('\n')[0])
  moveToCore(DATABASE_CORE, pid)
  return pid
}
