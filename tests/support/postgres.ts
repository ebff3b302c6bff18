import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { migrate } from '../../src/db/migrate.ts'
import { openDatabase } from '../../src/db/open.ts'
import { silentLog } from '../../src/lib/log.ts'
import { secret } from '../../src/lib/secret.ts'
import { NEWEST, type PostgresVersion } from './postgres-binaries.ts'
import { type PostgresServer, startServer } from './postgres-server.ts'

export { hasVersion, type PostgresVersion } from './postgres-binaries.ts'
export { type PostgresServer, startServer } from './postgres-server.ts'

/** A database of its own on the shared server. */
export type TestDatabase = { url: string; drop(): Promise<void> }

/** What a test needs of Config to open `url` (or `dataDir` with url null), with the defaults of production. */
export function databaseConfig(url: string | null, dataDir = './none') {
  const hidden = url === null ? null : secret(url)
  return {
    databaseUrl: hidden,
    databaseDirectUrl: hidden,
    databasePoolSize: 10,
    databaseStatementTimeoutMs: 2000,
    databasePrepare: true,
    dataDir,
  }
}

type Shared = { server: PostgresServer; admin: postgres.Sql; template: Promise<string> | null }
const shared = new Map<PostgresVersion, Promise<Shared>>()

/** The one server of this test process and version, started at first use and gone with the process. */
export async function sharedServer(version: PostgresVersion = NEWEST): Promise<PostgresServer> {
  return (await share(version)).server
}

/**
 * Makes an empty (`migrated: false`) or a migrated database, the latter as a copy of one that was migrated once.
 * Takes about 30 ms. Whoever made it drops it; what is left goes with the server.
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
    it.template ??= makeTemplate(it)
    await it.admin.unsafe(`CREATE DATABASE ${name} TEMPLATE ${await it.template}`)
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
    it = startServer({ version }).then((server) => ({
      server,
      admin: postgres(server.url('postgres'), { max: 4, idle_timeout: 1, onnotice: () => {} }),
      template: null,
    }))
    shared.set(version, it)
  }
  return it
}

async function makeTemplate({ server, admin }: Shared): Promise<string> {
  const name = 'latchkey_template'
  await admin.unsafe(`CREATE DATABASE ${name}`)
  const config = databaseConfig(server.url(name))
  const database = await openDatabase(config, silentLog)
  try {
    await migrate(config, database)
  } finally {
    await database.close()
  }
  return name
}
