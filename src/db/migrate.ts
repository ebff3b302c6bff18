import { asc, sql } from 'drizzle-orm'
import { bigint, serial, text } from 'drizzle-orm/pg-core'
import { latchkey } from './columns.ts'
import type { Database, DatabaseConfig, OpenDatabase } from './database.ts'
import { errorCode } from './errors.ts'
import { readMigrations } from './migrations.macro.ts' with { type: 'macro' }
import { createPool } from './postgres/pool.ts'
import { reachDirectly } from './postgres/postgres.ts'
import type { ConnectionEvents } from './postgres/primary.ts'
import { regionSchema } from './region-schema.ts'

/**
 * The migrations that this binary knows, those of them that have not run, and those of the database that this
 * binary does not know. `unknown` above zero means that a newer Latchkey has used the database. That is
 * allowed, because migrations only add within a release.
 */
export type MigrationState = { known: number; pending: number; unknown: number; place: Place | null }

/**
 * Whose schema a database has: home's, or that of a region, whose rows come from home. Each keeps its own record of migrations,
 * so that neither is taken for the other. null: it has none yet.
 */
export type Place = 'home' | 'region'

const MIGRATIONS = readMigrations()
/** The version of the schema: the time at which its last migration was made, in milliseconds. */
export const NEWEST_MIGRATION = Math.max(...MIGRATIONS.map(({ when }) => when))
/** The number of the advisory lock. It is "latchkey" in ASCII, so that no other program uses it by chance. */
const LOCK = 7809651199139603833n
/** The longest time that one statement of a migration may take. */
const MIGRATION_SILENCE_MS = 24 * 60 * 60 * 1000
/** A journal, with the columns that drizzle's own migrator uses. */
const journalTable = (name: string) =>
  latchkey.table(name, {
    id: serial('id').primaryKey(),
    hash: text('hash').notNull(),
    createdAt: bigint('created_at', { mode: 'number' }).notNull(),
  })
const JOURNALS = { home: journalTable('migrations'), region: journalTable('region_migrations') }

/**
 * Runs every pending migration in one transaction, on a direct connection. An advisory lock serialises
 * servers that start together. The role needs the right to create a schema, unless an operator created
 * `latchkey` for it.
 * @param options.region the database is the copy of a region: the schema alone is made, without rows, and then changed as a
 *   region needs it
 * @throws Error with one sentence if another process holds the lock for too long, the direct connection leads to another
 *   database, or the database is not the one that `region` says
 */
export async function migrate(
  config: DatabaseConfig,
  database: OpenDatabase,
  { lockWaitSeconds = 60, region = false } = {},
): Promise<MigrationState> {
  const before = await readMigrationState(database)
  const place = region ? 'region' : 'home'
  if (before.place !== null && before.place !== place) throw new Error(WRONG_PLACE[before.place])
  // In a region, its own changes of the schema run again: a later release may keep another column at home.
  if (before.pending === 0 && !region) return before
  if (database.kind === 'embedded') await database.db.transaction((tx) => runPending(tx, place))
  else await runPendingAlone(config, lockWaitSeconds, place)
  const after = await readMigrationState(database)
  if (after.pending > 0) throw new Error('DATABASE_DIRECT_URL leads to another database than DATABASE_URL')
  return after
}

async function runPendingAlone(config: DatabaseConfig, lockWaitSeconds: number, place: Place): Promise<void> {
  // Also where the settings are those of a verifier, whose sessions only read.
  const { connect, unpinned } = await reachDirectly({ ...config, mode: 'serve' })
  const open = (events: ConnectionEvents) => connect('latchkey migrate', { prepare: false, ...events })
  const pool = createPool(open, 1, MIGRATION_SILENCE_MS, unpinned)
  try {
    await pool.db.transaction(async (tx) => {
      await tx.execute(sql`SET LOCAL statement_timeout = 0`)
      // `lock_timeout` also bounds the wait for a table's lock. Without it, all other queries would queue
      // behind a migration that waits.
      await tx.execute(sql.raw(`SET LOCAL lock_timeout = '${lockWaitSeconds * 1000}ms'`))
      await tx.execute(sql`SELECT pg_advisory_xact_lock(${LOCK.toString()}::bigint)`).catch((error) => {
        if (errorCode(error) !== '55P03') throw error
        const message = `another process has been migrating this database for ${lockWaitSeconds} seconds`
        throw new Error(`${message}; try again when it is done`, { cause: error })
      })
      await runPending(tx, place)
    })
  } finally {
    await pool.close(1)
  }
}

