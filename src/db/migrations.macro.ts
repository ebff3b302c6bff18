import { readMigrationFiles } from 'drizzle-orm/migrator'

/**
 * One file of `drizzle/`, in the order of the journal. `when` is the time at which it was made, and
 * identifies it.
 */
export type Migration = { when: number; hash: string; statements: string[] }

/** Runs at build time (or when the source is loaded), so that the SQL is part of the program. */
export function readMigrations(): Migration[] {
  const files = readMigrationFiles({ migrationsFolder: `${import.meta.dir}/../../drizzle` })
  return files.map(({ folderMillis, hash, sql }) => ({ when: folderMillis, hash, statements: sql }))
}
