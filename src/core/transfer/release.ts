import type { OpenDatabase } from '../../db/database.ts'
import { NEWEST_MIGRATION, readMigrationState } from '../../db/migrate.ts'

/**
 * Makes sure that the database has exactly the tables that this program knows.
 * @returns the newest migration
 * @throws Error with one sentence where it is of an older or a newer Latchkey: something would be left out
 */
export async function requireOwnRelease(database: OpenDatabase): Promise<number> {
  const { pending, unknown } = await readMigrationState(database)
  if (unknown > 0) throw new Error('a newer Latchkey has migrated this database: use that one')
  if (pending > 0) throw new Error('the database is of an older Latchkey: run "latchkey migrate" first')
  return NEWEST_MIGRATION
}
