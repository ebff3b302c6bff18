import type { OpenDatabase } from '../../db/database.ts'
import { type Place, readMigrationState } from '../../db/migrate.ts'
import { findServerVersion, listSubscribedTables } from './queries.ts'

/** The first version whose subscriptions copy only the columns that are published. */
const OLDEST = 15
/** The first version that keeps a slot through a failover. */
const OLDEST_WITH_FAILOVER = 17

/**
 * Checks that regions work with a database.
 * @param wantsFailover whether its slot is to be kept through a failover of home
 * @throws Error with one sentence
 */
export async function requireCapable(database: OpenDatabase, wantsFailover = false): Promise<void> {
  if (database.kind === 'embedded') throw new Error('regions need PostgreSQL, at home too: set DATABASE_URL')
  const major = Math.floor((await findServerVersion(database.db)) / 10_000)
  if (major < OLDEST) {
    throw new Error(
      `regions need PostgreSQL ${OLDEST} or later at home and in the region, and this server is ${major}: an older one would copy every column`,
    )
  }
  if (wantsFailover && major < OLDEST_WITH_FAILOVER)
    throw new Error(`--failover needs PostgreSQL ${OLDEST_WITH_FAILOVER} or later at home and in the region`)
}

const MISSING: Record<Place, string> = {
  home: 'this is no up-to-date database of home: run "latchkey migrate" first',
  region: 'this is no up-to-date copy of a region: run "latchkey migrate --region" first',
}

/**
 * Checks that a database has the schema that this release gives to home, or to a region.
 * @throws Error with one sentence
 */
export async function requirePlace(database: OpenDatabase, place: Place): Promise<void> {
  const state = await readMigrationState(database)
  if (state.place !== place || state.pending > 0) throw new Error(MISSING[place])
}

/** The names of the subscriptions that copy tables of Latchkey into a database. */
export async function findSubscriptions({ db }: OpenDatabase): Promise<string[]> {
  return [...new Set((await listSubscribedTables(db)).map(({ subscription }) => subscription))]
}
