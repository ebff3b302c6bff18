import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { OTHERS, requireTrust } from '../../config/trust.ts'
import { databaseError } from '../errors.ts'
import { lockFile } from './lock.ts'

/** The PostgreSQL that this PGlite is. */
export const EMBEDDED_MAJOR_VERSION = '18'

/** The place of an embedded database, held by this process alone. `data` is where its files are or are to be. */
export type Home = { data: string; isNew: boolean; markComplete(): void; unlock(): void }

/**
 * Makes `DATA_DIR/database`, 0700, and locks it. What a start that was killed while it made the database has left is
 * removed: nothing in there was ever acknowledged to anybody.
 * @throws Error with one sentence: in use, of another PostgreSQL, or another user's
 */
export function openHome(dataDir: string): Home {
  const home = join(dataDir, 'database')
  requireTrust(dataDir, `DATA_DIR ${dataDir}`)
  requireTrust(home, home, OTHERS.nothing)
  mkdirSync(home, { recursive: true, mode: 0o700 })
  chmodSync(home, 0o700)
  const unlock = lockFile(join(home, 'lock'))
  if (!unlock) {
    const message = `the embedded database in ${dataDir} is in use by another Latchkey process`
    throw databaseError('EMBEDDED_HELD', message)
  }
  try {
    return { ...prepare(home), unlock }
  } catch (error) {
    unlock()
    throw error
  }
}

function prepare(home: string): Omit<Home, 'unlock'> {
  const data = join(home, 'data')
  const incomplete = join(home, 'incomplete')
  if (existsSync(incomplete)) rmSync(data, { recursive: true, force: true })
  const isNew = !existsSync(data)
  if (isNew) {
    writeFileSync(incomplete, '')
    sync(home)
  } else {
    checkVersion(data)
  }
  const markComplete = () => {
    // Its files were written without fsync, and the commits to come rely on them. Never the whole of `home`: to open
    // and close the lock's file in this process gives the lock up (fcntl(2)).
    syncTree(data)
    sync(home)
    rmSync(incomplete)
    sync(home)
  }
  return { data, isNew, markComplete }
}

function checkVersion(data: string): void {
  const file = join(data, 'PG_VERSION')
  const found = existsSync(file) ? readFileSync(file, 'utf8').trim() : null
  if (found === null) throw new Error(`${data} is no database: PG_VERSION is missing`)
  if (found !== EMBEDDED_MAJOR_VERSION) {
    throw new Error(
      `${data} is of PostgreSQL ${found}; the one in this Latchkey is ${EMBEDDED_MAJOR_VERSION}`,
    )
  }
}

function syncTree(path: string): void {
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    const inner = join(path, entry.name)
    if (entry.isDirectory()) syncTree(inner)
    else if (entry.isFile()) sync(inner)
  }
  sync(path)
}

function sync(path: string): void {
  const descriptor = openSync(path, 'r')
  try {
    fsyncSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}
