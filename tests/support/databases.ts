import { cpSync, existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import manifest from '../../package.json'
import type { DatabaseConfig, OpenDatabase } from '../../src/db/database.ts'
import { makeSnapshot } from '../../src/db/embedded/engine.ts'
import { migrate } from '../../src/db/migrate.ts'
import { openDatabase } from '../../src/db/open.ts'
import { silentLog } from '../../src/lib/log.ts'
import { createDatabase, databaseConfig, hasVersion, type PostgresVersion } from './postgres.ts'

/** An open database for one test. `end` closes and removes it. */
export type Opened = { config: DatabaseConfig; database: OpenDatabase; end(): Promise<void> }

/** A kind of database that Latchkey runs on. */
export type Target = {
  name: string
  isHere: boolean
  open(options?: { migrated?: boolean }): Promise<Opened>
}

export const postgres = (version: PostgresVersion): Target => ({
  name: `PostgreSQL ${version}${hasVersion(version) ? '' : ' (skipped: there is none for this machine)'}`,
  isHere: hasVersion(version),
  open: async ({ migrated = true } = {}) => {
    const { url, drop } = await createDatabase({ version, migrated })
    const config = databaseConfig(url)
    const database = await openDatabase(config, silentLog)
    const end = async () => {
      await database.close()
      await drop()
    }
    return { config, database, end }
  },
})

export const embedded: Target = {
  name: 'embedded',
  isHere: true,
  open: async ({ migrated = true } = {}) => {
    const directory = mkdtempSync(join(tmpdir(), 'latchkey-embedded-'))
    if (migrated) cpSync(await embeddedTemplate(), directory, { recursive: true })
    const { config, database } = await openEmbedded(directory)
    const end = async () => {
      await database.close()
      rmSync(directory, { recursive: true, force: true })
    }
    return { config, database, end }
  },
}

async function openEmbedded(directory: string): Promise<Omit<Opened, 'end'>> {
  const config = databaseConfig(null, directory)
  const snapshot = await embeddedSnapshot()
  return { config, database: await openDatabase(config, silentLog, { creates: true, snapshot }) }
}

let template: Promise<string> | null = null

/** A directory with a migrated database that is shut down. Each process makes it once, because the migrations take seconds. */
function embeddedTemplate(): Promise<string> {
  template ??= (async () => {
    const directory = mkdtempSync(join(tmpdir(), 'latchkey-embedded-'))
    process.on('exit', () => rmSync(directory, { recursive: true, force: true }))
    const { config, database } = await openEmbedded(directory)
    await migrate(config, database)
    await database.close()
    return directory
  })()
  return template
}

/** The file that keeps the result of `embeddedSnapshot`. */
export const snapshotPath = join(
  import.meta.dir,
  `../../node_modules/.cache/latchkey/pglite-${manifest.dependencies['@electric-sql/pglite']}.tar.gz`,
)

/**
 * The data directory that an embedded database starts from. It is made once for each machine and version, in
 * some seconds.
 */
export async function embeddedSnapshot(): Promise<Blob> {
  if (!existsSync(snapshotPath)) {
    // Moved into place, so that another test run never reads half a file.
    const aside = `${snapshotPath}.${process.pid}`
    await Bun.write(aside, await makeSnapshot())
    renameSync(aside, snapshotPath)
  }
  return Bun.file(snapshotPath)
}
