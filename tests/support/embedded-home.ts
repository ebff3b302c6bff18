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
 * A working directory whose `data` holds an embedded database, without any table yet, and its key: a server starts in it in less than
 * a second, where from nothing it takes five. The caller disposes of it.
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
    // Another process of the tests was quicker.
    rmSync(aside, { recursive: true, force: true })
  }
}