/** Reads the journal and changes nothing. */
export async function readMigrationState(database: OpenDatabase): Promise<MigrationState> {
  const place = await findPlace(database.db)
  const applied = place === null ? new Set<number>() : await readJournal(database.db, place)
  const known = new Set(MIGRATIONS.map(({ when }) => when))
  return {
    known: known.size,
    pending: MIGRATIONS.filter(({ when }) => !applied.has(when)).length,
    unknown: [...applied].filter((when) => !known.has(when)).length,
    place,
  }
}

/** The name of the newest migration that ran on a database; its time in milliseconds where this program does not know it. */
export async function findNewestMigration(db: Database): Promise<string> {
  const newest = Math.max(...(await readJournal(db, (await findPlace(db)) ?? 'home')))
  return MIGRATIONS.find(({ when }) => when === newest)?.name ?? String(newest)
}

/** Whether a database is home's or a region's. */
async function findPlace(db: Database): Promise<Place | null> {
  // `to_regclass` reads the connection's catalogue cache. Within a transaction that cache does not learn of
  // tables that others created, so a connection from a pooler might miss the journal that it waited for.
  const tables = await db
    .select({ name: sql<string>`tablename` })
    .from(sql`pg_tables`)
    .where(sql`schemaname = 'latchkey' AND tablename IN ('migrations', 'region_migrations')`)
  const names = tables.map(({ name }) => name)
  if (names.includes('region_migrations')) return 'region'
  return names.includes('migrations') ? 'home' : null
}

async function readJournal(db: Database, place: Place): Promise<Set<number>> {
  const journal = JOURNALS[place]
  const rows = await db.select({ when: journal.createdAt }).from(journal).orderBy(asc(journal.createdAt))
  return new Set(rows.map(({ when }) => when))
}

const WRONG_PLACE: Record<Place, string> = {
  home: 'this is the database of home, or was: a region needs an empty one for its copy',
  region: 'this database is the copy of a region: migrate it by "latchkey migrate --region"',
}

async function runPending(tx: Database, place: Place): Promise<void> {
  const found = await findPlace(tx)
  // Another process may have made the schema since the journal was read first.
  if (found !== null && found !== place) throw new Error(WRONG_PLACE[found])
  if (found === null) await createJournal(tx, place)
  const applied = await readJournal(tx, place)
  for (const { when, hash, statements } of MIGRATIONS) {
    if (applied.has(when)) continue
    for (const statement of statements) {
      if (place === 'region' && changesRows(statement)) continue
      await tx.execute(sql.raw(statement))
    }
    await tx.insert(JOURNALS[place]).values({ hash, createdAt: when })
  }
  if (place === 'home') return
  for (const statement of regionSchema()) await tx.execute(sql.raw(statement))
}

/** Whether a statement of a migration changes rows. A region has the rows of home, which come with the change that home made. */
export const changesRows = (statement: string): boolean =>
  /^(INSERT|UPDATE|DELETE)\b/i.test(statement.replace(/^\s*--.*$/gm, '').trimStart())

/** Creates the schema only where it is missing: an operator may have created it for a role that may not. */
async function createJournal(tx: Database, place: Place): Promise<void> {
  const schemas = await tx.select({ one: sql`1` }).from(sql`pg_namespace`).where(sql`nspname = 'latchkey'`)
  if (schemas.length === 0) await tx.execute(sql`CREATE SCHEMA latchkey`)
  await tx.execute(sql`CREATE TABLE IF NOT EXISTS ${JOURNALS[place]} (
    id serial PRIMARY KEY, hash text NOT NULL, created_at bigint NOT NULL UNIQUE)`)
}
