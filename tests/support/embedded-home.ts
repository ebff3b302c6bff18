import { chmodSync, cpSync, existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { openDatabase } from '../../src/db/open.ts'
import { silentLog } from '../../src/lib/log.ts'
import { keepSecretKey } from '../../src/server/secret-key.ts'
import { emptyDirectory } from './binary.ts'
import { embeddedSnapshot, snapshotPath } from './databases.ts'
import { databaseConfig } from './postgres.ts'

const MADE = snapshotPath.replace('.tar.gz', '-with-key')

/**
 * A working directory whose `data` has an embedded database without tables, and its key. A server starts in
 * it in less than a second; without the database it needs five. The caller disposes of it.
 */
export async function embeddedHome() {
  if (!existsSync(MADE)) await make()
  const here = emptyDirectory()
  cpSync(MADE, join(here.path, 'data'), { recursive: true })
  chmodSync(join(here.path, 'data'), 0o700)
  return here
}

async function make(): Promise<void> {
  const snapshot = await embeddedSnapshot()
  const aside = mkdtempSync(`${MADE}-`)
  await (await openDatabase(databaseConfig(null, aside), silentLog, { creates: true, snapshot })).close()
  await keepSecretKey(aside, true)
  try {
    renameSync(aside, MADE)
  } catch {
    // Another test process has already put it there.
    rmSync(aside, { recursive: true, force: true })
  }
}
