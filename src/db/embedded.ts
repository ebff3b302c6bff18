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
import { drizzle } from 'drizzle-orm/pglite'
import { type PGlite, startEngine } from './embedded-engine.ts'
import { databaseError } from './errors.ts'
import { createGate } from './gate.ts'
import { lockFile } from './lock.ts'
import type { DatabaseConfig, OpenDatabase } from './open.ts'
import * as schema from './schema.ts'

/** The PostgreSQL that this PGlite is. */
const MAJOR_VERSION = '18'

/**
 * Opens the database in DATA_DIR for this process alone, making it at the first start from `snapshot` where there is
 * one. Everything of it lies in `DATA_DIR/database`, 0700.
 */
export async function openEmbedded(config: DatabaseConfig, snapshot: Blob | null): Promise<OpenDatabase> {
  const home = join(config.dataDir, 'database')
  mkdirSync(home, { recursive: true, mode: 0o700 })
  chmodSync(home, 0o700)
  const unlock = lockFile(join(home, 'lock'))
  if (!unlock) {
    throw databaseError(
      'EMBEDDED_HELD',
      `The embedded database in ${config.dataDir} is in use by another Latchkey process.`,
    )
  }
  let engine: PGlite
  try {
    engine = await start(home, snapshot)
  } catch (error) {
    unlock()
    throw error
  }
  const gated = behindGate(engine)
  return {
    kind: 'embedded',
    db: drizzle({ client: gated, schema }),
    // One process, one session: nothing can get lost on the way, so there are no gaps.
    listen: (channel, listener) => engine.listen(`"${channel}"`, (payload) => listener.message(payload)),
    notify: async (channel, payload) => {
      await gated.query('SELECT pg_notify($1, $2)', [channel, payload])
    },
    close: async () => {
      if (!engine.closed) await engine.close()
      unlock()
    },
  }
}

async function start(home: string, snapshot: Blob | null): Promise<PGlite> {
  const data = join(home, 'data')
  const incomplete = join(home, 'incomplete')
  // Killed while it was being made: nothing in there was ever acknowledged to anybody.
  if (existsSync(incomplete)) rmSync(data, { recursive: true, force: true })
  if (existsSync(data)) {
    const version = readFileSync(join(data, 'PG_VERSION'), 'utf8').trim()
    if (version !== MAJOR_VERSION) {
      throw new Error(
        `The embedded database in ${data} is of PostgreSQL ${version}; this Latchkey has ${MAJOR_VERSION}.`,
      )
    }
    return startEngine(data, null)
  }
  writeFileSync(incomplete, '')
  sync(home)
  const engine = await startEngine(data, snapshot)
  // The files were written without fsync, and the commits to come rely on them. Never the whole of `home`: to open
  // and close the lock's file in this process gives the lock up (fcntl(2)).
  syncTree(data)
  sync(home)
  rmSync(incomplete)
  sync(home)
  return engine
}

/** fsync of a directory and all within. */
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

/** PGlite takes one query or transaction after the other, however many wait; this makes the wait end as with a pool. */
function behindGate(engine: PGlite): PGlite {
  const gate = createGate(1)
  const lease = async <T>(work: () => Promise<T>): Promise<T> => {
    await gate.enter()
    try {
      return await work()
    } finally {
      gate.leave()
    }
  }
  const members: Pick<PGlite, 'query' | 'transaction'> = {
    query: (...args) => lease(() => engine.query(...args)),
    transaction: (work) => lease(() => engine.transaction(work)),
  }
  return members as PGlite
}
