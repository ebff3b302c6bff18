import { errorCode, isUnavailable } from '../../../db/errors.ts'
import { type Connection, connect } from '../../../db/postgres/connect.ts'
import { tryEncryptions } from '../../../db/postgres/reach.ts'
import { readTargets } from '../../../db/postgres/target.ts'
import type { Secret } from '../../../lib/secret.ts'
import { CHUNK } from '../outcome.ts'
import { type Column, readShape, type SeedShape } from './shape.ts'

/** A user in the seed's database. Times are milliseconds since the epoch, or infinite. */
export type SeedUser = {
  id: string
  email: string | null
  password_hash: string | null
  role: string | null
  email_verified: boolean
  is_active: boolean
  created_ms: number | null
}

/** A key in the seed's database. `secret` is the key itself, or its SHA-256 in hex. */
export type SeedKey = {
  id: string
  user_id: string | null
  secret: string | null
  prefix: string | null
  name: string | null
  description: string | null
  scopes: string | null
  is_active: boolean
  created_ms: number | null
  expires_ms: number | null
  used_ms: number | null
}

/** The seed's database as of one moment. It is only read. */
export type Seed = {
  shape: SeedShape
  /** The rows, one chunk at a time, so that memory stays bounded. */
  users(): AsyncIterable<readonly SeedUser[]>
  keys(): AsyncIterable<readonly SeedKey[]>
  close(): Promise<void>
}

/** Longer than for Latchkey's own database: this one may be far away, and a person waits. */
const CONNECT_TIMEOUT_SECONDS = 10
/** SQLSTATE classes whose messages help the operator and repeat no stored value: log-in, catalogue, permissions. */
const TELLING_STATES = /^(28|3D|3F|42501|53300|57P)/

/**
 * Opens the seed's database, in one read-only snapshot.
 * @param url as `parseDatabaseUrl` gives it
 * @throws Error with one sentence where the database is out of reach, or has tables that are not understood
 */
export async function openSeed(url: Secret, schema: string): Promise<Seed> {
  const { hosts } = readTargets(url.reveal())
  const [target] = hosts
  if (hosts.length > 1) throw new Error("the seed's database must be named by one host")
  const connection = await tryEncryptions(target.encryptions, async (encryption) => {
    const opened = connect(target, encryption, {
      connect_timeout: CONNECT_TIMEOUT_SECONDS,
      prepare: false,
      connection: { application_name: 'latchkey import' },
    })
    try {
      await ask(opened, 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY')
      return opened
    } catch (error) {
      opened.destroy()
      throw error
    }
  })
  try {
    await ask(connection, 'SET LOCAL idle_in_transaction_session_timeout = 0')
    await ask(connection, 'SET LOCAL statement_timeout = 0')
    const shape = readShape(schema, await readColumns(connection, schema))
    return {
      shape,
      users: () => rowsOf<SeedUser>(connection, shape.users),
      keys: () => rowsOf<SeedKey>(connection, shape.keys),
      close: connection.close,
    }
  } catch (error) {
    connection.destroy()
    throw error
  }
}

async function readColumns(connection: Connection, schema: string): Promise<Column[]> {
  const rows = await ask(
    connection,
    `SELECT table_name::text AS "table", column_name::text AS name, data_type::text AS type
     FROM information_schema.columns WHERE table_schema = $1 AND table_name IN ('users', 'api_keys')`,
    [schema],
  )
  return rows as unknown as Column[]
}

async function* rowsOf<Row>(connection: Connection, query: string): AsyncGenerator<readonly Row[]> {
  await ask(connection, `DECLARE seed NO SCROLL CURSOR FOR ${query}`)
  for (;;) {
    const rows = await ask(connection, `FETCH ${CHUNK} FROM seed`)
    yield rows as unknown as Row[]
    if (rows.length < CHUNK) break
  }
  await ask(connection, 'CLOSE seed')
}

/** @throws Error with one sentence that names the database and repeats nothing stored in it */
async function ask(
  connection: Connection,
  query: string,
  parameters: string[] = [],
): Promise<Record<string, unknown>[]> {
  try {
    return await connection.client.unsafe(query, parameters)
  } catch (cause) {
    const code = errorCode(cause) ?? 'no code'
    const isTelling = isUnavailable(cause) || TELLING_STATES.test(code)
    const told = isTelling && cause instanceof Error && cause.message ? `${cause.message} (${code})` : code
    throw new Error(`the seed's database cannot be read: ${told}`, { cause })
  }
}
