import type { Database } from '../../db/database.ts'
import { findNewestMigration } from '../../db/migrate.ts'
import { VERSION } from '../../lib/version.ts'
import type { HomeStatus } from './model.ts'
import { findServerSettings, listOperations, listPublished, listRegionSlots } from './queries.ts'

/** What home says of itself to `latchkey region check`: names and numbers, and no row of a user, a key or an account. */
export async function readHomeStatus(db: Database): Promise<HomeStatus> {
  const settings = await findServerSettings(db)
  return {
    version: VERSION,
    migration: await findNewestMigration(db),
    ...settings,
    publication: await listPublished(db, settings.server_version),
    operations: await listOperations(db),
    slots: await listRegionSlots(db),
  }
}
