import postgres from 'postgres'
import { publicationScript } from '../../src/core/regions/publication.ts'
import { updateHeartbeat } from '../../src/core/regions/queries.ts'
import { resyncScript } from '../../src/core/regions/resync.ts'
import { statementsOf } from '../../src/core/regions/script.ts'
import { subscriptionScript } from '../../src/core/regions/subscription.ts'
import type { Database, OpenDatabase } from '../../src/db/database.ts'
import { migrate } from '../../src/db/migrate.ts'
import { openDatabase } from '../../src/db/open.ts'
import { REPLICATION_ROLE, VERIFIER_ROLE } from '../../src/db/published.ts'
import { heartbeats } from '../../src/db/regions.ts'
import { silentLog } from '../../src/lib/log.ts'
import { databaseConfig, type PostgresServer, type PostgresVersion, startServer } from './postgres.ts'
import { until } from './until.ts'

/** Two PostgreSQL servers: home, and a region that copies it by logical replication. */
export type Pair = {
  home: Side
  region: Side & {
    /** The URL of the region's database for a verifier, whose role only reads. */
    verifierUrl: string
    /** How the region's server reaches home. */
    connection: string
  }
  /** Writes a heartbeat at home, as a server of home does each second, and gives its number. */
  beat(): Promise<number>
  /** Waits until everything that was committed at home before has been applied in the region. */
  arrived(): Promise<void>
  end(): Promise<void>
}

export type Side = {
  server: PostgresServer
  /** The URL of its database for the superuser. */
  url: string
  sql: postgres.Sql
}

/** The name of the region: its subscription, and its slot at home, are `latchkey_test`. */
export const REGION = 'test'
export const SLOT = `latchkey_${REGION}`

const HOME_SETTINGS = ['wal_level=logical', 'max_slot_wal_keep_size=1GB', 'max_wal_size=256MB']
/** A worker that failed begins again after this time instead of five seconds. */
const REGION_SETTINGS = ['wal_level=logical', 'wal_retrieve_retry_interval=100ms']
const DATABASE = 'latchkey'

/**
 * Starts both servers, makes their schemas, and runs the printed SQL. Takes some three seconds.
 * @param isCopied whether to wait until the region has the whole copy
 */
export async function startPair(
  homeVersion: PostgresVersion,
  regionVersion: PostgresVersion,
  { isCopied = true } = {},
): Promise<Pair> {
  const [home, region] = await Promise.all([
    startSide(homeVersion, HOME_SETTINGS, false),
    startSide(regionVersion, REGION_SETTINGS, true),
  ])
  const connection = `host=127.0.0.1 port=${home.server.port} dbname=${DATABASE} user=${REPLICATION_ROLE}`
  await publish(home)
  await subscribe(region, connection)
  const database = await openDatabase(databaseConfig(home.url), silentLog)
  const pair: Pair = {
    home,
    region: { ...region, verifierUrl: verifierUrlOf(region), connection },
    beat: () => beat(database.db),
    arrived: async () => {
      const n = await beat(database.db)
      await until(async () => (await newestOf(region.sql)) >= n, 'the heartbeat has arrived in the region')
    },
    end: async () => {
      await database.close()
      await Promise.all([home.sql.end({ timeout: 1 }), region.sql.end({ timeout: 1 })])
      // The region first: it would report that home is gone.
      await region.server.remove()
      await home.server.remove()
    },
  }
  if (isCopied) await copied(pair)
  return pair
}

/** The region's own server with its schema, for a home that is elsewhere. */
export const startRegion = (version: PostgresVersion): Promise<Side> =>
  startSide(version, REGION_SETTINGS, true)

export const verifierUrlOf = ({ server }: Side): string => server.url(DATABASE, VERIFIER_ROLE)

/** Runs the printed SQL at home, whose schema is there. */
export const publish = ({ sql }: Pick<Side, 'sql'>): Promise<void> =>
  runAll(sql, statementsOf(publicationScript()))

/** Runs the printed SQL in the region. */
export const subscribe = ({ sql }: Pick<Side, 'sql'>, connection: string): Promise<void> =>
  runAll(sql, statementsOf(subscriptionScript({ name: REGION, connection }, [])))

/** Waits until every table of the subscription is copied. */
export const copied = ({ region }: { region: Pick<Side, 'sql'> }): Promise<void> =>
  until(async () => {
    const rows = await region.sql`SELECT srsubstate AS state FROM pg_subscription_rel`
    return rows.length > 0 && rows.every(({ state }) => state === 'r')
  }, 'every table is copied')

/** Runs statements one after the other, as `psql` does. */
async function runAll(sql: postgres.Sql, statements: readonly string[]): Promise<void> {
  for (const statement of statements) await sql.unsafe(statement)
}

/** Drops the slot of the region once nothing streams from it any more. */
export const dropSlot = ({ home }: { home: Pick<Side, 'sql'> }): Promise<void> =>
  until(
    () =>
      home.sql`SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = ${SLOT}`.then(
        () => true,
        () => false,
      ),
    'the slot is dropped',
  )

/** Runs the printed SQL, what it says to do at home, and what the servers of home do each second. */
export async function resync(pair: {
  home: Pick<Side, 'sql'>
  region: Pick<Side, 'sql'> & { connection: string }
  beat(): Promise<unknown>
}): Promise<void> {
  const statements = statementsOf(resyncScript({ name: REGION, connection: pair.region.connection }, [SLOT]))
  const isEnded = (statement: string) => statement.startsWith('DROP SUBSCRIPTION')
  const dropped = statements.findIndex(isEnded) + 1
  await runAll(pair.region.sql, statements.slice(0, dropped))
  await dropSlot(pair)
  const beating = setInterval(() => pair.beat().catch(() => {}), 200)
  try {
    await runAll(pair.region.sql, statements.slice(dropped))
  } finally {
    clearInterval(beating)
  }
  await copied(pair)
}

/** A connection that hears what a database tells on channels. */
export async function listenTo(
  { url }: Pick<Side, 'url'>,
  channels: readonly string[],
): Promise<{ heard: string[]; end(): Promise<void> }> {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  const heard: string[] = []
  for (const channel of channels) await sql.listen(channel, (payload) => heard.push(payload))
  return { heard, end: () => sql.end({ timeout: 1 }) }
}

async function startSide(
  version: PostgresVersion,
  settings: readonly string[],
  isRegion: boolean,
): Promise<Side> {
  const server = await startServer({ version, settings })
  const admin = postgres(server.url('postgres'), { max: 1, onnotice: () => {} })
  await admin.unsafe(`CREATE DATABASE ${DATABASE}`)
  await admin.end()
  const url = server.url(DATABASE)
  await withDatabase(url, (database) => migrate(databaseConfig(url), database, { region: isRegion }))
  return { server, url, sql: postgres(url, { max: 1, onnotice: () => {} }) }
}

/** Opens a database as Latchkey does. */
export async function withDatabase<T>(url: string, work: (database: OpenDatabase) => Promise<T>): Promise<T> {
  const database = await openDatabase(databaseConfig(url), silentLog)
  try {
    return await work(database)
  } finally {
    await database.close()
  }
}

/** What a server of home does each second, without its pause. */
async function beat(db: Database): Promise<number> {
  await updateHeartbeat(db, 0)
  const [row] = await db.select({ n: heartbeats.n }).from(heartbeats)
  return row?.n ?? Number.NaN
}

const newestOf = async (sql: postgres.Sql): Promise<number> => {
  const [row] = await sql`SELECT n FROM latchkey.heartbeats`
  return Number(row?.n ?? -1)
}
