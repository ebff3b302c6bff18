import { readFileSync } from 'node:fs'
import { readMigrationFiles } from 'drizzle-orm/migrator'

const FOLDER = `${import.meta.dir}/../../drizzle`

/**
 * One file of `drizzle/`, in the order of the journal. `when` is the time at which it was made, and
 * identifies it.
 */
export type Migration = { name: string; when: number; hash: string; statements: string[] }

type Journal = { entries: { when: number; tag: string }[] }

/** Runs at build time (or when the source is loaded), so that the SQL is part of the program. */
export function readMigrations(): Migration[] {
  const files = readMigrationFiles({ migrationsFolder: FOLDER })
  const journal: Journal = JSON.parse(readFileSync(`${FOLDER}/meta/_journal.json`, 'utf8'))
  const names = new Map(journal.entries.map(({ when, tag }) => [when, tag]))
  return files.map(({ folderMillis: when, hash, sql }) => ({
    name: names.get(when) ?? String(when),
    when,
    hash,
    statements: sql,
  }))
}
