import type { OpenDatabase } from '../../db/database.ts'
import { NEWEST_MIGRATION, readMigrationState } from '../../db/migrate.ts'

/**
 * Checks that the database has exactly the migrations of this program. In another release, a table or column could be
 * missing from the export.
 * @returns the time of the newest migration, in milliseconds since the epoch
 * @throws Error with one sentence where the database belongs to an older or a newer Latchkey
 */
export async function requireOwnRelease(database: OpenDatabase): Promise<number> {
  const { pending, unknown } = await readMigrationState(database)
  if (unknown > 0) throw new Error('a newer Latchkey has migrated this database: use that one')
  if (pending > 0) throw new Error('the database is of an older Latchkey: run "latchkey migrate" first')
  return NEWEST_MIGRATION
}
