import { randomBytes } from 'node:crypto'
import postgres from 'postgres'
import { builtBinary, emptyDirectory, type RunningProgram, startProgram } from '../support/binary.ts'
import { call, logIn, newKey } from '../support/client.ts'
import { freePort } from '../support/free-port.ts'
import { createDatabase, type PostgresServer, startServer } from '../support/postgres.ts'
import { until } from '../support/until.ts'

const PASSWORD = 'a passphrase of several words'

/** A server that keeps its port and directory when it ends and starts again. */
export type Place = {
  url: string
  /** @throws Error with its output if it ends before it listens */
  start(): Promise<void>
  end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number>
  output(): string
}

/** Latchkey as in production, in its own processes, with a key that may verify other keys. */
export type Bed = {
  places: readonly Place[]
  /** The test's own connection to the database. Not for an embedded database. */
  sql: postgres.Sql
  /** An admin's access token. */
  admin: string
  /** A key with the scope latchkey:verify. */
  verifier: string
  [Symbol.asyncDispose](): Promise<void>
}

type Options = {
  /** `embedded`, or the URL of an empty database. Absent: a new database on the shared PostgreSQL. */
  database?: 'embedded' | string
  /** The number of servers on the database. */
  servers?: number
  /** DATA_DIR of an embedded database. */
  directory?: string
  env?: Record<string, string>
}

/** Starts all servers at once. */
export async function startBed({ database, servers = 1, directory, env = {} }: Options = {}): Promise<Bed> {
  const here = emptyDirectory()
  const made = database === undefined ? await createDatabase() : null
  const databaseUrl = database === 'embedded' ? null : (database ?? made?.url ?? null)
  const where: Record<string, string> = databaseUrl
    ? { DATABASE_URL: databaseUrl, SECRET_KEY: randomBytes(32).toString('hex') }
    : { DATA_DIR: directory ?? here.path }
  const admin = { ADMIN_EMAIL: 'admin@example.com', ADMIN_PASSWORD: PASSWORD }
  // The binary starts in less than half of the time, and creates an embedded database without some seconds more.
  const command = [await builtBinary(), 'serve']
  const places: Place[] = []
  for (let i = 0; i < servers; i++)
    places.push(await place(command, here.path, { ...where, ...admin, RATE_LIMITS: 'off', ...env }))
  const sql = postgres(databaseUrl ?? 'postgres://nowhere.invalid', { max: 1, onnotice: () => {} })
  const dispose = async () => {
    await Promise.all(places.map((each) => each.end('SIGKILL')))
    await sql.end()
    await made?.drop()
    here[Symbol.dispose]()
  }
  try {
    await Promise.all(places.map((each) => each.start()))
    const [first] = places
    if (!first) throw new Error('no server')
    const { access } = await logIn(first, admin.ADMIN_EMAIL, PASSWORD)
    const verifier = await newKey(first, access, { scopes: ['latchkey:verify'] })
    return { places, sql, admin: access, verifier: verifier.key, [Symbol.asyncDispose]: dispose }
  } catch (error) {
    await dispose()
    throw error
  }
}

async function place(command: string[], cwd: string, env: Record<string, string>): Promise<Place> {
  const port = await freePort()
  let running: RunningProgram | null = null
  let output = ''
  return {
    url: `http://127.0.0.1:${port}`,
    async start() {
      running = await startProgram(command, { cwd, env: { ...env, PORT: String(port) } })
    },
    async end(signal) {
      const ended = running
      running = null
      if (!ended) return 0
      const code = await ended.end(signal)
      output += ended.output()
      return code
    },
    output: () => output + (running?.output() ?? ''),
  }
}

/** A PostgreSQL that the test may kill: no other test uses it. */
export async function ownPostgres(): Promise<PostgresServer & AsyncDisposable> {
  const server = await startServer()
  return { ...server, [Symbol.asyncDispose]: () => server.remove() }
}

/** Signs a person up, however long a busy machine takes for it. Returns the password. */
export async function signUp(url: string, email: string): Promise<string> {
  const isSignedUp = async () => {
    const { status } = await call({ url }, 'POST /auth/signup', { json: { email, password: PASSWORD } })
    return status === 201 || status === 409
  }
  await until(isSignedUp, 'the sign-up')
  return PASSWORD
}
