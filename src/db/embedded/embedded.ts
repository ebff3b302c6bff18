import { drizzle } from 'drizzle-orm/pglite'
import { countTowardsDeadline } from '../../lib/deadline.ts'
import type { Log } from '../../lib/log.ts'
import type { DatabaseConfig, Listener, OpenDatabase } from '../database.ts'
import { databaseError } from '../errors.ts'
import { createWaitQueue } from '../postgres/wait-queue.ts'
import * as schema from '../schema.ts'
import { openHome } from './directory.ts'
import { type Engine, startEngine } from './engine.ts'

type Members = Pick<Engine['pg'], 'query' | 'transaction'>
type Listening = { channels: readonly string[]; listener: Listener; stop(): Promise<void> }

const RESTART_AFTER_MS = 3000

/**
 * Opens the database in DATA_DIR for this process alone.
 * @param creation how to create a missing database, from `snapshot` if that is set; null: the database has to
 *   exist
 */
export async function openEmbedded(
  config: DatabaseConfig,
  log: Log,
  creation: { snapshot: Blob | null } | null,
): Promise<OpenDatabase> {
  const home = openHome(config.dataDir, creation !== null)
  let engine: Engine
  try {
    engine = await startEngine(home.data, home.isNew ? (creation?.snapshot ?? null) : null)
    if (home.isNew) home.markComplete()
  } catch (error) {
    home.unlock()
    throw error
  }
  const listening = new Set<Listening>()
  const startListening = async (entry: Listening) => {
    const stops: (() => Promise<void>)[] = []
    for (const channel of entry.channels)
      stops.push(
        await engine.pg.listen(`"${channel}"`, (payload) => entry.listener.message(payload, true, channel)),
      )
    entry.stop = async () => {
      for (const stop of stops) await stop()
    }
  }

  /**
   * The earliest time of the next restart. The engine is restarted after a crash, as a postmaster does, but
   * not continuously while the disk fails.
   */
  let restartAt = 0
  const restart = async () => {
    if (Date.now() < restartAt) throw databaseError('EMBEDDED_DOWN', 'the embedded database has stopped')
    restartAt = Date.now() + RESTART_AFTER_MS
    log.error('the embedded database stopped, as it does when its disk fails; starting it again')
    engine = await startEngine(home.data, null)
    for (const entry of listening) {
      await startListening(entry)
      entry.listener.gap()
    }
  }

  // PGlite runs one query or transaction at a time and bounds no wait. The wait queue bounds it, as it does
  // for the pool.
  const queue = createWaitQueue(1)
  let isClosed = false
  const lease = <T>(work: (pg: Members) => Promise<T>): Promise<T> =>
    countTowardsDeadline(() => leaseNow(work))
  const leaseNow = async <T>(work: (pg: Members) => Promise<T>): Promise<T> => {
    await queue.enter()
    try {
      if (isClosed) throw databaseError('EMBEDDED_DOWN', 'the embedded database is closed')
      if (engine.isDown()) await restart()
      return await work(engine.pg)
    } catch (error) {
      if (!engine.isDown()) throw error
      throw Object.assign(databaseError('EMBEDDED_DOWN', 'the embedded database has stopped'), {
        cause: error,
      })
    } finally {
      queue.leave()
    }
  }
  const members: Members = {
    query: (...args) => lease((pg) => pg.query(...args)),
    transaction: (work) => lease((pg) => pg.transaction(work)),
  }

  return {
    kind: 'embedded',
    // drizzle uses only these two members.
    db: drizzle({ client: members as Engine['pg'], schema }),
    load: queue.load,
    // There is one process and one session, so no message is lost unless the engine restarts.
    listen: async (channels, listener) => {
      const entry: Listening = { channels, listener, stop: async () => {} }
      await lease(() => startListening(entry))
      listening.add(entry)
      return async () => {
        listening.delete(entry)
        if (!isClosed && !engine.isDown()) await entry.stop()
      }
    },
    notify: async (channel, payload) => {
      await members.query('SELECT pg_notify($1, $2)', [channel, payload])
    },
    dump: () =>
      lease(async (pg) => {
        // After a checkpoint the next start has little to recover from the write-ahead log.
        await pg.query('CHECKPOINT')
        return engine.pg.dumpDataDir('gzip')
      }),
    assertWritable: async () => {
      await members.query('SELECT 1')
    },
    close: async () => {
      if (isClosed) return
      isClosed = true
      if (!engine.isDown()) await engine.pg.close()
      home.unlock()
    },
  }
}
