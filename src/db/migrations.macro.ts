import { readMigrationFiles } from 'drizzle-orm/migrator'

/** One file of `drizzle/`, in the journal's order. `when` is its time of making and its identity. */
export type Migration = { when: number; hash: string; statements: string[] }

/** Runs while the code is bundled or loaded, so that the SQL is part of the program. */
export function readMigrations(): Migration[] {
  const files = readMigrationFiles({ migrationsFolder: `${import.meta.dir}/../../drizzle` })
  return files.map(({ folderMillis, hash, sql }) => ({ when: folderMillis, hash, statements: sql }))
}
