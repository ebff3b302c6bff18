import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { OTHERS, requireTrust } from '../../config/trust.ts'
import { databaseError } from '../errors.ts'
import { lockFile } from './lock.ts'
import { applyReplacement, hasReplacement, stageReplacement } from './replacement.ts'
import { sync, syncTree } from './sync.ts'

/** The version of PostgreSQL inside this PGlite. */
export const EMBEDDED_MAJOR_VERSION = '18'

/**
 * The directory of an embedded database, locked by this process. `data` is the path of its files, which may
 * not exist yet.
 */
export type Home = { data: string; isNew: boolean; markComplete(): void; unlock(): void }

const homeIn = (dataDir: string) => join(dataDir, 'database')

/** Whether DATA_DIR has an embedded database, or a finished replacement of one. */
export function hasEmbedded(dataDir: string): boolean {
  const home = homeIn(dataDir)
  const isComplete = existsSync(join(home, 'data')) && !existsSync(join(home, 'incomplete'))
  return isComplete || hasReplacement(dataDir)
}

const absent = (dataDir: string) =>
  new Error(
    `there is no database: DATABASE_URL is not set, and DATA_DIR (${dataDir}) holds none; "latchkey serve" makes one`,
  )

/**
 * Creates `DATA_DIR/database` with mode 0700, locks it, and removes what an interrupted first start left
 * behind. No client was ever told of anything in such a database, so nothing is lost.
 * @param creates false: the database has to exist, so that a command in the wrong directory creates nothing
 * @throws Error with one sentence: missing, in use, of another PostgreSQL version, or owned by another user
 *   (docs/decisions/0032)
 */
export function openHome(dataDir: string, creates: boolean): Home {
  const home = homeIn(dataDir)
  if (!creates && !existsSync(home) && !hasReplacement(dataDir)) throw absent(dataDir)
  const unlock = lockHome(dataDir)
  try {
    // Checked after the lock was taken, because a server may be creating the database now.
    if (!creates && !hasEmbedded(dataDir)) throw absent(dataDir)
    return { ...prepare(dataDir), unlock }
  } catch (error) {
    unlock()
    throw error
  }
}

/**
 * Creates a database and puts it in place of the one in DATA_DIR, which no process may have open. The old
 * database is moved to `DATA_DIR/replaced`.
 * @param fill see `stageReplacement`
 * @throws Error with one sentence if the database is in use
 */
export async function replaceEmbedded<T>(dataDir: string, fill: (staged: string) => Promise<T>): Promise<T> {
  const unlock = lockHome(dataDir)
  try {
    const result = await stageReplacement(dataDir, fill)
    prepare(dataDir)
    return result
  } finally {
    unlock()
  }
}

function lockHome(dataDir: string): () => void {
  const home = homeIn(dataDir)
  requireTrust(dataDir, `DATA_DIR ${dataDir}`)
  requireTrust(home, home, OTHERS.nothing)
  mkdirSync(home, { recursive: true, mode: 0o700 })
  chmodSync(home, 0o700)
  const unlock = lockFile(join(home, 'lock'))
  if (!unlock) {
    const message = `the embedded database in ${dataDir} is in use by another Latchkey process`
    throw databaseError('EMBEDDED_HELD', message)
  }
  return unlock
}

function prepare(dataDir: string): Omit<Home, 'unlock'> {
  const home = homeIn(dataDir)
  const data = join(home, 'data')
  const incomplete = join(home, 'incomplete')
  if (existsSync(incomplete)) rmSync(data, { recursive: true, force: true })
  if (hasReplacement(dataDir)) {
    rmSync(incomplete, { force: true })
    applyReplacement(dataDir)
  }
  const isNew = !existsSync(data)
  if (isNew) {
    writeFileSync(incomplete, '')
    sync(home)
  } else {
    checkVersion(data)
  }
  const markComplete = () => {
    // initdb and the snapshot write files without fsync, and later commits depend on these files. Syncs
    // `data` and never all of `home`: closing the lock file in this process would release the lock
    // (fcntl(2)).
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
  if (found === null) throw new Error(`${data} is not a database: PG_VERSION is missing`)
  if (found !== EMBEDDED_MAJOR_VERSION) {
    throw new Error(
      `${data} is of PostgreSQL ${found}; the one in this Latchkey is ${EMBEDDED_MAJOR_VERSION}`,
    )
  }
}
