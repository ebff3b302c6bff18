import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { migrate } from '../../src/db/migrate.ts'
import { openDatabase } from '../../src/db/open.ts'
import { silentLog } from '../../src/lib/log.ts'
import { secret } from '../../src/lib/secret.ts'
import { NEWEST, type PostgresVersion } from './postgres-binaries.ts'
import { addressOn, type ServerAddress, startServer } from './postgres-server.ts'

export { hasVersion, type PostgresVersion } from './postgres-binaries.ts'
export { type PostgresServer, startServer } from './postgres-server.ts'

/** A separate database on the shared server. */
export type TestDatabase = { url: string; drop(): Promise<void> }

/**
 * The settings that a test needs to open `url` (or `dataDir` if url is null), with the defaults of
 * production.
 */
export function databaseConfig(url: string | null, dataDir = './none') {
  const hidden = url === null ? null : secret(url)
  return {
    databaseUrl: hidden,
    databaseDirectUrl: hidden,
    databasePoolSize: 10,
    databaseStatementTimeoutMs: 2000,
    databaseConnectTimeoutMs: 1500,
    databasePrepare: true,
    dataDir,
  }
}

/** Tells the processes of one run the port of their PostgreSQL. */
const PORT_VARIABLE = 'LATCHKEY_TEST_POSTGRES_PORT'
const TEMPLATE = 'latchkey_template'

type Shared = { server: ServerAddress; admin: postgres.Sql; template: Promise<void> | null }
const shared = new Map<PostgresVersion, Promise<Shared>>()

/**
 * The shared server of that version: the one of the whole run, or one that this process starts at its first
 * use.
 */
export async function sharedServer(version: PostgresVersion = NEWEST): Promise<ServerAddress> {
  return (await share(version)).server
}

/**
 * Starts the PostgreSQL of a run, with the template database.
 * @returns the environment by which the test processes find it; `end` stops it
 */
export async function startSharedServer(): Promise<{ env: Record<string, string>; end(): Promise<void> }> {
  const server = await startServer({ settings: ['max_connections=500'] })
  const admin = connect(server)
  await makeTemplate(server, admin)
  await admin.end()
  return { env: { [PORT_VARIABLE]: String(server.port) }, end: server.remove }
}

/**
 * Creates a database: empty (`migrated: false`), or migrated, as a copy of the template. Takes about 30 ms.
 * The caller drops it; a remaining database is removed with the server.
 */
export async function createDatabase({
  version = NEWEST,
  migrated = true,
}: {
  version?: PostgresVersion
  migrated?: boolean
} = {}): Promise<TestDatabase> {
  const it = await share(version)
  const name = `test_${randomBytes(6).toString('hex')}`
  if (migrated) {
    it.template ??= makeTemplate(it.server, it.admin)
    await it.template
    await it.admin.unsafe(`CREATE DATABASE ${name} TEMPLATE ${TEMPLATE}`)
  } else {
    await it.admin.unsafe(`CREATE DATABASE ${name}`)
  }
  return {
    url: it.server.url(name),
    drop: async () => {
      await it.admin.unsafe(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`)
    },
  }
}

function share(version: PostgresVersion): Promise<Shared> {
  let it = shared.get(version)
  if (!it) {
    it = reach(version)
    shared.set(version, it)
  }
  return it
}

async function reach(version: PostgresVersion): Promise<Shared> {
  const port = version === NEWEST ? process.env[PORT_VARIABLE] : undefined
  if (port)
    return {
      server: addressOn(Number(port)),
      admin: connect(addressOn(Number(port))),
      template: Promise.resolve(),
    }
  const server = await startServer({ version })
  return { server, admin: connect(server), template: null }
}

const connect = (server: ServerAddress) =>
  postgres(server.url('postgres'), { max: 4, idle_timeout: 1, onnotice: () => {} })

async function makeTemplate(server: ServerAddress, admin: postgres.Sql): Promise<void> {
  await admin.unsafe(`CREATE DATABASE ${TEMPLATE}`)
  const config = databaseConfig(server.url(TEMPLATE))
  const database = await openDatabase(config, silentLog)
  try {
    await migrate(config, database)
  } finally {
    await database.close()
  }
}
