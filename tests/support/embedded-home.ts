import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
} from 'node:fs'
import { join } from 'node:path'
import { migrate } from '../../src/db/migrate.ts'
import { openDatabase } from '../../src/db/open.ts'
import { silentLog } from '../../src/lib/log.ts'
import { keepSecretKey } from '../../src/server/secret-key.ts'
import { emptyDirectory } from './binary.ts'
import { embeddedSnapshot, snapshotPath } from './databases.ts'
import { databaseConfig } from './postgres.ts'

const MIGRATIONS = join(import.meta.dir, '../../drizzle')
/** One for each state of the migrations: one that is edited before it lands makes another database. */
const hash = new Bun.CryptoHasher('sha256')
for (const name of readdirSync(MIGRATIONS)
  .filter((file) => file.endsWith('.sql'))
  .sort())
  hash.update(readFileSync(join(MIGRATIONS, name)))
const MADE = snapshotPath.replace('.tar.gz', `-migrated-${hash.digest('hex').slice(0, 12)}`)

/**
 * A working directory whose `data` has an embedded database with every table and no row, and its key. A server
 * starts in it in about a second; it needs eight without the database, and three without the tables. The caller
 * disposes of it.
 * @param data where the database is, below the working directory
 */
export async function embeddedHome(data = 'data') {
  if (!existsSync(MADE)) await make()
  const here = emptyDirectory()
  const path = join(here.path, data)
  cpSync(MADE, path, { recursive: true })
  chmodSync(path, 0o700)
  return here
}

async function make(): Promise<void> {
  const snapshot = await embeddedSnapshot()
  const aside = mkdtempSync(`${MADE}-`)
  const config = databaseConfig(null, aside)
  const database = await openDatabase(config, silentLog, { creates: true, snapshot })
  await migrate(config, database)
  await database.close()
  await keepSecretKey(aside, true)
  try {
    renameSync(aside, MADE)
  } catch {
    // Another test process has already put it there.
    rmSync(aside, { recursive: true, force: true })
  }
}
