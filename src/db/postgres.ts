import { drizzle } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import type { Log } from '../lib/log.ts'
import type { Secret } from '../lib/secret.ts'
import { type LineEvents, startListening } from './listen.ts'
import type { DatabaseConfig, OpenDatabase } from './open.ts'
import { createPool, type Pool } from './pool.ts'
import * as schema from './schema.ts'

const OLDEST_VERSION = 14
const CONNECT_TIMEOUT_SECONDS = 1.5
const CLOSE_TIMEOUT_SECONDS = 5
/** Over the server's own statement timeout, how long a connection may be silent before it counts as dead. */
const SILENCE_GRACE_MS = 1000

/** Opens the PostgreSQL at `url`, having seen that it answers, is new enough and takes writes. */
export async function openPostgres(config: DatabaseConfig, url: Secret, log: Log): Promise<OpenDatabase> {
  const connect = () =>
    postgres(url.reveal(), {
      ...COMMON,
      max: config.databasePoolSize,
      prepare: config.databasePrepare,
      connection: { application_name: 'latchkey', statement_timeout: config.databaseStatementTimeoutMs },
    })
  const silenceMs = config.databaseStatementTimeoutMs + SILENCE_GRACE_MS
  const pool = createPool(connect, config.databasePoolSize, silenceMs)
  await checkServer(pool).catch(async (error) => {
    await pool.close(0)
    throw error
  })
  const db = drizzle({ client: pool.client, schema })
  const listening = new Set<() => Promise<void>>()

  return {
    kind: 'postgres',
    db,
    listen: async (channel, listener) => {
      const line = (events: LineEvents) => connectDirectly(config, events)
      const stop = await startListening(line, channel, listener, log)
      listening.add(stop)
      return async () => {
        listening.delete(stop)
        await stop()
      }
    },
    notify: async (channel, payload) => {
      await pool.query('SELECT pg_notify($1, $2)', [channel, payload])
    },
    close: async () => {
      await Promise.all([...listening].map((stop) => stop()))
      await pool.close(CLOSE_TIMEOUT_SECONDS)
    },
  }
}

/** One connection past any pooler, without a statement timeout: for LISTEN and for migrations. */
export function connectDirectly(config: DatabaseConfig, events?: LineEvents): postgres.Sql {
  const url = config.databaseDirectUrl ?? config.databaseUrl
  if (!url) throw new Error('DATABASE_URL is not set.')
  const options = {
    ...COMMON,
    ...events,
    max: 1,
    max_lifetime: null,
    prepare: false,
    connection: { application_name: 'latchkey', statement_timeout: 0 },
  }
  return postgres(url.reveal(), options)
}

const COMMON = {
  connect_timeout: CONNECT_TIMEOUT_SECONDS,
  // As shipped a connection that failed often waits up to 20 s before it tries again.
  backoff: (failures: number) => Math.min(0.01 * 2 ** failures, 0.25),
  keep_alive: 10,
  onnotice: () => {},
}

async function checkServer(pool: Pool): Promise<void> {
  const [server] = await pool.query(
    "SELECT current_setting('server_version_num')::int AS number, pg_is_in_recovery() AS standby",
  )
  const version = Math.floor(Number(server?.number) / 10_000)
  if (version < OLDEST_VERSION) {
    throw new Error(`The server is PostgreSQL ${version}; Latchkey needs ${OLDEST_VERSION} or later.`)
  }
  if (server?.standby) {
    throw new Error('The server is a standby, which takes no writes: DATABASE_URL must name the primary.')
  }
}
