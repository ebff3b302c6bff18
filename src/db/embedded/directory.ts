import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { OTHERS, requireTrust } from '../../config/trust.ts'
import { databaseError } from '../errors.ts'
import { lockFile } from './lock.ts'
import { applyReplacement, hasReplacement, stageReplacement } from './replacement.ts'
import { sync, syncTree } from './sync.ts'

/** The PostgreSQL that this PGlite is. */
export const EMBEDDED_MAJOR_VERSION = '18'

/** The place of an embedded database, held by this process alone. `data` is where its files are or are to be. */
export type Home = { data: string; isNew: boolean; markComplete(): void; unlock(): void }

const homeIn = (dataDir: string) => join(dataDir, 'database')

/** Whether there is an embedded database in DATA_DIR, or one that waits to take its place. */
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
 * Makes `DATA_DIR/database`, 0700, and locks it. What a start that was killed while it made the database has left is
 * removed: nothing in there was ever acknowledged to anybody.
 * @param creates false: the database has to be there; a command in the wrong directory leaves no trace
 * @throws Error with one sentence: not there, in use, of another PostgreSQL, or another user's
 */
export function openHome(dataDir: string, creates: boolean): Home {
  const home = homeIn(dataDir)
  if (!creates && !existsSync(home) && !hasReplacement(dataDir)) throw absent(dataDir)
  const unlock = lockHome(dataDir)
  try {
    // Asked under the lock, since a server that makes the database right now is waited for.
    if (!creates && !hasEmbedded(dataDir)) throw absent(dataDir)
    return { ...prepare(dataDir), unlock }
  } catch (error) {
    unlock()
    throw error
  }
}

/**
 * Makes another database and puts it in the place of the one in DATA_DIR, which no process has open, or where there is
 * none. What was there is in `DATA_DIR/replaced` then.
 * @param fill see `stageReplacement`
 * @throws Error with one sentence where the database is in use
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
