import type { Log } from '../../lib/log.ts'
import type { Secret } from '../../lib/secret.ts'
import type { DatabaseConfig, OpenDatabase } from '../database.ts'
import { databaseError, errorCode } from '../errors.ts'
import { type Connection, connect } from './connect.ts'
import { type ListenEvents, startListening } from './listen.ts'
import { type ConnectionEvents, createPool, type Pool } from './pool.ts'

const OLDEST_VERSION = 14
const CLOSE_TIMEOUT_SECONDS = 5
/** The SQLSTATE of a write to a server that takes none. */
const READ_ONLY = '25006'
/** Over the server's own statement timeout, how long a connection may be silent before it counts as dead. */
const SILENCE_GRACE_MS = 500
/** The same for a NOTIFY, however long other statements may take: what proves that messages arrive must not hang. */
const NOTIFY_SILENCE_MS = 2500

/** Opens the PostgreSQL at `url`, having seen that it answers, is new enough and takes writes. */
export async function openPostgres(config: DatabaseConfig, url: Secret, log: Log): Promise<OpenDatabase> {
  const { pool, notifier } = await openPools(config, url, log)
  const listening = new Set<() => Promise<void>>()

  return {
    kind: 'postgres',
    db: pool.db,
    load: pool.load,
    listen: async (channel, listener) => {
      const connectListening = (events: ListenEvents) => connectDirectly(config, events)
      const stop = await startListening(connectListening, channel, listener, log)
      listening.add(stop)
      return async () => {
        listening.delete(stop)
        await stop()
      }
    },
    notify: async (channel, payload) => {
      try {
        await notifier.query('SELECT pg_notify($1, $2)', [channel, payload])
        pool.refuse(null)
      } catch (error) {
        // A pooler passes on no sign that its server has become a standby, which may lag and still answers.
        if (errorCode(error) === READ_ONLY) pool.refuse(databaseError('STANDBY', STANDBY))
        throw error
      }
    },
    dump: null,
    close: async () => {
      await Promise.all([...listening].map((stop) => stop()))
      await Promise.all([pool, notifier].map((each) => each.close(CLOSE_TIMEOUT_SECONDS)))
    },
  }
}

/** One connection past any pooler: for LISTEN and for migrations. */
export function connectDirectly(config: DatabaseConfig, events: Partial<ListenEvents>): Connection {
  const url = config.databaseDirectUrl ?? config.databaseUrl
  if (!url) throw new Error('DATABASE_URL is not set')
  const options = {
    ...events,
    prepare: false,
    connection: { application_name: 'latchkey' },
  }
  return connect(url.reveal(), options)
}

/** `notifier`: one connection of its own by the same way, so that a NOTIFY never waits behind queries. */
type Pools = { pool: Pool; notifier: Pool }

async function openPools(config: DatabaseConfig, url: Secret, log: Log): Promise<Pools> {
  const statementTimeoutMs = config.databaseStatementTimeoutMs
  const withStartup = (startup: { statement_timeout?: number }): Pools => {
    const open = ({ onclose, onstandby }: ConnectionEvents) =>
      connect(url.reveal(), {
        prepare: config.databasePrepare,
        connection: { application_name: 'latchkey', ...startup },
        onclose,
        onparameter: (name, value) => {
          if (name === 'in_hot_standby' && value === 'on') onstandby()
        },
      })
    return {
      pool: createPool(open, config.databasePoolSize, statementTimeoutMs + SILENCE_GRACE_MS),
      notifier: createPool(open, 1, NOTIFY_SILENCE_MS),
    }
  }
  const { pools, timeoutMs } = await checked(withStartup({ statement_timeout: statementTimeoutMs })).catch(
    (error: unknown) => {
      if (!isRefusedByPooler(error)) throw error
      return checked(withStartup({}))
    },
  )
  // Refused, or taken and dropped; the role may have one of its own.
  if (timeoutMs === 0 || timeoutMs > statementTimeoutMs) {
    log.warn(
      'the connection pooler takes no statement_timeout: set it for the role (ALTER ROLE … SET statement_timeout)',
    )
  }
  return pools
}

/** PgBouncer lets through only the startup parameters that it knows or was told to ignore. */
function isRefusedByPooler(error: unknown): boolean {
  return errorCode(error) === '08P01' && error instanceof Error && /startup parameter/.test(error.message)
}

/** Gives the pools back when their server will do, with the statement timeout that is in force there. */
async function checked(pools: Pools): Promise<{ pools: Pools; timeoutMs: number }> {
  try {
    const [server] = await pools.pool.query(
      `SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS standby,
        (SELECT setting FROM pg_settings WHERE name = 'statement_timeout') AS timeout`,
    )
    assertUsable({ version: Number(server?.version), standby: server?.standby === true })
    return { pools, timeoutMs: Number(server?.timeout) }
  } catch (error) {
    await pools.pool.close(0)
    throw errorCode(error) === 'STANDBY' ? new Error(STANDBY, { cause: error }) : error
  }
}

const STANDBY = 'the server is a standby, which takes no writes: DATABASE_URL must name the primary'

/**
 * @param server its `server_version_num`, like 140011, and whether it is in recovery
 * @throws Error with one sentence when it is too old or takes no writes
 */
export function assertUsable(server: { version: number; standby: boolean }): void {
  const major = Math.floor(server.version / 10_000)
  if (!(major >= OLDEST_VERSION)) {
    throw new Error(`the server is PostgreSQL ${major}; Latchkey needs ${OLDEST_VERSION} or later`)
  }
  if (server.standby) throw new Error(STANDBY)
}
