import type { Logger } from 'drizzle-orm/logger'
import type { Log } from '../../lib/log.ts'
import type { Secret } from '../../lib/secret.ts'
import type { DatabaseConfig, OpenDatabase } from '../database.ts'
import { databaseError, isReadOnly } from '../errors.ts'
import { startListening } from './listen.ts'
import { createPool, SILENCE_GRACE_MS } from './pool.ts'
import { type ConnectionEvents, STANDBY } from './primary.ts'
import { type Purpose, type Reached, reach } from './reach.ts'
import { createTimelines, type Timelines } from './timelines.ts'

const CLOSE_TIMEOUT_SECONDS = 5
/**
 * The longest silence of the connection that sends NOTIFY, however long other statements may take. A NOTIFY
 * that hangs would delay the proof of life.
 */
const NOTIFY_SILENCE_MS = 2500

/**
 * Asks for a row lock. A server that accepts no writes refuses it. No row matches, so nothing is locked or
 * written.
 */
const WOULD_WRITE = 'SELECT FROM latchkey.users WHERE false FOR NO KEY UPDATE'

/** Opens the PostgreSQL at `url` after checking that it answers, is new enough and accepts writes. */
export async function openPostgres(
  config: DatabaseConfig,
  url: Secret,
  log: Log,
  statements?: Logger,
): Promise<OpenDatabase> {
  const { databasePoolSize, databasePrepare: prepare, databaseStatementTimeoutMs: timeoutMs } = config
  const timelines = createTimelines()
  const reached = await reach(url, config, timelines)
  const { connect, unpinned, hasSeveralHosts } = reached
  const isDirect = (config.databaseDirectUrl ?? url).reveal() === url.reveal()
  const missing = Object.keys(unpinned)
  if (missing.length > 0) {
    log.info(
      { settings: missing.join() },
      'The connection pooler does not keep these settings: each statement is sent in a transaction that sets them, ' +
        'which costs time. docs/postgres.md, "PgBouncer", tells how it keeps them',
    )
  }
  if (hasSeveralHosts && !timelines.isTold()) {
    log.warn(
      'The server does not tell its timeline, so a primary that was replaced while it was frozen is not recognised. ' +
        'The role needs EXECUTE on pg_control_system()',
    )
  }
  const openPool = (purpose: Purpose, slots: number, silenceMs: number, logger?: Logger) =>
    createPool(
      (events: ConnectionEvents) => connect(purpose, { prepare, ...events }),
      slots,
      silenceMs,
      unpinned,
      logger,
    )
  const pool = openPool('latchkey', databasePoolSize, timeoutMs + SILENCE_GRACE_MS, statements)
  // A separate connection on the same route as queries, so that a heartbeat never waits behind them
  // (docs/decisions/0018).
  const notifier = openPool('latchkey heartbeat', 1, NOTIFY_SILENCE_MS)
  const listening = new Set<() => Promise<void>>()
  /** Why the last NOTIFY was refused. NOTIFY is a write. */
  let unwritable: unknown = null

  return {
    kind: 'postgres',
    db: pool.db,
    load: pool.load,
    listen: async (channels, listener) => {
      const direct = isDirect ? reached : await reachDirectly(config, timelines)
      const stop = await startListening(
        (events) => direct.connect('latchkey listener', { prepare: false, ...events }),
        channels,
        listener,
        log,
      )
      listening.add(stop)
      return async () => {
        listening.delete(stop)
        await stop()
      }
    },
    notify: async (channel, payload) => {
      try {
        await notifier.query('SELECT pg_catalog.pg_notify($1, $2)', [channel, payload])
        unwritable = null
        pool.refuse(null)
      } catch (error) {
        unwritable = error
        // A pooler gives no sign when its server becomes a standby. A standby still answers but may lag
        // behind a revocation, so queries are refused (docs/decisions/0018).
        if (isReadOnly(error)) pool.refuse(databaseError('STANDBY', STANDBY))
        throw error
      }
    },
    dump: null,
    assertWritable: async () => {
      if (unwritable) throw databaseError('UNWRITABLE', 'the last NOTIFY failed', unwritable)
      await pool.query(WOULD_WRITE)
    },
    close: async () => {
      await Promise.all([...listening].map((stop) => stop()))
      await Promise.all([pool, notifier].map((each) => each.close(CLOSE_TIMEOUT_SECONDS)))
    },
  }
}

/**
 * Connects without a pooler, for LISTEN and migrations, which need the same session from one statement to the
 * next.
 */
export async function reachDirectly(
  config: DatabaseConfig,
  timelines: Timelines = createTimelines(),
): Promise<Reached> {
  const url = config.databaseDirectUrl ?? config.databaseUrl
  if (!url) throw new Error('DATABASE_URL is not set')
  return reach(url, config, timelines)
}
